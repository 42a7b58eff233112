"""Work that a request waits for, and can leave behind: the deadline holds for any code.

An entry script may wait for what never answers: a lock, a feature store, a socket without a bound.
Nothing can end such a thread from outside. So another answers in its place at the deadline, while
it keeps its slot. Where the server does that (:mod:`service.server.worker`), a request computes in
the thread that it has; elsewhere each computation has a thread of its own, which its request can
leave: to wake two threads costs a quick prediction a fifth of its time. A process in which a
computation is long overdue says that it is not ready, and the server replaces it.

A request of many rows gets threads of the same kind as helpers, while processors are free: of all
requests that are computed at once, in all processes, each has an even share of the processors. One
more request takes its share when helpers have finished the piece that they are at.

Next: `service.web.slow_clients`.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock
from typing import Any

from service.scoring.request import Helpers
from service.web.request_limits import GLANCE_SECONDS, Deadline, Load, seconds_until_stuck


@dataclass
class _Work:
    """A function to call for a request, in the request's own context.

    ``is_going_on`` is locked until the function has returned, or raised an error.
    """

    function: Callable[[], Any]
    stuck_at: float
    context: Context = field(default_factory=copy_context)
    is_going_on: Lock = field(default_factory=Lock)
    returned: Any = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.is_going_on.acquire()

    def do(self) -> None:
        """Call the function, and keep what it returns or raises."""
        try:
            self.returned = self.context.run(self.function)
        except BaseException as error:
            self.error = error

    def result(self) -> Any:
        """Return what the function has returned, or raise what it has raised."""
        try:
            if self.error is not None:
                raise self.error
            return self.returned
        finally:
            del self  # an error keeps this frame, which must not keep the error


class Computations:
    """What computes in this process, in threads of its own or of the server's; thread-safe.

    Parameters
    ----------
    in_place : bool, default False
        Whether requests compute in their own threads, since the server answers in their place.

    Examples
    --------
    >>> Computations().run(lambda: 6 * 7, Deadline(60))
    42
    """

    def __init__(self, *, in_place: bool = False) -> None:
        self._in_place = in_place
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[_Work] = SimpleQueue()
        self._n_idle = 0
        self._stuck_at: dict[int, float] = {}  # when the computation of a thread will be stuck

    def run(self, function: Callable[[], Any], deadline: Deadline) -> Any:
        """Call a function, and return what it returns.

        Parameters
        ----------
        function : callable
            Without arguments. It goes on after the deadline, and nobody hears what it returns.
        deadline : Deadline

        Raises
        ------
        DeadlineError, StoppingError
            When it has not returned in time; else what the function raises.
        """
        if self._in_place:
            return self._run_here(function, deadline)
        work = self.start(function, deadline.seconds)
        try:
            while left := deadline.left:
                if work.is_going_on.acquire(timeout=min(left, GLANCE_SECONDS)):
                    return work.result()
            return deadline.check()
        finally:
            del work  # an error keeps this frame, which must not keep the error

    def _run_here(self, function: Callable[[], Any], deadline: Deadline) -> Any:
        with self._observed(time.monotonic() + seconds_until_stuck(deadline.seconds)):
            returned = function()
        deadline.check()
        return returned

    @contextmanager
    def _observed(self, stuck_at: float) -> Iterator[None]:
        """Know that this thread computes."""
        thread = threading.get_ident()
        with self._lock:
            self._stuck_at[thread] = stuck_at
        try:
            yield
        finally:
            with self._lock:
                del self._stuck_at[thread]

    def start(self, function: Callable[[], Any], seconds: float) -> _Work:
        """Let another thread call a function, which should return within a number of seconds."""
        work = _Work(function, time.monotonic() + seconds_until_stuck(seconds))
        with self._lock:
            is_anybody_idle = self._n_idle > 0
            self._n_idle -= is_anybody_idle
        if not is_anybody_idle:
            # A daemon: a process whose computation is stuck can still end.
            threading.Thread(target=self._compute, name="computation", daemon=True).start()
        self._waiting.put(work)
        return work

    def _compute(self) -> None:
        """Compute what comes, for as long as the process lives."""
        while True:
            work = self._waiting.get()
            with self._observed(work.stuck_at):
                work.do()
            with self._lock:
                self._n_idle += 1
            work.is_going_on.release()
            del work  # nothing of a request stays with an idle thread

    def stuck(self, others: Iterable[int] = ()) -> list[str]:
        """Return the stack of each thread whose computation is long overdue.

        Parameters
        ----------
        others : iterable of int, optional
            Threads that the server knows to be overdue, whatever they do.
        """
        now = time.monotonic()
        with self._lock:
            computing = [thread for thread, moment in self._stuck_at.items() if moment < now]
        stuck = {*computing, *others}
        if not stuck:  # as nearly always, and asked often: frames of all threads take their time
            return []
        frames = sys._current_frames()
        return ["".join(traceback.format_stack(frames[t])) for t in stuck if t in frames]


class FairHelpers(Helpers):
    """Threads for the rows of requests: an even share of the processors for each request.

    Parameters
    ----------
    computations : Computations
        Whose threads they are.
    load : Load
        Knows how many requests are computed at once.
    threads : int
        How many threads may explain at once, for all requests together.
    seconds : float
        How long a helper may take before it is said to be stuck: the deadline of a request.

    Examples
    --------
    >>> load = Load()
    >>> helpers = FairHelpers(Computations(), load, threads=4, seconds=60)
    >>> load.tell(1)
    >>> helpers.most()  # beside the request's own thread
    3
    >>> load.tell(2)
    >>> helpers.most()
    1
    """

    def __init__(
        self, computations: Computations, load: Load, *, threads: int, seconds: float
    ) -> None:
        super().__init__()
        self._computations, self._load = computations, load
        self._threads, self._seconds = threads, seconds

    def most(self) -> int:
        """Return how many may work for one request at this moment, beside its own thread."""
        return max(1, self._threads // max(1, self._load.total())) - 1

    def start(self, work: Callable[[], None]) -> None:
        """Let a thread do some work, in the context of the request."""
        self._computations.start(work, self._seconds)
