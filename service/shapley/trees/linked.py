"""Trees behind a link: the game of boosted probabilities, with the exact margins as controls.

A hybrid row reaches a leaf when neither the explained row breaks a feature of its path that is in
the coalition, nor the background row one that is not: three operations on patterns
(:mod:`service.shapley.trees.patterns`) for each leaf, and no call of the model.

Next: :mod:`service.shapley.products`.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.controls import DrawMarks
from service.shapley.games import Known, Link
from service.shapley.grouping import Grouping
from service.shapley.plan import Plan, Precision
from service.shapley.trees.patterns import TreeGame, patterns_of

CHUNK = 2**18  # leaves of hybrid rows at once: what stays in the processor's cache


class LinkedTreeGame:
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

    def __init__(
        self, margins: TreeGame, link: Link, background: Background, grouping: Grouping
    ) -> None:
        self.margins = margins
        self.link = link
        self.background = background
        self.grouping = grouping
        self.n_features = grouping.n_features
        outputs = background.outputs(self._outputs)
        self.empty_value = background.weights @ outputs
        self.draw_marks = DrawMarks(background, grouping, outputs)
        self._forget()

    def _forget(self) -> None:
        self._lock = Lock()
        self._patterns: NDArray[Any] | None = None
        self._cache: tuple[Plan, NDArray[np.intp], NDArray[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tables out of a pickle: they are made again at first use."""
        state = self.__dict__.copy()
        for name in ("_lock", "_patterns", "_cache"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore all but the tables."""
        self.__dict__.update(state)
        self._forget()

    def in_single_precision(self) -> None:
        """Return nothing: patterns are whole numbers, and leaves are added up in double."""

    def varying(self, row: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which features of `row` differ from the background."""
        return self.grouping.varying(self.background, row)

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the output for `row`, shape (n_outputs,)."""
        return self._outputs(row[None])[0]

    def control_values(self, row: NDArray[Any]) -> Known:
        """Return the exact Shapley values of the margins, shape (n_margins, n_features)."""
        values = self.margins.shapley_values(row)
        return values, np.zeros_like(values)

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate a plan's pairs; see :class:`service.shapley.games.Game`.

        The model is not called.
        """
        masks, background = self._tables(players, plan)
        at_row = self._patterns_of(row[None])[0]
        n_draws = len(background) if plan.draws is None else plan.draws.shape[1]
        step = max(1, CHUNK // (n_draws * len(at_row)))
        parts = []
        for start in range(0, len(masks), step):
            inside = masks[start : start + step, None]  # (n_pairs, 1, n_leaves)
            drawn = (
                background[None]
                if plan.draws is None
                else background[plan.draws[start : start + step]]
            )
            sides = (drawn & ~inside) | (at_row & inside), (drawn & inside) | (at_row & ~inside)
            parts.append(np.stack([self._margins(side.reshape(-1, len(at_row))) for side in sides]))
        margins = np.concatenate(parts, axis=1)  # (2, n_pairs · n_draws, n_margins)
        outputs = self.link(margins[0]) - self.link(margins[1])
        return self._by_pair(outputs, plan), self._by_pair(margins[0] - margins[1], plan)

    def _by_pair(self, differences: NDArray[np.float64], plan: Plan) -> NDArray[np.float64]:
        """Bring differences to shape (n_pairs, n_draws, n).

        They are averaged over a background that is not drawn from.
        """
        shaped = differences.reshape(len(plan.pairs.members), -1, differences.shape[1])
        if plan.draws is not None:
            return shaped
        return np.einsum("b,pbk->pk", self.background.weights, shaped)[:, None]

    def _outputs(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        return self.link(self._margins(self._patterns_of(rows)))

    def _patterns_of(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return patterns as (n_rows, n_leaves), a row's next to each other."""
        return np.ascontiguousarray(
            patterns_of(self.margins.forest, rows.astype(self.margins.input_dtype)).T
        )

    def _margins(self, patterns: NDArray[Any]) -> NDArray[np.float64]:
        """Add up the leaves that rows reach, one of each tree.

        From (n_rows, n_leaves) to (n_rows, n_margins).
        """
        forest = self.margins.forest
        reached = np.flatnonzero(patterns == 0).reshape(len(patterns), forest.n_trees)
        leaf = reached - np.arange(len(patterns))[:, None] * patterns.shape[1]
        return (
            np.stack([value[leaf].sum(axis=1) for value in forest.value.T], axis=1)
            + self.margins.offset
        )

    def _tables(self, players: NDArray[np.intp], plan: Plan) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what is the same for all rows.

        These are the bits of each pair's coalition, and the background's patterns.
        """
        with self._lock:
            if self._patterns is None:
                parts = np.array_split(self.background.rows, -(-self.background.rows.size // CHUNK))
                self._patterns = np.concatenate([self._patterns_of(part) for part in parts])
            if (
                self._cache is None
                or self._cache[0] is not plan
                or not np.array_equal(self._cache[1], players)
            ):
                self._cache = plan, players, self._masks(players, plan)
            return self._cache[2], self._patterns

    def _masks(self, players: NDArray[np.intp], plan: Plan) -> NDArray[Any]:
        """Return the bits that stand for a pair's coalition at each leaf, (n_pairs, n_leaves)."""
        forest, members = self.margins.forest, plan.pairs.members
        masks = np.zeros((len(members), len(forest.features)), dtype=forest.bits[0].dtype)
        for position, player in enumerate(players):
            leaf, slot = np.nonzero(forest.features == player)
            bits = np.ones(len(leaf), dtype=masks.dtype) << slot.astype(masks.dtype)
            masks[:, leaf] |= members[:, position, None] * bits
        return masks
