"""The routes of SageMaker's containers and of MLflow's scoring server."""

from flask import Blueprint, Response, request

from service.strict_json import json_response
from service.version import VERSION
from service.web.bodies import rows_of_csv
from service.web.errors import MediaTypeError
from service.web.scoring import Scoring

CSV = ("text/csv", "application/csv")


def routes(scoring: Scoring) -> Blueprint:
    """Make the readiness routes, the version, and ``POST /invocations``: JSON, or CSV where it is
    declared.
    """
    blueprint = Blueprint("sagemaker", __name__)

    @blueprint.get("/ping")
    @blueprint.get("/health")
    def readiness() -> Response:
        if scoring.is_ready:
            return json_response({"status": "ready"})
        return json_response({"message": "Not ready: starting, or about to stop."}, 503)

    @blueprint.get("/version")
    def version() -> Response:
        return Response(VERSION, mimetype="text/plain")

    @blueprint.post("/invocations")
    def invocations() -> Response:
        return json_response(scoring.run(_rows(scoring), scoring.query(), explain=False))

    return blueprint


def _rows(scoring: Scoring) -> str:
    text = scoring.read_body()
    if request.mimetype not in CSV:
        return text
    if scoring.schema is None:
        raise MediaTypeError(
            "CSV: expected JSON, since this entry script has not told its columns."
        )
    return rows_of_csv(text, scoring.schema)
