"""Rows of a file some at a time, so that memory does not grow with the file.

Next: :mod:`service.rows.csv_rows`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

Table = Mapping[str, Sequence[object]]  # by column name; as many values in each as there are rows
Item = TypeVar("Item")


def in_chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Cut what comes into lists of `size`; the last one may be shorter."""
    while chunk := list(itertools.islice(items, size)):
        yield chunk
