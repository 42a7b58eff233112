"""The kinds of columns: what each reads, writes and expects, one class a kind.

Next: :mod:`service.rows.columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.rows.categories import Vocabulary, write_category
from service.rows.values import (
    LARGEST_EXACT_INTEGER,
    NARROW,
    OF_TEXT,
    RANGES,
    datetime_as_text,
    datetime_dtype,
    read_boolean,
    read_date,
    read_datetime,
    read_integer,
    read_number,
    read_number_or_infinity,
    read_string,
    shown,
    without_numpy,
    write_number,
)

# Types of less than double precision, by the names of NumPy, pandas and Arrow.
SINGLE = {
    "float16": np.float16,
    "halffloat": np.float16,
    "float32": np.float32,
    "float": np.float32,
}
MOST_REPEATED = 256  # texts that are taken for categories


@dataclass(frozen=True)
class Kind:
    """What a column does with its values; each kind of column says what it does otherwise.

    Attributes
    ----------
    dtype : object
        The dtype that the model was fitted with.
    width : str
        That dtype as NumPy names it.
    takes_new : bool
    takes_infinity : bool
        As in :class:`service.rows.columns.Column`.
    """

    dtype: Any
    width: str
    takes_new: bool
    takes_infinity: bool

    name: ClassVar[str]
    words: ClassVar[str] = ""
    """What is expected, in a message."""
    matrix_dtype: ClassVar[type] = object
    """The dtype of the values in the matrix."""

    def reader(self) -> Callable[[Any], Any]:
        """Return what reads one value; it answers None for one that does not fit."""
        raise NotImplementedError

    @property
    def expected(self) -> str:
        """What is expected of a value, in words."""
        return self.words

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The known categories, None in other columns."""
        return None

    @property
    def value_kind(self) -> str:
        """The name of the kind that the values have themselves, "" for none."""
        return self.name

    @property
    def categories(self) -> list[Any] | None:
        """The known categories as JSON has them, None in other columns."""
        return None

    @property
    def takes_any_number(self) -> bool:
        """True when every finite number fits."""
        return False

    @property
    def takes_text(self) -> bool:
        """True when any text fits."""
        return False

    @property
    def takes_empty_text(self) -> bool:
        """True when "" is a value, as missing ones are not."""
        return self.takes_text

    @property
    def widens(self) -> bool:
        """True when whole numbers or truth values become floats beside a missing one, in pandas."""
        return isinstance(self.dtype, np.dtype) and self.dtype.kind in "iub"

    def of_text(self, text: str) -> Any:
        """Turn a cell of CSV into the value that JSON would have."""
        return OF_TEXT.get(self.name, str)(text)

    def plain(self, value: Any) -> Any:
        """Write a read value as JSON has it."""
        return without_numpy(value)

    def as_object(self, value: Any) -> Any:
        """Return what a value of the matrix was in a column of objects."""
        return without_numpy(value)

    def came(self, value: Any) -> str:
        """Say what came instead of what was expected."""
        return shown(value)

    def outside(self, read: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which read values the dtype cannot hold."""
        return np.zeros(len(read), dtype=bool)

    def rounded(self, read: NDArray[Any]) -> NDArray[Any]:
        """Round read values to the precision of the dtype: encoders know those of the examples."""
        return read

    def dtype_for(self, values: pd.Series) -> Any:
        """Return the dtype that the model was fitted with, or else one that holds the values."""
        is_widened = self.widens and values.isna().any()
        return np.float64 if is_widened else self.dtype

    def has_infinity(self, known: pd.Series) -> bool:
        """Tell whether there is an infinity among values of which none is missing."""
        return False

    @property
    def known_beside_new(self) -> Sequence[Any]:
        """The known categories where new ones are taken."""
        return ()

    def repeated_texts(self, known: pd.Series) -> tuple[str, ...]:
        """Return the texts of a column that repeats a few, none of all others."""
        return ()

    def make_new_categories(self) -> Sequence[Any]:
        """Return categories that the examples do not know; none where there can be none."""
        return ()


class Ranged(Kind):
    """Numbers, of which a narrow dtype holds some only."""

    matrix_dtype = np.float64

    @property
    def expected(self) -> str:
        """What is expected of a value, and between which bounds."""
        infinite = ', "Infinity", "-Infinity"' if self.takes_infinity else ""
        if self.width not in NARROW:
            return f"{self.words}{infinite}"
        smallest, largest = RANGES[self.width]
        return f"{self.words}{infinite} from {smallest:g} to {largest:g}"

    def outside(self, read: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which numbers are too large or too small; infinities are, where none are taken."""
        smallest, largest = RANGES.get(self.width, RANGES["float64"])
        outside = (read < smallest) | (read > largest)
        return outside & np.isfinite(read) if self.takes_infinity else outside


class Numbers(Ranged):
    """Floats."""

    name = "number"
    words = "a number"

    def reader(self) -> Callable[[Any], Any]:
        """Return what reads a number, and an infinity where the examples had one."""
        return read_number_or_infinity if self.takes_infinity else read_number

    @property
    def takes_any_number(self) -> bool:
        """True unless the dtype holds some only."""
        return self.width not in NARROW

    def has_infinity(self, known: pd.Series) -> bool:
        """Tell whether one of the numbers is infinite."""
        return bool(np.isinf(known.to_numpy(dtype=np.float64)).any())

    def plain(self, value: Any) -> float | str:
        """Write a number, an infinity as text."""
        return write_number(value)

    def rounded(self, read: NDArray[Any]) -> NDArray[Any]:
        """Round to single precision where the column has it."""
        precision = SINGLE.get(self.width, np.float64)
        return read.astype(precision, copy=False).astype(np.float64, copy=False)


class Integers(Ranged):
    """Whole numbers, as far as floats hold them exactly."""

    name = "integer"
    words = "an integer"

    def reader(self) -> Callable[[Any], float | None]:
        """Return what reads a whole number."""
        return read_integer

    def plain(self, value: Any) -> int:
        """Write a whole number without a point."""
        return int(value)

    def as_object(self, value: Any) -> int:
        """Return a whole number."""
        return int(value)

    def came(self, value: Any) -> str:
        """Say that an integer is too large, and what to do, where it is."""
        is_too_large = isinstance(value, int) and abs(value) > LARGEST_EXACT_INTEGER
        if not is_too_large:
            return shown(value)
        return (
            f"{shown(value)}, which is beyond 2^53 and would be rounded; turn such numbers into "
            "text"
        )


class Booleans(Kind):
    """Truth values."""

    name = "boolean"
    words = "true or false"
    matrix_dtype = np.float64

    def reader(self) -> Callable[[Any], float | None]:
        """Return what reads a truth value."""
        return read_boolean

    def plain(self, value: Any) -> bool:
        """Write a truth value."""
        return bool(value)

    def as_object(self, value: Any) -> bool:
        """Return a truth value."""
        return bool(value)


class Texts(Kind):
    """Text of any kind."""

    name = "string"
    words = "a string"

    def reader(self) -> Callable[[Any], str | None]:
        """Return what reads text."""
        return read_string

    @property
    def takes_text(self) -> bool:
        """True."""
        return True

    def repeated_texts(self, known: pd.Series) -> tuple[str, ...]:
        """Return the texts where they repeat a few, nothing where the next may be another."""
        different = known.unique()
        is_repeated = len(different) <= min(MOST_REPEATED, len(known) // 2)
        return tuple(sorted(map(str, different))) if is_repeated else ()


class Dates(Kind):
    """Dates without a time."""

    name = "date"
    words = "a date as ISO 8601 text"

    def reader(self) -> Callable[[Any], date | None]:
        """Return what reads a date."""
        return read_date

    def plain(self, value: Any) -> str:
        """Write a date as ISO 8601."""
        return date.isoformat(value)


class Moments(Kind):
    """Dates with a time; all with a time zone, or none."""

    name = "datetime"

    @property
    def expected(self) -> str:
        """What is expected of a value, with its time zone."""
        zone = getattr(datetime_dtype(self.dtype), "tz", None)
        with_or_without = "without" if zone is None else "with"
        return (
            f"a date and time {with_or_without} a time zone, as ISO 8601 text or milliseconds "
            "(not seconds) since 1970"
        )

    def reader(self) -> Callable[[Any], pd.Timestamp | None]:
        """Return what reads a date and time in the resolution of the column."""
        return partial(read_datetime, dtype=datetime_dtype(self.dtype))

    def plain(self, value: Any) -> str:
        """Write a date and time as ISO 8601."""
        return datetime_as_text(value)


class Categories(Kind):
    """Values of a known list, and new ones like them where the model takes them."""

    name = "category"

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The known categories."""
        return Vocabulary.of(self.dtype)

    @property
    def expected(self) -> str:
        """The first of the known categories."""
        known = map(shown, map(write_category, self.vocabulary.categories[:10]))
        or_new = " or a new one like them" if self.takes_new else ""
        return f"one of {', '.join(known)}{or_new}"

    @property
    def categories(self) -> list[Any]:
        """The known categories as JSON has them."""
        return list(map(write_category, self.vocabulary.categories))

    @property
    def value_kind(self) -> str:
        """The name of the kind of the categories, "" where they have none."""
        return self.vocabulary.kind

    @property
    def takes_text(self) -> bool:
        """True when the categories are text, and new ones are taken."""
        return self.takes_new and self.value_kind == "string"

    @property
    def takes_empty_text(self) -> bool:
        """True when "" is a category, or may be a new one."""
        return self.takes_text or self.vocabulary.read("") is not None

    def reader(self) -> Callable[[Any], Any]:
        """Return what reads a category, and a new one where the model takes it."""
        return self._read_any if self.takes_new else self.vocabulary.read

    def _read_any(self, value: Any) -> Any:
        category = self.vocabulary.read(value)
        return self.vocabulary.read_new(value) if category is None else category

    def of_text(self, text: str) -> Any:
        """Return the category that is written so, or what else the cell may mean."""
        return self.vocabulary.of_text(text)

    def plain(self, value: Any) -> Any:
        """Write a category as JSON has it."""
        return write_category(value)

    def dtype_for(self, values: pd.Series) -> Any:
        """Return the dtype of the known categories, and of the new ones among the values."""
        return self.vocabulary.dtype_with(self.dtype, values) if self.takes_new else self.dtype

    @property
    def known_beside_new(self) -> Sequence[Any]:
        """The known categories where new ones are taken."""
        return self.vocabulary.categories if self.takes_new else ()

    def make_new_categories(self) -> Sequence[Any]:
        """Return categories that are not known."""
        return self.vocabulary.make_new()


_KINDS: tuple[type[Kind], ...] = (Numbers, Integers, Booleans, Texts, Dates, Moments, Categories)
KIND_NAMED = {kind.name: kind for kind in _KINDS}
