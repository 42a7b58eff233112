"""Saving an explanation in an open format, and loading it without executing anything.

Next: :mod:`service.explanations.batches`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.errors import ManifestError
from service.explanations.files.content import read_explanation, write_explanation
from service.explanations.files.reference import METADATA, read_reference
from service.explanations.files.replacing import opened_to_write
from service.explanations.files.storage import (
    HEADING,
    NOT_FITTING,
    Files,
    Reader,
    Writer,
    opened_to_read,
)
from service.explanations.local_explanation import LocalExplanation
from service.explanations.ranks import check_count
from service.explanations.top_features import top


def save_explanation(
    explanation: LocalExplanation,
    path: str | Path,
    exist_ok: bool = False,
    *,
    include_data: bool = False,
) -> Path:
    """Write an explanation into a folder, or into one file that ends in ``.zip``.

    Parameters
    ----------
    explanation : LocalExplanation or GlobalExplanation
    path : path
    exist_ok : bool, default False
        Whether the folder or file may exist already; an explanation in it is then replaced, as a
        whole or, when saving fails, not at all. Nothing else in a folder is touched.
    include_data : bool, default False
        Whether rows, examples, labels and predictions are written too. Importances, names of
        features, classes and rows always are.

    Returns
    -------
    pathlib.Path
        The folder or file.

    Raises
    ------
    TypeError
        When it is no explanation.
    FileExistsError
        When the folder or file exists and `exist_ok` is False, or what would be replaced is no
        explanation.
    NotADirectoryError
        When `path` is a file that does not end in ``.zip``.
    ValueError
        When an importance is NaN or infinite, or the data have no plain form.

    Examples
    --------
    >>> from service.explanations import LocalExplanation, load_explanation
    >>> local = LocalExplanation.from_values([[1.0, -2.0]], expected_values=5.0)
    >>> path = save_explanation(local, "explanation")
    >>> sorted(file.name for file in path.iterdir())
    ['explanation.json', 'importances-00000.npy']
    >>> load_explanation(path).local_importance_values
    [[1.0, -2.0]]
    """
    target = Path(path)
    if not isinstance(explanation, LocalExplanation):
        raise TypeError(
            "save_explanation: expected a LocalExplanation or GlobalExplanation, got "
            f"{type(explanation).__name__}; explain_local and explain_global make them."
        )
    if target.exists() and not exist_ok:
        raise FileExistsError(
            f"save_explanation: expected a new folder or file, but {target} exists; pass "
            "exist_ok=True to replace the explanation in it."
        )
    if target.is_file() and target.suffix != ".zip":
        raise NotADirectoryError(
            f"save_explanation: expected a folder or a name that ends in .zip, but {target} is a "
            "file; name another one."
        )
    with opened_to_write(target, exist_ok) as put:
        write_explanation(explanation, Writer(put), include_data)
    return target


def load_explanation(path: str | Path, *, top_k: int | None = None) -> Any:
    """Load an explanation after comparing every file with its digest.

    Nothing is executed, and nothing is computed anew: every number is the one that was saved, to
    the last bit.

    Parameters
    ----------
    path : path
        A folder or ``.zip`` that :func:`save_explanation` wrote, or a folder of
        interpret-community's own.
    top_k : int, optional
        Return :func:`~service.explanations.top` of it; of a large one only what that takes is
        read.

    Returns
    -------
    LocalExplanation or GlobalExplanation

    Raises
    ------
    ArtifactError
        When nothing is there, or a file is missing or holds objects.
    ManifestError, DigestError
        When ``explanation.json`` is of another kind, or a file was altered or cut.

    Examples
    --------
    >>> from service.explanations import LocalExplanation, save_explanation
    >>> local = LocalExplanation.from_values([[1.0, -2.0]], expected_values=5.0)
    >>> load_explanation(save_explanation(local, "explanation.zip")).expected_values
    5.0
    """
    source = Path(path)
    if top_k is not None:
        check_count(top_k)
    with opened_to_read(source) as files:
        if source.is_dir() and (source / METADATA).is_file() and not (source / HEADING).is_file():
            with _naming_what_fits_not(str(source)):
                read = read_reference(files.get, str(source))
            return read if top_k is None else top(read, top_k)
        return read_files(files, str(source), top_k)


def read_files(files: Files, place: str, top_k: int | None = None) -> Any:
    """Make an explanation of files that are got by name, wherever they lie.

    Parameters
    ----------
    files : Files
    place : str
        What they are called in errors.
    top_k : int, optional
        As in :func:`load_explanation`.

    Raises
    ------
    ArtifactError
        As :func:`load_explanation` does.
    """
    with _naming_what_fits_not(place):
        return read_explanation(Reader(files, place), top_k)


@contextmanager
def _naming_what_fits_not(place: str) -> Iterator[None]:
    try:
        yield
    except NOT_FITTING as error:
        raise ManifestError(
            f"{place}: expected an explanation, got files that do not fit each other "
            f"({type(error).__name__}: {error})."
        ) from error
