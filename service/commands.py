"""The command line of the service.

``serve``       the web service, until SIGTERM; what a container runs. The default
``check``       load the models, score the recorded example, and say so with the exit code
``score FILE``  rows of a file in, the same rows with predictions and importances out
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.settings import Settings
from service.web.errors import SettingsError

# Options of the hosts that start containers (KServe's spelling), and the variable that each stands
# for.
FLAGS = {
    "model_name": "MODEL_NAME",
    "model_dir": "AZUREML_MODEL_DIR",
    "http_port": "PORT",
    "workers": "WORKERS",
}
COMMANDS = ("serve", "check", "score")
SERVER = ["-m", "gunicorn", "--config", "python:service.server.gunicorn_conf"]


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = _parser()
    known, unknown = parser.parse_known_args(_with_command(arguments))
    for flag, variable in FLAGS.items():
        if flag in known:
            os.environ[variable] = getattr(known, flag)
    try:
        if known.command == "serve":
            for word in unknown:
                logging.warning(
                    "python -m service serve: option %s is not known here and has no effect.", word
                )
            return serve()
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return _with_models(known)
    except (SettingsError, OSError) as error:
        logging.error("python -m service %s: %s", known.command, error)
        return 1


def serve() -> int:
    """Become gunicorn: this process is the one that gets the host's signals."""
    Settings.from_environment()  # a setting that cannot be used is one sentence here, before gunicorn starts
    # Read by the C library when a process starts. With an arena for each thread, what explanations
    # leave free stays with the thread that they ran in, and a worker grows by some 60 MB.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    os.execv(sys.executable, [sys.executable, *SERVER])


def _with_models(known: argparse.Namespace) -> int:
    # Imported here, since `serve` hands over to a process that imports it all again.
    from service.errors import ScoringError

    try:
        return _check() if known.command == "check" else _score(known)
    except ScoringError as error:
        logging.error("python -m service %s: %s", known.command, error)
        return 1


def _check() -> int:
    """Load both models and score the recorded example."""
    from service.scoring import ScoringModel

    folder = Settings.from_environment().model_folder
    model = ScoringModel.load(folder)
    model.self_check()
    explainer = model.scoring_explainer
    logging.info(
        "%s: %d features, method %s; the example scores.",
        folder,
        len(explainer.features),
        explainer.method,
    )
    return 0


def _score(known: argparse.Namespace) -> int:
    from service.batch import score_file
    from service.scoring import ScoringModel

    model = ScoringModel.load(Settings.from_environment().model_folder)
    output = known.output or known.file.with_name(f"{known.file.stem}.scored{known.file.suffix}")
    written = score_file(
        model, known.file, output, explain=not known.no_explain, show_progress=True
    )
    logging.info("%s: %d rows", output, written)
    return 0


def _with_command(arguments: Sequence[str]) -> list[str]:
    """Name the command where only options are given: else the value of an unknown one would be
    taken for it.
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
        ("check", "load the models and score the example"),
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
    score.add_argument("--no-explain", action="store_true", default=False, help="predictions alone")
    return parser
