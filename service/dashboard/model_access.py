"""How the model may be asked: one question at a time, for a bounded time, while somebody waits.

Next: :mod:`service.dashboard.asking`.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from service.dashboard.errors import BusyError, UnavailableError
from service.dashboard.limits import SECONDS

Check = Callable[[], None]
SOCKETS = ("gunicorn.socket", "werkzeug.socket")


class Asking(Protocol):
    """Runs what asks the model, within bounds."""

    def __call__(self, work: Callable[[Check], Any]) -> Any:
        """Call work with what it calls between its pieces, and return what it returns."""


class ModelAccess(Protocol):
    """Gives each request its way to the model."""

    def admit(self) -> AbstractContextManager[None]:
        """Hold a place among the questions that are answered."""

    def of_request(self, environ: Mapping[str, Any]) -> Asking:
        """Return how the model is asked for a request, by its WSGI environment."""


@dataclass(frozen=True)
class OwnAccess:
    """Asks in the thread of the request, so many at once as there are places.

    Attributes
    ----------
    places : BoundedSemaphore
    seconds : float

    Examples
    --------
    >>> OwnAccess.of(1).of_request({})(lambda check: 6 * 7)
    42
    """

    places: threading.BoundedSemaphore
    seconds: float = SECONDS

    @classmethod
    def of(cls, n_places: int) -> OwnAccess:
        """Let so many questions ask at once."""
        return cls(threading.BoundedSemaphore(n_places))

    def admit(self) -> AbstractContextManager[None]:
        """Let every question in: there is one user."""
        return nullcontext()

    def of_request(self, environ: Mapping[str, Any]) -> Asking:
        """Return how the model is asked for a request."""

        def ask(work: Callable[[Check], Any]) -> Any:
            if not self.places.acquire(blocking=False):
                raise BusyError("The model is being asked already; try again in a second.")
            try:
                return work(make_check(environ, time.monotonic() + self.seconds))
            finally:
                self.places.release()

        return ask


def make_check(environ: Mapping[str, Any], end: float) -> Check:
    """Make what ends the work when the time is over or nobody waits any more.

    Parameters
    ----------
    environ : mapping
        The WSGI environment of the request.
    end : float
        A time of the monotonic clock.
    """
    client = next(filter(None, map(environ.get, SOCKETS)), None)

    def check() -> None:
        if time.monotonic() > end:
            raise UnavailableError("The model took too long; ask for fewer rows or a smaller grid.")
        if client is not None and has_left(client):
            raise BusyError("The client has left.")

    return check


def has_left(client: Any) -> bool:
    """Tell whether the other end of a socket is closed, without taking anything from it."""
    try:
        readable, _, _ = select.select([client], [], [], 0)
        if not readable or not isinstance(client, socket.socket):
            return False
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except (OSError, ValueError):
        return True
