"""The scoring explainer: made from a full explainer, saved with joblib, served next to the model.

Importing this package loads neither shap, numba, matplotlib nor Flask.

``explainer``      KernelScoringExplainer, what a user holds
``artifact``       save and load, with manifest, digest and versions
``row_explainer``  the core it shares with the training side
``choice``         which engine explains which model
``structures``     what is known about the inside of models; ``model_kinds`` their names, ``links`` what stands behind
``encoders``       preprocessing that is looked through
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

from service.scoring.artifact import load, save
from service.scoring.errors import (
    ArtifactError,
    DigestError,
    ManifestError,
    ModelOutputError,
    PayloadError,
    ScoringError,
    VersionError,
)
from service.scoring.explainer import KernelScoringExplainer
from service.scoring.result import LocalImportances

__all__ = [
    "ArtifactError",
    "DigestError",
    "KernelScoringExplainer",
    "LocalImportances",
    "ManifestError",
    "ModelOutputError",
    "PayloadError",
    "ScoringError",
    "VersionError",
    "load",
    "save",
]
