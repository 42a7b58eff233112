"""What a row looks like: the columns recorded from the examples, and the check of every row against them.

Inside, rows are one matrix: float64 when every column is a number, an integer or a boolean, object otherwise. The
schema turns what callers bring (a DataFrame, an array, lists, columns by name) into that matrix, and the matrix back
into the form in which the model was fitted. Next: :mod:`service.scoring.payload`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.scoring.columns import NUMERIC_KINDS, Column, shown
from service.scoring.errors import PayloadError


@dataclass(frozen=True)
class Schema:
    """The columns of the rows, in the model's order, and the form the model takes them in.

    Attributes
    ----------
    columns : tuple of Column
    as_frame : bool
        True when the model was fitted on a DataFrame and wants one, False when it takes the bare matrix.
    """

    columns: tuple[Column, ...]
    as_frame: bool

    @classmethod
    def of(cls, examples: Any, names: Sequence[str] | None, model: Any) -> Schema:
        """Record the schema of `examples`.

        Parameters
        ----------
        examples : DataFrame or array-like of shape (n_examples, n_features)
        names : sequence of str or None
            Feature names; by default the DataFrame's columns, or "0", "1", … for an array.
        model : object
            Asked whether it was fitted on a DataFrame (scikit-learn's ``feature_names_in_``).

        Raises
        ------
        ValueError
            When `examples` is not a non-empty table, or the names do not fit it.
        """
        frame = examples if isinstance(examples, pd.DataFrame) else pd.DataFrame(_table(examples))
        if 0 in frame.shape:
            raise ValueError(f"initialization_examples: expected at least one row and column, got {frame.shape}.")
        chosen = [str(name) for name in (names if names is not None else frame.columns)]
        if len(chosen) != frame.shape[1] or len(set(chosen)) != len(chosen):
            raise ValueError(
                f"features: expected {frame.shape[1]} different names, one for each column of the examples, "
                f"got {len(set(chosen))} different ones in {len(chosen)}."
            )
        columns = tuple(Column.of(frame.iloc[:, i], name) for i, name in enumerate(chosen))
        return cls(columns, _takes_frames(model, isinstance(examples, pd.DataFrame), columns))

    @property
    def names(self) -> list[str]:
        """The column names, in the model's order."""
        return [column.name for column in self.columns]

    @property
    def is_numeric(self) -> bool:
        """True when every column is a number, so that the matrix is float64."""
        return all(column.kind in NUMERIC_KINDS for column in self.columns)

    def matrix(self, rows: Any) -> NDArray[Any]:
        """Check rows and return them as one matrix.

        Parameters
        ----------
        rows : DataFrame, array of shape (n_rows, n_features), list of records, or list of lists
            A DataFrame and records are matched by column name, arrays and lists by position.

        Returns
        -------
        ndarray of shape (n_rows, n_features)

        Raises
        ------
        PayloadError
            When the rows do not fit the schema.
        """
        if isinstance(rows, pd.DataFrame):
            columns = [_values(rows.iloc[:, i]) for i in range(rows.shape[1])]
            return self.from_named([str(name) for name in rows.columns], columns)
        if isinstance(rows, Sequence) and not isinstance(rows, str) and rows and isinstance(rows[0], Mapping):
            return self.from_records(rows)
        return self.from_positions(rows)

    def from_records(self, records: Sequence[Any]) -> NDArray[Any]:
        """Check a list of {column: value} records, each with the same columns."""
        for row, record in enumerate(records):
            if not isinstance(record, Mapping):
                raise PayloadError(f"Row {row}: expected a record like row 0, got {shown(record)}.")
            self._check_names([str(name) for name in record], where=f"Row {row}: ")
        return self._stack([column.read([record[column.name] for record in records]) for column in self.columns])

    def from_named(self, names: Sequence[str], columns: Sequence[Sequence[Any] | NDArray[Any]]) -> NDArray[Any]:
        """Check columns that come with their names, in any order."""
        self._check_names(names)
        by_name = dict(zip(names, columns, strict=True))
        return self._stack([column.read(by_name[column.name]) for column in self.columns])

    def from_positions(self, rows: Any) -> NDArray[Any]:
        """Check rows without names: an array or a list of lists, columns in the model's order."""
        if isinstance(rows, np.ndarray):
            if rows.ndim != 2 or rows.shape[1] != len(self.columns):
                raise PayloadError(f"Rows: expected an array of shape (n, {len(self.columns)}), got {rows.shape}.")
            return self._stack([column.read(values) for column, values in zip(self.columns, rows.T, strict=True)])
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise PayloadError(f"Rows: expected a DataFrame, an array, records or a list of lists, got {shown(rows)}.")
        for row, values in enumerate(rows):
            if not isinstance(values, list | tuple | np.ndarray) or len(values) != len(self.columns):
                raise PayloadError(f"Row {row}: expected a list of {len(self.columns)} values, got {shown(values)}.")
        by_column = zip(*rows, strict=True) if len(rows) else [()] * len(self.columns)
        return self._stack([column.read(values) for column, values in zip(self.columns, by_column, strict=True)])

    def model_rows(self, matrix: NDArray[Any]) -> pd.DataFrame | NDArray[Any]:
        """Turn the matrix into what the model was fitted on: a DataFrame with its dtypes, or the matrix itself."""
        if not self.as_frame:
            return matrix
        frame = pd.DataFrame(matrix, columns=self.names)
        return frame.astype({c.name: c.pandas_dtype for c in self.columns if c.dtype != matrix.dtype.name})

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the columns as plain values for the manifest."""
        return [asdict(column) for column in self.columns]

    def _stack(self, columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
        if not columns or len(columns[0]) == 0:
            raise PayloadError("Rows: expected at least one row, got none.")
        return np.stack([column if self.is_numeric else column.astype(object) for column in columns], axis=1)

    def _check_names(self, names: Sequence[str], where: str = "") -> None:
        missing = [name for name in self.names if name not in names]
        unknown = [name for name in names if name not in self.names]
        if missing or unknown:
            wrong = [f"missing {_named(missing)}"] * bool(missing) + [f"unknown {_named(unknown)}"] * bool(unknown)
            raise PayloadError(f"{where}Expected the model's own columns, but {' and '.join(wrong)}.")
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            raise PayloadError(f"{where}Expected each column once, but {_named(twice)} came more often.")


def _table(examples: Any) -> NDArray[Any]:
    table = np.asarray(examples)
    if table.ndim != 2:
        raise ValueError(f"initialization_examples: expected a DataFrame or a 2-D array, got shape {table.shape}.")
    return table


def _takes_frames(model: Any, examples_are_frame: bool, columns: Sequence[Column]) -> bool:
    """Ask a scikit-learn model what it was fitted on; of other models believe what the examples look like."""
    if hasattr(model, "feature_names_in_"):
        return True
    numeric = all(column.kind in NUMERIC_KINDS for column in columns)
    return examples_are_frame and not (numeric and hasattr(model, "n_features_in_"))


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"column{'s' if len(names) > 1 else ''} {shown}"


def _values(series: pd.Series) -> NDArray[Any]:
    return series.to_numpy() if series.dtype.kind == "f" else series.to_numpy(dtype=object)
