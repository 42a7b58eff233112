"""Models inside other models of scikit-learn: looked through where everything is passed on, called
elsewhere.
"""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.special import expit, softmax
from shapley_by_definition import shapley_by_definition
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import BaggingRegressor, RandomForestRegressor, VotingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC
from xgboost import XGBClassifier

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer

N_FEATURES, N_BACKGROUND = 5, 20
NAMES = ["one", "two", "three", "four", "five"]
X, Y = make_regression(120, N_FEATURES, random_state=0)
Y = 300 + 20 * (Y / Y.std() + np.sin(X[:, 0] * X[:, 1]))
TARGETS = np.stack([Y, X[:, 2] ** 2], axis=1)
GRID = {"C": [1.0, 10.0]}
PIPED_GRID = {"svr__C": [1.0, 10.0]}


def classes(n_classes):
    return make_classification(
        150, N_FEATURES, n_informative=4, n_redundant=0, n_classes=n_classes, random_state=1
    )


def check(explainer, function, rows, background, method):
    """Compare two rows with the definition on the whole background, for every output."""
    assert explainer.method == method
    assert (explainer.to_dict()["note"] != "") == (method == "kernel")
    values = explainer.explain_rows(rows).values
    values = values if values.ndim == 3 else values[None]
    for i in range(2):
        expected = shapley_by_definition(function, rows[i], background, np.ones(len(background)))
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(
            values[:, i], expected, rtol=0, atol=1e-9 * max(1, np.abs(expected).max())
        )


def check_regressor(model, y, method):
    model.fit(X, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, X[:N_BACKGROUND]))
    check(explainer, model.predict, X[60:62], X[:N_BACKGROUND], method)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (GridSearchCV(SVR(), GRID, cv=2), "product"),
        (RandomizedSearchCV(SVR(kernel="poly"), GRID, n_iter=2, cv=2), "polynomial"),
        (HalvingGridSearchCV(SVR(), GRID, cv=2, random_state=0), "product"),
        (HalvingRandomSearchCV(SVR(), GRID, n_candidates=2, cv=2, random_state=0), "product"),
        (GridSearchCV(make_pipeline(StandardScaler(), SVR()), PIPED_GRID, cv=2), "product"),
        (make_pipeline(StandardScaler(), GridSearchCV(SVR(), GRID, cv=2)), "product"),
        (
            make_pipeline(
                StandardScaler(), GridSearchCV(make_pipeline(RobustScaler(), SVR()), PIPED_GRID)
            ),
            "product",
        ),
        (
            GridSearchCV(RandomForestRegressor(5, random_state=0), {"max_depth": [2, 3]}, cv=2),
            "tree",
        ),
    ],
    ids=[
        "grid",
        "random",
        "halving",
        "halving random",
        "of a pipeline",
        "in a pipeline",
        "both",
        "forest",
    ],
)
def test_searches_are_looked_through(model, method):
    """By their best model, wherever its preprocessing stands."""
    check_regressor(model, Y, method)


def test_a_search_around_a_pipeline_of_named_columns_is_looked_through():
    """A DataFrame in, raw columns as features."""
    frame = pd.DataFrame(X, columns=NAMES)
    model = GridSearchCV(make_pipeline(StandardScaler(), SVR()), PIPED_GRID, cv=2).fit(frame, Y)
    explainer = KernelScoringExplainer(TabularExplainer(model, frame[:N_BACKGROUND]))
    assert explainer.features == NAMES
    predict = lambda rows: model.predict(pd.DataFrame(rows, columns=NAMES))  # noqa: E731
    check(explainer, predict, X[60:62], X[:N_BACKGROUND], "product")


@pytest.mark.parametrize(
    ("model", "output", "method"),
    [
        (FixedThresholdClassifier(LogisticRegression(), threshold=0.3), "margin", "linear"),
        (
            FixedThresholdClassifier(LogisticRegression(), threshold=0.3),
            "probability",
            "kernel/linear",
        ),
        (
            TunedThresholdClassifierCV(make_pipeline(StandardScaler(), SVC()), cv=2),
            "margin",
            "product",
        ),
        (
            GridSearchCV(FixedThresholdClassifier(SVC()), {"threshold": [0.1, 0.2]}, cv=2),
            "margin",
            "product",
        ),
    ],
    ids=["fixed", "fixed probability", "tuned", "searched"],
)
def test_thresholds_change_predictions_and_no_importance(model, output, method):
    """Margins and probabilities are those of the classifier inside."""
    rows, y = classes(2)
    model.fit(rows, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, rows[:N_BACKGROUND], output=output))

    def function(hybrids):
        if output == "probability":
            return model.predict_proba(hybrids)
        return np.stack(
            [-model.decision_function(hybrids), model.decision_function(hybrids)], axis=1
        )

    check(explainer, function, rows[60:62], rows[:N_BACKGROUND], method)


@pytest.mark.parametrize(
    "inner", [SVC(), make_pipeline(StandardScaler(), SVC()), GridSearchCV(SVC(), GRID, cv=2)]
)
def test_a_calibrated_wrapper_is_looked_through(inner):
    """A frozen model, a search, and a frozen pipeline inside a calibration."""
    rows, y = classes(2)
    for model in (
        CalibratedClassifierCV(FrozenEstimator(inner.fit(rows, y))),
        CalibratedClassifierCV(inner, ensemble=False),
    ):
        model.fit(rows, y)
        explainer = KernelScoringExplainer(TabularExplainer(model, rows[:N_BACKGROUND]))
        check(explainer, model.predict_proba, rows[60:62], rows[:N_BACKGROUND], "kernel/product")


@pytest.mark.parametrize(
    ("regressor", "transformer", "y", "method"),
    [
        (SVR(C=10), StandardScaler(), Y, "product"),
        (SVR(kernel="poly", coef0=1), MinMaxScaler(), Y, "polynomial"),
        (make_pipeline(StandardScaler(), SVR()), RobustScaler(), Y, "product"),
        (KernelRidge(kernel="rbf"), StandardScaler(), TARGETS, "product"),
        (GaussianProcessRegressor(normalize_y=True), StandardScaler(), Y, "product"),
        (Ridge(), None, Y, "linear"),
        (Ridge(), StandardScaler(), TARGETS, "linear"),
        (RandomForestRegressor(4, random_state=0), StandardScaler(), TARGETS, "tree"),
        (LGBMRegressor(n_estimators=9, verbose=-1), MinMaxScaler(), Y, "tree"),
        (SVR(), QuantileTransformer(n_quantiles=20), Y, "kernel/product"),
        (Ridge(), PowerTransformer(), Y, "kernel/linear"),
        (KNeighborsRegressor(), StandardScaler(), Y, "kernel/neighbours"),
        (Ridge(), make_pipeline(PowerTransformer(), StandardScaler()), Y, "kernel/linear"),
        (VotingRegressor([("a", SVR()), ("b", Ridge())]), StandardScaler(), Y, "kernel/stacked"),
    ],
    ids=str,
)
def test_a_transformed_target_is_scaled_back(regressor, transformer, y, method):
    """Exact importances of the raw target where that is affine; any other is a link."""
    check_regressor(TransformedTargetRegressor(regressor, transformer=transformer), y, method)


def test_a_target_transformed_by_a_function_is_looked_into():
    """Logarithms are not undone by scaling, but by a product of one factor a column."""
    check_regressor(
        TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp), Y, "product"
    )


def test_a_scaled_target_at_the_end_of_a_pipeline_is_looked_into():
    """Preprocessing before it, inside it, and a search around all."""
    scaled = TransformedTargetRegressor(
        make_pipeline(RobustScaler(), SVR()), transformer=StandardScaler()
    )
    grid = {"transformedtargetregressor__regressor__svr__C": [1.0, 10.0]}
    check_regressor(GridSearchCV(make_pipeline(StandardScaler(), scaled), grid, cv=2), Y, "product")


@pytest.mark.parametrize(
    ("model", "y", "method"),
    [
        (VotingRegressor([("a", Ridge()), ("b", Lasso())], weights=[1, 3]), Y, "linear"),
        (VotingRegressor([("a", SVR()), ("b", SVR(gamma=0.1)), ("c", "drop")]), Y, "product"),
        (VotingRegressor([("a", SVR()), ("b", Ridge())]), Y, "sum"),
        (BaggingRegressor(Ridge(), 4, random_state=0), TARGETS, "linear"),
        (BaggingRegressor(SVR(), 4, max_features=0.6, random_state=0), Y, "product"),
        (
            BaggingRegressor(SVR(kernel="poly"), 4, max_features=0.6, random_state=0),
            Y,
            "polynomial",
        ),
        (BaggingRegressor(SVR(kernel="sigmoid"), 1, random_state=0), Y, "sum"),
        (BaggingRegressor(SVR(), 4, bootstrap_features=True, random_state=0), Y, "kernel"),
    ],
    ids=[
        "voting",
        "machines",
        "mixed",
        "bagging",
        "subspaces",
        "polynomial",
        "sigmoid",
        "repeated columns",
    ],
)
def test_a_mean_of_models_of_one_kind_is_one_model(model, y, method):
    """Weights, dropped models, random subspaces; what does not fit together is called."""
    if y is TARGETS:
        model.fit(X, y)
    check_regressor(model, y, method)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("model", "output", "method"),
    [
        (LogisticRegression(), "margin", "linear"),
        (LogisticRegression(), "probability", "kernel/linear"),
        (SVC(), "margin", "product"),
        (SVC(kernel="poly"), "margin", "polynomial"),
        (CalibratedClassifierCV(SVC(), ensemble=False), "probability", "kernel/product"),
        (CalibratedClassifierCV(LinearSVC(), ensemble=True), "probability", "kernel/linear"),
    ],
    ids=["logistic margin", "logistic", "rbf", "poly", "calibrated", "in folds"],
)
def test_one_versus_rest_is_its_binary_models_side_by_side(model, output, method, n_classes):
    """Margins as they are, probabilities scaled to sum 1."""
    rows, y = classes(n_classes)
    wrapped = OneVsRestClassifier(model).fit(rows, y)
    explainer = KernelScoringExplainer(
        TabularExplainer(wrapped, rows[:N_BACKGROUND], output=output)
    )
    function = wrapped.predict_proba if output == "probability" else wrapped.decision_function

    def per_class(hybrids):
        outputs = function(hybrids)
        return outputs if outputs.ndim == 2 else np.stack([-outputs, outputs], axis=1)

    check(explainer, per_class, rows[60:62], rows[:N_BACKGROUND], method)


def test_an_unfitted_search_is_refused():
    """The same sentence as for any unfitted model."""
    with pytest.raises(ValueError, match="model: expected a fitted GridSearchCV; call its fit"):
        TabularExplainer(GridSearchCV(SVR(), GRID), X)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("booster", [LGBMClassifier, XGBClassifier])
def test_boosters_inside_searches_and_thresholds_are_explained_on_the_margin(booster, n_classes):
    """In and around pipelines: the margin's sum gives the model's own probabilities, to 1e-5."""
    X, y = make_classification(
        160, 4, n_informative=3, n_redundant=0, n_classes=n_classes, random_state=0
    )
    X = X @ np.array([[1, 0.2, 0, 0], [0, 1, 0, 0.1], [0, 0, 1, 0], [0.3, 0, 0, 1]])
    quiet = {"verbose": -1} if booster is LGBMClassifier else {}
    base = booster(n_estimators=6, **quiet)
    grid = {"max_depth": [2, 3]}
    inside = GridSearchCV(
        make_pipeline(StandardScaler(), base), {"standardscaler__with_mean": [True]}
    )
    models = [
        GridSearchCV(base, grid, cv=2),
        RandomizedSearchCV(base, grid, n_iter=2, cv=2, random_state=0),
        make_pipeline(StandardScaler(), GridSearchCV(base, grid, cv=2)),
        inside,
    ]
    if n_classes == 2:
        models += [
            FixedThresholdClassifier(base, threshold=0.3),
            TunedThresholdClassifierCV(base, cv=2),
            make_pipeline(StandardScaler(), FixedThresholdClassifier(GridSearchCV(base, grid))),
        ]
    for model in models:
        model.fit(X, y)
        original = TabularExplainer(model, X)
        assert (original.method, original.output) == ("tree", "margin")
        local = KernelScoringExplainer(original).explain_rows(X[:3])
        margins = local.values.sum(axis=2).T + local.expected_values
        expected = model.predict_proba(X[:3])
        link = softmax(margins, axis=1) if n_classes > 2 else expit(margins)
        np.testing.assert_allclose(link, expected, rtol=0, atol=1e-5)
