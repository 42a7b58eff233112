"""What is shown while an explainer is built or rows are explained, on a terminal only.

Next: :mod:`service.engines.blas_threads`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

Progress = Callable[[Iterable[Any]], Iterable[Any]]  # gives back what it is given, and shows it
Begin = Callable[[str], None]  # says which step begins


def no_progress(parts: Iterable[Any]) -> Iterable[Any]:
    """Show nothing."""
    return parts


def progress_bar(parts: Iterable[Any]) -> Iterable[Any]:
    """Show a bar once the work takes longer than a second, and only on a terminal."""
    return tqdm(parts, desc="Explaining", delay=1, disable=None)


def counted(begin: Begin, step: str) -> Progress:
    """Say of a step how far it is, before each of its parts."""

    def counted_parts(parts: Iterable[Any]) -> Iterator[Any]:
        known = list(parts)
        for number, part in enumerate(known, start=1):
            begin(f"{step} ({number} of {len(known)})")
            yield part

    return counted_parts


@contextmanager
def steps_shown(doing: str) -> Iterator[Begin]:
    """Name the step that is at work, only on a terminal; the line goes away in the end."""
    with tqdm(
        bar_format=f"{doing}: {{desc}} ({{elapsed}} so far)", leave=False, disable=None
    ) as line:
        yield line.set_description_str
