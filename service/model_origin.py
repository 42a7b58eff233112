"""Which registered models lie in the model folder, as a deployment has written it beside them.

The folder's ``origin.json`` says name, version, run and explanation, and each file's SHA-256, which
it is compared with before anything is unpickled. Next: `service.model_paths`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from service.errors import DigestError, ManifestError

ORIGIN_FILE = "origin.json"
FORMAT = "registered models, 1"
SHOWN = ("uri", "name", "version", "run", "registry", "explanation")


@dataclass(frozen=True)
class Origin:
    """A version of a registered model.

    Parameters
    ----------
    uri : str
        ``models:/name/3``.
    name, version : str
    run : str
        The run that registered it; empty where none did.
    registry : str
        The registry's address, without credentials.
    explanation : str
        The id of the explanation that the run had; empty of none.
    path : str
        Where it lies in the model folder; empty for that folder itself.
    sha256 : mapping of str to str
        The digest of each file, by its place in the model folder.
    """

    uri: str
    name: str
    version: str
    run: str = ""
    registry: str = ""
    explanation: str = ""
    path: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)

    def is_called(self, name: str, version: int | None) -> bool:
        """Whether it is the model of a name, and of a version where one is given."""
        return (name, version) in ((self.name, None), (self.name, int(self.version)))

    def facts(self) -> dict[str, str]:
        """Return what a client may know of it."""
        return dict(zip(SHOWN, attrgetter(*SHOWN)(self), strict=True))


def read_origins(folder: Path) -> tuple[Origin, ...]:
    """Read which registered models lie in a folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    tuple of Origin
        Empty where nothing is written; a file of that name which is another's is none of ours.

    Raises
    ------
    ManifestError
        When what is written cannot be read.
    """
    file = folder / ORIGIN_FILE
    content = _content(file)
    if content.get("format") != FORMAT:
        return ()
    try:
        return tuple(map(_origin, content["models"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ManifestError(
            f"{file}: expected the registered models that lie beside it ({error!r}); deploy again."
        ) from error


def _content(file: Path) -> dict[str, Any]:
    """Return what stands in a file, nothing where it is not there or is something else."""
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _origin(facts: Mapping[str, Any]) -> Origin:
    origin = Origin(**facts)
    dict(origin.sha256.items())
    return origin


def check_files(folder: Path, origins: Iterable[Origin]) -> None:
    """Compare the files of registered models with what was registered.

    Parameters
    ----------
    folder : Path
        The model folder.
    origins : iterable of Origin

    Raises
    ------
    DigestError
        When one is missing or another; nothing of it has been loaded.
    """
    for origin in origins:
        for name, recorded in origin.sha256.items():
            _check_file(folder / name, recorded, origin.uri)


def _check_file(file: Path, recorded: str, uri: str) -> None:
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        digest = f"none: {error.strerror}"
    if digest != recorded:
        raise DigestError(
            f"{file}: expected the file that was registered as {uri}, with the SHA-256 "
            f"{recorded:.12}..., got {digest:.40}; nothing of it was loaded. Deploy the version "
            "again."
        )
