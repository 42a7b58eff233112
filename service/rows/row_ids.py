"""What tells rows apart, beside what the model knows: their labels, and columns with their ids.

Labels are what pandas calls an index: the keys of ``df.to_json()``, the ``index`` of its orient
"split". Orients "index" and "table" have them around their records. Columns with ids are taken out
of rows before the model's schema sees them, and come back with the answer. Next:
:mod:`service.rows.tensors`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from service.errors import PayloadError
from service.rows.schema import Schema
from service.rows.values import shown


def is_table(body: Any) -> bool:
    """Tell whether rows are of pandas' orient "table": ``{"schema": {…}, "data": records}``."""
    is_pair = isinstance(body, Mapping) and set(body) == {"schema", "data"}
    return is_pair and isinstance(body["schema"], Mapping) and isinstance(body["data"], list)


def is_split(body: Any) -> bool:
    """Tell whether rows are of the orient "split": ``{"columns": names, "data": rows}``."""
    is_mapping = isinstance(body, Mapping) and {"columns", "data"} <= set(body)
    return is_mapping and set(body) <= {"columns", "index", "data"}


def labelled(body: Any, names: Collection[str]) -> tuple[Any, list[Any] | None]:
    """Take the labels of rows; those that stand around their records are taken off.

    Parameters
    ----------
    body : Any
        Rows as JSON has them, in any shape.
    names : collection of str
        Of the model's columns and of those with ids.

    Returns
    -------
    tuple
        The rows in one of the other shapes, and their labels, None where they have none.

    Raises
    ------
    PayloadError
        When there are other labels than rows.

    Examples
    --------
    >>> labelled({"7": {"age": 49}, "9": {"age": 30}}, ["age"])
    ([{'age': 49}, {'age': 30}], ['7', '9'])
    """
    if not isinstance(body, Mapping) or not body:
        return body, None
    if is_table(body):
        return _without_index(body, names)
    if is_split(body):
        return body, _labels_of_split(body)
    return _by_label_or_column(body, names)


def _by_label_or_column(
    body: Mapping[str, Any], names: Collection[str]
) -> tuple[Any, list[Any] | None]:
    """Turn records by label into records; columns stay what they are."""
    first = next(iter(body.values()))
    if {*body}.isdisjoint(names) and all(map(partial(_is_record, names), body.values())):
        return list(body.values()), list(body)
    return body, list(first) if isinstance(first, Mapping) else None


def _is_record(names: Collection[str], value: Any) -> bool:
    """Tell a record from a column of values by label."""
    return isinstance(value, Mapping) and not {*value}.isdisjoint(names)


def _without_index(body: Mapping[str, Any], names: Collection[str]) -> tuple[Any, list[Any] | None]:
    """Take the index out of the records of a table, whose schema says what it is called."""
    index = body["schema"].get("primaryKey", [])
    if not isinstance(index, list) or not all(map(_is_text, index)):
        raise PayloadError(
            "Body: expected names in a list under 'primaryKey', as pandas writes them with "
            f"orient='table', got {shown(index)}."
        )
    if not index or not {*index}.isdisjoint(names):
        return body["data"], None
    rest, labels = take_ids(body["data"], index)
    return rest, list(map(itemgetter(*index), labels))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _labels_of_split(body: Mapping[str, Any]) -> list[Any] | None:
    labels, data = body.get("index"), body["data"]
    if labels is None or not isinstance(data, list):
        return None
    if not isinstance(labels, list) or len(labels) != len(data):
        raise PayloadError(
            f"Body: expected a list of {len(data)} labels under 'index', one for each row, got "
            f"{shown(labels)}."
        )
    return labels


def check_split(body: Mapping[str, Any]) -> list[str]:
    """Check that rows of the orient "split" are as wide as there are columns.

    Returns
    -------
    list of str
        The names of the columns.

    Raises
    ------
    PayloadError
        When they are not, or are no lists.
    """
    names, data = body["columns"], body["data"]
    if not isinstance(names, list) or not isinstance(data, list):
        raise PayloadError("Body: expected lists under 'columns' and 'data'.")
    if not all(map(_is_name, names)):
        raise PayloadError("Body: expected names under 'columns'.")
    _check_widths(data, len(names))
    return list(map(str, names))


def _check_widths(data: Sequence[Any], n_columns: int) -> None:
    for row, values in enumerate(data):
        if not isinstance(values, list) or len(values) != n_columns:
            raise PayloadError(
                f"Row {row}: expected a list of {n_columns} values, as many as there are columns."
            )


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int | float)


def check_columns(body: Mapping[str, Any]) -> None:
    """Check that all columns have the same rows, by label or by place.

    Raises
    ------
    PayloadError
        Naming a column that has not.
    """
    first_name, first = next(iter(body.items()), ("", []))
    for name, values in body.items():
        if type(values) is not type(first) or not isinstance(values, Mapping | list):
            raise PayloadError(
                f"Column {shown(name)}: expected a list of values, or an object of them by row "
                "index."
            )
        if not _are_of_same_rows(values, first):
            raise PayloadError(
                f"Column {shown(name)}: expected the same rows as column {shown(first_name)}."
            )


def _are_of_same_rows(values: Any, first: Any) -> bool:
    if isinstance(first, Mapping):
        return values.keys() == first.keys()
    return len(values) == len(first)


def in_order_of_first(columns: Mapping[str, Any]) -> list[list[Any]]:
    """Return the values of all columns, their rows in the order of the first."""
    first: Any = next(iter(columns.values()), [])
    return [_in_order(values, first) for values in columns.values()]


def _in_order(values: Any, first: Any) -> list[Any]:
    return [values[label] for label in first] if isinstance(first, Mapping) else values


def take_ids(body: Any, id_columns: Sequence[str]) -> tuple[Any, list[dict[str, Any]]]:
    """Take the columns with ids out of rows.

    Parameters
    ----------
    body : Any
        Records, columns or split, as JSON has them.
    id_columns : sequence of str

    Returns
    -------
    tuple
        The rows without those columns, and the ids of each row by column.

    Raises
    ------
    PayloadError
        When a row has no such column, or the rows have no names.

    Examples
    --------
    >>> take_ids([{"customer": "C-7", "age": 49}], ["customer"])
    ([{'age': 49}], [{'customer': 'C-7'}])
    """
    if is_split(body):
        names = check_split(body)
        columns = list(map(list, zip(*body["data"], strict=True))) or [[]] * len(names)
        return _ids_of_columns(_columns_by_name(names, columns), id_columns)
    if isinstance(body, Mapping):
        return _ids_of_columns(body, id_columns)
    if not isinstance(body, list) or not all(isinstance(row, Mapping) for row in body):
        raise PayloadError(
            "Option 'id_columns': expected rows with the names of their columns, got some without."
        )
    rest, ids = [], []
    for row, record in enumerate(body):
        own, of_row = _taken_apart(record, id_columns, f"Row {row}")
        rest.append(own)
        ids.append(of_row)
    return rest, ids


def _columns_by_name(names: Sequence[str], columns: Sequence[Any]) -> dict[str, Any]:
    by_name = dict(zip(names, columns, strict=True))
    if len(by_name) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise PayloadError(f"Body: expected each column once, but {shown(twice)} came more often.")
    return by_name


def _ids_of_columns(
    body: Mapping[str, Any], id_columns: Sequence[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    check_columns(body)
    rest, columns = _taken_apart(body, id_columns, "Body")
    _, *values = in_order_of_first({"": next(iter(rest.values()), []), **columns})
    ids = []
    for row in zip(*values, strict=True):
        ids.append(dict(zip(columns, row, strict=True)))
    return rest, ids


def _taken_apart(
    record: Mapping[str, Any], id_columns: Sequence[str], where: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a record without its ids, and these."""
    rest, ids = dict(record), {}
    for name in id_columns:
        if name not in rest:
            raise PayloadError(f"{where}: expected the id column {shown(name)}, found none.")
        ids[name] = rest.pop(name)
    return rest, ids


def check_id_columns(id_columns: Sequence[str], schema: Schema) -> None:
    """Refuse columns with ids that are the model's own.

    Raises
    ------
    PayloadError
        Naming one.
    """
    for name in id_columns:
        if name in schema.names:
            raise PayloadError(
                f"Option 'id_columns': expected columns that the model does not know, got {name!r}."
            )
