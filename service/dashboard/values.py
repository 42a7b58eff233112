"""The values of one column for all rows, as charts and filters need them.

Next: :mod:`service.dashboard.store`.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.explanations.files.packed_columns import MISSING, pack_column, unpack_column

MOST_CATEGORIES = 200  # texts with more different values are no categories
NOT_A_TIME = np.iinfo(np.int64).min
KINDS_OF_NUMBERS = {"f": "number", "i": "integer", "u": "integer"}
UNITS_A_MILLISECOND = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}
NUMERIC = ("number", "integer", "date")


@dataclass(frozen=True, eq=False)
class Values:
    """The values of one column.

    Attributes
    ----------
    kind : {"number", "integer", "boolean", "category", "text", "date"}
    stored : ndarray of shape (n_rows,)
        Numbers, NaN where one is missing; dates as milliseconds since 1970; of truth values,
        categories and texts the position in `categories`, below 0 where one is missing.
    categories : list or None
        Plain values; None of numbers and dates.

    Examples
    --------
    >>> values = Values.of(pd.Series(["red", None, "blue"]))
    >>> values.kind, values.stored.tolist(), values.plain([0, 1])
    ('category', [0, -3, 1], ['red', None])
    """

    kind: str
    stored: NDArray[Any]
    categories: list[Any] | None = None

    @classmethod
    def of(cls, column: pd.Series) -> Values:
        """Take the values of a column of pandas'."""
        arrays: dict[str, NDArray[Any]] = {}
        spec = pack_column(column, "0", arrays)
        return cls.of_packed(spec, "0", arrays)

    @classmethod
    def of_packed(
        cls, spec: Mapping[str, Any], prefix: str, arrays: Mapping[str, NDArray[Any]]
    ) -> Values:
        """Take the values of a column that an explanation's file holds."""
        return _READERS[spec["kind"]](spec, prefix, arrays)

    @classmethod
    def of_array(cls, array: NDArray[Any]) -> Values:
        """Take the values of an array of numbers, truth values, texts or times."""
        if array.dtype.kind in KINDS_OF_NUMBERS:
            return cls(KINDS_OF_NUMBERS[array.dtype.kind], array)
        if array.dtype.kind == "b":
            return cls("boolean", array.view(np.int8), [False, True])
        return cls.of(pd.Series(array))

    @property
    def is_numeric(self) -> bool:
        """Whether there is an order and a distance: of numbers and dates."""
        return self.categories is None

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have no value, or none that is finite, shape (n_rows,)."""
        if not self.is_numeric:
            return self.stored < 0
        if self.stored.dtype.kind != "f":
            return np.zeros(len(self.stored), dtype=bool)
        return ~np.isfinite(self.stored)

    @cached_property
    def _codes(self) -> dict[Any, int]:
        """The position of each category, by itself with its type, and by its text."""
        categories = self.categories or []
        codes, texts = range(len(categories)), list(map(str, categories))
        by_text: dict[Any, int] = dict(zip(texts[::-1], codes[::-1], strict=True))
        return by_text | dict(
            zip(zip(map(type, categories), categories, strict=True), codes, strict=True)
        )

    def code_of(self, value: Any) -> int:
        """Return the position of a category.

        Raises
        ------
        KeyError, TypeError
            When there is none of that value, or text.
        """
        known = (type(value), value)
        return self._codes[known if known in self._codes else str(value)]

    def numbers(self, rows: Any = slice(None)) -> NDArray[np.float64]:
        """Return values of some rows as float64, NaN where one is missing."""
        taken = self.stored[rows]
        if self.is_numeric:
            return taken.astype(np.float64, copy=False)
        return np.where(taken < 0, np.nan, taken)

    def plain(self, rows: Any) -> list[Any]:
        """Return values of some rows as JSON has them."""
        return list(map(self.plain_value, self.stored[rows].tolist()))

    def plain_value(self, stored: float) -> Any:
        """Return a stored number as the value that it stands for."""
        if self.categories is not None:
            return None if stored < 0 else self.categories[int(stored)]
        if not math.isfinite(stored):
            return None
        return _iso(stored) if self.kind == "date" else stored

    def order(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return keys that sort some rows, what is missing as NaN."""
        if self.categories is None:
            return self.numbers(rows)
        texts = list(map(str, self.categories))
        ranks = np.argsort(np.argsort(texts, kind="stable"), kind="stable")
        codes = self.stored[rows]
        ranked = np.append(ranks.astype(np.float64), np.nan)  # codes below 0 count from the end
        return ranked[np.where(codes < 0, len(texts), codes)]


def _iso(milliseconds: float) -> str:
    """Write a moment as text; one without hours as a date."""
    moment = np.datetime64(round(milliseconds * 1e3), "us")
    text = str(moment)
    return (
        text.partition("T")[0]
        if text.endswith("T00:00:00.000000")
        else text.rstrip("0").rstrip(".")
    )


def in_words(value: Any, digits: int = 4) -> str:
    """Write a value in words: a number with some digits that count, and all before the point.

    >>> in_words(71190.66), in_words(0.000123456), in_words(True), in_words("red")
    ('71191', '0.0001235', 'true', 'red')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return _write_number(value, digits) if isinstance(value, int | float) else str(value)


def _write_number(value: float, digits: int) -> str:
    size = abs(value)
    n_before = len(str(int(size))) if size < 1e12 else 0  # digits before the point
    short = f"{value:.{max(digits, n_before)}g}"
    most = 1e12 if float(short) == value else 2.0**53  # as far as all whole numbers are told apart
    is_whole = float(value).is_integer()
    return str(int(value)) if is_whole and size <= most else short


def tell_apart(values: Sequence[Any]) -> list[str]:
    """Write values in words with as few digits as let different ones look different.

    >>> tell_apart([0.25, 1e6 + 0.25, 1e6 + 0.5])
    ['0.25', '1000000.2', '1000000.5']
    """
    n_different = len(set(values))

    def write(digits: int) -> list[str]:
        return list(map(partial(in_words, digits=digits), values))

    def is_enough(digits: int) -> bool:
        return len(set(write(digits))) == n_different

    return write(next(filter(is_enough, range(4, 17)), 17))


def respell_date(text: Any) -> Any:
    """Write a moment as the values of a column are written; what is none stays as it is.

    >>> respell_date("2024-03-17T00:00:00"), respell_date("2024-03-17T10:00+02:00")
    ('2024-03-17', '2024-03-17T08:00:00')
    """
    if not isinstance(text, str):
        return text
    moment = pd.to_datetime(text, errors="coerce", utc=True)
    return text if pd.isna(moment) else _iso(moment.timestamp() * 1e3)


def _read_numbers(spec: Any, prefix: str, arrays: Any) -> Values:
    return Values.of_array(arrays[prefix])


def _read_times(spec: Any, prefix: str, arrays: Any) -> Values:
    units = arrays[prefix]
    per_millisecond = UNITS_A_MILLISECOND[spec["unit"]]
    milliseconds = np.where(units == NOT_A_TIME, np.nan, units / per_millisecond)
    if spec["is_span"]:
        return Values("number", milliseconds / 1e3)
    return Values("date", milliseconds)


def _read_masked(spec: Any, prefix: str, arrays: Any) -> Values:
    known, missing = Values.of_array(arrays[prefix]), arrays[f"{prefix}.{MISSING}"]
    if not missing.any():
        return known
    if known.categories is not None:
        return Values("boolean", np.where(missing, np.int8(-1), known.stored), known.categories)
    return Values(known.kind, np.where(missing, np.nan, known.stored))


def _read_categories(spec: Any, prefix: str, arrays: Any) -> Values:
    known = unpack_column(spec["categories"], f"{prefix}.categories", dict(arrays))
    return Values("category", arrays[prefix], list(map(_plain_category, known.tolist())))


def _plain_category(value: Any) -> Any:
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value if isinstance(value, str | int | float) else str(value)


def _read_objects(spec: Any, prefix: str, arrays: Any) -> Values:
    return of_vocabulary(spec["vocabulary"], arrays[prefix])


def of_vocabulary(vocabulary: Sequence[Any], codes: NDArray[Any]) -> Values:
    """Tell what values that are known by their position in a vocabulary are."""
    types = set(map(type, vocabulary))
    if types in ({int}, {float}, {int, float}):
        numbers = np.append(np.asarray(vocabulary, dtype=np.float64), np.nan)
        is_whole = types == {int}
        return Values("integer" if is_whole else "number", numbers[np.maximum(codes, -1)])
    if types == {bool}:
        truth = np.append(np.asarray(vocabulary, dtype=np.int8), np.int8(-1))
        return Values("boolean", truth[np.maximum(codes, -1)], [False, True])
    plain = list(map(_plain_object, vocabulary))
    return Values("category" if len(plain) <= MOST_CATEGORIES else "text", codes, plain)


def _plain_object(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else str(value)


_READERS = {
    "numbers": _read_numbers,
    "times": _read_times,
    "masked": _read_masked,
    "categories": _read_categories,
    "objects": _read_objects,
}
