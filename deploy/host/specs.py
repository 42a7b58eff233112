"""What is asked of the Docker Engine, as data: the bodies of its API's requests.

Pure functions of a release and a configuration; `deploy.engine.docker_engine` sends what they
return. The names are the Engine API's own (``POST /containers/create``), so its reference explains
each.

One host: an *anchor* owns the published port and the network namespace, and sleeps. Each *replica*
joins that namespace and listens with SO_REUSEPORT on the port that all share, and on a port of its
own for probes. So a new replica listens before an old one stops, and what waits in the old one's
queue moves to the new one (``tcp_migrate_req``). Next: `deploy.host.state`.
"""

from __future__ import annotations

from dataclasses import replace

from deploy.contract import SERVICE_PORT
from deploy.engine.docker_engine import SECOND, Body
from deploy.engine.hardening import HARDENING, hardened
from deploy.engine.labels import ANCHOR, REPLICA, labels
from deploy.release.release import Release
from deploy.release.specs import service

LEAVING = "-leaving"  # ends the name of a replica that is to stop


def anchor(release: Release) -> Body:
    """Own the port and the network namespace, and sleep."""
    config = release.config
    port = f"{SERVICE_PORT}/tcp"
    body = hardened(
        memory=32 * 2**20,
        nano_cpus=SECOND // 10,
        scratch_mib=1,
        hardening=replace(HARDENING, processes=8),
    )
    body["HostConfig"] |= {
        "PortBindings": {port: [{"HostIp": config.bind, "HostPort": str(config.port)}]},
        # What waits for an old replica's accept() is handed to a new one when the old one stops
        # listening.
        "Sysctls": {"net.ipv4.tcp_migrate_req": "1"},
        "RestartPolicy": {"Name": "always"},
    }
    return {
        **body,
        "Image": release.image,
        "Entrypoint": ["/bin/sleep"],
        "Cmd": ["infinity"],
        "Labels": labels(config.name, ANCHOR, port=config.port, bind=config.bind),
        "ExposedPorts": {port: {}},
        "Healthcheck": {"Test": ["NONE"]},
    }


def replica(
    release: Release, anchor_id: str, generation: int, probe_port: int, previous: str = ""
) -> Body:
    """Serve: join the anchor's namespace and listen beside whoever listens there."""
    config = release.config
    body = service(release, probe_port)
    body["Labels"] = labels(
        config.name,
        REPLICA,
        release=release.id,
        generation=generation,
        replicas=config.replicas,
        previous=previous,
        **{"probe-port": probe_port},
    )
    body["HostConfig"] |= {
        "NetworkMode": f"container:{anchor_id}",
        "RestartPolicy": {"Name": "always"},
    }
    return body
