"""Points, and what a model answers by the nearest of them.

A row's distance from a point, raised to the metric's power, is a sum over columns. So a hybrid
row's is the explained row's part on the coalition plus a background row's part elsewhere: parts are
made once for each row, and added up for each hybrid row.

Next: :mod:`service.shapley.kernels.regression`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Points that are compared together in native/nearest.cpp at the widest level.
BLOCK = 32
ROWS_CHUNK = 2**20  # numbers per array while distances are added up


@dataclass(frozen=True)
class NearestPoints:
    """Means of the targets of the nearest points.

    Attributes
    ----------
    points : ndarray of shape (n_points, n_columns)
    targets : ndarray of shape (n_points, n_outputs)
    n_nearest : int
        Of points that are equally far the first are taken.
    power : float
        p of the distance (Σ_j scale_j · |x_j − t_j|^p)^(1/p).
    scale : ndarray of shape (n_columns,)
    by_distance : bool
        Whether points count by one over their distance, rather than all alike.
    """

    points: Floats
    targets: Floats
    n_nearest: int
    power: float
    scale: Floats
    by_distance: bool

    def parts(self, rows: Floats) -> Floats:
        """Return what each column adds to each distance, shape (n_rows, n_columns, n_points)."""
        apart = np.abs(rows[:, :, None] - self.points.T)
        raised: Floats = apart**self.power * self.scale[:, None]
        return raised

    def means(self, distances: Floats) -> Floats:
        """Average targets, from raised distances (n, n_points) to (n, n_outputs)."""
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.n_nearest]
        weights = np.ones(nearest.shape)
        if self.by_distance:
            weights = _inverse(np.take_along_axis(distances, nearest, axis=1) ** (1 / self.power))
        totals = np.einsum("nk,nko->no", weights, self.targets[nearest])
        return totals / weights.sum(axis=1, keepdims=True)

    @property
    def rows_at_once(self) -> int:
        """How many rows' parts are held at once."""
        return max(1, ROWS_CHUNK // self.points.size)

    @cached_property
    def columns(self) -> Floats:
        """The points column by column, with zeros up to a whole number of blocks."""
        n_points, n_columns = self.points.shape
        padded = np.zeros((n_columns, -(-n_points // BLOCK) * BLOCK))
        padded[:, :n_points] = self.points.T
        return padded


class Hybrids(NamedTuple):
    """Rows that are one row's in some features, and background rows' in the others.

    Attributes
    ----------
    row : ndarray of shape (n_columns,)
    rows : ndarray of shape (n_rows, n_columns)
        The background's.
    drawn : ndarray of int, shape (n_hybrids,)
        Each one's background row, in rising order.
    inside : ndarray of bool, shape (n_hybrids, n_features)
        Which features are those of the row.
    """

    row: NDArray[Any]
    rows: NDArray[Any]
    drawn: NDArray[np.intp]
    inside: NDArray[np.bool_]


def _inverse(distances: Floats) -> Floats:
    """Return one over distances; where one of a row is 0, 1 for those and 0 for the others."""
    at_point = distances == 0
    with np.errstate(divide="ignore"):
        weights = 1 / distances
    return np.where(at_point.any(axis=1, keepdims=True), at_point, weights)
