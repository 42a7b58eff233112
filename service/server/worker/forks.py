"""The signals that end a process, and those that a script forks: ``multiprocessing`` does.

Next: `service.server.worker.leftovers`.
"""

import signal
import threading

from service.server.startup import ENDING

_forking = threading.local()  # the mask of signals of a thread that forks


def end_at_signals() -> None:
    """End this process at once at each of them."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


def hold_signals() -> None:
    """Let what ends a process wait while this thread forks one.

    The new one is born with the worker's handlers, which would lose it; a pool that had its results
    by then would wait forever for the end of its process.
    """
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def let_signals_through() -> None:
    """Let it come again, in the process that has forked and in the new one."""
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)
