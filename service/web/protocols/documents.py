"""What describes the service: its OpenAPI document and its metrics."""

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.strict_json import json_response
from service.web.openapi import openapi_document
from service.web.scoring import Scoring


def routes(scoring: Scoring) -> Blueprint:
    """Make ``/swagger.json`` and ``/metrics``."""
    blueprint = Blueprint("documents", __name__)

    @blueprint.get("/swagger.json")
    def swagger() -> Response:
        scoring.check_key()
        return json_response(openapi_document(scoring.script.model, scoring.settings))

    @blueprint.get("/metrics")
    def metrics() -> Response:
        scoring.check_key()
        return Response(scoring.metrics.text(), content_type=CONTENT_TYPE_LATEST)

    return blueprint
