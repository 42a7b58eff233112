"""Finishing what must not be left half done when somebody presses Ctrl-C.

Next: `deploy.errors`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from deploy.console import Console


@contextmanager
def uninterrupted(doing: str, console: Console | None = None) -> Iterator[None]:
    """Answer Ctrl-C with a word on what is being finished; the second one interrupts."""

    def answer(signum: int, frame: FrameType | None) -> None:
        if console is not None:
            console.say(f"  {doing}; once more to leave it to `python -m deploy status --heal`")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = None
    with suppress(ValueError):  # not in the main thread, so no Ctrl-C comes here
        previous = signal.signal(signal.SIGINT, answer)
    try:
        yield
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)
