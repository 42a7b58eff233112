"""The command line of the service.

``serve``       the web service, until SIGTERM; what a container runs. The default
``check``       load the models, score the recorded example, start the service once, and say so with
                the exit code
``score FILE``  rows of a file in, the same rows with predictions and importances out
``dashboard [EXPLANATION]``  a saved explanation, or those of the run history, until Ctrl-C
``snapshot EXPLANATION FILE``  the same as one file of HTML, which needs no server

Next: `service.settings`.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from service.settings import Settings, SettingsError, unused_values

# Options of the hosts that start containers (KServe's spelling), and the variable that each stands
# for.
FLAGS = {
    "model_name": "MODEL_NAME",
    "model_dir": "AZUREML_MODEL_DIR",
    "http_port": "PORT",
    "workers": "WORKERS",
}
COMMANDS = ("serve", "check", "score", "dashboard", "snapshot")
SERVER = ["-m", "gunicorn", "--config", "python:service.server.gunicorn_conf"]
# Read by the C library when a process starts. With an arena for each thread, what explanations
# leave free stays with the thread that they ran in, and a worker grows by some 60 MB.
ARENAS = {"MALLOC_ARENA_MAX": "1"}


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        What stands after ``python -m service``.

    Returns
    -------
    int
        The exit code. ``serve`` does not return: this process becomes gunicorn.

    Raises
    ------
    SystemExit
        When an option cannot be used, or after ``--help``.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = _parser()
    known, unknown = parser.parse_known_args(_with_command(arguments))
    environment = _with_flags(os.environ, known)
    try:
        if known.command == "serve":
            _warn_of(unknown)
            serve(environment)
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return _with_models(known, environment)
    except (SettingsError, OSError) as error:
        logging.error("python -m service %s: %s", known.command, error)
        return 1


def serve(environment: Mapping[str, str]) -> NoReturn:
    """Become gunicorn: this process is the one that gets the host's signals.

    Parameters
    ----------
    environment : mapping of str to str
        Its settings, and everything else that it hands on.

    Raises
    ------
    SettingsError
        When a setting cannot be used: one sentence here, before gunicorn starts.
    """
    Settings.from_environment(environment)
    for sentence in unused_values(environment):
        logging.warning("python -m service serve: %s", sentence)
    os.execve(sys.executable, [sys.executable, *SERVER], {**ARENAS, **environment})


def _warn_of(unknown: Sequence[str]) -> None:
    for word in unknown:
        logging.warning(
            "python -m service serve: option %s is not known here and has no effect.", word
        )


def _with_flags(environment: Mapping[str, str], known: argparse.Namespace) -> dict[str, str]:
    """Return an environment in which the options of the command line stand for their variables."""
    changed = dict(environment)
    for flag, variable in FLAGS.items():
        if flag in known:
            changed[variable] = getattr(known, flag)
    return changed


def _with_models(known: argparse.Namespace, environment: Mapping[str, str]) -> int:
    # Imported here, since `serve` hands over to a process that imports it all again.
    from service.errors import ScoringError

    try:
        return MODEL_COMMANDS[known.command](known, environment)
    except ScoringError as error:
        logging.error("python -m service %s: %s", known.command, error)
        return 1


def _check(known: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Load both models and score the recorded example; start the service and wait for it."""
    from service.server.trial import try_start

    settings = Settings.from_environment(environment)
    has_models = _has_models(settings.model_folder)
    if has_models:
        _check_models(settings.model_folder)
    else:
        logging.info("%s: no models of this service.", settings.model_folder)
    if not settings.entry_script.is_file():
        logging.error(
            "A start was not tried: there is no entry script %s; ENTRY_SCRIPT names one.",
            settings.entry_script,
        )
        is_enough = has_models and "ENTRY_SCRIPT" not in environment  # models were all to check
        return 0 if is_enough else 1
    wrong = try_start(environment, settings.n_workers)
    if wrong is not None:
        logging.error("python -m service check: the service does not start: %s", wrong)
        return 1
    logging.info("The service starts; workers: %d.", settings.n_workers)
    return 0


def _has_models(folder: Path) -> bool:
    from service.scoring.artifact import ARTIFACT_NAME, ORIGINAL_NAME

    return (folder / ARTIFACT_NAME).exists() or (folder / ORIGINAL_NAME).exists()


def _check_models(folder: Path) -> None:
    from service.scoring import ScoringModel

    model = ScoringModel.load(folder)
    model.self_check()
    explainer = model.scoring_explainer
    logging.info(
        "%s: %d features, method %s, kernels: %s; the example scores.",
        folder,
        len(explainer.features),
        explainer.method,
        explainer.kernels,
    )


def _score(known: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Score the rows of a file into another."""
    from service.batch import score_file
    from service.scoring import ScoringModel

    model = ScoringModel.load(Settings.from_environment(environment).model_folder)
    signal.signal(signal.SIGINT, _stop_scoring)
    output = known.output or known.file.with_name(f"{known.file.stem}.scored{known.file.suffix}")
    written = score_file(
        model,
        known.file,
        output,
        explain=not known.no_explain,
        show_progress=True,
        threads=known.threads,
    )
    logging.info("%s: %d rows", output, written)
    return 0


def _stop_scoring(number: int, frame: FrameType | None) -> NoReturn:
    """End at once: what is at work in threads may take minutes, and what is finished is kept."""
    logging.error("python -m service score: stopped; the same command goes on from here.")
    os._exit(128 + number)


def _show_dashboard(known: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Serve a saved explanation, or all of the run history where none is named."""
    from service.dashboard.hosting.serving import start_server

    app, shown = (_list_explanations if known.explanation is None else _open_explanation)(known)
    server = start_server(app, known.host, known.port)
    host = f"[{known.host}]" if ":" in known.host else known.host
    logging.info("http://%s:%d/ shows %s; Ctrl-C stops.", host, server.port, shown)
    with suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


def _open_explanation(known: argparse.Namespace) -> tuple[Any, str]:
    """Show one explanation, and ask the model beside it where one is named."""
    from service.dashboard.hosting.serving import LOCAL, create_dashboard_app, open_dashboard
    from service.scoring import ScoringModel

    model = None if known.model is None else ScoringModel.load(known.model)
    dashboard = open_dashboard(known.explanation, model, known.positive)
    return create_dashboard_app(dashboard, hosts=(*LOCAL, known.host)), str(known.explanation)


def _list_explanations(known: argparse.Namespace) -> tuple[Any, str]:
    from service.dashboard.hosting.serving import LOCAL
    from service.pages.explanations import create_explanations_app
    from service.runs import Workspace

    workspace = Workspace()
    return create_explanations_app(workspace, hosts=(*LOCAL, known.host)), repr(workspace)


def _snapshot(known: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Write a saved explanation into one file of HTML."""
    from service.dashboard.hosting.serving import open_dashboard
    from service.dashboard.hosting.snapshot import write_snapshot

    dashboard = open_dashboard(known.explanation, positive=known.positive)
    n_bytes = write_snapshot(dashboard, known.file)
    logging.info("%s: %.1f MB", known.file, n_bytes / 1e6)
    return 0


MODEL_COMMANDS = {
    "check": _check,
    "score": _score,
    "dashboard": _show_dashboard,
    "snapshot": _snapshot,
}


def _with_command(arguments: Sequence[str]) -> list[str]:
    """Name the command where only options are given.

    Else the value of an unknown one would be taken for it.
    """
    is_bare = (
        bool(arguments)
        and arguments[0].startswith("-")
        and not {*COMMANDS, "-h", "--help"} & {*arguments}
    )
    return ["serve", *arguments] if is_bare else list(arguments)


def _parser() -> argparse.ArgumentParser:
    # Without a default, an option after the command does not hide the same one before it.
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument(
        "--model_name", "--model-name", help="its name in /v1 and /v2 routes (MODEL_NAME)"
    )
    shared.add_argument(
        "--model_dir", "--model-dir", help="the folder with both models (AZUREML_MODEL_DIR)"
    )
    shared.add_argument("--http_port", "--http-port", help="the port to listen on (PORT)")
    shared.add_argument("--workers", help="how many processes (WORKERS)")
    parser = argparse.ArgumentParser(
        "python -m service",
        description="Predictions with the reasons for them.",
        parents=[shared],
        allow_abbrev=False,
    )
    parser.set_defaults(command="serve")
    commands = parser.add_subparsers(title="commands", metavar=" | ".join(COMMANDS))
    options: Any = {"parents": [shared], "allow_abbrev": False}
    for name, says in (
        ("serve", "serve the models over HTTP (default)"),
        ("check", "load the models, score the example, start the service once"),
    ):
        commands.add_parser(name, help=says, **options).set_defaults(command=name)
    score = commands.add_parser("score", help="score the rows of a file", **options)
    score.set_defaults(command="score")
    score.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="CSV (.csv), Parquet (.parquet) or JSON lines (.jsonl)",
    )
    score.add_argument(
        "--output",
        type=Path,
        default=None,
        help="where to write; by default FILE.scored beside FILE",
    )
    score.add_argument(
        "--threads",
        type=_positive_number,
        default=None,
        help="how many pieces are scored at once where rows take long; by default as many as there "
        "are processors, or one where the model may not be made for threads",
    )
    score.add_argument("--no-explain", action="store_true", default=False, help="predictions alone")
    _add_dashboard(commands)
    return parser


def _positive_number(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def _add_dashboard(commands: Any) -> None:
    shown = commands.add_parser("dashboard", help="show a saved explanation", allow_abbrev=False)
    shown.set_defaults(command="dashboard")
    frozen = commands.add_parser(
        "snapshot", help="write it into one file of HTML", allow_abbrev=False
    )
    frozen.set_defaults(command="snapshot")
    shown.add_argument(
        "explanation",
        type=Path,
        nargs="?",
        default=None,
        metavar="EXPLANATION",
        help="its folder or .zip; by default a list of those in the run history",
    )
    frozen.add_argument("explanation", type=Path, metavar="EXPLANATION", help="its folder or .zip")
    for parser in (shown, frozen):
        parser.add_argument(
            "--positive", default=None, help="the positive class; by default the last"
        )
    frozen.add_argument("file", type=Path, metavar="FILE", help="as explanation.html")
    shown.add_argument("--model", type=Path, default=None, help="the folder of the model to ask")
    shown.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    shown.add_argument("--port", type=int, default=8090, help="0 for any that is free")
