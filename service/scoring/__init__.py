"""The scoring explainer: made from a full explainer, saved with joblib, served next to the model.

Importing this package loads neither shap, numba, matplotlib nor Flask; scikit-learn and pandas are
loaded only where a model or a DataFrame is handled.

``scoring_model``  ScoringModel, the core of the service: a model with its explainer
``request``        what one request asks for
``explainer``      KernelScoringExplainer, what a user holds
``artifact``       save and load, with manifest, digest and versions
``row_explainer``  the core it shares with the training side
``choice``         which engine explains which model
``structures``     what is known about the inside of models; ``model_kinds`` their names, ``links`` what stands behind
``encoders``       preprocessing that is looked through
``compiled``       the same as plain arrays, so that one row is quick
``engines``        linear, tree, product, kernel, shap
``surrogate``      a small model of an opaque one, as a control variate
``threads``        one BLAS thread, so that bytes do not depend on the machine
``outputs``        which output of a model is explained
``backgrounds``    which examples become the background
``schema``         what a row looks like, and the check of every row
``columns``        one column of it, and the check of every value
``payload``        what clients send, read against the schema
``errors``         the exception tree

Next: :mod:`service.scoring.explainer`.
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

__all__ = [
    "Answer",
    "ArtifactError",
    "DigestError",
    "JsonRows",
    "KernelScoringExplainer",
    "LocalImportances",
    "ManifestError",
    "ModelOutputError",
    "PayloadError",
    "ScoringError",
    "ScoringModel",
    "ScoringRequest",
    "SelfCheckError",
    "TooManyRowsError",
    "VersionError",
    "load",
    "load_original_model",
    "save",
]
