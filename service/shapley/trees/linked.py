"""Trees behind a link: the game of boosted probabilities, with the exact margins as controls.

A hybrid row goes left at a split where the explained row does, if the split's feature is in the
coalition, and where the background row does otherwise. All hybrid rows of a plan go down the trees
together, 64 to a word: what the coalitions and the background rows decide is in words that are made
once for a plan, and the model is not called.

Next: :mod:`service.shapley.products`.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.shapley import kernels
from service.shapley.background import Background
from service.shapley.cache import BoundedCache
from service.shapley.controls import DrawMarks
from service.shapley.games import Known, Link, LinkedGame, over_background
from service.shapley.grouping import Grouping
from service.shapley.kernels.regression import beside
from service.shapley.kernels.words import Words, pack_words
from service.shapley.plan import Numbers, Plan, Precision
from service.shapley.trees.curves import Curve
from service.shapley.trees.forest import Forest
from service.shapley.trees.patterns import TreeGame

CHUNK = 2**21  # decisions at once, with the numbers that they look at
# Places in words of one background row, for each hybrid row that there is.
MOST_PLACES = 4
# Background rows that are met one by one for a control.
MOST_CURVED = 100


class Decisions(NamedTuple):
    """What a plan decides for its hybrid rows, whatever row is explained.

    Those of one background row come together, and, where there are many, have words of their own.

    Attributes
    ----------
    background : Words of shape (n_splits, n_words), or ndarray of bool, (n_background, n_splits)
        Where the background row of a hybrid row goes left; or where each background row does.
    met : ndarray of int, shape (n_words,)
        The background row of each word; there are none where words are mixed.
    sides : tuple of Words of shape (n_features, n_words)
        Where a feature is the explained row's: of the pairs' coalitions and of their complements
        beside each other, or one after the other. A feature that is no player is so nowhere.
    place : ndarray of int, shape (2 · n_hybrid_rows,)
        Where each hybrid row is: first all of the coalitions, then all of their complements.
    """

    background: NDArray[Any]
    met: NDArray[np.intp]
    sides: tuple[Words, ...]
    place: NDArray[np.intp]

    @property
    def nbytes(self) -> int:
        """The memory of all."""
        arrays = self.background, self.met, *self.sides, self.place
        return sum(array.nbytes for array in arrays)

    def leaf_sums(self, forest: Forest, at_row: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Add up the leaves that the hybrid rows reach, shape (2 · n_hybrid_rows, n_margins)."""
        loops = kernels.current
        if len(self.met):
            (both,) = self.sides
            sums = loops.alike_leaf_sums(forest, at_row, self.background, self.met, both)
            return sums[self.place]
        of_sides = [
            loops.hybrid_leaf_sums(forest, at_row, self.background, side) for side in self.sides
        ]
        return np.concatenate(of_sides)[self.place]


class LinkedTreeGame(LinkedGame):
    """The game of a sum of trees behind a link.

    Parameters
    ----------
    margins : TreeGame
        The sum itself, on the same background.
    link : callable
        From margins (n, n_margins) to outputs (n, n_outputs).
    background : Background
    grouping : Grouping
    """

    precision: Precision = np.float64
    curve: Curve | None = None  # of one row, in the form of the game for it

    def __init__(
        self, margins: TreeGame, link: Link, background: Background, grouping: Grouping
    ) -> None:
        self.margins = margins
        self.link = link
        self.background = background
        self.grouping = grouping
        self.n_features = grouping.n_features
        outputs = background.outputs(self.outputs_of)
        self.empty_value = background.weights @ outputs
        self.draw_marks = DrawMarks(background, grouping, outputs)
        self._cache: BoundedCache[Decisions] = BoundedCache()

    @cached_property
    def _margins(self) -> NDArray[np.float64]:
        """The margins of background rows, (n_background, n_margins)."""
        return self.margins_of(self.background.rows)

    def in_single_precision(self) -> None:
        """Return nothing: decisions are bits of words, and leaves are added up in double."""

    def on(self, background: Background) -> LinkedTreeGame:
        """Return the same game on another background, with the margins on this one."""
        return LinkedTreeGame(self.margins, self.link, background, self.grouping)

    def for_row(self, row: NDArray[Any]) -> LinkedTreeGame:
        """Return the same game with a curve as a control, where the background is small."""
        if len(self.margins.offset) > 1 or len(self.background.rows) > MOST_CURVED:
            return self
        parts = self.margins.traversal_of(self.background.rows).shapley_values(row)[:, 0]
        curve = Curve.of(self._margins[:, 0], parts, self.background.weights, self.link)
        if curve is None:
            return self
        game = copy(self)
        # The curve knows of each background row what the marks would tell.
        game.curve, game.draw_marks = curve, self.draw_marks.left_out()
        return game

    def control_values(self, row: NDArray[Any], plan: Plan) -> Known:
        """Return the exact Shapley values of the margins and of the curve, if there is one.

        The result has shape (n_controls, n_features).
        """
        if self.curve is None:
            values = self.margins.shapley_values(row)
        else:
            values = np.concatenate([self.curve.sums, self.curve.shapley_values()])
        return values, np.zeros_like(values)

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[Numbers, Numbers]:
        """Evaluate a plan's pairs; see :class:`service.shapley.games.Game`."""
        outputs, margins = super().differences(row, players, plan)
        if self.curve is None:
            return outputs, margins
        curved = self.curve.differences(players, plan)
        return outputs, beside(margins, over_background(curved, self.background, plan))

    @property
    def known_margins(self) -> slice:
        """All margins are controls."""
        return slice(None)

    def sides(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the margins; see :class:`service.shapley.games.LinkedGame`."""
        decisions = self._decisions(players, plan)
        x = np.ascontiguousarray(row[:, None].astype(self.margins.input_dtype))
        at_row = self.margins.forest.goes_left(x)[:, 0]
        n_draws = len(self.background.rows) if plan.draws is None else plan.draws.shape[1]
        shape = 2, len(plan.pairs.members), n_draws, len(self.margins.offset)
        sums = decisions.leaf_sums(self.margins.forest, at_row).reshape(shape)
        first, second = sums + self.margins.offset
        return first, second

    def margins_of(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Add up the trees for whole rows, shape (n_rows, n_margins)."""
        return self.margins.outputs(rows)

    def _decisions(self, players: NDArray[np.intp], plan: Plan) -> Decisions:
        key = plan, players.tobytes()
        return self._cache.get(key, lambda: self._decide(players, plan))

    def _decide(self, players: NDArray[np.intp], plan: Plan) -> Decisions:
        forest, members = self.margins.forest, plan.pairs.members
        columns = np.ascontiguousarray(self.background.rows.astype(self.margins.input_dtype).T)
        if plan.draws is None:
            drawn = np.tile(np.arange(columns.shape[1]), len(members))
        else:
            drawn = plan.draws.ravel()
        inside = np.zeros((len(members), self.n_features), dtype=bool)
        outside = np.zeros_like(inside)
        inside[:, players], outside[:, players] = members, ~members
        sides = np.repeat([inside, outside], len(drawn) // len(members), axis=1)
        place, met = _beside_alike(np.tile(drawn, 2))
        if len(met):
            both = np.zeros((64 * len(met), self.n_features), dtype=bool)
            both[place] = sides.reshape(-1, self.n_features)
            of_rows = [forest.goes_left(columns, block).T for block in _blocks(forest, columns)]
            return Decisions(np.hstack(of_rows), met, (pack_words(both.T),), place)
        of_sides = tuple(pack_words(side.T) for side in sides)
        n_places = 64 * of_sides[0].shape[1]
        place = (np.arange(2)[:, None] * n_places + np.arange(len(drawn))).ravel()
        words = [
            pack_words(np.take(forest.goes_left(columns, block), drawn, axis=1))
            for block in _blocks(forest, columns, len(drawn))
        ]
        return Decisions(np.concatenate(words), met, of_sides, place)


def _beside_alike(drawn: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give each hybrid row a place in a word of its background row.

    Return the places, and the background row of each word; there are none where most places would
    be left free.
    """
    rows, which, counts = np.unique(drawn, return_inverse=True, return_counts=True)
    n_words = -(-counts // 64)
    if MOST_PLACES * len(drawn) < 64 * n_words.sum():
        return np.arange(len(drawn)), np.zeros(0, dtype=np.intp)
    order = np.argsort(which, kind="stable")
    turn = np.arange(len(drawn)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = np.empty_like(order)
    place[order] = turn + 64 * np.repeat(np.cumsum(n_words) - n_words, counts)
    return place, np.repeat(rows, n_words)


def _blocks(forest: Forest, columns: NDArray[Any], n_drawn: int = 0) -> list[slice]:
    """Return blocks of the splits, small enough for all rows and for those that are drawn."""
    n_splits, step = len(forest.column), max(1, CHUNK // max(columns.shape[1], n_drawn))
    return [slice(start, start + step) for start in range(0, max(1, n_splits), step)]
