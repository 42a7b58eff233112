"""The manifest of a saved scoring explainer: what the file is, in JSON that people can read.

It stands beside the file, and behind the last byte of the pickle in it too, where no unpickler
looks: a registry may keep the one file alone, and it is still checked before it is unpickled.

Its format number stands here and nowhere else; it rises when the saved file changes so that a
version of this package before the change, or after it, could not load it. Next:
:mod:`service.scoring.predictors`.
"""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from service.errors import ManifestError, VersionError
from service.shapley import kernels

FORMAT = 6
MARK = b"manifest of a scoring explainer"
N_LENGTH_BYTES = 4
N_END = N_LENGTH_BYTES + len(MARK)
LIBRARIES = ("joblib", "numpy", "pandas", "scikit-learn", "scipy")


def heading(artifact: str, sha256: str) -> dict[str, Any]:
    """Return what a manifest begins with: the file, its digest, and the versions it needs."""
    return {
        "format": FORMAT,
        "artifact": artifact,
        "sha256": sha256,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "kernels": kernels.current.name,
    }


def to_text(manifest: dict[str, Any]) -> str:
    """Write a manifest as JSON, a line for each value."""
    return json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def append_manifest(content: bytes, manifest: dict[str, Any]) -> bytes:
    """Return a pickle with its manifest behind it.

    Parameters
    ----------
    content : bytes
        The pickle, which ends by itself.
    manifest : dict
        With the digest of the pickle.
    """
    text = to_text(manifest).encode()
    return content + text + len(text).to_bytes(N_LENGTH_BYTES) + MARK


def read_manifest(file: Path, usual_name: str) -> tuple[dict[str, Any], int]:
    """Read the manifest of a saved file.

    Parameters
    ----------
    file : Path
        The saved file; its manifest is the ``.json`` of the same name beside it, or stands in it
        behind the pickle.
    usual_name : str
        The name of the manifest where the file was renamed without it.

    Returns
    -------
    manifest : dict
    n_behind : int
        How many bytes at the end of the file its digest is not of: those of the manifest in it.

    Raises
    ------
    ManifestError
        When there is none, or it is not of this format.
    """
    beside = [file.with_suffix(".json"), file.with_name(usual_name)]
    manifest = next(filter(Path.is_file, beside), None)
    if manifest is not None:
        return _parse(manifest.read_bytes(), manifest), 0
    text = _read_appended(file)
    if not text:
        names = " or ".join(dict.fromkeys(path.name for path in beside))
        raise ManifestError(
            f"{file}: expected its manifest {usual_name} beside it, found none; looked for {names} "
            f"in {file.parent}, and behind the pickle in the file itself. Copy it along, or save "
            "the explainer again: it is in the file then."
        )
    return _parse(text, file), len(text) + N_END


def _read_appended(file: Path) -> bytes:
    """Read what stands behind the pickle in a file; nothing where there is no mark at its end."""
    try:
        with file.open("rb") as opened:
            opened.seek(-N_END, os.SEEK_END)
            length, mark = int.from_bytes(opened.read(N_LENGTH_BYTES)), opened.read()
            opened.seek(-N_END - length, os.SEEK_END)
            text = opened.read(length)
    except OSError:  # there is no file, or it is shorter
        return b""
    return text if mark == MARK else b""


def _parse(text: bytes, place: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(text.decode())
    except ValueError as error:
        raise ManifestError(f"{place}: expected a JSON manifest, but {error}.") from error
    _check(content, place)
    return content


def check_library_versions(file: Path, recorded: dict[str, str]) -> None:
    """Compare the library versions that a file was saved with to those that are here.

    Raises
    ------
    VersionError
        When one differs, or is not installed.
    """
    differing = []
    for name, saved in recorded.items():
        here = _version_here(name)
        if here != f"here {saved}":
            differing.append(f"{name} {saved} ({here})")
    if differing:
        raise VersionError(
            f"{file}: saved with {', '.join(differing)}; install those versions, or save it again "
            "with these."
        )


def _check(content: Any, manifest: Path) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ManifestError(
            f"{manifest}: expected a manifest of format {FORMAT}; save the explainer again."
        )
    if not isinstance(content.get("libraries"), dict):
        raise ManifestError(
            f"{manifest}: expected the library versions under 'libraries'; save the explainer "
            "again."
        )


def _version_here(name: str) -> str:
    try:
        return f"here {version(name)}"
    except PackageNotFoundError:
        return "not installed here"
