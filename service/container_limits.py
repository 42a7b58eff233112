"""What this process may use of processors and memory, as the container's limits have it.

Both versions of Linux's control groups (cgroups) are read.

Next: `service.strict_json`.
"""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
NO_LIMIT = 2**60  # version 1 writes a number near 2^63 where there is none


def cpu_count(cgroup: Path = CGROUP) -> int:
    """Return the number of processors that this process may use at once.

    Parameters
    ----------
    cgroup : Path
        Where the kernel shows the limits.

    Returns
    -------
    int
        At least 1; a quota is rounded up.

    Examples
    --------
    >>> cpu_count() >= 1
    True
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    if quota is None:
        return allowed
    used, period = quota
    return max(1, min(allowed, math.ceil(used / period)))


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Return the memory limit.

    Parameters
    ----------
    cgroup : Path
        Where the kernel shows the limits.

    Returns
    -------
    int or None
        In bytes; None where there is none.
    """
    limit = _numbers(cgroup / "memory.max") or _numbers(cgroup / "memory" / "memory.limit_in_bytes")
    is_limited = bool(limit) and limit[0] < NO_LIMIT
    return limit[0] if is_limited else None


def _quota(cgroup: Path) -> tuple[int, int] | None:
    """Return microseconds of processor time and the period that they are given for."""
    found = _numbers(cgroup / "cpu.max")
    if not found:
        first = cgroup / "cpu"
        found = _numbers(first / "cpu.cfs_quota_us") + _numbers(first / "cpu.cfs_period_us")
    is_quota = len(found) == 2 and found[0] > 0
    return (found[0], found[1]) if is_quota else None


def _numbers(file: Path) -> list[int]:
    """Read whole numbers from a file of the kernel; none where it is missing or says "max"."""
    try:
        words = file.read_text(encoding="ascii").split()
    except OSError:
        return []
    are_numbers = all(word.lstrip("-").isdecimal() for word in words)
    return [int(word) for word in words] if are_numbers else []
