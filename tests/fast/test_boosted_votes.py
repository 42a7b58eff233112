"""AdaBoost: votes of trees as trees, and the weighted median of what trees predict."""

import pickle

import numpy as np
import pytest
from shapley_by_definition import shapley_by_definition
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer

RNG = np.random.default_rng(3)
X = RNG.normal(size=(150, 5))
SIGNAL = X[:, 0] * X[:, 1] * X[:, 2] + X[:, 3]
BACKGROUND = X[:20]
CLASSES = {2: np.where(SIGNAL > 0, "yes", "no"), 3: np.digitize(SIGNAL, [-0.5, 0.5])}
TREES = {
    "stumps": None,
    "trees": DecisionTreeClassifier(max_depth=3),
    "random trees": ExtraTreeClassifier(max_depth=3, random_state=0),
}


def expected_of(function, row):
    return shapley_by_definition(function, row, BACKGROUND, np.ones(len(BACKGROUND)))


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("name", TREES)
def test_margins_of_boosted_votes_are_exact(name, n_classes):
    """Each leaf votes for one class, with the weight of its tree."""
    model = AdaBoostClassifier(TREES[name], n_estimators=8, random_state=0)
    model.fit(X, CLASSES[n_classes])
    explainer = TabularExplainer(model, BACKGROUND, output="margin")
    assert explainer.method == "tree"
    values = explainer.row_explainer.explain(X[60:62]).values
    for i, row in enumerate(X[60:62]):
        expected = expected_of(model.decision_function, row)
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(values[-len(expected) :, i], expected, rtol=0, atol=1e-9)


def covered(explainer, function, rows):
    """How many importances are within 1.96 of their standard errors."""
    local = explainer.row_explainer.explain(rows)
    values = np.reshape(local.values, (-1, *local.values.shape[-2:]))
    errors = np.reshape(local.standard_errors, values.shape)
    assert errors.max() > 0
    expected = np.stack([expected_of(function, row) for row in rows], axis=1)
    return np.mean(np.abs(values - expected) <= 1.96 * errors + 1e-12)


@pytest.mark.parametrize("n_classes", CLASSES)
def test_probabilities_of_boosted_votes_are_sampled_around_the_margins(n_classes):
    """With few coalitions; saved and loaded, the same bytes."""
    model = AdaBoostClassifier(TREES["trees"], n_estimators=8, random_state=0)
    model.fit(X, CLASSES[n_classes])
    explainer = TabularExplainer(model, BACKGROUND, nsamples=24)
    assert (explainer.method, explainer.output) == ("kernel/tree", "probability")
    assert covered(explainer, model.predict_proba, X[60:70]) > 0.85
    scoring = KernelScoringExplainer(explainer)
    again = pickle.loads(pickle.dumps(scoring)).explain_rows(X[60:62])
    assert again.values.tobytes() == scoring.explain_rows(X[60:62]).values.tobytes()


def test_medians_of_boosted_trees_are_sampled_without_a_call():
    """The trees' own predictions are the controls."""
    model = AdaBoostRegressor(DecisionTreeRegressor(max_depth=3), n_estimators=8, random_state=0)
    model.fit(X, SIGNAL)
    explainer = TabularExplainer(model, BACKGROUND, nsamples=24)
    assert explainer.method == "kernel/tree"
    assert covered(explainer, model.predict, X[60:70]) > 0.85


def test_what_boosts_no_trees_is_called():
    """Votes of other models are no trees."""
    model = AdaBoostClassifier(LogisticRegression(), n_estimators=3).fit(X, CLASSES[2])
    assert TabularExplainer(model, BACKGROUND).method == "kernel"
