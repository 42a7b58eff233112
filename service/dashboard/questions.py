"""The parts of a question, each checked where it is read; what is wrong is named by its place.

Next: :mod:`service.dashboard.cohorts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.dashboard.errors import QuestionError
from service.rows.values import shown

ABSENT = object()


@dataclass(frozen=True)
class Question:
    """A value of JSON with its place.

    Attributes
    ----------
    value : Any
    pointer : str, default ""
        A JSON pointer.

    Examples
    --------
    >>> question = Question({"cohorts": [{"name": 7}]})
    >>> part = question.part("cohorts").items(10)[0].part("name")
    >>> part.pointer
    '/cohorts/0/name'
    >>> part.text()
    Traceback (most recent call last):
    service.dashboard.errors.QuestionError: /cohorts/0/name: expected a text, got 7.
    """

    value: Any
    pointer: str = ""

    def refuse(self, expected: str) -> QuestionError:
        """Return the error of this part."""
        came = "nothing" if self.value is ABSENT else shown(self.value)
        place = self.pointer or "The question"
        return QuestionError(self.pointer, f"{place}: expected {expected}, got {came}.")

    def part(self, name: str) -> Question:
        """Return a part of an object, absent where it is not there or null."""
        if not isinstance(self.value, dict):
            raise self.refuse("an object")
        value = self.value.get(name)
        escaped = name.replace("~", "~0").replace("/", "~1")
        return Question(ABSENT if value is None else value, f"{self.pointer}/{escaped}")

    @property
    def is_absent(self) -> bool:
        """Whether nothing is there."""
        return self.value is ABSENT

    def items(self, most: int) -> list[Question]:
        """Return the parts of a list, none where nothing is there."""
        if self.is_absent:
            return []
        if not isinstance(self.value, list) or len(self.value) > most:
            raise self.refuse(f"a list of at most {most}")
        return list(self._each())

    def _each(self) -> Iterator[Question]:
        for i, value in enumerate(self.value):
            yield Question(value, f"{self.pointer}/{i}")

    def text(self, default: str | None = None) -> str:
        """Return a text."""
        return self._checked(_is_text, "a text", default)

    def flag(self, default: bool = False) -> bool:
        """Return a truth value."""
        return self._checked(_is_flag, "true or false", default)

    def count(self, default: int | None, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`."""

        def is_right(value: Any) -> bool:
            return type(value) is int and least <= value <= most

        return self._checked(is_right, f"a whole number from {least} to {most}", default)

    def number(self, default: float | None = None) -> float:
        """Return a finite number."""
        return float(self._checked(_is_number, "a number", default))

    def choice(self, choices: Sequence[Any], default: Any = None) -> Any:
        """Return one of some values."""

        def is_right(value: Any) -> bool:
            return type(value) in (str, int) and value in choices

        listed = ", ".join(map(str, choices[:20]))
        return self._checked(is_right, f"one of {listed}", default)

    def _checked(self, is_right: Callable[[Any], bool], expected: str, default: Any) -> Any:
        if self.is_absent and default is not None:
            return default
        if not is_right(self.value):
            raise self.refuse(expected)
        return self.value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and _is_finite(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
