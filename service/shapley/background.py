"""The weighted reference rows that stand for "this feature is unknown".

Which rows are taken is decided elsewhere (:mod:`service.engines.backgrounds`); here they are only
held and checked.

Next: :mod:`service.shapley.grouping`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 256


def spread_out(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """Take `count` rows at even distances, or all when there are no more."""
    return rows[:: max(1, len(rows) // count)][:count]


@dataclass(frozen=True)
class BackgroundSummary:
    """What a background is.

    Attributes
    ----------
    kind : str
        How it was obtained, as in :class:`Background`.
    n_rows, n_examples : int
        Its number of rows, and how many examples they stand for.
    relative_error : float or None
        How far importances on it are from those on all examples: estimated root mean square, as a
        share of the mean absolute importance. None where that is unknown.
    """

    kind: str
    n_rows: int
    n_examples: int
    relative_error: float | None = None


@dataclass(frozen=True, eq=False)
class Background:
    """Reference rows with weights, and where they came from.

    It is compared and hashed by identity: plans are cached by it.

    Parameters
    ----------
    rows : ndarray of shape (n_background, n_features)
        Float64, or object where a column holds strings.
    weights : ndarray of shape (n_background,)
        Positive; they sum to 1.
    kind : {"whole", "sample", "kmeans", "given"}
        How the rows were obtained from the examples; "given" when a caller brought rows and weights
        along.
    n_examples : int
        Number of example rows that the background stands for.
    """

    rows: NDArray[Any]
    weights: NDArray[np.float64]
    kind: str
    n_examples: int

    @classmethod
    def weighted(
        cls, rows: NDArray[Any], weights: NDArray[Any], kind: str, n_examples: int
    ) -> Background:
        """Check rows and weights, and scale the weights to sum 1.

        Raises
        ------
        ValueError
            When the rows are not a non-empty matrix, or the weights do not fit them.
        """
        weights = np.asarray(weights, dtype=np.float64)
        if rows.ndim != 2 or 0 in rows.shape:
            raise ValueError(
                f"Background: expected a non-empty 2-D array of rows, got shape {rows.shape}."
            )
        if weights.shape != (len(rows),) or not (weights > 0).all():
            raise ValueError(
                f"Background: expected one positive weight for each of {len(rows)} rows, "
                f"got shape {weights.shape}."
            )
        return cls(rows, weights / weights.sum(), kind, n_examples)

    @classmethod
    def uniform(
        cls, rows: NDArray[Any], kind: str = "whole", n_examples: int | None = None
    ) -> Background:
        """Give every row the same weight."""
        return cls.weighted(
            rows, np.ones(len(rows)), kind, n_examples if n_examples is not None else len(rows)
        )

    @property
    def summary(self) -> BackgroundSummary:
        """What it is, without the rows."""
        return BackgroundSummary(self.kind, len(self.rows), self.n_examples)

    def outputs(
        self, function: Callable[[NDArray[Any]], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Evaluate a function on the rows, in blocks; shape (n_background, n_outputs)."""
        starts = range(0, len(self.rows), ROWS_AT_ONCE)
        return np.concatenate(
            [function(self.rows[start : start + ROWS_AT_ONCE]) for start in starts]
        )

    def mean(self, function: Callable[[NDArray[Any]], NDArray[np.float64]]) -> NDArray[np.float64]:
        """Average a function's outputs over the rows."""
        return self.weights @ self.outputs(function)

    @cached_property
    def marks(self) -> NDArray[np.float64]:
        """The rows as numbers of mean 0 and unit spread.

        There are no columns when the rows are not all finite numbers.
        """
        if self.rows.dtype == object or not np.isfinite(self.rows).all():
            return np.zeros((len(self.rows), 0))
        return self.standardised(self.rows)

    def standardised(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring numbers of the rows, (n_background, n), to mean 0 and unit spread."""
        centred = numbers - self.weights @ numbers
        spread = np.sqrt(self.weights @ centred**2)
        return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)

    def varying(self, row: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which features of `row` differ from the background in at least one of its rows.

        A feature that never differs cannot change the game: its Shapley value is 0 and it leaves
        the game. Two missing values count as equal.

        Parameters
        ----------
        row : ndarray of shape (n_features,)

        Returns
        -------
        ndarray of bool, shape (n_features,)
        """
        return ~(self._is_constant & _same(self.rows[0], row))

    @cached_property
    def _is_constant(self) -> NDArray[np.bool_]:
        """Which features are the same in all rows.

        Only they can also be the same in all rows and in another one.
        """
        return np.asarray(_same(self.rows, self.rows[0]).all(axis=0))


def _same(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Compare values, of which two missing ones are the same."""
    both_missing = (first != first) & (second != second)  # noqa: PLR0124  # only a missing value differs from itself
    return np.asarray((first == second) | both_missing, dtype=bool)
