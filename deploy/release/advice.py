"""What the last words of a refused release mean for deploy.yml: which key would help.

Limits of a container show themselves as errors of whatever library met them first. Next:
`deploy.release.probe`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deploy.configuration import Configuration
from deploy.engine.hardening import HARDENING

FOLDER = HARDENING.scratch_folder


def _always(config: Configuration, has_network: bool) -> bool:
    return True


def _without_programs(config: Configuration, has_network: bool) -> bool:
    return not config.scratch_exec


def _without_network(config: Configuration, has_network: bool) -> bool:
    return not has_network


@dataclass(frozen=True)
class Sign:
    """What the log says where a key would help.

    Parameters
    ----------
    pattern : str
        A regular expression.
    sentence : str
        What is said of it, with the expression's groups by their numbers, and ``config``.
    holds : callable
        Whether it can be so, by the configuration and whether there was a network.
    """

    pattern: str
    sentence: str
    holds: Callable[[Configuration, bool], bool] = _always


SIGNS = (
    Sign(
        r"([\w.+-]+\.so(?:\.\d+)*): cannot open shared object file",
        "{0} is not in the image: name the Debian package that has it under `packages`.",
    ),
    Sign(
        r"No space left on device|ENOSPC|No usable temporary directory",
        f"{FOLDER}, which is HOME too, has room for {{config.scratch_mb}} MB: `scratch_mb` gives "
        "it more.",
    ),
    Sign(
        rf"failed to map segment from shared object|Permission denied: '?{FOLDER}/",
        f"Nothing in {FOLDER} can be started or loaded: `scratch_exec: true` allows it.",
        _without_programs,
    ),
    Sign(
        r"Read-only file system|EROFS",
        f"Only {FOLDER}, which is HOME too, can be written.",
    ),
    Sign(
        r"(?i)name resolution|name or service not known|failed to resolve|could not resolve"
        r"|network is unreachable|ENETUNREACH|getaddrinfo",
        "It was proven without a network: `preflight_network: true` gives it one.",
        _without_network,
    ),
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
    for sign in SIGNS:
        found = re.search(sign.pattern, said)
        if found and sign.holds(config, has_network):
            yield sign.sentence.format(*found.groups(), config=config)
