"""The manifest beside a saved scoring explainer: what the file is, in JSON that people can read.

Its format number stands here and nowhere else; it rises when the saved file changes so that a
version of this package before the change, or after it, could not load it. Next:
:mod:`service.scoring.predictors`.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from service.errors import ManifestError, VersionError
from service.shapley import kernels

FORMAT = 4
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


def read_manifest(file: Path, usual_name: str) -> dict[str, Any]:
    """Read the manifest of a saved file.

    Parameters
    ----------
    file : Path
        The saved file; its manifest is the ``.json`` of the same name beside it.
    usual_name : str
        The name of the manifest where the file was renamed without it.

    Raises
    ------
    ManifestError
        When there is none, or it is not of this format.
    """
    beside = [file.with_suffix(".json"), file.with_name(usual_name)]
    manifest = next(filter(Path.is_file, beside), None)
    if manifest is None:
        raise ManifestError(
            f"{file}: expected its manifest {usual_name} beside it, found none; copy it along."
        )
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ManifestError(f"{manifest}: expected a JSON manifest, but {error}.") from error
    _check(content, manifest)
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
