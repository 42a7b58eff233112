"""One plan for all rows.

It holds the pairs of coalitions, the background rows each pair meets, and the factorised
regression.

Every pair meets some background rows, the same for a coalition and its complement, drawn so that
all rows are used about equally often. So coalitions and background are sampled at once, and the
estimate is one of the game on the *whole* background, for the price of the draws. A background no
larger than the draws is used whole, with its weights.

Next: :mod:`service.shapley.stages`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from service.shapley.background import Background
from service.shapley.cache import BoundedCache
from service.shapley.coalitions import Pairs, choose_pairs
from service.shapley.kernels.regression import Design

MOSTLY_SEEN = 0.5  # share of a size that is not drawn: with less, draws are looked at one by one
LEAST_FREEDOM = 0.1  # of a residual, by its leverage

Precision = type[np.float64] | type[np.float32]  # of what is evaluated for a plan
Numbers = NDArray[np.floating[Any]]  # in one of them


@dataclass(frozen=True)
class Solver:
    """The constrained weighted least squares of a design, solved for every possible value function.

    The Shapley values minimise Σ_S w(S) (v(S) − v(∅) − Σ_{j∈S} φ_j)² subject to Σ_j φ_j = v(N) −
    v(∅) (Charnes et al. 1988; Lundberg and Lee 2017). For pairs this is a regression of the
    differences v(S) − v(complement) on signs, +1 in S and −1 outside; its solution is linear in the
    differences.

    Attributes
    ----------
    signs : ndarray of shape (n_pairs, n_players)
    projection : ndarray of shape (n_players, n_pairs)
        Applied to the differences.
    share : ndarray of shape (n_players,)
        Each player's share of v(N) − v(∅) that the constraint adds; sums to 1.
    leverage : ndarray of shape (n_pairs,)
        How much of its own difference each pair's fitted value is made of.
    influence : ndarray of shape (n_pairs,)
        How much a unit of variance in a pair's difference adds to the variance of all Shapley
        values together.
    """

    signs: NDArray[np.float64]
    projection: NDArray[np.float64]
    share: NDArray[np.float64]
    leverage: NDArray[np.float64]
    influence: NDArray[np.float64]

    @property
    def nbytes(self) -> int:
        """The memory of signs and projection, with what designs keep of both."""
        return self.signs.nbytes * 4

    @classmethod
    def factorise(cls, pairs: Pairs) -> Solver:
        """Solve the normal equations of a design with its constraint."""
        signs = np.where(pairs.members, 1.0, -1.0)
        weighted = signs * (pairs.weights / pairs.weights.sum())[:, None]
        # Under the constraint (Σφ)² is a constant: adding it changes no solution and makes two
        # players solvable too.
        factor = cho_factor(weighted.T @ signs + 1.0)
        unconstrained = cho_solve(factor, weighted.T)  # (n_players, n_pairs)
        ones = cho_solve(factor, np.ones(signs.shape[1]))
        share = ones / ones.sum()
        projection = unconstrained - np.outer(share, unconstrained.sum(axis=0))
        leverage = np.einsum("pm,mp->p", signs, projection)
        return cls(
            signs, projection, share, leverage, np.einsum("mp,mp->p", projection, projection)
        )

    def solve(
        self, differences: NDArray[np.floating[Any]], total: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Turn values into Shapley values.

        Parameters
        ----------
        differences : ndarray of shape (n_pairs, n_outputs)
            v(S) − v(complement of S).
        total : ndarray of shape (n_outputs,)
            v(N) − v(∅).

        Returns
        -------
        ndarray of shape (n_players, n_outputs)
        """
        return self.projection @ differences + np.outer(
            self.share, total.astype(self.share.dtype, copy=False)
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """What is evaluated for a row.

    It is compared and hashed by identity: what is made for a plan is cached by it.

    Attributes
    ----------
    pairs : Pairs
        A pair may come several times, each time with draws of its own.
    draws : ndarray of int, shape (n_pairs, n_draws), or None
        Background rows of each pair; None when each pair meets the whole background.
    draw_noise : ndarray of shape (n_pairs,)
        The variance that the draws leave in a pair's difference, as a multiple of the variance
        between background rows.
    is_part : bool
        Whether it is a part of a plan that may be enough.
    within : tuple of Plan and slice, or None
        A plan whose pairs these are some of, and which: what is made for it serves here.
    """

    pairs: Pairs
    draws: NDArray[np.intp] | None
    draw_noise: NDArray[np.float64]
    is_part: bool = False
    within: tuple[Plan, slice] | None = None

    @cached_property
    def solver(self) -> Solver:
        """The regression on the differences of all pairs, solved."""
        return Solver.factorise(self.pairs)

    def design(self, precision: np.dtype[np.floating[Any]]) -> Design:
        """Return what is known of differences of a precision."""
        return self._single_design if precision == np.float32 else self._design

    @cached_property
    def _design(self) -> Design:
        solver, unseen = self.solver, self.pairs.unseen
        n_draws = 1 if self.draws is None else self.draws.shape[1]
        noise, seen = np.zeros(len(unseen)), np.zeros(0, dtype=np.intp)
        if n_draws > 1:
            noise = (1 - unseen) * self.draw_noise / (n_draws - 1)
            seen = np.flatnonzero(unseen < MOSTLY_SEEN)
        return Design(
            signs=np.ascontiguousarray(solver.signs.T),
            projection=solver.projection,
            solution=solver.projection,
            share=solver.share,
            of_residuals=np.sqrt(solver.influence * unseen),
            stretch=1 / np.maximum(1 - solver.leverage, LEAST_FREEDOM),
            unseen=unseen,
            seen=seen,
            of_deviations=np.sqrt(solver.influence * noise)[seen],
            noise=noise,
        )

    @cached_property
    def _single_design(self) -> Design:
        return self._design.rounded()

    @property
    def is_exact(self) -> bool:
        """True when every coalition meets the whole background: nothing is sampled."""
        return self.draws is None and self.pairs.complete

    @property
    def nbytes(self) -> int:
        """Its memory, with the solver where that has been made."""
        solver = vars(self).get("solver")
        draws = 0 if self.draws is None else self.draws.nbytes
        return self.pairs.members.nbytes + draws + (0 if solver is None else solver.nbytes)

    def taken(self, rows: NDArray[np.intp] | slice) -> Plan:
        """Return a plan of some of the pairs as they are, with their draws."""
        draws = None if self.draws is None else self.draws[rows]
        return Plan(self.pairs.taken(rows), draws, self.draw_noise[rows], self.is_part)

    def part(self, start: int, end: int) -> Plan:
        """Return a plan of the pairs from one place to another, for which no tables are made."""
        rows = slice(start, end)
        return replace(self.taken(rows), within=(self, rows))

    @classmethod
    def row_by_row(cls, background: Background, n_players: int, coalitions: int) -> Plan:
        """Let the same coalitions meet each background row; see :func:`make_plan`."""
        arguments = background, n_players, coalitions
        return _plans.get(arguments, lambda: cls._laid_out_row_by_row(*arguments))

    @classmethod
    def _laid_out_row_by_row(cls, background: Background, n_players: int, coalitions: int) -> Plan:
        pairs = choose_pairs(n_players, coalitions, seed=0)
        n_pairs, n_rows = len(pairs.members), len(background.rows)
        draws = np.tile(np.arange(n_rows), (n_pairs, 1))
        return cls(pairs, draws, np.zeros(n_pairs))


# A tolerance needs several for a row, the same ones for the next row.
_plans: BoundedCache[Plan] = BoundedCache()


def make_plan(
    background: Background, n_players: int, coalitions: int, evaluations: int | None, seed: int
) -> Plan:
    """Lay out the evaluations of a game.

    The same arguments give the same plan, made once and shared.

    Parameters
    ----------
    background : Background
    n_players : int
        At least 2.
    coalitions : int
        Largest number of different coalitions.
    evaluations : int or None
        About how many hybrid rows are evaluated, at least two for each coalition; None for the
        whole background.
    seed : int

    Raises
    ------
    ValueError
        When the budget is too small for the number of players.
    """
    arguments = background, n_players, coalitions, evaluations, seed
    return _plans.get(arguments, lambda: lay_out(*arguments))


def lay_out(
    background: Background, n_players: int, coalitions: int, evaluations: int | None, seed: int
) -> Plan:
    """Make the plan that :func:`make_plan` keeps."""
    pairs = choose_pairs(n_players, coalitions, seed)
    if evaluations is None or 2 * len(pairs.members) * len(background.rows) <= evaluations:
        return Plan(pairs, None, np.zeros(len(pairs.members)))
    times = times_of(pairs)
    n_draws = min(len(background.rows), max(2, evaluations // (2 * int(times.sum()))))
    repeated = Pairs(
        members=np.repeat(pairs.members, times, axis=0),
        weights=np.repeat(pairs.weights / times, times),
        unseen=np.repeat(pairs.unseen, times),
    )
    draws = _draws(background, len(repeated.members), n_draws, seed)
    noise = times * noise_of_draws(background, times * n_draws, times * n_draws)
    return Plan(repeated, draws, np.repeat(noise, times))


def times_of(pairs: Pairs) -> NDArray[np.intp]:
    """Say how often each pair comes.

    Enumerated pairs of more than average weight meet more background rows.

    The noise of the draws is smallest when they follow the weights. Pairs of sampled sizes are not
    repeated: there another coalition is worth more than another look at the same one.
    """
    relative = pairs.weights / pairs.weights.mean()
    return np.where(pairs.unseen == 0, np.ceil(relative), 1).astype(np.intp)


def noise_of_draws(
    background: Background, dealt: NDArray[np.intp], counts: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the variance of the mean of background rows that are drawn for each pair.

    Parameters
    ----------
    background : Background
    dealt : ndarray of shape (n_pairs,)
        How many cards each pair is dealt, one after another from shuffled decks of the rows.
    counts : ndarray of shape (n_pairs,)
        How many of them are looked at, from the first on.

    Returns
    -------
    ndarray of shape (n_pairs,)
        As a multiple of the variance between rows. Whole decks add nothing; what comes from the end
        of one deck and the start of the next is drawn without replacement. Rows of unequal weight
        are drawn one by one.
    """
    if np.ptp(background.weights) > 0:
        return 1 / counts
    n_rows = len(background.rows)
    start = np.cumsum(dealt) - dealt
    first = np.minimum(counts, -start % n_rows)
    last = (counts - first) % n_rows
    return (first * (1 - first / n_rows) + last * (1 - last / n_rows)) / counts**2


def _draws(background: Background, n_pairs: int, n_draws: int, seed: int) -> NDArray[np.intp]:
    """Deal shuffled background rows to the pairs, again and again.

    Rows of unequal weight are drawn by weight.
    """
    rng = np.random.default_rng([seed, n_pairs])
    n_rows, needed = len(background.rows), n_pairs * n_draws
    if np.ptp(background.weights) > 0:
        return rng.choice(n_rows, size=(n_pairs, n_draws), p=background.weights)
    decks = [rng.permutation(n_rows) for _ in range(-(-needed // n_rows))]
    return np.concatenate(decks)[:needed].reshape(n_pairs, n_draws)
