"""Where the files of an explanation lie: a folder, or one zip file, with the digest of each.

Next: :mod:`service.explanations.files.packed_columns`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ArtifactError, DigestError, ManifestError

HEADING = "explanation.json"
Put = Callable[[str, bytes], None]
Get = Callable[[str], bytes]


class Writer:
    """Puts arrays into files, and notes what each is.

    Parameters
    ----------
    put : callable
        Takes a file's name and content.
    """

    def __init__(self, put: Put) -> None:
        self.put = put
        self.files: dict[str, dict[str, Any]] = {}

    def write(self, name: str, content: bytes) -> None:
        """Put a file, and note its digest and length."""
        self.put(name, content)
        self.files[name] = {"sha256": digest(content), "bytes": len(content)}

    def write_array(self, name: str, array: NDArray[Any]) -> None:
        """Put an array as ``.npy``."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        self.write(name, buffer.getvalue())

    def write_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Put several arrays as ``.npz``, uncompressed."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        self.write(name, buffer.getvalue())

    def write_heading(self, heading: dict[str, Any]) -> None:
        """Put ``explanation.json`` with the digests of all files, and with its own."""
        whole = {**heading, "files": self.files}
        self.write(HEADING, _to_text({**whole, "sha256": digest(_to_text(whole))}))


class Reader:
    """Reads arrays out of files that are what ``explanation.json`` says.

    Parameters
    ----------
    get : callable
        Returns the content of a file.
    place : str
        What the files are called in errors.

    Raises
    ------
    ManifestError, DigestError
        When ``explanation.json`` cannot be read, or was altered.
    """

    def __init__(self, get: Get, place: str) -> None:
        self.get = get
        self.place = place
        self.heading = read_json(get(HEADING), f"{place}/{HEADING}")
        recorded = self.heading.pop("sha256", None)
        if digest(_to_text(self.heading)) != recorded:
            raise altered(f"{place}/{HEADING}")

    def read(self, name: str) -> bytes:
        """Return the content of a file after comparing its digest."""
        recorded = self.heading["files"].get(name)
        if recorded is None:
            raise ManifestError(f"{self.place}/{HEADING}: expected an entry for {name}, got none.")
        content = self.get(name)
        if digest(content) != recorded["sha256"]:
            raise altered(f"{self.place}/{name}")
        return content

    def read_array(self, name: str) -> NDArray[Any]:
        """Return an array; one of objects is refused."""
        return self._plain(name)

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return several arrays by name; those of objects are refused."""
        return self._plain(name)

    def _plain(self, name: str) -> Any:
        content = io.BytesIO(self.read(name))
        try:
            if name.endswith(".npz"):
                return dict(np.load(content, allow_pickle=False))
            return np.load(content, allow_pickle=False)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ArtifactError(
                f"{self.place}/{name}: expected an array of numbers or texts, got something else "
                f"({error})."
            ) from error


def digest(content: bytes) -> str:
    """Return the SHA-256 of a content."""
    return hashlib.sha256(content).hexdigest()


def altered(name: str) -> DigestError:
    """Return the error of a file that is not the one that was written."""
    return DigestError(
        f"{name}: its SHA-256 is not the one that was recorded; it was changed, cut or damaged. "
        "Save the explanation again."
    )


def read_json(content: bytes, name: str) -> dict[str, Any]:
    """Read an object of strict JSON.

    Raises
    ------
    ManifestError
        When it is none.
    """
    try:
        read = json.loads(content, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ManifestError(f"{name}: expected JSON, got something else ({error}).") from error
    if not isinstance(read, dict):
        raise ManifestError(f"{name}: expected a JSON object, got {type(read).__name__}.")
    return read


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _plain(value: Any) -> Any:
    """Return a number or truth value of numpy's as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    raise ValueError(
        f"explanation.json: expected names and measures that are texts, numbers or truth values, "
        f"got {type(value).__name__}."
    )


def _to_text(heading: dict[str, Any]) -> bytes:
    return json.dumps(heading, sort_keys=True, indent=1, allow_nan=False, default=_plain).encode()


@contextmanager
def opened_to_write(path: Path) -> Iterator[Put]:
    """Open a folder, or a file that ends in ``.zip``, for files to be put into.

    A zip file takes its name when it is whole. What is in a folder loses its ``explanation.json``
    first, so that half of one explanation is never taken for the other.
    """
    if path.suffix == ".zip":
        with _opened_zip(path) as put:
            yield put
        return
    path.mkdir(parents=True, exist_ok=True)
    _remove_former(path)
    yield lambda name, content: _put_into_folder(path / name, content)


def _remove_former(folder: Path) -> None:
    """Remove the explanation that a folder holds, and no file else."""
    heading = folder / HEADING
    if not heading.exists():
        return
    names = [file.name for file in folder.glob("*.np[yz]")]
    recorded = read_json(heading.read_bytes(), str(heading)).get("files", {})
    heading.unlink()
    for name in set(names) & set(recorded):
        (folder / name).unlink()


def _put_into_folder(file: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all."""
    file.parent.mkdir(exist_ok=True)
    temporary = file.with_name(f".{file.name}.part")
    temporary.write_bytes(content)
    temporary.replace(file)


@contextmanager
def _opened_zip(path: Path) -> Iterator[Put]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            yield archive.writestr
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def opened_to_read(path: Path) -> Iterator[Get]:
    """Open a folder or a zip file for its files to be got by name.

    Raises
    ------
    ArtifactError
        When there is nothing, or no zip file. Getting a file raises it too, where it is missing.
    """
    if path.is_dir():
        yield lambda name: _get_from_folder(path, name)
        return
    if not path.is_file():
        raise ArtifactError(f"{path}: expected an explanation's folder or zip file, found nothing.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield lambda name: _get_from_zip(archive, path, name)
    except zipfile.BadZipFile as error:
        raise ArtifactError(
            f"{path}: expected a whole zip file, got another or a part of one ({error})."
        ) from error


def _get_from_folder(folder: Path, name: str) -> bytes:
    file = folder / name
    if not file.is_file():
        raise _missing(folder, name)
    return file.read_bytes()


def _get_from_zip(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    if name not in archive.namelist():
        raise _missing(path, name)
    return archive.read(name)


def _missing(place: Path, name: str) -> ArtifactError:
    return ArtifactError(
        f"{place}: expected {name} in it, found none; the explanation was not written to its end, "
        "or lost a file. Save it again."
    )
