"""Which registered models lie in the model folder, as a deployment has written it beside them.

The folder's ``origin.json`` says name, version, run and explanation, and each file's SHA-256, which
it is compared with before anything is unpickled. Next: `service.model_paths`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
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

    def facts(self) -> dict[str, str]:
        """Return what a client may know of it."""
        return {name: value for name, value in asdict(self).items() if name in SHOWN}


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
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        content = None
    return content if isinstance(content, dict) else {}


def _origin(facts: Mapping[str, Any]) -> Origin:
    known = Origin.__dataclass_fields__.keys() & facts.keys()
    origin = Origin(**{name: facts[name] for name in known})
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
    if not file.is_file():
        raise DigestError(f"{file}: expected this file of {uri}, found none; deploy again.")
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != recorded:
        raise DigestError(
            f"{file}: its SHA-256 is not what was registered as {uri}; nothing of it was loaded. "
            "Deploy the version again."
        )
