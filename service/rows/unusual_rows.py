"""Rows that clients send and examples lack: new categories, and missing values where none were.

Whether they are rows at all, the model knows: it is asked when an explainer is built. And when it
refuses rows that the schema takes, it is asked which value it was. Next:
:mod:`service.rows.json_rows`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import PayloadError, expect
from service.rows.columns import Column
from service.rows.schema import Schema
from service.rows.values import shown

N_UNUSUAL_ROWS = 64
MOST_CHANGED = 500  # columns of them
N_NUMBERS = 32  # of the examples, on which others are made up
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
        new = column.make_new_categories()
        if len(new):
            schema = _opened_to(new, schema, position, example, ask)
    return schema


def _opened_to(
    new: Sequence[Any], schema: Schema, position: int, example: NDArray[Any], ask: Ask
) -> Schema:
    """Return the schema with a column open to new categories, where the model takes these."""
    column = replace(schema.columns[position], takes_new=True)
    wider = _with_column(schema, position, column)
    rows = np.repeat(example, 1 + len(new), axis=0)
    rows[1:, position] = new
    return wider if _is_answered(ask, wider, rows) else schema


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
    wanted = list(map(schema.names.index, _wanted_names(schema, nullable)))
    if not wanted:
        return schema
    wider = _with_missing(schema, wanted, example, ask)  # all at once, if the model takes it
    if wider is not None:
        return wider
    wider, refused = _with_missing_singly(schema, wanted, example, ask)
    most_refused = len(wanted) - 1 if nullable is True else 0
    expect(
        len(refused) <= most_refused,
        "nullable: expected columns in which the model takes a missing value, but it refuses one "
        f"in {', '.join(map(repr, refused[:10]))}; put an imputer into its pipeline, or leave them "
        "out.",
        ValueError,
    )
    return wider


def _with_missing_singly(
    schema: Schema, positions: Sequence[int], example: NDArray[Any], ask: Ask
) -> tuple[Schema, list[str]]:
    """Return the schema with those columns nullable that the model takes so, and the others."""
    refused = []
    for position in positions:
        wider = _with_missing(schema, [position], example, ask)
        if wider is None:
            refused.append(schema.names[position])
        else:
            schema = wider
    return schema, refused


def _with_missing(
    schema: Schema, positions: Sequence[int], example: NDArray[Any], ask: Ask
) -> Schema | None:
    """Return the schema with some columns nullable, None where the model refuses the values."""
    columns = list(schema.columns)
    for position in positions:
        columns[position] = replace(columns[position], nullable=True)
    wider = replace(schema, columns=tuple(columns))
    rows = np.concatenate([example, _with_value(example, positions, np.nan)])
    return wider if _is_answered(ask, wider, rows) else None


def _wanted_names(schema: Schema, nullable: bool | Sequence[str]) -> Sequence[str]:
    if isinstance(nullable, bool):
        return schema.names if nullable else []
    expected = "nullable: expected names of columns or True, got"
    expect(isinstance(nullable, Sequence), f"{expected} {nullable!r}.", ValueError)
    wanted = [nullable] if isinstance(nullable, str) else list(nullable)
    unknown = sorted(set(wanted) - set(schema.names))
    expect(not unknown, f"{expected} {unknown}.", ValueError)
    return wanted


def make_unusual_rows(schema: Schema, examples: NDArray[Any], ask: Ask) -> NDArray[Any]:
    """Make rows up that clients may send and the examples lack, as far as the model takes them.

    They have numbers between those of the examples and beyond them, negative ones, new categories
    and texts, and missing values where they may come; some rows in one column, some in many.

    Parameters
    ----------
    schema : Schema
    examples : ndarray of shape (n_examples, n_features)
    ask : callable

    Returns
    -------
    ndarray of shape (n_rows, n_features)
    """
    rng = np.random.default_rng(0)
    rows = examples[rng.integers(len(examples), size=N_UNUSUAL_ROWS)]
    share = np.linspace(1 / rows.shape[1], 0.5, len(rows))[:, None]
    is_changed = rng.random(rows.shape) < share
    for position in rng.permutation(rows.shape[1])[:MOST_CHANGED]:
        values = _make_unusual_values(schema.columns[position], examples[:, position])
        if len(values):
            changed = np.flatnonzero(is_changed[:, position])
            rows[changed, position] = values[rng.integers(len(values), size=len(changed))]
    return rows[_are_answered(ask, schema, rows)]


def _make_unusual_values(column: Column, examples: NDArray[Any]) -> NDArray[Any]:
    """Make values up, as the column reads them; none where no unusual one fits."""
    make = _MAKE.get(column.kind, _make_none)
    known = examples[~pd.isna(examples)]
    made = make(known) if len(known) else []
    new = column.make_new_categories()
    missing = [None] * column.nullable
    fitting = list(filter(partial(_fits, column), [*made, *new, *missing]))
    return column.read(fitting)


def _fits(column: Column, value: Any) -> bool:
    """Tell whether a value is within the column's type."""
    return column.takes_any_number or column.fits(value)


def _are_answered(ask: Ask, schema: Schema, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows the model answers; it is asked for each where it refuses some."""
    if _is_answered(ask, schema, rows):
        return np.ones(len(rows), dtype=bool)
    answered = [_is_answered(ask, schema, rows[i : i + 1]) for i in range(len(rows))]
    return np.array(answered)


def _make_numbers(known: NDArray[Any]) -> list[float]:
    numbers = known[:: max(1, len(known) // N_NUMBERS)].astype(np.float64)
    return [*(np.floor(np.unique(numbers)) + 0.5), -0.5, *_make_integers(known)]


def _make_integers(known: NDArray[Any]) -> list[float]:
    numbers = known.astype(np.float64)
    return [np.floor(numbers.max()) + 1, np.ceil(numbers.min()) - 1, -1.0]


def _make_texts(known: NDArray[Any]) -> list[str]:
    return [f"other than {known[0]}"]


def _make_none(_: NDArray[Any]) -> list[Any]:
    return []


_MAKE: dict[str, Callable[[NDArray[Any]], list[Any]]] = {
    "number": _make_numbers,
    "integer": _make_integers,
    "string": _make_texts,
}


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


def _with_value(row: NDArray[Any], position: int | Sequence[int], value: Any) -> NDArray[Any]:
    changed = row.copy()
    changed[:, position] = value
    return changed
