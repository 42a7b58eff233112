from itertools import product
from math import comb

import numpy as np
import pytest

from service.shapley.coalitions import choose_pairs, default_budget, smallest_budget


def kernel_weight(n_players, size):
    return (n_players - 1) / (comb(n_players, size) * size * (n_players - size))


@pytest.mark.parametrize("n_players", [2, 3, 4, 7, 10])
def test_a_budget_that_covers_every_coalition_enumerates_them_all_once(n_players):
    """With 2^n − 2 or more, each proper coalition is on one side of one pair, with the Shapley
    kernel's weight.
    """
    design = choose_pairs(n_players, 2**n_players - 2, seed=0)
    assert design.complete
    expected = {c for c in product([False, True], repeat=n_players) if 0 < sum(c) < n_players}
    sides = np.concatenate([design.members, ~design.members])
    assert {tuple(c) for c in sides.tolist()} == expected
    assert len(sides) == len(expected)
    sizes = design.members.sum(axis=1)
    np.testing.assert_allclose(design.weights, [kernel_weight(n_players, s) for s in sizes])


@pytest.mark.parametrize("n_players", [12, 13, 30, 31, 60, 100, 1500])
@pytest.mark.parametrize("budget_of", [smallest_budget, default_budget])
def test_a_sampled_design_is_distinct_within_its_budget_and_keeps_the_kernel(n_players, budget_of):
    """No coalition comes twice, every size keeps its kernel mass, and `unseen` tells the share that
    was left out.
    """
    budget = budget_of(n_players)
    design = choose_pairs(n_players, budget, seed=0)
    assert not design.complete
    sides = np.concatenate([design.members, ~design.members])
    assert len(sides) <= budget
    assert len(np.unique(sides, axis=0)) == len(sides)
    size = design.members.sum(axis=1)
    for s in range(1, n_players // 2 + 1):
        all_of_size = comb(n_players, s) // (2 if 2 * s == n_players else 1)
        mass = design.weights[size == s].sum()
        kernel_mass = (n_players - 1) / (s * (n_players - s)) / (2 if 2 * s == n_players else 1)
        np.testing.assert_allclose(mass, kernel_mass)
        np.testing.assert_allclose(
            design.unseen[size == s], 1 - int((size == s).sum()) / min(all_of_size, 2**62)
        )


def test_the_seed_decides_the_sampled_part_and_nothing_else_does():
    """The same seed gives the same design, another seed another one."""
    first = choose_pairs(30, 500, seed=1).members.copy()
    choose_pairs.cache_clear()
    assert (choose_pairs(30, 500, seed=1).members == first).all()
    assert (choose_pairs(30, 500, seed=2).members != first).any()


def test_a_budget_too_small_for_any_design_is_refused():
    """The message says how many coalitions are needed."""
    with pytest.raises(
        ValueError, match="expected at least 120 coalitions for 30 features, got 50"
    ):
        choose_pairs(30, 50, seed=0)


def test_a_shared_design_cannot_be_changed():
    """Designs are cached for all threads, so their arrays are read-only."""
    with pytest.raises(ValueError, match="read-only"):
        choose_pairs(5, 30, seed=0).members[0, 0] = True
