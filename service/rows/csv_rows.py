"""Rows as CSV: the body of a request, or a file in chunks.

Both are read by the same strict reader: a quote that is never closed, or one in the middle of a
cell, is refused. Next: :mod:`service.rows.json_lines`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, tee
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any, TextIO

from service.errors import PayloadError, expect
from service.rows.chunks import Table, in_chunks
from service.rows.columns import Column
from service.rows.schema import Schema
from service.rows.values import EmptyText, repeated


def rows_of_csv(text: str, schema: Schema, has_header: bool | None = None) -> dict[str, Any]:
    r"""Read the CSV of a request's body into what its JSON would hold.

    The first line may hold the column names, in any order; without it the columns are in the
    model's order. An empty cell is a missing value; in quotes it is an empty text, where the column
    can hold one. Numbers, truth values and dates mean what they
    mean in JSON: "60.0" is an integer, "TRUE" is true, "nan" is missing and "inf" is an infinity.

    Parameters
    ----------
    text : str
    schema : Schema
    has_header : bool, optional
        Whether the first line holds the names; by default it is looked at, and refused where it
        could be both.

    Returns
    -------
    dict
        ``{"columns": names, "data": rows}``, which :func:`service.rows.json_rows.parse` reads.

    Raises
    ------
    PayloadError
        When the text is not CSV, a line has another number of cells than there are columns, or the
        names are not those of the columns.

    Examples
    --------
    >>> import pandas as pd
    >>> schema = Schema.of(pd.DataFrame({"age": [49, 30], "zip": ["02139", "94105"]}), None, None)
    >>> rows_of_csv("zip,age\n10001,72.0\n", schema)
    {'columns': ['zip', 'age'], 'data': [['10001', 72.0]]}
    """
    lines = list(csv_lines(io.StringIO(text), _PLACE))
    _check_separator(next(iter(lines), (1, [])), _PLACE, len(schema.names))
    names = _take_header(lines, schema, has_header)
    by_name = dict(zip(schema.names, schema.columns, strict=True))
    columns = list(map(by_name.__getitem__, names))
    data = []
    for number, cells in lines:
        _check_width(cells, len(columns), f"{_PLACE} {number}")
        data.append(list(map(Column.of_text, columns, cells)))
    return {"columns": names, "data": data}


def _take_header(
    lines: list[tuple[int, list[str]]], schema: Schema, has_header: bool | None
) -> list[str]:
    """Take off the line of names, where there is one, and name the columns in their order."""
    if not lines:
        return schema.names
    if has_header is None:
        has_header = _are_names(lines[0][1], schema)
    if not has_header:
        return schema.names
    number, names = lines.pop(0)
    expect(
        "" not in set(names) - {*schema.names},
        f"{_PLACE} {number}: expected a name for each column, got an empty one; a DataFrame leaves "
        "its index out by to_csv(index=False).",
    )
    schema.check_names(names, where=f"{_PLACE} {number}: ")
    return names


def _are_names(cells: list[str], schema: Schema) -> bool:
    """Tell whether the first line holds names, wrong ones perhaps, or the cells of a row.

    Columns that take any text cannot tell one from the other.

    Raises
    ------
    PayloadError
        When nothing tells.
    """
    has_names = not {*map(_folded, cells)}.isdisjoint(map(_folded, schema.names))
    if all(map(_TAKES_TEXT, schema.columns)):
        expect(
            has_names,
            f"{_PLACE} 1: expected the names of the columns, since rows of nothing but text could "
            f"be names too; {_DECLARE}",
        )
        return True
    is_row = _fit(cells, schema)
    is_both = is_row and set(cells) == set(schema.names)
    expect(
        not is_both,
        f"{_PLACE} 1: expected names or a row, got what can be both; {_DECLARE}",
    )
    return has_names and not is_row


def _fit(cells: Sequence[str], schema: Schema) -> bool:
    """Tell whether every cell can be a value of its column."""
    if len(cells) != len(schema.columns):
        return False
    values = map(Column.of_text, schema.columns, cells)
    return all(map(Column.fits, schema.columns, values))


def _folded(name: str) -> str:
    return name.strip().casefold()


_TAKES_TEXT = attrgetter("takes_text")
_PLACE = "Body, line"
_SAVE_AS_UTF8 = "save it as UTF-8, or convert it, as iconv -f WINDOWS-1252 -t UTF-8 does."
_DECLARE = "say which by Content-Type: text/csv; header=present, or header=absent."


def csv_tables(file: Path, size: int) -> Iterator[Table]:
    """Read a CSV file with a header, `size` rows at a time; every cell is text.

    Raises
    ------
    PayloadError
        When the file is not CSV, names a column twice, or a line has another number of cells than
        the header, or when it is not UTF-8; it names the line, or the row counted from 0.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = csv_lines(stream)
            first = next(lines, (1, []))
            _check_separator(first)
            _, names = first
            expect(not repeated(names), "expected each column name once in the first line.")
            for chunk in in_chunks(_rows_of(lines, len(names)), size):
                yield dict(zip(names, zip(*chunk, strict=True), strict=True))
    except UnicodeDecodeError as error:
        raise PayloadError(_not_utf8(file)) from error


def _not_utf8(file: Path) -> str:
    """Say where a file is not UTF-8: the decoder of a stream counts from where it read last."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = f"byte {error.start + 1} of the line, 0x{line[error.start]:02x}"
                return f"line {number}: expected UTF-8 text, got {byte}; {_SAVE_AS_UTF8}"
    return f"expected UTF-8 text to its end; {_SAVE_AS_UTF8}"


def values_of_cells(column: Column, cells: Sequence[Any]) -> list[Any]:
    """Read the cells of one column of a CSV file."""
    return list(map(column.of_text, cells))


def write_csv_lines(stream: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV, in which the empty texts that :func:`csv_lines` marked keep their quotes.

    Parameters
    ----------
    stream : file of text
    rows : iterable of sequences
        The cells of each line.

    Examples
    --------
    >>> import sys
    >>> rows = [cells for _, cells in csv_lines(['a,"",,"1,5"'])]
    >>> write_csv_lines(sys.stdout, rows)
    a,"",,"1,5"
    """
    writer = csv.writer(stream, lineterminator="\n")
    for cells in rows:
        if EmptyText in map(type, cells):
            stream.write(",".join(map(_as_written, cells)) + "\n")
        else:
            writer.writerow(cells)


def _as_written(cell: Any) -> str:
    """Write one cell, which is not the only one of its line."""
    if isinstance(cell, EmptyText):
        return '""'
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow([cell, None])
    return written.getvalue().removesuffix(",")


def csv_lines(stream: Iterable[str], place: str = "line") -> Iterator[tuple[int, list[str]]]:
    """Read the cells of each line of CSV; blank lines are left out.

    Parameters
    ----------
    stream : iterable of str
        Lines of text. A file is opened with ``newline=""``, so that cells keep theirs.
    place : str, default "line"
        What a refusal calls a line.

    Yields
    ------
    int and list of str
        The line where the row begins, from 1, and its cells.

    Raises
    ------
    PayloadError
        When a quote is not closed, or stands in the middle of a cell, or a cell is too long.

    Examples
    --------
    >>> list(csv_lines(['a,"b', ' c"', "", "1,2"]))
    [(1, ['a', 'b c']), (4, ['1', '2'])]
    """
    lines, as_written = tee(stream)
    reader = csv.reader(lines, strict=True)
    number = 1
    try:
        for cells in reader:
            written = "".join(islice(as_written, reader.line_num + 1 - number))
            if cells:
                yield number, _mark_empty_texts(cells, written)
            number = reader.line_num + 1
    except csv.Error as error:
        raise PayloadError(f"{place} {number}: expected CSV, but {error}.") from error


def _mark_empty_texts(cells: list[str], written: str) -> list[str]:
    """Mark the empty cells of a row that stand in quotes, which its reader does not tell."""
    if '""' not in written:
        return cells
    as_written = _CELL.findall(written)[: len(cells)]
    has_quotes_everywhere = all(map(methodcaller("startswith", '"'), as_written))
    marks = {'""': EmptyText(not has_quotes_everywhere)}
    return list(map(marks.get, as_written, cells))


# One cell as it is written, from its beginning or the separator before it.
_CELL = re.compile(r'(?:^|,)("(?:[^"]|"")*"|[^,]*)')


def _rows_of(lines: Iterable[tuple[int, list[str]]], n_cells: int) -> Iterator[list[str]]:
    for row, (_, cells) in enumerate(lines):
        _check_width(cells, n_cells, f"row {row}")
        yield cells


def _check_separator(
    first: tuple[int, Sequence[str]], place: str = "line", n_columns: int = 2
) -> None:
    """Refuse a first line of a single cell that others than commas seem to divide."""
    number, cells = first
    others = sorted(_OTHER_SEPARATORS.keys() & {*"".join(cells)})
    is_single = len(cells) == 1 < n_columns
    expect(
        not (is_single and others),
        f"{place} {number}: expected commas between the cells, got "
        f"{' and '.join(map(_OTHER_SEPARATORS.__getitem__, others))}; write numbers with a point "
        'and cells with commas between them, as to_csv(sep=",") does.',
    )


_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def _check_width(cells: Sequence[str], n_cells: int, place: str) -> None:
    expect(len(cells) == n_cells, f"{place}: expected {n_cells} cells, got {len(cells)}.")
