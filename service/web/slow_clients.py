"""Clients that send their request a byte at a time must not keep a thread each for ever.

Whoever reads from a client says so here: the server its headers, the application its body. The
worker's main loop hangs up on those that have taken too long.

Next: `service.web.guarded_script`.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

SECONDS_TO_GO = 2.0


@dataclass(eq=False)
class Reading:
    """One thread that reads from a client.

    Attributes
    ----------
    connection : callable
        Answers the socket: the start of TLS puts another one in the place of the first.
    end : float
        When it should be through, on the monotonic clock.
    is_cut : bool
        Whether it was hung up on.
    """

    connection: Callable[[], socket.socket]
    end: float
    is_cut: bool = False

    def cut(self) -> None:
        """Let the reader see the end of the stream; the writing side stays open for an answer."""
        self.is_cut = True
        with suppress(OSError):  # the client may have gone by itself
            # The plain socket's method: that of a TLS socket would take its state away from the
            # reading thread.
            socket.socket.shutdown(self.connection(), socket.SHUT_RD)


_readings: dict[int, Reading] = {}  # by thread


@contextmanager
def reading(connection: Callable[[], socket.socket], seconds: float) -> Iterator[Reading]:
    """Say that this thread reads from a client, and for how long it may.

    Parameters
    ----------
    connection : callable
        Answers the client's socket.
    seconds : float
        After which the client is hung up on.

    Yields
    ------
    Reading
        Tells whether that has happened.
    """
    present = Reading(connection, time.monotonic() + seconds)
    _readings[threading.get_ident()] = present
    try:
        yield present
    finally:
        finished()


def finished() -> None:
    """Say that this thread does not read any more."""
    _readings.pop(threading.get_ident(), None)


def hang_up_on_slow_clients() -> None:
    """Cut off every reading that should be through."""
    now = time.monotonic()
    for present in list(_readings.values()):
        if now > present.end and not present.is_cut:
            present.cut()


def let_go(connection: socket.socket) -> None:
    """Say that nothing more will come, and wait a little for the client to go.

    It may still be taking the answer.
    """
    with suppress(OSError), reading(lambda: connection, SECONDS_TO_GO) as rest:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(2**16) and not rest.is_cut:
            pass
