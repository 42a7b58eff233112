"""Players and columns.

After an encoding, one feature may be several columns, and they move together.

Next: :mod:`service.shapley.coalitions`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background


@dataclass(frozen=True)
class Grouping:
    """Which feature each encoded column belongs to.

    Attributes
    ----------
    owner : ndarray of int, shape (n_encoded,)
    n_features : int
    """

    owner: NDArray[np.intp]
    n_features: int

    @classmethod
    def identity(cls, n_features: int) -> Grouping:
        """Return the grouping of rows that are not encoded."""
        return cls(np.arange(n_features), n_features)

    @cached_property
    def is_identity(self) -> bool:
        """True when every column is a feature of its own."""
        return np.array_equal(self.owner, np.arange(self.n_features))

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """Ones where a column belongs to a feature, shape (n_features, n_encoded)."""
        return (self.owner == np.arange(self.n_features)[:, None]).astype(np.float64)

    def add_up(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up what a feature's columns contribute.

        From (n_rows, n_encoded, n) to (n_rows, n_features, n).
        """
        return parts if self.is_identity else np.matmul(self.matrix, parts)

    def of_any_column(self, columns: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell of each feature whether something holds of any of its columns."""
        return np.asarray(np.bincount(self.owner, columns, self.n_features) > 0)

    def varying(self, background: Background, row: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which features of an encoded row differ from the background in any column."""
        varying = background.varying(row)
        if self.is_identity:
            return varying
        return self.of_any_column(varying)


@dataclass(frozen=True)
class Grouped:
    """Contributions of columns, added up by feature."""

    of_columns: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    grouping: Grouping

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return contributions of shape (n_rows, n_features, n_hidden)."""
        return self.grouping.add_up(self.of_columns(rows))
