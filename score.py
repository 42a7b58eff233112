"""The entry script: what the service runs for each request, and what you edit first.

`init` is called once, when the service starts; `run` for each request, from several threads at
once. Keep the two names and change the rest as you like, or point ENTRY_SCRIPT at a file of your
own. The model that `init` returns describes the columns and an example to the service's other
routes; returning nothing is fine too. Reading rows, explaining them and loading safely is done by
service/scoring/: read scoring_model.py there next.
"""

import os

from service.scoring import Answer, JsonRows, ScoringModel, ScoringRequest
from service.settings import find_model_folder

scoring_model: ScoringModel


def init() -> ScoringModel:
    """Load the original model and its scoring explainer."""
    # The documented form of an entry script.
    global scoring_model  # noqa: PLW0603
    folder = find_model_folder(os.environ.get("AZUREML_MODEL_DIR"))
    scoring_model = ScoringModel.load(folder)
    return scoring_model


def run(raw_data: JsonRows, request: ScoringRequest) -> Answer:
    """Predict and explain the rows of one request.

    `raw_data` is the body's JSON text; of CSV and tensors it is what that text would hold.
    `request` says what else was asked for. A script whose run() takes `raw_data` alone gets text
    always, and is never asked for more.

    The answer is a mapping, ``answer["predictions"]`` and so on, to nested lists: importances are
    indexed [class][row][feature] for a classifier, [row][feature] for a regressor. Add to it with
    ``answer.with_values(name=...)``, or return anything else that JSON can express.
    """
    return scoring_model.score(raw_data, request)
