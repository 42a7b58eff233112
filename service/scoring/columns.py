"""One column of the rows: what it holds, and the check of every value in it.

Nothing is guessed and nothing is rounded: "02139" stays text, 30.7 never becomes 30, and a value that does not fit is
refused with its column and row. Next: :mod:`service.scoring.schema`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
            raise self._refusal(row, shown(value))
        return read

    def _refusal(self, row: int, came: str) -> PayloadError:
        expected = {"number": "a number", "integer": "an integer", "boolean": "true or false", "string": "a string"}
        one_of = f"one of {', '.join(map(shown, (self.categories or ())[:10]))}"
        what = expected.get(self.kind, "a date and time" if self.kind == "datetime" else one_of)
        return PayloadError(f"Column {self.name!r}, row {row}: expected {what}, got {came}.")


def _kind(values: pd.Series) -> str:
    """Name the kind of a column by its values, so that an object column of numbers counts as numbers."""
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred not in _KINDS:
        raise ValueError(
            f"initialization_examples: column {values.name!r}: expected numbers, booleans, strings, dates or "
            f"categories, got {inferred} values."
        )
    return _KINDS[inferred]


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


def shown(value: Any) -> str:
    """Show a value in a message, cut to a readable length."""
    if isinstance(value, list | tuple | Mapping | np.ndarray):
        return f"a {'record' if isinstance(value, Mapping) else 'list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
