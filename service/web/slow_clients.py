"""Clients that take their answer a byte at a time.

None must keep a thread. Answers are sent as fast as clients take them, by the worker's main loop
where they do not take them at once. It hangs up on those that are too slow.

Next: `service.web.guarded_script`.
"""

import socket
import ssl
import time
from contextlib import suppress
from typing import IO, Any

PIECE = 2**16  # so many bytes of an answer are taken in the time that a client has
MOST_UNSENT = 128 * 2**20  # bytes of all answers that wait; beyond them nobody is scored
# Beyond half of them, this is how long a client may take nothing.
PRESSED_SECONDS = 1.0
_NOBODY = socket.socket()  # the connection of answers that nobody shall get
_NOBODY.close()


class Outgoing:
    """The answers to one client; it stands in for the client's socket, which never blocks.

    What is written is kept, and sent by :meth:`push` as far as the client takes it.

    Parameters
    ----------
    connection : socket
        The client's; it does not block.
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

    def leave(self) -> "Outgoing":
        """Let another answer the client: what is done here from now on, no client notices.

        Returns
        -------
        Outgoing
            That of the other.
        """
        others = Outgoing(self.connection, self._seconds)
        self.connection = _NOBODY
        return others

    def close(self) -> None:
        """Hang up, also where a process that a script has forked still has the socket."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def setblocking(self, is_blocking: bool) -> None:
        """Do nothing: gunicorn asks for a socket that blocks, and for one that does not."""

    def sendall(self, data: bytes) -> None:
        """Keep the next part of the answer."""
        self._written.append(data)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Keep a file as the next part of the answer, behind its headers."""
        file.seek(offset)
        content = file.read(-1 if count is None else count)
        self._written.append(content)
        return len(content)

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
