"""What describes the service: its OpenAPI document and its metrics.

Next: :mod:`service.web.protocols.all_replicas`.
"""

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST

from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response
from service.web.protocols.all_replicas import AllReplicas
from service.web.protocols.openapi import openapi_document


def routes(script: GuardedScript) -> Blueprint:
    """Make ``/swagger.json`` and ``/metrics``."""
    blueprint = Blueprint("documents", __name__)
    own, secure = script.metrics.replica, script.settings.tls_cert_file is not None
    replicas = None if own is None else AllReplicas(own, secure=secure)

    @blueprint.get("/swagger.json")
    def swagger() -> Response:
        script.check_key()
        script.check_room()
        return json_response(openapi_document(script.entry_script.model, script.settings))

    @blueprint.get("/metrics")
    def metrics() -> Response:
        script.check_key()
        script.check_room()
        text = script.metrics.text()
        # At its other port, and at its own socket, a replica answers for itself.
        if replicas and request.environ["SERVER_PORT"] == str(script.settings.port):
            text = replicas.added_up(text, request.headers.get("Authorization"))
        return Response(text, content_type=CONTENT_TYPE_LATEST)

    return blueprint
