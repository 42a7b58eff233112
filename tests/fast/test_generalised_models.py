"""Models around linear ones, trees and machines, against the Shapley values by definition."""

import numpy as np
import pandas as pd
import pytest
from shapley_by_definition import shapley_by_definition
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, TargetEncoder
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5))
MARGIN = 0.5 * X[:, 0] - 0.3 * X[:, 1] + 0.4 * X[:, 2] + 2
COUNTS = RNG.poisson(np.exp(MARGIN)).astype(float)
POSITIVE = np.exp(MARGIN + 0.1 * RNG.normal(size=120))
SEVERAL = np.stack([MARGIN, X[:, 0] * X[:, 1], -(MARGIN**2)], axis=1)
BACKGROUND = X[:30]


def of_target(regressor, function, inverse):
    return TransformedTargetRegressor(regressor, func=function, inverse_func=inverse)


EXACT = {
    "poisson": (PoissonRegressor(), COUNTS, "product"),
    "gamma": (GammaRegressor(), POSITIVE, "product"),
    "tweedie-log": (TweedieRegressor(power=1.5), POSITIVE, "product"),
    "tweedie-identity": (TweedieRegressor(power=0), POSITIVE, "linear"),
    "scaled-poisson": (make_pipeline(StandardScaler(), PoissonRegressor()), COUNTS, "product"),
    "exp": (of_target(Ridge(), np.log, np.exp), POSITIVE, "product"),
    "expm1": (of_target(LinearRegression(), np.log1p, np.expm1), POSITIVE, "product"),
    "pipeline-exp": (
        of_target(make_pipeline(StandardScaler(), Ridge()), np.log, np.exp),
        POSITIVE,
        "product",
    ),
    "several-linear": (MultiOutputRegressor(Ridge()), SEVERAL, "linear"),
    "several-trees": (MultiOutputRegressor(DecisionTreeRegressor(max_depth=4)), SEVERAL, "tree"),
    "several-boosted": (
        MultiOutputRegressor(GradientBoostingRegressor(n_estimators=10)),
        SEVERAL,
        "tree",
    ),
    "several-machines": (MultiOutputRegressor(SVR()), SEVERAL, "product"),
    "chain": (RegressorChain(Ridge(), order=[2, 0, 1]), SEVERAL, "linear"),
    "chain-as-they-come": (RegressorChain(LinearRegression()), SEVERAL, "linear"),
}


def check_by_definition(model, explainer, method, tmp_path, rows=X[60:62]):
    """The method, the values of the definition on all examples, and the same once it is loaded."""
    assert (explainer.method, explainer.row_explainer.note) == (method, "")
    local = explainer.row_explainer.explain(rows)
    values = local.values.reshape(-1, *local.values.shape[-2:])
    weights = np.ones(len(BACKGROUND))
    for i, row in enumerate(rows):
        expected = shapley_by_definition(model.predict, row, BACKGROUND, weights)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(values[:, i], expected, rtol=0, atol=1e-10 * largest)
    loaded = load(save(KernelScoringExplainer(explainer), tmp_path / "saved"))
    assert loaded.explain_rows(rows).values.tobytes() == local.values.tobytes()


@pytest.mark.parametrize("case", EXACT)
def test_they_are_exact(case, tmp_path):
    """Without a call of the model."""
    model, targets, method = EXACT[case]
    model.fit(X, targets)
    check_by_definition(model, TabularExplainer(model, BACKGROUND), method, tmp_path)


def test_many_features_of_a_log_link_are_exact_by_quadrature():
    """Thirty factors and all of 2,000 rows; importances add up, and agree with enumeration of two
    features at a time.
    """
    wide = RNG.normal(size=(2000, 30))
    model = PoissonRegressor(max_iter=500).fit(wide, RNG.poisson(np.exp(0.3 * wide[:, 0] + 1)))
    local = TabularExplainer(model, wide).row_explainer.explain(wide[:3])
    assert (local.method, local.standard_errors) == ("product", None)
    total = local.values.sum(axis=1) + local.expected_values
    np.testing.assert_allclose(total, model.predict(wide[:3]), rtol=1e-10)
    # Against a single background row the exponential is a product of 30 factors.
    alone = TabularExplainer(model, wide[5:6]).row_explainer.explain(wide[:1]).values[0]
    logs = model.coef_ * (wide[0] - wide[5])
    nodes, weights = np.polynomial.legendre.leggauss(40)
    expected = np.zeros(30)
    for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        factors = 1 - t + t * np.exp(logs)
        expected += weight * np.expm1(logs) * factors.prod() / factors
    np.testing.assert_allclose(alone, expected * model.predict(wide[5:6]), rtol=1e-9, atol=1e-12)


LINKED = {
    "square": (of_target(Ridge(), np.sqrt, np.square), POSITIVE, "kernel/linear"),
    "trees": (
        of_target(GradientBoostingRegressor(n_estimators=10), np.log, np.exp),
        POSITIVE,
        "kernel/tree",
    ),
    "machine": (of_target(SVR(), np.log, np.exp), POSITIVE, "kernel/product"),
}


@pytest.mark.parametrize("case", LINKED)
def test_functions_of_predictions_need_no_call_of_the_model(case, tmp_path):
    """Few features and rows: all coalitions meet all rows, which is exact."""
    model, targets, method = LINKED[case]
    model.fit(X, targets)
    check_by_definition(model, TabularExplainer(model, BACKGROUND), method, tmp_path)


def test_calibrated_boosting_is_looked_into():
    """The margins of its folds side by side, and the calibrations behind them."""
    classes = (MARGIN > 2).astype(int)
    model = CalibratedClassifierCV(GradientBoostingClassifier(n_estimators=8), cv=2)
    model.fit(X, classes)
    explainer = TabularExplainer(model, BACKGROUND)
    assert explainer.method == "kernel/tree"
    values = explainer.row_explainer.explain(X[60:61]).values[:, 0]
    weights = np.ones(len(BACKGROUND))
    expected = shapley_by_definition(model.predict_proba, X[60], BACKGROUND, weights)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_target_encoders_are_looked_through(n_classes):
    """One column a feature, or one for each of several classes; raw columns are the features."""
    frame = pd.DataFrame(
        {"city": RNG.choice(list("abcd"), 150), "size": RNG.normal(size=150)}
    ).assign(kind=RNG.choice(["u", "v", "w"], 150))
    targets = RNG.integers(n_classes, size=150)
    encoder = make_column_transformer((TargetEncoder(), ["city", "kind"]), remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(frame, targets)
    explainer = TabularExplainer(model, frame[:40])
    assert explainer.method == "linear"

    def margins(rows):
        given = pd.DataFrame(rows, columns=frame.columns).astype(frame.dtypes.to_dict())
        found = model.decision_function(given)
        return found if n_classes > 2 else np.stack([-found, found], axis=1)

    rows = frame.to_numpy(dtype=object)
    expected = shapley_by_definition(margins, rows[50], rows[:40], np.ones(40))
    values = explainer.row_explainer.explain(frame[50:51]).values[:, 0]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_a_target_function_that_is_no_scaling_back_is_called():
    """The inverse answers something else than the model serves: nothing is taken on trust."""
    model = of_target(RegressorChain(DecisionTreeRegressor(max_depth=2)), None, None)
    model.fit(X, SEVERAL)
    assert TabularExplainer(model, BACKGROUND).method == "kernel"
    assert FunctionTransformer().inverse_func is None
