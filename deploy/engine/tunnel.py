"""A Docker Engine on another host, through ssh.

A socket here ends at the engine's socket there.
The user's own ssh does it, so their configuration, keys and known hosts count, and only the
`docker` package is needed. The same connection forwards the port that is scored on, since it is
published on the other host's loopback. Next: `deploy.registry.origin`.
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
SECONDS = 30  # that ssh may take to connect
OPTIONS = ("-oBatchMode=yes", "-oExitOnForwardFailure=yes", "-oServerAliveInterval=15")


def ssh_command(address: str, forwards: list[str]) -> list[str]:
    """Write the command that forwards something to an engine's host.

    Parameters
    ----------
    address : str
        ``ssh://[user@]host[:port]``.
    forwards : list of str
        What ssh takes after ``-L``.

    Examples
    --------
    >>> command = ssh_command("ssh://me@host:2222", ["/tmp/s:/var/run/docker.sock"])
    >>> command[-5:]
    ['-p', '2222', '-L', '/tmp/s:/var/run/docker.sock', 'me@host']
    """
    parts = urlsplit(address)
    host = f"{parts.username}@{parts.hostname}" if parts.username else str(parts.hostname)
    port = ["-p", str(parts.port)] if parts.port else []
    command = ["ssh", "-nNT", *OPTIONS, *port]
    for forward in forwards:
        command += ["-L", forward]
    return [*command, host]


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
    """Forward a port of the engine's host to a free one here.

    Yields
    ------
    int
        The port to ask; that of the host itself when the engine is on this machine.
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
    """Run ssh until the block ends; begin it when the local end listens.

    Raises
    ------
    UnreachableError
        When ssh ends, or nothing listens in time.
    """
    process = subprocess.Popen(ssh_command(address, forwards), stderr=subprocess.PIPE, text=True)
    try:
        _wait_until_it_listens(process, address, local)
        yield
    finally:
        process.terminate()
        process.wait()
        if process.stderr:
            process.stderr.close()


def _wait_until_it_listens(process: subprocess.Popen[str], address: str, local: Path | int) -> None:
    deadline = time.monotonic() + SECONDS
    while not _listens(local):
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            said = process.stderr.read().strip() if process.stderr else ""
            raise UnreachableError(
                f"{address}: ssh opened no tunnel: {said or 'no word'}; try it by hand"
            )
        time.sleep(0.05)


def _listens(local: Path | int) -> bool:
    if isinstance(local, Path):
        return local.exists()
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", local)) == 0
