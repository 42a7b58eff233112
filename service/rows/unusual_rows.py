"""Rows that clients send and examples lack: new categories, and missing values where none were.

Whether they are rows at all, the model knows: it is asked when an explainer is built. And when it
refuses rows that the schema takes, it is asked which value it was. Next:
:mod:`service.rows.json_rows`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import PayloadError
from service.rows.columns import Column
from service.rows.schema import Schema
from service.rows.values import shown

Ask = Callable[[Schema, NDArray[Any]], Any]
"""The model: a schema and a matrix of its rows to an answer for each; it raises what it refuses."""


def ask_for_new_categories(schema: Schema, example: NDArray[Any], ask: Ask) -> Schema:
    """Find the columns of categories in which the model takes one that training did not have.

    Parameters
    ----------
    schema : Schema
    example : ndarray of shape (1, n_features)
        A row that fits the model.
    ask : callable

    Returns
    -------
    Schema
        With those columns open to new categories.
    """
    for position, column in enumerate(schema.columns):
        new = column.make_new_category()
        wider = _with_column(schema, position, replace(column, takes_new=new is not None))
        rows = np.concatenate([example, _with_value(example, position, new)])
        if wider.columns[position].takes_new and _is_answered(ask, wider, rows):
            schema = wider
    return schema


def ask_for_missing_values(
    schema: Schema, nullable: bool | Sequence[str], example: NDArray[Any], ask: Ask
) -> Schema:
    """Let missing values into columns whose examples had none.

    Parameters
    ----------
    schema : Schema
    nullable : bool or sequence of str
        Names of columns; True for all in which the model takes a missing value.
    example : ndarray of shape (1, n_features)
        A row that fits the model.
    ask : callable

    Returns
    -------
    Schema
        With those columns nullable.

    Raises
    ------
    ValueError
        When there is no such column, or the model takes no missing value there.
    """
    wanted, refused = _wanted_names(schema, nullable), []
    for name in wanted:
        position = schema.names.index(name)
        nullable_column = replace(schema.columns[position], nullable=True)
        wider = _with_column(schema, position, nullable_column)
        rows = np.concatenate([example, _with_value(example, position, np.nan)])
        if _is_answered(ask, wider, rows):
            schema = wider
        else:
            refused.append(name)
    most_refused = len(wanted) - 1 if nullable is True else 0
    if len(refused) > most_refused:
        raise ValueError(
            "nullable: expected columns in which the model takes a missing value, but it refuses "
            f"one in {', '.join(map(repr, refused[:10]))}; put an imputer into its pipeline, or "
            "leave them out."
        )
    return schema


def _wanted_names(schema: Schema, nullable: bool | Sequence[str]) -> Sequence[str]:
    if isinstance(nullable, bool):
        return schema.names if nullable else []
    wanted = [nullable] if isinstance(nullable, str) else list(nullable)
    unknown = set(wanted) - set(schema.names)
    if unknown:
        raise ValueError(f"nullable: expected names of columns or True, got {sorted(unknown)}.")
    return wanted


def name_refused_value(schema: Schema, rows: NDArray[Any], example: NDArray[Any], ask: Ask) -> None:
    """Find the value for which a model refuses rows that the schema takes.

    Parameters
    ----------
    schema : Schema
    rows : ndarray of shape (n_rows, n_features)
    example : ndarray of shape (1, n_features)
        A row that fits the model; the values of one column after another are put into it.
    ask : callable

    Raises
    ------
    PayloadError
        When there is such a value; it is the first of its column.
    """
    if not _is_answered(ask, schema, example):
        return
    for position, column in enumerate(schema.columns):
        row = _first_refused(schema, rows[:, position], position, example, ask)
        if row < len(rows):
            raise PayloadError(
                f"Column {column.name!r}, row {row}: expected a value that the model knows, got "
                f"{shown(column.plain(rows[row, position]))}."
            ) from None


def _first_refused(
    schema: Schema, values: NDArray[Any], position: int, example: NDArray[Any], ask: Ask
) -> int:
    """Return the first of a column's values that is refused, by halves; their number if none is."""
    rows = np.repeat(example, len(values), axis=0)
    rows[:, position] = values
    if _is_answered(ask, schema, rows):
        return len(rows)
    start, stop = 0, len(rows)  # all before start are answered, one before stop is not
    while stop - start > 1:
        middle = (start + stop) // 2
        if _is_answered(ask, schema, rows[start:middle]):
            start = middle
        else:
            stop = middle
    return start


def _is_answered(ask: Ask, schema: Schema, rows: NDArray[Any]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is unusual is what is asked for
        try:
            ask(schema, rows)
        except Exception:  # every library has its own
            return False
    return True


def _with_column(schema: Schema, position: int, column: Column) -> Schema:
    columns = list(schema.columns)
    columns[position] = column
    return replace(schema, columns=tuple(columns))


def _with_value(row: NDArray[Any], position: int, value: Any) -> NDArray[Any]:
    changed = row.copy()
    changed[:, position] = value
    return changed
