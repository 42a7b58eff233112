"""Where the files of an explanation lie: a folder, or one zip file, with the digest of each.

Next: :mod:`service.explanations.files.replacing`.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from numpy.typing import NDArray

from service.errors import ArtifactError, DigestError, ManifestError, expect

HEADING = "explanation.json"
UNFINISHED = "unfinished"  # the kind of an explanation whose files are taking their places
# Bytes that a zip file may always unpack to; of more, a hundred times its own at most.
ALWAYS_UNPACKED, MOST_UNPACKED = 2**28, 100
Content = bytes | memoryview
Put = Callable[[str, Content], None]
# What crafted content raises where it is put together, beside errors of this package.
NOT_FITTING = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(RuntimeError, MemoryError),
)
# What a damaged or encrypted file raises where it is read.
UNREADABLE = (*NOT_FITTING, OSError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Files:
    """Files that are read by name.

    Attributes
    ----------
    get : callable
        Returns the content of a file.
    measure : callable
        Returns its length in bytes, without reading it.
    """

    get: Callable[[str], bytes]
    measure: Callable[[str], int]


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

    def write(self, name: str, content: Content) -> None:
        """Put a file, and note its digest and length."""
        self.put(name, content)
        self.files[name] = {"sha256": digest(content), "bytes": len(content)}

    def write_array(self, name: str, array: NDArray[Any]) -> None:
        """Put an array as ``.npy``, copied once on the way."""
        expect(not array.dtype.hasobject, f"{name}: expected numbers or texts.", ValueError)
        heading, described = io.BytesIO(), header_data_from_array_1_0(array)
        write_array_header_1_0(heading, described)
        begin = heading.tell()
        content = bytearray(begin + array.nbytes)
        content[:begin] = heading.getvalue()
        order: Any = "F" if described["fortran_order"] else "C"
        np.ndarray(array.shape, array.dtype, content, begin, order=order)[...] = array
        self.write(name, memoryview(content))

    def write_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Put several arrays as ``.npz``, uncompressed."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        self.write(name, buffer.getbuffer())

    def write_heading(self, heading: dict[str, Any]) -> None:
        """Put ``explanation.json`` with the digests of all files, and with its own."""
        whole = {**heading, "files": self.files}
        self.write(HEADING, to_text({**whole, "sha256": digest(to_text(whole))}))


class Reader:
    """Reads arrays out of files that are what ``explanation.json`` says.

    Parameters
    ----------
    files : Files
    place : str
        What the files are called in errors.

    Raises
    ------
    ManifestError, DigestError
        When ``explanation.json`` cannot be read, or was altered.
    """

    def __init__(self, files: Files, place: str) -> None:
        self.source = files
        self.place = place
        self.heading = read_json(files.get(HEADING), f"{place}/{HEADING}")
        recorded = self.heading.pop("sha256", None)
        if digest(to_text(self.heading)) != recorded:
            raise altered(f"{place}/{HEADING}")

    def measure(self, name: str) -> int:
        """Return the true length of a file in bytes, 0 where none is recorded."""
        return self.source.measure(name) if name in self.heading["files"] else 0

    def open_part(self, name: str) -> Reader:
        """Return a reader of the explanation that lies in a folder of this one."""
        files = Files(
            lambda file: self.read(f"{name}/{file}"), lambda file: self.measure(f"{name}/{file}")
        )
        return Reader(files, f"{self.place}/{name}")

    def read(self, name: str) -> bytes:
        """Return the content of a file after comparing its digest."""
        recorded = self.heading["files"].get(name)
        if recorded is None:
            raise ManifestError(f"{self.place}/{HEADING}: expected an entry for {name}, got none.")
        if self.source.measure(name) != recorded["bytes"]:
            raise altered(f"{self.place}/{name}")
        content = self.source.get(name)
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
                _check_not_inflated(content)
                return dict(np.load(content, allow_pickle=False))
            return np.load(content, allow_pickle=False)
        except UNREADABLE as error:
            raise ArtifactError(
                f"{self.place}/{name}: expected an array of numbers or texts, got something else "
                f"({error})."
            ) from error


def _check_not_inflated(content: io.BytesIO) -> None:
    """Refuse arrays that take more memory than their file has bytes; here none is compressed."""
    with zipfile.ZipFile(content) as archive:
        inflated = sum(info.file_size for info in archive.infolist())
    if inflated > len(content.getbuffer()):
        raise ValueError("compressed arrays")
    content.seek(0)


def digest(content: Content) -> str:
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
        read = json.loads(content, parse_constant=_refuse_constant, parse_float=_to_finite)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{name}: expected JSON, got something else ({error}).") from error
    if not isinstance(read, dict):
        raise ManifestError(f"{name}: expected a JSON object, got {type(read).__name__}.")
    return read


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _to_finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text} is larger than any number of 64 bits")
    return float(text)


def _plain(value: Any) -> Any:
    """Return a number or truth value of numpy's as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    raise ValueError(
        f"explanation.json: expected names and measures that are texts, numbers or truth values, "
        f"got {type(value).__name__}."
    )


def to_text(heading: dict[str, Any]) -> bytes:
    """Return what ``explanation.json`` says as it is written there.

    Raises
    ------
    ValueError
        When it has something in it that JSON has not.
    """
    try:
        text = json.dumps(heading, sort_keys=True, indent=1, allow_nan=False, default=_plain)
    except ValueError as error:
        if "Out of range" not in str(error):
            raise
        raise ValueError(
            "explanation.json: expected finite numbers among names and measures, got NaN or an "
            "infinity; name it in words, or leave it out."
        ) from error
    return text.encode()


@contextmanager
def opened_to_read(path: Path) -> Iterator[Files]:
    """Open a folder or a zip file for its files to be got by name.

    Raises
    ------
    ArtifactError
        When there is nothing, or no zip file. Getting a file raises it too, where it is missing,
        encrypted or damaged.
    """
    if path.is_dir():
        yield Files(
            lambda name: _find(path, name).read_bytes(),
            lambda name: _find(path, name).stat().st_size,
        )
        return
    if not path.is_file():
        raise ArtifactError(f"{path}: expected an explanation's folder or zip file, found nothing.")
    with _open_zip(path) as archive:
        _check_unpacked_size(archive, path)
        yield Files(
            lambda name: _get_from_zip(archive, path, name),
            lambda name: _find_in_zip(archive, path, name).file_size,
        )


def _find(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise _missing(folder, name)
    return file


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise ArtifactError(
            f"{path}: expected a whole zip file, got another or a part of one ({error})."
        ) from error


def _check_unpacked_size(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse a small file that is meant to take all memory; saved ones are not compressed."""
    unpacked, packed = sum(info.file_size for info in archive.infolist()), path.stat().st_size
    expect(
        unpacked <= max(ALWAYS_UNPACKED, MOST_UNPACKED * packed),
        f"{path}: expected an explanation's zip file, got one of {packed:,} bytes that unpacks to "
        f"{unpacked:,}; save the explanation again, or unpack it yourself and load the folder.",
        ArtifactError,
    )


def _find_in_zip(archive: zipfile.ZipFile, path: Path, name: str) -> zipfile.ZipInfo:
    if name not in archive.namelist():
        raise _missing(path, name)
    return archive.getinfo(name)


def _get_from_zip(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    info = _find_in_zip(archive, path, name)
    try:
        return archive.read(info)
    except UNREADABLE as error:
        raise ArtifactError(
            f"{path}/{name}: expected a whole file without a password, got a damaged or encrypted "
            f"one ({error}). Save the explanation again."
        ) from error


def _missing(place: Path, name: str) -> ArtifactError:
    return ArtifactError(
        f"{place}: expected {name} in it, found none; the explanation was not written to its end, "
        "or lost a file. Save it again."
    )
