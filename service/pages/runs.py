"""The page ``/runs``: experiments, runs and models with their explanations, as plain HTML.

Whatever has a name in a store was named by somebody: it is text on the page, and never markup. The
page needs no script, and allows none. It is a blueprint, for any application to mount.

Next: :mod:`service.pages.explanations`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

from flask import Blueprint, Response, render_template, url_for

from service.runs.failures import RunStoreError
from service.runs.model import Model
from service.runs.summaries import read_summaries
from service.runs.workspace import Workspace

N_RUNS = 200  # the newest; how many there are is said
DEPLOYED = "deployed."  # tags that the deployment writes
POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { border-bottom: 1px solid #ccc; margin-top: 2.5rem; }
article { margin: 1rem 0 1.5rem; }
table { border-collapse: collapse; }
td, th { padding: 0 1rem 0 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
code, .quiet { color: #555; }
rect { fill: #2c6fbb; }
rect.negative { fill: #bb4a2c; }
"""


@dataclass(frozen=True)
class Bar:
    """A feature with its global importance.

    Parameters
    ----------
    feature : str
    value : float
    percent : float
        Of the largest in size among those of its explanation.
    """

    feature: str
    value: float
    percent: float


def runs_page(workspace: Workspace, opens: str = "") -> Blueprint:
    """Make ``/runs`` of a workspace, and its style sheet.

    Parameters
    ----------
    workspace : Workspace
    opens : str, optional
        The endpoint of the application that shows an explanation, from `run` and `explanation`.

    Returns
    -------
    Blueprint
        An error of the store is one sentence on the page, with status 503.

    Examples
    --------
    >>> from flask import Flask
    >>> from service.runs import Workspace
    >>> app = Flask("example")
    >>> app.register_blueprint(runs_page(Workspace("sqlite:///runs.db", experiment="tumours")))
    >>> app.test_client().get("/runs/style.css").mimetype
    'text/css'
    """
    blueprint = Blueprint("runs", __name__, template_folder="templates")

    @blueprint.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @blueprint.get("/runs/style.css")
    def style() -> Response:
        return Response(STYLE, content_type="text/css")

    @blueprint.get("/runs")
    def show() -> tuple[str, int]:
        about = {"store": repr(workspace), "style": url_for("runs.style"), "opens": opens}
        try:
            found = read_store(workspace)
        except RunStoreError as error:
            return render_template("runs.html", **about, failure=str(error)), 503
        return render_template("runs.html", **about, **found), 200

    return blueprint


def read_store(workspace: Workspace) -> dict[str, Any]:
    """Read what the page shows.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    dict
        ``experiments``, pairs of a name and its runs; ``models``; ``n_runs`` that there are and
        ``n_shown`` of them.

    Raises
    ------
    RunStoreError
        When the store cannot be read, or not in time.
    """
    known = workspace.engine.pages("search_experiments")
    names = dict(map(attrgetter("experiment_id", "name"), known))
    runs = workspace.runs()
    experiment_of = attrgetter("info.experiment_id")
    shown = sorted(runs[:N_RUNS], key=experiment_of)
    experiments = []
    for identity, group in groupby(shown, experiment_of):
        experiments.append((names.get(identity, identity), [*map(_told_run, group)]))
    return {
        "experiments": sorted(experiments, key=itemgetter(0)),
        "models": [*map(_told_model, Model.list(workspace))],
        "n_runs": len(runs),
        "n_shown": len(shown),
    }


def bars(features: Any) -> list[Bar]:
    """Make bars of a summary's features; what is no name with a finite number is left out.

    Examples
    --------
    >>> [bar.percent for bar in bars([["radius", 0.5], ["texture", -0.25], ["odd", "x"]])]
    [100.0, 50.0]
    """
    listed = features if isinstance(features, list) else []
    pairs = [*filter(_is_pair, listed)]
    largest = max([abs(value) for _, value in pairs], default=0) or 1
    return [Bar(str(name), float(value), 100 * (abs(value) / largest)) for name, value in pairs]


def _is_pair(pair: Any) -> bool:
    if not isinstance(pair, Sequence) or len(pair) != 2:
        return False
    return isinstance(pair[1], int | float) and math.isfinite(pair[1])


def _told_run(run: Any) -> dict[str, Any]:
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    summaries = read_summaries(run.data.tags)
    return {
        "id": run.info.run_id,
        "name": run.info.run_name or "",
        "status": run.info.status,
        "started": f"{started:%Y-%m-%d %H:%M} UTC",
        "metrics": sorted(run.data.metrics.items()),
        "explanations": [*map(_told_explanation, summaries)],
    }


def _told_explanation(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": summary["id"],
        "comment": summary["comment"],
        "uploaded": summary["uploaded"],
        "kind": summary.get("kind", ""),
        "bars": bars(summary.get("features")),
    }


def _told_model(model: Model) -> dict[str, Any]:
    deployed = filter(_is_deployed, sorted(model.tags.items()))
    return {
        "id": model.id,
        "run": model.run_id,
        "aliases": model.aliases,
        "description": model.description,
        "explanation": model.explanation,
        "deployed": [f"{tag.removeprefix(DEPLOYED)}, release {id_}" for tag, id_ in deployed],
    }


def _is_deployed(tag: tuple[str, str]) -> bool:
    return tag[0].startswith(DEPLOYED)
