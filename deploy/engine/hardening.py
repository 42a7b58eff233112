"""What is taken from every container because a service never needs it, stated once.

`HARDENING` is that statement. `hardened` translates it for an engine, `deploy.swarm.specs` for a
swarm, and `deploy.render` for Kubernetes. `LEFT_OUT` says what a platform is not told, and why
nothing is missing there. Next: `deploy.engine.tunnel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deploy.engine.docker_engine import Body

USER = 10001  # of the image's process; the files with secrets belong to it


@dataclass(frozen=True)
class Hardening:
    """What a container may do and use, beside its limits on processors and memory.

    Parameters
    ----------
    user : int, default 10001
        The numeric user and group that the process runs as.
    read_only_root : bool, default True
        Whether nothing in the image can be changed.
    dropped_capabilities : tuple of str, default ("ALL",)
        The root user's rights that are taken away.
    new_privileges : bool, default False
        Whether a program may gain rights when it starts, as one with the set-user-ID bit does.
    privileged : bool, default False
        Whether it may do whatever the host may.
    system_calls : str, default "RuntimeDefault"
        The filter of system calls, as Kubernetes names it.
    platform_credentials : bool, default False
        Whether it gets credentials for the platform that it runs on.
    swap_bytes : int, default 0
        Swap beyond the limit on memory.
    processes : int, default 1024
        Most processes at once; threads count.
    scratch_folder : str, default "/tmp"
        The one folder that can be written; it lies in memory, and counts as such. Its size is
        deploy.yml's affair, like all limits.
    scratch_mode : int, default 0o1777
        Its permissions.
    scratch_options : tuple of str, default ("noexec", "nosuid", "nodev")
        How it is mounted: no program in it can be started, unless deploy.yml says so.
    init : bool, default True
        Whether a small init is process 1 and collects the processes that nobody waits for.
    log_mb, log_files : int, default 10 and 3
        The log's size in MB, after which a new file begins, and how many files are kept.
    """

    user: int = USER
    read_only_root: bool = True
    dropped_capabilities: tuple[str, ...] = ("ALL",)
    new_privileges: bool = False
    privileged: bool = False
    system_calls: str = "RuntimeDefault"
    platform_credentials: bool = False
    swap_bytes: int = 0
    processes: int = 1024
    scratch_folder: str = "/tmp"
    scratch_mode: int = 0o1777
    scratch_options: tuple[str, ...] = ("noexec", "nosuid", "nodev")
    init: bool = True
    log_mb: int = 10
    log_files: int = 3


HARDENING = Hardening()

ENGINES_FILTER = "the engine filters system calls by itself"
NO_CREDENTIALS = "the engine gives a container no credentials"
KUBELETS_LOG = "the kubelet limits and rotates all logs of its node"

# Which items a platform is not told, and why it holds there all the same, or who has to see to it.
LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "host": {
        "system_calls": ENGINES_FILTER,
        "platform_credentials": NO_CREDENTIALS,
    },
    "swarm": {
        "system_calls": ENGINES_FILTER,
        "platform_credentials": NO_CREDENTIALS,
        "privileged": "a swarm has no privileged services",
        "swap_bytes": "before API 1.52 a swarm knows no limit on swap: its hosts should have none",
        "scratch_options": "the engine mounts a service's tmpfs with these options by itself",
    },
    "kubernetes": {
        "swap_bytes": "a pod whose requests are its limits gets no swap",
        "processes": "the kubelet limits the processes of each pod (podPidsLimit)",
        "scratch_mode": "the kubelet lets everybody in the pod write into an emptyDir",
        "scratch_options": "an emptyDir has no mount options",
        "init": "a pod has no init to switch on; gunicorn waits for its own processes",
        "log_mb": KUBELETS_LOG,
        "log_files": KUBELETS_LOG,
    },
}


def scratch_of(hardening: Hardening, *, programs: bool) -> Hardening:
    """Return a statement by which programs in the scratch folder can be started, or cannot.

    Examples
    --------
    >>> scratch_of(HARDENING, programs=True).scratch_options
    ('exec', 'nosuid', 'nodev')
    """
    if not programs:
        return hardening
    others = tuple(option for option in hardening.scratch_options if option != "noexec")
    return replace(hardening, scratch_options=("exec", *others))


def hardened(
    memory: int,
    nano_cpus: int,
    scratch_mib: int,
    hardening: Hardening = HARDENING,
) -> Body:
    """Limit a container of an engine, and take from it what a service never needs.

    Parameters
    ----------
    memory : int
        Bytes.
    nano_cpus : int
        Billionths of a processor.
    scratch_mib : int
        The size of the scratch folder.
    hardening : Hardening

    Returns
    -------
    dict
        The beginning of a body of ``POST /containers/create``.

    Examples
    --------
    >>> body = hardened(memory=2**30, nano_cpus=10**9, scratch_mib=64)
    >>> body["User"], body["HostConfig"]["CapDrop"]
    ('10001:10001', ['ALL'])
    """
    options = ",".join(hardening.scratch_options)
    size = f"size={scratch_mib}m,mode={hardening.scratch_mode:o}"
    return {
        "User": user_and_group(hardening),
        "HostConfig": {
            "Memory": memory,
            "MemorySwap": memory + hardening.swap_bytes,  # memory and swap together
            "NanoCpus": nano_cpus,
            "PidsLimit": hardening.processes,
            "ReadonlyRootfs": hardening.read_only_root,
            "Tmpfs": {hardening.scratch_folder: f"rw,{options},{size}"},
            "CapDrop": list(hardening.dropped_capabilities),
            "SecurityOpt": [] if hardening.new_privileges else ["no-new-privileges"],
            "Privileged": hardening.privileged,
            "Init": hardening.init,
            "LogConfig": {"Type": "json-file", "Config": log_options(hardening)},
        },
    }


def user_and_group(hardening: Hardening) -> str:
    """Write the user and the group as the Engine API takes them."""
    return f"{hardening.user}:{hardening.user}"


def log_options(hardening: Hardening) -> dict[str, str]:
    """Write the limits on a log as the engine's log driver takes them."""
    return {"max-size": f"{hardening.log_mb}m", "max-file": str(hardening.log_files)}
