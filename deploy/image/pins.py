"""Which of the locked packages an image needs.

shap with numba and llvmlite weighs 180 MB and is needed for scoring by one engine only; the scoring
explainer's manifest says so. The lock says who asked for which package (its "via" lines), so what
came with shap alone leaves with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DIRECT = "-r "  # what was asked for by a file, not by a package


@dataclass(frozen=True)
class Pin:
    """One package of a lock: its lines, and who asked for it."""

    name: str
    text: str
    origins: frozenset[str]


def pins(lock: str) -> list[Pin]:
    """Split a lock, as uv or pip-tools write it, into its packages."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    return [_pin(block) for block in blocks if not block.startswith("#") and block.strip()]


def without(lock: str, unwanted: str) -> str:
    """Leave out a package, and what only it asked for.

    Parameters
    ----------
    lock : str
        A lock with "via" comments.
    unwanted : str
        The package's name, or a file or group of requirements as "via" lines name it.

    Returns
    -------
    str
        The lock of the rest.
    """
    kept = pins(lock)
    gone = {unwanted}
    while leaving := {
        pin.name for pin in kept if pin.name in gone or (pin.origins and pin.origins <= gone)
    }:
        gone |= leaving
        kept = [pin for pin in kept if pin.name not in leaving]
    return "".join(pin.text for pin in kept)


def _pin(block: str) -> Pin:
    name = re.split(r"[=\s\[]", block, maxsplit=1)[0]
    comments = re.findall(r"(?m)^ +# +(?:via)? *(\S.*)?$", block)
    return Pin(name, block, frozenset(origin for origin in comments if origin))
