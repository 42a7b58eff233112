"""A trial start: the service as it will run, on a port of this machine alone, until it is ready.

Loading the models in one process does not tell whether workers get ready: an entry script, the
threads of a library and the limits of this machine come in too.

Next: `service.server.gunicorn_conf`.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing

END_SECONDS = 40.0  # beyond the 30 in which a service ends by itself
READY = "is ready"  # what each worker says in the log
# Whatever else listens here, and whoever looks at this machine, is left alone.
ALONE = {
    "HOST": "127.0.0.1",
    "PROBE_PORT": "",
    "REUSE_PORT": "",
    "PORT_FROM": "",
    "REPLICAS_FOLDER": "",
    "DRAIN_SECONDS": "0",
}


def try_start(environment: Mapping[str, str], n_workers: int) -> str | None:
    """Start the service, wait until every worker is ready, and end it.

    Parameters
    ----------
    environment : mapping of str to str
        Its settings, and everything else that it hands on.
    n_workers : int
        How many workers those settings make.

    Returns
    -------
    str or None
        What the service said was wrong; None when it got ready. A start ends by itself, at the
        latest after START_SECONDS for each worker.
    """
    environment = {**environment, **ALONE, "PORT": str(_free_port())}
    service = subprocess.Popen(
        [sys.executable, "-m", "service", "serve"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        return _wrong_in(service, n_workers)
    finally:
        _end(service)


def _end(service: subprocess.Popen[str]) -> None:
    service.terminate()
    try:
        service.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        service.kill()
        service.communicate()


def _wrong_in(service: subprocess.Popen[str], n_workers: int) -> str | None:
    assert service.stdout is not None
    n_ready, errors, last = 0, [], ""
    for line in service.stdout:
        level, last = _level_and_message(line)
        if level == "error":
            errors.append(last)
        n_ready += last.endswith(f"{READY}.")
        if n_ready == n_workers:
            return None
    return errors[0] if errors else last


def _level_and_message(line: str) -> tuple[str, str]:
    """Read a line of the log; what a library printed by itself has no level."""
    try:
        entry = json.loads(line)
        return entry["level"], entry["message"]
    except (ValueError, TypeError, KeyError):
        return "", line.strip()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
