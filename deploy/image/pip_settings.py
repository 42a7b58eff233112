"""How this machine's pip reaches its index, as files for the image's build stage.

A company's pip goes to an index of its own, through a proxy, with a certificate of its own. That is
known to pip here and nowhere in the project: so it is asked (`pip config list`, which has the PIP_*
variables too) when an image is built. Next: `deploy.image.build`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

PIP_FOLDER = "/build/pip"
LOCATIONS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "proxy",
    "trusted-host",
    "timeout",
    "retries",
)
FILES = ("cert", "client-cert")
LOCAL = ("/", ".", "~", "file:")  # how what only this machine can see begins
SECTIONS = ("global", "install", ":env:")  # the later wins


def pip_files() -> dict[str, bytes]:
    """Ask this Python's pip.

    Returns
    -------
    dict of str to bytes
        ``pip.conf`` and the certificates that it names.
    """
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return as_files(settings(done.stdout.splitlines()))


def settings(lines: Iterable[str]) -> dict[str, str]:
    """Read the lines of ``pip config list``: ``section.key='value'``.

    Examples
    --------
    >>> settings(["global.timeout='10'", "install.timeout='30'", "freeze.all='true'"])
    {'timeout': '30'}
    """
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for line in lines:
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in SECTIONS:
            found[section][key] = ast.literal_eval(value)
    merged: dict[str, str] = {}
    for section in SECTIONS:
        merged |= found[section]
    return merged


def as_files(values: dict[str, str]) -> dict[str, bytes]:
    """Turn pip's settings into a ``pip.conf`` that is good inside a build.

    Folders of this machine (``file:`` and paths) are left out: the build cannot see them.

    Examples
    --------
    >>> files = as_files({"index-url": "https://pip.example/simple", "find-links": "/opt/wheels"})
    >>> print(files["pip.conf"].decode(), end="")
    [global]
    index-url = https://pip.example/simple
    """
    files = {}
    lines = ["[global]"]
    for key in LOCATIONS:
        reachable = _reachable(values.get(key, ""))
        if reachable:
            lines.append(f"{key} = {reachable}")
    for key in FILES:
        content = _content(values.get(key, ""))
        if content is not None:
            files[f"{key}.pem"] = content
            lines.append(f"{key} = {PIP_FOLDER}/{key}.pem")
    return {"pip.conf": ("\n".join(lines) + "\n").encode(), **files}


def _reachable(places: str) -> str:
    return " ".join(place for place in places.split() if not place.startswith(LOCAL))


def _content(path: str) -> bytes | None:
    file = Path(path).expanduser()
    return file.read_bytes() if path and file.is_file() else None
