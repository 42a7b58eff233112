"""A workspace: a store of runs, with its experiments and registered models.

Next: :mod:`service.runs.summaries`.
"""

from __future__ import annotations

import getpass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from service.runs.artifacts import ROOT
from service.runs.engine import Engine, without_credentials
from service.runs.failures import NotInStoreError, RunStoreError
from service.runs.names import check_experiment_name
from service.runs.surroundings import default_experiment, default_uri

EVERY_RUN_WITH_ONE = "tags.model_explanation = 'True'"


class Workspace:
    """A store of runs: a file on this machine, or a server of MLflow's.

    Nothing is opened or made before it is needed.

    Parameters
    ----------
    uri : str, optional
        ``sqlite:///…/runs.db`` or ``http(s)://…``; by default what MLFLOW_TRACKING_URI says, else
        ``runs.db`` in the folder that RUNS_DIR names, ``.runs``.
    experiment : str, optional
        Where new runs go; by default what MLFLOW_EXPERIMENT_NAME says, else the name of the current
        folder.

    Raises
    ------
    ValueError
        When the experiment has a name that cannot be listed.
    RunStoreError
        When the store is first used, and cannot be opened.

    Examples
    --------
    >>> Workspace("sqlite:////tmp/runs.db", experiment="tumours")
    Workspace('sqlite:////tmp/runs.db', experiment='tumours')
    """

    def __init__(self, uri: str | None = None, *, experiment: str | None = None) -> None:
        self.uri = uri or default_uri()
        self.experiment = check_experiment_name(experiment or default_experiment())

    def __repr__(self) -> str:
        """Tell which it is, without its password."""
        uri = without_credentials(self.uri)
        return f"{type(self).__name__}({uri!r}, experiment={self.experiment!r})"

    @classmethod
    def from_config(cls, path: Any = None) -> Workspace:
        """Return the workspace of this environment; a `path` has no effect, since none is read."""
        return cls()

    @cached_property
    def engine(self) -> Engine:
        """The store, opened."""
        return Engine(self.uri)

    def experiments(self) -> list[str]:
        """Return the names of the experiments that there are."""
        found = self.engine.pages("search_experiments")
        return sorted(experiment.name for experiment in found if experiment.name != "Default")

    def runs(self, experiment: str | None = None, *, with_explanations: bool = False) -> list[Any]:
        """Return what MLflow keeps of the runs, the newest first.

        Parameters
        ----------
        experiment : str, optional
            Of which; of all by default.
        with_explanations : bool, default False
            Whether only those that have one.

        Raises
        ------
        NotInStoreError
            When there is no such experiment.
        """
        found = self.engine.pages("search_experiments")
        ids = {known.name: known.experiment_id for known in found}
        if experiment is not None:
            ids = {experiment: self._id_among(ids, experiment)}
        wanted = EVERY_RUN_WITH_ONE if with_explanations else ""
        return self.engine.pages(
            "search_runs", experiment_ids=[*ids.values()], filter_string=wanted
        )

    def _id_among(self, ids: dict[str, str], experiment: str) -> str:
        if experiment not in ids:
            raise NotInStoreError(
                f"Workspace: expected one of the experiments that there are "
                f"({', '.join(self.experiments()) or 'none'}), got {experiment!r}."
            )
        return ids[experiment]

    def models(self) -> list[str]:
        """Return the names of the registered models."""
        return sorted(model.name for model in self.engine.pages("search_registered_models"))

    def get_run(self, run_id: str) -> Any:
        """Return what MLflow keeps of a run.

        Raises
        ------
        NotInStoreError
            When there is none.
        """
        return self.engine.ask("get_run", run_id)

    def create_run(self, name: str = "", start_time: int | None = None) -> str:
        """Start a run in the workspace's experiment, and return its id.

        Parameters
        ----------
        name : str, optional
        start_time : int, optional
            When it has begun, in milliseconds since 1970; by default now.
        """
        experiment_id = self._experiment_id()
        tags = {"mlflow.user": _user(), "mlflow.source.name": "service.runs"}
        run = self.engine.ask("create_run", experiment_id, start_time, tags, name or None)
        return str(run.info.run_id)

    def _experiment_id(self) -> str:
        found = self.engine.ask("get_experiment_by_name", self.experiment)
        if found is None:
            return self._make_experiment()
        if found.lifecycle_stage != "active":
            raise RunStoreError(
                f"Workspace: expected an experiment that there is, but {self.experiment!r} was "
                "deleted; name another by MLFLOW_EXPERIMENT_NAME."
            )
        return str(found.experiment_id)

    def _make_experiment(self) -> str:
        location = None
        if self.engine.folder is not None:
            location = (self.engine.folder / ROOT / uuid4().hex).as_uri()
        try:
            made = self.engine.ask("create_experiment", self.experiment, location)
        except RunStoreError:  # somebody else was faster
            made = None
        if made is not None:
            return str(made)
        found = self.engine.ask("get_experiment_by_name", self.experiment)
        if found is None:
            raise RunStoreError(f"Workspace: could not make the experiment {self.experiment!r}.")
        return str(found.experiment_id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container knows no name for its user
        return Path.home().name or "unknown"
