"""What the background contributes to hybrid rows.

It is tabulated once for a plan and shared by all explained rows.

Where hidden units add up over features, a hybrid row's hidden units are the row's part on S plus
the background row's part off S. The second depends on the plan alone.

Next: :mod:`service.shapley.combined`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.cache import BoundedCache
from service.shapley.grouping import Grouping
from service.shapley.plan import Plan, Precision


class Table(NamedTuple):
    """The background's part of hybrid rows on one side of all pairs.

    Attributes
    ----------
    numbers : ndarray of shape (n_pairs, n_draws, n_hidden)
    reach : ndarray of int32, shape (n_pairs, n_draws, 2)
        From where to where those of a hybrid row may differ from 0.
    """

    numbers: NDArray[np.floating[Any]]
    reach: NDArray[np.int32]

    @classmethod
    def of(cls, numbers: NDArray[np.floating[Any]], negligible: float = 0.0) -> Table:
        """Put 0, in place, for numbers that are smaller than what is negligible, if anything is."""
        reach = np.full((*numbers.shape[:2], 2), (0, numbers.shape[2]), dtype=np.int32)
        if negligible > 0:
            numbers[numbers < negligible] = 0
            counts = numbers != 0
            reach[..., 0] = counts.argmax(axis=2)
            reach[..., 1] -= counts[..., ::-1].argmax(axis=2)
            reach[~counts.any(axis=2)] = 0
        return cls(numbers, reach)

    def part(self, rows: slice) -> Table:
        """Return the same of some of the pairs."""
        return Table(self.numbers[rows], self.reach[rows])


class Sides(NamedTuple):
    """The background's part of hybrid rows, off S and off its complement."""

    off: Table
    off_complement: Table

    @property
    def nbytes(self) -> int:
        """The memory of both."""
        return sum(table.numbers.nbytes + table.reach.nbytes for table in self)


class SideTables:
    """The background's part of every pair of a plan.

    Parameters
    ----------
    contributions : callable
        Takes rows (n_rows, n_columns), returns what each feature adds to each hidden unit,
        shape (n_rows, n_features, n_hidden).
    background : Background
    grouping : Grouping
    start : ndarray of shape (n_hidden,), optional
        What hidden units begin with, before any feature adds to them.
    activation : callable, optional
        Applied to the tables, elementwise; the exponential where hidden units multiply.
    """

    def __init__(
        self,
        contributions: Callable[[NDArray[Any]], NDArray[np.float64]],
        background: Background,
        grouping: Grouping,
        start: NDArray[np.float64] | float = 0.0,
        activation: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    ) -> None:
        self.contributions = contributions
        self.background = background
        self.start = start
        self.activation = activation
        self._n_features = grouping.n_features
        self._cache: BoundedCache[Sides] = BoundedCache()

    def sides(
        self,
        players: NDArray[np.intp],
        plan: Plan,
        precision: Precision,
        negligible: float = 0.0,
    ) -> Sides:
        """Return the background's part off S and off its complement, rounded to a precision.

        Features that are no players are the background's own on both sides. What is smaller than
        what is negligible is 0.
        """
        whole, rows = plan.within or (plan, slice(None))
        key = whole, players.tobytes(), precision, negligible
        sides = self._cache.get(key, lambda: self._make(players, whole, precision, negligible))
        return Sides(*(side.part(rows) for side in sides))

    def _make(
        self, players: NDArray[np.intp], plan: Plan, precision: Precision, negligible: float
    ) -> Sides:
        n_pairs, n_background = len(plan.pairs.members), len(self.background.rows)
        draws = (
            np.broadcast_to(np.arange(n_background), (n_pairs, n_background))
            if plan.draws is None
            else plan.draws
        )
        off = np.ones((2, n_pairs, self._n_features))
        off[0][:, players], off[1][:, players] = ~plan.pairs.members, plan.pairs.members
        n_hidden = self.contributions(self.background.rows[:1]).shape[2]
        sides = np.empty((2, *draws.shape, n_hidden), dtype=precision)
        order = np.argsort(draws, axis=None, kind="stable")
        rows, starts = np.unique(draws.ravel()[order], return_index=True)
        for row, places in zip(rows, np.split(order, starts[1:]), strict=True):
            parts = self.contributions(self.background.rows[row][None])[0]  # (n_features, n_hidden)
            pair, draw = np.unravel_index(places, draws.shape)
            for side, features in zip(sides, off, strict=True):
                hidden = self.start + features[pair] @ parts
                side[pair, draw] = hidden if self.activation is None else self.activation(hidden)
        return Sides(*(Table.of(side, negligible) for side in sides))
