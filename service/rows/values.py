"""One value of a row: what is read of it, by the kind of its column.

Nothing is guessed and nothing is rounded: "02139" stays text, 30.7 never becomes 30, "10/11/2024"
is no date. The readers answer None for a value that does not fit; :mod:`service.rows.columns`
refuses it with its place. Next: :mod:`service.rows.categories`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import MAXYEAR, MINYEAR, date, datetime, tzinfo
from decimal import Decimal
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd

from service.errors import expect

LARGEST_EXACT_INTEGER = 2**53
# Seconds until the year 2286 are fewer; as milliseconds they would be days of spring 1970.
FEWEST_MILLISECONDS = 10**10
# As JSON texts and as CSV files of NumPy's and pandas' have them.
INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf, "inf": math.inf, "-inf": -math.inf}


MISSING_MARKS: dict[str, Any] = {"None": None, "NA": pd.NA, "NaT": pd.NaT, "NaN": np.nan}
_NAME_OF_MARK = {id(mark): name for name, mark in MISSING_MARKS.items()}  # there is one of each


class EmptyText(str):
    """An empty cell of CSV in quotes.

    Attributes
    ----------
    is_certain : bool
        False where all cells of its row have quotes, as some writers give missing ones too.
    """

    is_certain: bool

    def __new__(cls, is_certain: bool) -> EmptyText:
        """Make one."""
        empty = super().__new__(cls)
        empty.is_certain = is_certain
        return empty


@singledispatch
def shown(value: Any) -> str:
    """Show a value in a message, cut to a readable length.

    Examples
    --------
    >>> shown("much"), shown([1, 2, 3]), shown({"a": 1})
    ("'much'", 'a list of 3', 'a record of 1')
    """
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


@shown.register(Mapping)
def _(value: Mapping[Any, Any]) -> str:
    return f"a record of {len(value)}"


@shown.register(list)
@shown.register(tuple)
@shown.register(np.ndarray)
def _(value: Any) -> str:
    return f"a list of {len(value)}"


def is_list_of(values: Any, *types: type) -> bool:
    """Tell whether something is a list of nothing but values of some types.

    >>> is_list_of(["age", "zip"], str), is_list_of(["age", 2], str), is_list_of("age", str)
    (True, False, False)
    """
    return isinstance(values, list) and all(isinstance(value, types) for value in values)


def list_names(option: str, names: Any) -> list[Any] | None:
    """Return names that were given as an option as a list; a bare text is no list of letters.

    None stays None.

    Raises
    ------
    ValueError
        When they are a text, a mapping, or no collection.

    Examples
    --------
    >>> list_names("features", ("age", "zip"))
    ['age', 'zip']
    """
    if names is None:
        return None
    is_list = isinstance(names, Iterable) and not isinstance(names, str | bytes | Mapping)
    expect(is_list, f"{option}: expected a list of names, got {shown(names)}.", ValueError)
    return list(names)


def repeated(names: Iterable[str]) -> list[str]:
    """List the names that come more than once, each once.

    >>> repeated(["age", "zip", "age"])
    ['age']
    """
    counts = Counter(names)
    return list(counts - Counter(list(counts)))


def is_missing(value: Any) -> bool:
    """Tell whether a value is None, NaN, or one of pandas' own for what is missing."""
    if isinstance(value, float):
        return math.isnan(value)
    return id(value) in _NAME_OF_MARK


def mark_of(value: Any) -> str:
    """Name what marks a missing value.

    Examples
    --------
    >>> mark_of(None), mark_of(float("nan"))
    ('None', 'NaN')
    """
    return _NAME_OF_MARK.get(id(value), "NaN")


def without_numpy(value: Any) -> Any:
    """Return a Python value; a numpy date as a Timestamp, since its own item can be an integer."""
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    return value.item() if isinstance(value, np.generic) else value


def read_number(value: Any) -> float | None:
    """Read a finite number; true is none, and neither is text."""
    number = _as_float(value)
    return number if number is not None and math.isfinite(number) else None


def read_number_or_infinity(value: Any) -> float | None:
    """Read a number or an infinity, for which JSON has no number but the text "Infinity".

    >>> read_number_or_infinity("-Infinity"), read_number_or_infinity("2")
    (-inf, None)
    """
    return INFINITIES.get(value) if isinstance(value, str) else _as_float(value)


@singledispatch
def _as_float(value: Any) -> float | None:
    """Return a number as a float, one beyond all floats as an infinity; None for what is none."""
    return None


@_as_float.register
def _(_: bool) -> None:
    """Read no number, though a truth value is an integer to Python."""


@_as_float.register
def _(value: float | Decimal) -> float:
    return float(value)


@_as_float.register
def _(value: int) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return float(Decimal(value))


def write_number(value: float) -> float | str:
    """Write a number as JSON has it, an infinity as text.

    >>> write_number(2.5), write_number(-math.inf)
    (2.5, '-Infinity')
    """
    number = float(value)
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(number, number)


def read_integer(value: Any) -> float | None:
    """Read a whole number; one that float64 cannot hold exactly is refused, not rounded.

    The float 2^53 may have been 2^53 + 1 where it was written.

    >>> read_integer(60.0), read_integer(2**53), read_integer(2.0**53)
    (60.0, 9007199254740992.0, None)
    """
    number = read_number(value)
    largest = LARGEST_EXACT_INTEGER - isinstance(value, float)
    is_exact = number is not None and abs(value) <= largest and value % 1 == 0
    return number if is_exact else None


def read_boolean(value: Any) -> float | None:
    """Read a truth value, or 0 or 1."""
    return float(value) if value in (0, 1) else None


def read_string(value: Any) -> str | None:
    """Read text that can be written as UTF-8; JSON can also spell halves of characters."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def read_date(value: Any) -> date | None:
    """Read a date without a time: ISO 8601 text, or the milliseconds since 1970 of its midnight."""
    read = read_datetime(value, np.dtype(object))
    return read.date() if read is not None and read == read.normalize() else None


def read_datetime(value: Any, dtype: Any) -> pd.Timestamp | None:
    """Read a date and time for a column of a dtype.

    It is ISO 8601 text, a date, or milliseconds since 1970, which pandas' ``to_json`` writes; what
    may be seconds instead is refused, so that 1704448800 is not a day of January 1970. Text
    and dates must have a time zone where the column has one, and none where it has none. What the
    column's resolution cannot hold is refused, not rounded, and so is a year that ISO 8601 text
    cannot.
    """
    zone = getattr(dtype, "tz", None)
    try:
        local = _in_zone(_timestamp(value, zone), zone)
        _check_years(local)
        return _in_resolution(local, dtype)
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        return None  # the last is pandas' word for a local time beyond the years of ISO 8601


def datetime_dtype(dtype: Any) -> Any:
    """Return the dtype of pandas' own that holds the dates of one of Arrow's; others stay.

    Examples
    --------
    >>> import pyarrow
    >>> datetime_dtype(pd.ArrowDtype(pyarrow.timestamp("us", "UTC")))
    datetime64[us, UTC]
    """
    of_arrow: Any = getattr(dtype, "pyarrow_dtype", None)
    return of_arrow.to_pandas_dtype() if hasattr(of_arrow, "tz") else dtype


def datetime_as_text(value: Any) -> str:
    """Write a date and time as ISO 8601, which :func:`read_datetime` reads back.

    Offsets of ISO 8601 are whole minutes. Local times before there were time zones have others:
    those are written in UTC.

    Examples
    --------
    >>> datetime_as_text(pd.Timestamp("2024-01-05T10:00", tz="Europe/Berlin"))
    '2024-01-05T10:00:00+01:00'
    >>> datetime_as_text(pd.Timestamp("1890-01-05T10:00", tz="Europe/Berlin"))
    '1890-01-05T09:06:32+00:00'
    """
    written = pd.Timestamp(value)
    offset = written.utcoffset()
    if offset is not None and offset.total_seconds() % 60:
        written = written.tz_convert("UTC")
    return written.isoformat()


@singledispatch
def _timestamp(value: Any, _: tzinfo | None) -> pd.Timestamp:
    """Read what can be a date and time."""
    raise TypeError(value)


@_timestamp.register
def _(value: bool, _: tzinfo | None) -> pd.Timestamp:
    raise TypeError(value)


@_timestamp.register
def _(value: int, zone: tzinfo | None) -> pd.Timestamp:
    may_be_seconds = 0 < abs(value) < FEWEST_MILLISECONDS
    expect(not may_be_seconds, "expected milliseconds.", ValueError)
    return pd.Timestamp(value, unit="ms", tz=zone)


@_timestamp.register
def _(value: date, _: tzinfo | None) -> pd.Timestamp:
    return pd.Timestamp(value)


@_timestamp.register
def _(value: str, _: tzinfo | None) -> pd.Timestamp:
    datetime.fromisoformat(value)  # pandas alone also reads "now", "12:00" and "10/11/2024"
    return pd.Timestamp(value)


def _in_zone(read: pd.Timestamp, zone: tzinfo | None) -> pd.Timestamp:
    """Turn a time into that of a zone; both have one, or none."""
    if zone is not None:
        return read.tz_convert(zone)  # which refuses a time without a zone
    expect(read.tzinfo is None, "expected no time zone.", ValueError)
    return read


def _check_years(local: pd.Timestamp) -> None:
    """Refuse a year that ISO 8601 text cannot have, here or in UTC."""
    universal = local if local.tzinfo is None else local.tz_convert("UTC")
    years = (local.year, universal.year)
    can_be_written = min(years) >= MINYEAR and max(years) <= MAXYEAR
    expect(can_be_written, "expected years of four digits.", ValueError)


def _in_resolution(read: pd.Timestamp, dtype: Any) -> pd.Timestamp:
    if dtype == np.dtype(object):
        return read
    unit: Any = dtype.unit if hasattr(dtype, "unit") else np.datetime_data(dtype)[0]
    return read.as_unit(unit, round_ok=False)


def number_of_text(text: str) -> Any:
    """Read a cell of CSV as the number that JSON would have; a blank one is missing.

    Spaces around it and zeros before it lose nothing. What is no number stays text, which the
    column refuses: so do "1,000" and "1_000", and the digits of other scripts.

    >>> number_of_text(" 060.0"), number_of_text("1,000"), number_of_text(" ")
    (60.0, '1,000', None)
    """
    if not text.isascii() or "_" in text:
        return text
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text if text.strip() else None


def boolean_of_text(text: str) -> Any:
    """Read a cell of CSV as true or false, or as the number that it is; a blank one is missing.

    >>> boolean_of_text("TRUE"), boolean_of_text("1.0"), boolean_of_text("yes")
    (True, 1.0, 'yes')
    """
    word = text.strip().lower()
    return _BOOLEANS[word] if word in _BOOLEANS else number_of_text(text)


def moment_of_text(text: str) -> Any:
    """Read a cell of CSV as ISO 8601 text, or as milliseconds since 1970; a blank one is missing.

    Eight digits are a date in ISO 8601, not milliseconds.

    >>> moment_of_text("20240105"), moment_of_text("1704448800000")
    ('20240105', 1704448800000)
    """
    moment = text.strip()
    return int(moment) if _MILLISECONDS.fullmatch(moment) else moment or None


def _bounds(info: Any) -> tuple[float, float]:
    return float(info.min), float(info.max)


# The kind of a column, by what pandas infers from its values.
KINDS = {
    "boolean": "boolean",
    "integer": "integer",
    "floating": "number",
    "mixed-integer-float": "number",
    "string": "string",
    "date": "date",
    "datetime": "datetime",
    "datetime64": "datetime",
}

# What a cell of CSV would be in JSON.
OF_TEXT: dict[str, Callable[[str], Any]] = {
    "number": number_of_text,
    "integer": number_of_text,
    "boolean": boolean_of_text,
    "date": moment_of_text,
    "datetime": moment_of_text,
}
_BOOLEANS = {"true": True, "false": False}
_MILLISECONDS = re.compile("(?!.{8}$)-?[0-9]{1,18}")  # eight digits are 20240105

# The numbers that a dtype can hold, for what is not refused already: beyond float64, or 2^53 for
# integers.
_INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64")
RANGES = {width: _bounds(np.iinfo(width)) for width in _INTEGERS}
RANGES |= {width: _bounds(np.finfo(width)) for width in ("float16", "float32", "float64")}
NARROW = frozenset(RANGES) - {"float64"}
