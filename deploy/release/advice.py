"""What the last words of a refused release mean for deploy.yml: which key would help.

Limits of a container show themselves as errors of whatever library met them first. Next:
`deploy.release.probe`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.configuration import Configuration
from deploy.engine.hardening import HARDENING

FOLDER = HARDENING.scratch_folder
NO_LIBRARY = re.compile(r"([\w.+-]+\.so(\.\d+)*): cannot open shared object file")
NO_ROOM = re.compile(r"No space left on device|ENOSPC|No usable temporary directory")
NO_PROGRAMS = re.compile(
    r"failed to map segment from shared object|Permission denied: '?" + FOLDER + "/"
)
NO_WRITING = re.compile(r"Read-only file system|EROFS")
NO_NETWORK = re.compile(
    r"(?i)name resolution|name or service not known|failed to resolve|could not resolve"
    r"|network is unreachable|ENETUNREACH|getaddrinfo"
)


def advice(said: str, config: Configuration, *, has_network: bool) -> Iterator[str]:
    """Say which keys of deploy.yml would help.

    Parameters
    ----------
    said : str
        What the release wrote to its log.
    config : Configuration
        Its own.
    has_network : bool
        Whether it ran with a network.

    Yields
    ------
    str
        A sentence for each.

    Examples
    --------
    >>> said = "OSError: libpq.so.5: cannot open shared object file: No such file or directory"
    >>> print(*advice(said, Configuration("scoring"), has_network=False))
    libpq.so.5 is not in the image: name the Debian package that has it under `packages`.
    """
    if library := NO_LIBRARY.search(said):
        yield (
            f"{library[1]} is not in the image: name the Debian package that has it under "
            "`packages`."
        )
    if NO_ROOM.search(said):
        yield (
            f"{FOLDER}, which is HOME too, has room for {config.scratch_mb} MB: `scratch_mb` gives "
            "it more."
        )
    if NO_PROGRAMS.search(said) and not config.scratch_exec:
        yield f"Nothing in {FOLDER} can be started or loaded: `scratch_exec: true` allows it."
    if NO_WRITING.search(said):
        yield f"Only {FOLDER}, which is HOME too, can be written."
    if NO_NETWORK.search(said) and not has_network:
        yield "It was proven without a network: `preflight_network: true` gives it one."
