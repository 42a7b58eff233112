"""Which of the locked packages an image needs.

shap with numba and llvmlite weighs 180 MB and is needed for scoring by one engine only; the scoring
explainer's manifest says so. The lock says who asked for which package (its "via" lines), so what
came with shap alone leaves with it. Next: `deploy.image.pip_settings`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Pin:
    """One package of a lock.

    Parameters
    ----------
    name : str
    text : str
        Its lines: the version, the hashes, the comments.
    origins : frozenset of str
        Who asked for it: packages, and files or groups of requirements.
    """

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

    Examples
    --------
    >>> lock = '''flask==3.1
    ...     # via -r environment.in
    ... numba==0.6
    ...     # via shap
    ... shap==0.51
    ...     # via -r environment.in
    ... '''
    >>> [pin.name for pin in pins(without(lock, "shap"))]
    ['flask']
    """
    every = pins(lock)
    gone = {unwanted}
    n_before = 0
    while len(gone) > n_before:
        n_before = len(gone)
        for pin in every:
            if _leaves(pin, gone):
                gone.add(pin.name)
    return "".join(pin.text for pin in every if pin.name not in gone)


def _leaves(pin: Pin, gone: set[str]) -> bool:
    nobody_else_asked = bool(pin.origins) and pin.origins <= gone
    return pin.name in gone or nobody_else_asked


def _pin(block: str) -> Pin:
    name = re.split(r"[=\s\[]", block, maxsplit=1)[0]
    comments = re.findall(r"(?m)^ +# +(?:via)? *(\S.*)?$", block)
    return Pin(name, block, frozenset(filter(None, comments)))
