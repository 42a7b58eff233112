"""Bounds on work: how many requests are in flight, how many are computed at once, and how long one
may take.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from service.web.errors import BusyError, DeadlineError, StoppingError

GLANCE_SECONDS = 1.0  # between two looks at a deadline while waiting: it may come nearer


class Deadline:
    """The time by which a request has to be answered.

    Parameters
    ----------
    seconds : float
        From now.
    last_answer : callable, optional
        Tells the time of the monotonic clock after which this process can answer nobody; by default
        that never comes.
    """

    def __init__(self, seconds: float, last_answer: Callable[[], float] = lambda: math.inf) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._last_answer = last_answer

    @property
    def left(self) -> float:
        """Seconds until then; 0 when it has passed."""
        return max(0.0, min(self._end, self._last_answer()) - time.monotonic())

    def check(self) -> None:
        """Raise an error once the time is over: the work goes no further, and its thread is
        free.
        """
        if not self.left:
            self.give_up(
                f"The answer took longer than {self.seconds:g} seconds; send fewer rows at once."
            )

    def give_up(self, message: str) -> NoReturn:
        """Raise DeadlineError with a message, or StoppingError where it is the process that has no
        more time.
        """
        if self._last_answer() < self._end:
            raise StoppingError("The service is stopping; send the rows again.")
        raise DeadlineError(message)


class Gate:
    """Lets a bounded number of requests in, and a smaller number of them compute at once, first
    come, first served.

    Parameters
    ----------
    in_flight : int
        How many may be inside; one more is turned away at once.
    slots : int
        How many of them compute; the others wait until their deadline.
    """

    def __init__(self, in_flight: int, slots: int) -> None:
        self._places = threading.BoundedSemaphore(in_flight)
        self._lock = threading.Lock()
        self._free_slots = slots
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def entered(self, deadline: Deadline) -> Iterator[None]:
        """Hold a place and a slot for as long as the block runs."""
        if not self._places.acquire(blocking=False):
            raise BusyError("Too many requests are being answered; try again in a second.")
        try:
            self._take_slot(deadline)
            try:
                yield
            finally:
                self._pass_slot_on()
        finally:
            self._places.release()

    def _take_slot(self, deadline: Deadline) -> None:
        with self._lock:
            if self._free_slots and not self._waiting:
                self._free_slots -= 1
                return
            turn = threading.Event()
            self._waiting.append(turn)
        while deadline.left:
            if turn.wait(min(deadline.left, GLANCE_SECONDS)):
                return
        with self._lock:
            if turn.is_set():  # at the last moment
                return
            self._waiting.remove(turn)
        deadline.give_up("No processor became free in time; send fewer requests at once.")

    def _pass_slot_on(self) -> None:
        """Give the slot to whoever has waited longest; a semaphore would let a newcomer have it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free_slots += 1
