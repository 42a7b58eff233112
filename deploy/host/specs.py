"""What is asked of the Docker Engine, as data: the bodies of its API's requests.

Pure functions of a release and a configuration; `deploy.engine.docker_engine` sends what they
return. The names are the Engine API's own (``POST /containers/create``), so its reference explains
each.

One host: an *anchor* publishes the port, keeps its listening socket open and lends it over a Unix
socket in a volume (`deploy.host.port_keeper`). Each *replica* has a network of its own, takes
connections from the socket that all share, and listens on a port of its own for probes. So a new
replica takes connections before an old one stops, what waits in the queue is there for all, and
whichever container ends, the engine's restart policy alone brings it back, in any order.
Next: `deploy.host.state`.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

from deploy.contract import PORT_FOLDER, PORT_VOLUME, PROBE_PORT, PYTHON, SERVICE_PORT
from deploy.engine.docker_engine import SECOND, Body
from deploy.engine.hardening import HARDENING, USER, hardened
from deploy.engine.labels import ANCHOR, COURIER, REPLICA, labels
from deploy.host import port_keeper
from deploy.release.release import Release
from deploy.release.specs import port_volume, service

LEAVING = "-leaving"  # ends the name of a replica that is to stop
# The service's settings: where the port is lent, and where the replicas find each other.
BORROWED, SHARED = "PORT_FROM", "REPLICAS_FOLDER"


def anchor(release: Release, name: str) -> Body:
    """Publish the port, keep it open, and lend it at a Unix socket of the anchor's name."""
    config = release.config
    port = f"{SERVICE_PORT}/tcp"
    body = hardened(
        memory=32 * 2**20,
        nano_cpus=SECOND // 4,
        scratch_mib=1,
        hardening=replace(HARDENING, processes=8),
    )
    body["HostConfig"] |= {
        "PortBindings": {port: [{"HostIp": config.bind, "HostPort": str(config.port)}]},
        "Mounts": [port_mount(config.name)],
        "RestartPolicy": {"Name": "always"},
    }
    return {
        **body,
        "Image": release.image,
        "Entrypoint": [PYTHON, "-I", "-c", Path(port_keeper.__file__).read_text(encoding="utf-8")],
        "Cmd": [_lent_at(name), str(SERVICE_PORT)],
        "Labels": labels(config.name, ANCHOR, port=config.port, bind=config.bind, lends="yes"),
        "ExposedPorts": {port: {}},
        "Healthcheck": {"Test": ["NONE"]},
    }


def replica(release: Release, anchor: str, generation: int, previous: str = "") -> Body:
    """Serve: take connections from the port that the anchor of a name lends to all replicas."""
    config = release.config
    body = service(release, PROBE_PORT)
    body["Env"] = [*body["Env"], f"{BORROWED}={_lent_at(anchor)}", f"{SHARED}={PORT_FOLDER}"]
    body["Labels"] = labels(
        config.name,
        REPLICA,
        release=release.id,
        generation=generation,
        replicas=config.replicas,
        previous=previous,
        anchor=anchor,
    )
    mounts = body["HostConfig"].get("Mounts", [])
    body["HostConfig"] |= {
        "Mounts": [*mounts, port_mount(config.name)],
        "RestartPolicy": {"Name": "always"},
    }
    return body


def port_courier(name: str, image: str) -> Body:
    """Make the folder that anchor and replicas share the service's user's own; never started."""
    return {
        "Image": image,
        "Cmd": ["/none"],
        "Labels": labels(name, COURIER),
        "NetworkDisabled": True,
        "HostConfig": {"Mounts": [port_mount(name)]},
    }


def port_folder() -> bytes:
    """Write a tar archive of that folder, as it lies in its volume: the service's user's alone.

    The volume itself stays the root user's; the engine gives nobody what it has made already.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo(Path(PORT_FOLDER).name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        folder.uid = folder.gid = USER
        archive.addfile(folder)
    return buffer.getvalue()


def port_mount(name: str) -> Body:
    """Mount that volume.

    It can be written: each replica puts a socket of its own beside the lent port, at which the
    others ask it for its metrics (`service.server.replica_socket`).
    """
    return {"Type": "volume", "Source": port_volume(name), "Target": PORT_VOLUME}


def _lent_at(anchor: str) -> str:
    return f"{PORT_FOLDER}/{anchor}"
