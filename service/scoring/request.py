"""What one request asks for, and the limits it comes with.

Next: :mod:`service.scoring.scoring_model`.
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
    max_rows : int, optional
        The most rows that are taken.
    check : callable
        Called between pieces of the work; raises when nobody waits for the answer any more.

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
    max_rows: int | None = None
    check: Callable[[], None] = _always

    def __post_init__(self) -> None:
        """Refuse options that contradict each other."""
        for name in _OF_EXPLANATIONS:
            if getattr(self, name) and not self.explain:
                raise PayloadError(
                    f"{name}: expected with an explanation only, got it with explain=false."
                )


_OF_EXPLANATIONS = ("top_k", "standard_errors")
_COUNT = re.compile("[0-9]{1,9}")
OPTIONS = ("explain", "top_k", "standard_errors", "expected_values", "probabilities")


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the options of a request from text (a query) or from JSON values.

    Parameters
    ----------
    given : mapping
        Option names with ``"true"``, ``"false"``, ``"1"``, ``"0"``, booleans, or for ``top_k`` a
        number.

    Returns
    -------
    dict
        Arguments of :class:`ScoringRequest`.

    Raises
    ------
    PayloadError
        When an option is unknown or its value cannot be used.
    """
    for name in given:
        if name not in OPTIONS:
            raise PayloadError(f"Option {shown(name)}: expected one of {', '.join(OPTIONS)}.")
    options: dict[str, Any] = {}
    for name, value in given.items():
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


def _text(value: Any) -> str:
    """Write what can be an option's value as a query has it, nothing for lists and the like."""
    return str(value) if isinstance(value, str | int) else ""


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "explain": _flag,
    "top_k": _count,
    "standard_errors": _flag,
    "expected_values": _flag,
    "probabilities": _flag,
}
