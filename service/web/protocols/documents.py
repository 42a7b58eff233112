"""What describes the service: its OpenAPI document and its metrics.

Next: :mod:`service.web.protocols.openapi`.
"""

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response
from service.web.protocols.openapi import openapi_document


def routes(script: GuardedScript) -> Blueprint:
    """Make ``/swagger.json`` and ``/metrics``."""
    blueprint = Blueprint("documents", __name__)

    @blueprint.get("/swagger.json")
    def swagger() -> Response:
        script.check_key()
        script.check_room()
        return json_response(openapi_document(script.entry_script.model, script.settings))

    @blueprint.get("/metrics")
    def metrics() -> Response:
        script.check_key()
        script.check_room()
        return Response(script.metrics.text(), content_type=CONTENT_TYPE_LATEST)

    return blueprint
