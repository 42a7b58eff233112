"""A version of a registered model: found by its number or an alias, and its files.

Next: `deploy.registry.fetching`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from deploy.configuration import MODEL_URI
from deploy.errors import RegistryError
from deploy.registry.store import Store

DATA = "model/"  # what was registered lies there, beside what MLflow needs
DEPTH = 4  # <experiment>/models/<id>/artifacts, below an embedded store's `artifacts`
LOCAL = ("", "file", "mlflow-artifacts")
NONE_SUCH = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")
BELOW = re.compile(r"(?!/)(?!(.*/)?\.\.(/|$))[^\0\n]+")  # a path that leads nowhere else
SHOWN = 20  # names in a message


def find_version(store: Store, uri: str) -> Any:
    """Look a version up; an alias is looked up once, here.

    Parameters
    ----------
    store : Store
    uri : str
        ``models:/name@alias`` or ``models:/name/3``.

    Returns
    -------
    object
        What MLflow keeps of the version.

    Raises
    ------
    RegistryError
        When there is none; says which there are.
    """
    found = re.fullmatch(MODEL_URI, uri)
    assert found is not None, uri  # the configuration was checked
    name, alias, number = found["name"], found["alias"], found["version"]
    method = "get_model_version_by_alias" if alias else "get_model_version"
    try:
        return store.ask(method, name, alias or number)
    except RegistryError as error:
        if getattr(error.__cause__, "error_code", "") not in NONE_SUCH:
            raise
        raise RegistryError(f"{uri}: {_what_is_there(store, name)}") from error


def _what_is_there(store: Store, name: str) -> str:
    models = {model.name: model for model in store.ask("search_registered_models")}
    if name not in models:
        there = _listed(sorted(models)[:SHOWN])
        return f"no model of that name is registered in {store.place}; there are: {there}"
    quoted = name.replace("'", "''")
    versions = store.ask("search_model_versions", filter_string=f"name = '{quoted}'")
    numbers = sorted(map(int, map(attrgetter("version"), versions)))[-SHOWN:]
    aliases = map("@{0[0]} is {0[1]}".format, sorted(models[name].aliases.items()))
    return (
        f"no such version in {store.place}; {name} has the versions {_listed(map(str, numbers))}, "
        f"and the aliases {_listed(aliases)}"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def digests_of(found: Any) -> dict[str, str]:
    """Return the digests of what was registered, by the names of its files.

    Raises
    ------
    RegistryError
        When the version has none, or a file has a name that leads elsewhere.
    """
    what = f"models:/{found.name}/{found.version}"
    try:
        digests = dict(json.loads(found.tags["sha256"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RegistryError(
            f"{what}: expected the digests of its files in the tag sha256, got none, so nothing "
            "says that the files are what was registered; register it by "
            "service.runs.Run.register_model"
        ) from error
    wanted = {_inner(name, what): str(digests[name]) for name in filter(_is_data, digests)}
    if not wanted:
        raise RegistryError(f"{what}: expected files below {DATA}, its tag sha256 names none")
    return wanted


def _is_data(name: str) -> bool:
    return name.startswith(DATA)


def _inner(name: str, what: str) -> str:
    inner = name.removeprefix(DATA)
    if not BELOW.fullmatch(inner):
        raise RegistryError(f"{what}: a file may not be called {name!r}")
    return str(PurePosixPath(inner))


def fetch_files(
    store: Store, found: Any, digests: dict[str, str], target: Path, seconds: float
) -> None:
    """Copy the files of a version into a folder that nobody else writes, and compare the copies.

    Parameters
    ----------
    store : Store
    found : object
        What MLflow keeps of the version.
    digests : dict
        Of `digests_of`.
    target : Path
    seconds : float
        For one file to come.

    Raises
    ------
    RegistryError
        When one is not what was registered, or does not come.
    """
    what = f"models:/{found.name}/{found.version}"
    with _opened(store, str(found.source), target) as get:
        for name, digest in digests.items():
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            doing = f"fetching {name} of {what}"
            store.within(seconds, doing, partial(get, f"{DATA}{name}", copy))
            if _digest(copy) != digest:
                raise RegistryError(
                    f"{what}: {name} is not what was registered: its SHA-256 is another than the "
                    "version's tag says. Nothing of it was loaded; register the model again, and "
                    "ask who writes to the store"
                )


@contextmanager
def _opened(store: Store, source: str, target: Path) -> Iterator[Callable[[str, Path], object]]:
    """Have a function that copies one file of a version.

    What MLflow writes down is an absolute address, which is wrong when an embedded store was moved:
    of that only the end counts.
    """
    parts = urlsplit(source)
    if store.folder is not None and parts.scheme in LOCAL:
        tail = unquote(parts.path).strip("/").split("/")[-DEPTH:]
        if len(tail) != DEPTH or ".." in tail:
            raise RegistryError(f"{source}: expected an address below the store's artifacts")
        folder = store.folder.joinpath("artifacts", *tail)
        yield lambda name, copy: shutil.copyfile(folder / name, copy)
        return
    repository = store.repository(source)
    part = target.with_name(f"{target.name}.part")

    def download(name: str, copy: Path) -> None:
        part.mkdir(exist_ok=True)
        Path(repository.download_artifacts(name, str(part))).replace(copy)

    yield download
    shutil.rmtree(part, ignore_errors=True)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
