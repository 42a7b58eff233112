"""Bagged, voting and calibrated models of trees are looked into: their mean is a sum of trees."""

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from shapley_by_definition import shapley_by_definition
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = X[:, 0] * X[:, 1] + np.abs(X[:, 2])
BINARY = np.where(np.median(Y) < Y, "yes", "no")
RARE = np.array(["a", "b", "c"])[np.digitize(Y, np.quantile(Y, [0.5, 0.95]))]
FOREST = RandomForestClassifier(3, max_depth=3, random_state=0)
TREE = DecisionTreeClassifier(max_depth=4)

# By name: the model, its targets and the engine.
MODELS = {
    "trees that see a column twice": (
        BaggingRegressor(
            DecisionTreeRegressor(max_depth=4), 5, bootstrap_features=True, random_state=0
        ),
        Y,
        "tree",
    ),
    "bagged trees": (BaggingRegressor(DecisionTreeRegressor(max_depth=4), 5), Y, "tree"),
    "bagged trees of some columns": (
        BaggingRegressor(DecisionTreeRegressor(max_depth=4), 5, max_features=2),
        Y,
        "tree",
    ),
    "bagged classifiers, some without a class": (
        BaggingClassifier(TREE, 6, max_samples=0.2, max_features=3, random_state=1),
        RARE,
        "tree",
    ),
    "voting forests": (
        VotingRegressor(
            [(str(n), RandomForestRegressor(n, max_depth=3)) for n in (2, 3)], weights=[1, 3]
        ),
        Y,
        "tree",
    ),
    "soft votes": (
        VotingClassifier(
            [("f", FOREST), ("e", ExtraTreesClassifier(4, max_depth=3))], voting="soft"
        ),
        RARE,
        "tree",
    ),
    "soft votes behind scalers of their own": (
        VotingClassifier(
            [("f", make_pipeline(StandardScaler(), FOREST)), ("t", TREE)],
            voting="soft",
            weights=[2, 1],
        ),
        BINARY,
        "sum",
    ),
    "soft votes of a logistic regression and a forest": (
        VotingClassifier(
            [("l", LogisticRegression()), ("f", FOREST)], voting="soft", weights=[2, 1]
        ),
        RARE,
        "sum",
    ),
    "soft votes of boosting, a calibration and a machine behind a scaler": (
        VotingClassifier(
            [
                ("b", LGBMClassifier(n_estimators=3, verbose=-1, min_child_samples=3)),
                ("c", CalibratedClassifierCV(LogisticRegression(), cv=2)),
                ("m", make_pipeline(StandardScaler(), SGDClassifier("log_loss", random_state=0))),
            ],
            voting="soft",
        ),
        BINARY,
        "kernel/stacked",
    ),
    "bagged logistic regression": (
        BaggingClassifier(LogisticRegression(), 4, max_features=3, random_state=0),
        BINARY,
        "kernel/stacked",
    ),
    "calibrated forest": (CalibratedClassifierCV(FOREST, cv=2), BINARY, "kernel/tree"),
    "calibrated forest of three": (
        CalibratedClassifierCV(FOREST, cv=2, method="isotonic"),
        np.array(["a", "b", "c"])[np.digitize(Y, np.quantile(Y, [0.4, 0.7]))],
        "kernel/tree",
    ),
    "calibrated boosting": (
        CalibratedClassifierCV(
            LGBMClassifier(n_estimators=3, verbose=-1, min_child_samples=3), cv=2, ensemble=False
        ),
        BINARY,
        "kernel/tree",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_importances_are_those_of_the_definition(name):
    """With few features nothing is estimated, whatever stands behind the trees."""
    model, targets, method = MODELS[name]
    model.fit(X, targets)
    explainer = TabularExplainer(model, X, background="whole")
    local = explainer.row_explainer.explain(X[:2] + 0.2)
    assert (explainer.method, explainer.row_explainer.note) == (method, "")
    ask = getattr(model, "predict_proba", lambda rows: model.predict(rows)[:, None])
    expected = shapley_by_definition(ask, X[1] + 0.2, X, np.ones(len(X)))
    assert np.ptp(expected) > 0.01
    values = np.atleast_3d(local.values.T).T  # (n_outputs, n_rows, n_features)
    np.testing.assert_allclose(values[:, 1], expected, rtol=0, atol=1e-9)


def test_a_calibrated_forest_is_saved(tmp_path):
    """The artifact holds the trees and the calibration, and answers the same."""
    model, targets, _ = MODELS["calibrated forest"]
    explainer = TabularExplainer(model.fit(X, targets), X)
    save(KernelScoringExplainer(explainer), tmp_path / "models", original_model=model)
    expected = explainer.row_explainer.explain(X[:3]).values
    assert np.array_equal(load(tmp_path / "models").row_explainer.explain(X[:3]).values, expected)


def test_hard_votes_are_no_means():
    """They are counted, not averaged."""
    model = VotingClassifier([("f", FOREST), ("t", TREE)]).fit(X, BINARY)
    assert TabularExplainer(model, X[:20]).method == "kernel"
