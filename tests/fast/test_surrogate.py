import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from service.engines.surrogate import with_surrogate
from service.explainers import TabularExplainer
from service.shapley.background import Background
from service.shapley.games import BlackBoxGame
from service.shapley.kernel import Sampling, kernel_shapley

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 10))
ROWS = RNG.normal(size=(6, 10))


def smooth(x):
    """Interactions that trees learn well enough to help."""
    return (np.tanh(x[:, 0] * x[:, 1]) + x[:, 2] * np.maximum(x[:, 3], 0) + np.sin(x[:, 4]))[
        :, None
    ]


def noise(x):
    """Nothing that a model could learn: a hash of the row."""
    return np.sin(1e6 * x.sum(axis=1))[:, None]


def test_a_surrogate_lowers_the_error_and_keeps_the_estimate_unbiased():
    """Over many seeds the mean is the truth on the whole background, with a smaller spread than
    without it.
    """
    background = Background.uniform(X)
    plain = BlackBoxGame(smooth, background)
    controlled = with_surrogate(plain, X, random_state=0)
    assert controlled.control is not None
    truth = kernel_shapley(plain, ROWS[0], Sampling()).values
    runs = {
        game: np.array(
            [kernel_shapley(game, ROWS[0], Sampling(None, 2000, seed)).values for seed in range(30)]
        )
        for game in (plain, controlled)
    }
    spread = runs[controlled].std(axis=0, ddof=1)
    assert spread.mean() < 0.8 * runs[plain].std(axis=0, ddof=1).mean()
    assert (np.abs(runs[controlled].mean(axis=0) - truth) < 4.5 * spread / np.sqrt(30)).all()
    np.testing.assert_allclose(runs[controlled].sum(axis=2), truth.sum(), rtol=0, atol=1e-12)


def test_a_surrogate_that_does_not_pay_is_not_used():
    """What cannot be learned is sampled as it is."""
    game = BlackBoxGame(noise, Background.uniform(X))
    assert with_surrogate(game, X, random_state=0) is game


def with_gaps(kind):
    """Columns that a boosting refuses, at the ends and in the middle."""
    rows = X.copy()
    rows[:, [0, 6]] = np.nan
    rows[::7, 9] = np.inf
    rows[::5, 2] = np.nan
    return {"rows": rows, "all": np.full_like(X, np.nan), "infinite": np.full_like(X, np.inf)}[kind]


def lenient(x):
    """A model that takes whatever comes; the second half of it can be learned from what is left."""
    filled = np.nan_to_num(x, nan=0.0, posinf=3.0)
    return smooth(filled) + (filled[:, 9] > 2)[:, None] + filled[:, 1:2] * filled[:, 3:4]


def test_columns_that_a_surrogate_cannot_take_are_left_out():
    """Columns without values and with infinities: the rest helps, and the estimate is the truth."""
    rows = with_gaps("rows")
    plain = BlackBoxGame(lenient, Background.uniform(rows))
    controlled = with_surrogate(plain, rows, random_state=0)
    assert controlled.control.columns.tolist() == [1, 2, 3, 4, 5, 7, 8]
    truth = kernel_shapley(plain, rows[7], Sampling()).values
    estimate = kernel_shapley(controlled, rows[7], Sampling(None, 4000, 1))
    off = np.abs(estimate.values - truth)
    assert (off <= 5 * estimate.standard_errors + 1e-12).all()
    assert (truth[:, [0, 6]] == 0).all()
    assert (estimate.values[:, [0, 6]] == 0).all()
    values = controlled.control.shapley_values(rows[7])
    sums = controlled.control.predict(rows[7:8]) - controlled.control.predict(rows).mean(axis=0)
    np.testing.assert_allclose(values.sum(axis=1), sums[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["all", "infinite"])
def test_no_column_to_take_is_no_reason_to_fail(kind):
    """There is no surrogate then."""
    rows = with_gaps(kind)
    game = BlackBoxGame(lenient, Background.uniform(rows))
    assert with_surrogate(game, rows, random_state=0) is game


def test_a_surrogate_that_fails_ends_no_build(monkeypatch):
    """Whatever goes wrong inside of it, the model is sampled as it is."""

    def fail(*arguments, **options):
        raise RuntimeError("out of something")

    monkeypatch.setattr(HistGradientBoostingRegressor, "fit", fail)
    game = BlackBoxGame(smooth, Background.uniform(X))
    assert with_surrogate(game, X, random_state=0) is game


@pytest.mark.parametrize(
    "column",
    [np.full(300, np.nan), np.full(300, 7.0), np.where(np.arange(300) == 41, 5.0, np.nan)],
    ids=["no value", "one value", "one row"],
)
def test_a_pipeline_that_fills_gaps_is_explained_with_a_column_nobody_has_filled_in(column):
    """Its importance is 0 where it never changes the answer, and the build does not end."""
    frame = pd.DataFrame(X[:, :4], columns=list("abcd"))
    y = frame["a"] + frame["b"] > 0
    frame["c"] = column
    model = make_pipeline(SimpleImputer(keep_empty_features=True), KNeighborsClassifier())
    explainer = TabularExplainer(model.fit(frame, y), frame)
    values = explainer.explain_local(frame[:2]).local_importance_values
    np.testing.assert_allclose(np.array(values)[..., 2], 0, rtol=0, atol=1e-12)


def test_columns_that_are_not_numbers_get_no_surrogate():
    """Text columns are sampled as they are."""
    mixed = X.astype(object)
    game = BlackBoxGame(lambda x: smooth(x.astype(float)), Background.uniform(mixed))
    assert with_surrogate(game, mixed, random_state=0) is game
