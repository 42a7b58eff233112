"""What tells rows apart, beside what the model knows: their labels, and columns with their ids.

Labels are what pandas calls an index: the keys of ``df.to_json()``, the ``index`` of its orient
"split". Orients "index" and "table" have them around their records. Columns with ids are taken out
of rows before the model's schema sees them, and come back with the answer. Next:
:mod:`service.rows.tensors`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from operator import eq, itemgetter
from typing import Any

from service.errors import expect, expect_each
from service.rows.schema import Schema, is_row_of
from service.rows.values import is_list_of, repeated, shown


def is_table(body: Any) -> bool:
    """Tell whether rows are of pandas' orient "table": ``{"schema": {…}, "data": records}``."""
    match body:
        case {"schema": Mapping(), "data": list(), **others}:
            return not others
    return False


def is_split(body: Any) -> bool:
    """Tell whether rows are of the orient "split": ``{"columns": names, "data": rows}``."""
    match body:
        case {"columns": _, "data": _, **others}:
            return others.keys() <= {"index"}
    return False


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
    for is_of_shape, take_labels in _LABELLED:
        if is_of_shape(body):
            return take_labels(body, names)
    return body, None


def _is_by_label_or_column(body: Any) -> bool:
    return isinstance(body, Mapping) and len(body) > 0


def _by_label_or_column(
    body: Mapping[str, Any], names: Collection[str]
) -> tuple[Any, list[Any] | None]:
    """Turn records by label into records; columns stay what they are."""
    values = list(body.values())
    has_columns = not body.keys().isdisjoint(names)
    if not has_columns and all(map(partial(_is_record, names), values)):
        return values, list(body)
    return body, labels_of_column(values[0])


def labels_of_column(column: Any) -> list[Any] | None:
    """Return the labels of a column of values by label; None of a list of values."""
    return list(column) if isinstance(column, Mapping) else None


def _is_record(names: Collection[str], value: Any) -> bool:
    """Tell a record from a column of values by label."""
    return isinstance(value, Mapping) and not {*value}.isdisjoint(names)


def _without_index(body: Mapping[str, Any], names: Collection[str]) -> tuple[Any, list[Any] | None]:
    """Take the index out of the records of a table, whose schema says what it is called."""
    index = body["schema"].get("primaryKey", [])
    expect(
        is_list_of(index, str),
        "Body: expected names in a list under 'primaryKey', as pandas writes them with "
        f"orient='table', got {shown(index)}.",
    )
    is_of_the_model = not {*index}.isdisjoint(names)
    if is_of_the_model or not index:
        return body["data"], None
    rest, labels = take_ids(body["data"], index)
    return rest, list(map(itemgetter(*index), labels))


def _labels_of_split(
    body: Mapping[str, Any], _: Collection[str]
) -> tuple[Mapping[str, Any], list[Any] | None]:
    """Look at the index beside the rows."""
    labels, data = body.get("index"), body["data"]
    if labels is None or not isinstance(data, list):
        return body, None
    expect(
        is_row_of(len(data), labels),
        f"Body: expected a list of {len(data)} labels under 'index', one for each row, got "
        f"{shown(labels)}.",
    )
    return body, labels


_LABELLED = (
    (is_table, _without_index),
    (is_split, _labels_of_split),
    (_is_by_label_or_column, _by_label_or_column),
)


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
    are_lists = is_list_of([names, data], list)
    expect(are_lists, "Body: expected lists under 'columns' and 'data'.")
    expect(is_list_of(names, str, int, float), "Body: expected names under 'columns'.")
    width = len(names)
    expect_each(
        map(partial(is_row_of, width), data),
        lambda row: f"Row {row}: expected a list of {width} values, as many as there are columns.",
    )
    return list(map(str, names))


def columns_of_rows(rows: Sequence[Sequence[Any]], n_columns: int) -> list[list[Any]]:
    """Turn lists of values into the columns that they are of, also where there are no rows."""
    return list(map(list, zip(*rows, strict=True))) or [[]] * n_columns


def check_columns(body: Mapping[str, Any]) -> None:
    """Check that all columns have the same rows, by label or by place.

    Raises
    ------
    PayloadError
        Naming a column that has not.
    """
    names, rows = list(body), list(map(_rows_in, body.values()))
    kinds = list(map(type, body.values()))
    as_first = partial(eq, next(iter(rows), None))
    expect_each(
        map(partial(_is_of_rows, kinds[:1]), kinds, rows),
        lambda place: (
            f"Column {shown(names[place])}: expected a list of values, or an object of them by row "
            "index."
        ),
    )
    expect_each(
        map(as_first, rows),
        lambda place: (
            f"Column {shown(names[place])}: expected the same rows as column {shown(names[0])}."
        ),
    )


def _is_of_rows(known: Sequence[type], kind: type, rows: Any) -> bool:
    return rows is not None and kind in known


def _rows_in(column: Any) -> Any:
    """Return what tells which rows a column has, None for what is no column."""
    match column:
        case Mapping():
            return column.keys()
        case list():
            return len(column)
    return None


def in_order_of_first(columns: Mapping[str, Any]) -> list[list[Any]]:
    """Return the values of all columns, their rows in the order of the first."""
    first: Any = next(iter(columns.values()), [])
    if not isinstance(first, Mapping):
        return list(columns.values())
    return [list(map(values.__getitem__, first)) for values in columns.values()]


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
        body = _columns_of_split(body)
    if isinstance(body, Mapping):
        return _ids_of_columns(body, id_columns)
    expect(
        is_list_of(body, Mapping),
        "Option 'id_columns': expected rows with the names of their columns, got some without.",
    )
    rest, ids = [], []
    for row, record in enumerate(body):
        own, of_row = _taken_apart(record, id_columns, f"Row {row}")
        rest.append(own)
        ids.append(of_row)
    return rest, ids


def _columns_of_split(body: Mapping[str, Any]) -> dict[str, Any]:
    names = check_split(body)
    twice = ", ".join(map(shown, repeated(names)))
    expect(not twice, f"Body: expected each column once, but {twice} came more often.")
    return dict(zip(names, columns_of_rows(body["data"], len(names)), strict=True))


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
        expect(name in rest, f"{where}: expected the id column {shown(name)}, found none.")
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
        expect(
            name not in schema.names,
            f"Option 'id_columns': expected columns that the model does not know, got {name!r}.",
        )
