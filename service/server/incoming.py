"""What clients send, kept until a request is whole: no thread waits for one that sends slowly.

The worker's main loop takes what has come. A request goes to a thread when nothing of it is
missing, or when no more of it is wanted: it is too large, too slow, or its end will never come. The
thread's parser reads from memory then, and finds there the end, or why there is no more.

Next: `service.server.worker.malformed_requests`.
"""

import re
import ssl
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakSet

from werkzeug.exceptions import RequestEntityTooLarge

from service.web.errors import BodyError, BusyError, SlowBodyError
from service.web.slow_clients import PIECE, PRESSED_SECONDS

AT_ONCE = 2**20  # bytes of one body, before it is another client's turn
MOST_KEPT = 128 * 2**20  # bytes of all requests, unless two of the longest are more

LINE_END, HEAD_END = b"\r\n", b"\r\n\r\n"
# What these do not know, the parser of requests refuses by the head alone.
REQUEST_LINE = re.compile(rb"(?:\r\n)?\S+ \S+ HTTP/1\.[01]$")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
CHUNK_SIZE = re.compile(rb"([0-9a-f]{1,15})[ \t]*(?:;|$)", re.IGNORECASE)
T = TypeVar("T")
Steps = Generator[None, None, T]  # each yield waits for more bytes

GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class Limits:
    """What a client may send, and how slowly.

    Attributes
    ----------
    line, head : int
        Most bytes of the first line and of the headers, for the parser refuses more.
    body : int
        Most bytes of the body, for the application refuses more.
    seconds : float
        For the headers, and again for the body.
    """

    line: int
    head: int
    body: int
    seconds: float

    @property
    def most_kept(self) -> int:
        """Most bytes of all requests in this process; beyond them no long body is read on."""
        return max(MOST_KEPT, 2 * self.body)


class Incoming:
    """What one client has sent and nobody has read; it stands in for the socket that is read from.

    Parameters
    ----------
    connection : socket
        The client's; it does not block.
    limits : Limits

    Attributes
    ----------
    is_ready : bool
        Whether a thread can go on: nothing more of the request will be received.
    is_whole : bool
        Whether nothing of it is missing.
    """

    def __init__(self, connection: Any, limits: Limits) -> None:
        self._connection, self._limits = connection, limits
        self._data = bytearray()
        _all.add(self)
        self.begin()

    def put_back(self, read_ahead: bytes) -> None:
        """Keep what the reader of one request has taken of the next."""
        self._data[:0] = read_ahead

    def begin(self) -> None:
        """Wait for the next request, some of which may be here already."""
        self.is_whole = self._is_in_body = False
        self._failure: Exception | None = None
        self._end = time.monotonic() + self._limits.seconds
        self._renew()
        self._steps = self._until_whole()
        self._go_on()

    def __len__(self) -> int:
        return len(self._data)

    def receive(self) -> None:
        """Take what the client has sent.

        Raises
        ------
        OSError
            When the client has gone.
        """
        taken = 0
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while taken < AT_ONCE and not self.is_ready:
                part = self._connection.recv(AT_ONCE if self._is_in_body else PIECE)
                taken += len(part)
                self._data += part
                self._go_on()
                self.is_ready |= not part
        if self._is_too_much():
            self._give_up(BusyError("Too many bodies arrive at once; try again in a second."))

    def _is_too_much(self) -> bool:
        """Tell whether a large body arrives while all that is kept is more than may be."""
        is_large = self._is_in_body and len(self) > PIECE
        return is_large and kept_bytes() > self._limits.most_kept

    def recv(self, size: int) -> bytes:
        """Return the next of the bytes that have come, none behind the last one.

        Raises
        ------
        RequestError, RequestEntityTooLarge
            Where there would be more of them if they had been waited for.
        """
        if not self._data and self._failure is not None:
            raise self._failure
        part = bytes(self._data[:size])
        del self._data[:size]
        return part

    def give_up_if_late(self, is_pressed: bool) -> None:
        """Wait no longer for a client that is too slow; it has little time where room is short."""
        now = time.monotonic()
        if now < self._end and not (is_pressed and now > self._renewed + PRESSED_SECONDS):
            return
        slow = SlowBodyError(
            f"Body: expected it whole within {self._limits.seconds:g} seconds; send it faster, or "
            "fewer rows."
        )
        self._give_up(slow if self._is_in_body else None)

    def _give_up(self, failure: Exception | None) -> None:
        self._failure, self.is_ready = failure, True

    def _go_on(self) -> None:
        self.is_ready = next(self._steps, True) is not None
        if len(self) >= self._has_to_reach:
            self._renew()

    def _renew(self) -> None:
        self._has_to_reach = len(self) + PIECE
        self._renewed = time.monotonic()

    def _until_whole(self) -> Steps[None]:
        """Yield as long as more of the request has to come."""
        line_end = yield from self._find(LINE_END, len(LINE_END), self._limits.line)
        if line_end < 0 or not REQUEST_LINE.match(self._data, 0, line_end):
            return
        head_end = yield from self._find(HEAD_END, line_end, self._limits.head)
        if head_end < 0:
            return
        head = bytes(self._data[: head_end + len(HEAD_END)])
        self._is_in_body = True
        self._end = time.monotonic() + self._limits.seconds
        self._renew()
        declared = LENGTH.search(head)
        length = 0 if declared is None else int(declared[1])
        if self._is_too_long(length):
            return
        self._ask_for_body(head)
        if CHUNKED.search(head):
            self.is_whole = yield from self._chunks(len(head))
        else:
            self.is_whole = yield from self._up_to(len(head) + length)

    def _is_too_long(self, length: int) -> bool:
        if length > self._limits.body:
            self._failure = RequestEntityTooLarge()
        return length > self._limits.body

    def _ask_for_body(self, head: bytes) -> None:
        """Tell a client to go on that waits for it."""
        if EXPECTS.search(head) and b" HTTP/1.1\r\n" in head and len(self) == len(head):
            with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._connection.send(GO_ON)

    def _chunks(self, start: int) -> Steps[bool]:
        """Follow the sizes of chunks; what is none is left to the parser."""
        length = 0
        while (end := (yield from self._find(LINE_END, start, self._limits.line))) >= 0:
            size = CHUNK_SIZE.match(self._data, start, end)
            if size is None:
                break
            length += int(size[1], 16)
            if int(size[1], 16) == 0:
                return (yield from self._find(HEAD_END, end, self._limits.head)) >= 0
            start = end + int(size[1], 16) + 2 * len(LINE_END)
            if self._is_too_long(length) or self._has_too_small_chunks(start):
                break
            yield from self._up_to(start)
            if not self._data.endswith(LINE_END, 0, start):
                break
        return False

    def _has_too_small_chunks(self, end: int) -> bool:
        most = 2 * self._limits.body + PIECE
        if end > most:
            self._failure = BodyError("Body: expected larger chunks; most of it is their framing.")
        return end > most

    def _up_to(self, end: int) -> Steps[bool]:
        while len(self) < end:
            yield
        return True

    def _find(self, mark: bytes, start: int, most: int) -> Steps[int]:
        """Yield until a mark has come and return where it begins; -1 when it should have come."""
        searched = start
        while (found := self._data.find(mark, searched)) < 0 and len(self) <= start + most:
            searched = max(start, len(self) + 1 - len(mark))
            yield
        return found


_all: WeakSet[Incoming] = WeakSet()


def kept_bytes() -> int:
    """Return how many bytes of requests are kept in this process."""
    return sum(map(len, _all))


def is_short_of_room(limits: Limits) -> bool:
    """Tell whether so much is kept that clients have little time."""
    return kept_bytes() > limits.most_kept / 2
