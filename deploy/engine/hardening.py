"""What a container may use, and what is taken from it because a service never needs it.

Next: `deploy.engine.tunnel`.
"""

from __future__ import annotations

from deploy.engine.docker_engine import Body

USER = 10001
PIDS = 1024  # threads count


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
