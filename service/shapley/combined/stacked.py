"""A link behind the outputs of several models, as in stacking and in calibration by folds.

Every part has a game of its own, which evaluates its margins on hybrid rows; what is behind all of
them is one link. So the margins of all parts whose Shapley values are known are controls, and no
model is called.

Next: :mod:`service.shapley.combined.neighbours`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.controls import DrawMarks
from service.shapley.games import Known, Link, LinkedGame
from service.shapley.grouping import Grouping
from service.shapley.plan import Plan, Precision


class StackedGame(LinkedGame):
    """The game of a link behind the margins of several games, side by side.

    Parameters
    ----------
    parts : sequence of LinkedGame
        On the same background rows, each encoded in its own way.
    link : callable
        From the margins of all parts (n, n_margins) to outputs (n, n_outputs).
    background : Background
        The encoded columns of all parts, one after another.
    """

    precision: Precision = np.float64

    def __init__(self, parts: Sequence[LinkedGame], link: Link, background: Background) -> None:
        self.parts = list(parts)
        self.link = link
        self.background = background
        groupings = [part.grouping for part in parts]
        self.n_features = groupings[0].n_features
        owners = [grouping.owner for grouping in groupings]
        self.grouping = Grouping(np.concatenate(owners), self.n_features)
        self.ends = np.cumsum(list(map(len, owners)))
        self._known = _known_margins(parts, self._columns_of_parts(background.rows[:1]))
        outputs = background.outputs(self.outputs_of)
        self.empty_value = background.weights @ outputs
        # The parts tell much the same of a background row: the one that has most columns is taken.
        widest = int(np.argmax(list(map(len, owners))))
        told = replace(background, rows=self._columns_of_parts(background.rows)[widest])
        self.draw_marks = DrawMarks(told, groupings[widest], outputs)

    def in_single_precision(self) -> None:
        """Return nothing: the parts are evaluated in double precision."""

    def on(self, background: Background) -> StackedGame:
        """Return the same game on another background, with what is known on this one."""
        parts = []
        for part, rows in zip(self.parts, self._columns_of_parts(background.rows), strict=True):
            parts.append(part.on(replace(background, rows=rows)))
        return StackedGame(parts, self.link, background)

    def margins_of(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the margins of all parts for whole rows, shape (n_rows, n_margins)."""
        margins = []
        for part, columns in zip(self.parts, self._columns_of_parts(rows), strict=True):
            margins.append(part.margins_of(columns))
        return np.hstack(margins)

    def sides(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the margins of all parts; see :class:`service.shapley.games.LinkedGame`."""
        sides = []
        for part, columns in zip(self.parts, self._columns_of_parts(row), strict=True):
            sides.append(part.sides(columns, players, plan))
        first, second = zip(*sides, strict=True)
        return np.concatenate(first, axis=2), np.concatenate(second, axis=2)

    def control_values(self, row: NDArray[Any], plan: Plan) -> Known:
        """Return the Shapley values of all margins of which they are known."""
        known = [
            part.control_values(columns, plan)
            for part, columns in zip(self.parts, self._columns_of_parts(row), strict=True)
        ]
        values, errors = zip(*known, strict=True)
        return np.concatenate(values), np.concatenate(errors)

    @property
    def known_margins(self) -> NDArray[np.intp]:
        """Those of parts that know their Shapley values."""
        return self._known

    def _columns_of_parts(self, rows: NDArray[Any]) -> list[NDArray[Any]]:
        """Return each part's own columns of rows, or of a single one."""
        return np.split(rows, self.ends[:-1], axis=-1)


def _known_margins(parts: Sequence[LinkedGame], row: list[NDArray[Any]]) -> NDArray[np.intp]:
    """Return the places of margins that are controls, among those of all parts."""
    places, start = [], 0
    for part, columns in zip(parts, row, strict=True):
        end = start + part.margins_of(columns).shape[1]
        places.append(np.arange(start, end)[part.known_margins])
        start = end
    return np.concatenate(places)
