"""The entry script of Azure ML's documents, with the one change that today's pandas asks for
(StringIO).
"""

import io
import os
from pathlib import Path

import joblib
import pandas as pd


def init():
    global original_model  # noqa: PLW0603
    original_model = joblib.load(Path(os.environ["AZUREML_MODEL_DIR"]) / "original_model.pkl")


def run(raw_data):
    data = pd.read_json(io.StringIO(raw_data))
    return {"predictions": original_model.predict(data).tolist()}
