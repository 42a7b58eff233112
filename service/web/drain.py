"""Going away without losing a request.

SIGTERM turns readiness to 503 in every worker; a load balancer then sends new requests elsewhere. For some seconds the
service goes on answering whatever still comes, each answer with ``Connection: close``. Then gunicorn stops: what is in
flight is finished, and the process ends with 0. A second SIGTERM cuts the waiting short.
"""

import mmap
import os
import signal
from types import FrameType


class SharedFlag:
    """One bit that all processes forked from this one see."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def __bool__(self) -> bool:
        return self._memory[0] == 1

    def set(self) -> None:
        """Raise the flag, for good."""
        self._memory[0] = 1


draining = SharedFlag()


def drain_on_sigterm(seconds: float) -> None:
    """Put the drain before gunicorn's own handling of SIGTERM, in its parent process."""
    stop = signal.getsignal(signal.SIGTERM)

    def drain(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        draining.set()  # and no word of it: a handler that logs may meet itself inside a write
        # The timer works for a drain of no time too, and never inside this handler.
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))

    signal.signal(signal.SIGTERM, drain)
