"""Putting an explanation in the place of another: wholly or not at all, and touching nothing else.

Files are written beside their place under names of their own, and take it when all are there.

Next: :mod:`service.explanations.files.packed_columns`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from service.errors import ArtifactError, expect
from service.explanations.files.storage import (
    HEADING,
    UNFINISHED,
    Content,
    Put,
    Writer,
    opened_to_read,
    read_json,
)

_KINDS = ("local", "global", UNFINISHED)
_TABLES = (
    "row_ids|evaluation_examples|initialization_examples|true_labels|predictions|probabilities|"
    "residuals|other"
)
# Every name that a file of an explanation has; nothing else is ever removed or replaced.
_OWN = re.compile(
    r"(engineered/)*(explanation\.json|importances_sparse\.npz|feature_map-\d+\.npz|"
    rf"(importances|standard_errors|others)-\d{{5,}}\.npy|({_TABLES})\.np[yz])"
)
_BESIDE = ".explanation-{}.part"


@contextmanager
def opened_to_write(path: Path, exist_ok: bool) -> Iterator[Put]:
    """Open a folder, or a file that ends in ``.zip``, for the files of an explanation.

    What was there is replaced when this ends without an error, and is as it was otherwise. Of two
    that save into one folder at the same time, the second waits for the first.

    Raises
    ------
    FileExistsError
        When something else than an explanation would be replaced, or a folder has come into being
        that may not exist.
    IsADirectoryError
        When a folder is where a file is to be.
    """
    if path.suffix == ".zip":
        with _opened_zip(path) as put:
            yield put
        return
    path.mkdir(parents=True, exist_ok=exist_ok)
    with _opened_folder(path) as put:
        yield put


@contextmanager
def _opened_folder(folder: Path) -> Iterator[Put]:
    with _locked(folder) as is_locked:
        if is_locked:
            _remove_abandoned(folder)
        former = _find_former(folder)
        beside = folder / _BESIDE.format(uuid4().hex)
        beside.mkdir(mode=0o700)
        try:
            yield partial(_put_beside, beside, _mode_of(folder / HEADING))
            _swap(folder, beside, former)
        finally:
            shutil.rmtree(beside)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Wait until nobody else saves into a folder; tell whether its file system has such locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    is_locked = False
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            is_locked = True
        yield is_locked
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    """Remove what a process that was killed while it saved has left."""
    for beside in folder.glob(_BESIDE.format("*")):
        if beside.is_dir() and not beside.is_symlink():
            shutil.rmtree(beside)


def _put_beside(beside: Path, mode: int | None, name: str, content: Content) -> None:
    expect(_OWN.fullmatch(name) is not None, f"{name}: expected a name of the format.", ValueError)
    file = beside / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "xb", opener=partial(_open_with_mode, mode)) as opened:
        opened.write(content)


def _mode_of(file: Path) -> int | None:
    """Return who may read a file that is there already; None leaves it to the umask."""
    return file.stat().st_mode & 0o777 if file.is_file() else None


def _open_with_mode(mode: int | None, name: str, flags: int) -> int:
    """Open a new file which nobody may read before its mode is right."""
    if mode is None:
        return os.open(name, flags, 0o666)
    descriptor = os.open(name, flags, 0o600)
    os.fchmod(descriptor, mode)
    return descriptor


def _find_former(folder: Path) -> list[str]:
    """Return the names of an explanation's files in a folder.

    Raises
    ------
    FileExistsError
        When ``explanation.json`` is another's, or there are such files without one: whose they are
        nobody knows, and what they hold may not be meant to stay.
    """
    found = _own_files(folder)
    heading = folder / HEADING
    _check_is_no(Path.is_symlink, folder / "engineered", "link")
    if heading.is_symlink() or heading.exists():
        _check_is_own(lambda: read_json(heading.read_bytes(), str(heading)), heading)
    elif found:
        raise FileExistsError(
            f"save_explanation: expected a folder without {found[0]}, or with the {HEADING} it "
            f"belongs to, but it is in {folder}; remove it or name another folder."
        )
    return found


def _own_files(folder: Path) -> list[str]:
    """Return the names that an explanation's files have."""
    found = []
    for file in sorted([*folder.glob("*.*"), *folder.glob("engineered/**/*.*")]):
        name = file.relative_to(folder).as_posix()
        if _OWN.fullmatch(name) and not file.is_dir():
            found.append(name)
    return found


def _check_is_no(is_kind: Callable[[Path], bool], place: Path, kind: str) -> None:
    if is_kind(place):
        raise FileExistsError(
            f"save_explanation: expected no {kind} {place}, where a part of the explanation is to "
            "be; remove it or name another folder."
        )


def _check_is_own(read: Callable[[], Mapping[str, Any]], place: Path) -> None:
    """Check that a heading is one that is written here.

    Raises
    ------
    FileExistsError
        When it is not, so that nothing of another's is replaced.
    """
    try:
        heading = read()
        is_own = "format" in heading and "sha256" in heading and heading.get("kind") in _KINDS
    except (ArtifactError, OSError):
        is_own = False
    if not is_own:
        raise FileExistsError(
            f"save_explanation: expected an explanation to replace, but {place} is none, or is "
            "damaged; remove it or name another place."
        )


def _swap(folder: Path, beside: Path, former: list[str]) -> None:
    """Put files into their places, the heading last.

    Until then the heading says that the explanation is unfinished, so that half of one is never
    taken for the other, and the next one that is saved knows whose the files are.
    """
    names = _own_files(beside)
    for name in names:
        _check_is_no(Path.is_dir, folder / name, "folder")
    names.remove(HEADING)
    _mark_unfinished(folder, beside)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (beside / name).replace(folder / name)
    for name in sorted(set(former) - {HEADING, *names}, key=_depth, reverse=True):
        (folder / name).unlink()
        with suppress(OSError):  # others' files in it, or files that are to come
            (folder / name).parent.rmdir()
    (beside / HEADING).replace(folder / HEADING)


def _depth(name: str) -> int:
    return name.count("/")


def _mark_unfinished(folder: Path, beside: Path) -> None:
    put: dict[str, Content] = {}
    Writer(put.__setitem__).write_heading({"format": None, "kind": UNFINISHED})
    mark = beside / UNFINISHED
    mark.write_bytes(put[HEADING])
    mark.replace(folder / HEADING)


@contextmanager
def _opened_zip(path: Path) -> Iterator[Put]:
    _check_replaces_zip(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(_BESIDE.format(uuid4().hex))
    try:
        opener = partial(_open_with_mode, _mode_of(path))
        with open(beside, "xb", opener=opener) as file, zipfile.ZipFile(file, "w") as archive:
            yield archive.writestr
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _check_replaces_zip(path: Path) -> None:
    """Check that there is nothing, an empty file or an explanation."""
    if path.is_dir():
        raise IsADirectoryError(
            f"save_explanation: expected a file where a name ends in .zip, but {path} is a folder; "
            "name another one."
        )
    if path.is_file() and path.stat().st_size:
        _check_is_own(partial(_read_zip_heading, path), path)


def _read_zip_heading(path: Path) -> Mapping[str, Any]:
    with opened_to_read(path) as files:
        return read_json(files.get(HEADING), f"{path}/{HEADING}")
