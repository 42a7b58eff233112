"""What a client hears when something goes wrong: JSON with a message, and a status.

=====================  ======  ==================================================
exception              status  message
=====================  ======  ==================================================
`PayloadError`         400     its own: it names what is wrong with the rows
`NotJsonError`         400     its own, and where rows in other formats are read
`TooManyRowsError`     413     its own
`RequestError`         below   its own
Werkzeug's             its own what to do, for 404, 405 and 413
anything else          500     an id; the log has the traceback under the same id
=====================  ======  ==================================================

An entry script of the user's own answers 400 by raising `service.scoring.PayloadError`. The form of
the body is that of the protocol whose route was asked.

Next: `service.web.json_response`.
"""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from service.container_limits import lack_of_room
from service.errors import NotJsonError, PayloadError, TooManyRowsError
from service.web.errors import (
    BodyError,
    BusyError,
    DeadlineError,
    MediaTypeError,
    NoModelError,
    NotAcceptableError,
    SlowBodyError,
    StoppingError,
    UnauthorizedError,
)
from service.web.json_response import json_response

STATUS_OF: dict[type[Exception], int] = {
    PayloadError: 400,
    BodyError: 400,
    UnauthorizedError: 401,
    NoModelError: 404,
    NotAcceptableError: 406,
    SlowBodyError: 408,
    TooManyRowsError: 413,
    MediaTypeError: 415,
    BusyError: 429,
    StoppingError: 503,
    DeadlineError: 504,
}

HEADERS_OF = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},
    415: {"Accept-Encoding": "gzip, deflate"},
    429: {"Retry-After": "1"},
    503: {"Retry-After": "1"},
}

MESSAGE_OF = {
    404: "No such route; POST rows to /score.",
    405: "This route does not take this method; see the Allow header.",
    413: "Body: expected at most {limit} bytes, got more; send fewer rows at once.",
}

OTHER_FORMATS = (
    "Rows as CSV or JSON Lines go to /invocations, with Content-Type: text/csv or "
    "application/jsonlines."
)

_MLFLOW_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    404: "ENDPOINT_NOT_FOUND",
    500: "INTERNAL_ERROR",
}


def register_error_handlers(app: Flask) -> None:
    """Let an application answer every exception as the table says."""
    for kind, status in STATUS_OF.items():
        app.register_error_handler(kind, _refuse_with(status))
    app.register_error_handler(NotJsonError, _refuse_other_format)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)


def _refuse_with(status: int) -> Callable[[Exception], Response]:
    return lambda error: _refusal(str(error), status)


def _refuse_other_format(error: NotJsonError) -> Response:
    return _refusal(f"{error} {OTHER_FORMATS}", 400)


def _refuse_http(error: HTTPException) -> Response:
    if error.code is None or error.code == 500:
        return _fail(error)
    response = _refusal(_message(error.code, error), error.code)
    # Werkzeug's own headers: Allow for 405, Location for a redirect.
    response.headers.extend(
        (name, value) for name, value in error.get_headers() if name != "Content-Type"
    )
    return response


def _message(status: int, error: HTTPException) -> str:
    if status in MESSAGE_OF:
        return MESSAGE_OF[status].format(limit=current_app.config["MAX_CONTENT_LENGTH"])
    return error.description or error.name


def _fail(error: Exception) -> Response:
    why = lack_of_room(error)
    current_app.logger.error(
        "error %s at %s %r%s",
        g.request_id,
        request.method,
        request.path,
        why and f". {why}",
        exc_info=error,
    )
    return _refusal(f"The service failed; its log tells more under the id {g.request_id}.", 500)


def _refusal(message: str, status: int) -> Response:
    response = json_response(_in_protocol(request.path, message, status), status)
    response.headers.update(HEADERS_OF.get(status, {}))
    return response


def _in_protocol(path: str, message: str, status: int) -> dict[str, Any]:
    if f"{path}/".startswith(("/v1/", "/v2/")):
        return {"error": message}
    if path.startswith("/invocations"):
        return {"error_code": _MLFLOW_CODES.get(status, "INVALID_STATE"), "message": message}
    return {"message": message}
