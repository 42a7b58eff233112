"""Kernels that are products of one factor a feature, by the distance in its columns.

Next: :mod:`service.shapley.kernels.nearest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.grouping import Grouping


@dataclass(frozen=True)
class Distances:
    """The logarithms of a kernel's factors: −rate · |x − s|^power, over the columns of a feature.

    Attributes
    ----------
    support : ndarray of shape (n_support, n_columns)
    rate : ndarray of shape (n_columns or 1, n_support or 1)
    power : {1, 2}
        2 for RBF kernels, 1 for Laplacian ones.
    grouping : Grouping
    """

    support: NDArray[np.float64]
    rate: NDArray[np.float64]
    power: int
    grouping: Grouping

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return log k_j(x_j, s_j) for rows, shape (n_rows, n_features, n_support)."""
        distance = rows[:, :, None] - self.support.T
        raise_to_power = np.square if self.power == 2 else np.abs
        raised = raise_to_power(distance, out=distance)
        return self.grouping.add_up(np.multiply(raised, -self.rate, out=raised))

    def neighbours(self) -> NDArray[np.intp]:
        """Order the support vectors by the column that tells most of them apart.

        So those that a row is not far from lie together.
        """
        apart = np.abs(self.support - self.support.mean(axis=0)).mean(axis=0)
        scaled = apart * self.rate.mean(axis=1) ** (1 / self.power)
        return np.argsort(self.support[:, scaled.argmax()], kind="stable")

    def taken(self, which: NDArray[np.intp]) -> Distances:
        """Return the same of some of the support vectors."""
        rate = self.rate if self.rate.shape[1] == 1 else self.rate[:, which]
        return replace(self, support=self.support[which], rate=rate)

    def of_one_rate(self) -> Iterator[tuple[NDArray[np.intp] | slice, NDArray[np.float64]]]:
        """Part the support vectors by their rates.

        Yields
        ------
        which : ndarray of int, shape (n_part,), or slice
            Support vectors of the same rates.
        scale : ndarray of shape (n_columns,)
            Multiplied by it, distances have the rate 1.
        """
        n_support, n_columns = self.support.shape
        if self.rate.shape[1] == 1:
            rate = np.broadcast_to(self.rate[:, 0], n_columns)
            yield slice(None), rate ** (1 / self.power)
            return
        rates, part = np.unique(
            np.broadcast_to(self.rate, (n_columns, self.rate.shape[1])), axis=1, return_inverse=True
        )
        part = np.broadcast_to(part, n_support)
        for i, rate in enumerate(rates.T):
            yield np.flatnonzero(part == i), rate ** (1 / self.power)
