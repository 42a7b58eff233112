"""Copying one store into another, as from the file on this machine into a server.

It may be repeated: what has arrived says by a tag what it is a copy of, and the tag is written
last.

Next: :mod:`service.runs.commands`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.runs.embedded import part_folder
from service.runs.engine import Engine
from service.runs.model import Model
from service.runs.run import Run
from service.runs.versions import copy_version
from service.runs.workspace import Workspace

COPIED, BEGUN = "copied_from", "copy_begun_of"
OF_MLFLOW = "mlflow."
KEPT = ("mlflow.user", "mlflow.runName")


def copy_store(source: Workspace, target: Workspace) -> tuple[int, int]:
    """Copy runs, files, explanations, versions and aliases that have not been copied before.

    Parameters
    ----------
    source, target : Workspace

    Returns
    -------
    n_runs, n_versions : int
        How many were copied now.
    """
    arrived = {run.data.tags.get(COPIED): run.info.run_id for run in target.runs()}
    n_runs = 0
    for run in reversed(source.runs()):
        if run.info.run_id not in arrived:
            arrived[run.info.run_id] = _copy_run(source, target, run)
            n_runs += 1
    return n_runs, sum(_copy_versions(source, target, arrived))


def _copy_run(source: Workspace, target: Workspace, run: Any) -> str:
    """Copy a run after removing what a copy that was interrupted has left of it."""
    original = run.info.run_id
    for begun in target.runs():
        if begun.data.tags.get(BEGUN) == original and COPIED not in begun.data.tags:
            target.engine.ask("delete_run", begun.info.run_id)
    experiment = source.engine.ask("get_experiment", run.info.experiment_id).name
    place = Workspace(target.uri)
    place.experiment = experiment  # as it is called there, even if none would be made by that name
    copied = place.create_run(run.info.run_name, run.info.start_time)
    place.engine.log_tags(copied, {BEGUN: original})
    with Run(source, original).artifacts() as files, Run(place, copied).artifacts() as copies:
        for name in files.list_names():
            copies.put_file(name, files.open(name))
    source.engine.copy_values(run, place.engine, copied)
    place.engine.log_tags(copied, {**_own_tags(run), COPIED: original})
    if run.info.status != "RUNNING":
        place.engine.ask("set_terminated", copied, run.info.status, run.info.end_time)
    return copied


def _own_tags(run: Any) -> dict[str, str]:
    """Return the tags of a run without those that MLflow keeps of where it was."""
    tags = run.data.tags
    return {name: tags[name] for name in tags if name in KEPT or not name.startswith(OF_MLFLOW)}


def _copy_versions(
    source: Workspace, target: Workspace, arrived: dict[str | None, str]
) -> Iterator[int]:
    """Copy the versions of every model, the oldest first."""
    for name in source.models():
        there = {}
        if name in target.models():
            there = {model.tags.get(COPIED): model for model in Model.list(target, name)}
        for model in reversed(Model.list(source, name)):
            key = f"{model.run_id}/{model.id}"
            if key not in there and model.run_id in arrived:
                run = target.get_run(arrived[model.run_id])
                _copy_one(source.engine, target.engine, model, run)
                yield 1


def _copy_one(source: Engine, target: Engine, model: Model, run: Any) -> None:
    tags = {**model.tags, COPIED: f"{model.run_id}/{model.id}"}
    with part_folder(target.scratch) as part:
        found = source.ask("get_model_version", model.name, str(model.version))
        made = copy_version(source, found, target, Path(part), (run, tags))
    for alias in model.aliases:
        target.ask("set_registered_model_alias", model.name, alias, str(made.version))
