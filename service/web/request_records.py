"""What is kept of every request: its id on the answer, a line in the log, its counts."""

import time
import uuid

from flask import Flask, Response, g, request

from service.server.drain import last_answer
from service.web.limits import Deadline
from service.web.logs import ACCESS, FIELDS
from service.web.metrics import UNREADABLE, Metrics

HEADER = "X-Request-Id"
LONGEST_ID = 100


def record_requests(app: Flask, metrics: Metrics, deadline: float) -> None:
    """Let an application name, time, count and log every request."""

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        g.deadline = Deadline(deadline, last_answer.get)
        g.request_id = _request_id(request.headers.get(HEADER, ""))
        g.rows = None

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.started
        route = request.url_rule.rule if request.url_rule is not None else "unmatched"
        response.headers[HEADER] = g.request_id
        metrics.request(route, response.status_code, seconds)
        fields = {
            "request_id": g.request_id,
            "method": request.method,
            "route": route,
            "status": response.status_code,
            "milliseconds": round(seconds * 1000, 2),
            "rows": g.rows,
            "client": request.remote_addr,
        }
        ACCESS.info("request", extra={FIELDS: fields})
        return response


def record_malformed(metrics: Metrics, status: int, client: str, kind: str) -> str:
    """Name, count and log a request that is no HTTP and reaches no application; return its id."""
    metrics.unreadable(status)
    request_id = _request_id("")
    fields = {
        "request_id": request_id,
        "route": UNREADABLE,
        "status": status,
        "client": client,
        "kind": kind,
    }
    ACCESS.info("request", extra={FIELDS: fields})
    return request_id


def _request_id(sent: str) -> str:
    """Take the client's id where it is short and printable, else make one."""
    is_usable = 0 < len(sent) <= LONGEST_ID and sent.isascii() and sent.isprintable()
    return sent if is_usable else uuid.uuid4().hex
