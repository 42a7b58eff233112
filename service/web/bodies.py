"""The bodies of requests: their bytes as text, within a size.

Next: :mod:`service.web.encodings`.
"""

import sys
from collections.abc import Mapping
from typing import Any

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from service.rows.json_rows import decode
from service.rows.values import shown
from service.web.encodings import decoded, unpacked
from service.web.errors import BodyError


def read_text(request: Request) -> str:
    """Return the body of a request as text.

    Raises
    ------
    SlowBodyError, BusyError
        When the server has given up waiting for it.
    BodyError
        When it is empty, cut short, or not what its headers say.
    MediaTypeError
        When it is packed or encoded in a way that is not read here, or is no text.
    RequestEntityTooLarge
        When it is longer than the application takes, as it came or unpacked.
    """
    body = read_bytes(request)
    largest = request.max_content_length or len(body)
    body = unpacked(body, request.environ.get("HTTP_CONTENT_ENCODING", ""), largest)
    text = decoded(body, request.mimetype_params.get("charset"))
    if not text.strip():
        raise BodyError("Body: expected JSON with one or more rows, got an empty body.")
    return text


def read_bytes(request: Request) -> bytes:
    """Return the body of a request as it came.

    Raises
    ------
    SlowBodyError, BusyError
        When the server has given up waiting for it.
    BodyError
        When it is cut short.
    RequestEntityTooLarge
        When it is longer than the application takes.
    """
    declared, largest = request.content_length, request.max_content_length or sys.maxsize
    if declared is not None and declared > largest:
        raise RequestEntityTooLarge
    try:
        # `curl -d` declares a form: the bytes are taken before Werkzeug parses them away, and past
        # its stream, which takes long of a short body. The Content-Type is advice only. A chunked
        # body declares no length.
        body = request.environ["wsgi.input"].read(largest + 1 if declared is None else declared)
    except (OSError, ParseException) as error:  # of the socket, and of gunicorn's reader of chunks
        raise BodyError(
            "Body: it broke off before its end, or a chunk of it is malformed."
        ) from error
    if len(body) > largest:
        raise RequestEntityTooLarge
    if declared is not None and len(body) < declared:
        raise BodyError(f"Body: expected the {declared} bytes of Content-Length, got {len(body)}.")
    return body


def json_object(text: str | bytes) -> Mapping[str, Any]:
    """Parse a JSON object.

    Raises
    ------
    PayloadError, BodyError
        When the text is no JSON, or something else than an object.
    """
    value = decode(text)
    if not isinstance(value, dict):
        raise BodyError(f"Body: expected a JSON object, got {shown(value)}.")
    return value
