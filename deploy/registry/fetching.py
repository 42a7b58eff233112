"""The registered models that a configuration names, as files in a folder of this machine.

Next: `deploy.registry.marking`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.configuration import Configuration
from deploy.registry.origin import Origin
from deploy.registry.store import Store, registry_uri
from deploy.registry.versions import digests_of, fetch_files, find_version


@dataclass(frozen=True)
class RegisteredFile:
    """A file of a version, here and in the image.

    Parameters
    ----------
    place : str
        Its path in the folder of the models.
    file : Path
        Where it is on this machine.
    key : str
        Which key of deploy.yml asks for it: ``models[1]``.
    """

    place: str
    file: Path
    key: str


@dataclass(frozen=True)
class FetchedModels:
    """What is registered of a configuration's models, on this machine.

    Parameters
    ----------
    config : Configuration
        With versions in place of aliases: so a release says what it has, and going back to it never
        asks where an alias points by then.
    origins : tuple of Origin
        One for each registered model, in the configuration's order.
    files : tuple of RegisteredFile
        They have been compared with their digests, and are nobody else's to write.
    """

    config: Configuration
    origins: tuple[Origin, ...] = ()
    files: tuple[RegisteredFile, ...] = ()


@contextmanager
def fetched_models(config: Configuration, root: Path) -> Iterator[FetchedModels]:
    """Fetch what is registered of a configuration's models, until the block ends.

    Parameters
    ----------
    config : Configuration
    root : Path
        The folder of deploy.yml.

    Yields
    ------
    FetchedModels

    Raises
    ------
    RegistryError
        When a version is not there, is not what was registered, or cannot be reached in time.
    """
    if not config.registered_models:
        yield FetchedModels(config)
        return
    store = Store(registry_uri(config.tracking_uri, root))
    models = list(config.models)
    origins: list[Origin] = []
    files: list[RegisteredFile] = []
    with tempfile.TemporaryDirectory(prefix="registered-") as folder:
        for at, uri in config.registered_models.items():
            found = find_version(store, uri)
            target, digests = Path(folder, str(at)), digests_of(found)
            fetch_files(store, found, digests, target, config.timeouts.build)
            origin = _origin(store, found, digests, alone=len(models) == 1)
            models[at] = origin.uri
            origins.append(origin)
            for name, place in zip(digests, origin.sha256, strict=True):
                files.append(RegisteredFile(place, target / name, f"models[{at}]"))
        yield FetchedModels(replace(config, models=tuple(models)), tuple(origins), tuple(files))


def _origin(store: Store, found: Any, digests: Mapping[str, str], *, alone: bool) -> Origin:
    """Say what a version is, and where its files lie.

    A file lies by its own name; so does the content of a folder that is the only model. Of several
    models a folder has one of the model's name.
    """
    file = found.tags.get("file", "")
    folder = "" if file or alone else f"{found.name}/"
    return Origin(
        uri=f"models:/{found.name}/{found.version}",
        name=str(found.name),
        version=str(found.version),
        run=str(found.run_id or ""),
        registry=store.place,
        explanation=found.tags.get("explanation", ""),
        path=file or folder.rstrip("/"),
        sha256={folder + name: digest for name, digest in digests.items()},
    )
