"""What holds rows in other libraries, as the tables that are read here.

Next: :mod:`service.rows.unusual_rows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from service.errors import expect
from service.rows.values import shown

LARGEST_DENSE = 4 * 2**30  # bytes; a sparse matrix of more is not made dense


def as_table(rows: Any) -> Any:
    """Turn rows of other libraries into a DataFrame or an array.

    Parameters
    ----------
    rows : object
        A sparse matrix or array of scipy; a DataFrame, of which sparse columns become dense; a
        table of another library that has ``to_pandas``, as those of Polars and Arrow. Everything
        else stays as it is.

    Returns
    -------
    DataFrame, array or object

    Raises
    ------
    ValueError
        When a sparse matrix is too large to be made dense.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> as_table(csr_array([[0, 1], [2, 0]])).tolist()
    [[0, 1], [2, 0]]
    """
    if is_sparse(rows):
        return _make_dense(rows)
    if isinstance(rows, pd.DataFrame):
        return _with_dense_columns(rows)
    return _to_pandas(rows) if hasattr(rows, "to_pandas") else rows


def row_as_table(rows: Any) -> Any:
    """Make a table of a single row, a Series or an array of one axis; leave everything else.

    >>> row_as_table(pd.Series({"age": 49, "zip": "02139"}))
       age    zip
    0   49  02139
    """
    match rows:
        case pd.Series():
            return rows.to_frame().T.infer_objects()
        case np.ndarray(ndim=1):
            return rows[None]
    return rows


def is_sparse(rows: Any) -> bool:
    """Tell whether rows are a sparse matrix or array of scipy."""
    return hasattr(rows, "tocsr") and hasattr(rows, "toarray")


def _make_dense(rows: Any) -> Any:
    n_bytes = rows.shape[0] * rows.shape[1] * rows.dtype.itemsize
    expect(
        n_bytes <= LARGEST_DENSE,
        f"Rows: expected a sparse matrix of at most {LARGEST_DENSE / 2**30:.0f} GB when it is "
        f"dense, got one of {n_bytes / 2**30:.0f} GB; bring fewer rows.",
        ValueError,
    )
    return rows.toarray()


def _with_dense_columns(frame: pd.DataFrame) -> pd.DataFrame:
    if not any(map(_is_sparse_dtype, frame.dtypes)):
        return frame
    return frame.apply(_make_column_dense)


def _make_column_dense(column: pd.Series) -> pd.Series:
    subtype: Any = getattr(column.dtype, "subtype", None)
    return column.astype(subtype) if _is_sparse_dtype(column.dtype) else column


def _is_sparse_dtype(dtype: Any) -> bool:
    return isinstance(dtype, pd.SparseDtype)


def _to_pandas(rows: Any) -> Any:
    """Convert a table of Polars or Arrow; what a text lacks is None to these and their models."""
    table = rows.to_pandas()
    if not isinstance(table, pd.DataFrame):
        return table
    return table.apply(_with_none)


def _with_none(column: pd.Series) -> pd.Series:
    lacks_texts = pd.api.types.is_string_dtype(column.dtype) and column.hasnans
    if not lacks_texts:
        return column
    objects = column.astype(object)
    return objects.where(objects.notna(), None)


def _are_records(rows: Any) -> bool:
    return isinstance(rows, list | tuple) and isinstance(next(iter(rows), None), Mapping)


def records_as_table(rows: Any) -> Any:
    """Make a table of a list of records; leave everything else."""
    return pd.DataFrame(list(rows)) if _are_records(rows) else rows


def examples_as_table(examples: Any) -> Any:
    """Turn examples into a table as :func:`as_table` does, and a list of records too.

    Raises
    ------
    ValueError
        When they are one column or row, without a second axis, or no table at all.
    """
    table = records_as_table(as_table(examples))
    is_table = isinstance(table, Sequence) or hasattr(table, "__array__")
    if not is_table:
        raise ValueError(
            f"initialization_examples: expected a DataFrame or a 2-D array, got {shown(table)}."
        )
    if getattr(table, "ndim", 2) == 1:
        raise ValueError(
            "initialization_examples: expected a DataFrame or a 2-D array, got one axis of "
            f"{len(table)} values; of one column make a table with two axes (to_frame() of a "
            "Series)."
        )
    return table
