"""Azure ML's routes, which people use too: liveness and scores."""

from flask import Blueprint, Response

from service.strict_json import json_response
from service.web.scoring import Scoring


def routes(scoring: Scoring) -> Blueprint:
    """Make ``GET /`` and ``POST /score``; options of an answer are in the query."""
    blueprint = Blueprint("plain", __name__)

    @blueprint.get("/")
    def liveness() -> Response:
        return Response("Healthy", mimetype="text/plain")

    @blueprint.post("/score")
    def score() -> Response:
        return json_response(scoring.run(scoring.read_body(), scoring.query()))

    return blueprint
