"""How this machine's pip reaches its index, as files for the image's build stage.

A company's pip goes to an index of its own, through a proxy, with a certificate of its own. That is
known to pip here and nowhere in the project: so it is asked (`pip config list`, which has the PIP_*
variables too) when an image is built.
"""

from __future__ import annotations

import ast
import subprocess
import sys
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
    """Read the lines of ``pip config list``: ``section.key='value'``."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in lines:
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found:
            found[section][key] = ast.literal_eval(value)
    return {key: value for section in SECTIONS for key, value in found[section].items()}


def as_files(values: dict[str, str]) -> dict[str, bytes]:
    """Turn pip's settings into a ``pip.conf`` that is good inside a build.

    Folders of this machine (``file:`` and paths) are left out: the build cannot see them.
    """
    files, lines = {}, ["[global]"]
    for key in LOCATIONS:
        reachable = [
            word
            for word in values.get(key, "").split()
            if not word.startswith(("/", ".", "~", "file:"))
        ]
        if reachable:
            lines.append(f"{key} = {' '.join(reachable)}")
    for key in FILES:
        file = Path(values.get(key, "")).expanduser()
        if values.get(key) and file.is_file():
            files[f"{key}.pem"] = file.read_bytes()
            lines.append(f"{key} = {PIP_FOLDER}/{key}.pem")
    return {"pip.conf": ("\n".join(lines) + "\n").encode(), **files}
