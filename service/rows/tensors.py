"""Rows as tensors in JSON, as clients of the Open Inference Protocol send them.

Next: :mod:`service.rows.chunks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeGuard

from service.errors import PayloadError
from service.rows.schema import Schema
from service.rows.values import shown


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
    if not _are_objects(tensors):
        raise PayloadError(
            "Body: expected a list of tensors under 'inputs', each with name, shape, datatype and "
            "data."
        )
    read = [_read(tensor) for tensor in tensors]
    return _rows_of_matrix(read[0]) if _is_matrix(read, schema) else _rows_of_columns(read)


def _are_objects(tensors: Any) -> bool:
    is_list = isinstance(tensors, list) and len(tensors) > 0
    return is_list and all(isinstance(tensor, dict) for tensor in tensors)


def _is_matrix(tensors: Sequence[Tensor], schema: Schema | None) -> bool:
    """Tell whether the rows are one tensor; one of the only column's name is that column."""
    if len(tensors) > 1 or len(tensors[0].shape) == 1:
        return False
    names = [] if schema is None else schema.names
    is_column = tensors[0].shape[1] == 1 and names == [tensors[0].name]
    return not is_column


def _rows_of_matrix(tensor: Tensor) -> list[Any]:
    n_columns = tensor.shape[1]
    starts = range(0, len(tensor.values), max(1, n_columns))
    return [tensor.values[start : start + n_columns] for start in starts]


def _rows_of_columns(tensors: Sequence[Tensor]) -> dict[str, Any]:
    names, columns = [], []
    for tensor in tensors:
        if tensor.shape[1:] not in ([], [1]):
            raise PayloadError(
                "Body: expected one tensor of shape [rows, columns], or one of shape [rows] for "
                "each column."
            )
        names.append(tensor.name)
        columns.append(tensor.values)
    if len(set(map(len, columns))) > 1:
        raise PayloadError("Body: expected tensors of the same number of rows.")
    return {"columns": names, "data": list(map(list, zip(*columns, strict=True)))}


def _read(tensor: dict[str, Any]) -> Tensor:
    """Check a tensor's values against its shape, and write them one behind the other."""
    name, shape, data = tensor.get("name"), tensor.get("shape"), tensor.get("data")
    if not isinstance(name, str) or not _is_shape(shape) or not isinstance(data, list):
        raise PayloadError(
            "Body: expected each tensor with 'name', 'shape' (one or two whole numbers) and 'data' "
            "(a list); binary tensors are not read here."
        )
    values = _flat(data)
    if len(values) != math.prod(shape):
        raise PayloadError(
            f"Tensor {shown(name)}: expected as many values as its shape has places, got "
            f"{len(values)}."
        )
    _refuse_nested(name, values)
    return Tensor(name, shape, values)


def _refuse_nested(name: str, values: Sequence[Any]) -> None:
    for value in values:
        if isinstance(value, list | dict):
            raise PayloadError(
                f"Tensor {shown(name)}: expected plain values under 'data', got {shown(value)}."
            )


def _is_shape(shape: Any) -> TypeGuard[list[int]]:
    is_list = isinstance(shape, list) and len(shape) in (1, 2)
    return is_list and all(type(size) is int and size >= 0 for size in shape)


def _flat(data: list[Any]) -> list[Any]:
    while data and all(map(_is_list, data)):
        data = list(chain.from_iterable(data))
    return data


def _is_list(item: Any) -> bool:
    return isinstance(item, list)
