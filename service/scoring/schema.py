"""What a row looks like: the columns recorded from the examples, and the check of every row against them.

Inside, rows are one matrix: float64 when every column is a number, an integer or a boolean, object otherwise. The
schema turns what callers bring (a DataFrame, an array, lists, columns by name) into that matrix, and the matrix back
into the form in which the model was fitted. Nothing is guessed and nothing is rounded: a value that does not fit is
refused with its column and row. Next: :mod:`service.scoring.payload`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.scoring.errors import PayloadError

NUMERIC_KINDS = ("number", "integer", "boolean")
LARGEST_EXACT_INTEGER = 2**53


@dataclass(frozen=True)
class Column:
    """One column of the rows.

    Attributes
    ----------
    name : str
    kind : {"number", "integer", "boolean", "string", "category", "datetime"}
    dtype : str
        The pandas dtype that the model was fitted with.
    nullable : bool
        True when the examples had missing values in this column.
    categories : tuple or None
        The known values of a "category" column.
    """

    name: str
    kind: str
    dtype: str
    nullable: bool = False
    categories: tuple[Any, ...] | None = None

    @classmethod
    def of(cls, values: pd.Series, name: str) -> Column:
        """Record a column of the examples."""
        nullable = bool(values.isna().any())
        if isinstance(values.dtype, pd.CategoricalDtype):
            return cls(name, "category", "category", nullable, tuple(values.cat.categories.tolist()))
        return cls(name, _kind(values), str(values.dtype), nullable)

    def read(self, values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
        """Check the values of this column and return them as float64 (numbers) or object, missing ones as NaN.

        Raises
        ------
        PayloadError
            Naming the column, the row, what was expected and what came.
        """
        if isinstance(values, np.ndarray) and values.dtype.kind == "f" and self.kind == "number":
            read = values.astype(np.float64)  # the common case, without a look at each value
        else:
            read = np.array([self._read_one(value, row) for row, value in enumerate(values)], dtype=self.matrix_dtype)
        if not self.nullable and len(missing := np.flatnonzero(pd.isna(read))):
            raise self._refusal(int(missing[0]), "a missing value, and the examples had none in this column")
        return read

    @property
    def matrix_dtype(self) -> type:
        """The dtype of this column by itself."""
        return np.float64 if self.kind in NUMERIC_KINDS else object

    @property
    def pandas_dtype(self) -> Any:
        """The dtype that a DataFrame for the model has here."""
        return pd.CategoricalDtype(list(self.categories or ())) if self.kind == "category" else self.dtype

    def _read_one(self, value: Any, row: int) -> Any:
        if _is_missing(value):
            return np.nan
        if isinstance(value, np.generic):
            value = value.item()
        read = _READERS[self.kind](value)
        if read is None or (self.categories is not None and read not in self.categories):
            raise self._refusal(row, _shown(value))
        return read

    def _refusal(self, row: int, came: str) -> PayloadError:
        expected = {"number": "a number", "integer": "an integer", "boolean": "true or false", "string": "a string"}
        one_of = f"one of {', '.join(map(_shown, (self.categories or ())[:10]))}"
        what = expected.get(self.kind, "a date and time" if self.kind == "datetime" else one_of)
        return PayloadError(f"Column {self.name!r}, row {row}: expected {what}, got {came}.")


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
                raise PayloadError(f"Row {row}: expected a record like row 0, got {_shown(record)}.")
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
            raise PayloadError(f"Rows: expected a DataFrame, an array, records or a list of lists, got {_shown(rows)}.")
        for row, values in enumerate(rows):
            if not isinstance(values, list | tuple | np.ndarray) or len(values) != len(self.columns):
                raise PayloadError(f"Row {row}: expected a list of {len(self.columns)} values, got {_shown(values)}.")
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


def _kind(values: pd.Series) -> str:
    """Name the kind of a column by its values, so that an object column of numbers counts as numbers."""
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred not in _KINDS:
        raise ValueError(
            f"initialization_examples: column {values.name!r}: expected numbers, booleans, strings, dates or "
            f"categories, got {inferred} values."
        )
    return _KINDS[inferred]


def _takes_frames(model: Any, examples_are_frame: bool, columns: Sequence[Column]) -> bool:
    """Ask a scikit-learn model what it was fitted on; of other models believe what the examples look like."""
    if hasattr(model, "feature_names_in_"):
        return True
    numeric = all(column.kind in NUMERIC_KINDS for column in columns)
    return examples_are_frame and not (numeric and hasattr(model, "n_features_in_"))


def _values(series: pd.Series) -> NDArray[Any]:
    return series.to_numpy() if series.dtype.kind == "f" else series.to_numpy(dtype=object)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _read_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _read_integer(value: Any) -> float | None:
    """Read a whole number; one that float64 cannot hold exactly is refused, not rounded."""
    number = _read_number(value)
    is_exact = number is not None and number.is_integer() and number == value and abs(number) <= LARGEST_EXACT_INTEGER
    return number if is_exact else None


def _read_boolean(value: Any) -> float | None:
    return float(value) if isinstance(value, bool) or value in (0, 1) else None


def _read_string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _read_category(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else None


def _read_datetime(value: Any) -> pd.Timestamp | None:
    """Read ISO text, a timestamp, or milliseconds since 1970 (what pandas' ``to_json`` writes)."""
    try:
        return pd.Timestamp(value, unit="ms") if isinstance(value, int) else pd.Timestamp(value)
    except (ValueError, TypeError, OverflowError):
        return None


_KINDS = {
    "boolean": "boolean",
    "integer": "integer",
    "floating": "number",
    "mixed-integer-float": "number",
    "string": "string",
    "datetime": "datetime",
    "datetime64": "datetime",
}

_READERS = {
    "number": _read_number,
    "integer": _read_integer,
    "boolean": _read_boolean,
    "string": _read_string,
    "category": _read_category,
    "datetime": _read_datetime,
}


def _shown(value: Any) -> str:
    """Show a value in a message, cut to a readable length."""
    if isinstance(value, list | tuple | Mapping | np.ndarray):
        return f"a {'record' if isinstance(value, Mapping) else 'list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"column{'s' if len(names) > 1 else ''} {shown}"
