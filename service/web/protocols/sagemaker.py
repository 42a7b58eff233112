"""The routes of SageMaker's containers and of MLflow's scoring server.

Next: :mod:`service.web.protocols.media_types`.
"""

from flask import Blueprint, Response, request

from service.rows.json_rows import JsonRows
from service.version import VERSION
from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response
from service.web.protocols.media_types import check_type, form_of, rows_of_text


def routes(script: GuardedScript) -> Blueprint:
    """Make the routes of readiness and version, and ``POST /invocations``.

    It takes CSV and JSON Lines too, and answers in them where a client wants that.
    """
    blueprint = Blueprint("sagemaker", __name__)

    @blueprint.get("/ping")
    @blueprint.get("/health")
    def readiness() -> Response:
        if script.is_ready:
            return json_response({"status": "ready"})
        return json_response({"message": "Not ready: starting, or about to stop."}, 503)

    @blueprint.get("/version")
    def version() -> Response:
        return Response(VERSION, mimetype="text/plain")

    @blueprint.post("/invocations")
    def invocations() -> Response:
        rows = _rows(script)
        respond = form_of(request.accept_mimetypes)
        answer = script.run(rows, script.query(), explain=False)
        return answer if isinstance(answer, Response) else respond(answer)

    return blueprint


def _rows(script: GuardedScript) -> JsonRows:
    script.check_key()
    check_type(request.mimetype)
    text = script.read_body()
    return rows_of_text(text, request.mimetype, request.mimetype_params, script.schema)
