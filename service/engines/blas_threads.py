"""One BLAS thread while engines are built and rows explained.

The last bits of a product depend on the number of threads. So a row gets the same bytes whatever
the machine's cores, the environment's settings and the joblib backend. Rows are what is worth doing
in parallel (``n_jobs``, or the server's workers), not the small products of one row. Next:
:mod:`service.engines.engine`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

Given = ParamSpec("Given")
Made = TypeVar("Made")


class _Keeper:
    """Sets the limit for the first thread that comes in, and lifts it after the last one.

    threadpoolctl lets only the thread that set a limit change it, and the last one out need not be
    the first one in: so one thread of its own does both.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.count = 0
        self.thread = ThreadPoolExecutor(1, "blas-threads")
        self.limit: Any = None

    def enter(self) -> None:
        with self.lock:
            if self.count == 0:
                # Where there is one thread anyway, the way to the other thread is saved.
                self.limit = None if _is_single() else self.thread.submit(_limited).result()
            self.count += 1

    def leave(self) -> None:
        with self.lock:
            self.count -= 1
            if self.count == 0 and self.limit is not None:
                self.thread.submit(self.limit.__exit__, None, None, None).result()


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # it looks through all loaded libraries: some milliseconds


def _is_single() -> bool:
    return all(
        library.num_threads == 1
        for library in _controller().lib_controllers
        if library.user_api == "blas"
    )


def _limited() -> Any:
    return _controller().limit(limits=1, user_api="blas").__enter__()


_keepers = [_Keeper()]
# A forked process has no copy of the keeper's thread: it gets a keeper of its own.
os.register_at_fork(after_in_child=lambda: _keepers.__setitem__(0, _Keeper()))


class _Limited:
    """One stay within the limit; as a decorator one for each call."""

    keeper: _Keeper

    def __enter__(self) -> None:
        self.keeper = _keepers[0]
        self.keeper.enter()

    def __exit__(self, *error: object) -> None:
        self.keeper.leave()

    def __call__(self, function: Callable[Given, Made]) -> Callable[Given, Made]:
        @wraps(function)
        def limited(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            with _Limited():
                return function(*args, **kwargs)

        return limited


def one_blas_thread() -> _Limited:
    """Limit BLAS to one thread in this process, as a context or a decorator.

    Several threads may be inside at once.
    """
    return _Limited()
