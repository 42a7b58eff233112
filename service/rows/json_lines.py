"""Rows as JSON Lines: one object in each line of a file. Next: :mod:`service.rows.parquet_rows`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from service.errors import PayloadError
from service.rows.chunks import Table, in_chunks
from service.rows.json_rows import decode


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
    names = None
    for row, line in enumerate(lines):
        try:
            record = decode(line)
        except PayloadError as error:
            raise PayloadError(f"row {row}: {error}") from error
        if not isinstance(record, dict) or record.keys() != (names or record.keys()):
            raise PayloadError(
                f"row {row}: expected one JSON object a line, all with the same keys."
            )
        names = record.keys()
        yield record
