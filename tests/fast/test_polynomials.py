"""Powers of additive games: the closed form against the definition."""

import numpy as np
import pytest
from shapley_by_definition import shapley_by_definition, third_order_interaction

from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.polynomials import PolynomialKernel, polynomial_shapley


def machine(degree, grouping, seed=0):
    rng = np.random.default_rng(seed)
    n_columns = len(grouping.owner)
    support = rng.normal(size=(7, n_columns)) / n_columns
    return PolynomialKernel(
        support, 0.7, degree, rng.normal(size=(2, 7)), rng.normal(size=2), grouping
    )


def by_definition(kernel, row, background):
    """Players are numbers: −1 stands for the explained row, i ≥ 0 for background row i, in all
    columns of a feature.
    """
    n_features, owner = kernel.grouping.n_features, kernel.grouping.owner

    def function(codes):
        codes = codes[:, owner]
        columns = np.arange(len(owner))
        hybrids = np.where(codes < 0, row, background.rows[np.maximum(codes, 0), columns])
        return kernel.margins(hybrids)

    codes = np.tile(np.arange(len(background.rows))[:, None], n_features)
    return shapley_by_definition(function, np.full(n_features, -1), codes, background.weights)


@pytest.mark.parametrize(
    "owner", [[0, 1, 2, 3, 4], [0, 1, 1, 2, 3, 3, 3, 4]], ids=["columns", "groups"]
)
@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5, 8])
def test_any_degree_is_exact(degree, owner):
    """On a weighted background, for several margins, columns alone and in groups; to 1e-12 of the
    largest.
    """
    kernel = machine(degree, Grouping(np.array(owner), 5))
    rng = np.random.default_rng(1)
    rows, row = rng.normal(size=(9, len(owner))) * 2, rng.normal(size=len(owner)) * 2
    background = Background.weighted(rows, rng.random(9), "given", 9)
    expected = by_definition(kernel, row, background)
    assert (np.ptp(expected, axis=1) > 1e-3).all()
    values = polynomial_shapley(kernel, row, background)
    np.testing.assert_allclose(
        values, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max())
    )


def test_the_games_of_this_file_have_interactions_of_order_three():
    """Nothing here would be right by accident for games of pairs only."""
    kernel = machine(3, Grouping.identity(5))
    rng = np.random.default_rng(1)
    row, other = rng.normal(size=(2, 5)) * 2
    assert np.abs(third_order_interaction(kernel.margins, row, other)).min() > 1e-3


@pytest.mark.parametrize("owner", [[0, 1, 2, 3], [0, 1, 1, 2]], ids=["columns", "groups"])
def test_what_does_not_differ_gets_nothing(owner):
    """Exactly 0, and the others add up to the margin."""
    n_features = max(owner) + 1
    kernel = machine(3, Grouping(np.array(owner), n_features))
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(50, 4))
    rows[:, 0] = 0.3
    row = np.array([0.3, 1.0, -1.0, 2.0])
    background = Background.uniform(rows)
    values = polynomial_shapley(kernel, row, background)
    assert (values[:, 0] == 0).all()
    total = kernel.margins(row[None])[0] - background.mean(kernel.margins)
    np.testing.assert_allclose(values.sum(axis=1), total, rtol=0, atol=1e-12)


def test_a_large_background_is_cut_without_changing_the_result():
    """More rows than a chunk holds: the same as the mean over its halves."""
    rng = np.random.default_rng(3)
    kernel = PolynomialKernel(
        rng.normal(size=(400, 6)) / 6,
        1.0,
        3,
        rng.normal(size=(1, 400)),
        np.zeros(1),
        Grouping.identity(6),
    )
    rows, row = rng.normal(size=(300, 6)), rng.normal(size=6)
    whole = polynomial_shapley(kernel, row, Background.uniform(rows))
    halves = [
        polynomial_shapley(kernel, row, Background.uniform(half))
        for half in (rows[::2], rows[1::2])
    ]
    np.testing.assert_allclose(
        whole, np.mean(halves, axis=0), rtol=0, atol=1e-12 * np.abs(whole).max()
    )
