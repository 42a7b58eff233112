"""Rows of a file some at a time, so that memory does not grow with the file.

Next: :mod:`service.rows.csv_rows`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from service.errors import PayloadError

Table = Mapping[str, Sequence[object]]  # by column name; as many values in each as there are rows
Item = TypeVar("Item")


def in_chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Cut what comes into lists of `size`; the last one may be shorter."""
    while chunk := list(itertools.islice(items, size)):
        yield chunk


_ROW = re.compile(r"\b([Rr]ow) (\d+):")


def renumber_rows(error: PayloadError, start: int) -> PayloadError:
    """Return an error about some rows as one about all, the first of them being `start`.

    >>> renumber_rows(PayloadError("Column 'age', row 3: expected a number."), 100)
    PayloadError("Column 'age', row 103: expected a number.")
    """
    return type(error)(
        _ROW.sub(lambda found: f"{found[1]} {start + int(found[2])}:", str(error), count=1)
    )
