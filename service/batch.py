"""Scoring a whole file: the same rows out, with predictions and importances, in bounded memory.

The file is read in chunks. Each scored chunk becomes a file in ``OUTPUT.parts``, under its name
only once it is whole; at the end they are put together and renamed to the output, which is
therefore never half written. What was interrupted goes on where it stopped, unless input, model or
options have changed. Where rows take long, chunks are scored in threads, one for each processor;
not so those of a model that may not be made for threads, unless their number is given.
Next: :mod:`service.rows`.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

import numpy as np
from joblib.hashing import NumpyHasher

from service.container_limits import cpu_count
from service.engines.called.foreign_code import takes_threads
from service.engines.progress import no_progress, progress_bar
from service.errors import BatchError, PayloadError, expect
from service.rows.chunks import Table
from service.rows.csv_rows import write_csv_lines
from service.rows.files import READERS, FileReader
from service.rows.parquet_rows import pyarrow_parquet
from service.scoring.answer import Answer
from service.scoring.answer_tables import flat_columns, nested_columns
from service.scoring.request import ScoringRequest
from service.scoring.scoring_model import ScoringModel
from service.strict_json import strict_json
from service.threads import map_in_threads

ROWS_IN_A_CHUNK = 256
LONG = 0.0004  # seconds for a row: reading and writing it take half of that at most
_ROW = re.compile(r", row (\d+):")  # in a message about a value
ABOUT = "about.json"  # what the finished parts are of; held by the run that adds to them


@dataclass(frozen=True)
class Format:
    """How one kind of file is read, written and put together.

    Attributes
    ----------
    reader : FileReader
    columns_of : callable
        What was scored, as columns that can be written.
    write : callable
        Path, table and whether it is the first.
    join : callable
        Files in order to one file.
    """

    reader: FileReader
    columns_of: Callable[[Answer], dict[str, Sequence[Any]]]
    write: Callable[[Path, Table, bool], None]
    join: Callable[[Sequence[Path], Path], None]


def score_file(
    model: ScoringModel,
    file: Path,
    output: Path,
    *,
    explain: bool = True,
    show_progress: bool = False,
    threads: int | None = None,
) -> int:
    """Score the rows of a file.

    Parameters
    ----------
    model : ScoringModel
    file : Path
        ``.csv`` (with a header), ``.parquet`` or ``.jsonl``; columns that the model does not know
        are kept.
    output : Path
        Of the same kind. CSV and Parquet get a column ``prediction`` and one
        ``importance:<feature>`` for each feature, of a classifier ``importance:<class>:<feature>``;
        JSON lines get ``prediction`` and ``local_importance_values``, ``[class][feature]`` or
        ``[feature]``.
    explain : bool, default True
        Whether importances are computed.
    show_progress : bool, default False
    threads : int, optional
        How many chunks are scored at once where rows take long; by default as many as this process
        may use processors, and one where model or explainer call anything but libraries that are
        made for threads (:mod:`service.engines.called.foreign_code`). The numbers are the same.
        What is at work when the program is interrupted is finished first.

    Returns
    -------
    int
        The number of rows written.

    Raises
    ------
    ValueError
        When `threads` is no positive number.
    BatchError
        When the kind of file is not known, a row does not fit the model, or another run writes the
        same output; what was scored before is kept.
    MissingPackageError
        When the file is Parquet and pyarrow is not installed.
    OSError
        When a file cannot be read or written.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from service.explainers import TabularExplainer
    >>> from service.scoring import KernelScoringExplainer
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> fitted = Ridge().fit(X, y)
    >>> model = ScoringModel(fitted, KernelScoringExplainer(TabularExplainer(fitted, X)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     X[:3].to_csv(Path(folder) / "rows.csv", index=False)
    ...     score_file(model, Path(folder) / "rows.csv", Path(folder) / "scored.csv")
    3
    """
    form = _format(file, output)
    progress = progress_bar if show_progress else no_progress
    n_threads = _choose_threads(model) if threads is None else threads
    expect(n_threads > 0, f"threads: expected a positive number, got {threads}.", ValueError)
    done: list[Path] = []
    n_rows = 0
    with _parts_folder(model, file, output, explain) as parts:
        finish = partial(_finish, form, model, ScoringRequest(explain=explain))
        chunks = _numbered(parts, file, _chunks(form, file))
        for part, n_more in progress(_finished(finish, chunks, n_threads)):
            done.append(part)
            n_rows += n_more
        if not done:
            raise BatchError(f"{file}: expected at least one row, got none.")
        whole = parts / "whole"
        form.join(done, whole)
        whole.replace(output)
        shutil.rmtree(parts)
    return n_rows


def _choose_threads(model: ScoringModel) -> int:
    may_share = model.takes_threads and takes_threads(model.original_model)
    return cpu_count() if may_share else 1


@dataclass(frozen=True)
class _Chunk:
    """Some rows of the file, those from `start` on, and where they go when they are scored."""

    file: Path
    part: Path
    start: int
    table: Table


def _numbered(parts: Path, file: Path, tables: Iterable[Table]) -> Iterator[_Chunk]:
    start = 0
    for number, table in enumerate(tables):
        yield _Chunk(file, parts / f"{number:08d}", start, table)
        start += _n_rows(table)


def _finished(
    finish: Callable[[_Chunk], tuple[Path, int]], chunks: Iterator[_Chunk], n_threads: int
) -> Iterator[tuple[Path, int]]:
    """Finish chunks in their order, in threads as soon as rows turn out to take long.

    Threads would stand in each other's way where rows are quick: reading and writing them is work
    of the interpreter, which does it for one thread at a time.
    """
    for chunk in chunks:
        began = perf_counter()
        yield finish(chunk)
        if n_threads > 1 and perf_counter() - began > LONG * _n_rows(chunk.table):
            break
    yield from map_in_threads(finish, chunks, n_threads)


def _finish(
    form: Format, model: ScoringModel, request: ScoringRequest, chunk: _Chunk
) -> tuple[Path, int]:
    """Score a chunk, unless that was done before; return where it lies and how many rows it has."""
    if not chunk.part.is_file():
        try:
            scored = _scored(form, model, chunk.table, request)
        except PayloadError as error:
            reason = _reason(form, model, chunk, error)
            raise BatchError(f"{chunk.file}, {reason}") from error
        _put(form, chunk.part, scored, is_first=chunk.start == 0)
    return chunk.part, _n_rows(chunk.table)


def _chunks(form: Format, file: Path) -> Iterator[Table]:
    try:
        yield from form.reader.tables(file, ROWS_IN_A_CHUNK)
    except ValueError as error:  # a PayloadError, or one of Arrow's
        raise BatchError(f"{file}: {error}") from error


def _scored(form: Format, model: ScoringModel, table: Table, request: ScoringRequest) -> Table:
    rows = form.reader.matrix(table, model.schema)
    columns = form.columns_of(model.predict_and_explain(rows, request))
    for name in columns:
        if name in table:
            raise PayloadError(
                f"Expected no column {name!r}, which is the name of a new one; rename it."
            )
    return {**table, **columns}


def _reason(form: Format, model: ScoringModel, chunk: _Chunk, error: PayloadError) -> str:
    """Say which row of a chunk does not fit, counted from 0 in the file.

    Where each fits by itself, the error of the whole chunk says what is wrong: of a value that the
    model refuses, or of the columns.
    """
    start = chunk.start
    for row in range(_n_rows(chunk.table)):
        alone = {name: values[row : row + 1] for name, values in chunk.table.items()}
        try:
            form.reader.matrix(alone, model.schema)
        except PayloadError as refusal:
            return f"row {start + row}: {str(refusal).replace(', row 0:', ':', 1)}"
    return _ROW.sub(lambda found: f", row {start + int(found[1])}:", str(error), count=1)


def _put(form: Format, part: Path, table: Table, is_first: bool) -> None:
    """Write a part under its name only when it is whole."""
    temporary = part.with_suffix(".writing")
    form.write(temporary, table, is_first)
    temporary.replace(part)


def _n_rows(table: Table) -> int:
    return len(next(iter(table.values()), ()))


def _format(file: Path, output: Path) -> Format:
    kind = file.suffix.lower()
    if kind not in _FORMATS or output.suffix.lower() != kind:
        raise BatchError(
            f"{file.name}, {output.name}: expected two files of one kind, {', '.join(_FORMATS)}; "
            "convert or rename."
        )
    if file.resolve() == output.resolve():
        raise BatchError(f"{output}: expected another file than the input.")
    return _FORMATS[kind]


@contextmanager
def _parts_folder(model: ScoringModel, file: Path, output: Path, explain: bool) -> Iterator[Path]:
    """Hold the folder of finished parts, those of the same input, model and options alone."""
    status = file.stat()
    about = json.dumps(
        [status.st_size, status.st_mtime_ns, explain, ROWS_IN_A_CHUNK, _fingerprint(model)]
    )
    folder = output.with_name(f"{output.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ABOUT).open("a+", encoding="utf-8") as marker:
        _lock(marker, output)
        marker.seek(0)
        if marker.read() != about:
            _empty(folder)
            marker.truncate(0)
            marker.write(about)
            marker.flush()
        yield folder


def _empty(folder: Path) -> None:
    for path in {*folder.iterdir()} - {folder / ABOUT}:
        path.unlink()


def _lock(marker: TextIO, output: Path) -> None:
    """Keep other runs from the same files until the marker is closed or this process ends."""
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BatchError(
            f"{output}: another run is writing it; wait for that, or name another output."
        ) from None


def _fingerprint(model: ScoringModel) -> str:
    return str(_Hasher("md5").hash((model.original_model, model.scoring_explainer)))


class _Hasher(NumpyHasher):  # type: ignore[misc]
    """What ``joblib.hash`` does, for masked arrays too: every search keeps some in its results."""

    def save(self, obj: Any) -> None:
        if isinstance(obj, np.ma.MaskedArray):
            obj = (obj.data, np.ma.getmaskarray(obj))
        super().save(obj)


# CSV


def _write_csv(path: Path, table: Table, is_first: bool) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        header = [list(table)] * is_first
        write_csv_lines(stream, chain(header, zip(*table.values(), strict=True)))


# JSON lines


def _write_json(path: Path, table: Table, is_first: bool) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for values in zip(*table.values(), strict=True):
            stream.write(strict_json(dict(zip(table, values, strict=True))) + "\n")


def _join_text(parts: Sequence[Path], whole: Path) -> None:
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target)


# Parquet


def _write_parquet(path: Path, table: Table, is_first: bool) -> None:
    import pyarrow

    pyarrow_parquet().write_table(pyarrow.table(dict(table)), path)


def _join_parquet(parts: Sequence[Path], whole: Path) -> None:
    import pyarrow

    parquet = pyarrow_parquet()
    schemas = list(map(parquet.read_schema, parts))
    schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
    with parquet.ParquetWriter(whole, schema) as writer:
        for part in parts:
            writer.write_table(parquet.read_table(part).cast(schema))


_FORMATS = {
    ".csv": Format(READERS[".csv"], flat_columns, _write_csv, _join_text),
    ".jsonl": Format(READERS[".jsonl"], nested_columns, _write_json, _join_text),
    ".parquet": Format(READERS[".parquet"], flat_columns, _write_parquet, _join_parquet),
}
