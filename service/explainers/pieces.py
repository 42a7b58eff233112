"""Rows that come in pieces: tables, or rows one by one.

Next: :mod:`service.explainers.transformations`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from service.rows.tables import records_as_table, row_as_table


def in_pieces(rows: Any) -> Any:
    """Make an iterator of tables of one of rows, and of a list of tables; leave everything else.

    >>> [piece.tolist() for piece in in_pieces(iter(np.eye(2)))]
    [[[1.0, 0.0]], [[0.0, 1.0]]]
    """
    is_list_of_tables = isinstance(rows, list) and getattr(next(iter(rows), None), "ndim", 0) == 2
    if is_list_of_tables or isinstance(rows, Iterator):
        return map(_piece_as_table, rows)
    return rows


def _piece_as_table(piece: Any) -> Any:
    """Make a table of records, and of a row in whatever form it comes; leave everything else."""
    is_row = isinstance(piece, Mapping) or (isinstance(piece, list | tuple) and _has_cells(piece))
    return records_as_table([piece]) if is_row else records_as_table(row_as_table(piece))


def _has_cells(row: Sequence[Any]) -> bool:
    first = next(iter(row), None)
    return first is not None and np.ndim(first) == 0 and not isinstance(first, Mapping)
