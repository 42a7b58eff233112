"""What clients send: JSON text in any of the shapes in use, read against the recorded schema.

Accepted: ``df.to_json()`` ({column: {index: value}}), {column: [values]}, records, pandas' orients
"split", "index" and "table", a list of lists, and any of these under exactly one wrapper, in which
the rows may have a name, as ``{"Inputs": {"data": rows}}`` of Azure ML. Never
:func:`pandas.read_json`: it guesses dtypes ("02139" becomes 2139) and opens paths and URLs that it
finds in the body. Next: :mod:`service.rows.row_ids`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from types import NoneType
from typing import Any, TypeAlias

from numpy.typing import NDArray

from service.errors import NotJsonError, PayloadError, expect
from service.rows.row_ids import (
    check_columns,
    check_id_columns,
    check_split,
    columns_of_rows,
    in_order_of_first,
    is_split,
    is_table,
    labelled,
    labels_of_column,
    take_ids,
)
from service.rows.schema import Schema
from service.rows.values import is_list_of, shown

JsonRows: TypeAlias = str | bytes | Mapping[str, Any] | list[Any]
"""Rows as JSON text, or as what such a text holds."""

WRAPPER_KEYS = (
    "data",
    "input_data",
    "instances",
    "inputs",
    "Inputs",
    "dataframe_split",
    "dataframe_records",
)

# What the envelopes of MLflow, Vertex AI, TensorFlow Serving and Azure ML have beside the rows, and
# the values that ask for nothing but predictions.
SIBLINGS: Mapping[str, Sequence[Any]] = {
    "params": (None, {}),
    "parameters": (None, {}, []),
    "signature_name": (None, "", "serving_default", "predict"),
    "method": (None, "", "predict"),
    "GlobalParameters": (None, {}, 1.0, {"method": "predict"}),
}


def parse(raw_data: JsonRows, schema: Schema) -> NDArray[Any]:
    """Read a request body into the schema's matrix.

    Parameters
    ----------
    raw_data : str, bytes, dict or list
        JSON text, or JSON that a host has parsed already.
    schema : Schema

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        Rows in the order in which they were sent.

    Raises
    ------
    PayloadError
        When the text is not JSON, has none of the accepted shapes, or does not fit the schema.

    Examples
    --------
    >>> import pandas as pd
    >>> examples = pd.DataFrame({"age": [49, 30], "income": [1234.5, 99.0]})
    >>> schema = Schema.of(examples, None, model=None)
    >>> parse(examples.to_json(), schema)
    array([[  49. , 1234.5],
           [  30. ,   99. ]])
    >>> parse('{"instances": [[72, 1e3]]}', schema)
    array([[  72., 1000.]])
    """
    return parse_labelled(raw_data, schema)[0]


def parse_labelled(
    raw_data: JsonRows, schema: Schema, id_columns: Sequence[str] = ()
) -> tuple[NDArray[Any], list[Any]]:
    """Read a request body into the schema's matrix, and what tells its rows apart.

    Parameters
    ----------
    raw_data : str, bytes, dict or list
    schema : Schema
    id_columns : sequence of str
        Columns that are not the model's.

    Returns
    -------
    ndarray of shape (n_rows, n_features) and list of n_rows
        The rows as :func:`parse` returns them. For each a record of its ids where there are columns
        with ids, else its label as it came, else its number.

    Raises
    ------
    PayloadError
        As :func:`parse` does, and when a row has not all ids.

    Examples
    --------
    >>> import pandas as pd
    >>> schema = Schema.of(pd.DataFrame({"age": [49, 30]}), None, model=None)
    >>> parse_labelled('[{"age": 49, "customer": "C-7"}]', schema, ["customer"])
    (array([[49.]]), [{'customer': 'C-7'}])
    >>> parse_labelled('{"age": {"a": 49, "b": 30}}', schema)[1]
    ['a', 'b']
    """
    body = decode(raw_data) if isinstance(raw_data, str | bytes) else raw_data
    check_id_columns(id_columns, schema)
    whole = _split_by_name(_unwrapped(_split_by_name(body, schema), schema), schema)
    _check_holds_rows(whole)
    rows, labels = labelled(whole, {*schema.names, *id_columns})
    if id_columns:
        rows, labels = take_ids(rows, id_columns)
    matrix = _rows(rows, schema)
    return matrix, list(range(len(matrix))) if labels is None else labels


def decode(text: str | bytes) -> Any:
    """Decode JSON, and the tokens that some clients send: NaN is missing, Infinity a number.

    Which columns take an infinity, they decide themselves; so it is with ``1e999``.

    Raises
    ------
    PayloadError
        When the text is not JSON in UTF-8, or a key comes twice in one object.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        return _DECODER.decode(text)
    except PayloadError:
        raise
    except UnicodeDecodeError:
        raise PayloadError("Body: expected UTF-8 text.") from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        is_other = error.msg == "Extra data" or not text[: error.pos].strip()
        refusal = NotJsonError if is_other else PayloadError
        raise refusal(f"Body: expected JSON, but at {at}: {error.msg}.") from None
    except (ValueError, RecursionError):
        raise PayloadError(
            "Body: expected JSON rows, got a number too long or a nesting too deep to read."
        ) from None


# The tokens that Python and others write for what JSON has no number for.
_TOKENS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        twice = Counter(map(itemgetter(0), pairs)).most_common(1)[0][0]
        raise PayloadError(f"Body: key {shown(twice)} came twice in one object.")
    return record


_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_constant=_TOKENS.__getitem__
)


def _unwrapped(body: Any, schema: Schema) -> Any:
    """Take off one wrapper; keys that are the model's own feature names are columns, not one."""
    is_whole = not isinstance(body, Mapping) or is_split(body) or is_table(body)
    if is_whole or _has_columns(body, schema):
        return body
    wrappers = list(filter(WRAPPER_KEYS.__contains__, body))
    if not wrappers:
        return body
    expect(
        len(wrappers) == 1,
        f"Body: expected one of {', '.join(WRAPPER_KEYS)}, got {' and '.join(wrappers)} together.",
    )
    siblings = dict(body)
    rows = siblings.pop(wrappers[0])
    _check_siblings(siblings, wrappers[0])
    return _without_name(rows, schema)


def _without_name(rows: Any, schema: Schema) -> Any:
    """Take off the name of a single input, which is none of a column: it has rows, no values."""
    is_named = isinstance(rows, Mapping) and len({*rows} - {*schema.names}) == len(rows) == 1
    named = next(iter(rows.values())) if is_named else None
    return named if is_list_of(named, list, Mapping) else rows


def _has_columns(body: Mapping[str, Any], schema: Schema) -> bool:
    """Tell whether keys are the model's columns, which may be named like wrappers around rows."""
    known = body.keys() & {*schema.names}
    return not all(map(_holds_rows, map(body.get, known)))


def _holds_rows(value: Any) -> bool:
    """Tell rows, in any shape, from the values of one column."""
    inside = list(value.values()) if isinstance(value, Mapping) else value
    return inside != [] and is_list_of(inside, list, Mapping)


def _split_by_name(body: Any, schema: Schema) -> Any:
    """Write columns that are named like the parts of the orient "split" in that orient."""
    is_named_so = is_split(body) and {"columns", "data"} <= {*schema.names}
    if not is_named_so or _holds_rows(body["data"]):
        return body
    check_columns(body)
    rows = list(map(list, zip(*in_order_of_first(body), strict=True)))
    return {"columns": list(body), "index": labels_of_column(body["columns"]), "data": rows}


def _check_siblings(siblings: Mapping[str, Any], wrapper: str) -> None:
    """Refuse what stands beside the wrapper and may ask for something."""
    for key, value in siblings.items():
        expect(
            key in SIBLINGS,
            f"Body: expected {wrapper!r} alone, got key {shown(key)} beside it.",
        )
        expect(
            value in SIBLINGS[key],
            f"Body: expected nothing that changes the answer under {key!r}, got {shown(value)}; "
            "what this service can be asked for stands in the query of the URL.",
        )


def _check_holds_rows(body: Any) -> None:
    """Refuse a row that came without the list around it."""
    match body:
        case Mapping():
            _check_are_no_values(body.values(), "[{...}]")
        case list():
            _check_are_no_values(body, "[[...]]")


def _check_are_no_values(body: Iterable[Any], form: str) -> None:
    is_one_row = set() < set(map(type, body)) <= _VALUES
    expect(not is_one_row, f"Body: expected rows in a list, got one alone; send it as {form}.")


_VALUES = {str, int, float, bool, NoneType}


def _rows(body: Any, schema: Schema) -> NDArray[Any]:
    if is_split(body):
        return _split(body, schema)
    if isinstance(body, Mapping):
        return _columns(body, schema)
    expect(
        isinstance(body, list),
        "Body: expected rows as a JSON object of columns, as records or as a list of lists, got "
        f"{shown(body)}.",
    )
    return schema.matrix(body)


def _split(body: Mapping[str, Any], schema: Schema) -> NDArray[Any]:
    """Read {"columns": [names], "data": [[values]]}; an "index" has labels."""
    names = check_split(body)
    return schema.from_named(names, columns_of_rows(body["data"], len(names)))


def _columns(body: Mapping[str, Any], schema: Schema) -> NDArray[Any]:
    """Read {column: {index: value}} or {column: [values]}.

    The first column gives the order of the rows.
    """
    _check_is_known(body, schema)
    check_columns(body)
    return schema.from_named(list(body), in_order_of_first(body))


def _check_is_known(body: Mapping[str, Any], schema: Schema) -> None:
    """Refuse an object that has not one column of the model, and say where rows may stand."""
    known = body.keys() & {*schema.names}
    expect(
        len(known) >= min(1, len(body)),
        f"Body: expected rows, bare or under one of {', '.join(WRAPPER_KEYS)}, or an object of the "
        f"model's own columns, {_first(schema.names)}; got {_first(list(body))}.",
    )


def _first(names: Sequence[str]) -> str:
    """Write names, the first ten of many."""
    return ", ".join(map(shown, names[:10])) + " and others" * (len(names) > 10)
