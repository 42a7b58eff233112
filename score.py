"""The entry script: what the service runs for each request, and what you edit first.

`init` is called once, when the service starts; `run` for each POST to /score, from several threads at once. Keep the
two names and change the rest as you like, or point ENTRY_SCRIPT at a file of your own. Reading rows, explaining them
and loading safely is done by service/scoring/: read that next.
"""

import os
from pathlib import Path
from typing import Any

import joblib

from service.scoring import ArtifactError, KernelScoringExplainer, load

original_model: Any
scoring_explainer: KernelScoringExplainer


def init() -> None:
    """Load the original model and its scoring explainer."""
    global original_model, scoring_explainer  # noqa: PLW0603  # the documented form of an entry script
    folder = model_folder()
    scoring_explainer = load(folder)
    original_model = joblib.load(folder / "original_model.pkl")


def run(raw_data: str) -> dict[str, Any]:
    """Predict and explain the rows of one request's body.

    Importances are indexed [class][row][feature] for a classifier, [row][feature] for a regressor.
    """
    rows = scoring_explainer.read_rows(raw_data)
    return {
        "predictions": original_model.predict(rows).tolist(),
        "local_importance_values": scoring_explainer.explain(rows),
    }


def model_folder() -> Path:
    """Find the folder with both models: AZUREML_MODEL_DIR, else artifacts/ next to this file."""
    folder = Path(os.environ.get("AZUREML_MODEL_DIR") or Path(__file__).parent / "artifacts")
    if (folder / "original_model.pkl").is_file():
        return folder
    raise ArtifactError(
        f"expected original_model.pkl and scoring_explainer.pkl in {folder}, found no original_model.pkl; "
        "run `make train`, or set AZUREML_MODEL_DIR to the folder that holds your models"
    )
