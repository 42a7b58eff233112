"""The entry script of Azure ML's documents, as it stands there: it explains what it predicts."""

import os

import joblib
import pandas as pd


def init():
    global original_model, scoring_explainer  # noqa: PLW0603
    folder = os.environ["AZUREML_MODEL_DIR"]
    original_model = joblib.load(os.path.join(folder, "original_model.pkl"))
    scoring_explainer = joblib.load(os.path.join(folder, "scoring_explainer.pkl"))


def run(raw_data):
    data = pd.read_json(raw_data)
    predictions = original_model.predict(data)
    local_importance_values = scoring_explainer.explain(data)
    return {
        "predictions": predictions.tolist(),
        "local_importance_values": local_importance_values,
    }
