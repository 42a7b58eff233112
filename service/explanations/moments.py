"""Sums over rows: all that is kept of local importances where only global ones are wanted.

Next: :mod:`service.explanations.global_importances`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engines.sparse.importances import SparseValues

# The mean of |x| of a normal x without a mean of its own, in standard deviations.
MEAN_MAGNITUDE = float(np.sqrt(2 / np.pi))


@dataclass(frozen=True, eq=False)
class Moments:
    """What magnitudes of importances come to, for each output and for the mean of all outputs.

    Attributes
    ----------
    n_rows : int
    totals : ndarray of shape (n_outputs + 1, n_features)
        Σ|φ|; the last is that of the mean over outputs.
    lost : ndarray of the same shape
        What rounding took from the totals.
    squares : ndarray of the same shape
        Σ(|φ| − mean)².
    errors : ndarray of shape (n_outputs, n_features), or None
        Sums of the standard errors of a sampled engine.
    """

    n_rows: int
    totals: NDArray[np.float64]
    lost: NDArray[np.float64]
    squares: NDArray[np.float64]
    errors: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, values: NDArray[np.float64], errors: NDArray[np.float64] | None = None) -> Moments:
        """Add up values, and their standard errors, of shape (n_outputs, n_rows, n_features)."""
        magnitudes = np.abs(values)
        sums = [_centred(magnitudes[output]) for output in range(len(magnitudes))]
        sums.append(sums[0] if len(sums) == 1 else _centred(magnitudes.mean(axis=0)))
        totals, squares = map(np.stack, zip(*sums, strict=True))
        summed = None if errors is None else errors.sum(axis=1)
        return cls(values.shape[1], totals, np.zeros_like(totals), squares, summed)

    @classmethod
    def of_sparse(cls, sparse: SparseValues) -> Moments:
        """Add up the importances of sparse rows, zeros by their number."""
        n_rows = len(sparse)
        cells, zeros = np.abs(sparse.data), np.abs(sparse.constants)
        cells = np.concatenate([cells, cells.mean(axis=0, keepdims=True)])
        zeros = np.concatenate([zeros, zeros.mean(axis=0, keepdims=True)])
        n_features = zeros.shape[1]
        n_zeros = n_rows - np.bincount(sparse.indices, minlength=n_features)
        beyond = cells - zeros[:, sparse.indices]  # which is centred well enough

        def add_up(parts: NDArray[np.float64]) -> NDArray[np.float64]:
            sums = [np.bincount(sparse.indices, part, minlength=n_features) for part in parts]
            return np.stack(sums)

        totals = add_up(cells) + n_zeros * zeros
        squares = add_up(beyond**2) - add_up(beyond) ** 2 / max(1, n_rows)
        return cls(n_rows, totals, np.zeros_like(totals), np.maximum(squares, 0.0))

    def __add__(self, other: Moments) -> Moments:
        """Join the sums of further rows.

        Source: Neumaier (1974) for the totals; Chan, Golub, LeVeque (1983) for the squares.
        """
        totals = self.totals + other.totals
        # Totals are never negative, so that the larger one is the one that keeps its digits.
        larger = np.maximum(self.totals, other.totals)
        smaller = np.minimum(self.totals, other.totals)
        lost = self.lost + other.lost + ((larger - totals) + smaller)
        n_rows = self.n_rows + other.n_rows
        apart = self.totals / self.n_rows - other.totals / other.n_rows
        between = apart**2 * (self.n_rows * other.n_rows / n_rows)
        errors = None
        if self.errors is not None and other.errors is not None:
            errors = self.errors + other.errors
        return Moments(n_rows, totals, lost, self.squares + other.squares + between, errors)

    def take_columns(self, columns: tuple[int, ...] | None) -> Moments:
        """Return the sums of some features; None for all."""
        if columns is None:
            return self
        kept = list(columns)
        errors = self.errors
        return Moments(
            self.n_rows,
            self.totals[:, kept],
            self.lost[:, kept],
            self.squares[:, kept],
            None if errors is None else errors[:, kept],
        )

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean magnitudes, shape (n_outputs + 1, n_features)."""
        return (self.totals + self.lost) / self.n_rows

    @property
    def mean_errors(self) -> NDArray[np.float64] | None:
        """Mean standard errors, shape (n_outputs + 1, n_features); None without any."""
        if self.errors is None:
            return None
        means = self.errors / self.n_rows
        return np.concatenate([means, means.mean(axis=0, keepdims=True)])

    @property
    def standard_errors(self) -> NDArray[np.float64] | None:
        """Standard errors of the means, over rows and of sampling; None of a single row.

        Those of a sampled engine may go together from row to row, so that those of their mean are
        at most the mean of them, which is what is taken.
        """
        if self.n_rows < 2:
            return None
        over_rows = np.sqrt(self.squares / (self.n_rows - 1) / self.n_rows)
        sampled = self.mean_errors
        return over_rows if sampled is None else np.hypot(over_rows, sampled)

    @property
    def noise_floor(self) -> NDArray[np.float64] | None:
        """What a feature without influence would show, shape (n_features,)."""
        sampled = self.mean_errors
        return None if sampled is None else MEAN_MAGNITUDE * sampled[-1]


def _centred(magnitudes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum over rows, and that of the squared distances from the mean."""
    total = magnitudes.sum(axis=0)
    if len(magnitudes) == 0:
        return total, total
    apart = magnitudes - total / len(magnitudes)
    return total, np.einsum("ij,ij->j", apart, apart)
