"""What is asked of a swarm, as data: the bodies of ``POST /services/create`` and its kind.

Pure functions, like `deploy.host.specs`. Limits, hardening and health are those of one host as far
as a swarm knows them: before API 1.44 it has no ``no-new-privileges`` (no capability is left to
gain anything with); `deploy.engine.hardening.LEFT_OUT` names the rest. Next: `deploy.swarm.proxy`.
"""

from __future__ import annotations

from typing import Any

from deploy.configuration import Configuration
from deploy.contract import BALANCED_DRAIN_SECONDS, PROBE, PROBE_PORT, STOP_SECONDS
from deploy.engine.docker_engine import SECOND, Body
from deploy.engine.hardening import HARDENING, USER, log_options, user_and_group
from deploy.engine.labels import LABEL, labels
from deploy.release import specs as release_specs
from deploy.release.release import Release

SERVICE, TASK, PROXY, NETWORK, FILE = "service", "task", "proxy", "network", "file"
MONITOR_SECONDS = 5  # in which a replica that fails takes the update back
HEALTH_SECONDS = 2  # before engine 25 nothing asks a new replica sooner
FAILURES = 5  # of the health check in a row, after which a replica is replaced

Stored = dict[str, Any]  # a secret or a config, as the engine lists it


def network(config: Configuration) -> Body:
    """Describe the network that the proxy and the replicas share.

    It is the first thing made and the last removed.
    """
    return {
        "Name": f"{config.name}-network",
        "Driver": "overlay",
        "Labels": labels(config.name, NETWORK),
    }


def file(name: str, kind: str, version: str) -> Body:
    """Name a secret or a config: it cannot be changed, so its name has a version."""
    return {
        "name": f"{name}-{kind}-{version}",
        "labels": labels(name, FILE, kind=kind, version=version),
    }


def mounted(stored: Stored, what: str, path: str, mode: int) -> Body:
    """Show a secret or a config to a service as a file.

    Parameters
    ----------
    stored : dict
    what : str
        "Secret" or "Config".
    path : str
        Below /run/secrets for a secret, unless it begins with a slash.
    mode : int
        Its permissions; it belongs to the service's user.
    """
    owner = str(USER)
    return {
        f"{what}ID": stored["ID"],
        f"{what}Name": stored["Spec"]["Name"],
        "File": {"Name": path, "UID": owner, "GID": owner, "Mode": mode},
    }


def service(
    release: Release,
    image: str,
    network: str,
    secrets: list[Body],
    *,
    previous: str = "",
    times: int = 1,
) -> Body:
    """Describe the replicas.

    There is no limit on replicas per node: the scheduler spreads them by itself, and any fixed
    number would keep the one more that an update starts, or those of a node that is lost, from a
    place where there is room.

    Parameters
    ----------
    release : Release
    image : str
        As the nodes know it.
    network : str
        Its id.
    secrets : list
        What `mounted` returned.
    previous : str
        The release that serves now.
    times : int
        How often something was rolled out under the name: the same release once more is a rollout
        too.
    """
    config = release.config
    return {
        "Name": config.name,
        "Labels": labels(config.name, SERVICE, release=release.id, previous=previous),
        "TaskTemplate": {
            "ContainerSpec": {**container(release, image), "Secrets": secrets},
            "Resources": resources(config.memory_gb * 2**30, config.cpu_cores, reserved=True),
            "RestartPolicy": {"Condition": "any", "Delay": 2 * SECOND},
            "Networks": [{"Target": network}],
            "LogDriver": log_driver(),
            "ForceUpdate": times,
        },
        "Mode": {"Replicated": {"Replicas": config.replicas}},
        "UpdateConfig": update("start-first", "rollback"),
        "RollbackConfig": update("start-first", "continue"),
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def container(release: Release, image: str) -> Body:
    """Describe one replica's container."""
    config = release.config
    environment = release_specs.environment(config, PROBE_PORT)
    del environment["REUSE_PORT"]  # each replica has its own address
    environment["DRAIN_SECONDS"] = str(max(BALANCED_DRAIN_SECONDS, config.timeouts.drain))
    return {
        **hardened(image, labels(config.name, TASK, release=release.id)),
        "Env": [f"{key}={value}" for key, value in sorted(environment.items())],
        "Healthcheck": {
            "Test": ["CMD", *PROBE, "health"],
            "Interval": HEALTH_SECONDS * SECOND,
            "Timeout": 5 * SECOND,
            "Retries": FAILURES,
            "StartPeriod": config.timeouts.ready * SECOND,
        },
        "StopSignal": "SIGTERM",
        "StopGracePeriod": STOP_SECONDS * SECOND,
        "Mounts": [scratch(config.scratch_mb)],
    }


def hardened(image: str, labels: dict[str, str]) -> Body:
    """Take from a container what a service never needs."""
    return {
        "Image": image,
        "Labels": labels,
        "User": user_and_group(HARDENING),
        "ReadOnly": HARDENING.read_only_root,
        "CapabilityDrop": list(HARDENING.dropped_capabilities),
        "Privileges": {"NoNewPrivileges": not HARDENING.new_privileges},
        "Init": HARDENING.init,
    }


def scratch(mebibytes: int) -> Body:
    """Mount the one folder that a replica can write."""
    return {
        "Type": "tmpfs",
        "Target": HARDENING.scratch_folder,
        "TmpfsOptions": {
            "SizeBytes": mebibytes * 2**20,
            "Mode": HARDENING.scratch_mode,
        },
    }


def log_driver() -> Body:
    """Limit the log of a container."""
    return {"Name": "json-file", "Options": log_options(HARDENING)}


def resources(memory: float, cores: float, reserved: bool) -> Body:
    """Limit what a replica may use, and keep as much free for it where it is placed."""
    most = {"MemoryBytes": int(memory), "NanoCPUs": int(cores * SECOND)}
    limits = {"Limits": {**most, "Pids": HARDENING.processes}}
    return {**limits, "Reservations": most} if reserved else limits


def update(order: str, on_failure: str) -> Body:
    """Replace one at a time; one that fails within the monitored time decides."""
    return {
        "Parallelism": 1,
        "Order": order,
        "FailureAction": on_failure,
        "Monitor": MONITOR_SECONDS * SECOND,
        "MaxFailureRatio": 0,
    }


def by_name(listed: list[Stored]) -> dict[str, Stored]:
    """Return secrets or configs by their names."""
    return {stored["Spec"]["Name"]: stored for stored in listed}


def label(spec: Body, key: str) -> str:
    """Read one of this package's labels."""
    return str((spec.get("Labels") or {}).get(LABEL + key, ""))
