"""The scikit-learn models whose inside the engines know, by class name."""

from typing import Any

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
    """Return the kind of a scikit-learn model of the table, None for every other model."""
    if not type(model).__module__.startswith("sklearn."):
        return None
    return next((kind for kind, names in MODEL_KINDS.items() if type(model).__name__ in names), None)
