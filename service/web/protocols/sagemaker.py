"""The routes of SageMaker's containers and of MLflow's scoring server.

Next: :mod:`service.web.protocols.kserve_v1`.
"""

from flask import Blueprint, Response, request

from service.rows.csv_rows import rows_of_csv
from service.rows.json_rows import JsonRows
from service.version import VERSION
from service.web.errors import MediaTypeError
from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response

CSV = ("text/csv", "application/csv")


def routes(script: GuardedScript) -> Blueprint:
    """Make the routes of readiness and version, and ``POST /invocations``, which takes CSV too."""
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
        return json_response(script.run(_rows(script), script.query(), explain=False))

    return blueprint


def _rows(script: GuardedScript) -> JsonRows:
    text = script.read_body()
    if request.mimetype not in CSV or isinstance(text, bytes):
        return text
    if script.schema is None:
        raise MediaTypeError(
            "CSV: expected JSON, since this entry script has not told its columns."
        )
    return rows_of_csv(text, script.schema)
