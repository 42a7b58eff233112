"""Models whose first layer adds up over features: linear models behind a link, neural networks, polynomial kernels.

Their value function needs no call of the model: the first layer of a hybrid row is the row's part on S plus the
background row's part off S (:mod:`service.shapley.tables`), and only the rest of the model is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.controls import DrawMarks
from service.shapley.grouping import Grouping
from service.shapley.plan import Plan
from service.shapley.tables import SideTables

ROWS_CHUNK = 2**20  # numbers per array while whole rows are evaluated
CHUNK = 2**16  # hidden numbers evaluated at once: what stays in the processor's cache


@dataclass(frozen=True)
class KnownMargins:
    """Margins whose Shapley values are known exactly, and what stands behind them.

    Attributes
    ----------
    link : callable
        From margins (n, n_margins) to outputs (n, n_outputs).
    shapley_values : callable
        Takes a row and a background, returns the margins' Shapley values, shape (n_margins, n_features).
    """

    link: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    shapley_values: Callable[[NDArray[Any], Background], NDArray[np.float64]]


class AdditiveGame:
    """The game of a model with an additive first layer.

    Parameters
    ----------
    contributions : callable
        Takes rows (n_rows, n_columns), returns what each feature adds to each hidden unit,
        shape (n_rows, n_features, n_hidden).
    readout : callable
        From hidden units (n, n_hidden) to outputs (n, n_outputs); it may overwrite its argument.
    background : Background
    grouping : Grouping
    known : KnownMargins, optional
        When given, `readout` returns margins: they are controls, and the link makes outputs of them.
    """

    def __init__(
        self,
        contributions: Callable[[NDArray[Any]], NDArray[np.float64]],
        readout: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        background: Background,
        grouping: Grouping,
        known: KnownMargins | None = None,
    ) -> None:
        self.contributions = contributions
        self.readout = readout
        self.known = known
        self.background = background
        self.grouping = grouping
        self.n_features = grouping.n_features
        outputs = background.outputs(self._values)
        self.empty_value = background.weights @ outputs
        self.draw_marks = DrawMarks(background, grouping, outputs)
        self.tables = SideTables(contributions, background, grouping)

    def varying(self, row: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which features of `row` differ from the background."""
        return self.grouping.varying(self.background, row)

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the output for `row`, shape (n_outputs,)."""
        return self._values(row[None])[0]

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the plan's pairs without a call of the model; see :class:`service.shapley.games.Game`."""
        parts = self.contributions(row[None])[0][players]  # (n_players, n_hidden)
        on_first = plan.pairs.members @ parts  # (n_pairs, n_hidden)
        on_second = parts.sum(axis=0) - on_first
        off_first, off_second = self.tables.sides(players, plan)
        first, second = self._margins(on_first, off_first), self._margins(on_second, off_second)
        if self.known is None:
            outputs = self.tables.weighted(first - second, plan)
            return outputs, np.zeros((*outputs.shape[:2], 0))
        linked = [
            self.known.link(side.reshape(-1, side.shape[2])).reshape(*side.shape[:2], -1) for side in (first, second)
        ]
        return self.tables.weighted(linked[0] - linked[1], plan), self.tables.weighted(first - second, plan)

    def control_values(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the Shapley values of known margins, shape (n_controls, n_features).

        Linear margins are no controls: they would leave the regression nothing that it does not know.
        """
        return np.zeros((0, self.n_features)) if self.known is None else self.known.shapley_values(row, self.background)

    def _values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        n_hidden = self.contributions(rows[:1]).shape[2]
        step = max(1, ROWS_CHUNK // (rows.shape[1] * n_hidden))
        parts = [self.contributions(rows[i : i + step]).sum(axis=1) for i in range(0, len(rows), step)]
        margins = self.readout(np.concatenate(parts))
        return margins if self.known is None else self.known.link(margins)

    def _margins(self, from_row: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.float64]:
        n_pairs, n_draws, n_hidden = table.shape
        step = max(1, CHUNK // (n_draws * n_hidden))
        parts = [
            self.readout((from_row[i : i + step, None] + table[i : i + step]).reshape(-1, n_hidden))
            for i in range(0, n_pairs, step)
        ]
        return np.concatenate(parts).reshape(n_pairs, n_draws, -1)
