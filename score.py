"""The entry script: what the service runs for each request, and what you edit first.

`init` is called once, when the service starts; `run` for each request, from several threads at
once. Keep the two names and change the rest as you like, or point ENTRY_SCRIPT at a file of your
own. The model that `init` returns describes the columns and an example to the service's other
routes; returning nothing is fine too. Reading rows, explaining them and loading safely is done by
service/scoring/: read scoring_model.py there next.
"""

import os
from typing import Any

from service.scoring import ScoringModel, ScoringRequest
from service.settings import find_model_folder

scoring_model: ScoringModel


def init() -> ScoringModel:
    """Load the original model and its scoring explainer."""
    global scoring_model  # the documented form of an entry script
    folder = find_model_folder(os.environ.get("AZUREML_MODEL_DIR"))
    scoring_model = ScoringModel.load(folder)
    return scoring_model


def run(raw_data: str, request: ScoringRequest) -> dict[str, Any]:
    """Predict and explain the rows of one request's body.

    Importances are indexed [class][row][feature] for a classifier, [row][feature] for a regressor.
    `request` says what else was asked for; a script whose run() takes the body alone is never asked
    for more.
    """
    return scoring_model.score(raw_data, request)
