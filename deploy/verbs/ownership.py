"""Whose a deployment is: names belong to an engine, and two projects may have chosen the same.

A container that is never started says whose, from the first command on that changes something. By
default that is the folder of deploy.yml on its machine; ``DEPLOY_OWNER`` in the environment names
another owner, for folders that come and go, as those of a pipeline do. Next: `deploy.verbs.audit`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from deploy.engine.docker_engine import Engine
from deploy.engine.labels import ANCHOR, OWNER, RELEASE, REPLICA, labels
from deploy.errors import OwnedError
from deploy.release.inventory import Inventory

TAKE_OVER = "--take-over"  # of every verb


def owner_here(root: Path, environ: Mapping[str, str] | None = None) -> str:
    """Say who deploys from a folder.

    Parameters
    ----------
    root : Path
        The folder of deploy.yml.
    environ : mapping, optional
        In place of this process's environment.

    Examples
    --------
    >>> owner_here(Path("."), {"DEPLOY_OWNER": "team-a"})
    'team-a'
    """
    environ = os.environ if environ is None else environ
    return environ.get("DEPLOY_OWNER") or f"{socket.gethostname()}:{root.resolve()}"


def is_there(inventory: Inventory) -> bool:
    """Say whether anything is deployed, a release that does not serve too."""
    return bool(inventory.of(RELEASE, REPLICA, ANCHOR))


def owner_of(inventory: Inventory) -> str:
    """Say whose a deployment is; empty where nothing is deployed, or nobody knows."""
    if not is_there(inventory):
        return ""
    return next((found.label("owner") for found in inventory.of(OWNER)), "")


def check_owner(inventory: Inventory, here: str, *, take_over: bool) -> None:
    """Refuse to touch what another has deployed, unless told to.

    Raises
    ------
    OwnedError
    """
    owner = owner_of(inventory)
    if owner in ("", here) or take_over:
        return
    raise OwnedError(
        f"{inventory.name}: deployed by {owner}, not by {here}, and was not touched; choose "
        f"another name in deploy.yml, or take it over with {TAKE_OVER} (DEPLOY_OWNER names an "
        "owner that is no folder)"
    )


def claim(engine: Engine, inventory: Inventory, here: str) -> None:
    """Record whose a deployment is from now on."""
    if owner_of(inventory) == here:
        return
    for former in inventory.of(OWNER):
        engine.remove(former.id)
    body = {
        "Image": engine.empty_image(),
        "Cmd": ["/none"],
        "Labels": labels(inventory.name, OWNER, owner=here),
        "NetworkDisabled": True,
    }
    engine.create(f"{inventory.name}-owner", body)
