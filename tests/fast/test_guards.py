"""What is compared with a model's answers is compared in units of their spread.

A model whose outputs are tiny must not pass anything, one with huge ones must not fail.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, SVR
from xgboost import XGBRegressor

from service.engines.builders import build_linear
from service.engines.choice import BUILDERS
from service.errors import SelfCheckError
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel
from service.structures.linear import LinearStructure
from tests.shapley_by_definition import shapley_by_definition

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
Y = X @ [1.0, -2.0, 0.5, 0.0] + X[:, 0] * X[:, 1]
SCALES = [1e-12, 1e-7, 1.0, 1e9]


@pytest.fixture
def off_by(monkeypatch):
    """Make the linear engine wrong by a share of its coefficients."""

    def make(share):
        def build(subject, structure):
            return build_linear(
                subject, replace(structure, coefficients=structure.coefficients * (1 + share))
            )

        monkeypatch.setitem(BUILDERS, LinearStructure, build)

    return make


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("scale", SCALES)
def test_an_engine_that_misses_the_model_is_found_at_any_scale(scale, offset, off_by):
    """Off by a millionth of the spread: it is not used, however small or large the outputs are."""
    model = LinearRegression().fit(X, scale * (Y + offset))
    assert TabularExplainer(model, X).method == "linear"
    off_by(1e-6)
    explainer = TabularExplainer(model, X, surrogate=False)
    assert explainer.method == "kernel"
    assert "The linear engine differs from" in explainer.row_explainer.note


def test_targets_of_different_scales_are_compared_each_by_itself(off_by):
    """A large target does not hide a small one."""
    model = LinearRegression().fit(X, np.stack([1e9 * Y, 1e-7 * Y], axis=1))
    assert TabularExplainer(model, X).method == "linear"

    def build(subject, structure):
        coefficients = structure.coefficients * np.array([[1.0], [1.01]])
        return build_linear(subject, replace(structure, coefficients=coefficients))

    off_by(0.0)
    BUILDERS[LinearStructure] = build
    assert TabularExplainer(model, X, surrogate=False).method == "kernel"


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("model", "method"),
    [
        (Ridge(), "linear"),
        (RandomForestRegressor(5, random_state=0), "tree"),
        (GradientBoostingRegressor(n_estimators=5), "tree"),
        (XGBRegressor(n_estimators=5), "tree"),
        (TransformedTargetRegressor(SVR(), transformer=StandardScaler()), "product"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_right_engine_is_kept_at_any_scale(model, method, scale):
    """And the self-check passes, with what the library's own precision allows."""
    if scale == 1e-12 and isinstance(model, XGBRegressor):
        pytest.skip("single precision finds no split there")
    model.fit(X, scale * (Y + 100))
    explainer = TabularExplainer(model, X[:30])
    assert explainer.method == method
    ScoringModel(model, KernelScoringExplainer(explainer)).self_check()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("engine", ["auto", "kernel"])
def test_the_self_check_finds_another_model_at_any_scale(scale, engine):
    """One that differs by a thousandth of the spread is not the one that was explained."""
    model = LinearRegression().fit(X, scale * Y)
    options = {"engine": engine, "surrogate": False}
    explainer = KernelScoringExplainer(TabularExplainer(model, X[:20], **options))
    ScoringModel(model, explainer).self_check()
    other = LinearRegression().fit(X, scale * (Y + 1e-3 * X[:, 2]))
    with pytest.raises(SelfCheckError, match="make the scoring explainer from this model"):
        ScoringModel(other, explainer).self_check()


def test_a_model_of_zeros_but_for_a_few_rows_passes_its_own_check():
    """No spread on the rows that are looked at is no reason to fail."""
    rows = np.arange(2000.0)[:, None] % 997 + np.array([[0.0, 1.0]])
    model = RandomForestRegressor(5, random_state=0).fit(rows, (rows[:, 0] == 996) * 1e3)
    explainer = KernelScoringExplainer(TabularExplainer(model, rows))
    ScoringModel(model, explainer).self_check()


@pytest.mark.parametrize("dtype", ["float32", "float16", "Float32"])
@pytest.mark.parametrize(
    ("model", "method"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), "linear"),
        (make_pipeline(StandardScaler(), SVC()), "product"),
        (make_pipeline(MinMaxScaler(), SVC(kernel="poly")), "polynomial"),
        (make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=5)), "tree"),
        (LogisticRegression(), "linear"),
        (MLPClassifier((5,), max_iter=20, random_state=0), "kernel/network"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_columns_of_a_narrow_type_keep_the_closed_forms(model, method, dtype):
    """What the model answers in double precision is explained exactly; on the columns as they are,
    importances add up to what is served as far as the type allows.
    """
    frame = pd.DataFrame(X, columns=list("abcd")).astype(dtype)
    y = np.round(Y) if "GradientBoosting" in str(model) else Y > 0
    model.fit(frame, y)
    explainer = TabularExplainer(model, frame[:10])
    assert (explainer.method, explainer.row_explainer.note) == (method, "")
    wide = frame.astype("float64").to_numpy()
    name = {"margin": "decision_function", "probability": "predict_proba"}
    ask = getattr(model, name.get(explainer.output, "predict"))

    def function(rows):
        outputs = ask(pd.DataFrame(rows, columns=frame.columns))
        is_binary = explainer.output == "margin"
        return np.stack([-outputs, outputs], axis=1) if is_binary else outputs

    values = np.atleast_3d(explainer.row_explainer.explain(frame[20:21]).values.T).T
    expected = shapley_by_definition(function, wide[20], wide[:10], np.ones(10))
    np.testing.assert_allclose(values[:, 0], expected, rtol=0, atol=1e-9)
    ScoringModel(model, KernelScoringExplainer(explainer)).self_check()


def test_a_narrow_type_does_not_let_a_wrong_engine_pass(off_by):
    """Single and half precision excuse what the model loses, not what the engine gets wrong."""
    off_by(1e-6)
    for dtype in ("float32", "float16"):
        frame = pd.DataFrame(X, columns=list("abcd")).astype(dtype)
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, Y > 0)
        assert TabularExplainer(model, frame, surrogate=False).method == "kernel"


@pytest.mark.parametrize("spelling", ["estimator", "search", "booster", "method", "blanks", "sums"])
def test_columns_that_lightgbm_would_take_for_one_another_are_refused(spelling):
    """It looks at no names, so examples in another order would be explained as other rows."""
    names = ["mean age", "b", "c", "d"] if spelling == "blanks" else list("abcd")
    frame = pd.DataFrame(X, columns=names)
    model = LGBMRegressor(n_estimators=10, min_child_samples=5, verbose=-1)
    model = GridSearchCV(model, {"num_leaves": [4]}, cv=2) if spelling == "search" else model
    model = VotingRegressor([("a", model), ("b", model)]) if spelling == "sums" else model
    model = model.fit(frame, Y)
    asked = {"booster": lambda: model.booster_, "method": lambda: model.predict}
    asked = asked.get(spelling, lambda: model)()
    moved = frame[[names[2], names[1], names[0], names[3]]]
    assert np.ptp(model.predict(moved) - model.predict(frame)) > 0.1
    with pytest.raises(ValueError, match=rf"column 'c' came in the place of '{names[0]}'"):
        TabularExplainer(asked, moved)
    assert TabularExplainer(asked, frame).features == names


def test_columns_in_another_order_are_refused_in_the_same_words_by_all_that_go_by_order():
    """Whether the model itself refuses them or not; what goes by names takes them."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    moved = frame[list("dbca")]
    for model in (Ridge(), XGBRegressor(n_estimators=5)):
        with pytest.raises(ValueError, match="column 'd' came in the place of 'a'; bring them"):
            TabularExplainer(model.fit(frame, Y), moved)
    by_name = make_column_transformer((StandardScaler(), ["a", "b"]), remainder="passthrough")
    model = make_pipeline(by_name, LGBMRegressor(n_estimators=10, verbose=-1)).fit(frame, Y)
    local = TabularExplainer(model, moved).explain_local(moved[:1])
    assert local.features == list("dbca")
    own = TabularExplainer(model, frame).explain_local(frame[:1]).local_importance_values[0]
    assert np.ptp(own) > 1e-3
    np.testing.assert_allclose(
        local.local_importance_values[0], np.take(own, [3, 1, 2, 0]), rtol=0, atol=1e-12
    )
