"""Rows as tensors in JSON, as clients of the Open Inference Protocol send them.

Next: :mod:`service.rows.chunks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

from service.errors import expect, expect_each
from service.rows.schema import Schema
from service.rows.values import is_list_of, shown


@dataclass(frozen=True)
class Tensor:
    """One tensor of a request.

    Attributes
    ----------
    name : str
    shape : list of int
        One or two sizes.
    values : list
        Flat, as many as the shape has places.
    """

    name: str
    shape: list[int]
    values: list[Any]

    @property
    def is_column(self) -> bool:
        """Whether it has the values of one column."""
        return self.shape[1:] in ([], [1])


def rows_of_tensors(tensors: Any, schema: Schema | None) -> dict[str, Any] | list[Any]:
    """Read the ``inputs`` of a request into what its JSON rows would hold.

    Parameters
    ----------
    tensors : list of dict
        One tensor of shape (n_rows, n_features) in the model's order, or one for each column, by
        name, of shape (n_rows,) or (n_rows, 1). Each has ``name``, ``shape``, ``datatype`` and
        ``data``.
    schema : Schema or None
        Tells a column by itself from a matrix of one column.

    Returns
    -------
    dict or list
        ``{"columns": names, "data": rows}`` or a list of lists, both of which
        :func:`service.rows.json_rows.parse` reads.

    Raises
    ------
    PayloadError
        When they are neither.

    Examples
    --------
    >>> matrix = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}
    >>> rows_of_tensors([matrix], None)
    [[1, 2], [3, 4]]
    >>> column = {"name": "age", "shape": [2], "datatype": "INT64", "data": [49, 30]}
    >>> rows_of_tensors([column], None)
    {'columns': ['age'], 'data': [[49], [30]]}
    """
    expect(
        is_list_of(tensors, dict) and len(tensors) > 0,
        "Body: expected a list of tensors under 'inputs', each with name, shape, datatype and "
        "data.",
    )
    read = list(map(_read, tensors))
    return _rows_of_matrix(read[0]) if _is_matrix(read, schema) else _rows_of_columns(read)


def _is_matrix(tensors: Sequence[Tensor], schema: Schema | None) -> bool:
    """Tell whether the rows are one tensor; one of the only column's name is that column."""
    first, *others = tensors
    names = [] if schema is None else schema.names
    is_only_column = first.is_column and names == [first.name]
    has_two_axes = len(first.shape) == 2
    return has_two_axes and not others and not is_only_column


def _rows_of_matrix(tensor: Tensor) -> list[Any]:
    n_columns = tensor.shape[1]
    starts = range(0, len(tensor.values), max(1, n_columns))
    return [tensor.values[start : start + n_columns] for start in starts]


def _rows_of_columns(tensors: Sequence[Tensor]) -> dict[str, Any]:
    expect(
        all(map(_IS_COLUMN, tensors)),
        "Body: expected one tensor of shape [rows, columns], or one of shape [rows] for each "
        "column.",
    )
    columns = list(map(_VALUES, tensors))
    n_rows = set(map(len, columns))
    expect(len(n_rows) == 1, "Body: expected tensors of the same number of rows.")
    rows = list(map(list, zip(*columns, strict=True)))
    return {"columns": list(map(_NAME, tensors)), "data": rows}


def _read(tensor: dict[str, Any]) -> Tensor:
    """Check a tensor's values against its shape, and write them one behind the other."""
    name: Any = tensor.get("name")
    shape: Any = tensor.get("shape")
    data: Any = tensor.get("data")
    expect(
        isinstance(name, str) and _is_shape(shape) and isinstance(data, list),
        "Body: expected each tensor with 'name', 'shape' (one or two whole numbers) and 'data' "
        "(a list); binary tensors are not read here.",
    )
    read = Tensor(name, shape, _flat(data))
    n_values = len(read.values)
    expect(
        n_values == math.prod(read.shape),
        f"Tensor {shown(name)}: expected as many values as its shape has places, got {n_values}.",
    )
    expect_each(
        map(_is_plain, read.values),
        lambda place: (
            f"Tensor {shown(name)}: expected plain values under 'data', got "
            f"{shown(read.values[place])}."
        ),
    )
    return read


def _is_shape(shape: Any) -> bool:
    has_one_or_two = isinstance(shape, list) and len(shape) in (1, 2)
    return has_one_or_two and all(map(_is_size, shape))


def _is_size(size: Any) -> bool:
    return type(size) is int and size >= 0


def _is_plain(value: Any) -> bool:
    return not isinstance(value, list | dict)


def _flat(data: list[Any]) -> list[Any]:
    while data and is_list_of(data, list):
        data = list(chain.from_iterable(data))
    return data


_NAME, _VALUES = attrgetter("name"), attrgetter("values")
_IS_COLUMN = attrgetter("is_column")
