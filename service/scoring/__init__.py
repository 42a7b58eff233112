"""The scoring explainer: made from a full explainer, saved with joblib, served next to the model.

Importing this package loads neither shap, numba, matplotlib nor Flask.

``answer``         what is answered for the rows of a request: arrays, and lists for those who read
``answer_tables``  an answer as columns, one value for each row
``names``          the names and words beside the numbers of an answer
``explainer``      KernelScoringExplainer, what a user holds
``stored_form``    the plain dictionaries and arrays that a saved explainer consists of
``artifact``       save and load, with digests and versions
``importable``     what a model holds that another process cannot import
``manifest``       the readable file beside what was saved
``predictors``     models without predict: plain functions, and probabilities alone
``request``        what one request asks for, and what its host allows it
``row_pieces``     its rows piece by piece, in several threads where there are some
``scoring_model``  ScoringModel, the core of the service: a model with its explainer

Local importances are arrays with names: :mod:`service.engines.local_importances`. The errors are
those of :mod:`service.errors`. Next: :mod:`service.scoring.answer`.
"""

from service.engines.local_importances import LocalImportances
from service.errors import (
    ArtifactError,
    DigestError,
    ManifestError,
    ModelOutputError,
    PayloadError,
    ScoringError,
    SelfCheckError,
    TooManyRowsError,
    VersionError,
)
from service.rows.json_rows import JsonRows
from service.scoring.answer import Answer
from service.scoring.artifact import load, load_original_model, save
from service.scoring.explainer import KernelScoringExplainer
from service.scoring.request import ScoringRequest
from service.scoring.scoring_model import ScoringModel

# In azureml-interpret these are classes of their own. Here one class keeps the engine, whatever it
# is, of the explainer that it is made from.
LinearScoringExplainer = TreeScoringExplainer = KernelScoringExplainer

__all__ = [
    "Answer",
    "ArtifactError",
    "DigestError",
    "JsonRows",
    "KernelScoringExplainer",
    "LinearScoringExplainer",
    "LocalImportances",
    "ManifestError",
    "ModelOutputError",
    "PayloadError",
    "ScoringError",
    "ScoringModel",
    "ScoringRequest",
    "SelfCheckError",
    "TooManyRowsError",
    "TreeScoringExplainer",
    "VersionError",
    "load",
    "load_original_model",
    "save",
]
