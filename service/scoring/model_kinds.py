"""The models whose inside the engines know, by class name: scikit-learn's own, and boosting in its interface."""

from typing import Any

OTHER_BOOSTING = {"lightgbm": ("LGBMClassifier", "LGBMRegressor"), "xgboost": ("XGBClassifier", "XGBRegressor")}
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
    "boosting": (
        "GradientBoostingClassifier",
        "GradientBoostingRegressor",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
    ),
}


def model_kind(model: Any) -> str | None:
    """Return the kind of a model of the table, None for every other model."""
    name, library = type(model).__name__, _library(model)
    if name in OTHER_BOOSTING.get(library, ()):
        return "boosting"
    if library != "sklearn":
        return None
    return next((kind for kind, names in MODEL_KINDS.items() if name in names), None)


def margin_option(model: Any) -> str | None:
    """Return the option of ``predict`` that asks for the margin, None for models with a ``decision_function``."""
    return MARGIN_OPTIONS.get(_library(model)) if model_kind(model) == "boosting" else None


def _library(model: Any) -> str:
    return type(model).__module__.split(".")[0]
