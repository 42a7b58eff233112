"""An even share of connections for every worker.

All workers wait for the same port, and whichever is quickest takes a new connection; kept alive, it
stays there. Without a balance one worker can end up with nearly all of them, whose requests wait
for each other beside an idle one.

Next: `service.server.shared_load`.
"""

import mmap

from service.settings import MOST_WORKERS

_NOBODY = -1


class SharedCounts:
    """A number for each ready worker, of its connections for instance.

    All processes forked from the one that makes it see them.

    Workers are known by gunicorn's number for them.
    """

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * MOST_WORKERS)).cast("i")
        for place in range(MOST_WORKERS):
            self._counts[place] = _NOBODY

    def tell(self, worker: int, count: int) -> None:
        """Record the number of a worker that is ready."""
        self._counts[worker % MOST_WORKERS] = count

    def forget(self, worker: int) -> None:
        """Record that a worker has ended."""
        self.tell(worker, _NOBODY)

    def has(self, worker: int) -> bool:
        """Tell whether a worker is ready."""
        return self._counts[worker % MOST_WORKERS] != _NOBODY

    def has_any(self) -> bool:
        """Tell whether any worker is ready."""
        return any(count != _NOBODY for count in self._counts)

    def total(self) -> int:
        """Return the sum of the counts of all workers."""
        return sum(count for count in self._counts if count != _NOBODY)

    def fewest(self) -> int:
        """Return the smallest number of a worker; 0 when there is no worker."""
        return min((count for count in self._counts if count != _NOBODY), default=0)
