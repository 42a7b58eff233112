"""Sparse rows of models in which a feature's importance depends on its own value alone.

Then rows need not be met as they are: the stored values of each column are moved together at its
top, and a table of as many rows as the fullest column has values says it all. A row of zeros says
what zeros are worth. Next: :mod:`service.engines.sparse.blocks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.engine import Engine, explain_rows
from service.engines.sparse.importances import SparseValues
from service.errors import PayloadError
from service.rows.chunks import renumber_rows

BLOCK = 2**20  # cells that are dense at once


def explain_sparse(
    engine: Engine, rows: Any, read: Callable[[NDArray[Any]], NDArray[Any]]
) -> SparseValues:
    """Compute the importances of sparse rows by an engine that is additive.

    They are those of the same dense rows, to the last bit.

    Parameters
    ----------
    engine : Engine
    rows : sparse matrix or array of shape (n_rows, n_features)
    read : callable
        From rows as they came to what the engine takes; it checks them.

    Returns
    -------
    SparseValues
    """
    rows = _with_each_cell_once(rows)
    n_features = rows.shape[1]
    by_column = np.argsort(rows.indices, kind="stable")
    counts = np.bincount(rows.indices, minlength=n_features)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    column = rows.indices[by_column]
    depth = np.arange(rows.nnz) - starts[column]  # of a value in its column
    zeros = np.zeros((1, n_features), dtype=rows.dtype)
    constants = explain_rows(engine, read(zeros)).values[:, 0]
    data = np.empty((len(constants), rows.nnz))
    height = max(1, BLOCK // n_features)
    for first in range(0, int(counts.max(initial=0)), height):
        cells = np.flatnonzero((depth >= first) & (depth < first + height))
        at = (depth[cells] - first, column[cells])
        table = np.zeros((int(at[0].max()) + 1, n_features), dtype=rows.dtype)
        table[at] = rows.data[by_column[cells]]
        data[:, by_column[cells]] = explain_rows(engine, read(table)).values[:, *at]
    return SparseValues(data, rows.indices.astype(np.intp), rows.indptr.astype(np.intp), constants)


def _with_each_cell_once(rows: Any) -> Any:
    """Return rows in compressed form, without a cell that is stored twice."""
    compressed = rows.tocsr()
    if not compressed.has_canonical_format:
        compressed = compressed.copy()
        compressed.sum_duplicates()
    return compressed


def check_width(rows: Any, n_columns: int) -> None:
    """Refuse sparse rows with another number of columns, and without rows.

    Raises
    ------
    PayloadError
        Saying both numbers.
    """
    if rows.shape[1] != n_columns:
        raise PayloadError(f"Rows: expected an array of shape (n, {n_columns}), got {rows.shape}.")
    if rows.shape[0] == 0:
        raise PayloadError("Rows: expected at least one row, got none.")


def check_in_pieces(rows: Any, read: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Look for what is refused among sparse rows, some of them dense at once.

    Raises
    ------
    PayloadError
        With the row in which it is.
    """
    compressed = rows.tocsr()
    height = max(1, BLOCK // rows.shape[1])
    for first in range(0, rows.shape[0], height):
        try:
            read(compressed[first : first + height].toarray())
        except PayloadError as error:
            raise renumber_rows(error, first) from None
