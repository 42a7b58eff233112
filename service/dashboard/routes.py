"""The routes of a dashboard: a blueprint of Flask's for any address.

Next: :mod:`service.dashboard.hosting`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request, send_from_directory

from service.dashboard.answers import ANSWERS, Body
from service.dashboard.dashboard import Dashboard
from service.dashboard.errors import BusyError, DashboardError, QuestionError, UnavailableError
from service.dashboard.meta import describe_dashboard
from service.dashboard.model_access import ModelAccess
from service.dashboard.questions import Question
from service.errors import ModelOutputError, PayloadError
from service.strict_json import strict_json

STATIC = Path(__file__).with_name("static")
STATUS_OF: dict[type[Exception], int] = {
    QuestionError: 400,
    PayloadError: 400,
    ModelOutputError: 400,
    UnavailableError: 409,
    BusyError: 429,
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors {ancestors}"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FOR_EVER = 365 * 24 * 3600


def _let_in() -> None:
    """Let everybody in."""


def make_routes(
    dashboard: Dashboard,
    access: ModelAccess,
    *,
    url_prefix: str = "",
    check_key: Callable[[], None] = _let_in,
    read_body: Callable[[], bytes] | None = None,
    frame_ancestors: str = "'self'",
) -> Blueprint:
    """Make the routes of a dashboard.

    Parameters
    ----------
    dashboard : Dashboard
    access : ModelAccess
        Bounds how the model is asked.
    url_prefix : str, default ""
        As "/dashboard".
    check_key : callable, optional
        Raises where a request for data has no key.
    read_body : callable, optional
        Reads the body of the present request.
    frame_ancestors : str, default "'self'"
        Which pages may show the dashboard in a frame, as a Content-Security-Policy has it.

    Returns
    -------
    flask.Blueprint
    """
    blueprint = Blueprint("dashboard", __name__)
    prefix = url_prefix.rstrip("/")
    policy = POLICY.format(ancestors=frame_ancestors)

    @blueprint.after_request
    def secure(response: Response) -> Response:
        response.headers.update(HEADERS)
        response.headers["Content-Security-Policy"] = policy
        return response

    @blueprint.errorhandler(DashboardError)
    @blueprint.errorhandler(PayloadError)
    @blueprint.errorhandler(ModelOutputError)
    def refuse(error: Exception) -> Response:
        told = {"message": str(error), "pointer": getattr(error, "pointer", None)}
        response = _json(told, STATUS_OF.get(type(error), 400))
        if response.status_code == 429:
            response.headers["Retry-After"] = "1"
        return response

    if prefix:

        @blueprint.get(prefix)
        def redirect() -> Response:
            last = prefix.rpartition("/")[2]
            return Response(status=308, headers={"Location": f"{last}/"})

    @blueprint.get(f"{prefix}/")
    def page() -> Response:
        response = Response(_page(), mimetype="text/html")
        response.headers["Cache-Control"] = "no-cache"
        return response

    @blueprint.get(f"{prefix}/static/<path:name>")
    def static(name: str) -> Response:
        version, _, rest = name.partition("/")
        is_versioned = bool(rest) and version == static_version()
        response = send_from_directory(STATIC, rest if is_versioned else name)
        response.headers["Cache-Control"] = "no-cache"
        if is_versioned:
            response.headers["Cache-Control"] = f"public, max-age={FOR_EVER}, immutable"
        return response

    @blueprint.get(f"{prefix}/api/meta")
    def meta() -> Response:
        check_key()
        told = dashboard.remember("meta", partial(describe_dashboard, dashboard))
        response = _json(told)
        response.headers["Cache-Control"] = "private, no-cache"
        response.add_etag()
        response.make_conditional(request)
        return response

    @blueprint.post(f"{prefix}/api/<call>")
    def answer(call: str) -> Response:
        check_key()
        if call not in ANSWERS:
            return _json({"message": f"No call {call!r} here.", "pointer": None}, 404)
        if request.mimetype != "application/json":
            told = "Body: expected JSON with 'Content-Type: application/json'."
            return _json({"message": told, "pointer": None}, 415)
        question = _read_question(request.get_data() if read_body is None else read_body())
        with access.admit():
            answered = ANSWERS[call](dashboard, question, access.of_request(request.environ))
        if isinstance(answered, Body):
            response = Response(answered.pieces, mimetype=answered.media_type)
        else:
            response = _json(answered)
        response.headers["Cache-Control"] = "no-store"
        return response

    return blueprint


def _read_question(content: bytes) -> Question:
    try:
        return Question(json.loads(content))
    except (ValueError, RecursionError):
        raise QuestionError("", "Body: expected JSON, got something else.") from None


def _json(value: Any, status: int = 200) -> Response:
    return Response(strict_json(value) + "\n", status, mimetype="application/json")


@cache
def static_version() -> str:
    """Return what changes when a file of the page does."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.iterdir()):
        digest.update(f"{file.name}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@cache
def _page() -> str:
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    return text.replace('"static/', f'"static/{static_version()}/')
