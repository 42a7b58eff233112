"""A server of its own for one dashboard: on this machine, for one user.

Next: :mod:`service.dashboard.hosting.notebook`.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from service.dashboard.dashboard import Dashboard
from service.dashboard.model_access import OwnAccess
from service.dashboard.routes import make_routes
from service.dashboard.saved_cohorts import SavedCohorts
from service.dashboard.store import open_store
from service.scoring.scoring_model import ScoringModel

LARGEST_BODY = 4 * 2**20
LONGEST_MESSAGE = 500
LOCAL = ("127.0.0.1", "localhost", "::1")


class _QuietHandler(WSGIRequestHandler):
    """Says nothing of each request."""

    def log_request(self, *_: Any) -> None:
        """Say nothing."""


def open_dashboard(
    explanation: str | Path, model: ScoringModel | None = None, positive: Any = None
) -> Dashboard:
    """Open a saved explanation.

    Parameters
    ----------
    explanation : path
        A folder or zip file of :func:`service.explanations.save_explanation`.
    model : ScoringModel, optional
    positive : object, optional
        The positive class of a binary task, by its name.

    Raises
    ------
    ArtifactError
        When there is no explanation, or it is of other columns than the model takes.

    Examples
    --------
    >>> from service.explanations import LocalExplanation, save_explanation
    >>> local = LocalExplanation.from_values([[1.0, -2.0]], expected_values=5.0)
    >>> open_dashboard(save_explanation(local, "two-features")).title
    'two-features'
    """
    saved = SavedCohorts.beside(explanation)
    title = Path(explanation).stem
    return Dashboard(open_store(explanation), model, title, positive, saved=saved)


def create_dashboard_app(
    dashboard: Dashboard,
    *,
    url_prefix: str = "",
    hosts: tuple[str, ...] | None = LOCAL,
    frame_ancestors: str = "'self'",
) -> Flask:
    """Make an application that is a dashboard and nothing else.

    Parameters
    ----------
    dashboard : Dashboard
    url_prefix : str, default ""
    hosts : tuple of str or None
        Under which names it answers, so that no page of another site reaches it by a name of its
        own; None for all.
    frame_ancestors : str, default "'self'"

    Returns
    -------
    Flask
    """
    app = Flask("service.dashboard", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    answer_here_alone(app, hosts)
    routes = make_routes(
        dashboard, OwnAccess.of(1), url_prefix=url_prefix, frame_ancestors=frame_ancestors
    )
    app.register_blueprint(routes)
    return app


def answer_here_alone(app: Flask, hosts: tuple[str, ...] | None) -> None:
    """Let an application answer under some names alone, None for all, and say why it failed."""

    @app.before_request
    def check_host() -> Response | None:
        name = request.host.rpartition(":")[0] if ":" in request.host else request.host
        if hosts is not None and name.strip("[]") not in hosts:
            return Response("This dashboard answers on this machine alone.\n", 421)
        return None

    app.register_error_handler(Exception, _fail)


def _fail(error: Exception) -> Any:
    """Say what went wrong: whoever asks here is who started the dashboard, or has its token."""
    if isinstance(error, HTTPException) and error.code != 500:
        return error
    current_app.logger.error("%s %s", request.method, request.path, exc_info=error)
    told = f"Answering failed: {type(error).__name__}: {error}"[:LONGEST_MESSAGE]
    return jsonify(message=told, pointer=None), 500


def start_server(app: Flask, host: str, port: int) -> BaseWSGIServer:
    """Listen at an address; ``serve_forever`` then answers.

    Parameters
    ----------
    app : Flask
    host : str
    port : int
        0 for any that is free.

    Raises
    ------
    OSError
        When nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
        return make_server(
            host,
            listener.getsockname()[1],
            app,
            threaded=True,
            request_handler=_QuietHandler,
            fd=socket.dup(listener.fileno()),
        )
