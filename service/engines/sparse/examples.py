"""Examples are read, and of sparse ones that are too many to be all dense a sample, and no more.

What needs their mean alone reads all of them, some at once, and so does what looks at few of their
columns, as trees do; every other engine meets the sample, and says so as its background. Next:
:mod:`service.engines.sparse.additive`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import safely_cast_index_arrays

from service.rows.schema import Schema, read_table
from service.rows.tables import is_sparse

MOST_CELLS = 2**24  # of the sample, 128 MB
FEWEST_ROWS = 50  # of wider ones all are dense, or none where they would not fit
BLOCK = 2**22  # cells that are dense at once


@dataclass(frozen=True, eq=False)
class SparseExamples:
    """All examples, where only a sample of them is dense.

    Attributes
    ----------
    rows : sparse array or matrix of shape (n_examples, n_features)
        By rows.
    read : callable
        From dense rows to the matrix that engines take.
    unread : tuple of int
        The columns that no step of the model reads.
    """

    rows: Any
    read: Callable[[NDArray[Any]], NDArray[Any]]
    unread: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Return the number of examples."""
        return int(self.rows.shape[0])

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Read all examples, some at once."""
        return map(self.read, dense_blocks(self.rows))

    def count_dense(self, width: int) -> int:
        """Return how many examples may be dense at once, of which so many columns are kept."""
        return min(len(self), MOST_CELLS // max(1, width))

    def encoded(
        self, encode: Callable[[NDArray[Any]], NDArray[np.float64]], n_rows: int, seed: int
    ) -> NDArray[np.float64]:
        """Encode all examples, some at once, or a random sample of so many of them."""
        every = self
        if n_rows < len(self):
            drawn = np.random.default_rng(seed).choice(len(self), n_rows, replace=False)
            every = replace(self, rows=self.rows[np.sort(drawn)])
        return np.concatenate(list(map(encode, every.blocks())))


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples as they came, and as they are read.

    Attributes
    ----------
    given : DataFrame, array or sparse matrix of shape (n_examples, n_features)
        In the form in which they came.
    matrix : ndarray of shape (n_examples, n_features)
        As `schema` reads them.
    schema : Schema
    every : sparse array or matrix, or None
        All examples by rows, where the others are but a sample of them.
    """

    given: Any
    matrix: NDArray[Any]
    schema: Schema
    every: Any


def read_examples(examples: Any, features: Sequence[str] | None, model: Any, seed: int) -> Examples:
    """Record the schema of examples in any form, and read them by it.

    Parameters
    ----------
    examples : object
        Examples of any form.
    features : sequence of str or None
        Their names.
    model : object
        Asked whether it was fitted on a DataFrame.
    seed : int
        Of the sample of sparse examples that are too many to be all dense.

    Raises
    ------
    ValueError
        When they are no table, or the names do not fit it.

    Examples
    --------
    >>> read_examples([[1, 2], [3, 4]], ["a", "b"], None, seed=0).matrix
    array([[1., 2.],
           [3., 4.]])
    """
    few, every = cut_sparse(examples, seed)
    schema, table, matrix = read_table(few, features, model)
    given = few.tocsr() if is_sparse(few) else table
    return Examples(given, matrix, open_columns(schema, every), every)


def dense_blocks(rows: Any) -> Iterator[NDArray[Any]]:
    """Make sparse rows dense, some at once.

    >>> from scipy.sparse import csr_array
    >>> [block.tolist() for block in dense_blocks(csr_array([[0, 1], [2, 0]]))]
    [[[0, 1], [2, 0]]]
    """
    height = max(1, BLOCK // rows.shape[1])
    for first in range(0, rows.shape[0], height):
        yield rows[first : first + height].toarray()


def cut_sparse(examples: Any, seed: int) -> tuple[Any, Any]:
    """Take a sample of sparse examples that are too many to be all dense.

    Parameters
    ----------
    examples : object
        Examples of any form.
    seed : int

    Returns
    -------
    few : object
        A random sample, with the first example in front; the examples themselves where they are
        few, or not sparse.
    every : sparse array or matrix, or None
        All examples by rows; None where `few` has them all.
    """
    if not is_sparse(examples) or examples.shape[0] * examples.shape[1] <= MOST_CELLS:
        return examples, None
    n_rows, n_kept = examples.shape[0], MOST_CELLS // examples.shape[1]
    if not FEWEST_ROWS <= n_kept < n_rows:
        return examples, None
    every = examples.tocsr()
    drawn = np.random.default_rng(seed).choice(n_rows - 1, n_kept - 1, replace=False)
    return every[np.concatenate([[0], 1 + np.sort(drawn)])], every


def open_columns(schema: Schema, every: Any) -> Schema:
    """Let columns have what some of all examples have: missing values and infinities.

    Parameters
    ----------
    schema : Schema
        Of a sample.
    every : sparse array or matrix, or None
    """
    if every is None:
        return schema
    is_odd = ~np.isfinite(every.data)
    values, owners = every.data[is_odd], every.indices[is_odd]
    columns = list(schema.columns)
    for i in np.unique(owners):
        own = values[owners == i]
        nullable, takes_infinity = bool(np.isnan(own).any()), bool(np.isinf(own).any())
        columns[i] = replace(columns[i], nullable=nullable, takes_infinity=takes_infinity)
    return replace(schema, columns=tuple(columns))


def without_columns(every: Any, columns: Sequence[int]) -> Any:
    """Return sparse rows in which some columns have zeros alone."""
    cells = every.tocoo()
    is_kept = ~np.isin(cells.col, columns)
    kept = cells.data[is_kept], (cells.row[is_kept], cells.col[is_kept])
    return type(every)(kept, shape=every.shape)


def with_short_indices(rows: Any) -> Any:
    """Return sparse rows by rows with indices of 32 bits, which all of scikit-learn takes."""
    indices, indptr = safely_cast_index_arrays(rows, np.int32)
    return type(rows)((rows.data, indices, indptr), shape=rows.shape)
