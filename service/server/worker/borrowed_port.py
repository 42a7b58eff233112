"""The port, where somebody else keeps it open and lends it.

On one host the replicas of a deployment take their connections from one listening socket. It
belongs to the container that publishes the port, and they get it over a Unix socket (PORT_FROM).
So each has a network of its own and starts in any order; what waits in the queue is taken by
whoever is ready, and a replica that ends leaves the queue to the others. The connection to the
keeper stays open: when it ends the keeper has ended, and its port with it, and the next one is
asked for another.
"""

import socket
import time
from pathlib import Path

RETRY_SECONDS = 0.5
PATIENCE = 0.2  # for a keeper that is there to answer


class BorrowedPort:
    """A listening socket that another process lends, as long as that one lives.

    Parameters
    ----------
    address : Path
        The Unix socket of the keeper.

    Attributes
    ----------
    keeper : socket or None
        The connection to the keeper; it becomes readable when that has ended.
    listener : socket or None
    """

    def __init__(self, address: Path) -> None:
        self.address = address
        self.keeper: socket.socket | None = None
        self.listener: socket.socket | None = None
        self._next_try = 0.0

    def borrow(self) -> bool:
        """Ask the keeper for the port, now and then, unless it is here; return whether it came."""
        now = time.monotonic()
        if self.keeper is not None or now < self._next_try:
            return False
        self._next_try = now + RETRY_SECONDS
        keeper = socket.socket(socket.AF_UNIX)
        try:
            keeper.settimeout(PATIENCE)
            keeper.connect(str(self.address))
            _, lent, _, _ = socket.recv_fds(keeper, 1, 1)
        except OSError:
            lent = []
        if not lent:
            keeper.close()
            return False
        self.keeper, self.listener = keeper, socket.socket(fileno=lent[0])
        for one in (self.keeper, self.listener):
            one.setblocking(False)
        self.listener.set_inheritable(False)  # programs that init() starts have no use for it
        return True

    def give_up(self) -> None:
        """Close what was lent; the keeper has ended."""
        for one in (self.keeper, self.listener):
            if one is not None:
                one.close()
        self.keeper = self.listener = None
        self._next_try = 0.0
