"""How many requests all workers compute at once: what decides over helpers for many rows.

A request of many rows may have all processors while nobody else computes, in whichever worker it
is. Workers do not wait for each other, and there is nothing that one which is killed could keep:
each tells its own number, and reads those of the others. So for a moment there may be some threads
more than processors, and never a request without one. Next: `service.server.memory_folder`.
"""

from service.server.connection_balance import SharedCounts
from service.web.request_limits import Load


class SharedLoad(Load):
    """The numbers of all processes that are forked from the one that makes it.

    Examples
    --------
    >>> load = SharedLoad()
    >>> load.begin(worker=1)
    >>> load.tell(2)
    >>> load.total()
    2
    >>> load.forget(worker=1)
    >>> load.total()
    0
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts = SharedCounts()
        self._worker = 0

    def begin(self, worker: int) -> None:
        """Tell from now on for one worker, in the process that it is."""
        self._worker = worker
        self.tell(0)

    def tell(self, count: int) -> None:
        """Record how many are computed in this process."""
        self._counts.tell(self._worker, count)

    def total(self) -> int:
        """Return how many are computed in all."""
        return self._counts.total()

    def forget(self, worker: int) -> None:
        """Record that a worker has ended."""
        self._counts.forget(worker)
