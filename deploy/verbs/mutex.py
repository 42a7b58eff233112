"""One deployment at a time under a name.

The mutex is a container of a fixed name, which the engine gives to one caller only. It says who
holds it and since when. A holder on this machine whose process has ended is taken over from; of one
on another machine nothing can be known, so `python -m deploy unlock` is for a person.
Next: `deploy.verbs.ownership`.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.engine.docker_engine import Body, Container, Engine
from deploy.engine.labels import LOCK, labels
from deploy.errors import ConflictError, LockedError

ATTEMPTS = 3


@contextmanager
def locked(engine: Engine, name: str, doing: str) -> Iterator[None]:
    """Hold the name of a deployment.

    Parameters
    ----------
    engine : Engine
    name : str
        The deployment's.
    doing : str
        What others read who find it held.

    Raises
    ------
    LockedError
        When somebody else holds it.
    """
    container = _take(engine, name, doing)
    try:
        yield
    finally:
        engine.remove(container)


def holder(engine: Engine, name: str) -> dict[str, Any] | None:
    """Say who holds the name: who, where, doing what, since when; None when nobody does."""
    found = _lock(engine, name)
    return read(found) if found else None


def read(lock: Container) -> dict[str, Any]:
    """Say who holds a lock: who, where, doing what, since when."""
    return dict(json.loads(lock.label("holder")))


def unlock(engine: Engine, name: str) -> bool:
    """Take the name from its holder; say whether there was one."""
    found = _lock(engine, name)
    if found:
        engine.remove(found.id)
    return found is not None


def _take(engine: Engine, name: str, doing: str) -> str:
    body = _body(name, engine.empty_image(), _me(doing))
    for _ in range(ATTEMPTS):
        try:
            return engine.create(f"{name}-lock", body)
        except ConflictError:
            found = _lock(engine, name)
            if found and not _ended(read(found)):
                raise LockedError(_sentence(name, read(found))) from None
            if found:
                engine.remove(found.id)  # by its id: never the lock of one who was quicker
    raise LockedError(f"{name}: others take the lock again and again; try later")


def _lock(engine: Engine, name: str) -> Container | None:
    return next(iter(engine.containers(name, LOCK)), None)


def _sentence(name: str, held: dict[str, Any]) -> str:
    return (
        f"{name}: {held['who']} is deploying ({held['doing']}, process {held['pid']}) since "
        f"{held['since']}; wait, or if that is no longer so: python -m deploy unlock"
    )


def _me(doing: str) -> dict[str, Any]:
    return {
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "doing": doing,
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "boot": _boot(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    }


def _ended(held: dict[str, Any]) -> bool:
    # Only of a process of this machine, in this boot, can it be said; a number may be another
    # process's by now.
    return bool(_boot()) and held["boot"] == _boot() and _started(held["pid"]) != held["started"]


def _boot() -> str:
    file = Path("/proc/sys/kernel/random/boot_id")
    return f"{file.read_text().strip()} {os.readlink('/proc/self/ns/pid')}" if file.exists() else ""


def _started(process: int) -> str:
    file = Path(f"/proc/{process}/stat")
    return file.read_text().rpartition(")")[2].split()[19] if file.exists() else ""


def _body(name: str, image: str, holder: dict[str, Any]) -> Body:
    """Hold a name: the engine gives it to one container only."""
    return {
        "Image": image,
        "Cmd": ["/none"],
        "Labels": labels(name, LOCK, holder=json.dumps(holder, sort_keys=True)),
        "NetworkDisabled": True,
    }
