"""Azure ML's routes, which people use too: liveness and scores.

Next: :mod:`service.web.protocols.sagemaker`.
"""

import json
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response


def routes(script: GuardedScript) -> Blueprint:
    """Make ``GET /`` and ``/score``.

    The query of a POST has options of the answer, that of a GET has what else stands in the body.
    """
    blueprint = Blueprint("plain", __name__)

    @blueprint.get("/")
    def liveness() -> Response:
        if script.is_live:
            return Response("Healthy", mimetype="text/plain")
        return Response("A computation does not end.", 503, mimetype="text/plain")

    @blueprint.post("/score")
    def score() -> Response:
        return json_response(script.run(script.read_body(), script.query()))

    @blueprint.get("/score")
    def score_query() -> Response:
        script.check_key()
        return json_response(script.run(_body_of_query(request.args), {}))

    return blueprint


def _body_of_query(query: MultiDict[str, str]) -> str:
    """Write a query as the JSON object that it stands for; a name that comes twice has a list.

    Examples
    --------
    >>> _body_of_query(MultiDict([("a", "1"), ("b", "[1,2]"), ("c", "a"), ("c", "null")]))
    '{"a": 1, "b": [1, 2], "c": ["a", null]}'
    """
    body = {}
    for name, texts in query.lists():
        values = list(map(_value_of_text, texts))
        body[name] = values if len(values) > 1 else values[0]
    return json.dumps(body)


def _value_of_text(text: str) -> Any:
    """Read JSON; what is none is text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
