"""Scoring a whole file: the same rows out, with predictions and importances, in bounded memory.

The file is read in chunks. Each scored chunk becomes a file in ``OUTPUT.parts``, under its name
only once it is whole; at the end they are put together and renamed to the output, which is
therefore never half written. What was interrupted goes on where it stopped, unless input, model or
options have changed. Next: :mod:`service.rows`.
"""

from __future__ import annotations

import csv
import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import joblib

from service.engines.progress import no_progress, progress_bar
from service.errors import BatchError, PayloadError
from service.rows.chunks import Table
from service.rows.files import READERS, FileReader
from service.rows.parquet_rows import pyarrow_parquet
from service.scoring.answer import Answer
from service.scoring.answer_tables import flat_columns, nested_columns
from service.scoring.request import ScoringRequest
from service.scoring.scoring_model import ScoringModel
from service.strict_json import strict_json

ROWS_IN_A_CHUNK = 256
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

    Returns
    -------
    int
        The number of rows written.

    Raises
    ------
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
    request = ScoringRequest(explain=explain)
    progress = progress_bar if show_progress else no_progress
    done: list[Path] = []
    n_rows = 0
    with _parts_folder(model, file, output, explain) as parts:
        for number, table in progress(enumerate(_chunks(form, file))):
            part = parts / f"{number:08d}"
            if not part.is_file():
                try:
                    scored = _scored(form, model, table, request)
                except PayloadError as error:
                    reason = _reason(form, model, table, n_rows, error)
                    raise BatchError(f"{file}, {reason}") from error
                _put(form, part, scored, is_first=number == 0)
            done.append(part)
            n_rows += _n_rows(table)
        if not done:
            raise BatchError(f"{file}: expected at least one row, got none.")
        whole = parts / "whole"
        form.join(done, whole)
        whole.replace(output)
        shutil.rmtree(parts)
    return n_rows


def _chunks(form: Format, file: Path) -> Iterator[Table]:
    try:
        yield from form.reader.tables(file, ROWS_IN_A_CHUNK)
    except ValueError as error:  # a PayloadError, or one of Arrow's or of UTF-8's
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


def _reason(
    form: Format, model: ScoringModel, table: Table, start: int, error: PayloadError
) -> str:
    """Say which row of a chunk does not fit, counted from 0 in the file.

    Where each fits by itself, the error of the whole chunk says what is wrong: of a value that the
    model refuses, or of the columns.
    """
    for row in range(_n_rows(table)):
        alone = {name: values[row : row + 1] for name, values in table.items()}
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
    return str(joblib.hash((model.original_model, model.scoring_explainer)))


# CSV


def _write_csv(path: Path, table: Table, is_first: bool) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if is_first:
            writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))


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
