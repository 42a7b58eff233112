"""The routes of SageMaker's containers and of MLflow's scoring server.

Next: :mod:`service.web.protocols.media_types`.
"""

import csv
from io import StringIO

from flask import Blueprint, Response, request

from service.errors import PayloadError
from service.rows.json_rows import JsonRows
from service.rows.row_ids import check_id_columns
from service.rows.schema import Schema
from service.scoring.request import options_of
from service.version import VERSION
from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response
from service.web.protocols.media_types import CSV, check_type, form_of, rows_of_text


def routes(script: GuardedScript) -> Blueprint:
    """Make the routes of readiness and version, and ``POST /invocations``.

    It takes CSV and JSON Lines too, and answers in them where a client wants that.
    """
    blueprint = Blueprint("sagemaker", __name__)

    @blueprint.get("/ping")
    @blueprint.get("/health")
    def readiness() -> Response:
        if script.is_ready:
            return json_response({"status": "ready"})
        return json_response(
            {"message": "Not ready: starting, about to stop, or without its port."}, 503
        )

    @blueprint.get("/version")
    def version() -> Response:
        return Response(VERSION, mimetype="text/plain")

    @blueprint.post("/invocations")
    def invocations() -> Response:
        rows = _rows(script)
        respond = form_of(request.accept_mimetypes)
        answer = script.run(rows, script.query(), explain=False)
        return answer if isinstance(answer, Response) else respond(answer)

    return blueprint


def _rows(script: GuardedScript) -> JsonRows:
    script.check_key()
    check_type(request.mimetype)
    text = script.read_body()
    if isinstance(text, bytes):  # for a script that takes the HTTP request itself
        return text
    check_type(request.mimetype)
    schema = _with_ids(text, script) if request.mimetype in CSV else script.schema
    return rows_of_text(text, request.mimetype, request.mimetype_params, schema)


def _with_ids(text: str, script: GuardedScript) -> Schema | None:
    """Return a schema that reads columns with ids too, as text.

    The first line has to have their names, since nothing else says which column is what.
    """
    id_columns = options_of(script.query()).get("id_columns", ())
    if script.schema is None or not id_columns:
        return script.schema
    check_id_columns(id_columns, script.schema)
    header = _first_line(text)
    for name in id_columns:
        if name not in header:
            raise PayloadError(
                f"Body, line 1: expected the names of the columns, with the id column {name!r} "
                "among them."
            )
    return script.schema.with_texts(id_columns)


def _first_line(text: str) -> list[str]:
    try:
        return next(csv.reader(StringIO(text)), [])
    except csv.Error:  # it is refused with its place when all lines are read
        return []
