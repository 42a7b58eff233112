"""Answers in JSON: what a route returns to Flask.

Next: `service.web.errors`.
"""

from typing import Any

from flask import Response

from service.strict_json import strict_json


def json_response(value: Any, status: int = 200) -> Response:
    """Answer with a value as strict JSON, one line with its end.

    Parameters
    ----------
    value : Any
        What :func:`service.strict_json.strict_json` takes. A response, which an entry script has
        made itself, stays as it is.
    status : int, default 200

    Raises
    ------
    TypeError, ValueError
        When the value holds something that JSON cannot express.
    """
    if isinstance(value, Response):
        return value
    return Response(strict_json(value) + "\n", status, mimetype="application/json")
