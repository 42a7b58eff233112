"""What this process may use: processors and memory, as the container's limits have them (cgroup
version 1 and 2).
"""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
NO_LIMIT = 2**60  # version 1 writes a number near 2^63 where there is none


def cpu_count(cgroup: Path = CGROUP) -> int:
    """Return the number of processors that this process may use at once, rounded up from a quota,
    at least 1.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return allowed if quota is None else max(1, min(allowed, -(-quota[0] // quota[1])))


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Return the memory limit in bytes; None where there is none."""
    limit = _numbers(cgroup / "memory.max") or _numbers(cgroup / "memory" / "memory.limit_in_bytes")
    return limit[0] if limit and limit[0] < NO_LIMIT else None


def _quota(cgroup: Path) -> tuple[int, int] | None:
    """Return microseconds of processor time and the period that they are given for."""
    found = _numbers(cgroup / "cpu.max")
    if not found:
        found = _numbers(cgroup / "cpu" / "cpu.cfs_quota_us") + _numbers(
            cgroup / "cpu" / "cpu.cfs_period_us"
        )
    return (found[0], found[1]) if len(found) == 2 and found[0] > 0 else None


def _numbers(file: Path) -> list[int]:
    """Read whole numbers from a file of the kernel; none where it is missing or says "max"."""
    try:
        words = file.read_text(encoding="ascii").split()
    except OSError:
        return []
    return (
        [int(word) for word in words] if all(word.lstrip("-").isdecimal() for word in words) else []
    )
