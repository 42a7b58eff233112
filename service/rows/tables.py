"""What holds rows in other libraries, as the tables that are read here.

Next: :mod:`service.rows.unusual_rows`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import sparray, spmatrix

from service.errors import expect
from service.rows.values import shown

LARGEST_DENSE = 4 * 2**30  # bytes; what is sparse and takes more is not made dense
LARGEST_UNSAID = 2**27  # bytes; a frame of sparse columns that takes more is said to become dense


@singledispatch
def as_table(rows: Any) -> Any:
    """Turn rows of other libraries into a DataFrame or an array.

    Parameters
    ----------
    rows : object
        A sparse matrix or array of scipy; a DataFrame, of which sparse columns become dense, with a
        warning where that takes more than 128 MB; a
        table of another library that has ``to_pandas``, as those of Polars and Arrow; an array of
        records, whose fields are columns. What a masked array masks becomes missing, and a matrix
        of numpy an array. Everything else stays as it is.

    Returns
    -------
    DataFrame, array or object

    Raises
    ------
    ValueError
        When a sparse matrix or frame is too large to be made dense.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> as_table(csr_array([[0, 1], [2, 0]])).tolist()
    [[0, 1], [2, 0]]
    >>> as_table(np.ma.array([[0, 1], [2, 0]], mask=[[True, False], [False, False]])).tolist()
    [[nan, 1.0], [2.0, 0.0]]
    """
    return _to_pandas(rows) if hasattr(rows, "to_pandas") else rows


@as_table.register(spmatrix)
@as_table.register(sparray)
def _(rows: Any) -> Any:
    """Make it dense."""
    n_bytes = rows.shape[0] * rows.shape[1] * rows.dtype.itemsize
    _check_can_be_dense("a sparse matrix", n_bytes, "bring fewer rows")
    return rows.toarray()


@as_table.register
def _(rows: pd.DataFrame) -> pd.DataFrame:
    return _with_dense_columns(rows)


@as_table.register
def _(rows: np.ma.MaskedArray) -> NDArray[Any]:
    """Let pandas choose what a missing value of this type is."""
    return pd.Series(rows.ravel()).to_numpy().reshape(rows.shape)


@as_table.register
def _(rows: np.ndarray) -> Any:
    """Make columns of the fields of records."""
    return rows if rows.dtype.names is None else pd.DataFrame(rows)


@as_table.register
def _(rows: np.matrix) -> NDArray[Any]:
    """Take the class off, whose columns have two axes."""
    return np.asarray(rows)


def row_as_table(rows: Any) -> Any:
    """Make a table of a single row, a Series or an array of one axis; leave everything else.

    >>> row_as_table(pd.Series({"age": 49, "zip": "02139"}))
       age    zip
    0   49  02139
    """
    match rows:
        case pd.Series():
            return rows.to_frame().T.infer_objects()
        case np.ndarray(ndim=1, dtype=np.dtype(names=None)):
            return rows[None]
    return rows


def is_sparse(rows: Any) -> bool:
    """Tell whether rows are a sparse matrix or array of scipy."""
    return hasattr(rows, "tocsr") and hasattr(rows, "toarray")


def _check_can_be_dense(what: str, n_bytes: int, remedy: str) -> None:
    expect(
        n_bytes <= LARGEST_DENSE,
        f"Rows: expected {what} of at most {LARGEST_DENSE / 2**30:.0f} GB when it is dense, got "
        f"one of {n_bytes / 2**30:.0f} GB; {remedy}.",
        ValueError,
    )


def is_one_array(frame: pd.DataFrame) -> bool:
    """Tell whether a DataFrame shows an array of floats that it holds: all columns are of a type.

    Of columns of several types, and of sparse ones, it makes an array whenever it is asked. The
    types of the columns say the same, but take as long as all else that is done to read a row.

    >>> is_one_array(pd.DataFrame([[0.5, 1.5]])), is_one_array(pd.DataFrame([[0.5, 1]]))
    (True, False)
    """
    first = frame[:1]
    values = first.to_numpy()
    return (values.dtype.kind, np.may_share_memory(values, first.to_numpy())) == ("f", True)


def _with_dense_columns(frame: pd.DataFrame) -> pd.DataFrame:
    if is_one_array(frame) or not any(map(_is_sparse_dtype, frame.dtypes)):
        return frame
    sparse = list(filter(_is_sparse_dtype, frame.dtypes))
    n_bytes = len(frame) * sum(dtype.subtype.itemsize for dtype in sparse)
    remedy = "pass its matrix, frame.sparse.to_coo().tocsr(), which stays sparse, or fewer rows"
    _check_can_be_dense("a DataFrame of sparse columns", n_bytes, remedy)
    if n_bytes > LARGEST_UNSAID:
        warnings.warn(
            "Rows: a DataFrame of sparse columns is made dense, which takes "
            f"{n_bytes / 2**30:.1f} GB; {remedy}.",
            UserWarning,
            stacklevel=4,
        )
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


def are_records(rows: Any) -> bool:
    """Tell whether rows are a list of records."""
    return is_list(rows) and isinstance(next(iter(rows), None), Mapping)


def is_list(rows: Any) -> bool:
    """Tell whether rows are a list, or another sequence that is no text."""
    return isinstance(rows, Sequence) and not isinstance(rows, str)


def records_as_table(rows: Any) -> Any:
    """Make a table of a list of records; leave everything else."""
    return pd.DataFrame(list(rows)) if are_records(rows) else rows


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
