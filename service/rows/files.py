"""The kinds of file that rows are read from, by the ending of their names.

Next: :mod:`service.scoring.answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from service.rows.chunks import Table
from service.rows.columns import Column
from service.rows.csv_rows import csv_tables, values_of_cells
from service.rows.json_lines import json_tables
from service.rows.parquet_rows import parquet_tables, values_of_arrow
from service.rows.schema import Schema


@dataclass(frozen=True)
class FileReader:
    """How one kind of file is read.

    Attributes
    ----------
    tables : callable
        A file and a number of rows to tables of so many rows, in order; the last may have fewer.
    values : callable
        A column of the schema and its values in such a table to what that column reads.
    """

    tables: Callable[[Path, int], Iterator[Table]]
    values: Callable[[Column, Sequence[Any]], Sequence[Any]]

    def matrix(self, table: Table, schema: Schema) -> NDArray[Any]:
        """Check the rows of a table, and leave out the columns that the schema does not have.

        Returns
        -------
        ndarray of shape (n_rows, n_features)

        Raises
        ------
        PayloadError
            When a column is missing or a value does not fit.
        """
        names, values = [], []
        for column in schema.columns:
            if column.name in table:
                names.append(column.name)
                values.append(self.values(column, table[column.name]))
        return schema.from_named(names, values)


def _as_they_are(_: Column, values: Sequence[Any]) -> Sequence[Any]:
    return values


READERS = {
    ".csv": FileReader(csv_tables, values_of_cells),
    ".jsonl": FileReader(json_tables, _as_they_are),
    ".parquet": FileReader(parquet_tables, values_of_arrow),
}
