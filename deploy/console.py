"""What a person sees while a deployment runs: one line for each step, with its time.

Next: `deploy.interrupts`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

EVERY = 5.0  # seconds between signs of life


class Console:
    """Writes steps and their times.

    Parameters
    ----------
    stream : text file, default standard output
    quiet : bool, default False
    """

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream or sys.stdout
        self._quiet = quiet
        self._last = 0.0

    def say(self, text: str) -> None:
        """Write a line."""
        if not self._quiet:
            print(text, file=self._stream, flush=True)

    def detail(self, text: str) -> None:
        """Write a line below a step, at most one in five seconds: a sign of life on long steps."""
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            self.say(f"    {text.strip()[:110]}")

    @contextmanager
    def step(self, text: str) -> Iterator[list[str]]:
        """Announce a step, and say how long it took and what it found (lines put into the list)."""
        self.say(f"{text} ...")
        start = self._last = time.monotonic()
        found: list[str] = []
        yield found
        self.say(f"  {'; '.join([*found, f'{time.monotonic() - start:.1f} s'])}")


class RecordingConsole(Console):
    """Keeps the lines until somebody wants to see them, and prints them from then on."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self._lines: list[str] = []
        self._guard = threading.Lock()

    def show(self) -> None:
        """Print what was said, and what will be."""
        with self._guard:
            self._quiet = False
            for line in self._lines:
                print(line, file=self._stream, flush=True)

    def say(self, text: str) -> None:
        """Keep a line, and print it if it is wanted."""
        with self._guard:
            self._lines.append(text)
            super().say(text)


def last_lines(lines: Iterable[str], count: int = 15) -> str:
    """Keep the end of what a program said, indented."""
    return "\n".join(f"    {line}" for line in [line for line in lines if line.strip()][-count:])
