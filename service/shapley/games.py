"""The value function v(S) = Σ_i w_i · f(x on S, b_i elsewhere) of a model that can only be called.

Games with more structure need fewer calls or none: :mod:`service.shapley.additive`,
:mod:`service.shapley.products`, :mod:`service.shapley.trees`, :mod:`service.shapley.trees.linked`,
:mod:`service.shapley.linear`.

Next: :mod:`service.shapley.kernel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.controls import DrawMarks
from service.shapley.grouping import Grouping
from service.shapley.plan import Numbers, Plan, Precision

DEFAULT_CALL_BYTES = 64 * 2**20
# From rows (n, n_features) to outputs (n, n_outputs).
Function = Callable[[NDArray[Any]], NDArray[np.float64]]
# Shapley values of shape (n, n_features), and standard errors that are 0 where they are exact.
Known = tuple[NDArray[np.float64], NDArray[np.float64]]
# From margins (n, n_margins) to outputs (n, n_outputs).
Link = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def nothing_known(n_features: int) -> Known:
    """Return what is known of no controls."""
    nothing = np.zeros((0, n_features))
    return nothing, nothing


class MarginGame(Protocol):
    """A game whose Shapley values need no coalitions."""

    def estimate(self, row: NDArray[Any]) -> Known:
        """Return the Shapley values of one row, with standard errors."""


class Game(Protocol):
    """What the estimator asks of a game.

    A game may bring *controls*: outputs of a simpler game on the same players whose Shapley values
    are known. The estimator samples only what the controls leave over.

    Attributes
    ----------
    background : Background
    n_features : int
        Number of players; an encoded row may have more columns.
    grouping : Grouping
        Which feature each column of the rows belongs to.
    empty_value : ndarray of shape (n_outputs,)
        v(∅), the mean output over the background.
    draw_marks : DrawMarks
        What is known of every background row.
    precision : type
        In what it is evaluated where something is sampled: ``numpy.float64`` or ``numpy.float32``.
    """

    background: Background
    n_features: int
    grouping: Grouping
    empty_value: NDArray[np.float64]
    draw_marks: DrawMarks
    precision: Precision

    def in_single_precision(self) -> Game | None:
        """Return the same game evaluated in single precision, None where it has no such form."""

    def on(self, background: Background) -> Game:
        """Return the same game on another background; what it knows of controls may not fit it."""

    def varying(self, row: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which features of `row` can change the game, shape (n_features,)."""

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return v of all features together, the model's output for `row`, shape (n_outputs,)."""

    def for_row(self, row: NDArray[Any]) -> Game:
        """Return the game with what is worth knowing of one row before it is evaluated."""

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[Numbers, Numbers]:
        """Evaluate v(S) − v(complement) for the pairs of a plan.

        Returns
        -------
        outputs : ndarray of shape (n_pairs, n_draws, n_outputs)
            One value for each background row drawn; `n_draws` is 1 when the plan has none, the
            value then is v's own. In the precision in which the game was evaluated, single or
            double; so are the controls.
        controls : ndarray of shape (n_pairs, n_draws, n_controls)
        """

    def control_values(self, row: NDArray[Any], plan: Plan) -> Known:
        """Return what is known of the controls' Shapley values."""


class LinkedGame(Game, Protocol):
    """A game of margins behind a link, so that another link can be put behind the same margins.

    Attributes
    ----------
    link : callable or None
        From margins (n, n_margins) to outputs (n, n_outputs).
    """

    link: Link | None

    def varying(self, row: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which features of `row` differ from the background."""
        return self.grouping.varying(self.background, row)

    def for_row(self, row: NDArray[Any]) -> Game:
        """Return the game itself."""
        return self

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the output for `row`, shape (n_outputs,)."""
        return self.outputs_of(row[None])[0]

    def outputs_of(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the outputs of whole rows, shape (n_rows, n_outputs)."""
        margins = self.margins_of(rows)
        return margins if self.link is None else np.asarray(self.link(margins))

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[Numbers, Numbers]:
        """Evaluate a plan's pairs; see :class:`Game`. The model is not called."""
        both = np.stack(self.sides(row, players, plan))
        controls = (both[0] - both[1])[:, :, self.known_margins]
        of_sides = linked(both, self.link)
        outputs = of_sides[0] - of_sides[1]
        return (
            over_background(outputs, self.background, plan),
            over_background(controls, self.background, plan),
        )

    @property
    def known_margins(self) -> slice | NDArray[np.intp]:
        """Which margins are controls, since their Shapley values are known."""

    def margins_of(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the margins of whole rows, shape (n_rows, n_margins)."""

    def on(self, background: Background) -> LinkedGame:
        """Return the same game on another background; what it knows of controls may not fit it."""

    def sides(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the margins on a plan's coalitions, and on their complements.

        Returns
        -------
        first, second : ndarray of shape (n_pairs, n_draws, n_margins)
            One value for each background row drawn, or for each row of the background where the
            plan draws none of it.
        """


def linked(margins: NDArray[np.float64], link: Link | None) -> NDArray[np.float64]:
    """Turn the margins of hybrid rows, (…, n_margins), into outputs; a link may overwrite them."""
    if link is None:
        return margins
    outputs = link(margins.reshape(-1, margins.shape[-1]))
    return outputs.reshape(*margins.shape[:-1], -1)


def over_background(
    differences: NDArray[np.float64], background: Background, plan: Plan
) -> NDArray[np.float64]:
    """Average over the whole background where a plan draws none of it.

    The result has shape (n_pairs, n_draws or 1, n_outputs).
    """
    if plan.draws is not None:
        return differences
    return np.einsum("b,pbk->pk", background.weights, differences)[:, None]


class Control(Protocol):
    """A simpler model of the same rows whose Shapley values are known exactly."""

    def predict(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return its outputs, shape (n_rows, n_controls)."""

    def shapley_values(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return its Shapley values, shape (n_controls, n_features)."""


class BlackBoxGame:
    """The game of a model on a background.

    The row comes with each call, so one game serves all rows and threads.

    Parameters
    ----------
    function : callable
        Takes rows of shape (n, n_features), returns outputs of shape (n, n_outputs).
    background : Background
    call_bytes : int, default 64 MiB
        Largest size of the rows handed to `function` in one call. A call never mixes two explained
        rows: many models give different last bits for the same row in a differently cut batch, and
        a row must not depend on its company.
    control : Control, optional
        Evaluated on the same hybrid rows.
    """

    precision: Precision = np.float64

    def __init__(
        self,
        function: Function,
        background: Background,
        call_bytes: int = DEFAULT_CALL_BYTES,
        control: Control | None = None,
    ) -> None:
        self.function = function
        self.background = background
        self.call_bytes = call_bytes
        self.control = control
        self.n_features = background.rows.shape[1]
        self.grouping = Grouping.identity(self.n_features)
        outputs = function(background.rows)  # (n_background, n_outputs)
        self.empty_value = background.weights @ outputs
        self.draw_marks = DrawMarks(background, self.grouping, outputs)

    def in_single_precision(self) -> None:
        """Return nothing: the model answers in its own precision."""

    def on(self, background: Background) -> BlackBoxGame:
        """Return the same game on another background, without its control."""
        return BlackBoxGame(self.function, background, self.call_bytes)

    def varying(self, row: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which features of `row` differ from the background."""
        return self.background.varying(row)

    def for_row(self, row: NDArray[Any]) -> BlackBoxGame:
        """Return the game itself."""
        return self

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the model's output for `row`, shape (n_outputs,)."""
        return self.function(row[None])[0]

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the plan's pairs by calling the model on hybrid rows; see :class:`Game`."""
        n_draws = len(self.background.rows) if plan.draws is None else plan.draws.shape[1]
        step = max(1, self.call_bytes // (2 * n_draws * row.nbytes))
        starts = range(0, len(plan.pairs.members), step)
        both = np.concatenate(
            [self._one_call(row, players, plan, slice(i, i + step)) for i in starts]
        )
        return both[:, :, : len(self.empty_value)], both[:, :, len(self.empty_value) :]

    def control_values(self, row: NDArray[Any], plan: Plan) -> Known:
        """Return the exact Shapley values of the control, shape (n_controls, n_features)."""
        if self.control is None:
            return nothing_known(len(row))
        values = self.control.shapley_values(row)
        return values, np.zeros_like(values)

    def evaluate(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return outputs and, after them, controls; shape (n_rows, n_outputs + n_controls)."""
        outputs = self.function(rows)
        if self.control is None:
            return outputs
        return np.hstack([outputs, self.control.predict(rows)])

    def _one_call(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan, part: slice
    ) -> NDArray[np.float64]:
        """Evaluate some pairs, outputs and controls side by side.

        The result has shape (n_pairs, n_draws, n_outputs + n_controls).
        """
        members = np.zeros((len(plan.pairs.members[part]), len(row)), dtype=bool)
        members[:, players] = plan.pairs.members[part]
        others = np.zeros_like(members)
        others[:, players] = ~plan.pairs.members[part]
        sides = np.stack([members, others], axis=1)[:, :, None, :]  # (n_pairs, 2, 1, n_features)
        rows = (
            self.background.rows[None]
            if plan.draws is None
            else self.background.rows[plan.draws[part]]
        )
        hybrids = np.where(sides, row, rows[:, None])  # (n_pairs, 2, n_draws, n_features)
        flat = hybrids.reshape(-1, len(row))
        outputs = self.evaluate(flat).reshape(*hybrids.shape[:3], -1)
        differences = outputs[:, 0] - outputs[:, 1]  # (n_pairs, n_draws, n_outputs)
        return over_background(differences, self.background, plan)
