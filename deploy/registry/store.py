"""MLflow's client, imported when it is needed, and never waited for longer than is bearable.

Next: `deploy.registry.versions`.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from deploy.errors import RegistryError

Found = TypeVar("Found")

SECONDS = 30  # for one question to a registry
PIP = 'pip install "mlflow-skinny>=3.17,<4" "sqlalchemy<2.1" alembic'
SQLITE = "sqlite:///"
RUNS_FOLDER, DATABASE = ".runs", "runs.db"
UNANSWERED = re.compile("API request to|Max retries exceeded")
CREDENTIALS = re.compile(r"(?<=://)\S*@")  # a password may have "@" and "/" in it
# MLflow takes these from the environment alone. Only the word "true" turns off what it sends home.
ALWAYS = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
UNLESS_SET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def without_credentials(uri: str) -> str:
    """Return an address as it may be shown and kept.

    Examples
    --------
    >>> without_credentials("https://me:secret@runs.example")
    'https://runs.example'
    """
    return CREDENTIALS.sub("", uri)


def registry_uri(named: str, root: Path, environ: Mapping[str, str] | None = None) -> str:
    """Say where registered models are looked up.

    Parameters
    ----------
    named : str
        What the configuration says; empty for MLFLOW_TRACKING_URI, else the store in the folder
        ``.runs``, or the one that RUNS_DIR names.
    root : Path
        The folder of deploy.yml.
    environ : mapping, optional
        In place of this process's environment. Where MLFLOW_TRACKING_URI is the same address with
        credentials, they are used.

    Examples
    --------
    >>> registry_uri("", Path("/project"), {})
    'sqlite:////project/.runs/runs.db'
    """
    environ = os.environ if environ is None else environ
    present = environ.get("MLFLOW_TRACKING_URI", "")
    folder = environ.get("RUNS_DIR") or RUNS_FOLDER
    embedded = f"{SQLITE}{folder}/{DATABASE}"
    whole = {without_credentials(present): present, "": present or embedded}
    named = whole.get(named, named)
    if named.startswith(SQLITE):
        return f"{SQLITE}{(root / named.removeprefix(SQLITE)).absolute()}"
    return named


class Store:
    """A registry of MLflow's: a server, or the database of an embedded store.

    Parameters
    ----------
    uri : str
        ``http(s)://…`` or ``sqlite:///…/runs.db``.

    Attributes
    ----------
    place : str
        Its address without credentials.
    folder : Path or None
        Of an embedded store.

    Raises
    ------
    RegistryError
        When MLflow's client is not installed, or there is no such store that it can use as it is.
    """

    def __init__(self, uri: str) -> None:
        self.uri, self.place = uri, without_credentials(uri)
        self.folder: Path | None = None
        if not uri.startswith((SQLITE, "http://", "https://")):
            raise RegistryError(
                f"tracking_uri: expected http(s)://... or sqlite:///.../runs.db, got {self.place!r}"
            )
        mlflow = _load_mlflow()
        if uri.startswith(SQLITE):
            database = Path(uri.removeprefix(SQLITE))
            self.folder = database.parent
            _check_database(database)
        self._client = self.within(
            SECONDS, "opening it", lambda: mlflow.tracking.MlflowClient(uri, registry_uri=uri)
        )

    def ask(self, method: str, *given: Any, **named: Any) -> Any:
        """Call a method of MLflow's client.

        Raises
        ------
        RegistryError
            When it refuses, or does not answer in time.
        """
        return self.within(SECONDS, method, lambda: getattr(self._client, method)(*given, **named))

    def repository(self, uri: str) -> Any:
        """Return MLflow's own access to files that do not lie in an embedded store."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return self.within(
            SECONDS, f"reaching {uri}", lambda: get_artifact_repository(uri, self.uri, self.uri)
        )

    def within(self, seconds: float, doing: str, call: Callable[[], Found]) -> Found:
        """Call MLflow on a thread of its own, and wait for it no longer than `seconds`.

        A server that sends a byte now and then keeps every time-out of a socket from coming.
        """
        outcome: Future[Found] = Future()
        work = partial(_settle, outcome, call)
        threading.Thread(target=work, name="registry", daemon=True).start()
        try:
            return outcome.result(seconds)
        except TimeoutError as error:
            raise RegistryError(
                f"{self.place}: no answer within {seconds:g} s ({doing}); try again when the "
                "registry answers, or name another by tracking_uri"
            ) from error
        except RegistryError:
            raise
        except Exception as error:
            raise self._failure(doing, error) from error

    def _failure(self, doing: str, error: Exception) -> RegistryError:
        text = f"{type(error).__name__}: {without_credentials(str(error))}"
        said = text.partition("\n")[0][:300]
        if UNANSWERED.search(said):
            return RegistryError(
                f"{self.place}: expected MLflow's server to answer, it does not ({said:.160}); "
                "start it, or name another registry by tracking_uri"
            )
        return RegistryError(f"{self.place}: {doing} failed: {said}{_advice(said)}")


def _settle(outcome: Future[Found], call: Callable[[], Found]) -> None:
    try:
        outcome.set_result(call())
    except Exception as error:
        outcome.set_exception(error)


def _advice(said: str) -> str:
    refused = re.search(r"\b40[13]\b", said)
    return " (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD say who asks)" * bool(refused)


def _load_mlflow() -> Any:
    os.environ.update(ALWAYS)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it speaks when it is imported
    # It prints with its trace, and with values, what is raised all the same.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    for name, value in UNLESS_SET.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow
            import mlflow.tracking
    except ImportError as error:
        raise RegistryError(
            f"A registered model is named, and MLflow's client, by which registries are asked, is "
            f"not installed ({error.name}): run `{PIP}`"
        ) from error
    return mlflow


def _check_database(database: Path) -> None:
    """Refuse what MLflow would make, or change without asking: a deployment only reads it."""
    if not database.is_file():
        raise RegistryError(
            f"{database}: no such store of runs; register a model first, or name the registry by "
            "tracking_uri or MLFLOW_TRACKING_URI"
        )
    try:
        import sqlalchemy  # noqa: F401
        from mlflow.store.db.utils import _get_latest_schema_revision

        newest = _get_latest_schema_revision()
    except ImportError as error:
        raise RegistryError(
            f"{database}: {error.name}, by which an embedded store is read, is not installed: run "
            f"`{PIP}`"
        ) from error
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as read:
            rows = read.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error as error:
        raise RegistryError(f"{database}: expected a store of runs, but {error}") from error
    if rows != [(newest,)]:
        raise RegistryError(
            f"{database}: its tables are those of another version of MLflow than is installed here;"
            " install that version, or run `python -m service.runs upgrade`"
        )
