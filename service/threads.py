"""A function of many items, in threads of this process, with its answers in the items' order.

Next: :mod:`service.batch`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_threads(
    function: Callable[[T], R], items: Iterable[T], n_threads: int, *, n_ahead: int = 1
) -> Iterator[R]:
    """Yield what a function returns for each item, in their order.

    Nothing more is begun once one has failed or nobody asks on.

    Parameters
    ----------
    function : callable
        It is called in several threads at once.
    items : iterable
        Read as far as items are begun.
    n_threads : int
    n_ahead : int, default 1
        How many items are begun beyond those that are at work.

    Examples
    --------
    >>> list(map_in_threads(abs, [-3, 1, -2], n_threads=2))
    [3, 1, 2]
    """
    threads = ThreadPoolExecutor(n_threads)
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            begun.append(threads.submit(function, item))
            if len(begun) >= n_threads + n_ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
