"""What is kept of every request: its id, a line in the log and a count in the metrics.

Next: `service.web.logs`.
"""

import os
import random
import time
from functools import partial
from typing import Any

from flask import Flask, Response, g, request

from service.web.lifecycle import Lifecycle
from service.web.logs import REQUEST_ID, log_request
from service.web.metrics import MALFORMED, Metrics
from service.web.request_limits import Deadline, ServedRequest, of_this_request

LONGEST_ID = 100
_ID_SENT = "HTTP_" + REQUEST_ID.upper().replace("-", "_")  # as WSGI has that header

# Nobody has to be unable to guess the next id. Numbers of the system would cost each request a turn
# of all threads, and those of the module follow what an entry script has seeded.
_numbers = random.Random()
os.register_at_fork(after_in_child=_numbers.seed)


def record_requests(app: Flask, metrics: Metrics, deadline: float, lifecycle: Lifecycle) -> None:
    """Let an application name, time, count and log every request.

    Parameters
    ----------
    app : Flask
    metrics : Metrics
        Where requests are counted.
    deadline : float
        Seconds that each request has.
    lifecycle : Lifecycle
        Knows the last time at which this process can answer.
    """

    @app.before_request
    def begin() -> None:
        served = of_this_request.get() or ServedRequest(Deadline(deadline, lifecycle.last_answer))
        g.served, g.deadline, g.rows = served, served.deadline, None
        g.request_id = served.request_id or _request_id(request.environ.get(_ID_SENT, ""))
        served.request_id = g.request_id
        if served.is_late:
            served.deadline.check()

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.deadline.began
        route = request.url_rule.rule if request.url_rule is not None else "unmatched"
        response.headers[REQUEST_ID] = g.request_id
        fields = {
            "request_id": g.request_id,
            "method": request.method,
            "route": route,
            "status": response.status_code,
            "milliseconds": round(seconds * 1000, 2),
            "rows": g.rows,
            "client": request.remote_addr,
        }
        g.served.record = partial(_record, metrics, fields, seconds)
        if of_this_request.get() is None:  # no server sends another answer instead
            g.served.record()
        return response


def _record(metrics: Metrics, fields: dict[str, Any], seconds: float) -> None:
    metrics.request(fields["route"], fields["status"], seconds)
    log_request(fields)


def record_malformed(metrics: Metrics, status: int, client: str, kind: str) -> str:
    """Name, count and log a request that is no HTTP and reaches no route.

    Parameters
    ----------
    metrics : Metrics
        Where it is counted.
    status : int
        With which it was answered.
    client : str
        The address that it came from.
    kind : str
        What is wrong with it, in one word.

    Returns
    -------
    str
        The id that it was given.
    """
    metrics.malformed(status)
    request_id = _request_id("")
    fields = {
        "request_id": request_id,
        "route": MALFORMED,
        "status": status,
        "client": client,
        "kind": kind,
    }
    log_request(fields)
    return request_id


def _request_id(sent: str) -> str:
    """Take the client's id where it is short and printable, else make one."""
    is_usable = 0 < len(sent) <= LONGEST_ID and sent.isascii() and sent.isprintable()
    return sent if is_usable else f"{_numbers.getrandbits(128):032x}"
