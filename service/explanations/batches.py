"""Global importances of more rows than fit into memory: some at a time, of which sums are kept.

Next: :mod:`service.explainers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import add
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray

from service.engines.engine import SHORT, Engine, explain_rows
from service.engines.options import is_whole
from service.engines.progress import Progress, no_progress
from service.engines.row_explainer import RowExplainer
from service.errors import PayloadError
from service.explanations.global_importances import GlobalImportances
from service.explanations.moments import Moments
from service.rows.chunks import in_chunks, renumber_rows
from service.rows.parquet_rows import pyarrow_parquet
from service.rows.tables import as_table, is_sparse, row_as_table
from service.rows.values import shown

BUDGET = 4 * 2**20  # bytes of importances that are there at once, in each job
BATCHES_PER_JOB = 4
NO_ROWS = "Rows: expected at least one row, got none."


class Batch(NamedTuple):
    """Rows that the schema has checked, or what they were added up to already.

    Attributes
    ----------
    first : int
        The number of the first row among all.
    content : ndarray of shape (n_rows, n_features), or Moments
    """

    first: int
    content: NDArray[Any] | Moments


def explain_in_batches(
    row_explainer: RowExplainer,
    rows: Any,
    batch_size: int | None = None,
    n_jobs: int | None = None,
    progress: Progress = no_progress,
) -> GlobalImportances:
    """Average the magnitudes of the importances of rows, without keeping them.

    Parameters
    ----------
    row_explainer : RowExplainer
    rows : table, iterator of tables, or path of a Parquet file
    batch_size : int, optional
        How many rows are explained at once; by default as many as memory is meant for.
    n_jobs : int, optional
        Number of joblib jobs, on whatever backend is configured. The numbers do not depend on it.
    progress : callable, optional

    Returns
    -------
    GlobalImportances

    Raises
    ------
    PayloadError
        When rows do not fit, with the number of the row among all, or there are none.
    ValueError
        When `batch_size` is not positive.
    MissingPackageError
        When a Parquet file is to be read, and pyarrow is not installed.
    """
    _check_size(batch_size)
    tables = _cut(row_explainer, rows, batch_size)
    parts = iter(progress(_sum_batches(row_explainer, tables, n_jobs)))
    first = next(parts, None)
    if first is None:
        raise PayloadError(NO_ROWS)
    moments = reduce(add, parts, first)
    return GlobalImportances.of_moments(
        moments.take_columns(row_explainer.subset),
        features=row_explainer.features,
        n_rows=moments.n_rows,
        method=row_explainer.method,
        output=row_explainer.function.scale,
        classes=row_explainer.classes,
        expected_values=row_explainer.expected_values,
    )


def gather(rows: Any) -> Any:
    """Return the rows of an iterator or a Parquet file as one table, any others as they are."""
    if not _comes_in_pieces(rows):
        return rows
    tables = list(map(as_table, _pieces(rows, None)))
    if not tables:
        raise PayloadError(NO_ROWS)
    if isinstance(tables[0], pd.DataFrame):
        is_numbered = isinstance(tables[0].index, pd.RangeIndex) and not isinstance(rows, Iterator)
        return pd.concat(tables, ignore_index=is_numbered)
    return np.concatenate(list(map(np.asarray, tables)))


def _check_size(batch_size: int | None) -> None:
    if batch_size is not None and not is_whole(batch_size, at_least=1):
        raise ValueError(f"batch_size: expected a positive number of rows, got {batch_size!r}.")


def _choose_size(row_explainer: RowExplainer, table: Any) -> int:
    """Return how many rows memory is meant for; of sparse ones where only stored cells count."""
    n_cells = len(row_explainer.schema.columns)
    if is_sparse(table) and row_explainer.engine.is_additive:
        n_cells = max(1, table.nnz // max(1, table.shape[0]))
    return max(1, BUDGET // (8 * n_cells * len(row_explainer.engine.expected_values)))


def _comes_in_pieces(rows: Any) -> bool:
    return isinstance(rows, str | Path | Iterator)


def _pieces(rows: Any, size: int | None) -> Iterable[Any]:
    """Return the tables that rows come in."""
    if isinstance(rows, str | Path):
        return _read_parquet(Path(rows), size)
    return rows if isinstance(rows, Iterator) else [row_as_table(rows)]


def _read_parquet(file: Path, size: int | None) -> Iterator[pd.DataFrame]:
    if not file.is_file():
        raise FileNotFoundError(f"Rows: expected a Parquet file, but {file} is not there.")
    # Otherwise a whole row group, which can be the whole file, is read ahead.
    with pyarrow_parquet().ParquetFile(file, pre_buffer=False, buffer_size=2**20) as source:
        for batch in source.iter_batches(batch_size=size or 2**16):
            yield as_table(batch)


def _cut(row_explainer: RowExplainer, rows: Any, batch_size: int | None) -> Iterator[Any]:
    """Cut rows into tables of at most so many of them."""
    for piece in _pieces(rows, batch_size or _choose_size(row_explainer, None)):
        table = _sliceable(piece)
        size = batch_size or _choose_size(row_explainer, table)
        for first in range(0, _count_rows(table), size):
            yield _take_rows(table, slice(first, first + size))


def _sliceable(piece: Any) -> Any:
    if not hasattr(piece, "__len__"):
        raise PayloadError(
            "Rows: expected a table, an iterator of tables or the path of a Parquet file, got "
            f"{shown(piece)}."
        )
    return piece.tocsr() if is_sparse(piece) else as_table(piece)


def _take_rows(table: Any, rows: slice) -> Any:
    return table.iloc[rows] if isinstance(table, pd.DataFrame) else table[rows]


def _count_rows(table: Any) -> int:
    return int(table.shape[0]) if hasattr(table, "shape") else len(table)


def _sum_batches(
    row_explainer: RowExplainer, tables: Iterator[Any], n_jobs: int | None
) -> Iterator[Moments]:
    """Add up batch after batch, in jobs where they take long; only a few are there at once."""
    batches = _read_all(row_explainer, tables)
    for batch in _take_first(batches, n_jobs):
        with _naming_refused_values(row_explainer, [batch]):
            yield _sum(row_explainer.engine, batch.content)
    with Parallel(n_jobs=n_jobs or 1) as jobs:
        for group in in_chunks(batches, BATCHES_PER_JOB * effective_n_jobs(n_jobs or 1)):
            with _naming_refused_values(row_explainer, group):
                yield from jobs(delayed(_sum)(row_explainer.engine, each.content) for each in group)


def _take_first(batches: Iterator[Batch], n_jobs: int | None) -> Iterator[Batch]:
    """Take batches for so long as jobs would take to start; without jobs all of them."""
    began = perf_counter()
    for batch in batches:
        yield batch
        if n_jobs not in (None, 1) and perf_counter() - began > SHORT:
            return


@contextmanager
def _naming_refused_values(row_explainer: RowExplainer, batches: list[Batch]) -> Iterator[None]:
    """Look for a value that the model refuses, where it has refused some of the batches.

    Raises
    ------
    PayloadError
        Naming it with its row, where there is one.
    """
    try:
        yield
    except ValueError:
        for first, content in batches:
            if not isinstance(content, Moments):
                _name_refused_value(row_explainer, first, content)
        raise


def _read_all(row_explainer: RowExplainer, tables: Iterator[Any]) -> Iterator[Batch]:
    """Check tables; what is sparse and additive is added up at once, which takes no time."""
    first = 0
    for table in tables:
        try:
            yield Batch(first, _read(row_explainer, table))
        except PayloadError as error:
            raise renumber_rows(error, first) from None
        first += _count_rows(table)


def _read(row_explainer: RowExplainer, table: Any) -> NDArray[Any] | Moments:
    if is_sparse(table) and row_explainer.engine.is_additive:
        return Moments.of_sparse(row_explainer.sparse_values(table))
    return row_explainer.read(table)


def _sum(engine: Engine, content: NDArray[Any] | Moments) -> Moments:
    if isinstance(content, Moments):
        return content
    importances = explain_rows(engine, content)
    return Moments.of(importances.values, importances.standard_errors)


def _name_refused_value(row_explainer: RowExplainer, first: int, rows: NDArray[Any]) -> None:
    try:
        row_explainer.name_refused_value(rows)
    except PayloadError as error:
        raise renumber_rows(error, first) from None
