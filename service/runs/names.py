"""Names and comments that a store can keep, and that mean one thing wherever they are written.

Next: :mod:`service.runs.embedded`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from service.errors import expect
from service.rows.values import shown

LONGEST_NAME = 200
LONGEST_COMMENT = 1_000
LONGEST_TAG = 8_000  # MLflow cuts longer ones without a word
RESERVED_TAGS = ("mlflow.", "explanation.", "model_explanation")
# What a registered version is described by, in tags of its own.
OF_VERSIONS = ("explanation", "registered_from", "properties", "description", "file", "sha256")
RESERVED_FOLDER = "explanations"
_MODEL = re.compile(r"\w[\w. -]*(?<![. ])")
_TAG = re.compile(r"[A-Za-z0-9_][\w ./-]*")
_PART = re.compile(r"[^\x00-\x1f\x7f\\:*?\"<>|]+")


def check_model_name(name: Any) -> str:
    """Return a model's name that can stand in a URI and be a folder.

    Raises
    ------
    ValueError
        When it is another.

    Examples
    --------
    >>> check_model_name("breast_cancer")
    'breast_cancer'
    """
    fits = isinstance(name, str) and len(name) <= LONGEST_NAME and _MODEL.fullmatch(name)
    expect(
        bool(fits),
        f"Model: expected a name of letters, digits, '_', '-', '.' and inner spaces, at most "
        f"{LONGEST_NAME} long, got {shown(name)}.",
        ValueError,
    )
    return str(name)


def check_experiment_name(name: Any) -> str:
    """Return an experiment's name that can be listed.

    Raises
    ------
    ValueError
        When it is empty, long, has control characters, or is the one that MLflow keeps for itself.
    """
    is_text = isinstance(name, str) and 0 < len(name.strip()) <= len(name) <= LONGEST_NAME
    expect(
        is_text and name.isprintable() and name != "Default",
        f"Workspace: expected an experiment's name of 1 to {LONGEST_NAME} printable characters, "
        f"other than Default, got {shown(name)}.",
        ValueError,
    )
    return str(name)


def check_file_name(name: Any) -> str:
    """Return the name of a run's file: a path below it, with ``/`` between its parts.

    Raises
    ------
    ValueError
        When it leads elsewhere, or into what is kept for explanations.

    Examples
    --------
    >>> check_file_name("outputs/model.pkl")
    'outputs/model.pkl'
    """
    text = name if isinstance(name, str) else ""
    parts = text.split("/")
    fits = len(text) <= LONGEST_NAME and all(map(_is_part, parts))
    expect(
        fits and parts[0] != RESERVED_FOLDER,
        f"Run: expected the name of a file below the run, as outputs/model.pkl, with no part '..', "
        f"and not below {RESERVED_FOLDER}/, got {shown(name)}.",
        ValueError,
    )
    return text


def _is_part(part: str) -> bool:
    return part.strip(". ") != "" and _PART.fullmatch(part) is not None


def of_users(names: Sequence[str]) -> list[str]:
    """Return those of a run's files that users have named, which are none of explanations."""
    return [name for name in names if not name.startswith(f"{RESERVED_FOLDER}/")]


def check_comment(comment: Any, called: str = "comment") -> str:
    """Return a comment that the store keeps whole; None is an empty one.

    Raises
    ------
    ValueError
        When it is longer than 1,000 characters.
    """
    text = "" if comment is None else comment
    expect(
        isinstance(text, str) and len(text) <= LONGEST_COMMENT,
        f"{called}: expected a text of at most {LONGEST_COMMENT:,} characters, got "
        f"{_told_length(comment)}; put longer ones into a file of the run.",
        ValueError,
    )
    return str(text)


def to_keepable(text: str) -> str:
    r"""Return a text that every store keeps, with escapes for what has no letters.

    >>> to_keepable("caf\udce9")
    'caf\\udce9'
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def check_tags(tags: Mapping[str, Any], kept: tuple[str, ...] = ()) -> dict[str, str]:
    """Return tags as texts that the store keeps whole; none of them is one of those `kept`.

    Raises
    ------
    ValueError
        When a name is kept for the store itself, or a value is too long.
    """
    for name, value in tags.items():
        fits = isinstance(name, str) and len(name) <= LONGEST_NAME and _TAG.fullmatch(name)
        expect(
            bool(fits) and not name.startswith(RESERVED_TAGS),
            f"tag: expected a name of letters, digits and '_./- ' that begins with none of "
            f"{', '.join(RESERVED_TAGS)}, got {shown(name)}.",
            ValueError,
        )
        expect(
            name not in kept,
            f"tag: expected a name that the store does not use itself, got {name!r}; choose "
            "another.",
            ValueError,
        )
        expect(
            len(str(value)) <= LONGEST_TAG,
            f"tag {name}: expected at most {LONGEST_TAG:,} characters, got {_told_length(value)}.",
            ValueError,
        )
    return dict(zip(tags, map(str, tags.values()), strict=True))


def _told_length(value: Any) -> str:
    return f"{len(value):,} characters" if isinstance(value, str) else shown(value)
