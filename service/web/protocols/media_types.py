"""What ``/invocations`` reads by its Content-Type, and what it writes by ``Accept``.

Next: :mod:`service.web.protocols.kserve_v1`.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from flask import Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_options_header

from service.rows.csv_rows import rows_of_csv
from service.rows.json_lines import rows_of_json_lines
from service.rows.json_rows import JsonRows
from service.rows.schema import Schema
from service.scoring.answer import Answer, plain
from service.scoring.answer_tables import flat_columns, nested_columns
from service.strict_json import strict_json
from service.web.errors import MediaTypeError, NotAcceptableError
from service.web.json_response import json_response

CSV = ("text/csv", "application/csv")
JSON_LINES = (
    "application/jsonlines",
    "application/x-jsonlines",
    "application/jsonl",
    "application/x-jsonl",
    "application/x-ndjson",
    "application/ndjson",
)
BINARY = {
    "application/x-parquet": "Parquet",
    "application/parquet": "Parquet",
    "application/vnd.apache.parquet": "Parquet",
    "application/x-npy": "arrays of NumPy's",
    "application/x-npz": "arrays of NumPy's",
    "application/x-recordio-protobuf": "RecordIO",
    "application/x-protobuf": "Protocol Buffers",
    "application/vnd.apache.arrow.file": "Arrow",
    "application/vnd.apache.arrow.stream": "Arrow",
    "application/avro": "Avro",
}
_HEADER = {None: None, "present": True, "absent": False}


def check_type(media_type: str) -> None:
    """Refuse a body of a kind that is known not to be text.

    Raises
    ------
    MediaTypeError
        Which names it, and what is read.
    """
    if media_type in BINARY:
        raise MediaTypeError(
            f"{BINARY[media_type]}: expected application/json, text/csv or application/jsonlines; "
            "python -m service score reads files of CSV, JSON Lines and Parquet."
        )


def rows_of_text(
    text: str, media_type: str, parameters: Mapping[str, str], schema: Schema | None
) -> JsonRows:
    """Read a body by its media type; what is neither CSV nor JSON Lines is JSON, and stays text.

    Parameters
    ----------
    text : str
    media_type : str
    parameters : mapping of str to str
        Of the media type; ``header`` of CSV is "present" or "absent".
    schema : Schema or None
        The columns, which CSV needs.

    Raises
    ------
    MediaTypeError
        When there is CSV and no schema, or its parameter makes no sense.
    PayloadError
        When the text is not what it is declared to be; the message names the line.
    """
    return _READERS.get(media_type, _read_json)(text, parameters, schema)


def _read_json(text: str, parameters: Mapping[str, str], schema: Schema | None) -> JsonRows:
    return text


def _read_json_lines(text: str, parameters: Mapping[str, str], schema: Schema | None) -> JsonRows:
    return rows_of_json_lines(text, getattr(schema, "names", ()))


def _read_csv(text: str, parameters: Mapping[str, str], schema: Schema | None) -> JsonRows:
    if schema is None:
        raise MediaTypeError(
            "CSV: expected JSON, since this entry script has not told its columns."
        )
    if parameters.get("header") not in _HEADER:
        raise MediaTypeError("Content-Type: expected header=present, header=absent or neither.")
    return rows_of_csv(text, schema, _HEADER[parameters.get("header")])


def form_of(accept: MIMEAccept) -> Callable[[Any], Response]:
    """Choose the form that a client wants most; JSON where it does not say.

    Parameters
    ----------
    accept : MIMEAccept
        Of the request. ``text/csv; header=present`` asks for a line of names too.

    Raises
    ------
    NotAcceptableError
        When it takes none of those that are written here.
    """
    ranges = sorted(filter(_is_range, accept), key=_unwanted)
    for value, _ in ranges:
        media_type, parameters = parse_options_header(value)
        if media_type in _WRITERS:
            return partial(_WRITERS[media_type], parameters=parameters)
    if ranges:
        raise NotAcceptableError(
            "Accept: expected application/json, text/csv or application/jsonlines, got others."
        )
    return json_response


def _is_range(weighted: tuple[str, float]) -> bool:
    value, quality = weighted
    return "/" in value and quality > 0


def _unwanted(weighted: tuple[str, float]) -> float:
    return -weighted[1]


def _write_json(answer: Any, parameters: Mapping[str, str]) -> Response:
    return json_response(answer)


def _write_csv(answer: Any, parameters: Mapping[str, str]) -> Response:
    columns = _columns(answer, flat_columns)
    if any(map(_is_nested, chain.from_iterable(columns.values()))):
        raise NotAcceptableError("CSV: expected an answer of plain values; ask for JSON.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if parameters.get("header") == "present":
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return Response(text.getvalue(), mimetype=CSV[0])


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | Mapping)


def _write_json_lines(answer: Any, parameters: Mapping[str, str]) -> Response:
    columns = _columns(answer, nested_columns)
    lines = []
    for row in zip(*columns.values(), strict=True):
        lines.append(strict_json(dict(zip(columns, row, strict=True))) + "\n")
    return Response("".join(lines), mimetype=JSON_LINES[0])


def _columns(
    answer: Any, columns_of: Callable[[Answer], dict[str, Sequence[Any]]]
) -> dict[str, Sequence[Any]]:
    """Return an answer as columns; of an entry script's own answer its predictions alone."""
    if isinstance(answer, Answer):
        return columns_of(answer)
    predictions = plain(answer)
    if isinstance(answer, Mapping) and len(answer) == 1:
        predictions = plain(answer.get("predictions"))
    if not isinstance(predictions, list):
        raise NotAcceptableError(
            "Accept: expected an answer for each row, which this entry script's is not; ask for "
            "application/json."
        )
    return {"prediction": predictions}


_READERS: dict[str, Callable[[str, Mapping[str, str], Schema | None], JsonRows]] = {
    **dict.fromkeys(CSV, _read_csv),
    **dict.fromkeys(JSON_LINES, _read_json_lines),
}
_WRITERS: dict[str, Callable[..., Response]] = {
    "*/*": _write_json,
    "application/*": _write_json,
    "application/json": _write_json,
    "text/*": _write_csv,
    **dict.fromkeys(CSV, _write_csv),
    **dict.fromkeys(JSON_LINES, _write_json_lines),
}
