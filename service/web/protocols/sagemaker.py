"""The routes of SageMaker's containers and of MLflow's scoring server.

Next: :mod:`service.web.protocols.kserve_v1`.
"""

import csv
from collections.abc import Sequence
from io import StringIO

from flask import Blueprint, Response, request

from service.errors import PayloadError
from service.rows.csv_rows import rows_of_csv
from service.rows.json_rows import JsonRows
from service.rows.row_ids import check_id_columns
from service.rows.schema import Schema
from service.scoring.request import options_of
from service.version import VERSION
from service.web.errors import MediaTypeError
from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response

CSV = ("text/csv", "application/csv")


def routes(script: GuardedScript) -> Blueprint:
    """Make the routes of readiness and version, and ``POST /invocations``, which takes CSV too."""
    blueprint = Blueprint("sagemaker", __name__)

    @blueprint.get("/ping")
    @blueprint.get("/health")
    def readiness() -> Response:
        if script.is_ready:
            return json_response({"status": "ready"})
        return json_response({"message": "Not ready: starting, or about to stop."}, 503)

    @blueprint.get("/version")
    def version() -> Response:
        return Response(VERSION, mimetype="text/plain")

    @blueprint.post("/invocations")
    def invocations() -> Response:
        return json_response(script.run(_rows(script), script.query(), explain=False))

    return blueprint


def _rows(script: GuardedScript) -> JsonRows:
    text = script.read_body()
    if request.mimetype not in CSV or isinstance(text, bytes):
        return text
    if script.schema is None:
        raise MediaTypeError(
            "CSV: expected JSON, since this entry script has not told its columns."
        )
    id_columns = options_of(script.query()).get("id_columns", ())
    return rows_of_csv(text, _with_ids(text, script.schema, id_columns))


def _with_ids(text: str, schema: Schema, id_columns: Sequence[str]) -> Schema:
    """Return a schema that reads columns with ids too, as text.

    The first line has to have their names, since nothing else says which column is what.
    """
    check_id_columns(id_columns, schema)
    header = _first_line(text)
    for name in id_columns:
        if name not in header:
            raise PayloadError(
                f"Body, line 1: expected the names of the columns, with the id column {name!r} "
                "among them."
            )
    return schema.with_texts(id_columns)


def _first_line(text: str) -> list[str]:
    try:
        return next(csv.reader(StringIO(text)), [])
    except csv.Error:  # it is refused with its place when all lines are read
        return []
