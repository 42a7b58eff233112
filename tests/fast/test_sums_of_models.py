"""Voting and stacked regressors of models of different kinds: the sum of what each is."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from shapley_by_definition import shapley_by_definition
from sklearn.compose import make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVR
from xgboost import XGBRegressor

from service.engines import builders
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = X[:, 0] * X[:, 1] + np.abs(X[:, 2]) + X[:, 3]
FRAME = pd.DataFrame(X, columns=list("abcde")).assign(
    town=RNG.choice(["Ghent", "Oslo", "Turin"], size=60)
)
FOREST = RandomForestRegressor(5, max_depth=3, random_state=0)
SCALED_SVR = make_pipeline(StandardScaler(), SVR())
LIGHT = LGBMRegressor(n_estimators=5, min_child_samples=5, verbose=-1)
BOTH = [("linear", Ridge()), ("forest", FOREST)]

MODELS = {
    "voting": VotingRegressor(BOTH),
    "weighted, one dropped": VotingRegressor(
        [*BOTH, ("none", "drop"), ("machine", SCALED_SVR)], weights=[3, 1, 5, 2]
    ),
    "trees of several libraries": VotingRegressor(
        [
            ("light", LIGHT),
            ("extreme", XGBRegressor(n_estimators=5)),
            ("boosting", GradientBoostingRegressor(n_estimators=5)),
            ("histogram", HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5)),
        ]
    ),
    "behind a scaler": make_pipeline(StandardScaler(), VotingRegressor(BOTH)),
    "of polynomials": VotingRegressor(
        [("terms", make_pipeline(PolynomialFeatures(), Ridge())), ("forest", FOREST)]
    ),
    "of sums": VotingRegressor([("inner", VotingRegressor(BOTH)), ("machine", SVR())]),
    "stacked": StackingRegressor([*BOTH, ("machine", SCALED_SVR)], Ridge(), cv=2),
    "stacked by default": StackingRegressor(BOTH, cv=2),
    "bagged pipelines": BaggingRegressor(SCALED_SVR, 3, random_state=0),
    "exponential": VotingRegressor([("counts", PoissonRegressor()), ("forest", FOREST)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_importances_are_those_of_the_definition(name):
    """By calling the whole model on every coalition and every example; nothing is estimated."""
    model = MODELS[name].fit(X, Y - Y.min())
    explainer = TabularExplainer(model, X)
    local = explainer.explain_local(X[:2] + 0.2)
    assert (local.method, local.standard_errors) == ("sum", None)

    def ask(rows):
        return model.predict(rows)[:, None]

    expected = shapley_by_definition(ask, X[1] + 0.2, X, np.ones(len(X)))[0]
    rounding = 2e-6 if "several" in name else 1e-9  # XGBoost adds up in single precision
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(local.local_importance_values[1], expected, rtol=0, atol=rounding)


def test_each_part_may_have_preprocessing_of_its_own():
    """Of a frame with text, by name; the players stay the raw columns."""
    encoded = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    numbers = make_column_transformer((StandardScaler(), ["c", "a"]))
    model = VotingRegressor(
        [
            ("forest", make_pipeline(encoded, FOREST)),
            ("linear", make_pipeline(numbers, Lasso(0.1))),
            ("both", make_pipeline(encoded, PolynomialFeatures(), Ridge())),
        ]
    ).fit(FRAME, Y)
    explainer = TabularExplainer(model, FRAME)
    assert explainer.method == "sum"

    def ask(rows):
        frame = pd.DataFrame(rows, columns=FRAME.columns).astype(FRAME.dtypes)
        return model.predict(frame)[:, None]

    rows = FRAME.to_numpy()
    expected = shapley_by_definition(ask, rows[3], rows, np.ones(len(rows)))[0]
    found = explainer.explain_local(FRAME[["town", *"edcba"]].iloc[3:4])
    np.testing.assert_allclose(found.local_importance_values[0], expected, rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore:The importances of engine 'sum' are off")
def test_a_sampled_background_is_the_same_for_all_parts():
    """Expected value and importances add up to the prediction, and the errors are said."""
    model = VotingRegressor(BOTH).fit(X, Y)
    explainer = TabularExplainer(model, X, background="sample", background_size=40)
    local = explainer.explain_local(X[:5])
    sums = np.sum(local.local_importance_values, axis=1) + local.expected_values
    np.testing.assert_allclose(sums, model.predict(X[:5]), rtol=0, atol=1e-12)
    assert explainer.method == "sum"
    assert local.standard_errors is not None


def voting(of):
    return VotingClassifier([("l", LogisticRegression()), ("b", of)], voting="soft", weights=[1, 3])


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (voting(RandomForestClassifier(5, max_depth=3, random_state=0)), "sum/sampled"),
        (voting(GradientBoostingClassifier(n_estimators=5)), "kernel/stacked"),
        (BaggingClassifier(LogisticRegression(), 4, random_state=0), "kernel/stacked"),
    ],
)
def test_errors_of_a_sum_are_those_that_it_has(model, method):
    """An exact part adds none, and parts behind links are sampled together.

    Of twelve features: the truth is the mean of both models on all coalitions.
    """
    rng = np.random.default_rng(3)
    wide = rng.normal(size=(40, 12))
    model.fit(wide, wide[:, 0] * wide[:, 1] + wide[:, 2] > 0)
    explainer = TabularExplainer(model, wide, nsamples=200)
    local = explainer.row_explainer.explain(wide[:4])
    expected = []
    for row in wide[:4]:
        expected.append(shapley_by_definition(model.predict_proba, row, wide, np.ones(40)))
    off = np.abs(local.values - np.stack(expected, axis=1))
    assert explainer.method == method
    assert 0 < local.standard_errors.mean() < 0.3 * np.abs(local.values).mean()
    assert np.sqrt(np.square(off / local.standard_errors).mean()) < 1.3
    sums = local.values.sum(axis=2).T + local.expected_values
    np.testing.assert_allclose(sums, model.predict_proba(wide[:4]), rtol=0, atol=1e-9)
    assert KernelScoringExplainer(explainer).to_dict()["relative_standard_error"] > 0


def test_a_large_forest_in_a_sum_is_sampled_by_its_own_outputs(monkeypatch):
    """Its mean over the examples is that of the forest, not that of the whole model."""
    monkeypatch.setattr(builders, "affordable_rows", lambda _: 0)
    monkeypatch.setattr(builders, "AFFORDABLE_STEPS", 0)
    monkeypatch.setattr(builders, "N_SAMPLED_ROWS", 30)
    monkeypatch.setattr("service.shapley.trees.sampled.MOST_NUMBERS", 0)  # nothing is exact
    model = VotingRegressor([("l", Ridge()), ("f", FOREST)]).fit(X, Y + 10 * X[:, 4])
    explainer = TabularExplainer(model, X)
    local = explainer.row_explainer.explain(X[:5])
    assert explainer.method == "sum/sampled"
    np.testing.assert_allclose(local.expected_values, model.predict(X).mean(), rtol=1e-12)
    np.testing.assert_allclose(
        local.values.sum(axis=1) + local.expected_values, model.predict(X[:5]), rtol=1e-9
    )
    expected = []
    for row in X[:5]:
        expected.append(
            shapley_by_definition(lambda r: model.predict(r)[:, None], row, X, np.ones(60))[0]
        )
    off, said = local.values - expected, local.standard_errors
    assert np.sqrt(np.square(off).mean()) < 1.3 * np.sqrt(np.square(said).mean())


def test_a_bagged_model_without_a_class_is_called():
    """Linear models with other outputs than each other cannot be added up; the note says so."""
    rare = np.where(np.arange(60) < 2, "rare", np.where(np.median(Y) < Y, "high", "low"))
    inside = LinearDiscriminantAnalysis()  # which takes no weights, so that each sees a sample
    model = BaggingClassifier(inside, 4, max_samples=20, random_state=0).fit(X, rare)
    assert len(set(map(len, (part.classes_ for part in model.estimators_)))) == 2
    explainer = TabularExplainer(model, X)
    assert explainer.method == "kernel"
    assert "other numbers of outputs" in explainer.row_explainer.note


def test_it_is_saved_and_loaded(tmp_path):
    """The same bytes, alone and in a batch."""
    model = MODELS["stacked"].fit(X, Y)
    explainer = KernelScoringExplainer(TabularExplainer(model, X))
    save(explainer, tmp_path / "saved", original_model=model)
    loaded = load(tmp_path / "saved")
    assert loaded.explain(X[:3]) == explainer.explain(X[:3])
    assert loaded.explain(X[2:3])[0] == loaded.explain(X[:3])[2]


CALLED = {
    "neighbours": VotingRegressor([*BOTH, ("near", KNeighborsRegressor(metric="chebyshev"))]),
    "no linear last one": StackingRegressor(BOTH, SVR(), cv=2),
}


@pytest.mark.parametrize("name", CALLED)
def test_what_is_no_sum_of_known_parts_is_called(name):
    """And its importances add up all the same."""
    model = CALLED[name].fit(X, Y)
    explainer = TabularExplainer(model, X)
    local = explainer.explain_local(X[:3])
    assert explainer.method == "kernel"
    sums = np.sum(local.local_importance_values, axis=1) + local.expected_values
    np.testing.assert_allclose(sums, model.predict(X[:3]), rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore:The importances of engine 'kernel' are off")
def test_centres_would_be_others_for_each_part():
    """So a summary of the examples is met by the model as a whole."""
    scaled = make_pipeline(StandardScaler(), PolynomialFeatures(), Ridge())
    model = VotingRegressor([("terms", scaled), ("forest", FOREST)]).fit(X, Y)
    explainer = TabularExplainer(model, X, background="kmeans")
    assert explainer.method == "kernel"
