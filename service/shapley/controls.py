"""Control variates: what is known exactly is subtracted before the rest is estimated.

Two kinds. A game brings outputs of a simpler game with known Shapley values
(:class:`service.shapley.games.Game`). And what a background row adds by itself averages to nothing
over the background: minus its mean it is a control of the noise of the draws, with Shapley values
0. The second kind depends on the plan alone, so it is prepared once.

Next: :mod:`service.shapley.cache`.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.cache import BoundedCache
from service.shapley.grouping import Grouping
from service.shapley.kernels.regression import (
    DrawControls,
    deviations_of,
    mean_of_draws,
    residuals_of,
)
from service.shapley.plan import Plan, Precision

MOST_MARKS = (
    300  # columns of the background that serve as controls; more would cost more than they save
)
NEGLIGIBLE = 1e-9  # of the largest eigenvalue: controls that the others make up
# By bytes a number, relative: how far sums of products may be off.
ROUNDING = {8: 1e-13, 4: 1e-6}


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

    def controls(self, players: NDArray[np.intp], plan: Plan) -> DrawControls:
        """Return the controls of a plan: none where it draws nothing, or they are left out."""
        if plan.draws is None or self.is_left_out:
            return _no_draw_controls(plan, self.precision)
        key = plan, players.tobytes()
        return self._cache.get(
            key, lambda: combine_draw_controls(self._marks(players, plan), plan, self.precision)
        )

    def _marks(self, players: NDArray[np.intp], plan: Plan) -> NDArray[np.float64]:
        signs, draws = plan.solver.signs, plan.draws
        playing = np.isin(self.owner, players)
        position = np.searchsorted(players, self.owner[playing])
        of_columns = self.of_columns[:, playing][draws] * signs[:, None, position]
        return np.concatenate(
            [of_columns, self.of_outputs[draws] * signs.mean(axis=1)[:, None, None]], axis=2
        )


def combine_draw_controls(
    marks: NDArray[np.float64], plan: Plan, precision: Precision = np.float64
) -> DrawControls:
    """Combine controls of the draws so that their errors are orthonormal.

    Parameters
    ----------
    marks : ndarray of shape (n_pairs, n_draws, n)
        The controls.
    plan : Plan
        It draws something.
    precision : numpy.float64 or numpy.float32
        To which the result is rounded.
    """
    errors = errors_of(plan, marks, np.zeros(marks.shape[2]))
    size = np.linalg.norm(errors, axis=0)
    per_size = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
    errors = errors * per_size
    eigenvalues, vectors = np.linalg.eigh(errors.T @ errors)
    kept = eigenvalues > NEGLIGIBLE * eigenvalues.max(initial=0.0)
    whitening = vectors[:, kept] / np.sqrt(eigenvalues[kept])
    values = (marks @ (per_size[:, None] * whitening)).reshape(-1, whitening.shape[1])
    arrays: list[NDArray[Any]] = [
        np.ascontiguousarray(array.T, dtype=precision)
        for array in (values, *behind_errors(plan, errors @ whitening))
    ]
    return DrawControls(*arrays)


def _no_draw_controls(plan: Plan, precision: Precision) -> DrawControls:
    n_draws = 1 if plan.draws is None else plan.draws.shape[1]
    n_pairs, n_seen = len(plan.pairs.unseen), len(plan.design(np.dtype(np.float64)).seen)
    shapes = (0, n_pairs * n_draws), (0, n_pairs), (0, n_seen * n_draws), (0,)
    arrays: list[NDArray[Any]] = [np.zeros(shape, dtype=precision) for shape in shapes]
    return DrawControls(*arrays)


def best_multiples(
    squares: NDArray[np.float64], explained: NDArray[np.float64], n_outputs: int, itemsize: int
) -> NDArray[np.float64]:
    """Return the combinations of outputs and controls that leave least of the outputs' errors.

    Parameters
    ----------
    squares : ndarray of shape (n, n)
        The products of the errors of outputs and, behind them, of the game's controls.
    explained : ndarray of shape (n_draw_controls, n)
        How much of controls of the draws is in them. It is taken out first; the rest is a
        regression by itself.
    n_outputs : int
    itemsize : int
        Bytes of the numbers that they come from.

    Returns
    -------
    ndarray of shape (n, n_outputs)
        Of outputs 1, of controls what is fitted, with the other sign.
    """
    if len(squares) == n_outputs:
        return np.eye(n_outputs)
    scale = _best_scale(squares, explained.T @ explained, n_outputs, itemsize)
    return np.concatenate([np.eye(n_outputs), -scale])


def errors_of(
    plan: Plan, differences: NDArray[np.floating[Any]], total: NDArray[np.float64]
) -> NDArray[np.floating[Any]]:
    """Return the errors whose squares add up to the variance of the Shapley values, (n_errors, n).

    Over all players: residuals of pairs that were sampled, and deviations of the draws from their
    mean where most pairs of a size are there (elsewhere the residuals have them too).
    """
    design, mean = plan.design(differences.dtype), mean_of_draws(differences)
    residuals = residuals_of(design, mean, total)[plan.pairs.unseen > 0]
    return np.concatenate([residuals, deviations_of(design, differences, mean)])


def behind_errors(
    plan: Plan, errors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Apply the transpose of :func:`errors_of`, for a plan with draws.

    Parameters
    ----------
    plan : Plan
    errors : ndarray of shape (n_errors, n)

    Returns
    -------
    of_means : ndarray of shape (n_pairs, n)
    of_draws : ndarray of shape (n_seen · n_draws, n)
    of_total : ndarray of shape (n,)
        With them Σ errors · errors_of(plan, x, total) = Σ of_means · mean of x over the draws
        + Σ of_draws · x of the pairs that are seen + of_total · total, for any differences x.
    """
    solver, design = plan.solver, plan.design(errors.dtype)
    seen, sampled = design.seen, plan.pairs.unseen > 0
    residuals, deviations = np.split(errors, [np.count_nonzero(sampled)])
    of_pairs = np.zeros((len(sampled), errors.shape[1]))
    of_pairs[sampled] = design.of_residuals[sampled, None] * residuals
    of_players = design.signs @ of_pairs
    of_means = of_pairs - solver.projection.T @ of_players
    n_draws = 1 if plan.draws is None else plan.draws.shape[1]
    of_seen = deviations.reshape(len(seen), n_draws, errors.shape[1])
    of_seen = of_seen - of_seen.mean(axis=1, keepdims=True)
    of_seen *= design.of_deviations[:, None, None]
    of_draws = of_seen.reshape(-1, errors.shape[1])
    return of_means, of_draws, -solver.share @ of_players


def _best_scale(
    squares: NDArray[np.float64], explained: NDArray[np.float64], n_outputs: int, itemsize: int
) -> NDArray[np.float64]:
    """Fit the multiple of the controls' errors that leaves least of the outputs' errors.

    Parameters
    ----------
    squares, explained : ndarray of shape (n, n)
        Products of the errors of outputs and, after them, controls; and what is explained of them.
    n_outputs : int
    itemsize : int
        Bytes of the numbers that they come from.

    Returns
    -------
    ndarray of shape (n_controls, n_outputs)
    """
    rest = (squares - explained)[n_outputs:]
    left, given = rest.diagonal(n_outputs), squares.diagonal()[n_outputs:]
    is_told = left > ROUNDING[itemsize] * given  # what is less is rounding
    if len(left) == 1:
        return is_told * rest[:, :n_outputs] / np.where(is_told, left, 1.0)
    size = np.sqrt(np.where(is_told, left, 1.0))
    per_size = is_told / size
    rest = per_size[:, None] * rest
    # Controls may be nearly alike, which squares show as far as rounding lets them.
    eigenvalues, vectors = np.linalg.eigh(rest[:, n_outputs:] * per_size)
    rounded = ROUNDING[itemsize] * (given * per_size**2).max()
    kept = eigenvalues > max(NEGLIGIBLE, rounded) * max(eigenvalues[-1], 0.0)
    vectors = vectors[:, kept]
    scale = vectors @ ((vectors.T @ rest[:, :n_outputs]) / eigenvalues[kept, None])
    return per_size[:, None] * scale
