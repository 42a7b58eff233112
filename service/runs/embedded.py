"""The embedded store: a SQLite file and a folder, made in one step and never migrated unasked.

MLflow makes its tables in 2 seconds and some 80 statements, and a database that is half made stays
broken. So it is made in a folder beside and gets its name when it is whole: by a hard link, of
which the first wins.

Next: :mod:`service.runs.engine`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from service.errors import expect
from service.runs.failures import RunStoreError, StoreVersionError

PREFIX = "sqlite:///"
PARTS = ".parts"  # files on their way into the store
ABANDONED = 86_400  # seconds after which nobody is still writing one
SECONDS_TO_WAIT = 60  # for a database that somebody else writes


def folder_of(uri: str) -> Path:
    """Return the folder of an embedded store.

    Raises
    ------
    RunStoreError
        When the URI names no file.
    """
    database = Path(uri.removeprefix(PREFIX)).absolute()
    if database.suffix != ".db" or database.is_dir():
        raise RunStoreError(
            f"Workspace: expected sqlite:///…/runs.db or the address of a server, got {uri!r}."
        )
    expect(
        "?" not in str(database),
        f"Workspace: expected a folder without '?', which ends a path in an address, got "
        f"{str(database.parent)!r}; name another by RUNS_DIR.",
        RunStoreError,
    )
    return database.parent


@contextmanager
def part_folder(folder: Path) -> Iterator[Path]:
    """Give a folder in the store for files on their way, and remove it with what is left there."""
    parts = folder / PARTS
    parts.mkdir(parents=True, exist_ok=True)
    part = parts / uuid4().hex
    part.mkdir()
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove_abandoned(folder: Path, seconds: float = ABANDONED) -> int:
    """Remove what processes that were killed have left on its way; return how much it was."""
    before = time.time() - seconds
    abandoned = [part for part in (folder / PARTS).glob("*") if part.stat().st_mtime <= before]
    for part in abandoned:
        shutil.rmtree(part, ignore_errors=True)
    return len(abandoned)


def make_database(database: Path, fill: Callable[[str], None]) -> None:
    """Make a database where there is none, whole or not at all.

    Parameters
    ----------
    database : Path
    fill : callable
        Makes the tables of the database that a URI names, and closes it.
    """
    if database.exists():
        return
    with part_folder(database.parent) as part:
        made = part / database.name
        fill(f"{PREFIX}{made}")
        with suppress(FileExistsError):  # somebody else was faster: theirs is as good
            os.link(made, database)


def read_revision(database: Path) -> str:
    """Return the revision of a database's tables, without changing anything.

    Raises
    ------
    RunStoreError
        When it is no database of MLflow's.
    """
    try:
        read_only = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(read_only, uri=True)) as connection:
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise RunStoreError(
            f"{database}: expected a store of runs, got another file ({error}); name another "
            "folder by RUNS_DIR."
        ) from error
    return str(revision)


def check_revision(database: Path, expected: str) -> None:
    """Refuse a database of another version before anything is done to it.

    Raises
    ------
    StoreVersionError
    """
    found = read_revision(database)
    if found != expected:
        raise StoreVersionError(
            f"{database}: expected tables of revision {expected}, which the installed MLflow has, "
            f"got {found}. `python -m service.runs upgrade` makes them newer and keeps the file as "
            "it is beside; of a newer store, install the MLflow that wrote it."
        )


def upgrade_database(database: Path, upgrade: Callable[[str], None]) -> Path:
    """Upgrade a copy of a database, and put it into its place at the end.

    Parameters
    ----------
    database : Path
    upgrade : callable
        Upgrades the database that a URI names, and closes it.

    Returns
    -------
    Path
        The database as it was, under another name.
    """
    former = database.with_name(f"{database.name}.{read_revision(database)}")
    with part_folder(database.parent) as part:
        copied = part / database.name
        with closing(sqlite3.connect(database, timeout=SECONDS_TO_WAIT)) as source:
            # Nobody writes from here on what the copy would not have.
            source.execute("BEGIN IMMEDIATE")
            shutil.copy2(database, copied)
            upgrade(f"{PREFIX}{copied}")
            if not former.exists():
                os.link(database, former)
            copied.replace(database)
    return former
