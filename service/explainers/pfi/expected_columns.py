"""Rows with the columns that a model expects: as many, and by name where it knows names.

Next: :mod:`service.explainers.pfi.permuted_rows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import filterfalse
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.engines.row_explainer import asked_with_rows
from service.errors import expect
from service.rows.tables import as_table, is_sparse, records_as_table
from service.rows.values import shown
from service.structures.lightgbm_trees import as_called, names_fitted_on

FEWEST = 2  # one row has nothing to be permuted with


@dataclass(frozen=True)
class ExpectedColumns:
    """What a model says of the columns that it was fitted on.

    Attributes
    ----------
    names : list of str
        Empty where it has none.
    held_against : list of str
        Names that rows with names are held against: empty as well where the library made them up.
    n_columns : int or None
    """

    names: list[str]
    held_against: list[str]
    n_columns: int | None


def expected_columns(model: Any) -> ExpectedColumns:
    """Ask a model for its columns, also the one whose method a function is.

    Parameters
    ----------
    model : object
        A model, a bare booster, transformations or a function.
    """
    owner = asked_with_rows(getattr(model, "__self__", model))
    names = names_fitted_on(owner)
    made_up = list(map("Column_{}".format, range(len(names))))  # LightGBM's for an array
    held_against = {True: [], False: names}[names == made_up]
    return ExpectedColumns(
        names, held_against, getattr(owner, "n_features_in_", len(names) or None)
    )


def read_rows(given: Any, expected: ExpectedColumns) -> Any:
    """Return rows as a table; an array gets the names that the model knows.

    Parameters
    ----------
    given : DataFrame, array, list of lists, list of records or sparse matrix
    expected : ExpectedColumns

    Returns
    -------
    DataFrame, ndarray or sparse matrix of shape (n_rows, n_columns)

    Raises
    ------
    ValueError
        When they are no table, too few, or have other columns than the model expects.
    """
    table = given if is_sparse(given) else _as_table(given)
    n_rows, n_columns = table.shape
    expect(
        n_rows >= FEWEST,
        f"evaluation_examples: expected at least {FEWEST} rows, among which values are permuted, "
        f"got {n_rows}.",
        ValueError,
    )
    if _has_names(table):
        names = list(table.columns)
        _check_names(names, as_called(expected.held_against, names))
    expect(
        expected.n_columns in (None, n_columns),
        f"evaluation_examples: expected {expected.n_columns} columns, those that the model was "
        f"fitted on, got {n_columns}.",
        ValueError,
    )
    if is_sparse(table) or _has_names(table) or len(expected.names) != n_columns:
        return table
    return pd.DataFrame(table).set_axis(expected.names, axis=1).infer_objects()


def _as_table(given: Any) -> Any:
    table = records_as_table(as_table(given))
    return table if isinstance(table, pd.DataFrame) else _as_array(table)


def _as_array(rows: Any) -> NDArray[Any]:
    """Return lists and arrays as an array with two axes; texts among numbers stay texts."""
    array = np.asarray(rows, dtype=getattr(rows, "dtype", object))
    expect(
        array.ndim == 2 and array.shape[1] > 0,
        "evaluation_examples: expected rows with columns, a DataFrame or a 2-D array, got shape "
        f"{array.shape}.",
        ValueError,
    )
    return pd.DataFrame(array).infer_objects().to_numpy()


def _has_names(table: Any) -> bool:
    """Tell whether columns have names; those of what was an array are numbered."""
    return any(map(_is_text, getattr(table, "columns", ())))


def _is_text(name: Any) -> bool:
    return isinstance(name, str)


def _check_names(names: list[Any], known: list[str]) -> None:
    """Refuse other names than are known, if any are."""
    missing = ", ".join(map(shown, filterfalse(names.__contains__, known)))
    unknown = ", ".join(map(shown, filterfalse(known.__contains__, names)))
    expect(
        not known or not missing + unknown,
        "evaluation_examples: expected the columns that the model was fitted on, but "
        f"{missing or 'none'} are missing, and {unknown or 'none'} are unknown.",
        ValueError,
    )


def in_order_of(table: Any, expected: ExpectedColumns) -> tuple[Any, Sequence[int]]:
    """Return rows with their columns in the model's order, and where each of them is now.

    Parameters
    ----------
    table : DataFrame, ndarray or sparse matrix of shape (n_rows, n_columns)
        As :func:`read_rows` returned it.
    expected : ExpectedColumns

    Returns
    -------
    table : DataFrame, ndarray or sparse matrix of shape (n_rows, n_columns)
    positions : sequence of int
        For each column as it came.
    """
    names = list(getattr(table, "columns", expected.held_against))
    known = as_called(expected.held_against, names)
    if not known or names == known:
        return table, range(table.shape[1])
    return table[known], list(map(known.index, names))
