"""Rows as CSV: the body of a request, or a file in chunks.

Both are read by the same strict reader: a quote that is never closed, or one in the middle of a
cell, is refused. Next: :mod:`service.rows.json_lines`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from service.errors import PayloadError
from service.rows.chunks import Table, in_chunks
from service.rows.columns import Column
from service.rows.json_rows import infinity_as_word
from service.rows.schema import Schema


def rows_of_csv(text: str, schema: Schema) -> dict[str, Any]:
    r"""Read the CSV of a request's body into what its JSON would hold.

    The first line may hold the column names, in any order; without it the columns are in the
    model's order. An empty cell is a missing value, and so is one that says "nan" or "inf" in a
    column of numbers, as NaN and Infinity are in JSON.

    Parameters
    ----------
    text : str
    schema : Schema

    Returns
    -------
    dict
        ``{"columns": names, "data": rows}``, which :func:`service.rows.json_rows.parse` reads.

    Raises
    ------
    PayloadError
        When the text is not CSV, or a line has another number of cells than there are columns.

    Examples
    --------
    >>> import pandas as pd
    >>> schema = Schema.of(pd.DataFrame({"age": [49, 30], "zip": ["02139", "94105"]}), None, None)
    >>> rows_of_csv("zip,age\n10001,72\n", schema)
    {'columns': ['zip', 'age'], 'data': [['10001', 72]]}
    """
    lines = list(filter(None, csv_lines(io.StringIO(text), "Body")))
    names = lines.pop(0) if _are_names(lines[:1], schema) else schema.names
    by_name = dict(zip(schema.names, schema.columns, strict=True))
    columns = list(map(by_name.__getitem__, names))
    data = []
    for row, line in enumerate(lines):
        _check_width(line, len(columns), f"Row {row}")
        data.append(list(map(_value_of_cell, columns, line)))
    return {"columns": names, "data": data}


def _are_names(first_lines: list[list[str]], schema: Schema) -> bool:
    return any(set(line) == set(schema.names) for line in first_lines)


def _value_of_cell(column: Column, cell: str) -> Any:
    return infinity_as_word(column.of_text(cell))


def csv_tables(file: Path, size: int) -> Iterator[Table]:
    """Read a CSV file with a header, `size` rows at a time; every cell is text.

    Raises
    ------
    PayloadError
        When the file is not CSV, names a column twice, or a line has another number of cells than
        the header; it names the line, or the row counted from 0.
    UnicodeDecodeError
        When it is not UTF-8.
    """
    with file.open(newline="", encoding="utf-8-sig") as stream:
        lines = csv_lines(stream)
        names = next(lines, [])
        if len(set(names)) != len(names):
            raise PayloadError("expected each column name once in the first line.")
        for chunk in in_chunks(_rows_of(lines, len(names)), size):
            yield dict(zip(names, zip(*chunk, strict=True), strict=True))


def values_of_cells(column: Column, cells: Sequence[Any]) -> list[Any]:
    """Read the cells of one column of a CSV file."""
    return list(map(column.of_text, cells))


def csv_lines(stream: Iterable[str], place: str | None = None) -> Iterator[list[str]]:
    """Read the cells of each line of CSV; a blank line has none.

    Parameters
    ----------
    stream : iterable of str
        Lines of text. A file is opened with ``newline=""``, so that cells keep theirs.
    place : str, optional
        What a refusal calls the place of a fault; by default the line where the row begins, from 1.

    Raises
    ------
    PayloadError
        When a quote is not closed, or stands in the middle of a cell, or a cell is too long.

    Examples
    --------
    >>> list(csv_lines(['a,"b', ' c"', "", "1,2"]))
    [['a', 'b c'], [], ['1', '2']]
    """
    reader = csv.reader(stream, strict=True)
    while True:
        began = place or f"line {reader.line_num + 1}"
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise PayloadError(f"{began}: expected CSV, but {error}.") from error


def _rows_of(lines: Iterable[list[str]], n_cells: int) -> Iterator[list[str]]:
    for row, line in enumerate(filter(None, lines)):
        _check_width(line, n_cells, f"row {row}")
        yield line


def _check_width(line: Sequence[str], n_cells: int, place: str) -> None:
    if len(line) != n_cells:
        raise PayloadError(f"{place}: expected {n_cells} cells, got {len(line)}.")
