"""Azure ML's routes, which people use too: liveness and scores.

Next: :mod:`service.web.protocols.sagemaker`.
"""

from flask import Blueprint, Response

from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response


def routes(script: GuardedScript) -> Blueprint:
    """Make ``GET /`` and ``POST /score``; options of an answer are in the query."""
    blueprint = Blueprint("plain", __name__)

    @blueprint.get("/")
    def liveness() -> Response:
        if script.is_live:
            return Response("Healthy", mimetype="text/plain")
        return Response("A computation does not end.", 503, mimetype="text/plain")

    @blueprint.post("/score")
    def score() -> Response:
        return json_response(script.run(script.read_body(), script.query()))

    return blueprint
