"""A link behind what features take of a margin: its Shapley values, and what it is worth."""

import numpy as np
import pytest
from scipy.special import expit
from shapley_by_definition import shapley_by_definition
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier

from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.kernel import Sampling, kernel_shapley
from service.shapley.kernels.waves import wave_sums
from service.shapley.plan import make_plan
from service.shapley.trees import Forest, LinkedTreeGame, TreeGame
from service.shapley.trees.curves import Curve
from service.structures.links import logistic
from service.structures.sklearn_trees import read_gradient_boosting

N_FEATURES = 13
SEEDS = 40


def sums(n_features, seed=0):
    """Margins of some background rows, what each feature adds to them, and their weights."""
    rng = np.random.default_rng(seed)
    start, parts = rng.normal(size=5) - 2, rng.normal(size=(5, n_features))
    return start, parts, rng.dirichlet(np.ones(5))


def both_classes(n_margin):
    """Outputs that do not mirror each other, of margins (n, 1)."""
    return np.hstack([expit(3 * n_margin), np.exp(n_margin / 5)])


@pytest.mark.parametrize("n_features", [2, 5, 9])
@pytest.mark.parametrize(("link", "n_curves"), [(logistic, 1), (both_classes, 2)])
def test_a_curve_has_the_shapley_values_of_the_definition(n_features, link, n_curves):
    """Of its own game: a sum of cosines, which comes close to the link."""
    start, parts, weights = sums(n_features)
    curve = Curve.of(start, parts, weights, link)
    assert curve.waves.shape[1] == n_curves
    angles = curve.angles

    def outputs(rows):
        """Evaluate hybrid rows: features that are 1 are the explained row's, the last says which
        background row.
        """
        row = rows[:, -1].astype(int)
        at = angles.start[row] + (rows[:, :-1] * angles.parts[row]).sum(axis=1)
        return wave_sums(at, curve.waves)

    rows = np.hstack([np.zeros((5, n_features)), np.arange(5)[:, None]])
    expected = 0
    for row, weight in zip(rows, weights, strict=True):
        explained = np.append(np.ones(n_features), row[-1])
        expected += weight * shapley_by_definition(outputs, explained, row[None], np.ones(1))
    np.testing.assert_allclose(
        curve.shapley_values(), expected[..., :n_features], rtol=0, atol=1e-12
    )
    assert np.abs(expected).max() > 1e-2
    far = np.linspace(0.1, 0.9, 30)  # of the way from the least sum to the largest
    lowest = start[0] - angles.start[0] * parts[0, 0] / angles.parts[0, 0]
    margin = lowest + far[:, None] * np.pi * parts[0, 0] / angles.parts[0, 0]
    missed = wave_sums(far * np.pi, curve.waves) - link(margin)[:, -n_curves:]
    assert np.abs(missed - missed.mean(axis=0)).max() < 0.05


@pytest.mark.parametrize("evaluations", [80, None])
def test_pairs_of_a_curve_differ_as_the_sums_of_cosines_do(evaluations):
    """On drawn background rows and on all; players alone."""
    start, parts, weights = sums(6)
    parts[:, 2] = 0
    players = np.array([0, 1, 3, 4, 5])
    curve = Curve.of(start, parts, weights, logistic)
    plan = make_plan(Background.uniform(np.zeros((5, 6))), 5, 20, evaluations, 0)
    n_pairs = len(plan.pairs.members)
    rows = np.tile(np.arange(5), (n_pairs, 1)) if plan.draws is None else plan.draws
    assert (plan.draws is None) == (evaluations is None)
    inside, outside = np.zeros((2, n_pairs, 6))
    inside[:, players], outside[:, players] = plan.pairs.members, ~plan.pairs.members
    expected = at(curve, inside, rows) - at(curve, outside, rows)
    np.testing.assert_allclose(curve.differences(players, plan), expected, rtol=0, atol=1e-12)
    assert np.abs(expected).max() > 1e-2


def at(curve, inside, rows):
    """Evaluate the curve for coalitions on background rows."""
    added = np.einsum("pdj,pj->pd", curve.angles.parts[rows], inside)
    return wave_sums(curve.angles.start[rows] + added, curve.waves)


def test_there_is_no_curve_of_nothing_and_none_of_infinities():
    """Where no feature moves a margin, and where a link overflows."""
    start, parts, weights = sums(4)
    assert Curve.of(np.ones(5), np.zeros((5, 4)), weights, logistic) is None
    assert Curve.of(start, parts, weights, np.exp) is not None
    assert Curve.of(start, 1000 * parts, weights, np.exp) is None
    opposite = np.tile([20.0, -20.0, 0.1, 0.0], (5, 1))
    assert Curve.of(start, opposite, weights, np.exp) is None
    assert Curve.of(start, 1000 * parts, weights, logistic) is not None


def boosted():
    """The game of boosted probabilities, and a row."""
    x, y = make_classification(300, N_FEATURES, n_informative=8, random_state=0)
    model = GradientBoostingClassifier(n_estimators=40, random_state=0).fit(x, y)
    structure = read_gradient_boosting(model, "margin")
    grouping = Grouping.identity(N_FEATURES)
    forest = Forest.of(structure.trees, grouping)
    background = Background.uniform(x[:25])
    margins = TreeGame(forest, structure.offset, background, structure.input_dtype, N_FEATURES)
    return LinkedTreeGame(margins, logistic, background, grouping), x[100]


class WithoutCurve(LinkedTreeGame):
    """The same game with margins and marks as its only controls."""

    def for_row(self, row):
        return self


def test_a_curve_lowers_the_error_and_its_standard_errors_hold():
    """For the same work; and also where runs stop early. The truth is exact, by all coalitions."""
    game, row = boosted()
    exact = kernel_shapley(game, row, Sampling(coalitions=2**N_FEATURES - 2))
    assert not exact.standard_errors.any()
    without = WithoutCurve(game.margins, game.link, game.background, game.grouping)
    covered, errors, errors_without = [], [], []
    for seed in range(SEEDS):
        stopped = kernel_shapley(game, row, Sampling(1200, 2400, seed, in_stages=True))
        off = np.abs(stopped.values - exact.values)
        covered.append((off < 1.96 * stopped.standard_errors).mean())
        for estimated, found in ((game, errors), (without, errors_without)):
            estimate = kernel_shapley(estimated, row, Sampling(1200, 2400, seed))
            found.append(np.square(estimate.values - exact.values).mean())
    assert 0.92 < np.mean(covered) < 0.99
    assert np.mean(errors) < np.mean(errors_without) / 2
