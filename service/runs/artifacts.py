"""Files of runs and of registered versions: in the embedded store's folder, or behind a server.

What MLflow writes down is an absolute address, which is wrong when the store was moved. In an
embedded store only the end of it counts: below ``artifacts/``, whoever wrote it down.

Next: :mod:`service.runs.workspace`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from service.runs.embedded import part_folder
from service.runs.engine import Engine
from service.runs.failures import NotInStoreError, RunStoreError
from service.runs.names import of_users

ROOT = "artifacts"
LOCAL = ("", "file", "mlflow-artifacts")


class Artifacts(Protocol):
    """Files that are put once and read by name."""

    def put(self, name: str, content: bytes | memoryview) -> None:
        """Put a file that is not there yet."""

    def put_file(self, name: str, file: Path) -> None:
        """Put a copy of a file where there is none yet."""

    def open(self, name: str) -> Path:
        """Return a file as one of this machine, which is fetched when it is elsewhere."""

    def list_names(self, below: str = "") -> list[str]:
        """Return the names of all files in a folder and below it."""

    def list_folders(self, below: str) -> list[str]:
        """Return the names of the folders in a folder, also of those without a file."""

    def is_older(self, below: str, seconds: float) -> bool:
        """Tell whether nothing was put into a folder for so long."""

    def remove(self, below: str) -> None:
        """Remove a folder with all that is in it."""


class LocalArtifacts:
    """Files in the folder of an embedded store.

    Parameters
    ----------
    folder : Path
    store : Path
        The store's own folder, through which files come.
    """

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.store = folder, store

    def put(self, name: str, content: bytes | memoryview) -> None:
        """Write a file beside, and give it its name when it is whole."""
        self._put(name, lambda part: part.write_bytes(content))

    def put_file(self, name: str, file: Path) -> None:
        """Copy a file beside, and give it its name when it is whole."""
        self._put(name, lambda part: shutil.copyfile(file, part))

    def _put(self, name: str, write: Callable[[Path], Any]) -> None:
        target = self.folder / name
        _make_folders(target.parent)
        with part_folder(self.store) as folder:
            write(folder / "part")
            try:
                os.link(folder / "part", target)
            except FileExistsError:
                raise _existing(name) from None

    def open(self, name: str) -> Path:
        """Return where a file lies."""
        file = self.folder / name
        if not file.is_file():
            raise _missing(name, self.list_names())
        return file

    def list_names(self, below: str = "") -> list[str]:
        """Return the names of all files in a folder and below it."""
        files = filter(Path.is_file, (self.folder / below).rglob("*"))
        return sorted(file.relative_to(self.folder).as_posix() for file in files)

    def list_folders(self, below: str) -> list[str]:
        """Return the names of the folders in a folder, also of those without a file."""
        folders = filter(Path.is_dir, (self.folder / below).glob("*"))
        return sorted(folder.name for folder in folders)

    def is_older(self, below: str, seconds: float) -> bool:
        """Tell whether nothing was put into a folder for so long."""
        folder = self.folder / below
        latest = max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
        return latest <= time.time() - seconds

    def remove(self, below: str) -> None:
        """Remove a folder with all that is in it."""
        shutil.rmtree(self.folder / below, ignore_errors=True)


class RemoteArtifacts:
    """Files behind a server of MLflow's; those that are read are fetched into a folder.

    Each question costs a server tenths of a second, so that what there is is asked for once.

    Parameters
    ----------
    uri : str
    engine : Engine
    cache : Path
    """

    def __init__(self, uri: str, engine: Engine, cache: Path) -> None:
        self.engine, self.cache = engine, cache
        self._repository = engine.open_repository(uri)
        self._there: dict[str, set[str]] = {}  # files by their folder, asked for once

    def put(self, name: str, content: bytes | memoryview) -> None:
        """Send a file, by way of one on this machine."""
        with part_folder(self.cache) as folder:
            part = folder / Path(name).name
            part.write_bytes(content)
            self._send(name, part)

    def put_file(self, name: str, file: Path) -> None:
        """Send a copy of a file."""
        if self._is_there(name):
            raise _existing(name)
        with part_folder(self.cache) as folder:
            part = folder / Path(name).name
            shutil.copyfile(file, part)
            self._send(name, part)

    def _is_there(self, name: str) -> bool:
        folder = name.rpartition("/")[0]
        if folder not in self._there:
            self._there[folder] = set(self._list(folder)[0])
        return name in self._there[folder]

    def _send(self, name: str, file: Path) -> None:
        folder = name.rpartition("/")[0] or None
        self.engine.within_time(lambda: self._repository.log_artifact(str(file), folder))
        self._there.get(folder or "", set()).add(name)

    def open(self, name: str) -> Path:
        """Fetch a file unless that was done."""
        file = self.cache / name
        if file.is_file():
            return file
        if not self._is_there(name):
            raise _missing(name, self.list_names())
        file.parent.mkdir(parents=True, exist_ok=True)
        with part_folder(self.cache) as folder:
            fetch = self._repository.download_artifacts
            fetched = self.engine.within_time(lambda: fetch(name, str(folder)))
            Path(fetched).replace(file)
        return file

    def list_names(self, below: str = "") -> list[str]:
        """Return the names of all files in a folder and below it."""
        files, folders = self._list(below)
        for folder in folders:
            files += self.list_names(folder)
        return sorted(files)

    def list_folders(self, below: str) -> list[str]:
        """Return the names of the folders in a folder, also of those without a file."""
        _, folders = self._list(below)
        return sorted(folder.rpartition("/")[2] for folder in folders)

    def _list(self, below: str) -> tuple[list[str], list[str]]:
        listed = self.engine.within_time(lambda: self._repository.list_artifacts(below or None))
        is_folder = {info.path: bool(info.is_dir) for info in listed}
        folders = list(filter(is_folder.__getitem__, is_folder))
        return sorted(is_folder.keys() - folders), folders

    def is_older(self, below: str, seconds: float) -> bool:
        """Tell so only when it does not matter: a server keeps no times."""
        return seconds <= 0

    def remove(self, below: str) -> None:
        """Remove a folder with all that is in it."""
        self.engine.within_time(lambda: self._repository.delete_artifacts(below))


@contextmanager
def opened_artifacts(uri: str, depth: int, engine: Engine) -> Iterator[Artifacts]:
    """Open the files that an address of MLflow's names.

    Parameters
    ----------
    uri : str
    depth : int
        How many of its last parts lie below the store's ``artifacts/``: 3 of a run's, 4 of a
        version's.
    engine : Engine

    Yields
    ------
    Artifacts
        What was fetched is removed at the end.
    """
    parts = urlsplit(uri)
    if engine.folder is not None and parts.scheme in LOCAL:
        yield LocalArtifacts(_folder_of(uri, depth, engine.folder), engine.folder)
        return
    with part_folder(engine.scratch) as folder:
        yield RemoteArtifacts(uri, engine, folder)


def _folder_of(uri: str, depth: int, store: Path) -> Path:
    """Return where files of an embedded store lie, wherever the store was when it was written down.

    What MLflow's own experiments have never lay in the store, and is where it was written down.
    """
    address = urlsplit(uri)
    names = unquote(address.path).strip("/").split("/")
    tail, above = names[-depth:], names[:-depth]
    if len(tail) != depth or ".." in tail:
        raise RunStoreError(f"{uri}: expected an address below the store's {ROOT}/.")
    is_own = address.scheme == "mlflow-artifacts" or above[-1:] == [ROOT]
    written = Path("/", *names)
    return store.joinpath(ROOT, *tail) if is_own or not written.is_dir() else written


def _make_folders(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _existing(folder.name) from None


def _existing(name: str) -> FileExistsError:
    return FileExistsError(
        f"Run: expected the name of a new file, but {name} is there already; what others may have "
        "read is not replaced: choose another name, or another run."
    )


def _missing(name: str, there: list[str]) -> NotInStoreError:
    told = ", ".join(of_users(there)[:10]) or "none"
    return NotInStoreError(f"{name}: expected one of the files that are there ({told}).")
