"""Means of the nearest rows: the game of nearest neighbours, without a call of the model.

Nothing is known of it exactly: which points are nearest may change with every feature. But a hybrid
row costs a sum of parts for each point (:mod:`service.shapley.kernels.nearest`), where the model
would search a tree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley import kernels
from service.shapley.background import Background
from service.shapley.controls import DrawMarks
from service.shapley.games import Known, Link, LinkedGame, nothing_known
from service.shapley.grouping import Grouping
from service.shapley.kernels.nearest import Hybrids, NearestPoints
from service.shapley.plan import Plan, Precision


class NeighboursGame(LinkedGame):
    """The game of the means of the nearest points.

    Parameters
    ----------
    points : NearestPoints
    link : callable or None
        From means (n, n_targets) to outputs (n, n_outputs).
    background : Background
    grouping : Grouping
    """

    precision: Precision = np.float64

    def __init__(
        self, points: NearestPoints, link: Link | None, background: Background, grouping: Grouping
    ) -> None:
        self.points = points
        self.link = link
        self.background = background
        self.grouping = grouping
        self.n_features = grouping.n_features
        outputs = background.outputs(self.outputs_of)
        self.empty_value = background.weights @ outputs
        self.draw_marks = DrawMarks(background, grouping, outputs)

    @property
    def known_margins(self) -> slice:
        """None are known."""
        return slice(0)

    def in_single_precision(self) -> None:
        """Return nothing: of points that are nearly as far as each other the nearer ones count."""

    def on(self, background: Background) -> NeighboursGame:
        """Return the same game on another background."""
        return NeighboursGame(self.points, self.link, background, self.grouping)

    def margins_of(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Average the targets of the nearest points of whole rows, shape (n_rows, n_targets)."""
        nobody = np.zeros((len(rows), self.n_features), dtype=bool)
        return self._means(rows[0], rows, np.arange(len(rows)), nobody)

    def sides(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the means; see :class:`service.shapley.games.LinkedGame`."""
        members = plan.pairs.members
        draws = plan.draws
        if draws is None:
            draws = np.tile(np.arange(len(self.background.rows)), (len(members), 1))
        # Hybrid rows of one background row come after each other.
        drawn = draws.ravel()
        order = np.argsort(drawn, kind="stable")
        pair = np.repeat(np.arange(len(members)), draws.shape[1])[order]
        sides = []
        for side in (members, ~members):
            inside = np.zeros((len(drawn), self.n_features), dtype=bool)
            inside[:, players] = side[pair]
            means = self._means(row, self.background.rows, drawn[order], inside)
            placed = np.empty_like(means)
            placed[order] = means
            sides.append(placed.reshape(*draws.shape, -1))
        return sides[0], sides[1]

    def control_values(self, row: NDArray[Any], plan: Plan) -> Known:
        """Return nothing: no control is known."""
        return nothing_known(self.n_features)

    def _means(
        self,
        row: NDArray[Any],
        rows: NDArray[Any],
        drawn: NDArray[np.intp],
        inside: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        return kernels.current.hybrid_means(
            self.points, self.grouping, Hybrids(row, rows, drawn, inside)
        )
