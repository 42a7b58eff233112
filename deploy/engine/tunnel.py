"""A Docker Engine on another host, through ssh: a socket here that ends at the engine's socket
there.

The user's own ssh does it, so their configuration, keys and known hosts count, and only the
`docker` package is needed. The same connection forwards the port that is scored on, since it is
published on the other host's loopback.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from deploy.errors import UnreachableError

REMOTE_SOCKET = "/var/run/docker.sock"
SECONDS = 30


def ssh_command(address: str, forwards: list[str]) -> list[str]:
    """Write the command for ``ssh://[user@]host[:port]``.

    Parameters
    ----------
    address : str
    forwards : list of str
        What ssh takes after ``-L``.
    """
    parts = urlsplit(address)
    host = f"{parts.username}@{parts.hostname}" if parts.username else str(parts.hostname)
    port = ["-p", str(parts.port)] if parts.port else []
    options = [
        "-nNT",
        "-o",
        "BatchMode=yes",
        "-o",
        "ExitOnForwardFailure=yes",
        "-o",
        "ServerAliveInterval=15",
    ]
    return [
        "ssh",
        *options,
        *port,
        *(word for forward in forwards for word in ("-L", forward)),
        host,
    ]


@contextmanager
def tunnel(address: str) -> Iterator[str]:
    """Open the tunnel to an engine, and close it afterwards; any other address passes through.

    Yields
    ------
    str
        The address that the client connects to.

    Raises
    ------
    UnreachableError
        With what ssh said.
    """
    if not address.startswith("ssh://"):
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="deploy-") as folder:
        local = Path(folder, "docker.sock")
        with forwarding(
            address, [f"{local}:{os.environ.get('REMOTE_DOCKER_SOCKET', REMOTE_SOCKET)}"], local
        ):
            yield f"unix://{local}"


@contextmanager
def forwarded_port(address: str, port: int) -> Iterator[int]:
    """Forward a port of the engine's host to a free one here; for an engine of this machine it is
    the port itself.
    """
    if not address.startswith("ssh://"):
        yield port
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        local = int(server.getsockname()[1])
    with forwarding(address, [f"{local}:127.0.0.1:{port}"], local):
        yield local


@contextmanager
def forwarding(address: str, forwards: list[str], local: Path | int) -> Iterator[None]:
    """Run ssh until the block ends; begin it when the local end listens."""
    process = subprocess.Popen(ssh_command(address, forwards), stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + SECONDS
        while not _listens(local):
            if process.poll() is not None or time.monotonic() > deadline:
                process.terminate()
                said = process.stderr.read().strip() if process.stderr else ""
                raise UnreachableError(
                    f"{address}: ssh opened no tunnel: {said or 'no word'}; try it by hand"
                )
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()
        if process.stderr:
            process.stderr.close()


def _listens(local: Path | int) -> bool:
    if isinstance(local, Path):
        return local.exists()
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", local)) == 0
