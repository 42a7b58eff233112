"""Rows, labels and row names as plain arrays, with what is needed to make the same of them again.

A column is one array: numbers and truth values as they are, dates as integers, texts and categories
as codes with their vocabulary in JSON; a second array says what is missing, where needed.

Next: :mod:`service.explanations.files.consistency`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from service.errors import expect
from service.rows.tables import as_table, is_sparse

Arrays = dict[str, NDArray[Any]]
Spec = dict[str, Any]
PLAIN_TYPES = (str, int, float, bool)  # what JSON keeps
MISSING = "missing"


def pack_column(column: pd.Series, prefix: str, arrays: Arrays) -> Spec:
    """Put a column into arrays.

    Parameters
    ----------
    column : Series
    prefix : str
        What its arrays are called.
    arrays : dict
        Takes them.

    Returns
    -------
    dict
        What :func:`unpack_column` needs, plain values.

    Raises
    ------
    ValueError
        When a value is of a kind that has no plain form.
    """
    dtype = column.dtype
    for is_of_kind, pack in _PACKERS:
        if is_of_kind(dtype):
            return {"dtype": str(dtype), **pack(column, prefix, arrays)}
    return {"dtype": str(dtype), **_pack_objects(column, prefix, arrays)}


def unpack_column(spec: Spec, prefix: str, arrays: Arrays) -> pd.Series:
    """Make the column again that :func:`pack_column` took apart."""
    return _UNPACKERS[spec["kind"]](spec, prefix, arrays)


def _pack_numbers(column: pd.Series, prefix: str, arrays: Arrays) -> Spec:
    arrays[prefix] = column.to_numpy()
    return {"kind": "numbers"}


def _unpack_numbers(spec: Spec, prefix: str, arrays: Arrays) -> pd.Series:
    return pd.Series(arrays[prefix])


def _pack_times(column: pd.Series, prefix: str, arrays: Arrays) -> Spec:
    arrays[prefix] = column.to_numpy(dtype=np.dtype(f"{column.dtype.kind}8[{_unit(column)}]")).view(
        np.int64
    )
    return {"kind": "times", "is_span": column.dtype.kind == "m", "unit": _unit(column)}


def _unit(column: pd.Series) -> str:
    return column.dt.unit


def _unpack_times(spec: Spec, prefix: str, arrays: Arrays) -> pd.Series:
    expect(arrays[prefix].dtype == np.int64, f"{prefix}: times are no whole numbers", ValueError)
    letter = "m" if spec["is_span"] else "M"
    times = pd.Series(arrays[prefix].view(np.dtype(f"{letter}8[{spec['unit']}]")))
    zone = spec["dtype"].removesuffix("]").partition(", ")[2]
    return times.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else times


def _pack_masked(column: pd.Series, prefix: str, arrays: Arrays) -> Spec:
    dtype: Any = column.dtype
    missing = column.isna()
    arrays[prefix] = column.fillna(dtype.type(0)).to_numpy(dtype.numpy_dtype)
    arrays[f"{prefix}.{MISSING}"] = missing.to_numpy()
    return {"kind": "masked"}


def _unpack_masked(spec: Spec, prefix: str, arrays: Arrays) -> pd.Series:
    column = pd.Series(arrays[prefix]).astype(spec["dtype"])
    missing = arrays[f"{prefix}.{MISSING}"]
    expect(missing.dtype == bool, f"{prefix}: what is missing is no truth value", ValueError)
    return column.mask(missing)


def _pack_categories(column: pd.Series, prefix: str, arrays: Arrays) -> Spec:
    arrays[prefix] = column.cat.codes.to_numpy()
    categories = _as_series(column.cat.categories)
    categories.name = column.name  # what a refusal says
    known = pack_column(categories, f"{prefix}.categories", arrays)
    return {"kind": "categories", "ordered": column.cat.ordered, "categories": known}


def _unpack_categories(spec: Spec, prefix: str, arrays: Arrays) -> pd.Series:
    categories = _as_index(unpack_column(spec["categories"], f"{prefix}.categories", arrays))
    codes = pd.Categorical.from_codes(arrays[prefix], categories, ordered=spec["ordered"])
    return pd.Series(codes)


def _pack_objects(column: pd.Series, prefix: str, arrays: Arrays) -> Spec:
    """Pack texts and mixtures of plain values: codes, and the different ones in JSON.

    JSON has lists for tuples; there are no other lists.
    """
    places: dict[Any, tuple[int, Any]] = {}
    try:
        codes = np.fromiter((_place(value, places) for value in column), np.int64, len(column))
    except TypeError as error:
        what, way_out = _PARTS.get(prefix.partition(".")[0], _A_COLUMN)
        raise ValueError(
            f"{what.format(column.name)}: expected numbers, texts, truth values, dates, categories "
            f"or tuples of plain values, got {error}, which has no plain form; {way_out}."
        ) from None
    arrays[prefix] = codes.astype(np.int32)
    return {"kind": "objects", "vocabulary": [value for _, value in places.values()]}


# What a column is called in errors, and what helps, by what its arrays are called.
_A_COLUMN = ("Column {0!r}", "leave the data out")
_PARTS = {
    "index": ("Row labels", "give the rows others, as by reset_index(drop=True)"),
    "names": ("Column names", "name the columns by texts, or leave the data out"),
}


def _place(value: Any, places: dict[Any, tuple[int, Any]]) -> int:
    """Return the code of a value; the marks of what is missing have those below 0."""
    for code, is_mark in _MARKS:
        if is_mark(value):
            return code
    value = _plain(value)
    return places.setdefault(_key(value), (len(places), value))[0]


def _plain(value: Any) -> Any:
    """Return a value as JSON keeps it, a tuple of such values as a tuple.

    Raises
    ------
    TypeError
        Naming the type of what is none; infinities and what is missing within a tuple are none.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if not isinstance(value, PLAIN_TYPES):
        raise TypeError(type(value).__name__)
    if isinstance(value, float) and not np.isfinite(value):
        raise TypeError(str(value))
    return value


def _key(value: Any) -> Any:
    """Tell 1, 1.0 and True apart, within tuples too."""
    return tuple(map(_key, value)) if isinstance(value, tuple) else (type(value), value)


def _retuple(value: Any) -> Any:
    return tuple(map(_retuple, value)) if isinstance(value, list) else value


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and np.isnan(value)


_MARKS: tuple[tuple[int, Callable[[Any], bool]], ...] = (
    (-1, lambda value: value is None),
    (-2, lambda value: value is pd.NA),
    (-3, _is_nan),
)


def _unpack_objects(spec: Spec, prefix: str, arrays: Arrays) -> pd.Series:
    marks = [np.nan, pd.NA, None]  # codes below 0 count from the end
    are_known = bool(np.all(arrays[prefix] >= -len(marks)))
    expect(are_known, f"{prefix}: codes are of no vocabulary", ValueError)
    known = [*map(_retuple, spec["vocabulary"]), *marks]
    table = np.empty(len(known), dtype=object)
    table[:] = known
    return pd.Series(table[arrays[prefix]], dtype=object).astype(spec["dtype"])


def _is_number(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf"


def _is_time(dtype: Any) -> bool:
    return getattr(dtype, "kind", "") in ("m", "M")


def _is_masked(dtype: Any) -> bool:
    return hasattr(dtype, "numpy_dtype") and not isinstance(dtype, pd.ArrowDtype)


def _is_category(dtype: Any) -> bool:
    return isinstance(dtype, pd.CategoricalDtype)


_PACKERS: tuple[tuple[Callable[[Any], bool], Callable[[Any, str, Arrays], Spec]], ...] = (
    (_is_number, _pack_numbers),
    (_is_time, _pack_times),
    (_is_masked, _pack_masked),
    (_is_category, _pack_categories),
)
_UNPACKERS = {
    "numbers": _unpack_numbers,
    "times": _unpack_times,
    "masked": _unpack_masked,
    "categories": _unpack_categories,
    "objects": _unpack_objects,
}


def pack_rows(rows: Any) -> tuple[Spec, Arrays]:
    """Take apart rows, labels or names of rows.

    Parameters
    ----------
    rows : DataFrame, Series, Index, ndarray, sparse matrix, list of lists, records or labels
        Tables of other libraries become DataFrames.

    Returns
    -------
    spec : dict
        Plain values.
    arrays : dict of ndarray

    Raises
    ------
    ValueError
        When a value is of a kind that has no plain form.

    Examples
    --------
    >>> spec, arrays = pack_rows(pd.DataFrame({"zip": ["02139", None], "age": [49, 30]}))
    >>> sorted(arrays), unpack_rows(spec, arrays)["zip"].tolist()
    (['0', '1', 'names.0'], ['02139', nan])
    """
    rows = rows if is_sparse(rows) else as_table(rows)
    for is_of_kind, pack in _ROW_PACKERS:
        if is_of_kind(rows):
            return pack(rows)
    return _pack_list(list(rows))


def unpack_rows(spec: Spec, arrays: Arrays) -> Any:
    """Make again what :func:`pack_rows` took apart."""
    return _ROW_UNPACKERS[spec["form"]](spec, arrays)


def _pack_frame(frame: pd.DataFrame, form: str = "frame") -> tuple[Spec, Arrays]:
    arrays: Arrays = {}
    spec = {
        "form": form,
        "columns": [pack_column(frame.iloc[:, i], str(i), arrays) for i in range(frame.shape[1])],
        "names": _pack_index(frame.columns, "names", arrays),
        "index": _pack_index(frame.index, "index", arrays),
    }
    return spec, arrays


def _unpack_frame(spec: Spec, arrays: Arrays) -> pd.DataFrame:
    index = _unpack_index(spec["index"], "index", arrays)
    columns = {}
    for i, column in enumerate(spec["columns"]):
        columns[i] = unpack_column(column, str(i), arrays)
        n_values = len(columns[i])  # pandas would fill it up
        expect(n_values == len(index), f"column {i}: {n_values} of {len(index)} values", ValueError)
    frame = pd.DataFrame(columns)
    frame.index = index
    frame.columns = _unpack_index(spec["names"], "names", arrays)
    return frame


def _pack_index(index: pd.Index[Any], prefix: str, arrays: Arrays) -> Spec:
    """Pack the labels of an axis, level by level."""
    if isinstance(index, pd.RangeIndex) and index.name is None:
        return {"range": [index.start, index.stop, index.step]}
    packed = []
    for i in range(index.nlevels):
        level = _as_series(index.get_level_values(i))
        packed.append(pack_column(level, f"{prefix}.{i}", arrays))
    return {"levels": packed, "names": list(index.names)}


def _unpack_index(spec: Spec, prefix: str, arrays: Arrays) -> pd.Index[Any]:
    if "range" in spec:
        return pd.RangeIndex(*spec["range"])
    levels = []
    for i, level in enumerate(spec["levels"]):
        levels.append(unpack_column(level, f"{prefix}.{i}", arrays))
    names = list(map(_retuple, spec["names"]))
    if len(levels) == 1:
        return _as_index(levels[0]).rename(names[0])
    return pd.MultiIndex.from_arrays(levels, names=names)


def _as_series(labels: pd.Index[Any]) -> pd.Series:
    """Return labels of the type that they have: texts in an index of objects are objects."""
    return pd.Series(labels, dtype=labels.dtype)


def _as_index(labels: pd.Series) -> pd.Index[Any]:
    """Return labels of the type that they have: None stays None, and a tuple one label."""
    return pd.Index(labels, dtype=labels.dtype, tupleize_cols=False)


def _pack_series(series: pd.Series) -> tuple[Spec, Arrays]:
    return _pack_frame(series.to_frame(series.name), "series")


def _pack_labels(index: pd.Index[Any]) -> tuple[Spec, Arrays]:
    arrays: Arrays = {}
    return {"form": "labels", "index": _pack_index(index, "index", arrays)}, arrays


def _unpack_labels(spec: Spec, arrays: Arrays) -> pd.Index[Any]:
    return _unpack_index(spec["index"], "index", arrays)


def _pack_array(array: NDArray[Any]) -> tuple[Spec, Arrays]:
    if array.dtype.kind != "O":
        # Column behind column: one of them is read, or mapped, without the others.
        return {"form": "array"}, {"values": np.asfortranarray(array)}
    spec, arrays = _pack_frame(pd.DataFrame(array, dtype=object), "objects")
    return {**spec, "axes": array.ndim}, arrays


def _unpack_objects_array(spec: Spec, arrays: Arrays) -> NDArray[Any]:
    cells = _unpack_frame(spec, arrays).to_numpy(dtype=object)
    return cells[:, 0] if spec["axes"] == 1 else cells


def _pack_sparse(matrix: Any) -> tuple[Spec, Arrays]:
    rows = matrix.tocsr()
    arrays = {"data": rows.data, "indices": rows.indices, "indptr": rows.indptr}
    return {"form": "sparse", "shape": list(rows.shape)}, arrays


def _unpack_sparse(spec: Spec, arrays: Arrays) -> Any:
    parts = (arrays["data"], arrays["indices"], arrays["indptr"])
    rows = csr_array(parts, shape=tuple(spec["shape"]))
    rows.check_format(full_check=True)
    return rows


def _pack_list(rows: list[Any]) -> tuple[Spec, Arrays]:
    """Pack a list of records, of lists, or of labels."""
    is_of_records = bool(rows) and isinstance(rows[0], Mapping)
    frame = pd.DataFrame(rows, dtype=object)
    spec, arrays = _pack_frame(frame, "records" if is_of_records else "list")
    is_flat = bool(rows) and not isinstance(rows[0], Mapping | list | tuple | np.ndarray)
    return {**spec, "is_flat": is_flat}, arrays


def _unpack_list(spec: Spec, arrays: Arrays) -> list[Any]:
    cells = _unpack_frame(spec, arrays).to_numpy(dtype=object)
    return (cells[:, 0] if spec["is_flat"] else cells).tolist()


def _kind_of(*types: type) -> Callable[[Any], bool]:
    return lambda rows: isinstance(rows, types)


_ROW_PACKERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], tuple[Spec, Arrays]]], ...] = (
    (is_sparse, _pack_sparse),
    (_kind_of(pd.DataFrame), _pack_frame),
    (_kind_of(pd.Series), _pack_series),
    (_kind_of(pd.Index), _pack_labels),
    (_kind_of(np.ndarray), _pack_array),
)
_ROW_UNPACKERS: dict[str, Callable[[Spec, Arrays], Any]] = {
    "frame": _unpack_frame,
    "series": lambda spec, arrays: _unpack_frame(spec, arrays).iloc[:, 0],
    "labels": _unpack_labels,
    "array": lambda _, arrays: np.ascontiguousarray(arrays["values"]),
    "objects": _unpack_objects_array,
    "sparse": _unpack_sparse,
    "records": lambda spec, arrays: _unpack_frame(spec, arrays).to_dict("records"),
    "list": _unpack_list,
}
