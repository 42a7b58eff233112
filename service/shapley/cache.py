"""What was made for a plan is kept, within a bounded memory, and shared by all rows and threads.

Next: :mod:`service.shapley.survey`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

MOST_BYTES = 128 * 2**20


class HasSize(Protocol):
    """Something whose memory is known."""

    @property
    def nbytes(self) -> int:
        """Its size."""


Value = TypeVar("Value", bound=HasSize)


class BoundedCache(Generic[Value]):
    """The things made last, up to `MOST_BYTES` together, and always the very last one.

    They are left out of pickles: they are made again at first use.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as an empty one."""
        return BoundedCache, ()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what is kept under a key, or make it.

        Other threads wait meanwhile instead of making it too.
        """
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
                self._forget_oldest()
            self._made.move_to_end(key)
            return self._made[key]

    def _forget_oldest(self) -> None:
        """Make room for what was made last; what is kept may have grown since it was made."""
        sizes = [made.nbytes for made in self._made.values()]
        too_much = sum(sizes) - MOST_BYTES
        for size in sizes[:-1]:
            if too_much <= 0:
                return
            self._made.popitem(last=False)
            too_much -= size
