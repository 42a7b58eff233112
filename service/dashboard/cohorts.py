"""Cohorts: which rows fit some filters.

Next: :mod:`service.dashboard.saved_cohorts`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.columns import Columns
from service.dashboard.questions import Question
from service.dashboard.values import Values

MOST_COHORTS = 10
MOST_FILTERS = 100
DEEPEST = 4
MASKS_KEPT = 16
A_DATE = "a date, as 2024-05-01 or 2024-05-01T12:30"
LAST_YEAR = 290_000  # of which microseconds can be counted
Mask = NDArray[np.bool_]
Test = Callable[[Values, Question], Mask]


@dataclass(frozen=True, eq=False)
class Cohort:
    """The rows of a cohort.

    Attributes
    ----------
    name : str
    mask : ndarray of bool, shape (n_rows,)
    """

    name: str
    mask: Mask

    @cached_property
    def key(self) -> str:
        """What is the same for the same rows alone."""
        return digest_of(np.packbits(self.mask))

    @property
    def n(self) -> int:
        """How many rows are in it."""
        return int(np.count_nonzero(self.mask))

    @property
    def rows(self) -> NDArray[np.intp]:
        """The positions of its rows."""
        return np.flatnonzero(self.mask)

    def within(self, mask: Mask) -> Cohort:
        """Return the part of it that fits a mask."""
        return Cohort(self.name, self.mask & mask)


def digest_of(array: NDArray[Any]) -> str:
    """Return what is the same for the same content alone: short, where all rows are long."""
    return hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()


@dataclass(eq=False)
class Cohorts:
    """Makes cohorts of what a question says; the masks that were used last are kept.

    Attributes
    ----------
    columns : Columns
    n_rows : int
    """

    columns: Columns
    n_rows: int
    _masks: OrderedDict[str, Mask] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read_all(self, question: Question) -> list[Cohort]:
        """Return the cohorts of a question's ``cohorts``."""
        part = question.part("cohorts")
        if part.is_absent:
            return [self.everything()]
        return list(map(self._read, part.items(MOST_COHORTS)))

    def read_one(self, question: Question) -> Cohort:
        """Return the cohort of a question's ``cohort``, all rows by default."""
        part = question.part("cohort")
        return self.everything() if part.is_absent else self._read(part)

    def everything(self) -> Cohort:
        """Return the cohort of all rows."""
        return Cohort("All data", np.ones(self.n_rows, dtype=bool))

    def _read(self, question: Question) -> Cohort:
        name = question.part("name").text("")
        filters = {"filters": question.value.get("filters"), "match": question.value.get("match")}
        key = json.dumps(filters, sort_keys=True, default=str)
        with self._lock:
            mask = self._masks.get(key)
        if mask is None:
            mask = self._group(question, [MOST_FILTERS], DEEPEST)
            mask.setflags(write=False)
        with self._lock:
            self._masks[key] = mask
            self._masks.move_to_end(key)
            if len(self._masks) > MASKS_KEPT:
                self._masks.popitem(last=False)
        return Cohort(name, mask)

    def _group(self, question: Question, n_left: list[int], depth: int) -> Mask:
        """Join the filters of a group by and, or or."""
        match = question.part("match").choice(["all", "any"], "all")
        filters = question.part("filters").items(MOST_FILTERS)
        n_left[0] -= len(filters)
        if n_left[0] < 0 or depth == 0:
            raise question.refuse(f"at most {MOST_FILTERS} filters, {DEEPEST} deep")
        join = np.logical_and if match == "all" else np.logical_or
        masks = [self._filter(one, n_left, depth) for one in filters]
        if not masks:
            return np.ones(self.n_rows, dtype=bool)
        joined: Mask = join.reduce(masks)
        return joined

    def _filter(self, question: Question, n_left: list[int], depth: int) -> Mask:
        if not question.part("filters").is_absent:
            return self._group(question, n_left, depth - 1)
        column = question.part("col")
        values = self.columns.find(column.text(), column.pointer).values
        op = question.part("op").choice(list(TESTS))
        return TESTS[op](values, question.part("value"))


def _stored(values: Values, question: Question) -> float:
    """Return how a value of a filter is stored in a column."""
    if values.kind == "date":
        return _milliseconds(question)
    if values.categories is None:
        return question.number()
    return _code(values, question)


def _code(values: Values, question: Question) -> int:
    try:
        return values.code_of(question.value)
    except (KeyError, TypeError):
        raise question.refuse("a value of the column") from None


def _milliseconds(question: Question) -> float:
    text = question.text()
    try:
        moment = np.datetime64(text.removesuffix("Z"))
        year = moment.astype("M8[Y]").astype(int) + 1970
    except ValueError:
        raise question.refuse(A_DATE) from None
    if abs(int(year)) > LAST_YEAR:  # and where it is no time
        raise question.refuse(A_DATE)
    return float(moment.astype("M8[us]").astype(np.int64) / 1e3)


def _equals(values: Values, question: Question) -> Mask:
    mask: Mask = values.stored == _stored(values, question)
    return mask


def _is_in(values: Values, question: Question) -> Mask:
    if question.is_absent:
        raise question.refuse("a list of values")
    wanted = [_stored(values, one) for one in question.items(10_000)]
    return np.isin(values.stored, wanted)


def _compares(compare: Callable[[Any, Any], Any]) -> Test:
    """Return a test that compares numbers and dates; what is missing fits none."""

    def test(values: Values, question: Question) -> Mask:
        _expect_numbers(values, question)
        mask: Mask = compare(values.stored, _stored(values, question))
        return mask & ~values.missing

    return test


def _expect_numbers(values: Values, question: Question) -> None:
    if not values.is_numeric:
        raise question.refuse("an operation for categories, as in, since the column has no order")


def _is_between(values: Values, question: Question) -> Mask:
    _expect_numbers(values, question)
    bounds = [_stored(values, one) for one in question.items(2)]
    if len(bounds) != 2:
        raise question.refuse("a list of two, the least and the most")
    mask: Mask = (values.stored >= bounds[0]) & (values.stored <= bounds[1])
    return mask


def _contains(values: Values, question: Question) -> Mask:
    wanted = question.text().casefold()
    codes, listed = values.stored, values.categories
    if listed is None:
        codes = np.arange(len(values.stored))
        listed = list(map(values.plain_value, values.stored.tolist()))
    fits = [wanted in str(one).casefold() for one in listed]
    return np.array([*fits, False], dtype=bool)[np.where(values.missing, -1, codes)]


def _not(test: Test) -> Test:
    return lambda values, question: ~test(values, question)


def _is_missing(values: Values, question: Question) -> Mask:
    return values.missing


TESTS: dict[str, Test] = {
    "=": _equals,
    "!=": _not(_equals),
    "<": _compares(np.less),
    "<=": _compares(np.less_equal),
    ">": _compares(np.greater),
    ">=": _compares(np.greater_equal),
    "between": _is_between,
    "in": _is_in,
    "not-in": _not(_is_in),
    "contains": _contains,
    "missing": _is_missing,
    "not-missing": _not(_is_missing),
}
