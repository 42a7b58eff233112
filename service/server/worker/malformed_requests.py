"""Requests that are no HTTP: gunicorn cannot read them, and no route sees them.

They are answered like all others, as JSON with an id, and have their line in the log and their
place in the metrics. Nothing of what came is repeated, neither to the client nor in the log: it may
be the end of a body that was longer than its Content-Length, with a row's values in it.

Next: `service.server.worker.borrowed_port`.
"""

import json
import socket
from collections.abc import Callable
from http import HTTPStatus

from gunicorn import util
from gunicorn.http import errors

from service.web.logs import REQUEST_ID

REFUSALS: dict[type[Exception], tuple[HTTPStatus, str]] = {
    errors.LimitRequestLine: (
        HTTPStatus.REQUEST_URI_TOO_LONG,
        "Request line: expected a shorter one; rows belong into the body of a POST.",
    ),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "Headers: expected fewer or shorter ones.",
    ),
    errors.ExpectationFailed: (
        HTTPStatus.EXPECTATION_FAILED,
        "Header Expect: expected 100-continue, or none.",
    ),
    errors.UnsupportedTransferCoding: (
        HTTPStatus.NOT_IMPLEMENTED,
        "Header Transfer-Encoding: expected chunked, or none.",
    ),
    errors.InvalidHeader: (
        HTTPStatus.BAD_REQUEST,
        "Headers: expected lines of 'Name: value'; one is malformed, contradicts another or stands "
        "there twice.",
    ),
}
REFUSALS[errors.InvalidHeaderName] = REFUSALS[errors.InvalidHeader]
REFUSALS[errors.ObsoleteFolding] = REFUSALS[errors.InvalidHeader]
OTHERWISE = (
    HTTPStatus.BAD_REQUEST,
    "Expected a request of HTTP/1.1, got something else; was the body before it longer than its "
    "Content-Length?",
)


def is_malformed(error: Exception) -> bool:
    """Tell whether a client's bytes are what is wrong.

    Headers of an answer raise errors of the same family.
    """
    of_answers = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
    return isinstance(error, errors.ParseException) and not isinstance(error, of_answers)


def refuse(
    connection: socket.socket,
    address: str,
    error: Exception,
    record: Callable[[int, str, str], str],
) -> None:
    """Answer a request that could not be read; its connection is of no more use.

    Parameters
    ----------
    connection : socket
    address : str
        The client's.
    error : Exception
        What gunicorn found.
    record : callable
        Counts and logs the request by its status, address and kind of error; returns its id.
    """
    status, message = REFUSALS.get(type(error), OTHERWISE)
    request_id = record(status, address, type(error).__name__)
    body = json.dumps({"message": message}, separators=(",", ":")) + "\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"{REQUEST_ID}: {request_id}",
    )
    util.write_nonblock(connection, "\r\n".join((*head, "", body)).encode("ascii"))
