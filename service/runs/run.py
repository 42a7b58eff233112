"""A run: what a script did, with its files, values and explanations.

Next: :mod:`service.runs.explanation_client`.
"""

from __future__ import annotations

import atexit
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from service.errors import expect
from service.rows.values import shown
from service.runs.artifacts import Artifacts, opened_artifacts
from service.runs.embedded import part_folder
from service.runs.failures import RunStoreError
from service.runs.model import Model
from service.runs.names import (
    OF_VERSIONS,
    check_comment,
    check_file_name,
    check_model_name,
    check_tags,
    of_users,
    to_keepable,
)
from service.runs.summaries import newest_of, read_summaries
from service.runs.surroundings import submitted_run
from service.runs.versions import make_version, pick_data
from service.runs.workspace import Workspace

DEPTH = 3  # <experiment>/<run>/artifacts
LONGEST_MESSAGE = 2_000
ENDED = ("FINISHED", "FAILED", "KILLED")
# MLflow keeps an infinity as the largest number of 64 bits.
INFINITIES = {sys.float_info.max: math.inf, -sys.float_info.max: -math.inf}


class Run:
    """One run, which is there already; :meth:`get_context` gives that of this script.

    Parameters
    ----------
    workspace : Workspace
    run_id : str

    Raises
    ------
    NotInStoreError
        When there is none.

    Examples
    --------
    >>> with Run.get_context() as run:
    ...     run.log("accuracy", 0.5)
    >>> run.status, run.get_metrics()
    ('FINISHED', {'accuracy': 0.5})
    """

    _current: ClassVar[Run | None] = None

    def __init__(self, workspace: Workspace, run_id: str) -> None:
        self.workspace, self.id = workspace, run_id
        info = workspace.get_run(run_id).info
        self._uri = str(info.artifact_uri)

    def __repr__(self) -> str:
        """Tell which it is."""
        return f"{type(self).__name__}({self.id!r})"

    @classmethod
    def get_context(cls, workspace: Workspace | None = None) -> Run:
        """Return the run of this script: the one it was submitted as, else a new one.

        A new one ends with the script: as FINISHED, as FAILED when an exception ends it. In a
        notebook, ``with Run.get_context() as run`` says where it ends. Asked again, it is the same
        one until it has ended.

        Parameters
        ----------
        workspace : Workspace, optional
            By default that of the environment.

        Raises
        ------
        RunStoreError
            When this script has a run in another workspace that has not ended.
        """
        if cls._current is None:
            submitted = submitted_run()
            place = workspace or Workspace()
            if submitted is not None:
                return cls(place, submitted)
            run = cls(place, place.create_run())
            cls._current = run
            _end_with_script(run)
        here = repr(cls._current.workspace)
        expect(
            workspace is None or repr(workspace) == here,
            f"Run.get_context: this script has {cls._current} in {here} already; complete() it "
            f"before one in {workspace} begins.",
            RunStoreError,
        )
        return cls._current

    def __enter__(self) -> Run:
        """Begin what ends with this run."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End it, as failed where an exception ended it."""
        if error is None:
            self.complete()
        else:
            self.fail(f"{type(error).__name__}: {error}")

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED or KILLED."""
        return str(self.workspace.get_run(self.id).info.status)

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the run."""
        return dict(self.workspace.get_run(self.id).data.tags)

    def get_metrics(self) -> dict[str, float]:
        """Return the last value of everything that was logged."""
        metrics = self.workspace.get_run(self.id).data.metrics
        return {name: INFINITIES.get(value, value) for name, value in metrics.items()}

    def log(self, name: str, value: float) -> None:
        """Log a number; NaN and infinities are kept.

        Raises
        ------
        ValueError
            When it is none, or the name cannot be kept.
        """
        check_tags({name: ""})
        number = None
        with suppress(TypeError, ValueError, OverflowError):
            number = None if isinstance(value, str | bool) else float(value)
        expect(
            number is not None, f"log {name}: expected a number, got {shown(value)}.", ValueError
        )
        self.workspace.engine.ask("log_metric", self.id, name, number)

    def tag(self, **tags: Any) -> None:
        """Tag the run, all in one transaction; those of the same names are replaced.

        Raises
        ------
        ValueError
            When a name is kept for the store itself, or a value is longer than 8,000 characters.
        """
        self.workspace.engine.log_tags(self.id, check_tags(tags))

    @contextmanager
    def artifacts(self) -> Iterator[Artifacts]:
        """Open the files of the run."""
        with opened_artifacts(self._uri, DEPTH, self.workspace.engine) as artifacts:
            yield artifacts

    def upload_file(self, name: str, path_or_stream: Any) -> None:
        """Put a copy of a file, or the rest of one that is open as bytes, under a new name.

        Where a scoring explainer has its manifest beside it, that comes along.

        Raises
        ------
        FileExistsError
            When the name is taken.
        FileNotFoundError
            When there is no such file.
        ValueError
            When the name leads elsewhere.
        """
        check_file_name(name)
        with self._as_file(path_or_stream) as file:
            self._upload_file(name, file)

    @contextmanager
    def _as_file(self, path_or_stream: Any) -> Iterator[Path]:
        if not hasattr(path_or_stream, "read"):
            yield Path(path_or_stream)
            return
        with part_folder(self.workspace.engine.scratch) as part:
            with (part / "stream").open("wb") as file:
                shutil.copyfileobj(path_or_stream, file)
            yield part / "stream"

    def _upload_file(self, name: str, file: Path) -> None:
        if not file.is_file():
            raise FileNotFoundError(f"upload_file: expected a file, found none at {str(file)!r}.")
        manifest = file.with_suffix(".json")
        with self.artifacts() as artifacts:
            artifacts.put_file(name, file)
            beside = Path(name).with_suffix(".json").as_posix()
            if file.suffix == ".pkl" and manifest.is_file() and name != beside:
                artifacts.put_file(beside, manifest)

    def upload_folder(self, name: str, path: str | Path) -> None:
        """Put copies of all files of a folder under a name that is new in the run.

        Raises
        ------
        FileExistsError
            When the name is taken.
        NotADirectoryError
            When there is no such folder, or nothing in it.
        """
        folder = Path(path)
        check_file_name(name)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        if not files:
            raise NotADirectoryError(
                f"upload_folder: expected a folder with files, found none at {str(folder)!r}."
            )
        with self.artifacts() as artifacts:
            if artifacts.list_names(name):
                raise FileExistsError(
                    f"upload_folder: expected a new name, but {name} is there already; choose "
                    "another, or another run."
                )
            for file in files:
                artifacts.put_file(f"{name}/{file.relative_to(folder).as_posix()}", file)

    def get_file_names(self) -> list[str]:
        """Return the names of the run's files; explanations are none of them."""
        with self.artifacts() as artifacts:
            names = artifacts.list_names()
        return of_users(names)

    def download_file(self, name: str, output_file_path: str | Path | None = None) -> str:
        """Copy a file of the run, by default under its own name into this folder.

        Raises
        ------
        NotInStoreError
            When there is none.
        """
        check_file_name(name)
        target = Path(output_file_path or Path(name).name)
        if target.is_dir():
            target /= Path(name).name
        with self.artifacts() as artifacts:
            content = artifacts.open(name).read_bytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return str(target)

    def register_model(
        self,
        model_name: str,
        model_path: str | None = None,
        tags: Mapping[str, Any] | None = None,
        description: str = "",
        properties: Mapping[str, Any] | None = None,
    ) -> Model:
        """Register a file or folder of the run as the next version of a model.

        The version is a copy: whatever becomes of the run, it stays as it is.

        Parameters
        ----------
        model_name : str
        model_path : str, optional
            The name of the file or folder in the run, by default the model's.
        tags, properties : mapping, optional
            Both are kept as text; properties are never changed. No tag may be called as what the
            store says of a version itself: ``explanation``, ``file``, ``sha256`` and so on.
        description : str, optional

        Returns
        -------
        Model

        Raises
        ------
        NotInStoreError
            When the run has no such file.
        ValueError
            When a name or a tag cannot be kept.
        """
        name, path = check_model_name(model_name), check_file_name(model_path or model_name)
        given = check_tags(tags or {}, OF_VERSIONS)
        known = {
            "explanation": newest_of(read_summaries(self.tags), ("", name)),
            "registered_from": path,
            "properties": json.dumps(dict(properties or {}), default=str),
            "description": check_comment(description, "description"),
        }
        engine = self.workspace.engine
        with self.artifacts() as artifacts, part_folder(engine.scratch) as part:
            known["file"], _ = pick_data(artifacts, path, part / "model")
            run = self.workspace.get_run(self.id)
            made = make_version(engine, part / "model", name, run, {**given, **known})
        return Model(self.workspace, name, made.version)

    def complete(self) -> None:
        """End the run as FINISHED, unless it has ended."""
        self._end("FINISHED")

    def fail(self, message: str = "") -> None:
        """End the run as FAILED, and keep why, unless it has ended."""
        if message:
            self.tag(error=to_keepable(message)[:LONGEST_MESSAGE])
        self._end("FAILED")

    def end_as(self, status: str, message: str) -> None:
        """Say how the run has ended, whatever it has said of itself."""
        if status != "FINISHED":
            self.tag(error=message)
        self.workspace.engine.ask("set_terminated", self.id, status)

    def _end(self, status: str) -> None:
        if self.status not in ENDED:
            self.workspace.engine.ask("set_terminated", self.id, status)
        if getattr(Run._current, "id", "") == self.id:
            Run._current = None


def _end_with_script(run: Run) -> None:
    """End a run when this process ends: MLflow itself would say FINISHED of one that raised."""
    former = sys.excepthook

    def fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        former(kind, error, trace)
        if Run._current is run:
            run.fail(f"{kind.__name__}: {error}")

    def complete() -> None:
        if Run._current is run:
            run.complete()

    sys.excepthook = fail
    atexit.register(complete)
