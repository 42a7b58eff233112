"""Control variates: what is known exactly is subtracted before the rest is estimated.

Two kinds. A game brings outputs of a simpler game with known Shapley values
(:class:`service.shapley.games.Game`). And what a background row adds by itself averages to nothing
over the background: minus its mean it is a control of the noise of the draws, with Shapley values
0. The second kind depends on the plan alone, so it is prepared once.

Next: :mod:`service.shapley.cache`.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.cache import BoundedCache
from service.shapley.grouping import Grouping
from service.shapley.plan import Plan, Precision

MOST_MARKS = (
    300  # columns of the background that serve as controls; more would cost more than they save
)
MOSTLY_SEEN = 0.5
NEGLIGIBLE = 1e-9  # of the largest eigenvalue: controls that the others make up


@dataclass(frozen=True)
class DrawControls:
    """Controls of the draws of a plan, combined so that their errors are orthonormal.

    Attributes
    ----------
    values : ndarray of shape (n_pairs, n_draws, n_controls)
    errors : ndarray of shape (n_errors, n_controls)
        As :func:`errors_of` gives them.
    weights : ndarray of shape (n_pairs · n_draws, n_controls)
        How much of each control is in the errors of differences that are 1 in one draw and 0 in all
        others.
    of_total : ndarray of shape (n_controls,)
        The same for a total of 1.
    """

    values: NDArray[np.floating[Any]]
    errors: NDArray[np.floating[Any]]
    weights: NDArray[np.floating[Any]]
    of_total: NDArray[np.floating[Any]]

    @classmethod
    def of(
        cls, marks: NDArray[np.float64], plan: Plan, precision: Precision = np.float64
    ) -> DrawControls:
        """Combine controls, (n_pairs, n_draws, n), and round them to a precision."""
        errors = errors_of(plan, marks, np.zeros(marks.shape[2]))
        size = np.linalg.norm(errors, axis=0)
        per_size = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
        errors = errors * per_size
        eigenvalues, vectors = np.linalg.eigh(errors.T @ errors)
        kept = eigenvalues > NEGLIGIBLE * eigenvalues.max(initial=0.0)
        whitening = vectors[:, kept] / np.sqrt(eigenvalues[kept])
        values, errors = marks @ (per_size[:, None] * whitening), errors @ whitening
        weights, of_total = behind_errors(plan, errors)
        weights = weights.reshape(-1, errors.shape[1])
        rounded: list[NDArray[Any]] = [
            part.astype(precision) for part in (values, errors, weights, of_total)
        ]
        return cls(*rounded)

    def in_errors_of(
        self, outputs: NDArray[np.floating[Any]], total: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return how much of each control is in the errors of outputs.

        The errors themselves need not be computed. The result has shape (n_controls, n_outputs).
        """
        found = self.weights.T @ outputs.reshape(len(self.weights), -1)
        return found.astype(np.float64, copy=False) + np.outer(self.of_total, total)

    def in_errors(self, errors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return how much of each control is in errors.

        From (n_errors, n_outputs) to (n_controls, n_outputs).
        """
        found: NDArray[np.float64] = (self.errors.T @ errors).astype(np.float64, copy=False)
        return found

    def times(self, scale: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Multiply the controls of every draw by a scale of shape (n_controls, n_outputs)."""
        return _multiple(self.values, scale)

    @property
    def nbytes(self) -> int:
        """The memory of the arrays."""
        return self.values.nbytes + self.errors.nbytes + self.weights.nbytes


class DrawMarks:
    """What is known of every background row, and the controls made of it.

    Each feature's own value counts with the sign of the side it stands on. The row's output, which
    knows how the features act together, counts by how many more of them stand on one side than on
    the other.

    Parameters
    ----------
    background : Background
    grouping : Grouping
    outputs : ndarray of shape (n_background, n_outputs)
        The output for each background row.
    """

    is_left_out = False

    def __init__(
        self, background: Background, grouping: Grouping, outputs: NDArray[np.float64]
    ) -> None:
        n_columns = background.rows.shape[1]
        self.of_columns = (
            background.marks if n_columns <= MOST_MARKS else np.zeros((len(outputs), 0))
        )
        self.of_outputs = background.standardised(outputs[:, :MOST_MARKS])
        self.owner = grouping.owner[: self.of_columns.shape[1]]
        self.precision: Precision = np.float64
        self._cache: BoundedCache[DrawControls] = BoundedCache()

    def in_single_precision(self) -> DrawMarks:
        """Return the same with its controls in single precision."""
        other = copy(self)
        other.precision, other._cache = np.float32, BoundedCache()
        return other

    def left_out(self) -> DrawMarks:
        """Return marks of which no controls are made, where others know more of the rows."""
        other = copy(self)
        other.is_left_out = True
        return other

    def controls(self, players: NDArray[np.intp], plan: Plan) -> DrawControls | None:
        """Return the controls of a plan; None where it draws nothing, or they are left out."""
        if plan.draws is None or self.is_left_out:
            return None
        key = plan, players.tobytes()
        return self._cache.get(
            key, lambda: DrawControls.of(self._marks(players, plan), plan, self.precision)
        )

    def _marks(self, players: NDArray[np.intp], plan: Plan) -> NDArray[np.float64]:
        signs, draws = plan.solver.signs, plan.draws
        playing = np.isin(self.owner, players)
        position = np.searchsorted(players, self.owner[playing])
        of_columns = self.of_columns[:, playing][draws] * signs[:, None, position]
        return np.concatenate(
            [of_columns, self.of_outputs[draws] * signs.mean(axis=1)[:, None, None]], axis=2
        )


def subtract_controls(
    plan: Plan,
    total: NDArray[np.float64],
    outputs: NDArray[np.floating[Any]],
    own: NDArray[np.floating[Any]],
    *,
    own_totals: NDArray[np.float64],
    drawn: DrawControls | None,
) -> tuple[NDArray[np.floating[Any]], NDArray[np.float64], int]:
    """Subtract the multiple of all controls that leaves least of the outputs' errors.

    Parameters
    ----------
    plan : Plan
    total : ndarray of shape (n_outputs,)
        v(N) − v(∅).
    outputs : ndarray of shape (n_pairs, n_draws, n_outputs)
    own : ndarray of shape (n_pairs, n_draws, n_own)
        The game's own controls.
    own_totals : ndarray of shape (n_own,)
        Their v(N) − v(∅).
    drawn : DrawControls or None
        None where nothing is drawn.

    Returns
    -------
    left : ndarray of shape (n_pairs, n_draws, n_outputs)
    scale : ndarray of shape (n_own, n_outputs)
        The multiple of the game's own controls.
    n_controls : int
        Of both kinds.
    """
    scale = np.zeros((len(own_totals), len(total)))
    if not len(own_totals):
        if drawn is None:
            return outputs, scale, 0
        of_errors = drawn.in_errors_of(outputs, total)
        return (
            outputs - drawn.times(of_errors.astype(outputs.dtype, copy=False)),
            scale,
            len(of_errors),
        )
    n_outputs = len(total)
    both = np.concatenate([outputs, own], axis=2)
    errors = errors_of(plan, both, np.concatenate([total, own_totals]))
    if drawn is None:
        scale = _best_scale(errors[:, n_outputs:], errors[:, :n_outputs])
        return outputs - _multiple(own, scale), scale, len(scale)
    # What the draws' controls explain of either is taken out first; the rest of both is a
    # regression by itself.
    explained = drawn.in_errors(errors)
    rest = errors - drawn.errors @ explained.astype(errors.dtype, copy=False)
    scale = _best_scale(rest[:, n_outputs:], rest[:, :n_outputs])
    of_drawn = explained[:, :n_outputs] - explained[:, n_outputs:] @ scale
    left = outputs - drawn.times(of_drawn.astype(outputs.dtype, copy=False))
    left -= _multiple(own, scale)
    return left, scale, len(scale) + len(explained)


def errors_of(
    plan: Plan, differences: NDArray[np.floating[Any]], total: NDArray[np.float64]
) -> NDArray[np.floating[Any]]:
    """Return the errors whose squares add up to the variance of the Shapley values, (n_errors, n).

    Over all players: residuals of pairs that were sampled, and deviations of the draws from their
    mean where most pairs of a size are there (elsewhere the residuals have them too).
    """
    solver, unseen = (
        plan.solver.like(differences),
        plan.pairs.unseen.astype(differences.dtype, copy=False),
    )
    mean = mean_of_draws(differences)
    residual = np.sqrt(solver.influence * unseen)[:, None] * (
        mean - solver.signs @ solver.solve(mean, total)
    )
    residual, n_draws = residual[unseen > 0], differences.shape[1]
    if plan.draws is None or n_draws == 1:
        return residual
    seen = unseen < MOSTLY_SEEN
    drawn = np.sqrt(solver.influence * (1 - unseen) * plan.draw_noise / (n_draws - 1))[seen].astype(
        differences.dtype
    )
    deviation = drawn[:, None, None] * (differences[seen] - mean[seen, None])
    return np.concatenate([residual, deviation.reshape(len(deviation) * n_draws, mean.shape[1])])


def behind_errors(
    plan: Plan, errors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Apply the transpose of :func:`errors_of`, for a plan with draws.

    Parameters
    ----------
    plan : Plan
    errors : ndarray of shape (n_errors, n)

    Returns
    -------
    weights : ndarray of shape (n_pairs, n_draws, n)
    of_total : ndarray of shape (n,)
        With them Σ errors · errors_of(plan, x, total) = Σ weights · x + of_total · total for any
        differences x.
    """
    solver, unseen, n_draws = (
        plan.solver,
        plan.pairs.unseen,
        1 if plan.draws is None else plan.draws.shape[1],
    )
    sampled, seen = unseen > 0, unseen < MOSTLY_SEEN
    residual, drawn = np.split(errors, [np.count_nonzero(sampled)])
    of_pairs = np.zeros((len(unseen), errors.shape[1]))
    of_pairs[sampled] = np.sqrt(solver.influence * unseen)[sampled, None] * residual
    of_players = solver.signs.T @ of_pairs
    weights = np.repeat(
        (of_pairs - solver.projection.T @ of_players)[:, None] / n_draws, n_draws, axis=1
    )
    if len(drawn):
        deviation = drawn.reshape(-1, n_draws, errors.shape[1])
        size = np.sqrt(solver.influence * (1 - unseen) * plan.draw_noise / (n_draws - 1))[seen]
        weights[seen] += size[:, None, None] * (deviation - deviation.mean(axis=1, keepdims=True))
    return weights, -solver.share @ of_players


def mean_of_draws(differences: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Average over the draws, (n_pairs, n_draws, n) to (n_pairs, n).

    numpy's own mean is slow along a short axis.
    """
    return np.einsum("pdk->pk", differences) / differences.shape[1]


def _multiple(
    controls: NDArray[np.floating[Any]], scale: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """Multiply controls, (n_pairs, n_draws, n_controls), by a scale, (n_controls, n_outputs).

    It is a single matrix product: one for each pair would take twenty times as long.
    """
    n_pairs, n_draws, n_controls = controls.shape
    flat: NDArray[np.floating[Any]] = controls.reshape(-1, n_controls) @ scale.astype(
        controls.dtype, copy=False
    )
    return flat.reshape(n_pairs, n_draws, -1)


def _best_scale(x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Fit the multiple of the controls' errors that leaves least of the outputs' errors.

    The result has shape (n_controls, n_outputs).
    """
    # Squared, controls may be nearly alike.
    x, y = (np.ascontiguousarray(part, dtype=np.float64) for part in (x, y))
    size = np.linalg.norm(x, axis=0)
    x = np.divide(x, size, out=np.zeros_like(x), where=size > 0)
    eigenvalues, vectors = np.linalg.eigh(x.T @ x)
    kept = eigenvalues > NEGLIGIBLE * eigenvalues.max(initial=0.0)
    inverse = np.divide(1, eigenvalues, out=np.zeros_like(eigenvalues), where=kept)
    scale = vectors @ (inverse[:, None] * (vectors.T @ (x.T @ y)))
    return np.divide(scale, size[:, None], out=np.zeros_like(scale), where=size[:, None] > 0)
