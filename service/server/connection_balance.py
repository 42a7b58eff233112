"""An even share of connections for every worker.

All workers wait for the same port, and whichever is quickest takes a new connection; kept alive, it
stays there. Without a balance one worker can end up with nearly all of them, whose requests wait
for each other beside an idle one.

Next: `service.server.memory_folder`.
"""

import mmap

from service.settings import MOST_WORKERS

NOBODY = -1


class SharedCounts:
    """The number of connections of each worker, seen by all processes forked from this one."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * MOST_WORKERS)).cast("i")
        for place in range(MOST_WORKERS):
            self._counts[place] = NOBODY

    def tell(self, worker: int, count: int) -> None:
        """Record the connections of a worker, by its number; NOBODY once it has ended."""
        self._counts[worker % MOST_WORKERS] = count

    def fewest(self) -> int:
        """Return the smallest number of connections of a worker; 0 when there is no worker."""
        return min((count for count in self._counts if count != NOBODY), default=0)
