"""Importances of sparse rows: a constant row for each output, and what differs from it.

Next: :mod:`service.engines.sparse.examples`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances


@dataclass(frozen=True)
class SparseValues:
    """Importances of sparse rows.

    A zero has an importance too, −coefficient · mean, so that the importances of sparse rows are
    not sparse; but all zeros of a column have the same one.

    Attributes
    ----------
    data : ndarray of shape (n_outputs, n_stored)
        The importances of the cells that are stored.
    indices : ndarray of int, shape (n_stored,)
        Their columns, as in ``scipy.sparse.csr_array``.
    indptr : ndarray of int, shape (n_rows + 1,)
        Where the cells of a row begin and end.
    constants : ndarray of shape (n_outputs, n_features)
        The importances of all other cells, as of zeros.
    """

    data: NDArray[np.float64]
    indices: NDArray[np.intp]
    indptr: NDArray[np.intp]
    constants: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64], constants: NDArray[np.float64]) -> SparseValues:
        """Keep what differs from constants.

        Parameters
        ----------
        values : ndarray of shape (n_outputs, n_rows, n_features)
        constants : ndarray of shape (n_outputs, n_features)

        Examples
        --------
        >>> kept = SparseValues.of(np.array([[[1.0, 0.0], [2.0, 0.0]]]), np.array([[1.0, 0.0]]))
        >>> kept.data.tolist(), kept.indices.tolist(), kept.indptr.tolist()
        ([[2.0]], [0], [0, 0, 1])
        """
        differs = np.any(values != constants[:, None], axis=0)
        row_of, indices = np.nonzero(differs)
        indptr = np.concatenate([[0], np.cumsum(differs.sum(axis=1))]).astype(np.intp)
        return cls(values[:, row_of, indices], indices, indptr, constants)

    @classmethod
    def joined(cls, parts: Sequence[SparseValues]) -> SparseValues:
        """Put rows of the same constants one under another, at least one part."""
        indptr = [np.zeros(1, dtype=np.intp)]
        for part in parts:
            indptr.append(indptr[-1][-1] + part.indptr[1:])
        return cls(
            np.concatenate([part.data for part in parts], axis=1),
            np.concatenate([part.indices for part in parts]),
            np.concatenate(indptr),
            parts[0].constants,
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indptr) - 1

    def to_dense(self) -> NDArray[np.float64]:
        """Return all importances, shape (n_outputs, n_rows, n_features)."""
        n_outputs, n_features = self.constants.shape
        values = np.empty((n_outputs, len(self), n_features))
        values[:] = self.constants[:, None]
        row_of = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        values[:, row_of, self.indices] = self.data
        return values

    def take_rows(self, rows: NDArray[np.intp]) -> SparseValues:
        """Return the importances of some of the rows."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
        cells = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        return SparseValues(self.data[:, cells], self.indices[cells], indptr, self.constants)

    def take_columns(self, columns: Sequence[int]) -> SparseValues:
        """Return the importances of some of the columns, in their order."""
        place = np.full(self.constants.shape[1], -1)
        place[list(columns)] = np.arange(len(columns))
        is_kept = place[self.indices] >= 0
        before = np.concatenate([[0], np.cumsum(is_kept)])
        return SparseValues(
            self.data[:, is_kept],
            place[self.indices[is_kept]],
            before[self.indptr],
            self.constants[:, list(columns)],
        )


class SparseImportances(LocalImportances):
    """Local importances of sparse rows; `values` are made dense each time they are asked for.

    Parameters
    ----------
    sparse : SparseValues
    has_output_axis : bool
        Whether `values` have an axis of classes or targets.
    described : dict
        What there is beside values in :class:`LocalImportances`.
    """

    sparse: SparseValues
    has_output_axis: bool

    def __init__(self, sparse: SparseValues, has_output_axis: bool, **described: Any) -> None:
        # A frozen object sets no attributes one by one.
        known = {"sparse": sparse, "has_output_axis": has_output_axis, **described}
        self.__dict__.update(known, standard_errors=None)

    @property
    def values(self) -> NDArray[np.float64]:
        """The importances as one array."""
        dense = self.sparse.to_dense()
        return dense if self.has_output_axis else dense[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `values`."""
        n_outputs, n_features = self.sparse.constants.shape
        shape = (n_outputs, len(self.sparse), n_features)
        return shape if self.has_output_axis else shape[1:]

    def __getitem__(self, rows: Any) -> SparseImportances:
        """Take some of the rows, as of any importances."""
        taken = np.atleast_1d(np.arange(len(self))[rows])
        sparse = self.sparse.take_rows(taken)
        return SparseImportances(sparse, self.has_output_axis, **self.described)

    @property
    def described(self) -> dict[str, Any]:
        """What there is beside values."""
        return {
            "expected_values": self.expected_values,
            "features": self.features,
            "classes": self.classes,
            "method": self.method,
            "output": self.output,
        }
