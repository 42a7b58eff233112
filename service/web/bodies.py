"""Reading bodies: the bytes of a request as text, CSV and JSON tensors as JSON rows."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from service.errors import PayloadError
from service.rows import json_rows as payload
from service.rows.columns import Column, shown
from service.rows.schema import Schema
from service.server.slow_clients import reading
from service.web.errors import BodyError, SlowBodyError


def read_text(request: Request, seconds: float) -> str:
    """Return the body of a request as text.

    Raises
    ------
    SlowBodyError
        When it did not arrive within `seconds`.
    BodyError
        When it is empty, cut short, or not UTF-8.
    RequestEntityTooLarge
        When it is longer than the application takes.
    """
    body = _received(request, seconds)
    try:
        text = body.decode(
            "utf-8-sig"
        )  # with or without the byte order mark that Windows tools put first
    except UnicodeDecodeError as error:
        raise BodyError(
            f"Body: expected JSON encoded as UTF-8, but byte {error.start} is not UTF-8."
        ) from error
    if not text.strip():
        raise BodyError("Body: expected JSON with one or more rows, got an empty body.")
    return text


def _received(request: Request, seconds: float) -> bytes:
    connection = request.environ.get("gunicorn.socket")
    if connection is None:  # another server, a test client: it minds its own clients
        return _all_bytes(request)
    with reading(lambda: connection, seconds) as progress:
        try:
            return _all_bytes(request)
        except BodyError as error:
            if progress.is_cut:
                raise SlowBodyError(
                    f"Body: expected it whole within {seconds:g} seconds; send it faster, or fewer rows."
                ) from error
            raise


def _all_bytes(request: Request) -> bytes:
    declared = request.content_length
    try:
        # `curl -d` declares a form: take the bytes before Werkzeug parses them away. The
        # Content-Type is advice only.
        body = request.get_data(cache=False, parse_form_data=False)
        # A chunked body declares no length: Werkzeug reads it up to the cap and drops the rest
        # without a word.
        is_longer = declared is None and bool(request.environ["wsgi.input"].read(1))
    except (OSError, ParseException) as error:  # of the socket, and of gunicorn's reader of chunks
        raise BodyError(
            "Body: it broke off before its end, or a chunk of it is malformed."
        ) from error
    if is_longer:
        raise RequestEntityTooLarge
    if declared is not None and len(body) < declared:
        raise BodyError(f"Body: expected the {declared} bytes of Content-Length, got {len(body)}.")
    return body


def json_object(text: str) -> Mapping[str, Any]:
    """Parse a JSON object.

    Raises
    ------
    PayloadError, BodyError
        When the text is no JSON, or something else than an object.
    """
    value = payload.decode(text)
    if not isinstance(value, dict):
        raise BodyError(f"Body: expected a JSON object, got {shown(value)}.")
    return value


def rows_of_csv(text: str, schema: Schema) -> str:
    """Turn CSV into JSON rows.

    The first line may hold the column names, in any order; without it the columns are in the
    model's order. An empty cell is a missing value.

    Raises
    ------
    PayloadError
        When a line has another number of cells than there are columns, or a cell does not fit its
        column.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as error:
        raise PayloadError(f"Body: expected CSV, but {error}.") from error
    by_name = {column.name: column for column in schema.columns}
    has_header = bool(lines) and set(lines[0]) == set(by_name)
    names = lines.pop(0) if has_header else schema.names
    columns = [by_name[name] for name in names]
    return json.dumps(
        {"columns": names, "data": [_cells(line, columns, row) for row, line in enumerate(lines)]}
    )


def _cells(line: Sequence[str], columns: Sequence[Column], row: int) -> list[Any]:
    if len(line) != len(columns):
        raise PayloadError(f"Row {row}: expected {len(columns)} cells, got {len(line)}.")
    return [column.of_text(text) for text, column in zip(line, columns, strict=True)]


def rows_of_tensors(tensors: Any, schema: Schema | None) -> str:
    """Turn the ``inputs`` of an Open Inference Protocol request into JSON rows.

    Either one tensor of shape (n_rows, n_features), in the model's order, or one for each column,
    by name, of shape (n_rows,) or (n_rows, 1).

    Raises
    ------
    BodyError
        When they are neither.
    """
    if (
        not isinstance(tensors, list)
        or not tensors
        or not all(isinstance(one, dict) for one in tensors)
    ):
        raise BodyError(
            "Body: expected a list of tensors under 'inputs', each with name, shape, datatype and data."
        )
    values = [_values(one) for one in tensors]
    shapes = [one["shape"] for one in tensors]
    if len(tensors) == 1 and len(shapes[0]) == 2 and not _is_column(tensors[0], schema):
        width = shapes[0][1]
        return json.dumps(
            [values[0][start : start + width] for start in range(0, len(values[0]), max(1, width))]
        )
    if any(len(shape) == 2 and shape[1] != 1 for shape in shapes):
        raise BodyError(
            "Body: expected one tensor of shape [rows, columns], or one of shape [rows] for each column."
        )
    names = [one["name"] for one in tensors]
    if len({len(column) for column in values}) > 1:
        raise BodyError("Body: expected tensors of the same number of rows.")
    return json.dumps({"columns": names, "data": list(zip(*values, strict=True))})


def _is_column(tensor: Mapping[str, Any], schema: Schema | None) -> bool:
    return schema is not None and tensor["shape"][1] == 1 and schema.names == [tensor["name"]]


def _values(tensor: Mapping[str, Any]) -> list[Any]:
    """Return a tensor's data, flat, after checking it against its shape."""
    name, shape, data = tensor.get("name"), tensor.get("shape"), tensor.get("data")
    if not isinstance(name, str) or not _is_shape(shape) or not isinstance(data, list):
        raise BodyError(
            "Body: expected each tensor with 'name', 'shape' (one or two whole numbers) and 'data' (a list); binary "
            "tensors are not read here."
        )
    flat = _flat(data)
    if len(flat) != math.prod(shape):
        raise BodyError(
            f"Tensor {shown(name)}: expected as many values as its shape has places, got {len(flat)}."
        )
    nested = next((value for value in flat if isinstance(value, list | dict)), None)
    if nested is not None:
        raise BodyError(
            f"Tensor {shown(name)}: expected plain values under 'data', got {shown(nested)}."
        )
    if tensor.get("datatype") == "BOOL":
        return [bool(value) if value in (0, 1) else value for value in flat]
    return flat


def _is_shape(shape: Any) -> TypeGuard[list[int]]:
    return (
        isinstance(shape, list)
        and len(shape) in (1, 2)
        and all(type(size) is int and size >= 0 for size in shape)
    )


def _flat(data: list[Any]) -> list[Any]:
    while data and all(isinstance(item, list) for item in data):
        data = [value for item in data for value in item]
    return data
