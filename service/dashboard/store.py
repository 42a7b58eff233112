"""The explanation that is shown: its rows and importances, column by column, out of its files.

Nothing of the size of all rows is read before it is asked for, and what is read are pages of the
files. Next: :mod:`service.dashboard.outcomes`.
"""

from __future__ import annotations

import bisect
import hashlib
import shutil
import weakref
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from service.dashboard.errors import UnavailableError
from service.dashboard.mapped_arrays import MappedArrays
from service.dashboard.values import Values
from service.errors import ManifestError
from service.explanations.context import unless_none
from service.explanations.files import load_explanation, save_explanation
from service.explanations.files.consistency import check_heading, check_layout
from service.explanations.files.content import FORMAT, SPARSE_FILE, SPARSE_PARTS
from service.explanations.files.packed_columns import unpack_column, unpack_rows
from service.explanations.files.storage import HEADING, Reader, altered, opened_to_read
from service.explanations.local_explanation import LocalExplanation

BLOCK_NAME = "{}-{:05}.npy"
NO_ROWS = (
    "The explanation was saved without its rows; save it with include_data=True to see values."
)
NO_LOCAL = (
    "The explanation has global importances only; explain with include_local=True to see rows."
)


class Store:
    """One explanation in its folder.

    Parameters
    ----------
    folder : Path
        What :func:`service.explanations.save_explanation` wrote.
    is_checked : bool, default False
        Whether its files were compared with their digests already.

    Attributes
    ----------
    heading : dict
        ``explanation.json``.
    features : list of str
    n_rows : int

    Raises
    ------
    ArtifactError
        When there is no explanation, or a file was altered.
    """

    def __init__(self, folder: Path, is_checked: bool = False) -> None:
        self.folder = folder
        self._mapped: dict[str, MappedArrays] = {}
        with opened_to_read(folder) as files:
            self.heading: dict[str, Any] = Reader(files, str(folder)).heading
        if self.heading.get("format") != FORMAT:
            raise ManifestError(
                f"{folder}: expected format {FORMAT} of explanations, got "
                f"{self.heading.get('format')!r}; load it with the version that wrote it."
            )
        check_heading(self.heading, str(folder))
        if not is_checked:
            _check_digests(folder, self.heading["files"])
        self.features = list(map(str, self.heading["features"]))
        self.n_rows: int = self.heading["n_rows"]
        self._local: Mapping[str, Any] | None = self.heading["local"]
        if self._local is not None and not self._local.get("is_sparse"):
            check_layout(self._local["values"], self._local, len(self.features))

    @cached_property
    def digest(self) -> str:
        """What changes when anything of the explanation does."""
        told = f"{self.heading['id']}{sorted(self.heading['files'].items())}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @cached_property
    def engineered(self) -> Store | None:
        """The explanation of the engineered columns, where there is one."""
        if not self.heading["has_engineered_part"]:
            return None
        return Store(self.folder / "engineered", is_checked=True)

    @property
    def has_local(self) -> bool:
        """Whether there are importances of rows."""
        return self._local is not None

    @property
    def n_outputs(self) -> int:
        """How many classes or targets the importances are of."""
        if self._local is None:
            return len(self.heading.get("per_class_values") or [None])
        if self._local.get("is_sparse"):
            return len(self._sparse["constants"])
        described = self._local["values"]
        return described["n_kept"] + described["mirrored"]

    @property
    def expected_values(self) -> list[float] | None:
        """The model's mean output, for each output."""
        return unless_none(lambda found: np.atleast_1d(found).tolist(), self.expected)

    @property
    def expected(self) -> Any:
        """The same as it was saved, one number for one output."""
        return self.heading["expected_values"]

    def importances(
        self, position: int, output: int, name: str = "importances"
    ) -> NDArray[np.float64]:
        """Return the importances of a feature for all rows, shape (n_rows,).

        Parameters
        ----------
        position : int
            The feature's.
        output : int
        name : {"importances", "standard_errors"}, default "importances"

        Raises
        ------
        UnavailableError
            When the explanation has global importances only.
        """
        local = self._described_local()
        if local.get("is_sparse"):
            return self._sparse_importances(position, output)
        described = local["values" if name == "importances" else name]
        rank = self._ranks[position]
        first = described["firsts"][bisect.bisect_right(described["firsts"], rank) - 1]
        block = self._map(BLOCK_NAME.format(name, first), "values")["values"]
        if output < described["n_kept"]:
            return block[output, rank - first]
        mirrored: NDArray[np.float64] = -block[0, rank - first]
        return mirrored

    @property
    def is_sampled(self) -> bool:
        """Whether the importances have standard errors."""
        return bool((self._local or {}).get("standard_errors"))

    def _described_local(self) -> Mapping[str, Any]:
        if self._local is None:
            raise UnavailableError(NO_LOCAL)
        return self._local

    @cached_property
    def _ranks(self) -> NDArray[np.intp]:
        order = np.asarray(self._described_local()["order"], dtype=np.intp)
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        return ranks

    @cached_property
    def _sparse(self) -> Mapping[str, NDArray[Any]]:
        arrays = self._map(SPARSE_FILE, "")
        return {name: arrays[name] for name in SPARSE_PARTS}

    @cached_property
    def _places(self) -> csc_array:
        """Where the cells of a feature lie among those that are stored, counted from 1."""
        sparse = self._sparse
        places = np.arange(1, len(sparse["indices"]) + 1)
        shape = (self.n_rows, len(self.features))
        return csr_array((places, sparse["indices"], sparse["indptr"]), shape=shape).tocsc()

    def _sparse_importances(self, position: int, output: int) -> NDArray[np.float64]:
        values = np.full(self.n_rows, self._sparse["constants"][output, position])
        start, end = self._places.indptr[position : position + 2]
        cells = self._places.data[start:end] - 1
        values[self._places.indices[start:end]] = self._sparse["data"][output, cells]
        return values

    @property
    def has_rows(self) -> bool:
        """Whether the values of the rows are there, with a column for each feature."""
        return self._column_of is not None

    def values(self, position: int) -> Values:
        """Return the values of a feature.

        Raises
        ------
        UnavailableError
            When the explanation was saved without its rows.
        """
        if self._column_of is None:
            raise UnavailableError(NO_ROWS)
        return self._column(self._column_of[position])

    def values_of(self, name: str) -> Values | None:
        """Return the values of a column of the rows by its name, None where there is none."""
        found: Values | None = unless_none(self._column, self._columns_by_name.get(name))
        return found

    @cached_property
    def _columns_by_name(self) -> dict[str, int]:
        """The column of the rows of each name, those of the features first."""
        columns = dict(zip(self._names, range(len(self._names)), strict=True))
        return columns | dict(zip(self.features, self._column_of or (), strict=False))

    def table(self, name: str) -> tuple[Mapping[str, Any], Mapping[str, NDArray[Any]]] | None:
        """Return what lies in the file of a table, None where there is none.

        Parameters
        ----------
        name : str
            A key of :data:`service.explanations.files.content.TABLES`.
        """
        spec = self.heading["tables"].get(name)
        if spec is None:
            return None
        if spec["file"] is None:
            return spec, {}
        return spec, self._map(spec["file"], spec.get("array", "values"))

    def _map(self, file: str, name: str) -> MappedArrays:
        """Map a file once."""
        if file not in self._mapped:
            self._mapped[file] = MappedArrays(self.folder / file, name)
        return self._mapped[file]

    @cached_property
    def row_names(self) -> Values | None:
        """What the rows are called; None where by their positions."""
        found = self.table("row_labels")
        if found is None or "range" in found[0]["index"]:
            return None
        labels = unpack_rows(dict(found[0]), dict(found[1]))
        if labels.nlevels > 1:
            labels = pd.Index([", ".join(map(str, label)) for label in labels])
        return Values.of(pd.Series(labels, dtype=labels.dtype))

    def row_name(self, row: int) -> Any:
        """Return what a row is called."""
        if self.row_names is not None:
            return self.row_names.plain([row])[0]
        found = self.table("row_labels")
        if found is None:
            return row
        start, _, step = found[0]["index"]["range"]
        return start + row * step

    @cached_property
    def _frame(self) -> tuple[Callable[[int], Values], list[str]] | None:
        """What returns a column of the rows, and the names of the columns."""
        found = self.table("eval_data")
        if found is None:
            return None
        spec, arrays = found
        if self.heading["one_row"]:
            row = unpack_rows(dict(spec), dict(arrays))
            return _of_one_row(row)
        form = spec["form"]
        if form == "array":
            matrix = arrays["values"].reshape(self.n_rows, -1)
            names = list(map(str, range(matrix.shape[1])))
            return lambda column: Values.of_array(matrix[:, column]), names
        if form == "sparse":
            return _of_sparse(spec, arrays)
        names = list(map(str, _names_of(spec["names"], arrays, len(spec["columns"]))))
        specs = spec["columns"]
        return lambda column: Values.of_packed(specs[column], str(column), arrays), names

    @property
    def _names(self) -> list[str]:
        return [] if self._frame is None else self._frame[1]

    def _column(self, column: int) -> Values:
        assert self._frame is not None
        return self._frame[0](column)

    @cached_property
    def _column_of(self) -> list[int] | None:
        """The column of the rows of each feature: by its name, else by its place."""
        positions = {name: column for column, name in enumerate(self._names)}
        if set(self.features) <= positions.keys():
            return list(map(positions.__getitem__, self.features))
        is_in_place = len(self._names) == len(self.features)
        return list(range(len(self.features))) if is_in_place else None


def _names_of(spec: Mapping[str, Any], arrays: Mapping[str, Any], n_columns: int) -> list[Any]:
    if "range" in spec:
        return list(range(*spec["range"]))
    if len(spec["levels"]) > 1:
        return list(range(n_columns))
    return unpack_column(spec["levels"][0], "names.0", dict(arrays)).tolist()


def _of_one_row(row: Any) -> tuple[Callable[[int], Values], list[str]]:
    cells = row if isinstance(row, pd.Series) else pd.Series(np.ravel(np.asarray(row)).tolist())
    listed = cells.tolist()
    names = list(map(str, cells.index))
    return lambda column: Values.of(pd.Series([listed[column]])), names


def _of_sparse(spec: Any, arrays: Any) -> tuple[Callable[[int], Values], list[str]]:
    parts = (arrays["data"], arrays["indices"], arrays["indptr"])
    columns = csr_array(parts, shape=tuple(spec["shape"])).tocsc()

    def dense(column: int) -> Values:
        return Values.of_array(columns[:, [column]].toarray().ravel())

    return dense, list(map(str, range(spec["shape"][1])))


def _check_digests(folder: Path, files: Mapping[str, Any]) -> None:
    """Compare every file with its digest, a piece at a time."""
    for name, recorded in files.items():
        file = folder / name
        if not file.is_file():
            raise altered(f"{folder}/{name}")
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != recorded["sha256"]:
                raise altered(f"{folder}/{name}")


def open_store(path: str | Path) -> Store:
    """Open an explanation's folder, zip file, or folder of interpret-community's.

    Parameters
    ----------
    path : path

    Returns
    -------
    Store
        Of a copy where the files cannot be mapped.

    Raises
    ------
    ArtifactError
        When there is none, or a file was altered.
    """
    folder = Path(path)
    if (folder / HEADING).is_file():
        return Store(folder)
    return store_of(load_explanation(folder))


def store_of(explanation: LocalExplanation) -> Store:
    """Put an explanation, with its data, into files for as long as it is shown.

    Parameters
    ----------
    explanation : LocalExplanation or GlobalExplanation

    Returns
    -------
    Store
        Its folder is removed with it, and at the end of the process at the latest.
    """
    place = mkdtemp(prefix="dashboard-")
    try:
        folder = save_explanation(explanation, Path(place) / "explanation", include_data=True)
        store = Store(folder, is_checked=True)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    weakref.finalize(store, shutil.rmtree, place, ignore_errors=True)
    return store
