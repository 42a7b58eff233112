"""The command line of run history.

``list``           experiments, runs and models that there are
``show RUN``       files, values and explanations of a run
``copy URI``       copy this store into another, as a server; may be repeated
``upgrade``        make the tables of an embedded store those of the installed MLflow
``prune``          remove what interrupted uploads have left
``submit SCRIPT``  run a script as a run, which ends as its exit code says

Next: :mod:`service.pages`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import is_not
from typing import Any

from service.errors import ScoringError
from service.runs.copying import copy_store
from service.runs.engine import upgrade_store
from service.runs.explanation_client import BEING_UPLOADED, ExplanationClient
from service.runs.model import Model
from service.runs.run import Run
from service.runs.submission import submit
from service.runs.summaries import read_summaries
from service.runs.workspace import Workspace


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        What stands after ``python -m service.runs``.

    Returns
    -------
    int
        The exit code.
    """
    known = _parser().parse_args(arguments)
    try:
        workspace = Workspace(known.store, experiment=known.experiment)
        result: int = COMMANDS[known.command](workspace, known)
    except (ScoringError, OSError, ValueError) as error:
        print(f"python -m service.runs {known.command}: {error}", file=sys.stderr)
        return 1
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service.runs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", help="its URI; by default MLFLOW_TRACKING_URI, else RUNS_DIR")
    parser.add_argument("--experiment", help="by default MLFLOW_EXPERIMENT_NAME")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list")
    commands.add_parser("show").add_argument("run", metavar="RUN")
    commands.add_parser("copy").add_argument("uri", metavar="URI")
    commands.add_parser("upgrade")
    prune = commands.add_parser("prune")
    prune.add_argument("--seconds", type=float, default=BEING_UPLOADED)
    submitted = commands.add_parser("submit")
    submitted.add_argument("script", metavar="SCRIPT")
    submitted.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _list(workspace: Workspace, known: argparse.Namespace) -> int:
    names = workspace.experiments() if known.experiment is None else [known.experiment]
    for name in names:
        print(_one_line(name))
        for run in workspace.runs(name):
            print(f"  {_told(run)}")
    for model in Model.list(workspace):
        print(f"{model.id}  run {model.run_id}  {' '.join(model.aliases)}".rstrip())
    return 0


def _told(run: Any) -> str:
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    n = len(read_summaries(run.data.tags))
    explanations = f"{n} explanation{'s' * (n != 1)}"
    return f"{run.info.run_id}  {started:%Y-%m-%d %H:%M}  {run.info.status:8}  {explanations}"


def _show(workspace: Workspace, known: argparse.Namespace) -> int:
    run = Run(workspace, known.run)
    print("\n".join([_told(workspace.get_run(run.id)), *map(_one_line, _lines_of(run))]))
    return 0


def _one_line(text: str) -> str:
    """Return what somebody has named, without what would move a terminal's cursor."""
    return "".join(map(_printable, text))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _lines_of(run: Run) -> Iterator[str]:
    yield from (f"  {name} = {value:g}" for name, value in sorted(run.get_metrics().items()))
    yield from (f"  {name}" for name in run.get_file_names())
    for summary in ExplanationClient(run).list_model_explanations():
        yield f"  {summary['id']}  {summary['kind']}  {summary['comment']}".rstrip()
        for name, *values in summary["features"]:
            yield "    " + "  ".join(
                [name, *map("{:.4g}".format, filter(partial(is_not, None), values))]
            )


def _copy(workspace: Workspace, known: argparse.Namespace) -> int:
    n_runs, n_versions = copy_store(workspace, Workspace(known.uri))
    print(f"copied {n_runs} runs and {n_versions} versions")
    return 0


def _upgrade(workspace: Workspace, _: argparse.Namespace) -> int:
    print(f"upgraded; the store as it was is {upgrade_store(workspace.uri)}")
    return 0


def _prune(workspace: Workspace, known: argparse.Namespace) -> int:
    removed = []
    for run in workspace.runs():
        removed += ExplanationClient(Run(workspace, run.info.run_id)).prune(known.seconds)
    print(f"removed {len(removed)} explanations that were never uploaded to their end")
    return 0


def _submit(workspace: Workspace, known: argparse.Namespace) -> int:
    run = submit(workspace, known.script, known.arguments)
    status = run.status
    print(f"{run.id}  {status}")
    return int(status != "FINISHED")


COMMANDS: dict[str, Callable[[Workspace, argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "copy": _copy,
    "upgrade": _upgrade,
    "prune": _prune,
    "submit": _submit,
}
