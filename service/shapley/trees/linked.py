"""Trees behind a link: the game of boosted probabilities, with the exact margins as controls.

A hybrid row goes left at a split where the explained row does, if the split's feature is in the
coalition, and where the background row does otherwise. All hybrid rows of a plan go down the trees
together, 64 to a word: what the coalitions and the background rows decide is in words that are made
once for a plan, and the model is not called.

Next: :mod:`service.shapley.products`.
"""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.shapley import kernels
from service.shapley.background import Background
from service.shapley.cache import BoundedCache
from service.shapley.controls import DrawMarks
from service.shapley.games import Known, Link, LinkedGame, over_background
from service.shapley.grouping import Grouping
from service.shapley.kernels.words import Words, pack_words
from service.shapley.plan import Numbers, Plan, Precision
from service.shapley.trees.curves import Curve
from service.shapley.trees.forest import Forest
from service.shapley.trees.patterns import TreeGame

CHUNK = 2**22  # decisions at once, while they are packed
# Places for hybrid rows, for each that there is: in fewer of them words are mixed less.
MOST_SPREAD = 4
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
    inside, outside : Words of shape (n_features, n_words)
        Where a feature is in the pair's coalition, and where in its complement. A feature that is
        no player is in neither.
    place : ndarray of int, shape (n_hybrid_rows,)
        Where each hybrid row is.
    """

    background: NDArray[Any]
    met: NDArray[np.intp]
    inside: Words
    outside: Words
    place: NDArray[np.intp]

    @property
    def nbytes(self) -> int:
        """The memory of all."""
        return sum(part.nbytes for part in self)

    def leaf_sums(
        self, forest: Forest, at_row: NDArray[np.bool_], side: Words
    ) -> NDArray[np.float64]:
        """Add up the leaves that the hybrid rows of a side reach, (n_hybrid_rows, n_margins)."""
        if len(self.met):
            sums = kernels.current.alike_leaf_sums(forest, at_row, self.background, self.met, side)
        else:
            sums = kernels.current.hybrid_leaf_sums(forest, at_row, self.background, side)
        return sums[self.place]


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

    def in_single_precision(self) -> None:
        """Return nothing: patterns are whole numbers, and leaves are added up in double."""

    def on(self, background: Background) -> LinkedTreeGame:
        """Return the same game on another background, with the margins on this one."""
        return LinkedTreeGame(self.margins, self.link, background, self.grouping)

    def for_row(self, row: NDArray[Any]) -> LinkedTreeGame:
        """Return the same game with a curve as a control, where the background is small."""
        if len(self.margins.offset) > 1 or len(self.background.rows) > MOST_CURVED:
            return self
        parts = self.margins.traversal_of(self.background.rows).shapley_values(row)[:, 0]
        start = self.margins_of(row[None])[0, 0] - parts.sum(axis=1)
        game = copy(self)
        game.curve = Curve.of(start, parts, self.background.weights, self.link)
        return game

    def control_values(self, row: NDArray[Any], plan: Plan) -> Known:
        """Return the exact Shapley values of the margins and of the curve, if there is one.

        The result has shape (n_controls, n_features).
        """
        values = self.margins.shapley_values(row)
        if self.curve is not None:
            values = np.concatenate([values, self.curve.shapley_values()])
        return values, np.zeros_like(values)

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[Numbers, Numbers]:
        """Evaluate a plan's pairs; see :class:`service.shapley.games.Game`."""
        outputs, controls = super().differences(row, players, plan)
        if self.curve is None:
            return outputs, controls
        curved = over_background(self.curve.differences(players, plan), self.background, plan)
        return outputs, np.concatenate([controls, curved], axis=2)

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
        shape = len(plan.pairs.members), n_draws, len(self.margins.offset)

        def add_up(side: Words) -> NDArray[np.float64]:
            sums = decisions.leaf_sums(self.margins.forest, at_row, side)
            return sums.reshape(shape) + self.margins.offset

        return add_up(decisions.inside), add_up(decisions.outside)

    def margins_of(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Add up the trees for whole rows, shape (n_rows, n_margins)."""
        return self.margins.outputs(rows)

    def _decisions(self, players: NDArray[np.intp], plan: Plan) -> Decisions:
        key = plan, players.tobytes()
        return self._cache.get(key, lambda: self._decide(players, plan))

    def _decide(self, players: NDArray[np.intp], plan: Plan) -> Decisions:
        forest, members = self.margins.forest, plan.pairs.members
        columns = np.ascontiguousarray(self.background.rows.astype(self.margins.input_dtype).T)
        goes_left = forest.goes_left(columns)  # (n_splits, n_background)
        if plan.draws is None:
            drawn = np.tile(np.arange(columns.shape[1]), len(members))
        else:
            drawn = plan.draws.ravel()
        pair = np.repeat(np.arange(len(members)), len(drawn) // len(members))
        place, met = _laid_out(drawn)
        if len(met):
            background = np.ascontiguousarray(goes_left.T)
        else:
            background = _words_of(goes_left, drawn[np.argsort(place)])
        # Of what no hybrid row has a place in, no feature plays.
        playing = np.zeros((2, self.n_features, max(64 * len(met), len(drawn))), dtype=bool)
        by_pair = members.T[:, pair]
        playing[0][players[:, None], place] = by_pair
        playing[1][players[:, None], place] = ~by_pair
        return Decisions(background, met, pack_words(playing[0]), pack_words(playing[1]), place)


def _laid_out(drawn: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give each hybrid row a place beside those of the same background row.

    Return the places, and the background row of each word where each has one: where that does not
    leave most places free.
    """
    order = np.argsort(drawn, kind="stable")
    place = np.argsort(order)
    rows, counts = np.unique(drawn, return_counts=True)
    n_words = -(-counts // 64)
    if MOST_SPREAD * len(drawn) < 64 * n_words.sum():
        return place, np.zeros(0, dtype=np.intp)
    free = 64 * n_words - counts
    place += np.repeat(np.cumsum(free) - free, counts)[place]
    return place, np.repeat(rows, n_words)


def _words_of(goes_left: NDArray[np.bool_], drawn: NDArray[np.intp]) -> Words:
    """Pack what the drawn background rows decide, from (n_splits, n_background)."""
    step = max(1, CHUNK // len(drawn))
    starts = range(0, max(1, len(goes_left)), step)
    return np.concatenate([pack_words(goes_left[i : i + step, drawn]) for i in starts])
