"""One column of the rows: what it holds, and the check of every value in it.

Nothing is guessed and nothing is rounded: "02139" stays text, 30.7 never becomes 30, "10/11/2024"
is no date, and a value that does not fit is refused with its column and row. Next:
:mod:`service.rows.schema`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, date, datetime, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.errors import PayloadError

if (
    TYPE_CHECKING
):  # pandas is imported where it is needed, so that scoring of plain rows never loads it
    import pandas as pd

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
    ordered : bool
        True when those are ordered from the lowest to the highest.
    """

    name: str
    kind: str
    dtype: str
    nullable: bool = False
    categories: tuple[Any, ...] | None = None
    ordered: bool = False

    @classmethod
    def of(cls, values: pd.Series, name: str) -> Column:
        """Record a column of the examples."""
        import pandas as pd

        nullable = bool(values.isna().any())
        if isinstance(values.dtype, pd.CategoricalDtype):
            categories = tuple(values.cat.categories.tolist())
            return cls(
                name, "category", "category", nullable, categories, bool(values.dtype.ordered)
            )
        return cls(name, _kind(values), str(values.dtype), nullable)

    def read(self, values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
        """Check the values of this column and return them as float64 (numbers) or object, missing
        ones as NaN.

        Raises
        ------
        PayloadError
            Naming the column, the row, what was expected and what came.
        """
        if isinstance(values, np.ndarray) and values.dtype.kind == "f" and self.kind == "number":
            read = values.astype(np.float64)  # the common case, without a look at each value
        else:
            read = np.array(self._read_each(values), dtype=self.matrix_dtype)
        if self.kind in _RANGED and (outside := self._is_outside(read)).any():
            row = int(outside.argmax())
            raise self._refusal(row, shown(_RANGED[self.kind](read[row])))
        missing = read != read
        if not self.nullable and missing.any():
            raise self._refusal(
                int(missing.argmax()), "a missing value, and the examples had none in this column"
            )
        return read

    def for_model(self, values: pd.Series) -> pd.Series:
        """Give read values the type that the model was fitted with."""
        if self.dtype == "object" and self.kind in _OBJECTS:
            objects = [
                value if _is_missing(value) else _OBJECTS[self.kind](value) for value in values
            ]
            return type(values)(objects, index=values.index, dtype=object)
        return values.astype(self.pandas_dtype)

    def of_text(self, text: str) -> Any:
        """Turn a cell of a CSV file into the value that JSON would have; an empty one is missing.

        What does not fit stays text, which :meth:`read` refuses with its place.
        """
        if text == "":
            return None
        if self.kind == "category":
            return next((value for value in self.categories or () if str(value) == text), text)
        if self.kind == "boolean":
            return {"true": True, "false": False, "1": True, "0": False}.get(
                text.strip().lower(), text
            )
        if self.kind not in ("number", "integer") or not text.isascii() or "_" in text:
            return text  # int() and float() would read "1_000" and Arabic digits
        try:
            return int(text) if self.kind == "integer" else float(text)
        except ValueError:
            return text

    def plain(self, value: Any) -> Any:
        """Write a read value as JSON has it: what :meth:`read` takes back, None for a missing
        one.
        """
        if _is_missing(value):
            return None
        if self.kind == "datetime":
            import pandas as pd

            return pd.Timestamp(value).isoformat()
        return _PLAIN.get(self.kind, _without_numpy)(value)

    @property
    def takes_any_number(self) -> bool:
        """True when every finite number fits."""
        return self.kind == "number" and self._width not in _NARROW

    @property
    def matrix_dtype(self) -> type:
        """The dtype of this column by itself."""
        return np.float64 if self.kind in NUMERIC_KINDS else object

    @property
    def pandas_dtype(self) -> Any:
        """The dtype that a DataFrame for the model has here."""
        import pandas as pd

        if self.kind == "category":
            return pd.CategoricalDtype(list(self.categories or ()), self.ordered)
        return pd.api.types.pandas_dtype(self.dtype)

    def _read_each(self, values: Sequence[Any] | NDArray[Any]) -> list[Any]:
        read_one = self._reader
        read = [
            np.nan if _is_missing(value) else read_one(value)
            for value in map(_without_numpy, values)
        ]
        refused = next((row for row, value in enumerate(read) if value is None), None)
        if refused is not None:
            raise self._refusal(refused, shown(_without_numpy(values[refused])))
        return read

    @property
    def _reader(self) -> Callable[[Any], Any]:
        """What reads one value; it answers None for one that does not fit."""
        if self.kind == "category":
            return partial(_read_category, categories=self.categories or ())
        if self.kind == "datetime":
            return partial(_read_datetime, dtype=self.pandas_dtype)
        return _READERS[self.kind]

    def _is_outside(self, read: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which numbers the model's dtype cannot hold; infinities are among them, missing
        values are not.
        """
        smallest, largest = _RANGES.get(self._width, _RANGES["float64"])
        return (read < smallest) | (read > largest)

    @property
    def _width(self) -> str:
        """The dtype's name as NumPy has it, of pandas' own "Int8" and of Arrow's "int8[pyarrow]"
        too.
        """
        return self.dtype.lower().removesuffix("[pyarrow]")

    def _refusal(self, row: int, came: str) -> PayloadError:
        return PayloadError(
            f"Column {self.name!r}, row {row}: expected {self._expected}, got {came}."
        )

    @property
    def _expected(self) -> str:
        if self.kind == "category":
            return f"one of {', '.join(map(shown, (self.categories or ())[:10]))}"
        if self.kind == "datetime":
            zone = "with" if getattr(self.pandas_dtype, "tz", None) else "without"
            return (
                f"a date and time {zone} a time zone, as ISO 8601 text or milliseconds since 1970"
            )
        if self.kind in _RANGED and self._width in _NARROW:
            smallest, largest = _RANGES[self._width]
            return f"{_EXPECTED[self.kind]} from {smallest:g} to {largest:g}"
        return _EXPECTED[self.kind]


def _kind(values: pd.Series) -> str:
    """Name the kind of a column by its values, so that an object column of numbers counts as
    numbers.
    """
    import pandas as pd

    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred == "empty":
        raise ValueError(
            f"initialization_examples: column {values.name!r}: expected values, got only missing ones; leave the "
            "column out, or give it the dtype of its values."
        )
    if inferred not in _KINDS:
        raise ValueError(
            f"initialization_examples: column {values.name!r}: expected numbers, booleans, strings, dates or "
            f"categories, got {inferred} values."
        )
    return _KINDS[inferred]


def _without_numpy(value: Any) -> Any:
    """Return a Python value; a numpy date as a Timestamp, since its own ``item`` can be a bare
    integer.
    """
    if isinstance(value, np.datetime64):
        import pandas as pd

        return pd.Timestamp(value)
    return value.item() if isinstance(value, np.generic) else value


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")  # pandas' own
    )


def _read_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return number if math.isfinite(number) else None


def _read_integer(value: Any) -> float | None:
    """Read a whole number; one that float64 cannot hold exactly is refused, not rounded."""
    number = _read_number(value)
    is_exact = (
        number is not None
        and number.is_integer()
        and number == value
        and abs(number) <= LARGEST_EXACT_INTEGER
    )
    return number if is_exact else None


def _read_boolean(value: Any) -> float | None:
    return float(value) if isinstance(value, bool) or value in (0, 1) else None


def _read_string(value: Any) -> str | None:
    return value if isinstance(value, str) and _is_unicode(value) else None


def _is_unicode(text: str) -> bool:
    """Tell whether text can be written as UTF-8; JSON can also spell halves of characters, which
    cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_category(value: Any, categories: Sequence[Any]) -> Any:
    """Return the category that equals a value; true is not 1 here."""
    is_flag = isinstance(value, bool)
    return next(
        (known for known in categories if known == value and isinstance(known, bool) == is_flag),
        None,
    )


def _read_datetime(value: Any, dtype: Any) -> pd.Timestamp | None:
    """Read ISO 8601 text, a date, or milliseconds since 1970 (what pandas' ``to_json`` writes), for
    a column's dtype.

    Text and dates must have a time zone where the column has one, and none where it has none. What
    the column's resolution cannot hold is refused, not rounded, and so is a year that ISO 8601 text
    cannot.
    """
    zone = getattr(dtype, "tz", None)
    try:
        read = _timestamp(value, zone)
        if read is None or (read.tzinfo is None) != (zone is None):
            return None
        local = read if zone is None else read.tz_convert(zone)
        return _in_resolution(local, dtype) if MINYEAR <= local.year <= MAXYEAR else None
    except (ValueError, TypeError, OverflowError):
        return None


def _timestamp(value: Any, zone: tzinfo | None) -> pd.Timestamp | None:
    import pandas as pd

    if isinstance(value, int) and not isinstance(value, bool):
        return pd.Timestamp(value, unit="ms", tz=None if zone is None else "UTC")
    if isinstance(value, str):
        datetime.fromisoformat(
            value
        )  # pandas alone would also read "now", "12:00" and "10/11/2024"
    return pd.Timestamp(value) if isinstance(value, str | date) else None


def _in_resolution(read: pd.Timestamp, dtype: Any) -> pd.Timestamp:
    if dtype == np.dtype(object):
        return read
    unit: Any = dtype.unit if hasattr(dtype, "unit") else np.datetime_data(dtype)[0]
    return read.as_unit(unit, round_ok=False)


_KINDS = {
    "boolean": "boolean",
    "integer": "integer",
    "floating": "number",
    "mixed-integer-float": "number",
    "string": "string",
    "datetime": "datetime",
    "datetime64": "datetime",
}

_EXPECTED = {
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "string": "a string",
}

_READERS = {
    "number": _read_number,
    "integer": _read_integer,
    "boolean": _read_boolean,
    "string": _read_string,
}

_PLAIN: dict[str, Callable[[Any], Any]] = {"number": float, "boolean": bool, "integer": int}

_RANGED: dict[str, Callable[[Any], Any]] = {"number": float, "integer": int}

# The numbers that a dtype can hold, for what is not refused already: beyond float64, or 2^53 for
# integers.
_NARROW = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", "float16", "float32")
_RANGES: dict[str, tuple[float, float]] = {
    name: (float(info.min), float(info.max))
    for name in (*_NARROW, "float64")
    for info in [np.finfo(name) if name.startswith("float") else np.iinfo(name)]
}

# What numbers of the matrix were in a column of dtype object.
_OBJECTS: dict[str, Callable[[Any], Any]] = {"boolean": bool, "integer": int}


def is_frame(rows: Any) -> bool:
    """Tell whether rows are a DataFrame; whoever brings one has imported pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(rows, pandas.DataFrame)


def shown(value: Any) -> str:
    """Show a value in a message, cut to a readable length."""
    if isinstance(value, list | tuple | Mapping | np.ndarray):
        return f"a {'record' if isinstance(value, Mapping) else 'list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
