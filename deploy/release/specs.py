"""What every container of the service is made of, as bodies of the engine's requests.

Next: `deploy.release.preflight`.
"""

from __future__ import annotations

from deploy.configuration import Configuration
from deploy.contract import (
    APP_FOLDER,
    PROBE,
    PROBE_PORTS,
    SECRETS_FOLDER,
    SERVICE_PORT,
    STOP_SECONDS,
)
from deploy.engine.docker_engine import SECOND, Body
from deploy.engine.hardening import HARDENING, hardened, scratch_of
from deploy.engine.labels import COURIER, PREFLIGHT, labels
from deploy.release.release import Release

# The engine's names for no network, and for its own.
NETWORKS = {False: "none", True: "bridge"}


def preflight(release: Release) -> Body:
    """Run a release as it would serve, to see whether it does.

    It has no network unless the configuration gives it the engine's own.
    """
    body = service(release, PROBE_PORTS[0])
    body["Labels"] = labels(release.config.name, PREFLIGHT, release=release.id)
    body["HostConfig"] |= {"NetworkMode": NETWORKS[release.config.preflight_network]}
    return body


def service(release: Release, probe_port: int) -> Body:
    """Describe the service's container, but for its network, its labels and its restarts."""
    config = release.config
    body = hardened(
        memory=int(config.memory_gb * 2**30),
        nano_cpus=int(config.cpu_cores * SECOND),
        scratch_mib=config.scratch_mb,
        hardening=scratch_of(HARDENING, programs=config.scratch_exec),
    )
    if config.has_secrets:
        body["HostConfig"]["Mounts"] = [secrets_mount(config.name, read_only=True)]
    return {
        **body,
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
    }


def environment(config: Configuration, probe_port: int) -> dict[str, str]:
    """Set up the service: where it listens, and what the configuration says.

    Processes and BLAS threads are not in it unless given: the service chooses them by the limits
    that it finds.
    """
    found = {
        **config.env,
        "ENTRY_SCRIPT": f"{APP_FOLDER}/{config.entry_script.rsplit('/', 1)[-1]}",
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


def courier(name: str, image: str) -> Body:
    """Carry files into the volume of secrets; never started."""
    return {
        "Image": image,
        "Cmd": ["/none"],
        "NetworkDisabled": True,
        "HostConfig": {"Mounts": [secrets_mount(name, read_only=False)]},
        "Labels": labels(name, COURIER),
    }


def secrets_volume(name: str) -> str:
    """Name the volume that holds the keys and the certificate."""
    return f"{name}-secrets"


def secrets_mount(name: str, read_only: bool) -> Body:
    """Mount that volume where the service looks for its files."""
    return {
        "Type": "volume",
        "Source": secrets_volume(name),
        "Target": SECRETS_FOLDER,
        "ReadOnly": read_only,
    }
