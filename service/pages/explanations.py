"""Every explanation of a store in the dashboard: a list of them, and what its links open.

Next: :mod:`service.web`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from flask import Flask, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from service.dashboard.dashboard import Dashboard
from service.dashboard.hosting.serving import LOCAL, answer_here_alone, create_dashboard_app
from service.dashboard.store import store_of
from service.errors import ScoringError
from service.pages.runs import runs_page
from service.runs.explanation_client import ExplanationClient
from service.runs.failures import NotInStoreError, RunStoreError
from service.runs.workspace import Workspace

MOST_OPEN = 4  # explanations that are kept for the next question
STATUS_OF: dict[type[Exception], int] = {
    NotInStoreError: 404,
    RunStoreError: 503,
}


def create_explanations_app(
    workspace: Workspace, *, hosts: tuple[str, ...] | None = LOCAL
) -> Flask:
    """Make an application that lists the explanations of a workspace, and shows each.

    Parameters
    ----------
    workspace : Workspace
    hosts : tuple of str or None
        Under which names it answers, as those of
        :func:`service.dashboard.hosting.serving.create_dashboard_app`.

    Returns
    -------
    Flask
        What is not there, or cannot be read, is one sentence. There is no model to be asked what
        if: the store keeps files, and none of them is unpickled for a look.

    Examples
    --------
    >>> app = create_explanations_app(Workspace("sqlite:////tmp/runs.db", experiment="tumours"))
    >>> app.test_client().get("/", headers={"Host": "localhost"}).headers["Location"]
    '/runs'
    """
    app = Flask("service.pages", static_folder=None)
    answer_here_alone(app, hosts)
    app.register_blueprint(runs_page(workspace, opens="open_explanation"))

    @lru_cache(maxsize=MOST_OPEN)
    def dashboard_of(run: str, explanation: str) -> Flask:
        return _download(workspace, run, explanation, hosts)

    @app.get("/")
    def front() -> AnyResponse:
        return redirect(url_for("runs.show"))

    @app.route("/explanations/<run>/<explanation>/", methods=["GET"], defaults={"path": ""})
    @app.route("/explanations/<run>/<explanation>/<path:path>", methods=["GET", "POST"])
    def open_explanation(run: str, explanation: str, path: str) -> AnyResponse:
        return Response.from_app(dashboard_of(run, explanation), request.environ)

    @app.errorhandler(ScoringError)
    def refuse(error: Exception) -> Response:
        status = next(filter(None, map(STATUS_OF.get, type(error).__mro__)), 409)
        return Response(f"{error}\n", status, mimetype="text/plain")

    return app


def _download(workspace: Workspace, run: str, explanation: str, hosts: Any) -> Flask:
    client = ExplanationClient.from_run_id(workspace, None, run)
    store = store_of(client.download_model_explanation(explanation))
    dashboard = Dashboard(store, title=f"{run}, {explanation}")
    prefix = f"/explanations/{run}/{explanation}"
    return create_dashboard_app(dashboard, url_prefix=prefix, hosts=hosts)
