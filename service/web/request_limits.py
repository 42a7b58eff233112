"""Bounds on work: how many requests are in flight or computed at once, and how long one may take.

Next: `service.web.computations`.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock, get_ident
from typing import NoReturn

from service.web.errors import BusyError, DeadlineError, StoppingError

GLANCE_SECONDS = 1.0  # between two looks at a deadline while waiting: it may come nearer
# A computation is stuck when it takes so many times its deadline, and so many seconds longer: a
# short deadline is soon over where the processors are busy, and a process takes long to start.
PATIENCE, LEAST_PATIENCE = 1.5, 1.0


class Deadline:
    """The time by which a request has to be answered.

    Parameters
    ----------
    seconds : float
        From now.
    last_answer : callable, optional
        Tells the time of the monotonic clock after which this process can answer nobody; by default
        that never comes.

    Attributes
    ----------
    began : float
        When the request began, by the performance counter.

    Examples
    --------
    >>> Deadline(60).check()
    >>> Deadline(0).left
    0.0
    """

    def __init__(self, seconds: float, last_answer: Callable[[], float] = lambda: math.inf) -> None:
        self.seconds = seconds
        self.began = time.perf_counter()
        self._end = time.monotonic() + seconds
        self._last_answer = last_answer

    @property
    def left(self) -> float:
        """Seconds until then; 0 when it has passed."""
        return max(0.0, -self.seconds_over)

    @property
    def seconds_over(self) -> float:
        """Seconds since then; below 0 when it is still to come."""
        return time.monotonic() - min(self._end, self._last_answer())

    def check(self) -> None:
        """Raise an error once the time is over: the work ends, and its thread is free.

        Raises
        ------
        DeadlineError
            When the answer would come too late.
        StoppingError
            When the process will have ended by then.
        """
        if not self.left:
            self.give_up(
                f"The answer took longer than {self.seconds:g} seconds; send fewer rows at once."
            )

    def give_up(self, message: str) -> NoReturn:
        """Raise DeadlineError with a message.

        It is StoppingError where the process has no more time, and not the request.
        """
        if self._last_answer() < self._end:
            raise StoppingError("The service is stopping; send the rows again.")
        raise DeadlineError(message)


class Load:
    """How many requests are computed at once, as far as is known here: in this process.

    The server hands its own to :func:`service.web.app.create_app`, one that knows of all its
    processes.

    Examples
    --------
    >>> load = Load()
    >>> load.tell(2)
    >>> load.total()
    2
    """

    def __init__(self) -> None:
        self._here = 0

    def tell(self, count: int) -> None:
        """Record how many are computed in this process."""
        self._here = count

    def total(self) -> int:
        """Return how many are computed in all."""
        return self._here


def seconds_until_stuck(seconds: float) -> float:
    """Return how long a computation may take that should take so many seconds at most."""
    return max(PATIENCE * seconds, seconds + LEAST_PATIENCE)


@dataclass(slots=True)
class ServedRequest:
    """What the server and the application tell each other of a request while it is answered.

    Attributes
    ----------
    deadline : Deadline
    thread : int
        The one that computes; by default the present one.
    is_late : bool
        Whether somebody answers in the place of that thread, since the deadline has passed.
    request_id : str or None
        Its name, once the application has given it one.
    record : callable or None
        Logs and counts the answer, once there is one. Whoever sends it calls this: of two answers
        to a request, that of its thread and the one in its place, only one is sent.

    Examples
    --------
    >>> ServedRequest(Deadline(0)).in_place().is_late
    True
    """

    deadline: Deadline
    thread: int = field(default_factory=get_ident)
    is_late: bool = False
    request_id: str | None = None
    record: Callable[[], None] | None = None

    def in_place(self) -> "ServedRequest":
        """Return the same request for who answers in the place of its thread."""
        others = copy(self)
        others.is_late, others.record = True, None
        return others

    def record_answer(self) -> None:
        """Log and count the answer that is about to be sent, if the application has made it."""
        if self.record is not None:
            self.record()

    @property
    def is_stuck(self) -> bool:
        """Whether its thread should have returned long ago, even if it began at the deadline."""
        return self.deadline.seconds_over > seconds_until_stuck(self.deadline.seconds)


# What a thread is about to answer, where the server has begun it.
of_this_request: ContextVar[ServedRequest | None] = ContextVar("of_this_request", default=None)


class Gate:
    """Lets a bounded number of requests in, and a smaller number of them compute at once.

    Those who wait take their turn in the order in which they came.

    Parameters
    ----------
    in_flight : int
        How many may be inside; one more is turned away at once.
    slots : int
        How many of them compute; the others wait until their deadline.
    load : Load, optional
        Is told how many compute.

    Examples
    --------
    >>> gate = Gate(in_flight=2, slots=1)
    >>> with gate.place():
    ...     gate.take_slot(Deadline(60))
    ...     gate.pass_slot_on()
    """

    def __init__(self, in_flight: int, slots: int, load: Load | None = None) -> None:
        self.load = load or Load()
        self._places = BoundedSemaphore(in_flight)
        self._lock = Lock()
        self._slots = self._free_slots = slots
        self._waiting: deque[Lock] = deque()  # each is locked until it is its turn

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for as long as the block runs.

        Raises
        ------
        BusyError
            When every place is taken.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError("Too many requests are being answered; try again in a second.")
        try:
            yield
        finally:
            self._places.release()

    def take_slot(self, deadline: Deadline) -> None:
        """Wait for a slot, which then has to be passed on: by whoever computes, when that is over.

        Raises
        ------
        DeadlineError, StoppingError
            When no slot became free in time.
        """
        with self._lock:
            if self._free_slots and not self._waiting:
                self._count_free(-1)
                return
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        while left := deadline.left:
            if turn.acquire(timeout=min(left, GLANCE_SECONDS)):
                return
        with self._lock:
            if turn not in self._waiting:  # at the last moment
                return
            self._waiting.remove(turn)
        deadline.give_up("No processor became free in time; send fewer requests at once.")

    def pass_slot_on(self) -> None:
        """Give the slot to whoever has waited longest; a semaphore would let a newcomer have it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._count_free(+1)

    def _count_free(self, change: int) -> None:
        self._free_slots += change
        self.load.tell(self._slots - self._free_slots)
