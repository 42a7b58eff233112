"""Models whose first layer adds up over features: linear models behind a link, and neural networks.

Their value function needs no call of the model: the first layer of a hybrid row is the row's part on S plus the
background row's part off S (:mod:`service.shapley.tables`), and only the rest of the model is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.plan import Plan
from service.shapley.tables import SideTables

CHUNK = 2**16  # hidden numbers evaluated at once: what stays in the processor's cache


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
    """

    def __init__(
        self,
        contributions: Callable[[NDArray[Any]], NDArray[np.float64]],
        readout: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        background: Background,
        grouping: Grouping,
    ) -> None:
        self.contributions = contributions
        self.readout = readout
        self.background = background
        self.grouping = grouping
        self.n_features = grouping.n_features
        self.empty_value = background.mean(lambda rows: readout(contributions(rows).sum(axis=1)))
        self.tables = SideTables(contributions, background, grouping)

    def varying(self, row: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which features of `row` differ from the background."""
        return self.grouping.varying(self.background, row)

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the output for `row`, shape (n_outputs,)."""
        return self.readout(self.contributions(row[None]).sum(axis=1))[0]

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the plan's pairs without a call of the model; see :class:`service.shapley.games.Game`."""
        parts = self.contributions(row[None])[0][players]  # (n_players, n_hidden)
        members = plan.pairs.members
        first, second = (
            self._outputs(side @ parts, table)
            for side, table in zip((members, ~members), self.tables.sides(players, plan), strict=True)
        )
        outputs = self.tables.weighted(first - second, plan)
        return outputs, np.zeros((*outputs.shape[:2], 0))

    def control_values(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return no controls: an additive control would leave the regression nothing that it does not know."""
        return np.zeros((0, self.n_features))

    def _outputs(self, from_row: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.float64]:
        n_pairs, n_draws, n_hidden = table.shape
        step = max(1, CHUNK // (n_draws * n_hidden))
        parts = [
            self.readout((from_row[i : i + step, None] + table[i : i + step]).reshape(-1, n_hidden))
            for i in range(0, n_pairs, step)
        ]
        return np.concatenate(parts).reshape(n_pairs, n_draws, -1)
