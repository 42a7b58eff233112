"""What this process may use of processors, memory and /tmp, as the container's limits have it.

Both versions of Linux's control groups (cgroups) are read.

Next: `service.strict_json`.
"""

import errno
import math
import os
import re
import resource
import shutil
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OPEN_FILES = Path("/proc/self/fd")
NO_LIMIT = 2**60  # version 1 writes a number near 2^63 where there is none
SCRATCH = "/tmp"
NO_FOLDER = "No usable temporary directory"  # what Python says where none takes another byte
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


def files_left() -> int:
    """Return how many more files, or connections, this process may open (``ulimit -n``).

    Examples
    --------
    >>> files_left() > 0
    True
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most - sum(1 for _ in OPEN_FILES.iterdir())


def lack_of_room(error: BaseException | None) -> str:
    """Say that the folder for temporary files is full, if that is why something failed.

    Parameters
    ----------
    error : exception or None
        What failed, with what it was raised from.

    Returns
    -------
    str
        A sentence; empty where there is another reason.

    Examples
    --------
    >>> lack_of_room(ValueError("no number"))
    ''
    """
    while error is not None:
        if _is_lack_of_room(error):
            size = shutil.disk_usage(SCRATCH)
            return (
                f"No room is left to write: {SCRATCH} has {size.total / 2**20:.0f} MB, of which "
                f"{size.free / 2**20:.0f} are free. What init() and run() write stays until they "
                "remove it; `scratch_mb` of deploy.yml gives more room."
            )
        error = error.__cause__ or error.__context__
    return ""


def _is_lack_of_room(error: BaseException) -> bool:
    return isinstance(error, OSError) and (error.errno == errno.ENOSPC or NO_FOLDER in str(error))


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
