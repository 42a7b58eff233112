"""Where a model lies that a script asks for by its name.

Next: `service.container_limits`.
"""

from itertools import chain
from operator import attrgetter, methodcaller
from pathlib import Path

from service.model_origin import read_origins
from service.settings import Settings


def find_model_path(model_name: str, version: int | None = None) -> str:
    """Return the path of a model below the service's model folder.

    Parameters
    ----------
    model_name : str
        The name of a file or folder in it. A folder of that name with one numbered folder for
        each version stands for the one file or folder in the newest of them. Where registered
        models were deployed, the name of one of these will do too, whatever its file is called.
    version : int, optional
        Another version than the newest.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    folder = Settings.from_environment().model_folder
    roots = (folder, Path("azureml-models"), Path())
    by_path = [_in_version(root / model_name, version) for root in roots]
    called = filter(methodcaller("is_called", model_name, version), read_origins(folder))
    registered = map(folder.joinpath, map(attrgetter("path"), called))
    for found in filter(Path.exists, chain(by_path, registered)):
        return str(found)
    raise FileNotFoundError(
        f"Model.get_model_path({model_name!r}, version={version}): expected it in "
        f"{folder.absolute()}, which AZUREML_MODEL_DIR names, found none"
    )


def _in_version(path: Path, version: int | None) -> Path:
    """Return what a version of a model consists of; the path itself where it has no versions."""
    versions = sorted(filter(_is_version, path.glob("*")), key=_number)
    if not versions:
        return path
    newest = versions[-1].name
    return _alone_in(path / (newest if version is None else str(version)))


def _is_version(path: Path) -> bool:
    return path.is_dir() and path.name.isdecimal()


def _number(folder: Path) -> tuple[int, str]:
    return len(folder.name), folder.name


def _alone_in(folder: Path) -> Path:
    inside = list(folder.glob("*"))
    return inside[0] if len(inside) == 1 else folder
