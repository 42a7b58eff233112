"""The regression on a plan's pairs in numpy: errors of differences, and what is solved of them.

The squares of all errors add up to the variance of the Shapley values of all players together. A
pair errs because other coalitions of its size were not drawn (its *residual*), a draw because other
background rows were not (its *deviation* from the mean of its pair).

Next: :mod:`service.shapley.kernels.waves`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any]]


class Design(NamedTuple):
    """What a plan knows of its differences, in their precision unless said otherwise.

    Attributes
    ----------
    signs : ndarray of shape (n_players, n_pairs)
        +1 where a player is in a pair's coalition, −1 elsewhere.
    projection : ndarray of shape (n_players, n_pairs)
        Turns differences into Shapley values; ``solution`` does it in double precision.
    solution : ndarray of float64, shape (n_players, n_pairs)
    share : ndarray of float64, shape (n_players,)
        Each player's share of v(N) − v(∅) that is added.
    of_residuals : ndarray of shape (n_pairs,)
        What a pair's residual counts among the errors: 0 where none of its size was left out.
    stretch : ndarray of shape (n_pairs,)
        By what a residual is too small, since its own difference was fitted to.
    unseen : ndarray of shape (n_pairs,)
        The share of a pair's size that was not drawn.
    seen : ndarray of int, shape (n_seen,)
        The pairs whose draws are looked at one by one.
    of_deviations : ndarray of shape (n_seen,)
        What the deviation of one of their draws counts.
    noise : ndarray of shape (n_pairs,)
        What the sum of the squares of a pair's deviations adds to its variance.
    """

    signs: Numbers
    projection: Numbers
    solution: NDArray[np.float64]
    share: NDArray[np.float64]
    of_residuals: Numbers
    stretch: Numbers
    unseen: Numbers
    seen: NDArray[np.intp]
    of_deviations: Numbers
    noise: Numbers

    def rounded(self) -> Design:
        """Return the same for differences in single precision."""
        exact = {"solution", "share", "seen"}
        others = {
            name: getattr(self, name).astype(np.float32)
            for name in self._fields
            if name not in exact
        }
        return self._replace(**others)


class DrawControls(NamedTuple):
    """Controls of the draws of a plan, combined so that their errors are orthonormal.

    Attributes
    ----------
    values : ndarray of shape (n_controls, n_pairs · n_draws)
        Of each draw, one control after another.
    of_means, of_draws, of_total : ndarray
        Of shapes (n_controls, n_pairs), (n_controls, n_seen · n_draws) and (n_controls,): how much
        of each control is in the errors of differences.
    """

    values: Numbers
    of_means: Numbers
    of_draws: Numbers
    of_total: Numbers

    @property
    def nbytes(self) -> int:
        """The memory of the arrays."""
        return sum(array.nbytes for array in self)


class Combination(NamedTuple):
    """What several differences are put together to.

    Attributes
    ----------
    multiples : ndarray of shape (n, n_outputs)
        Of each difference.
    explained : ndarray of shape (n_controls, n_outputs)
        How much of each control of the draws is subtracted.
    """

    multiples: NDArray[np.float64]
    explained: NDArray[np.float64]


def beside(first: Numbers, second: Numbers) -> Numbers:
    """Put differences beside others, (n_pairs, n_draws, n).

    They lie in memory column after column, as the loops read them.
    """
    columns = first.transpose(2, 0, 1), second.transpose(2, 0, 1)
    shape = len(columns[0]) + len(columns[1]), *first.shape[:2]
    return np.concatenate(columns, out=np.empty(shape, first.dtype)).transpose(1, 2, 0)


def mean_of_draws(differences: Numbers) -> Numbers:
    """Average over the draws, (n_pairs, n_draws, n) to (n_pairs, n).

    numpy's own mean is slow along a short axis.
    """
    return np.einsum("pdk->pk", differences) / differences.shape[1]


def residuals_of(design: Design, mean: Numbers, totals: NDArray[np.float64]) -> Numbers:
    """Return the errors of pairs, (n_pairs, n): 0 where none of a size was left out."""
    values = design.projection @ mean + np.outer(design.share, totals).astype(mean.dtype)
    errors: Numbers = design.of_residuals[:, None] * (mean - design.signs.T @ values)
    return errors


def deviations_of(design: Design, differences: Numbers, mean: Numbers) -> Numbers:
    """Return the errors of the draws of pairs that are seen, (n_seen · n_draws, n)."""
    deviations = differences[design.seen] - mean[design.seen, None]
    return (design.of_deviations[:, None, None] * deviations).reshape(-1, mean.shape[1])


def error_products(
    design: Design, drawn: DrawControls, differences: Numbers, totals: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Multiply errors with each other and with controls; see :class:`NumpyKernels`."""
    mean = mean_of_draws(differences)
    of_seen = differences[design.seen].reshape(-1, len(totals))
    explained = (drawn.of_means @ mean + drawn.of_draws @ of_seen).astype(np.float64)
    residuals = residuals_of(design, mean, totals).astype(np.float64)
    deviations = deviations_of(design, differences, mean).astype(np.float64)
    squares = residuals.T @ residuals + deviations.T @ deviations
    return squares, explained + np.outer(drawn.of_total, totals)


def solve_combined(
    design: Design,
    drawn: DrawControls,
    differences: Numbers,
    totals: NDArray[np.float64],
    combination: Combination,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve for combinations of differences; see :class:`NumpyKernels`."""
    multiples, explained = combination
    n_pairs, n_draws, n = differences.shape
    precision = differences.dtype
    left = differences.reshape(-1, n) @ multiples.astype(precision)
    left -= (explained.astype(precision).T @ drawn.values).T
    left = left.reshape(n_pairs, n_draws, -1)
    mean = mean_of_draws(left)
    solved = design.solution @ mean.astype(np.float64) + np.outer(design.share, totals @ multiples)
    residual = design.stretch[:, None] * (mean - design.signs.T @ solved.astype(precision))
    deviation = left - mean[:, None]
    spread = np.einsum("pdk,pdk->pk", deviation, deviation)
    variance = design.unseen[:, None] * residual * residual + design.noise[:, None] * spread
    return solved, design.solution**2 @ variance.astype(np.float64)
