"""The models whose inside the engines know, and the wrappers that are looked through, by class
name.
"""

from typing import Any

OTHER_BOOSTING = {
    "lightgbm": ("LGBMClassifier", "LGBMRegressor"),
    "xgboost": ("XGBClassifier", "XGBRegressor"),
}
# They have no decision_function; this option of predict asks for the margin.
MARGIN_OPTIONS = {"lightgbm": "raw_score", "xgboost": "output_margin"}

MODEL_KINDS = {
    "linear": (
        "ARDRegression",
        "BayesianRidge",
        "ElasticNet",
        "ElasticNetCV",
        "HuberRegressor",
        "Lars",
        "LarsCV",
        "Lasso",
        "LassoCV",
        "LassoLars",
        "LassoLarsCV",
        "LassoLarsIC",
        "LinearDiscriminantAnalysis",
        "LinearRegression",
        "LinearSVC",
        "LinearSVR",
        "LogisticRegression",
        "LogisticRegressionCV",
        "OrthogonalMatchingPursuit",
        "OrthogonalMatchingPursuitCV",
        "PassiveAggressiveClassifier",
        "PassiveAggressiveRegressor",
        "Perceptron",
        "QuantileRegressor",
        "Ridge",
        "RidgeCV",
        "RidgeClassifier",
        "RidgeClassifierCV",
        "SGDClassifier",
        "SGDRegressor",
        "TheilSenRegressor",
    ),
    "forest": (
        "DecisionTreeClassifier",
        "DecisionTreeRegressor",
        "ExtraTreeClassifier",
        "ExtraTreeRegressor",
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
        "RandomForestClassifier",
        "RandomForestRegressor",
    ),
    "support vectors": ("NuSVC", "NuSVR", "OneClassSVM", "SVC", "SVR"),
    "kernel ridge": ("KernelRidge",),
    "gaussian process": ("GaussianProcessRegressor",),
    "network": ("MLPClassifier", "MLPRegressor"),
    "calibrated": ("CalibratedClassifierCV",),
    "one versus rest": ("OneVsRestClassifier",),
    "voting": ("VotingRegressor",),
    "bagging": ("BaggingRegressor",),
    "transformed target": ("TransformedTargetRegressor",),
    "boosting": (
        "GradientBoostingClassifier",
        "GradientBoostingRegressor",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
    ),
}

# Which attribute holds the fitted model that a wrapper passes everything on to.
WRAPPERS = {
    "FixedThresholdClassifier": "estimator_",
    "FrozenEstimator": "estimator",
    "GridSearchCV": "best_estimator_",
    "HalvingGridSearchCV": "best_estimator_",
    "HalvingRandomSearchCV": "best_estimator_",
    "RandomizedSearchCV": "best_estimator_",
    "TunedThresholdClassifierCV": "estimator_",
}


def unwrapped(model: Any) -> Any:
    """Return the model inside scikit-learn's own searches and thresholds; any other model as it
    is.
    """
    attribute = (
        WRAPPERS.get(type(model).__name__, "")
        if type(model).__module__.startswith("sklearn.")
        else ""
    )
    return unwrapped(getattr(model, attribute)) if hasattr(model, attribute) else model


def model_kind(model: Any) -> str | None:
    """Return the kind of a model of the table, None for every other model."""
    name, library = type(model).__name__, _library(model)
    if name in OTHER_BOOSTING.get(library, ()):
        return "boosting"
    if library != "sklearn":
        return None
    return next((kind for kind, names in MODEL_KINDS.items() if name in names), None)


def margin_option(model: Any) -> str | None:
    """Return the option of ``predict`` that asks for the margin, None for models with a
    ``decision_function``.
    """
    return MARGIN_OPTIONS.get(_library(model)) if model_kind(model) == "boosting" else None


def _library(model: Any) -> str:
    return type(model).__module__.split(".")[0]
