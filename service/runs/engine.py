"""The one module that imports MLflow, when the first store is opened.

What MLflow raises becomes one sentence of ours, and a server that does not answer in time too.

Next: :mod:`service.runs.artifacts`.
"""

from __future__ import annotations

import gc
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from service.runs.embedded import PREFIX, check_revision, folder_of, make_database, upgrade_database
from service.runs.failures import NotInStoreError, RunStoreError, StoreUnreachableError
from service.runs.surroundings import SECONDS, default_folder, quieten_mlflow

PIP = 'pip install "mlflow-skinny>=3.17,<4" "sqlalchemy<2.1" alembic'
MOST_SECONDS = 4 * SECONDS  # for one question, with its retries
MOST_AT_ONCE = 100  # parameters or values of metrics
NOISY = ("alembic", "mlflow.store.model_registry.abstract_store")
# It prints with its trace, and with values, what is raised all the same.
TOLD_TWICE = "mlflow.store.db.utils"
_CREDENTIALS = re.compile(r"(?<=://)\S*@")  # a password may have "@" and "/" in it
# What a database has said, which MLflow tells after other lines, and before values.
_OF_DATABASE = re.compile(r"^.*\(sqlite3\.\w+\) (.+)$", re.MULTILINE)
_NOT_LET_IN = re.compile("error code 40[13]|Permission denied|not authenticated")
_UNREACHED = re.compile("API request to|Max retries exceeded")
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND", "NOT_FOUND")


def load_mlflow() -> Any:
    """Import MLflow, with everything off that is sent elsewhere.

    Raises
    ------
    RunStoreError
        When it is not installed.
    """
    quieten_mlflow()
    for name in NOISY:  # they speak when they are imported
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(TOLD_TWICE).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import alembic  # noqa: F401
            import mlflow
            import mlflow.tracking
            import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise RunStoreError(
            f"Run history needs MLflow's client, and {error.name} is not installed: run `{PIP}`, "
            "or `make setup-runs` in a checkout. Model.get_model_path works without."
        ) from error
    return mlflow


def without_credentials(uri: str) -> str:
    """Return an address as it may be shown.

    >>> without_credentials("https://me:secret@runs.example.com")
    'https://runs.example.com'
    """
    return _CREDENTIALS.sub("", uri)


class Engine:
    """A store of MLflow's, embedded or a server.

    Parameters
    ----------
    uri : str
        ``sqlite:///…/runs.db``, which is made when it is not there, or ``http(s)://…``.

    Attributes
    ----------
    folder : Path or None
        Of an embedded store.
    scratch : Path
        A folder of this machine for files on their way.

    Raises
    ------
    StoreVersionError
        When an embedded store is of another version of MLflow.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.folder: Path | None = None
        self.scratch = default_folder()
        self.is_embedded = uri.startswith(PREFIX)
        if not self.is_embedded and not uri.startswith(("http://", "https://")):
            raise RunStoreError(
                f"Workspace: expected sqlite:///…/runs.db or http(s)://…, got "
                f"{without_credentials(uri)!r}; other databases are behind a server of MLflow's."
            )
        mlflow = load_mlflow()
        if self.is_embedded:
            self.folder = self.scratch = folder_of(uri)
            self.uri = f"{PREFIX}{self.folder / Path(uri.removeprefix(PREFIX)).name}"
            _make_or_check(self.folder / Path(self.uri.removeprefix(PREFIX)).name)
        self._client = mlflow.tracking.MlflowClient(self.uri, registry_uri=self.uri)

    def ask(self, method: str, *given: Any, **named: Any) -> Any:
        """Call a method of MLflow's client.

        Raises
        ------
        NotInStoreError
            When there is none of what was asked for.
        StoreUnreachableError
            When a server does not answer in time.
        RunStoreError
            When it refuses.
        """
        return self.within_time(lambda: getattr(self._client, method)(*given, **named))

    def within_time(self, call: Callable[[], Any]) -> Any:
        """Call MLflow; of a server, for a bounded time."""
        return _told(call, self.uri) if self.is_embedded else _bounded(call, self.uri)

    def log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Write tags of a run in one transaction; those of the same names are replaced."""
        from mlflow.entities import RunTag

        items = [RunTag(name, value) for name, value in tags.items()]
        self.ask("log_batch", run_id, tags=items)

    def copy_values(self, run: Any, target: Engine, run_id: str) -> None:
        """Log what a run has of parameters and metrics, with steps and times, in another run."""
        from mlflow.entities import Param

        params = [Param(name, value) for name, value in run.data.params.items()]
        history = map(partial(self.ask, "get_metric_history", run.info.run_id), run.data.metrics)
        for part in _parts([*chain(*history)]):
            target.ask("log_batch", run_id, metrics=part)
        for part in _parts(params):
            target.ask("log_batch", run_id, params=part)

    def open_repository(self, uri: str) -> Any:
        """Return MLflow's own access to artifacts that do not lie in an embedded store."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return self.within_time(lambda: get_artifact_repository(uri, self.uri, self.uri))

    def pages(self, method: str, **named: Any) -> list[Any]:
        """Return all that a search finds, page after page."""
        found: list[Any] = []
        token = None
        while True:
            with _collecting_nothing():
                page = self.ask(method, page_token=token, **named)
            found += page
            token = page.token
            if not token:
                return found


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Let no garbage be looked for, of which a page of entities has none.

    Python looks whenever so many objects are made, through all that MLflow has loaded: half of the
    time that 500 runs take.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _parts(values: list[Any]) -> Iterator[list[Any]]:
    """Return values in as many as MLflow takes at once."""
    for begin in range(0, len(values), MOST_AT_ONCE):
        yield values[begin : begin + MOST_AT_ONCE]


def upgrade_store(uri: str) -> Path:
    """Upgrade an embedded store to the installed MLflow; return where it is kept as it was."""
    load_mlflow()
    return upgrade_database(folder_of(uri) / Path(uri.removeprefix(PREFIX)).name, _upgrade_tables)


def _make_or_check(database: Path) -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    try:
        make_database(database, _make_tables)
    except OSError as error:
        raise RunStoreError(
            f"{database}: expected a place for a store of runs, but none can be made there "
            f"({error.strerror}); name another folder by RUNS_DIR."
        ) from error
    check_revision(database, _get_latest_schema_revision())


def _make_tables(uri: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # The root is only written down, in the experiment that is never used. MLflow puts it between
    # quotes, which an address has none of.
    store = SqlAlchemyStore(uri, (folder_of(uri).parent.parent / "artifacts").as_uri())
    store.engine.dispose()


def _upgrade_tables(uri: str) -> None:
    import sqlalchemy
    from mlflow.store.db.utils import _upgrade_db

    engine = sqlalchemy.create_engine(uri)
    _upgrade_db(engine)
    engine.dispose()


def _told(call: Callable[[], Any], uri: str) -> Any:
    """Call MLflow, and tell what it raises in one sentence."""
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        raise _failure(error, uri) from error


def _failure(error: Any, uri: str) -> RunStoreError:
    of_database = _OF_DATABASE.search(str(error))
    said = without_credentials(of_database[1] if of_database else str(error).split("\n")[0])
    place = without_credentials(uri)
    if _NOT_LET_IN.search(said):
        return RunStoreError(
            f"{place}: expected to be let in, was refused ({said:.200}); name a user who may by "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    if _UNREACHED.search(said):
        return _unreachable(place, said)
    # Of an alias that is not there the code is that of a wrong parameter.
    is_missing = error.error_code in _MISSING or said.endswith("not found.")
    kind = NotInStoreError if is_missing else RunStoreError
    return kind(f"{place}: {said}")


def _unreachable(place: str, why: str) -> StoreUnreachableError:
    return StoreUnreachableError(
        f"{place}: expected a server of MLflow's to answer, got none in time ({why:.200}); start "
        f"it, or name another store by MLFLOW_TRACKING_URI."
    )


def _bounded(call: Callable[[], Any], uri: str) -> Any:
    """Call MLflow on a thread of its own, and wait for it no longer than is bearable.

    A server that sends a byte now and then keeps every timeout of a socket from coming.
    """
    answers: list[Any] = []
    errors: list[BaseException] = []

    def answer() -> None:
        try:
            answers.append(_told(call, uri))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    thread.join(MOST_SECONDS)
    if errors:
        raise errors[0]
    if not answers:
        raise _unreachable(without_credentials(uri), f"nothing in {MOST_SECONDS} seconds")
    return answers[0]
