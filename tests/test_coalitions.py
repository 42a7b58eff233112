from itertools import product
from math import comb

import numpy as np
import pytest

from service.shapley.coalitions import choose_coalitions, default_budget, smallest_budget


@pytest.mark.parametrize("n_players", [2, 3, 4, 7, 10])
def test_a_budget_that_covers_every_coalition_enumerates_them_all_once(n_players):
    """With 2^n − 2 or more, each proper coalition is there exactly once, with the Shapley kernel's weight."""
    design = choose_coalitions(n_players, 2**n_players - 2, seed=0)
    assert design.complete
    expected = {c for c in product([False, True], repeat=n_players) if 0 < sum(c) < n_players}
    assert {tuple(c) for c in design.members.tolist()} == expected
    assert len(design.members) == len(expected)
    sizes = design.members.sum(axis=1)
    kernel = [(n_players - 1) / (comb(n_players, s) * s * (n_players - s)) for s in sizes]
    np.testing.assert_allclose(design.weights, kernel)


@pytest.mark.parametrize("n_players", [12, 13, 30, 31, 60, 100])
@pytest.mark.parametrize("budget_of", [smallest_budget, default_budget])
def test_a_sampled_design_is_paired_distinct_and_within_its_budget(n_players, budget_of):
    """Every coalition is followed by its complement, none comes twice, and every size keeps its kernel mass."""
    budget = budget_of(n_players)
    design = choose_coalitions(n_players, budget, seed=0)
    assert not design.complete
    assert len(design.members) <= budget
    assert (design.members[::2] == ~design.members[1::2]).all()
    assert len(np.unique(design.members, axis=0)) == len(design.members)
    sizes = design.members.sum(axis=1)
    mass = np.bincount(sizes, design.weights, minlength=n_players)[1:n_players]
    np.testing.assert_allclose(mass, [(n_players - 1) / (s * (n_players - s)) for s in range(1, n_players)])


def test_the_seed_decides_the_sampled_part_and_nothing_else_does():
    """The same seed gives the same design, another seed another one."""
    first = choose_coalitions(30, 500, seed=1).members.copy()
    choose_coalitions.cache_clear()
    assert (choose_coalitions(30, 500, seed=1).members == first).all()
    assert (choose_coalitions(30, 500, seed=2).members != first).any()


def test_a_budget_too_small_for_any_design_is_refused():
    """The message says how many coalitions are needed."""
    with pytest.raises(ValueError, match="expected at least 120 coalitions for 30 features, got 50"):
        choose_coalitions(30, 50, seed=0)


def test_a_shared_design_cannot_be_changed():
    """Designs are cached for all threads, so their arrays are read-only."""
    with pytest.raises(ValueError, match="read-only"):
        choose_coalitions(5, 30, seed=0).members[0, 0] = True
