"""Clients that send their request, or take their answer, a byte at a time.

None must keep a thread for ever. Whoever reads from a client says so here: the server its headers,
the application its body. Answers are sent as fast as clients take them, by the worker's main loop
where they do not take them at once. It hangs up on those that are too slow.

Next: `service.web.guarded_script`.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

PIECE = 2**16  # so many bytes of an answer are taken in the time that a client has
MOST_UNSENT = 128 * 2**20  # bytes of all answers that wait; beyond them nobody is scored
# Beyond half of them, this is how long a client may take nothing.
PRESSED_SECONDS = 1.0


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

    connection: Callable[[], Any]
    end: float
    is_cut: bool = False

    def cut(self) -> None:
        """Let the reader see the end of the stream; the writing side stays open for an answer."""
        self.is_cut = True
        with suppress(OSError):  # the client may have gone by itself
            connection = self.connection()
            plain = connection.connection if isinstance(connection, Outgoing) else connection
            # The plain socket's method: that of a TLS socket would take its state away from the
            # reading thread.
            socket.socket.shutdown(plain, socket.SHUT_RD)


_readings: dict[int, Reading] = {}  # by thread


@contextmanager
def reading(connection: Callable[[], Any], seconds: float) -> Iterator[Reading]:
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


class Outgoing:
    """The answer to one client; it stands in for the client's socket while the answer is written.

    What is written is kept, and sent by :meth:`push` as far as the client takes it.

    Parameters
    ----------
    connection : socket
        The client's.
    seconds : float
        In which a client has to take the next ``PIECE`` of bytes.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.connection = connection
        self._seconds = seconds
        self._written: list[bytes] = []
        self._rest = memoryview(b"")
        self._has_to_be_below = 0
        self._renewed = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def __len__(self) -> int:
        return len(self._rest)

    def sendall(self, data: bytes) -> None:
        """Keep the next part of the answer."""
        self._written.append(data)

    def push(self) -> bool:
        """Send what the client takes at this moment; its socket does not block.

        Returns
        -------
        bool
            Whether that was all.

        Raises
        ------
        OSError
            When the client has gone.
        """
        if self._written:
            self._rest = memoryview(b"".join(self._written))
            self._written.clear()
            self._renew()
        with suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            while self._rest:
                self._rest = self._rest[self.connection.send(self._rest) :]
        if len(self._rest) <= self._has_to_be_below:
            self._renew()
        return not self._rest

    def is_late(self, is_pressed: bool) -> bool:
        """Tell whether the client takes its answer too slowly, be there room for it or not."""
        seconds = min(self._seconds, PRESSED_SECONDS) if is_pressed else self._seconds
        return time.monotonic() > self._renewed + seconds

    def _renew(self) -> None:
        self._has_to_be_below = len(self._rest) - PIECE
        self._renewed = time.monotonic()


_unsent: set[Outgoing] = set()


def keep_unsent(answer: Outgoing) -> None:
    """Count an answer among those that wait for their clients."""
    _unsent.add(answer)


def forget_unsent(answer: Outgoing) -> None:
    """Count it no more."""
    _unsent.discard(answer)


def is_pressed() -> bool:
    """Tell whether so much waits that clients have little time."""
    return unsent_bytes() > MOST_UNSENT / 2


def unsent_bytes() -> int:
    """Return how many bytes of answers wait for their clients to take them."""
    return sum(map(len, list(_unsent)))
