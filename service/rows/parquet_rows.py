"""Rows of Parquet files, read with pyarrow, which is not one of the service's own packages.

Next: :mod:`service.rows.files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.errors import MissingPackageError
from service.rows.chunks import Table
from service.rows.columns import Column


def pyarrow_parquet() -> Any:
    """Import ``pyarrow.parquet``.

    Raises
    ------
    MissingPackageError
        When pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingPackageError(
            "Parquet: expected the package pyarrow, found none; pip install pyarrow."
        ) from None
    return pyarrow.parquet


def parquet_tables(file: Path, size: int) -> Iterator[Table]:
    """Read a Parquet file, `size` rows at a time; every column is an array of Arrow's.

    Raises
    ------
    ValueError
        When it is no Parquet file, from pyarrow.
    MissingPackageError
        When pyarrow is not installed.
    """
    # Otherwise a whole row group, which can be the whole file, is read ahead.
    with pyarrow_parquet().ParquetFile(file, pre_buffer=False, buffer_size=2**20) as source:
        for batch in source.iter_batches(batch_size=size):
            yield dict(zip(batch.schema.names, batch.columns, strict=True))


def values_of_arrow(_: Column, values: Any) -> list[Any]:
    """Return one column of a table as Python values."""
    return values.to_pylist()
