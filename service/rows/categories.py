"""The categories of a column, and every way in which a client may write one.

A category can be anything that pandas takes for one: an interval of ``pd.cut``, a month, a span of
time. JSON has numbers, text and truth values only, so each kind has one text by which it is written
here, and those by which pandas itself writes it in JSON, CSV and Parquet are read too. Next:
:mod:`service.rows.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property, singledispatch
from typing import Any

import numpy as np
import pandas as pd

from service.errors import expect
from service.rows.values import (
    KINDS,
    OF_TEXT,
    datetime_as_text,
    datetime_dtype,
    read_date,
    read_datetime,
    read_integer,
    read_number,
    read_string,
    shown,
    without_numpy,
)


@singledispatch
def spellings(category: Any) -> list[Hashable]:
    """List the ways in which a category is written, that of this package first.

    Parameters
    ----------
    category : object

    Returns
    -------
    list
        Empty for what has no word in JSON, as bytes and tuples.

    Examples
    --------
    >>> spellings(pd.Period("2024-01", "M")), spellings(b"a")
    (['2024-01'], [])
    >>> spellings(pd.Interval(0, 30))
    ['(0, 30]', (0, 30, None), (0, 30, 'right')]
    """
    return []


@spellings.register
def _(category: str | int | float) -> list[Hashable]:
    return [category]


@spellings.register
def _(category: Decimal | pd.Period) -> list[Hashable]:
    return [str(category)]


@spellings.register
def _(category: datetime) -> list[Hashable]:
    return [datetime_as_text(category)]


@spellings.register
def _(category: date | time) -> list[Hashable]:
    return [category.isoformat()]


@spellings.register
def _(category: timedelta) -> list[Hashable]:
    span = pd.Timedelta(category)
    # Of whole days alone, a CSV of pandas says "31 days". Numbers are refused: pandas writes
    # milliseconds into JSON, and microseconds into Parquet.
    in_days = str(span).removesuffix(" 00:00:00")
    return [span.isoformat(), str(span), in_days]


@spellings.register
def _(category: pd.Interval) -> list[Hashable]:
    bounds = [(category.left, category.right)]
    if isinstance(category.left, pd.Timestamp):
        bounds.append((_milliseconds(category.left), _milliseconds(category.right)))
    of_bounds: list[Hashable] = []
    for left, right in bounds:
        of_bounds += [(left, right, None), (left, right, category.closed)]
    return [str(category), *of_bounds]


def _milliseconds(moment: pd.Timestamp) -> int:
    return int(moment.as_unit("ns").value // 10**6)


@dataclass(frozen=True)
class Vocabulary:
    """The known categories of a column.

    Attributes
    ----------
    categories : tuple
    dtype : object
        Of the categories, as pandas has it.
    kind : str
        The kind of value that all of them are, "" where there is no such kind.

    Examples
    --------
    >>> ages = Vocabulary.of(pd.cut(pd.Series([20, 40]), [0, 30, 50]).dtype)
    >>> ages.read("(0, 30]"), ages.read({"left": 0, "right": 30}), ages.read("young")
    (Interval(0, 30, closed='right'), Interval(0, 30, closed='right'), None)
    """

    categories: tuple[Any, ...]
    dtype: Any
    kind: str

    @classmethod
    def of(cls, dtype: pd.CategoricalDtype) -> Vocabulary:
        """Collect the categories of a dtype.

        Raises
        ------
        ValueError
            When one cannot be written in JSON or CSV, or two are written alike.
        """
        categories = tuple(map(without_numpy, dtype.categories.tolist()))
        kind = KINDS.get(pd.api.types.infer_dtype(list(categories)), "")
        vocabulary = cls(categories, datetime_dtype(dtype.categories.dtype), kind)
        for category in categories:
            vocabulary._check_spelling(category)
        return vocabulary

    def read(self, value: Any) -> Any:
        """Return the category that a value of JSON, CSV, Parquet or pandas means, None if none."""
        as_own = _AS_OWN.get(self.kind, _as_it_is)
        return self._known.get(_key(as_own(value, self.dtype)))

    def read_new(self, value: Any) -> Any:
        """Return a value that could be a category like the known ones, None if it could not."""
        read, _ = _NEW.get(self.kind, _NO_NEW)
        return read(value, self.dtype)

    def make_new(self) -> Sequence[Any]:
        """Return categories that are not known: one that sorts before all, and one behind.

        None where no new one can be read. A library that looks categories up in order may stumble
        over one of the two alone.
        """
        _, make = _NEW.get(self.kind, _NO_NEW)
        return make(self.categories) or ()

    def of_text(self, text: str) -> Any:
        """Return the category of a cell of CSV, or what else the cell may mean to `read`."""
        return self._texts.get(text, OF_TEXT.get(self.kind, str)(text))

    def dtype_with(self, dtype: pd.CategoricalDtype, values: pd.Series) -> Any:
        """Return the dtype of the known categories and of the new ones among some values."""
        is_known = dtype.categories.get_indexer(pd.Index(values)) >= 0
        new = values[~is_known & values.notna()].unique()
        if not len(new):
            return dtype
        return pd.CategoricalDtype(dtype.categories.append(pd.Index(new)), dtype.ordered)

    @cached_property
    def _known(self) -> dict[Hashable, Any]:
        """The category of each spelling, and of itself."""
        known: dict[Hashable, Any] = {}
        for category in self.categories:
            known |= dict.fromkeys(map(_key, [category, *spellings(category)]), category)
        return known

    @cached_property
    def _texts(self) -> dict[str, Any]:
        return {str(category): category for category in self.categories}

    def _check_spelling(self, category: Any) -> None:
        """Refuse a category that would not come back from JSON, or from CSV, as it is."""
        written = write_category(category)
        expect(
            written is not None,
            "expected categories of text, numbers, booleans, dates, times, periods or intervals, "
            f"got {shown(category)}; turn them into text",
            ValueError,
        )
        ways = [category, *spellings(category), self.of_text(str(written))]
        expect(
            all(self.read(way) is category for way in ways),
            f"expected categories that JSON and CSV can tell apart, got {shown(category)} and "
            "another one that is written alike; give all of them one type",
            ValueError,
        )


def write_category(category: Any) -> Any:
    """Write a category as JSON has it, for :meth:`Vocabulary.read`; None where there is no way."""
    return next(iter(spellings(without_numpy(category))), None)


def _key(value: Any) -> Hashable:
    """Return what a value is looked up by: true is not 1 here, and an object may be an interval."""
    if isinstance(value, Mapping):
        return _key((value.get("left"), value.get("right"), value.get("closed")))
    try:
        hash(value)
    except TypeError:
        return None
    return isinstance(value, bool), value


def _as_it_is(value: Any, _: Any) -> Any:
    return value


def _as_boolean(value: Any, _: Any) -> Any:
    return bool(value) if value in (0, 1) else value


def _as_date(value: Any, _: Any) -> Any:
    return read_date(value)


def _in_width(value: Any, dtype: Any) -> Any:
    """Round a number to single precision where the categories are in it."""
    if isinstance(value, float) and isinstance(dtype, np.dtype):
        return dtype.type(value).item()
    return value


_AS_OWN: dict[str, Callable[[Any, Any], Any]] = {
    "boolean": _as_boolean,
    "date": _as_date,
    "datetime": read_datetime,
    "number": _in_width,
}


def _read_text(value: Any, _: Any) -> str | None:
    return read_string(value)


def _read_number(value: Any, _: Any) -> float | None:
    return read_number(value)


def _read_integer(value: Any, _: Any) -> int | None:
    number = read_integer(value)
    return None if number is None else int(number)


def _make_texts(categories: tuple[str, ...]) -> Sequence[str]:
    return f"!other than {max(categories, key=len)}", f"{max(categories)} or other"


def _make_numbers(categories: tuple[float, ...]) -> Sequence[float]:
    return min(categories) - 1, max(categories) + 1


def _make_moments(categories: tuple[pd.Timestamp, ...]) -> Sequence[pd.Timestamp]:
    day = pd.Timedelta(days=1)
    return min(categories) - day, max(categories) + day


def _nothing(*_: Any) -> None:
    """Make and read nothing: there is no telling what another interval or truth value would be."""


# By the kind of the categories: what reads one that is not known, and what makes two up.
_New = tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]
_NO_NEW: _New = (_nothing, _nothing)
_NEW: dict[str, _New] = {
    "string": (_read_text, _make_texts),
    "integer": (_read_integer, _make_numbers),
    "number": (_read_number, _make_numbers),
    "datetime": (read_datetime, _make_moments),
}
