"""Global importances of more rows than fit into memory: some at a time, of which sums are kept.

Next: :mod:`service.explainers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import reduce
from operator import add
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from scipy.sparse import vstack

from service.engines.engine import SHORT, Engine, explain_in_parallel, works_in_threads
from service.engines.options import check_jobs, is_whole
from service.engines.progress import Progress, no_progress
from service.engines.row_explainer import RowExplainer
from service.engines.sparse.additive import check_width
from service.errors import PayloadError, expect
from service.explanations.global_importances import GlobalImportances
from service.explanations.moments import Moments
from service.rows.chunks import in_chunks, renumber_rows
from service.rows.parquet_rows import pyarrow_parquet
from service.rows.schema import Schema
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
    n_jobs: int = 1,
    progress: Progress = no_progress,
) -> GlobalImportances:
    """Average the magnitudes of the importances of rows, without keeping them.

    Parameters
    ----------
    row_explainer : RowExplainer
    rows : table, iterator of tables, or path of a Parquet file
    batch_size : int, optional
        How many rows are explained at once; by default as many as memory is meant for.
    n_jobs : int, default 1
        Number of joblib jobs, as :func:`choose_jobs` returns it. The numbers do not depend on it.
    progress : callable, optional

    Returns
    -------
    GlobalImportances

    Raises
    ------
    PayloadError
        When rows do not fit, with the number of the row among all, or there are none.
    ValueError
        When `batch_size` is not positive, or `n_jobs` no number of jobs.
    MissingPackageError
        When a Parquet file is to be read, and pyarrow is not installed.
    """
    _check_size(batch_size)
    check_jobs(n_jobs)
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


def choose_jobs(row_explainer: RowExplainer, n_jobs: int | None) -> int:
    """Return how many jobs explain very many rows.

    They are as many as are asked for; by default threads on all processors that this process may
    use, or one job where threads will not do.
    """
    if n_jobs is not None:
        return n_jobs
    return -1 if works_in_threads(row_explainer.engine) else 1


def gather(row_explainer: RowExplainer, rows: Any) -> Any:
    """Return the rows of an iterator or a Parquet file as one table, any others as they are.

    Parameters
    ----------
    row_explainer : RowExplainer
        Checks table after table by itself, as in batches.
    rows : table, iterator of tables, or path of a Parquet file

    Returns
    -------
    table
        DataFrames of the same columns make one with their labels, whatever the order of columns;
        arrays of one type make one, and so do sparse rows. Any others make a DataFrame of the
        columns that the explainer reads; its rows are numbered unless all pieces are DataFrames.

    Raises
    ------
    PayloadError
        When rows do not fit, with the number of the row among all, or there are none.
    """
    if not _comes_in_pieces(rows):
        return rows
    tables: list[Any] = []
    first = 0
    for piece in _pieces(rows, None):
        table = _sliceable(piece)
        with _renumbering(first):
            tables.append(_take(row_explainer, table))
        first += _count_rows(table)
    expect(first > 0, NO_ROWS)
    return _concatenate(row_explainer.schema, tables)


def _take(row_explainer: RowExplainer, table: Any) -> Any:
    """Copy rows that fit, since who brings them may use the same memory for the next ones."""
    if is_sparse(table):
        check_width(table, len(row_explainer.schema.columns))
        return table.copy()
    row_explainer.read(table)
    if isinstance(table, pd.DataFrame | np.ndarray):
        return table.copy()
    return _as_read(row_explainer.schema, table)


def _concatenate(schema: Schema, tables: list[Any]) -> Any:
    """Put tables one under another; those of several forms in the form of the schema."""
    forms = set(map(_form_of, tables))
    is_mixed = len(set(map(type, tables))) > 1  # where not all have labels
    if len(forms) > 1:
        tables = [_as_read(schema, each) for each in tables]
    if isinstance(tables[0], pd.DataFrame):
        return pd.concat(tables, ignore_index=is_mixed)
    if forms == {"sparse"}:
        return vstack(tables, format="csr")
    return np.concatenate(tables)


def _form_of(table: Any) -> str:
    """Tell what tables have in common that are put together without a change of any value."""
    if isinstance(table, pd.DataFrame):
        return f"frame of {list(zip(table.columns, map(str, table.dtypes), strict=True))}"
    return "sparse" if is_sparse(table) else f"array of {table.dtype}"


def _as_read(schema: Schema, table: Any) -> pd.DataFrame:
    """Return rows by the names of their columns, or by position where they have none."""
    labels = table.index if isinstance(table, pd.DataFrame) else None
    return pd.DataFrame(schema.matrix(table), index=labels, columns=schema.names).infer_objects()


def _check_size(batch_size: int | None) -> None:
    fits = batch_size is None or is_whole(batch_size, at_least=1)
    told = f"batch_size: expected a positive number of rows, got {batch_size!r}."
    expect(fits, told, ValueError)


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
        raise FileNotFoundError(f"Rows: expected a Parquet file, but there is none at {file}.")
    parquet = pyarrow_parquet()
    try:
        # Otherwise a whole row group, which can be the whole file, is read ahead.
        with parquet.ParquetFile(file, pre_buffer=False, buffer_size=2**20) as source:
            numbering, first = _numbering_of(source.schema_arrow), 0
            for batch in source.iter_batches(batch_size=size or 2**16):
                yield _number(as_table(batch), first, **numbering)
                first += len(batch)
    except (ValueError, OSError) as error:
        raise PayloadError(
            f"Rows: expected a whole Parquet file, but {file} is none ({error}); read other files "
            "yourself, and pass their tables one after another."
        ) from error


def _numbering_of(schema: Any) -> dict[str, Any]:
    """Return how rows are numbered that have no labels in a column, as pandas wrote it."""
    numbering: dict[str, Any] = {"start": 0, "step": 1, "name": None}
    for label in (schema.pandas_metadata or {}).get("index_columns", ()):
        if isinstance(label, Mapping):  # of others the name of a column is written
            numbering = {key: label[key] for key in numbering}
    return numbering


def _number(table: pd.DataFrame, first: int, *, start: int, step: int, name: Any) -> pd.DataFrame:
    """Give a part of a file's rows the numbers that they have in the whole of it."""
    if isinstance(table.index, pd.RangeIndex):
        begin, end = (start + step * row for row in (first, first + len(table)))
        table.index = pd.RangeIndex(begin, end, step, name=name)
    return table


def _cut(row_explainer: RowExplainer, rows: Any, batch_size: int | None) -> Iterator[Any]:
    """Cut rows into tables of at most so many of them."""
    for piece in _pieces(rows, batch_size or _choose_size(row_explainer, None)):
        table = _sliceable(piece)
        size = batch_size or _choose_size(row_explainer, table)
        for first in range(0, _count_rows(table), size):
            yield _take_rows(table, slice(first, first + size))


def _sliceable(piece: Any) -> Any:
    if not hasattr(piece, "__len__") or isinstance(piece, str | bytes | Mapping):
        raise PayloadError(
            "Rows: expected a table, an iterator of tables or the path of a Parquet file, got "
            f"{shown(piece)}."
        )
    return piece.tocsr() if is_sparse(piece) else row_as_table(as_table(piece))


def _take_rows(table: Any, rows: slice) -> Any:
    return table.iloc[rows] if isinstance(table, pd.DataFrame) else table[rows]


def _count_rows(table: Any) -> int:
    return int(table.shape[0]) if hasattr(table, "shape") else len(table)


def _sum_batches(
    row_explainer: RowExplainer, tables: Iterator[Any], n_jobs: int
) -> Iterator[Moments]:
    """Add up batch after batch; only a few are there at once.

    Threads share the rows of each; processes get whole ones, where these take long.
    """
    batches = _read_all(row_explainer, tables)
    if n_jobs == 1 or works_in_threads(row_explainer.engine):
        yield from _sum_here(row_explainer, batches, n_jobs)
    else:
        yield from _sum_here(row_explainer, _take_first(batches), 1)
        yield from _sum_in_processes(row_explainer, batches, n_jobs)


def _sum_here(
    row_explainer: RowExplainer, batches: Iterator[Batch], n_jobs: int
) -> Iterator[Moments]:
    for batch in batches:
        with _naming_refused_values(row_explainer, [batch]):
            yield _sum(row_explainer.engine, batch.content, n_jobs)


def _sum_in_processes(
    row_explainer: RowExplainer, batches: Iterator[Batch], n_jobs: int
) -> Iterator[Moments]:
    at_once = BATCHES_PER_JOB * effective_n_jobs(n_jobs)
    with Parallel(n_jobs=n_jobs) as jobs:
        for group in in_chunks(map(_copy, batches), at_once):
            with _naming_refused_values(row_explainer, group):
                yield from jobs(delayed(_sum)(row_explainer.engine, each.content) for each in group)


def _copy(batch: Batch) -> Batch:
    """Copy rows that wait for others, since who brings these may use the same memory for them."""
    return Batch(batch.first, deepcopy(batch.content))


def _take_first(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Take batches for so long as processes would take to start."""
    began = perf_counter()
    for batch in batches:
        yield batch
        if perf_counter() - began > SHORT:
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
        with _renumbering(first):
            batch = Batch(first, _read(row_explainer, table))
        yield batch
        first += _count_rows(table)


@contextmanager
def _renumbering(first: int) -> Iterator[None]:
    """Name rows by their number among all where a table is refused."""
    try:
        yield
    except PayloadError as error:
        raise renumber_rows(error, first) from None


def _read(row_explainer: RowExplainer, table: Any) -> NDArray[Any] | Moments:
    if is_sparse(table) and row_explainer.engine.is_additive:
        return Moments.of_sparse(row_explainer.sparse_values(table))
    return row_explainer.read(table)


def _sum(engine: Engine, content: NDArray[Any] | Moments, n_jobs: int = 1) -> Moments:
    if isinstance(content, Moments):
        return content
    importances = explain_in_parallel(engine, content, no_progress, n_jobs)
    return Moments.of(importances.values, importances.standard_errors)


def _name_refused_value(row_explainer: RowExplainer, first: int, rows: NDArray[Any]) -> None:
    with _renumbering(first):
        row_explainer.name_refused_value(rows)
