"""The environment of this process: where the store is, and what MLflow is told.

MLflow takes these settings from the environment alone, so that this module is the one in
``service`` that writes it; what is set already stays.

Next: :mod:`service.runs.names`.
"""

from __future__ import annotations

import os
from pathlib import Path

RUNS_DIR = ".runs"
DATABASE = "runs.db"
SECONDS = 20  # for one answer of a server
# It asks a server of theirs at the first call otherwise, and only the word "true" turns that off.
ALWAYS = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
UNLESS_SET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SECONDS),
}


def quieten_mlflow() -> None:
    """Set what keeps MLflow from sending anything, from waiting for minutes and from printing."""
    os.environ.update(ALWAYS)
    for name, value in UNLESS_SET.items():
        os.environ.setdefault(name, value)


def default_uri() -> str:
    """Return the store that MLFLOW_TRACKING_URI names, else the one in RUNS_DIR, ``.runs``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or uri_of(default_folder())


def default_folder() -> Path:
    """Return the folder that RUNS_DIR names, else ``.runs``."""
    return Path(os.environ.get("RUNS_DIR") or RUNS_DIR).absolute()


def uri_of(folder: Path) -> str:
    """Return the URI of the embedded store in a folder."""
    return f"sqlite:///{folder.absolute() / DATABASE}"


def default_experiment() -> str:
    """Return the experiment that MLFLOW_EXPERIMENT_NAME names, else the name of this folder."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or Path.cwd().name or "experiment"


def submitted_run() -> str | None:
    """Return the run that this script was submitted as; None where it was not."""
    return os.environ.get("MLFLOW_RUN_ID") or None


def environment_of_run(uri: str, run_id: str) -> dict[str, str]:
    """Return the environment of a script that is run as a run."""
    return {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_RUN_ID": run_id}
