"""What is asked of the Docker Engine, as data: the bodies of its API's requests.

Pure functions of a release and a configuration; `deploy.engine` sends what they return. The names
are the Engine API's own (``POST /containers/create``), so its reference explains each. Next:
`deploy.rollout`.

One host: an *anchor* owns the published port and the network namespace, and sleeps. Each *replica*
joins that namespace and listens with SO_REUSEPORT on the port that all share, and on a port of its
own for probes. So a new replica listens before an old one stops, and what waits in the old one's
queue moves to the new one (``tcp_migrate_req``).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from deploy.config import Configuration

Body = dict[str, Any]

LABEL = "scoring.deploy."
SERVICE_PORT = 8080  # inside the namespace
PROBE_PORTS = range(9001, 10000)
SECRETS_FOLDER = "/run/secrets"
USER = 10001
PIDS = 1024  # threads count
SECOND = 10**9  # the API counts in nanoseconds
PROBE = ["/opt/venv/bin/python", "-I", "/app/probe.py"]
LEAVING = "-leaving"  # ends the name of a replica that is to stop
STOP_SECONDS = 35  # the service itself ends within 30: what is in flight is answered

ANCHOR, REPLICA, RELEASE, PREFLIGHT, LOCK, COURIER = (
    "anchor",
    "replica",
    "release",
    "preflight",
    "lock",
    "courier",
)
IMAGE, STAGE = "image", "stage"  # what runs, and what it was built in


@dataclass(frozen=True)
class Release:
    """An image with its configuration: immutable, known by its id.

    Parameters
    ----------
    id : str
        Twelve hexadecimal digits over all of it.
    image : str
        The image's id.
    config : Configuration
    content : str
        The hash of the files in the image above its base: two builds of the same input have the
        same.
    created : float
        Seconds since 1970.
    """

    id: str
    image: str
    config: Configuration
    content: str
    created: float


def labels(name: str, role: str, **more: object) -> dict[str, str]:
    """Say whose a container is, and which part it plays; everything else about it is in further
    labels.
    """
    return {
        f"{LABEL}name": name,
        f"{LABEL}role": role,
        **{f"{LABEL}{key}": str(value) for key, value in more.items()},
    }


def release_record(release: Release) -> Body:
    """Keep a release: a container that is never started holds its image and its configuration."""
    config = release.config
    return {
        "Image": release.image,
        "Labels": labels(
            config.name,
            RELEASE,
            release=release.id,
            content=release.content,
            created=release.created,
            configuration=config.to_json(),
        ),
        "NetworkDisabled": True,
    }


def release_from(record_labels: dict[str, str], image: str) -> Release:
    """Read a release back from its record."""
    return Release(
        id=record_labels[f"{LABEL}release"],
        image=image,
        config=Configuration.from_json(record_labels[f"{LABEL}configuration"]),
        content=record_labels[f"{LABEL}content"],
        created=float(record_labels[f"{LABEL}created"]),
    )


def anchor(release: Release) -> Body:
    """Own the port and the network namespace, and sleep."""
    config = release.config
    port = f"{SERVICE_PORT}/tcp"
    return {
        "Image": release.image,
        "Cmd": ["/bin/sleep", "infinity"],
        "Labels": labels(config.name, ANCHOR, port=config.port, bind=config.bind),
        "ExposedPorts": {port: {}},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            **hardened(memory=32 * 2**20, nano_cpus=SECOND // 10, pids=8),
            "PortBindings": {port: [{"HostIp": config.bind, "HostPort": str(config.port)}]},
            # What waits for an old replica's accept() is handed to a new one when the old one stops
            # listening.
            "Sysctls": {"net.ipv4.tcp_migrate_req": "1"},
            "RestartPolicy": {"Name": "always"},
        },
    }


def replica(
    release: Release, anchor_id: str, generation: int, probe_port: int, previous: str = ""
) -> Body:
    """Serve: join the anchor's namespace and listen beside whoever listens there."""
    config = release.config
    body = _service(release, probe_port)
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


def preflight(release: Release) -> Body:
    """Run a release as it would serve, with no network, to see whether it does."""
    body = _service(release, PROBE_PORTS[0])
    body["Labels"] = labels(release.config.name, PREFLIGHT, release=release.id)
    body["HostConfig"] |= {"NetworkMode": "none"}
    return body


def lock(name: str, image: str, holder: dict[str, Any]) -> Body:
    """Hold a name: the engine gives it to one container only."""
    return {
        "Image": image,
        "Cmd": ["/none"],
        "Labels": labels(name, LOCK, holder=json.dumps(holder, sort_keys=True)),
        "NetworkDisabled": True,
    }


def courier(name: str, image: str) -> Body:
    """Carry files into the volume of secrets; never started."""
    return {
        "Image": image,
        "Cmd": ["/none"],
        "Labels": labels(name, COURIER),
        "NetworkDisabled": True,
        "HostConfig": {"Mounts": [_secrets(name, read_only=False)]},
    }


def secrets_volume(name: str) -> str:
    """Name the volume that holds the keys and the certificate."""
    return f"{name}-secrets"


def hardened(memory: int, nano_cpus: int, pids: int) -> Body:
    """Limit a container, and take from it what a service never needs."""
    return {
        "Memory": memory,
        "MemorySwap": memory,  # memory and swap together: no swap
        "NanoCpus": nano_cpus,
        "PidsLimit": pids,
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=64m,mode=1777"},
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "Init": True,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
    }


def environment(config: Configuration, probe_port: int) -> dict[str, str]:
    """Set up the service: where it listens, and what the configuration says.

    Processes and BLAS threads are not in it unless given: the service chooses them by the limits
    that it finds.
    """
    found = {
        **config.env,
        "ENTRY_SCRIPT": f"/app/{config.entry_script.rsplit('/', 1)[-1]}",
        "HOST": "0.0.0.0",
        "PORT": str(SERVICE_PORT),
        "PROBE_PORT": str(probe_port),
        "REUSE_PORT": "1",
        "DRAIN_SECONDS": str(config.timeouts.drain),
    }
    for key in ("workers", "threads"):
        if getattr(config, key):
            found[key.upper()] = str(getattr(config, key))
    if config.auth_enabled:
        found["AUTH_KEYS_FILE"] = f"{SECRETS_FOLDER}/keys"
    if config.tls.certificate:
        found |= {
            "TLS_CERT_FILE": f"{SECRETS_FOLDER}/tls.crt",
            "TLS_KEY_FILE": f"{SECRETS_FOLDER}/tls.key",
        }
    return found


def image_labels(config: Configuration, base: str, **made_from: str) -> dict[str, str]:
    """Describe an image: what it is, and the hashes of what it was made from."""
    return {
        "org.opencontainers.image.title": config.name,
        "org.opencontainers.image.description": config.description or "Scores rows and says why",
        "org.opencontainers.image.created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "org.opencontainers.image.base.name": config.base_image,
        "org.opencontainers.image.base.digest": base,
        **labels(config.name, IMAGE, **made_from),
    }


def _service(release: Release, probe_port: int) -> Body:
    config = release.config
    limits = hardened(
        memory=int(config.memory_gb * 2**30),
        nano_cpus=int(config.cpu_cores * SECOND),
        pids=PIDS,
    )
    if config.has_secrets:
        limits["Mounts"] = [_secrets(config.name, read_only=True)]
    return {
        "Image": release.image,
        "Env": [f"{key}={value}" for key, value in sorted(environment(config, probe_port).items())],
        "Healthcheck": {
            "Test": ["CMD", *PROBE, "health"],
            "Interval": 10 * SECOND,
            "Timeout": 5 * SECOND,
            "Retries": 3,
            "StartPeriod": config.timeouts.ready * SECOND,
            "StartInterval": SECOND,  # from Docker 25 on; the deployment itself asks more often
        },
        "StopSignal": "SIGTERM",
        "StopTimeout": STOP_SECONDS,
        "HostConfig": limits,
    }


def _secrets(name: str, read_only: bool) -> Body:
    return {
        "Type": "volume",
        "Source": secrets_volume(name),
        "Target": SECRETS_FOLDER,
        "ReadOnly": read_only,
    }
