"""The folder of the application in the image: which file lies where.

A file keeps its name, and a folder its name and all that is in it, so that code is imported and
models are found as they were here. Two files that would lie at one place are refused by name before
anything is built: one of them would be lost, and the proof of the release would not notice.
Next: `deploy.image.recipe`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, filterfalse
from operator import attrgetter
from pathlib import Path, PurePosixPath

from deploy.configuration import Configuration
from deploy.contract import APP_FOLDER, CONTENT_HASH, MODELS_FOLDER
from deploy.errors import ConfigurationError
from deploy.registry.fetching import RegisteredFile

DEPLOY = Path(__file__).parents[1]
PREFLIGHT_FOLDER = "preflight"
OWN_FOLDERS = ("service", "native")  # the service, and what its hot loops are compiled of
# What the first part of a place may not be but for the project's own files: Python would find the
# user's `service` in place of the project's, or the other way round.
OWN = {*OWN_FOLDERS, "service.py", PREFLIGHT_FOLDER, Path(CONTENT_HASH).name}
# .git, .env, .venv: what is hidden is never imported, and often not meant for others.
PRIVATE = re.compile(r"\..*|__pycache__", re.DOTALL)
HINTS = {"artifacts": "; `make train` makes the example's"}


@dataclass(frozen=True)
class Placed:
    """A file, and where it lies in the image.

    Parameters
    ----------
    place : str
        Its path in the folder of the application.
    file : Path
        Its path on this machine.
    key : str
        Which key of deploy.yml asks for it: ``models[1]``; empty for the project's own.
    """

    place: str
    file: Path
    key: str = ""

    @property
    def first(self) -> str:
        """The first part of its place."""
        return self.place.split("/")[0]


def application(
    config: Configuration, root: Path, registered: Iterable[RegisteredFile] = ()
) -> dict[str, bytes]:
    """Read the files of the application by their places in its folder.

    Parameters
    ----------
    config : Configuration
    root : Path
        The folder that the configuration's paths start from.
    registered : iterable of RegisteredFile
        What has been fetched of the models that are no paths.

    Raises
    ------
    ConfigurationError
        When a file is missing, or two would lie at one place.
    """
    found: dict[str, Placed] = {}
    for placed in chain(_own(), _of_the_user(config, root), map(_fetched, registered)):
        _refuse_clash(found.setdefault(placed.place, placed), placed)
    _refuse_files_as_folders(found)
    _refuse_names(found)
    return {place: read(placed.file, placed.key) for place, placed in found.items()}


def read(file: Path, key: str) -> bytes:
    """Read a file that a key of deploy.yml names.

    Raises
    ------
    ConfigurationError
        When it cannot be read.
    """
    if file.exists() and not file.is_file():  # reading a pipe could take for ever
        raise ConfigurationError(f"{key}: expected a file, but {file} is none")
    try:
        return file.read_bytes()
    except OSError as error:
        hint = HINTS.get(file.parent.name, "")
        raise ConfigurationError(f"{key}: cannot read {file} ({error.strerror}){hint}") from error


def _own() -> Iterator[Placed]:
    for folder in OWN_FOLDERS:
        yield from _tree(DEPLOY.parent / folder, folder, "")
    yield Placed("probe.py", DEPLOY / "release" / "probe.py")


def _of_the_user(config: Configuration, root: Path) -> Iterator[Placed]:
    script = _absolute(root / config.entry_script)
    yield Placed(script.name, script, "entry_script")
    for at, text in enumerate(config.code):
        yield from _named(root, text, "", f"code[{at}]")
    for at, text in config.local_models.items():
        yield from _named(root, text, f"{MODELS_FOLDER}/", f"models[{at}]")
        yield from _manifest(_absolute(root / text), f"models[{at}]")


def _fetched(found: RegisteredFile) -> Placed:
    return Placed(f"{MODELS_FOLDER}/{found.place}", found.file, found.key)


def _manifest(model: Path, key: str) -> Iterator[Placed]:
    # Without the manifest beside it a scoring explainer is not loaded.
    manifest = model.with_suffix(".json")
    if model.is_file() and manifest.is_file():
        yield Placed(f"{MODELS_FOLDER}/{manifest.name}", manifest, key)


def _named(root: Path, text: str, below: str, key: str) -> Iterator[Placed]:
    """Place a file or a folder by its own name; "." is the content of the root itself."""
    path = _absolute(root / text)
    name = "" if path == _absolute(root) else path.name
    if path.is_dir():
        yield from _tree(path, f"{below}{name}".rstrip("/"), key)
    else:
        yield Placed(f"{below}{name}", path, key)


def _tree(folder: Path, below: str, key: str) -> list[Placed]:
    """Place the files of a folder, those behind its links too, and none that is hidden."""
    found = []
    for base, folders, names in os.walk(folder, onerror=_refuse_unreadable, followlinks=True):
        _refuse_circle(Path(base), key)
        folders[:] = _public(folders)
        for name in _public(names):
            file = Path(base, name)
            inner = str(file.relative_to(folder))
            found.append(Placed(f"{below}/{inner}".lstrip("/"), file, key))
    if not found:
        raise ConfigurationError(
            f"{key}: expected files in {folder}, found none that is not hidden"
        )
    return found


def _public(names: Iterable[str]) -> list[str]:
    return sorted(filterfalse(PRIVATE.fullmatch, names))


def _refuse_circle(folder: Path, key: str) -> None:
    if folder.parent.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"{key}: {folder} is a link to a folder that it lies in itself")


def _refuse_unreadable(error: OSError) -> None:
    raise ConfigurationError(f"cannot read {error.filename} ({error.strerror})") from error


def _refuse_files_as_folders(found: Mapping[str, Placed]) -> None:
    for place, placed in found.items():
        for parent in found.keys() & set(map(str, PurePosixPath(place).parents)):
            raise _clash(found[parent], placed)


def _absolute(path: Path) -> Path:
    # Links stay: two names of one file are two.
    return Path(os.path.abspath(path))


def _refuse_clash(there: Placed, placed: Placed) -> None:
    if there.file != placed.file:
        raise _clash(there, placed)


def _refuse_names(found: Mapping[str, Placed]) -> None:
    users = filter(attrgetter("key"), found.values())
    by_name = {placed.first: placed for placed in users}
    for name in OWN & by_name.keys():
        raise _taken(by_name[name])


def _clash(there: Placed, placed: Placed) -> ConfigurationError:
    if not there.key:
        return _taken(placed)
    return ConfigurationError(
        f"{placed.key}: {placed.file} would lie at {APP_FOLDER}/{placed.place}, where {there.key}, "
        f"{there.file}, lies already; rename one of them, or name their folders in their place: a "
        "folder keeps its name"
    )


def _taken(placed: Placed) -> ConfigurationError:
    return ConfigurationError(
        f"{placed.key}: {placed.file} would lie at {APP_FOLDER}/{placed.place}, but "
        f"{placed.first} is a name of the image's own; rename it"
    )
