"""Making a registered version, which never changes, and checking that it did not.

The digests stand in the database and not beside the files: who may write files cannot change what
they are compared with.

Next: :mod:`service.runs.model`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

import service
from service.errors import DigestError, expect
from service.runs.artifacts import Artifacts, opened_artifacts
from service.runs.embedded import part_folder
from service.runs.engine import Engine
from service.runs.failures import NotInStoreError, RunStoreError
from service.runs.names import of_users

DATA = "model"
DEPTH = 4  # <experiment>/models/<id>/artifacts
PIECE = 2**20  # bytes
LONGEST_DIGESTS = 100_000  # characters of a version's tag
CODE = "code.zip"  # MLflow puts it before the places that modules are imported from
NOT_PACKED = re.compile(r"(.*/)?(__pycache__/|\.[^/]*|[^/]*\.(pyc|part)$).*")
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same package is the same file, whenever it was packed
# What a pickle of ours, or of the user's model, needs elsewhere.
REQUIRED = (
    *("mlflow-skinny", "joblib", "numpy", "pandas", "scikit-learn", "scipy", "shap"),
    *("threadpoolctl", "tqdm", "lightgbm", "xgboost", "xgboost-cpu", "catboost"),
)
PARAMS = (
    {"name": "explain", "type": "boolean", "default": False, "shape": None},
    {"name": "top_k", "type": "long", "default": 0, "shape": None},
)


def digest_file(file: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def make_version(engine: Engine, data: Path, name: str, run: Any, tags: Mapping[str, str]) -> Any:
    """Register a copy of a folder as the next version of a model.

    Parameters
    ----------
    engine : Engine
    data : Path
        What is registered; it becomes ``model/``.
    name : str
    run : object
        What MLflow keeps of the run.
    tags : mapping
        Those of the version, its ``description`` among them.

    Returns
    -------
    object
        What MLflow keeps of the version.
    """
    with part_folder(engine.scratch) as made:
        shutil.copytree(data, made / DATA)
        _pack(Path(service.__file__).parent, made / CODE)
        for file, content in _describe(name, run.info.run_id).items():
            (made / file).write_text(content, encoding="utf-8")
        return _register(engine, made, name, (run, tags))


def _pack(package: Path, target: Path) -> None:
    """Write a package into one file, from which it can be imported.

    Over HTTP each file of a version is two questions, and the package has some 200.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(filter(Path.is_file, package.rglob("*"))):
            name = file.relative_to(package.parent).as_posix()
            if not NOT_PACKED.fullmatch(name):
                entry = zipfile.ZipInfo(name, LONG_AGO)
                packed.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def copy_version(
    source: Engine, found: Any, target: Engine, part: Path, of_copy: tuple[Any, Mapping[str, str]]
) -> Any:
    """Register a copy of a version in another store, its files as they are.

    Parameters
    ----------
    source, target : Engine
    found : object
        What MLflow keeps of the version.
    part : Path
        A folder of the target's for files on their way.
    of_copy : tuple
        What MLflow keeps of the run in the target, and the tags of the copy.
    """
    fetch_version(source, found, part, below="")
    run, tags = of_copy
    known = {**tags, "description": found.description or ""}
    return _register(target, part, found.name, (run, known))


def _describe(name: str, run_id: str) -> dict[str, str]:
    """Return the files that make a folder a model of MLflow's; JSON is YAML.

    There is no schema of inputs: MLflow's refusals by one quote rows, those of the scoring
    explainer's never do.
    """
    flavor = {
        "loader_module": "service.runs.pyfunc",
        "data": DATA,
        "code": CODE,
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "python_version": platform.python_version(),
    }
    described = {
        "artifact_path": name,
        "flavors": {"python_function": flavor},
        "mlflow_version": version("mlflow-skinny"),
        "model_uuid": uuid4().hex,
        "run_id": run_id,
        "signature": {"inputs": None, "outputs": None, "params": json.dumps(PARAMS)},
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    python = {"python": platform.python_version(), "build_dependencies": ["pip", "setuptools"]}
    pip = {"pip": ["-r requirements.txt"]}
    conda = {"name": "model", "dependencies": [f"python={python['python']}", "pip", pip]}
    return {
        "MLmodel": json.dumps(described, indent=1),
        "requirements.txt": "\n".join(filter(None, map(_pin, REQUIRED))) + "\n",
        "python_env.yaml": json.dumps({**python, "dependencies": ["-r requirements.txt"]}),
        "conda.yaml": json.dumps({**conda, "channels": ["conda-forge"]}),
    }


def _pin(package: str) -> str:
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        return ""


def _register(
    engine: Engine, made: Path, name: str, of_version: tuple[Any, Mapping[str, str]]
) -> Any:
    """Copy a model into a place of its own, then write the version with all digests at once."""
    run, tags = of_version
    files = sorted(file for file in made.rglob("*") if file.is_file())
    names = [file.relative_to(made).as_posix() for file in files]
    digests = json.dumps(dict(zip(names, map(digest_file, files), strict=True)))
    expect(
        len(digests) <= LONGEST_DIGESTS,
        f"register_model: expected some 500 files at most, got {len(files)}; put them into one.",
        ValueError,
    )
    _make_model(engine, name)
    place = engine.ask(
        "create_logged_model", run.info.experiment_id, name=name, source_run_id=run.info.run_id
    )
    with opened_artifacts(place.artifact_location, DEPTH, engine) as artifacts:
        for file, path in zip(files, names, strict=True):
            artifacts.put_file(path, file)
    engine.ask("finalize_logged_model", place.model_id, "READY")
    others = dict(tags)
    return engine.ask(
        "create_model_version",
        name,
        place.artifact_location,
        run_id=run.info.run_id,
        description=others.pop("description", ""),
        tags={**others, "sha256": digests},
        model_id=place.model_id,
    )


def _make_model(engine: Engine, name: str) -> None:
    try:
        engine.ask("get_registered_model", name)
    except NotInStoreError:
        try:
            engine.ask("create_registered_model", name)
        except RunStoreError:  # somebody else was faster, or the next step tells
            engine.ask("get_registered_model", name)


def fetch_version(engine: Engine, found: Any, target: Path, below: str = f"{DATA}/") -> list[Path]:
    """Copy files of a version into a folder, each compared with its digest first.

    Parameters
    ----------
    engine : Engine
    found : object
        What MLflow keeps of the version.
    target : Path
        A folder; the files get their names below `below` in it.
    below : str, default "model/"
        Of which folder of the version.

    Raises
    ------
    DigestError
        When a file is not what was registered.
    RunStoreError
        When the version has no digests.
    """
    digests = read_digests(found)
    copied = []
    with opened_artifacts(found.source, DEPTH, engine) as artifacts:
        for name in filter(_is_below(below), sorted(digests)):
            file = target / name.removeprefix(below)
            file.parent.mkdir(parents=True, exist_ok=True)
            _copy_checked(artifacts, name, file, digests[name])
            copied.append(file)
    return copied


def _is_below(folder: str) -> Any:
    return lambda name: name.startswith(folder)


def _copy_checked(artifacts: Artifacts, name: str, file: Path, recorded: str) -> None:
    """Compare the copy, which nobody else writes, and give it its name only then."""
    part = file.with_name(f".{file.name}.part")
    try:
        shutil.copyfile(artifacts.open(name), part)
        if digest_file(part) != recorded:
            raise DigestError(
                f"{name}: its SHA-256 is not what was registered; the file was changed in the "
                "store. Nothing of it was loaded. Register the model again."
            )
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def read_digests(found: Any) -> dict[str, str]:
    """Return the digests of a version's files.

    Raises
    ------
    RunStoreError
        When it has none, or a name that leads elsewhere.
    """
    try:
        digests = dict(json.loads(found.tags["sha256"]))
    except (KeyError, ValueError, TypeError) as error:
        raise RunStoreError(
            f"{found.name} version {found.version}: expected digests of its files in the tag "
            "sha256, got none; it was registered by something else than Run.register_model."
        ) from error
    for name in digests:
        parts = Path(name).parts
        expect(
            ".." not in parts and not Path(name).is_absolute(),
            f"{found.name} version {found.version}: a file may not be called {name!r}.",
            RunStoreError,
        )
    return digests


def pick_data(artifacts: Artifacts, path: str, target: Path) -> tuple[str, Sequence[str]]:
    """Copy what is registered of a run's files into a folder.

    Parameters
    ----------
    artifacts : Artifacts
        Of the run.
    path : str
        A file, whose manifest comes along, or a folder.
    target : Path

    Returns
    -------
    file : str
        The name of the one file, "" of a folder.
    names : sequence of str

    Raises
    ------
    NotInStoreError
        When there is nothing of that name.
    """
    there = artifacts.list_names()
    if path in there:
        beside = Path(path).with_suffix(".json").as_posix()
        names = [path, *{beside}.intersection(set(there) - {path})]
        file, root = Path(path).name, path.rpartition("/")[0]
    else:
        names = [name for name in there if name.startswith(f"{path}/")]
        file, root = "", path
    if not names:
        told = ", ".join(of_users(there)[:10]) or "none"
        raise NotInStoreError(
            f"register_model: expected one of the run's files ({told}), got {path!r}; "
            "run.upload_file(name, path) puts one there."
        )
    for name in names:
        copied = target / Path(name).relative_to(root)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifacts.open(name), copied)
    return file, names
