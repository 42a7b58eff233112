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
# By bytes a number, relative: how far sums of products may be off.
ROUNDING = {8: 1e-13, 4: 1e-6}


@dataclass(frozen=True)
class DrawControls:
    """Controls of the draws of a plan, combined so that their errors are orthonormal.

    Attributes
    ----------
    values : ndarray of shape (n_controls, n_pairs · n_draws)
        Of each draw, one control after another.
    seen : ndarray of int, shape (n_seen,)
        The pairs whose draws are looked at one by one.
    of_means, of_draws, of_total : ndarray
        Of shapes (n_controls, n_pairs), (n_controls, n_seen · n_draws) and (n_controls,): how much
        of each control is in the errors of differences, by :func:`behind_errors`.
    """

    values: NDArray[np.floating[Any]]
    seen: NDArray[np.intp]
    of_means: NDArray[np.floating[Any]]
    of_draws: NDArray[np.floating[Any]]
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
        values = (marks @ (per_size[:, None] * whitening)).reshape(-1, whitening.shape[1])
        arrays: list[NDArray[Any]] = [
            np.ascontiguousarray(array.T, dtype=precision)
            for array in (values, *behind_errors(plan, errors @ whitening))
        ]
        return cls(arrays[0], _seen(plan), *arrays[1:])

    def in_errors_of(
        self,
        outputs: NDArray[np.floating[Any]],
        mean: NDArray[np.floating[Any]],
        total: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return how much of each control is in the errors of outputs.

        The errors themselves need not be computed. The result has shape (n_controls, n_outputs);
        the mean over the draws is given, too.
        """
        of_seen = outputs[self.seen].reshape(self.of_draws.shape[1], -1)
        found = self.of_means @ mean + self.of_draws @ of_seen
        return found.astype(np.float64, copy=False) + np.outer(self.of_total, total)

    def times(self, scale: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Multiply the controls of every draw by a scale of shape (n_controls, n_outputs).

        It is a single matrix product, of shape (n_pairs · n_draws, n_outputs).
        """
        times: NDArray[np.floating[Any]] = (scale.T @ self.values).T
        return times

    @property
    def nbytes(self) -> int:
        """The memory of the arrays."""
        return self.values.nbytes + self.of_means.nbytes + self.of_draws.nbytes


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
    n_outputs, n_own = len(total), len(own_totals)
    both, totals = outputs, total
    if n_own:
        both = np.concatenate([outputs, own], axis=2)
        totals = np.concatenate([total, own_totals])
    mean = mean_of_draws(both)
    explained = np.zeros((0, n_outputs + n_own))
    if drawn is not None:
        # What the draws' controls explain is taken out first; the rest is a regression by itself.
        explained = drawn.in_errors_of(both, mean, totals)
    scale = np.zeros((n_own, n_outputs))
    if n_own:
        squares = _squares_of_errors(plan, both, mean, totals)
        scale = _best_scale(squares, explained.T @ explained, n_outputs, both.itemsize)
    multiples = np.concatenate([np.eye(n_outputs), -scale])
    left = both.reshape(-1, n_outputs + n_own) @ multiples.astype(both.dtype)
    if drawn is not None:
        left -= drawn.times((explained @ multiples).astype(both.dtype))
    return left.reshape(*both.shape[:2], n_outputs), scale, n_own + len(explained)


def errors_of(
    plan: Plan, differences: NDArray[np.floating[Any]], total: NDArray[np.float64]
) -> NDArray[np.floating[Any]]:
    """Return the errors whose squares add up to the variance of the Shapley values, (n_errors, n).

    Over all players: residuals of pairs that were sampled, and deviations of the draws from their
    mean where most pairs of a size are there (elsewhere the residuals have them too).
    """
    mean = mean_of_draws(differences)
    residuals = _residuals(plan, mean, total)[plan.pairs.unseen > 0]
    return np.concatenate([residuals, _deviations(plan, differences, mean)])


def _squares_of_errors(
    plan: Plan,
    differences: NDArray[np.floating[Any]],
    mean: NDArray[np.floating[Any]],
    total: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the products of all errors with each other, added up; shape (n, n)."""
    residuals = _residuals(plan, mean, total).astype(np.float64, copy=False)
    deviations = _deviations(plan, differences, mean).astype(np.float64, copy=False)
    squares: NDArray[np.float64] = residuals.T @ residuals + deviations.T @ deviations
    return squares


def _residuals(
    plan: Plan, mean: NDArray[np.floating[Any]], total: NDArray[np.float64]
) -> NDArray[np.floating[Any]]:
    """Return the errors of pairs, (n_pairs, n): 0 where none of a size was left out."""
    solver = plan.solver.like(mean)
    size = np.sqrt(solver.influence * plan.pairs.unseen.astype(mean.dtype, copy=False))
    errors: NDArray[np.floating[Any]] = size[:, None] * (
        mean - solver.signs @ solver.solve(mean, total)
    )
    return errors


def _deviations(
    plan: Plan, differences: NDArray[np.floating[Any]], mean: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """Return the errors of the draws of pairs that are seen, (n_seen · n_draws, n)."""
    seen = _seen(plan)
    size = _sizes_of_draws(plan, seen).astype(differences.dtype)
    deviations = size[:, None, None] * (differences[seen] - mean[seen, None])
    return deviations.reshape(-1, mean.shape[1])


def _seen(plan: Plan) -> NDArray[np.intp]:
    """Return the pairs whose draws are looked at one by one."""
    if plan.draws is None or plan.draws.shape[1] == 1:
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero(plan.pairs.unseen < MOSTLY_SEEN)


def _sizes_of_draws(plan: Plan, seen: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return what a draw's deviation from the mean of its pair counts, (n_seen,)."""
    if plan.draws is None or not len(seen):
        return np.zeros(len(seen))
    share = (1 - plan.pairs.unseen) * plan.draw_noise / (plan.draws.shape[1] - 1)
    sizes: NDArray[np.float64] = np.sqrt(plan.solver.influence * share)[seen]
    return sizes


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
    solver, unseen, seen = plan.solver, plan.pairs.unseen, _seen(plan)
    sampled = unseen > 0
    residuals, deviations = np.split(errors, [np.count_nonzero(sampled)])
    of_pairs = np.zeros((len(unseen), errors.shape[1]))
    of_pairs[sampled] = np.sqrt(solver.influence * unseen)[sampled, None] * residuals
    of_players = solver.signs.T @ of_pairs
    of_means = of_pairs - solver.projection.T @ of_players
    n_draws = 1 if plan.draws is None else plan.draws.shape[1]
    of_seen = deviations.reshape(len(seen), n_draws, errors.shape[1])
    of_seen = of_seen - of_seen.mean(axis=1, keepdims=True)
    of_seen *= _sizes_of_draws(plan, seen)[:, None, None]
    of_draws = of_seen.reshape(-1, errors.shape[1])
    return of_means, of_draws, -solver.share @ of_players


def mean_of_draws(differences: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Average over the draws, (n_pairs, n_draws, n) to (n_pairs, n).

    numpy's own mean is slow along a short axis.
    """
    return np.einsum("pdk->pk", differences) / differences.shape[1]


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
    left, given = np.diag(rest[:, n_outputs:]), np.diag(squares)[n_outputs:]
    is_told = left > ROUNDING[itemsize] * given  # what is less is rounding
    size = np.sqrt(np.where(is_told, left, 1.0))
    per_size = is_told / size
    rest = per_size[:, None] * rest
    # Controls may be nearly alike, which squares show as far as rounding lets them.
    eigenvalues, vectors = np.linalg.eigh(rest[:, n_outputs:] * per_size)
    rounded = ROUNDING[itemsize] * (given * per_size**2).max()
    kept = eigenvalues > max(NEGLIGIBLE, rounded) * eigenvalues.max(initial=0.0)
    inverse = np.divide(1, eigenvalues, out=np.zeros_like(eigenvalues), where=kept)
    scale = vectors @ (inverse[:, None] * (vectors.T @ rest[:, :n_outputs]))
    return per_size[:, None] * scale
