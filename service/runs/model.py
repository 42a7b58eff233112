"""A registered model: a version that never changes, found by its number or an alias.

Next: :mod:`service.runs.run`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service.model_paths import find_model_path
from service.runs.failures import NotInStoreError
from service.runs.names import check_model_name
from service.runs.versions import fetch_version
from service.runs.workspace import Workspace

_WITH_VERSION = re.compile(r"(?P<name>[^:@]+)(:(?P<version>[0-9]+)|@(?P<alias>.+))")


class Model:
    """A version of a registered model.

    Parameters
    ----------
    workspace : Workspace
    name : str
        ``name``, ``name:3`` or ``name@champion``.
    version : int or str, optional
        By default that of the alias, else the newest.
    alias : str, optional

    Attributes
    ----------
    name, version, id : str, int, str
        `id` is ``name:version``.
    run_id : str
        The run that registered it.
    tags, properties, description
        As given when it was registered; `tags` also as set since.
    explanation : str
        The id of the explanation that the run had then; "" of none.
    file : str
        The one file that was registered; "" where it was a folder.
    aliases : list of str

    Raises
    ------
    NotInStoreError
        When there is no such model, version or alias; says which there are.

    Examples
    --------
    >>> from service.runs import Run
    >>> size = Path("notes.txt").write_text("any file")
    >>> with Run.get_context() as run:
    ...     run.upload_file("notes.txt", "notes.txt")
    ...     registered = run.register_model("notes", "notes.txt")
    >>> Model(Workspace(), "notes").download("there")
    'there/notes.txt'
    """

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        version: int | str | None = None,
        alias: str = "",
    ) -> None:
        named = _WITH_VERSION.fullmatch(name) if isinstance(name, str) else None
        if named is not None:
            name, version = named["name"], named["version"] or version
            alias = named["alias"] or alias
        self.workspace, self.name = workspace, check_model_name(name)
        self._take(_find_version(workspace, self.name, version, alias))

    def _take(self, found: Any) -> None:
        self._found = found
        self.version = int(found.version)
        self.id = f"{self.name}:{self.version}"
        self.run_id = str(found.run_id or "")
        self.description = str(found.description or "")
        self.tags = dict(found.tags)
        self.properties = json.loads(self.tags.get("properties", "{}"))
        self.explanation = self.tags.get("explanation", "")
        self.file = self.tags.get("file", "")
        self.aliases = list(found.aliases)

    def __repr__(self) -> str:
        """Tell which version it is."""
        return f"{type(self).__name__}({self.id!r}, run_id={self.run_id!r})"

    @classmethod
    def list(cls, workspace: Workspace, name: str | None = None) -> list[Model]:
        """Return all versions of a model, the newest first; of all models by default."""
        names = workspace.models() if name is None else [check_model_name(name)]
        models = []
        for each in names:
            found = _versions(workspace, each)
            models += [cls(workspace, each, version) for version in found]
        return models

    def download(self, target_dir: str | Path = ".", exist_ok: bool = False) -> str:
        """Copy what was registered into a folder, after comparing it with its digests.

        Parameters
        ----------
        target_dir : path, default "."
            Made when it is not there.
        exist_ok : bool, default False
            Whether the file or folder may exist already; it is then replaced.

        Returns
        -------
        str
            The file that was registered; of a folder that was registered, a folder in `target_dir`
            with the model's name.

        Raises
        ------
        FileExistsError
            When it exists and `exist_ok` is False, or a folder has files that the version has not.
        DigestError
            When a file is not what was registered. Nothing of it was loaded, and nothing replaced.
        """
        target = Path(target_dir) / (self.file or self.name)
        if target.exists() and not exist_ok:
            raise FileExistsError(
                f"Model.download: expected a new file or folder, but {target} exists; pass "
                "exist_ok=True to replace it."
            )
        # Near the target, and not in the store, which may be another's to write.
        there = next(filter(Path.is_dir, target.absolute().parents))
        with TemporaryDirectory(prefix=".part-", dir=there) as part:
            fetched = Path(part, "model")
            fetch_version(self.workspace.engine, self._found, fetched)
            _replace_files(fetched, target.parent if self.file else target, bool(self.file))
        return str(target)

    def set_alias(self, alias: str) -> None:
        """Let an alias such as ``champion`` mean this version from now on."""
        engine = self.workspace.engine
        engine.ask("set_registered_model_alias", self.name, alias, str(self.version))
        self._take(engine.ask("get_model_version", self.name, str(self.version)))

    @staticmethod
    def get_model_path(model_name: str, version: int | None = None, _workspace: Any = None) -> str:
        """Return the path of a model below the service's model folder; needs no MLflow.

        Parameters
        ----------
        model_name : str
            As :func:`service.model_paths.find_model_path` takes it.
        version : int, optional
            Another version than the newest.

        Raises
        ------
        FileNotFoundError
            When there is none.
        """
        return find_model_path(model_name, version)


def _find_version(workspace: Workspace, name: str, version: Any, alias: str) -> Any:
    try:
        if version is not None:
            return workspace.engine.ask("get_model_version", name, str(version))
        if alias:
            return workspace.engine.ask("get_model_version_by_alias", name, alias)
    except NotInStoreError as error:
        raise _not_there(workspace, name, version, alias) from error
    found = _versions(workspace, name)
    if not found:
        raise _not_there(workspace, name, version, alias)
    return workspace.engine.ask("get_model_version", name, str(found[0]))


def _versions(workspace: Workspace, name: str) -> list[int]:
    """Return the numbers of a model's versions, the newest first."""
    quoted = name.replace("'", "''")
    found = workspace.engine.pages("search_model_versions", filter_string=f"name = '{quoted}'")
    return sorted((int(version.version) for version in found), reverse=True)


def _not_there(workspace: Workspace, name: str, version: Any, alias: str) -> NotInStoreError:
    ends = {(True, False): f"@{alias}", (True, True): ""}
    wanted = name + ends.get((version is None, not alias), f":{version}")
    numbers = map(str, reversed(_versions(workspace, name)))
    there = list(map(f"{name}:{{}}".format, numbers)) or workspace.models()
    return NotInStoreError(
        f"Model: expected a registered version, got {wanted}; there are "
        f"{', '.join(there) or 'none'}."
    )


def _replace_files(fetched: Path, target: Path, is_shared: bool) -> None:
    """Move files of a version into a folder, which has no others unless it is shared."""
    names = set(_names_in(fetched))
    others = [] if is_shared else sorted(set(_names_in(target)) - names)
    if others:
        raise FileExistsError(
            f"Model.download: expected a folder with no other files than this version has, but "
            f"{target} has {', '.join(others[:5])} too; remove it, or name another target_dir."
        )
    for name in sorted(names):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (fetched / name).replace(target / name)


def _names_in(folder: Path) -> list[str]:
    files = filter(Path.is_file, folder.rglob("*"))
    return [file.relative_to(folder).as_posix() for file in files]
