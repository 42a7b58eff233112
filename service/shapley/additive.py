"""Models whose first layer adds up over features.

They are linear models behind a link, naive Bayes, neural networks, polynomial kernels and kernels
of a distance.

Their value function needs no call of the model: the first layer of a hybrid row is the row's part
on S plus the background row's part off S (:mod:`service.shapley.background_tables`), and only the
rest of the model is evaluated.

Next: :mod:`service.shapley.permutations`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background, spread_out
from service.shapley.background_tables import SideTables
from service.shapley.controls import DrawMarks
from service.shapley.games import (
    Known,
    Link,
    MarginGame,
    linked,
    nothing_known,
    over_background,
)
from service.shapley.grouping import Grouping
from service.shapley.plan import Numbers, Plan, Precision

ROWS_CHUNK = 2**20  # numbers per array while whole rows are evaluated
CHUNK = 2**16  # hidden numbers evaluated at once: what stays in the processor's cache
N_REACHED_ROWS = 256
# Rows that contribute more than this many times what background rows do at most are evaluated in
# double precision.
REACH = 10
# Single precision may not hold the squares and sums of numbers this large, or all this small.
SINGLE_SPAN = 1e12


@dataclass(frozen=True)
class AdditiveModel:
    """A model in the parts that a hybrid row goes through.

    Attributes
    ----------
    contributions : callable
        Takes rows (n_rows, n_columns), returns what each feature adds to each hidden unit,
        shape (n_rows, n_features, n_hidden).
    bias : ndarray of shape (n_hidden,)
        What hidden units are without any feature.
    readout : callable
        From hidden units (n, n_hidden) to margins (n, n_margins), in the precision of its argument;
        it may overwrite that.
    link : callable or None
        From margins to outputs (n, n_outputs), in double precision; it may overwrite its argument
        too.
    is_linear : bool, default True
        Whether contributions are linear in the row.
    """

    contributions: Callable[[NDArray[Any]], NDArray[np.float64]]
    bias: NDArray[np.float64]
    readout: Callable[[Numbers], Numbers]
    link: Link | None
    is_linear: bool = True

    def margins(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the margins of whole rows, shape (n_rows, n_margins)."""
        step = max(1, ROWS_CHUNK // (rows.shape[1] * len(self.bias)))
        parts = [
            self.contributions(rows[i : i + step]).sum(axis=1) for i in range(0, len(rows), step)
        ]
        return np.asarray(self.readout(np.concatenate(parts) + self.bias), dtype=np.float64)

    def outputs(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the outputs of whole rows, shape (n_rows, n_outputs)."""
        return self.linked(self.margins(rows))

    def linked(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn margins into outputs."""
        return margins if self.link is None else self.link(margins)


@dataclass(frozen=True)
class Centred:
    """Contributions less those of a reference row: small numbers, whose sums round little."""

    contributions: Callable[[NDArray[Any]], NDArray[np.float64]]
    reference: NDArray[np.float64]

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return contributions of shape (n_rows, n_features, n_hidden)."""
        return self.contributions(rows - self.reference)


class AdditiveGame:
    """The game of a model with an additive first layer.

    Parameters
    ----------
    model : AdditiveModel
    background : Background
    grouping : Grouping
    known : MarginGame, optional
        What is known of the margins. When given, they are controls.
    n_known : int, default all
        Of how many margins it is known: of the first ones.
    """

    n_known: int | None = None

    def __init__(
        self,
        model: AdditiveModel,
        background: Background,
        grouping: Grouping,
        known: MarginGame | None = None,
        n_known: int | None = None,
    ) -> None:
        self.model = model
        self.known = known
        self.n_known = n_known
        self.background = background
        self.grouping = grouping
        self.contributions: Callable[[NDArray[Any]], NDArray[np.float64]]
        self.n_features = grouping.n_features
        outputs = background.outputs(model.outputs)
        self.empty_value = background.weights @ outputs
        self.draw_marks = DrawMarks(background, grouping, outputs)
        self.contributions, start = model.contributions, model.bias
        if model.is_linear:
            reference = background.weights @ background.rows
            self.contributions = Centred(model.contributions, reference)
            start = model.bias + model.contributions(reference[None])[0].sum(axis=0)
        self.tables = SideTables(self.contributions, background, grouping, start)
        self.precision: Precision = np.float64
        self.reach = 0.0

    def in_single_precision(self) -> AdditiveGame:
        """Return the same game with single precision in its hidden units, where it samples.

        Rows that contribute far more than the background's own are still evaluated in double
        precision, and so are those whose outputs single precision does not hold.
        """
        other = copy(self)
        few = spread_out(self.background.rows, N_REACHED_ROWS)
        other.reach = REACH * max(float(np.abs(self.contributions(row[None])).max()) for row in few)
        other.precision = np.float32
        other.draw_marks = self.draw_marks.in_single_precision()
        return other

    def on(self, background: Background) -> AdditiveGame:
        """Return the same game on another background, without controls."""
        return AdditiveGame(self.model, background, self.grouping)

    def varying(self, row: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which features of `row` differ from the background."""
        return self.grouping.varying(self.background, row)

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the output for `row`, shape (n_outputs,)."""
        return self.model.outputs(row[None])[0]

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[Numbers, Numbers]:
        """Evaluate a plan's pairs; see :class:`service.shapley.games.Game`.

        The model is not called.
        """
        parts = self.contributions(row[None])[0][players]  # (n_players, n_hidden)
        if self.precision == np.float32 and not plan.is_exact and np.abs(parts).max() <= self.reach:
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found below
                outputs, controls = self._evaluated(parts.astype(np.float32), players, plan)
            if _single_precision_holds(outputs, controls):
                return outputs.astype(np.float32), controls.astype(np.float32)
        return self._evaluated(parts, players, plan)

    def _evaluated(
        self, parts: Numbers, players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate differences and controls, in the precision of the row's parts."""
        first, second = self._sides(parts, players, plan)
        controls = (first - second)[:, :, self.known_margins]
        link = self.model.link
        # A link may turn the axes around.
        outputs = np.subtract(linked(first, link), linked(second, link), order="C")
        background = self.background
        return (
            over_background(outputs, background, plan),
            over_background(controls, background, plan),
        )

    @property
    def link(self) -> Link | None:
        """From margins to outputs."""
        return self.model.link

    @property
    def known_margins(self) -> slice:
        """Those of which something is known, where anything is."""
        return slice(0) if self.known is None else slice(self.n_known)

    def margins_of(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the margins of whole rows, shape (n_rows, n_margins)."""
        return self.model.margins(rows)

    def sides(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the margins; see :class:`service.shapley.games.LinkedGame`."""
        return self._sides(self.contributions(row[None])[0][players], players, plan)

    def _sides(
        self, parts: Numbers, players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the margins in the precision of the row's parts, (n_players, n_hidden)."""
        precision = parts.dtype.type
        on_first = plan.pairs.members.astype(precision) @ parts  # (n_pairs, n_hidden)
        off, off_complement = self.tables.sides(players, plan, precision)
        first = self._margins(on_first, off.numbers)
        return first, self._margins(parts.sum(axis=0) - on_first, off_complement.numbers)

    def for_row(self, row: NDArray[Any]) -> AdditiveGame:
        """Return the game itself."""
        return self

    def control_values(self, row: NDArray[Any], plan: Plan) -> Known:
        """Return the Shapley values of known margins, shape (n_controls, n_features).

        Linear margins are no controls: they would leave the regression nothing that it does not
        know.
        """
        return nothing_known(self.n_features) if self.known is None else self.known.estimate(row)

    def _margins(self, from_row: Numbers, table: Numbers) -> NDArray[np.float64]:
        n_pairs, n_draws, n_hidden = table.shape
        step = max(1, CHUNK // (n_draws * n_hidden))
        parts = [
            self.model.readout(
                (from_row[i : i + step, None] + table[i : i + step]).reshape(-1, n_hidden)
            )
            for i in range(0, n_pairs, step)
        ]
        return np.concatenate(parts, dtype=np.float64).reshape(n_pairs, n_draws, -1)


def _single_precision_holds(outputs: NDArray[np.float64], controls: NDArray[np.float64]) -> bool:
    """Tell whether single precision can square and add up these differences."""
    of_outputs, of_controls = np.abs(outputs).max(), np.abs(controls).max(initial=0.0)
    return bool(1 / SINGLE_SPAN < of_outputs < SINGLE_SPAN and of_controls < SINGLE_SPAN)
