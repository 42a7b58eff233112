"""Which coalitions are evaluated.

Coalitions always come in pairs, a coalition with its complement: only the difference of their
values enters the regression, and the even-order part of the sampling error cancels. Small and large
sizes are enumerated as long as the budget covers them; the sizes in between are sampled without
repetition, each with the same share of the budget (the leverage scores of the regression are
uniform over sizes; the middle size of an even number of players is its own complement and gets half
a share) and weighted back to the Shapley kernel.

Sources: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions" (2017), for the
kernel; Covert and Lee, "Improving KernelSHAP" (2021), for pairs; Musco and Witter, "Provably
Accurate Shapley Value Estimation via Leverage Score Sampling" (2024), for the shares.

Next: :mod:`service.shapley.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairs:
    """Pairs {coalition, complement} with their regression weights.

    Attributes
    ----------
    members : ndarray of bool, shape (n_pairs, n_players)
        One side of each pair; the other is its complement. The empty and the full coalition are not
        among them.
    weights : ndarray of shape (n_pairs,)
    unseen : ndarray of shape (n_pairs,)
        Which share of the pairs of the same size was not taken: 0 where all are there, so that they
        carry no error of the sampled coalitions.
    """

    members: NDArray[np.bool_]
    weights: NDArray[np.float64]
    unseen: NDArray[np.float64]

    @property
    def complete(self) -> bool:
        """True when every coalition is there, so that the regression is exact."""
        return not self.unseen.any()

    def taken(self, rows: NDArray[np.intp] | slice) -> Pairs:
        """Return some of the pairs as they are."""
        return Pairs(self.members[rows], self.weights[rows], self.unseen[rows])


def default_budget(n_players: int) -> int:
    """Return what ``nsamples="auto"`` takes at most: 2·n_players + 2048, as in shap.

    More than 1,024 players need more than that.
    """
    return max(2 * n_players + 2048, smallest_budget(n_players))


def smallest_budget(n_players: int) -> int:
    """Return the fewest coalitions that a design needs.

    These are all of them, or the outer sizes and something of each inner one.
    """
    return min(2**n_players - 2, 4 * n_players)


@lru_cache(maxsize=8)
def choose_pairs(n_players: int, budget: int, seed: int) -> Pairs:
    """Lay out the coalitions of a game; the same arguments always give the same design.

    Parameters
    ----------
    n_players : int
        At least 2.
    budget : int
        Largest number of coalitions. All 2^n_players − 2 are taken where they fit.
    seed : int
        Seed of the sampled part.

    Returns
    -------
    Pairs
        Shared and cached: its arrays are read-only.

    Raises
    ------
    ValueError
        When the budget is below :func:`smallest_budget`.
    """
    needed = smallest_budget(n_players)
    if budget < needed:
        raise ValueError(
            f"nsamples: expected at least {needed} coalitions for {n_players} features, "
            f"got {budget}."
        )
    rng = np.random.default_rng(seed)
    n_enumerated, counts = _count_pairs(n_players, budget)
    sizes = range(1, n_players // 2 + 1)
    members = [_all_of_size(n_players, size) for size in sizes[:n_enumerated]]
    members += [
        _draw_of_size(n_players, size, counts[size - 1], rng) for size in sizes[n_enumerated:]
    ]
    mass = np.array([_kernel_mass(n_players, size) for size in sizes])
    # More than 2**62 would overflow.
    n_pairs = np.array([min(_n_pairs(n_players, size), 2**62) for size in sizes])
    unseen = 1 - counts / n_pairs
    pairs = Pairs(
        np.concatenate(members), np.repeat(mass / counts, counts), np.repeat(unseen, counts)
    )
    for array in (pairs.members, pairs.weights, pairs.unseen):
        array.flags.writeable = False
    return pairs


def count_pairs(n_players: int, budget: int) -> NDArray[np.intp]:
    """Count the pairs of each size, from 1 on, that :func:`choose_pairs` lays out."""
    return _count_pairs(n_players, budget)[1]


def _count_pairs(n_players: int, budget: int) -> tuple[int, NDArray[np.intp]]:
    """Return how many sizes are enumerated, and how many pairs of each size there are."""
    enumerated, pairs_left = _enumerated_sizes(n_players, budget // 2)
    sampled = list(range(len(enumerated) + 1, n_players // 2 + 1))
    drawn = _shares(sampled, n_players, pairs_left)
    counts = [_n_pairs(n_players, size) for size in enumerated]
    return len(enumerated), np.array(counts + drawn)


def _n_pairs(n_players: int, size: int) -> int:
    """Count the {coalition, complement} pairs whose smaller side has `size` players."""
    return comb(n_players, size) // (2 if 2 * size == n_players else 1)


def _share_weight(n_players: int, size: int) -> float:
    """Return the share of a size.

    The middle size stands for itself alone, every other one for two sizes.
    """
    return 0.5 if 2 * size == n_players else 1.0


def _kernel_mass(n_players: int, size: int) -> float:
    """Return the Shapley kernel's weight of all coalitions of `size`.

    For the middle size it is the weight of half of them.
    """
    return (n_players - 1) / (size * (n_players - size)) * _share_weight(n_players, size)


def _enumerated_sizes(n_players: int, n_pairs: int) -> tuple[list[int], int]:
    """Choose the sizes that are enumerated; return them and the number of pairs left.

    It goes from the outer sizes inwards while a size costs no more than its share.

    Size 1 is always taken: it carries the largest kernel weight, and with it the least squares have
    a unique solution.
    """
    enumerated, left = [1], n_pairs - _n_pairs(n_players, 1)
    for size in range(2, n_players // 2 + 1):
        inner = sum(_share_weight(n_players, s) for s in range(size, n_players // 2 + 1))
        if _n_pairs(n_players, size) > left * _share_weight(n_players, size) / inner:
            break
        enumerated.append(size)
        left -= _n_pairs(n_players, size)
    return enumerated, left


def _shares(sizes: list[int], n_players: int, n_pairs: int) -> list[int]:
    """Split `n_pairs` over the sampled sizes in proportion, so that none is lost."""
    if not sizes:
        return []
    share = np.cumsum([_share_weight(n_players, size) for size in sizes])
    return [int(count) for count in np.diff(np.floor(share / share[-1] * n_pairs), prepend=0)]


def _all_of_size(n_players: int, size: int) -> NDArray[np.bool_]:
    """List every coalition of `size`; for the middle size, the half that holds player 0."""
    indices = np.array(list(combinations(range(n_players), size)))
    members = np.zeros((len(indices), n_players), dtype=bool)
    np.put_along_axis(members, indices, values=True, axis=1)
    return members[members[:, 0]] if 2 * size == n_players else members


def _draw_of_size(
    n_players: int, size: int, count: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw `count` different coalitions of `size` uniformly.

    For the middle size, they are drawn among those that hold player 0.
    """
    if 2 * size == n_players:
        rest = _draw_distinct(n_players - 1, size - 1, count, rng)
        return np.concatenate([np.ones((count, 1), dtype=bool), rest], axis=1)
    return _draw_distinct(n_players, size, count, rng)


def _draw_distinct(
    n_players: int, size: int, count: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    members = np.zeros((0, n_players), dtype=bool)
    while len(members) < count:
        ranks = rng.random((count, n_players)).argsort(axis=1)
        members = np.concatenate([members, ranks < size])
        first_seen = np.unique(members, axis=0, return_index=True)[1]
        members = members[np.sort(first_seen)]
    return members[:count]
