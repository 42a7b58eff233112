"""What one request asks for, and the limits it comes with.

Next: :mod:`service.scoring.scoring_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.errors import PayloadError
from service.rows.columns import shown


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
        wanted = [name for name in _OF_EXPLANATIONS if getattr(self, name)]
        if wanted and not self.explain:
            raise PayloadError(
                f"{wanted[0]}: expected with an explanation only, got it with explain=false."
            )


_OF_EXPLANATIONS = ("top_k", "standard_errors")
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
    unknown = [name for name in given if name not in OPTIONS]
    if unknown:
        raise PayloadError(f"Option {shown(unknown[0])}: expected one of {', '.join(OPTIONS)}.")
    return {
        name: _count(name, value) if name == "top_k" else _flag(name, value)
        for name, value in given.items()
    }


def _flag(name: str, value: Any) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    text = _text(value).lower()
    if text not in known:
        raise PayloadError(f"Option {name!r}: expected true or false, got {shown(value)}.")
    return known[text]


def _count(name: str, value: Any) -> int:
    text = _text(value)
    if isinstance(value, bool) or not (
        text.isascii() and text.isdecimal() and 1 <= len(text) <= 9 and int(text) > 0
    ):
        raise PayloadError(
            f"Option {name!r}: expected a whole number of at least 1, got {shown(value)}."
        )
    return int(text)


def _text(value: Any) -> str:
    """Write what can be an option's value as a query has it, nothing for lists and the like."""
    return str(value) if isinstance(value, str | int) else ""
