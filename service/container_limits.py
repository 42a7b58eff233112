"""What this process may use of processors and memory, as the container's limits have it.

Both versions of Linux's control groups (cgroups) are read.

Next: `service.strict_json`.
"""

import math
import os
import re
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
NO_LIMIT = 2**60  # version 1 writes a number near 2^63 where there is none
NUMBERS = re.compile(r"(-?[0-9]+(\s+|$))*")


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
    second = _numbers(cgroup / "memory.max")
    first = _numbers(cgroup / "memory" / "memory.limit_in_bytes")
    limit = min(second + first, default=NO_LIMIT)
    return limit if limit < NO_LIMIT else None


def _quota(cgroup: Path) -> tuple[int, int] | None:
    """Return microseconds of processor time and the period that they are given for."""
    second = _numbers(cgroup / "cpu.max")
    first = _numbers(cgroup / "cpu" / "cpu.cfs_quota_us")
    first += _numbers(cgroup / "cpu" / "cpu.cfs_period_us")
    found = second + first
    if len(found) < 2 or found[0] <= 0:
        return None
    return found[0], found[1]


def _numbers(file: Path) -> list[int]:
    """Read whole numbers from a file of the kernel; none where it is missing or says "max"."""
    try:
        text = file.read_text(encoding="ascii")
    except OSError:
        return []
    if not NUMBERS.fullmatch(text):
        return []
    return [int(word) for word in text.split()]
