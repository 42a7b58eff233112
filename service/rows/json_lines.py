"""Rows as JSON Lines, one in each line of a body or a file.

Next: :mod:`service.rows.parquet_rows`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from service.errors import PayloadError, expect
from service.rows.chunks import Table, in_chunks
from service.rows.json_rows import decode
from service.rows.values import shown

WRAPPER = "features"  # around the values of a line, as SageMaker Clarify writes it


def rows_of_json_lines(text: str, names: Sequence[str]) -> list[Any]:
    r"""Read the JSON Lines of a request's body into what its JSON would hold.

    Each line is a record, or a list of values in the model's order, bare or as
    ``{"features": values}``. Blank lines are left out.

    Parameters
    ----------
    text : str
    names : sequence of str
        Of the columns: a line with a column called "features" is a record.

    Returns
    -------
    list
        Records or lists, which :func:`service.rows.json_rows.parse` reads.

    Raises
    ------
    PayloadError
        When a line is something else; it is named, from 1.

    Examples
    --------
    >>> rows_of_json_lines('{"age": 49}\n{"features": [30]}\n', ["age"])
    [{'age': 49}, [30]]
    """
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            rows.append(_row_of_line(line, f"Body, line {number}", names))
    return rows


def _row_of_line(line: str, place: str, names: Sequence[str]) -> Any:
    row = _decode_line(line, place)
    is_wrapped = isinstance(row, dict) and row.keys() == {WRAPPER}
    if is_wrapped and WRAPPER not in names:
        row = row[WRAPPER]
    expect(
        isinstance(row, dict | list),
        f"{place}: expected a record or a list of values, got {shown(row)}.",
    )
    return row


def _decode_line(line: str | bytes, place: str) -> Any:
    try:
        return decode(line)
    except PayloadError as error:
        reason = str(error).removeprefix("Body: ").replace("at line 1, column", "at column")
        raise PayloadError(f"{place}: {reason}") from error


def json_tables(file: Path, size: int) -> Iterator[Table]:
    """Read a file of JSON objects, one a line and all with the same keys, `size` rows at a time.

    Raises
    ------
    PayloadError
        When a line is something else; it names the row, counted from 0 without blank lines.
    """
    with file.open("rb") as stream:
        for records in in_chunks(_records(filter(bytes.strip, stream)), size):
            yield {name: list(map(itemgetter(name), records)) for name in records[0]}


def _records(lines: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    names: Collection[str] = ()
    for row, line in enumerate(lines):
        record = _decode_line(line, f"row {row}")
        expect(
            isinstance(record, dict) and record.keys() == (names or record.keys()),
            f"row {row}: expected one JSON object a line, all with the same keys.",
        )
        names = record.keys()
        yield record
