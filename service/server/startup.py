"""How a worker starts: it loads the models and scores the example, and then it is ready.

This happens in the worker, after the fork: threads, pools and connections that ``init()`` starts do
not survive one, and neither do those of OpenMP, which reading a model can start. One worker starts
at a time, since reading takes more memory than having read. A start has a bound: one that takes
longer ends with a sentence and the stack of every thread, and so does the whole service. Only once
all workers have been ready, and others serve, is a start that failed tried again.

Next: `service.server.connection_balance`.
"""

import faulthandler
import fcntl
import logging
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.server.drain import SharedFlag, SharedTime

LOG = logging.getLogger("gunicorn.error")
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)  # signals that end the service
FAILED = 3  # gunicorn's own exit status of a worker that could not start, and then of the service
# For code that keeps the interpreter, so that no thread can say the sentence.
HELD_SECONDS = 5.0
TURN_SECONDS = 0.05
AGAIN_SECONDS = 5.0  # from the failure of one worker, while others serve, to the start of the next


class Startup:
    """The starts of all workers, as the processes forked from this one see them.

    Parameters
    ----------
    folder : Path
        Where the workers find the lock that only one of them holds.
    seconds : float
        How long a start may take.
    n_workers : int
    is_served : callable
        Tells whether any worker serves.
    """

    def __init__(
        self, folder: Path, seconds: float, n_workers: int, is_served: Callable[[], bool]
    ) -> None:
        self._lock = folder / "starting.lock"
        self._seconds = seconds
        self._n_workers = n_workers
        self._is_served = is_served
        self._n_started = memoryview(mmap.mmap(-1, 4)).cast("i")  # seen by all processes
        self._not_before = SharedTime()
        self._not_before.set(0.0)
        self._has_failed = SharedFlag()
        self._is_called_off = SharedFlag()

    @property
    def has_failed(self) -> bool:
        """Whether a worker could not start while none served: the service is about to end."""
        return bool(self._has_failed)

    @property
    def is_called_off(self) -> bool:
        """Whether the service ends anyway: a worker that does not get ready is no news."""
        return bool(self._is_called_off)

    def fail(self) -> str:
        """Record that a worker could not start, and return what comes of it.

        The service is about to end, unless a worker was to be replaced and others serve: then the
        next start waits for a while.
        """
        if self._n_started[0] >= self._n_workers and self._is_served():
            self._not_before.set(time.monotonic() + AGAIN_SECONDS)
            return f"the others serve on, and the next one starts in {AGAIN_SECONDS:g} seconds"
        self._has_failed.set()
        self.call_off()
        return "the service ends"

    def call_off(self) -> None:
        """Record that the service is about to end."""
        self._is_called_off.set()

    @contextmanager
    def turn(self, show_life: Callable[[], None]) -> Iterator[None]:
        """Wait until no other worker starts, and run the block within the bound.

        Parameters
        ----------
        show_life : callable
            Called while waiting, so that gunicorn does not take the worker for a hanging one.
        """
        with self._lock.open("w") as lock:
            while not self._may_begin() or not _is_locked(lock.fileno()):
                show_life()
                time.sleep(TURN_SECONDS)
            try:
                with self._bounded():
                    yield
                self._n_started[0] += 1  # before the next one has its turn
            finally:
                # Closing it is not enough: processes that init() has forked have it too.
                fcntl.flock(lock, fcntl.LOCK_UN)

    def _may_begin(self) -> bool:
        # Where the service ends because of a failure, nobody begins any more.
        return not self.has_failed and time.monotonic() >= self._not_before.get()

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        watch = threading.Timer(self._seconds, self._give_up)
        watch.daemon = True
        watch.start()
        faulthandler.dump_traceback_later(self._seconds + HELD_SECONDS, exit=True)
        try:
            yield
        finally:
            watch.cancel()
            faulthandler.cancel_dump_traceback_later()

    def _give_up(self) -> None:
        LOG.error(
            "Worker %d was not ready within %g seconds (START_SECONDS): init() or the self-check "
            "hangs, or needs more time. The stack of each of its threads follows.",
            os.getpid(),
            self._seconds,
        )
        self.fail()
        sys.stderr.flush()
        faulthandler.dump_traceback(all_threads=True)
        os._exit(FAILED)


def _is_locked(descriptor: int) -> bool:
    """Take a lock if nobody has it; it goes with the process, however that ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
