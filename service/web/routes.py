"""What the service answers: liveness, readiness and scores. What it refuses is in `service.web.refusals`."""

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from service.web.entry_script import EntryScript
from service.web.errors import BodyError
from service.web.json_out import json_response


def routes(script: EntryScript) -> Blueprint:
    """Make the routes around one entry script.

    Parameters
    ----------
    script : EntryScript
        Answers ``POST /score``; its readiness is that of the service.
    """
    blueprint = Blueprint("scoring", __name__)

    @blueprint.get("/")
    def liveness() -> Response:
        return Response("Healthy", mimetype="text/plain")

    @blueprint.get("/ping")
    def readiness() -> Response:
        if script.ready:
            return json_response({"status": "ready"})
        return json_response({"message": "Not ready: init() of the entry script has not returned."}, 503)

    @blueprint.post("/score")
    def score() -> Response:
        return json_response(script.run(_body()))

    return blueprint


def _body() -> str:
    # `curl -d` declares a form: take the bytes before Werkzeug parses them away. The Content-Type is advice only.
    body = request.get_data(cache=False, parse_form_data=False)
    if _is_cut_off():
        raise RequestEntityTooLarge
    try:
        text = body.decode("utf-8-sig")  # with or without the byte order mark that Windows tools put first
    except UnicodeDecodeError as error:
        raise BodyError(f"Body: expected JSON encoded as UTF-8, but byte {error.start} is not UTF-8.") from error
    if not text.strip():
        raise BodyError("Body: expected JSON with one or more rows, got an empty body.")
    return text


def _is_cut_off() -> bool:
    # A chunked body declares no length: Werkzeug reads it up to the cap and drops the rest without a word.
    return request.content_length is None and bool(request.environ["wsgi.input"].read(1))
