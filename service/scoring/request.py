"""What one request asks for, and what its host allows it.

Next: :mod:`service.scoring.row_pieces`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.errors import PayloadError
from service.rows.values import shown


def _always() -> None:
    """Let every request take its time."""


class Helpers:
    """Threads that a host has for requests of many rows; this one has none.

    Attributes
    ----------
    seconds_a_row : float
        How long a row took in the last request, 0.0 before any: what decides whether helpers are
        worth it.
    """

    def __init__(self) -> None:
        self.seconds_a_row = 0.0

    def learn(self, seconds_a_row: float) -> None:
        """Note how long a row took: at most double, since others may have held a request up."""
        self.seconds_a_row = min(seconds_a_row, 2 * self.seconds_a_row or seconds_a_row)

    def most(self) -> int:
        """Return how many may work for one request at this moment, beside its own thread."""
        return 0

    def start(self, work: Callable[[], None]) -> None:
        """Let a thread do some work."""
        raise NotImplementedError


@dataclass(frozen=True)
class ScoringRequest:
    """What a request asks for beyond its rows, and what its host allows it.

    Attributes
    ----------
    explain : bool, default True
        Whether to compute local importances.
    top_k : int, optional
        So many of each row's largest importances, by name.
    standard_errors, expected_values, probabilities : bool, default False
        Whether the answer has these too.
    named : bool, default False
        Whether the answer has the names of classes, features and rows beside the numbers, and in
        words what they are.
    top_class : str, optional
        The class whose largest importances are named, by default the predicted one.
    id_columns : tuple of str
        Columns of the rows that are not the model's, and come back with each row.
    max_rows : int, optional
        The most rows that are taken.
    check : callable
        Called between pieces of the work, from any of its threads; raises when nobody waits for the
        answer any more.
    helpers : Helpers, optional
        Threads that may take pieces of the work; by default there are none.

    Raises
    ------
    PayloadError
        When an option of explanations is asked for without one.

    Examples
    --------
    >>> ScoringRequest(top_k=3).explain
    True
    >>> ScoringRequest(explain=False, probabilities=True).top_k is None
    True
    """

    explain: bool = True
    top_k: int | None = None
    standard_errors: bool = False
    expected_values: bool = False
    probabilities: bool = False
    named: bool = False
    top_class: str | None = None
    id_columns: tuple[str, ...] = ()
    max_rows: int | None = None
    check: Callable[[], None] = _always
    helpers: Helpers | None = None

    def __post_init__(self) -> None:
        """Refuse options that contradict each other."""
        for name, (needed, words) in _NEEDS.items():
            if getattr(self, name) and not getattr(self, needed):
                raise PayloadError(f"{name}: expected with {words}.")


_OF_EXPLANATIONS = ("explain", "an explanation only, got it with explain=false")
_NEEDS = {
    "top_k": _OF_EXPLANATIONS,
    "standard_errors": _OF_EXPLANATIONS,
    "top_class": ("top_k", "top_k only, got it without"),
}
_COUNT = re.compile("[0-9]{1,9}")
OPTIONS = (
    "explain",
    "top_k",
    "top_class",
    "standard_errors",
    "expected_values",
    "probabilities",
    "named",
    "id_columns",
)


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the options of a request from text (a query) or from JSON values.

    Parameters
    ----------
    given : mapping
        Option names with ``"true"``, ``"false"``, ``"1"``, ``"0"``, booleans; for ``top_k`` a
        number, for ``top_class`` a name, for ``id_columns`` names in a list, or in a text with
        commas between them.

    Returns
    -------
    dict
        Arguments of :class:`ScoringRequest`.

    Raises
    ------
    PayloadError
        When an option is unknown or its value cannot be used.
    """
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name not in OPTIONS:
            raise PayloadError(f"Option {shown(name)}: expected one of {', '.join(OPTIONS)}.")
        options[name] = _READERS[name](name, value)
    return options


def _flag(name: str, value: Any) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    text = _text(value).lower()
    if text not in known:
        raise PayloadError(f"Option {name!r}: expected true or false, got {shown(value)}.")
    return known[text]


def _count(name: str, value: Any) -> int:
    text = "" if isinstance(value, bool) else _text(value)
    is_count = _COUNT.fullmatch(text) is not None and int(text) > 0
    if not is_count:
        raise PayloadError(
            f"Option {name!r}: expected a whole number of at least 1, got {shown(value)}."
        )
    return int(text)


def _name(name: str, value: Any) -> str:
    text = _text(value)
    if not text:
        raise PayloadError(f"Option {name!r}: expected a name, got {shown(value)}.")
    return text


def _names(name: str, value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(map(_text, names)):
        raise PayloadError(
            f"Option {name!r}: expected names of columns with commas between them, or a list of "
            f"names, got {shown(value)}."
        )
    return tuple(dict.fromkeys(map(_text, names)))


def _text(value: Any) -> str:
    """Write what can be an option's value as a query has it, nothing for lists and the like."""
    return str(value) if isinstance(value, str | int) else ""


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "explain": _flag,
    "top_k": _count,
    "standard_errors": _flag,
    "expected_values": _flag,
    "probabilities": _flag,
    "named": _flag,
    "top_class": _name,
    "id_columns": _names,
}
