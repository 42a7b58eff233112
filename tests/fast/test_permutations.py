"""Very many features: sampled orders instead of coalitions."""

import numpy as np
import pytest
from shapley_by_definition import shapley_by_definition
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save
from service.shapley.grouping import Grouping
from service.shapley.permutations import PermutationGame, deal_rows
from service.shapley.survey import Population
from service.structures.reading import read_structure

pytestmark = pytest.mark.filterwarnings("ignore:The importances of engine:UserWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 300))
CLASSES = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
THREE = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_orders_estimate_the_values_of_the_definition(n_classes):
    """Over seeds: unbiased, additive, within the standard errors, which are rather too large.

    They take the background rows for drawn with repetition.
    """
    model = LogisticRegression(C=20).fit(X[:, :6], {2: CLASSES, 3: THREE}[n_classes])
    few = RNG.normal(size=(600, 6))
    additive = read_structure(model, "probability").additive
    population = Population(few, model.predict_proba(few))
    grouping = Grouping.identity(6)
    truth = shapley_by_definition(model.predict_proba, X[50, :6], few, np.ones(600))
    found = []
    for seed in range(20):
        game = PermutationGame(additive, population, grouping, n_orders=100, seed=seed)
        values, errors = game.estimate(X[50, :6])
        assert np.abs(values.sum(axis=1) - truth.sum(axis=1)).max() < 1e-12
        found.append((values - truth) / errors)
    assert 0.6 < np.sqrt(np.mean(np.square(found))) < 1.2
    assert np.abs(np.mean(found, axis=0)).max() < 4 / np.sqrt(20)


def test_features_without_a_coefficient_change_nothing_of_the_others():
    """Four of 300 features matter: they have the values of the game of four, all others 0."""
    model = LogisticRegression(C=20).fit(X, CLASSES)
    model.coef_[:, 4:] = 0.0
    local = TabularExplainer(model, X, output="probability").row_explainer.explain(X[:2])
    assert local.method == "permutation/linear"

    def of_four(rows):
        return model.predict_proba(np.hstack([rows, np.zeros((len(rows), 296))]))

    for i in range(2):
        truth = shapley_by_definition(of_four, X[i, :4], X[:, :4], np.ones(len(X)))
        off = (local.values[:, i, :4] - truth) / local.standard_errors[:, i, :4]
        assert np.abs(off).max() < 4
        assert not local.values[:, i, 4:].any()


WIDE = {
    "logistic": (make_pipeline(StandardScaler(), LogisticRegression()), CLASSES, "linear"),
    "softmax": (LogisticRegression(), THREE, "linear"),
    "network": (MLPClassifier((8,), max_iter=15, random_state=0), CLASSES, "network"),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("case", WIDE)
def test_wide_models_are_answered_with_standard_errors(case, tmp_path):
    """Sums and expected values are exact; the same bytes alone, in a batch and once loaded."""
    model, targets, kind = WIDE[case]
    model.fit(X, targets)
    explainer = TabularExplainer(model, X, output="probability")
    local = explainer.row_explainer.explain(X[:3])
    assert local.method == f"permutation/{kind}"
    assert 0 < local.standard_errors.mean() < 0.5 * np.abs(local.values).mean()
    total = local.values.sum(axis=-1).T + local.expected_values
    np.testing.assert_allclose(total, model.predict_proba(X[:3]), rtol=0, atol=1e-9)
    expected = model.predict_proba(X).mean(axis=0)
    np.testing.assert_allclose(local.expected_values, expected, rtol=0, atol=1e-9)
    loaded = load(save(KernelScoringExplainer(explainer), tmp_path / "saved"))
    assert loaded.explain_rows(X[:3]).values.tobytes() == local.values.tobytes()
    alone = loaded.explain_rows(X[1:2]).values
    assert alone.tobytes() == np.ascontiguousarray(local.values[:, 1:2]).tobytes()


def test_a_chosen_amount_of_work_is_done_with_coalitions():
    """A number of coalitions, or a background, says how; the default does not."""
    model = LogisticRegression().fit(X, CLASSES)
    explainer = TabularExplainer(model, X, output="probability", nsamples=1500)
    assert explainer.method == "kernel/linear"
    narrow = LogisticRegression().fit(X[:, :200], CLASSES)
    assert TabularExplainer(narrow, X[:, :200], output="probability").method == "kernel/linear"


def test_rows_are_dealt_about_equally_often():
    """From decks of all rows."""
    counts = np.bincount(deal_rows(7, 17, seed=0), minlength=7)
    assert (counts.sum(), counts.min(), counts.max()) == (17, 2, 3)


def test_a_build_says_that_wide_answers_are_rough():
    """Before a row is explained."""
    model = LogisticRegression(C=1000).fit(X, CLASSES)
    with pytest.warns(UserWarning, match="'permutation/linear' are off by about"):
        TabularExplainer(model, X, output="probability")
