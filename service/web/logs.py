"""Logs as one JSON object a line: gunicorn's own, the service's, and one line per request.

No line holds a value of a request's rows, but for the traceback of a failure, which may quote one.

Next: `service.web.metrics`.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

ACCESS = logging.getLogger("service.access")
REQUEST_ID = "X-Request-Id"  # the header that names a request, in answers and in the log
FIELDS = "fields"  # what a record carries beside its message


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger and message, the record's fields, and a traceback if any."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line)


def log_request(fields: Mapping[str, Any]) -> None:
    """Write the line of a request.

    Parameters
    ----------
    fields : mapping
        What the line has beside time, level and process. The record says nothing of the code that
        wrote it: to find that takes longer than the line itself.
    """
    if ACCESS.isEnabledFor(logging.INFO):
        level, extra = logging.INFO, {FIELDS: fields}
        ACCESS.handle(
            ACCESS.makeRecord(ACCESS.name, level, "", 0, "request", (), None, extra=extra)
        )


_encode = json.JSONEncoder(default=str).encode


def log_config(level: str) -> dict[str, Any]:
    """Return the configuration of :func:`logging.config.dictConfig`.

    Parameters
    ----------
    level : str
        The least important level that is written, as ``"INFO"``.

    Returns
    -------
    dict
        Everything goes to standard error.
    """
    handler = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "service.web.logs.JsonLines"}},
        "handlers": {"lines": handler},
        "root": {"level": level, "handlers": ["lines"]},
        "loggers": {"gunicorn.error": {"level": level, "handlers": ["lines"], "propagate": False}},
    }
