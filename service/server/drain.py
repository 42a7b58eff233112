"""Going away without losing a request.

SIGTERM turns readiness to 503 in every worker; a load balancer then sends new requests elsewhere.
For some seconds the service goes on answering whatever still comes, each answer with ``Connection:
close``. Then gunicorn stops: what is in flight is finished, and the process ends with 0. A second
SIGTERM cuts the waiting short. What cannot be finished by then is refused just before, so that no
client is left without an answer.

Next: `service.server.startup`.
"""

import math
import mmap
import os
import signal
import time
from types import FrameType

from service.web.lifecycle import Lifecycle

SECONDS_TO_ANSWER = 0.5  # for a refusal to reach the client


class SharedFlag:
    """One bit that all processes forked from this one see."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def __bool__(self) -> bool:
        return self._memory[0] == 1

    def set(self) -> None:
        """Raise the flag, for good."""
        self._memory[0] = 1


class SharedTime:
    """A time of the monotonic clock that all processes forked from this one see.

    At first it never comes. It is written at once: ``struct.pack_into`` writes zeros first, and
    whoever reads meanwhile would find that the time is long over.
    """

    def __init__(self) -> None:
        self._moment = memoryview(mmap.mmap(-1, 8)).cast("d")
        self.set(math.inf)

    def get(self) -> float:
        """Return the time."""
        return self._moment[0]

    def set(self, moment: float) -> None:
        """Change the time."""
        self._moment[0] = moment


class Drain(Lifecycle):
    """The end of this service, as all processes forked from the one that makes it see it."""

    answers_late_requests = True

    def __init__(self) -> None:
        self._has_begun = SharedFlag()
        self._last_answer = SharedTime()

    @property
    def is_draining(self) -> bool:
        """Whether SIGTERM has come."""
        return bool(self._has_begun)

    def last_answer(self) -> float:
        """Return the time of the monotonic clock after which nobody can be answered."""
        return self._last_answer.get()

    def begin_on_sigterm(self, seconds: float, grace: float) -> None:
        """Put the drain before gunicorn's own handling of SIGTERM, in its parent process.

        Parameters
        ----------
        seconds : float
            For which whatever comes is still accepted.
        grace : float
            Seconds after those, for what is in flight.
        """
        stop = signal.getsignal(signal.SIGTERM)

        def drain(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            self._last_answer.set(time.monotonic() + seconds + grace - SECONDS_TO_ANSWER)
            # Without a word of it: a handler that logs may meet itself inside a write.
            self._has_begun.set()
            # The timer works for a drain of no time too, and never inside this handler.
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))

        signal.signal(signal.SIGTERM, drain)
