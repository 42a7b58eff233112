"""What a script has started and a worker finds at its end: pools, threads and processes.

Python would wait for them, without a word, and what waits for this process would kill it.

Next: `service.server.worker.late_requests`.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable
from itertools import filterfalse
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from operator import attrgetter

SECONDS_TO_LEAVE = 2.0  # when nothing is left to answer
SECONDS_AT_EXIT = 8.0  # after that, for what is registered to be done at the exit


def end_pools() -> None:
    """Let executors of threads and processes end as Python would, but wait for a moment only.

    They may still compute what nobody waits for any more.
    """
    ends = getattr(threading, "_threading_atexits", ())
    ending = [threading.Thread(target=end, daemon=True) for end in ends]
    for thread in ending:
        thread.start()
    _wait_a_moment_for(ending)


def threads_that_go_on(ours: Iterable[threading.Thread]) -> list[threading.Thread]:
    """Return the threads of a script, and none of ours, that do not end within a moment."""
    others = set(filterfalse(attrgetter("daemon"), threading.enumerate()))
    others -= {threading.main_thread(), *ours}
    _wait_a_moment_for(others)
    return list(filter(threading.Thread.is_alive, others))


def end_at_last(status: int, log: logging.Logger) -> None:
    """End this process, whatever still waits for something, and the processes of a script first.

    This is for a thread beside the worker's end. Pools end their processes themselves, at the exit.
    """
    for end in (BaseProcess.terminate, BaseProcess.kill):
        time.sleep(SECONDS_TO_LEAVE)
        if left := list(filterfalse(attrgetter("daemon"), active_children())):
            log.info(
                "Ends %d processes of the entry script that go on. %s", len(left), names_of(left)
            )
            for process in left:
                end(process)
    time.sleep(SECONDS_AT_EXIT)
    names = names_of(threading.enumerate())
    log.warning("Ends without the rest of what is to be done at its exit, which goes on. %s", names)
    for process in active_children():
        process.kill()
    os._exit(status)


def names_of(those: Iterable[threading.Thread | BaseProcess]) -> str:
    """List threads or processes for the log."""
    return ", ".join(map(attrgetter("name"), those))


def _wait_a_moment_for(threads: Iterable[threading.Thread]) -> None:
    until = time.monotonic() + SECONDS_TO_LEAVE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
