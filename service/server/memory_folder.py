"""A folder in memory, for what the workers write all the time.

A slow or full disk must not stop them. The folder of the metrics goes with the process that made
it.

Next: `service.server.replica_socket`.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

MEMORY = "/dev/shm"
# The workers' numbers are mapped into memory: without room they would crash.
ROOM = 16 * 2**20


def folder_in_memory() -> str | None:
    """Return a folder in memory that has room; None where there is none."""
    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM
    return MEMORY if has_room else None


class MetricsFolder:
    """A new folder for the workers' metrics, removed when the process that made it ends.

    Attributes
    ----------
    path : Path

    Raises
    ------
    SystemExit
        When there is no room for it; the sentence says where room is expected.
    """

    def __init__(self) -> None:
        try:
            prefix = f"scoring-metrics-{os.getpid()}-"
            folder = tempfile.mkdtemp(prefix=prefix, dir=folder_in_memory())
        except OSError as error:
            raise SystemExit(
                f"expected room for small files in {MEMORY} or the folder TMPDIR, but {error}"
            ) from None
        self.path = Path(folder)
        self._owner = os.getpid()
        atexit.register(self.remove)

    def remove(self) -> None:
        """Remove the folder; a worker, which has inherited it, leaves it alone."""
        if os.getpid() == self._owner:
            shutil.rmtree(self.path, ignore_errors=True)
