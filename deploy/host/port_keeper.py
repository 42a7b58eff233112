"""Keeps a port open and lends its listening socket: the program of the anchor.

The engine gets its text (``python -c``), so it is not in the image and needs the standard library
only. Each process of a replica connects to the Unix socket, gets the listening socket of the port
as a descriptor, and takes connections from it, wherever it runs: a socket belongs to the network
that it was opened in. The connection stays open, and by its end a replica sees that the keeper, and
this port with it, has ended. Next: `deploy.host.specs`.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

WAITING = 4096  # connections that nobody has taken yet; the kernel's own limit may be lower
BORROWERS = 128  # that ask at the same moment


def keep(address: str, port: int) -> None:
    """Open a port and lend it to whoever asks at a Unix socket, for ever."""
    listener = socket.create_server(("", port), backlog=WAITING)
    with suppress(FileNotFoundError):  # what a keeper before has left
        os.unlink(address)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(BORROWERS)
        borrowers: list[socket.socket] = []
        while True:
            borrower, _ = server.accept()
            borrower.setblocking(False)
            with suppress(OSError):  # it has gone already
                socket.send_fds(borrower, [b"\0"], [listener.fileno()])
                borrowers.append(borrower)
            borrowers = [one for one in borrowers if _is_there(one)]


def _is_there(borrower: socket.socket) -> bool:
    try:
        return bool(borrower.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


if __name__ == "__main__":
    keep(sys.argv[1], int(sys.argv[2]))
