"""Searches, thresholds, frozen models and ways of fitting: they hand everything on to one model.

They change no output that is explained, so they are looked through wherever they stand. Models that
change what the models inside of them answer are in :mod:`service.structures.wrappers`. Next:
:mod:`service.structures.encoders`.
"""

from typing import Any

from service.structures.class_names import sklearn_name

# Which attribute holds the model inside, once it is fitted.
INNER_MODELS = {
    "FixedThresholdClassifier": "estimator_",
    "FrozenEstimator": "estimator",
    "GridSearchCV": "best_estimator_",
    "HalvingGridSearchCV": "best_estimator_",
    "HalvingRandomSearchCV": "best_estimator_",
    "RANSACRegressor": "estimator_",
    "RandomizedSearchCV": "best_estimator_",
    "SelfTrainingClassifier": "estimator_",
    "TunedThresholdClassifierCV": "estimator_",
}


def look_through(model: Any) -> Any:
    """Return the model inside searches and thresholds.

    Parameters
    ----------
    model : object
        Any object; what is no fitted search of scikit-learn's own comes back as it is.

    Examples
    --------
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.linear_model import Ridge
    >>> look_through(FrozenEstimator(FrozenEstimator(Ridge(alpha=2))))
    Ridge(alpha=2)
    """
    inner = INNER_MODELS.get(sklearn_name(model), "")
    while hasattr(model, inner):
        model = getattr(model, inner)
        inner = INNER_MODELS.get(sklearn_name(model), "")
    return model
