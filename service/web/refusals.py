"""What a client hears when something goes wrong: JSON with a message, and the status that this table gives.

===========================  ======  ==================================================
exception                    status  message
===========================  ======  ==================================================
`PayloadError`, `BodyError`  400     its own: it names what is wrong with the body
Werkzeug's HTTPException     its own what to do, for 404, 405 and 413
anything else                500     an id; the log has the traceback under the same id
===========================  ======  ==================================================

An entry script of the user's own answers 400 by raising `service.scoring.PayloadError`.
"""

import uuid
from collections.abc import Callable

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from service.scoring.errors import PayloadError
from service.web.errors import BodyError
from service.web.json_out import json_response

STATUS_OF: dict[type[Exception], int] = {PayloadError: 400, BodyError: 400}

MESSAGE_OF = {
    404: "No such route; POST rows to /score.",
    405: "This route does not take this method; see the Allow header.",
    413: "Body: expected at most {limit} bytes, got more; send fewer rows at once.",
}


def register_refusals(app: Flask) -> None:
    """Let an application answer every exception as the table says."""
    for kind, status in STATUS_OF.items():
        app.register_error_handler(kind, _refuse_with(status))
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)


def _refuse_with(status: int) -> Callable[[Exception], Response]:
    return lambda error: json_response({"message": str(error)}, status)


def _refuse_http(error: HTTPException) -> Response:
    if error.code is None or error.code == 500:
        return _fail(error)
    response = json_response({"message": _message(error.code, error)}, error.code)
    # Werkzeug's own headers: Allow for 405, Location for a redirect.
    response.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
    return response


def _message(status: int, error: HTTPException) -> str | None:
    if status in MESSAGE_OF:
        return MESSAGE_OF[status].format(limit=current_app.config["MAX_CONTENT_LENGTH"])
    return error.description


def _fail(error: Exception) -> Response:
    error_id = uuid.uuid4().hex
    current_app.logger.error("error %s at %s %r", error_id, request.method, request.path, exc_info=error)
    return json_response({"message": f"The service failed; its log tells more under the id {error_id}."}, 500)
