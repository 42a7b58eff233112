"""The end of a service, as its processes see it."""

import os
import signal
import time

from service.server.drain import SharedTime


def test_a_shared_time_is_never_seen_half_written():
    """While one process writes the time, others read what was there before or after, never less:
    a request would be refused for a service that goes on.
    """
    moment = SharedTime()
    writer = os.fork()
    if writer == 0:
        signal.alarm(60)
        while True:
            moment.set(1e9)
    try:
        end = time.monotonic() + 1
        seen = set()
        while time.monotonic() < end:
            seen.update(moment.get() for _ in range(1000))
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    assert 1e9 in seen
    assert min(seen) == 1e9
