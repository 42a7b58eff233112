"""Clients that send their request a byte at a time must not keep a thread each for ever.

Whoever reads from a client says so here; the worker's main loop hangs up on those that have taken too long.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass(eq=False)
class Reading:
    """One thread that reads from a client.

    Attributes
    ----------
    connection : socket
    end : float
        When it should be through, on the monotonic clock.
    is_cut : bool
        Whether it was hung up on.
    """

    connection: socket.socket
    end: float
    is_cut: bool = False

    def cut(self) -> None:
        """Let the reader see the end of the stream; the writing side stays open for an answer."""
        self.is_cut = True
        with suppress(OSError):  # the client may have gone by itself
            # The plain socket's method: that of a TLS socket would take its state away from the reading thread.
            socket.socket.shutdown(self.connection, socket.SHUT_RD)


_readings: dict[int, Reading] = {}  # by thread


@contextmanager
def reading(connection: socket.socket, seconds: float) -> Iterator[Reading]:
    """Say that this thread reads from a client, and for how long it may."""
    one = Reading(connection, time.monotonic() + seconds)
    _readings[threading.get_ident()] = one
    try:
        yield one
    finally:
        finished()


def finished() -> None:
    """Say that this thread does not read any more."""
    _readings.pop(threading.get_ident(), None)


def hang_up_on_slow_clients() -> None:
    """Cut off every reading that should be through."""
    now = time.monotonic()
    for one in list(_readings.values()):
        if now > one.end and not one.is_cut:
            one.cut()
