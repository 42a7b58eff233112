"""What lies in the files of an explanation: from the explanation, and back.

Local values are blocks ``[class][feature][row]`` of at most 64 MB, the most important feature
first, named by the first rank that they hold: the few features that are shown most are read alone.
Two classes whose values are exact negatives are stored once. Where there are several blocks, the
sum of all that comes after each is beside it, so that reading the first of them says what the
others add up to. Global values are stored as they are, never computed anew.

Next: :mod:`service.explanations.files.reference`.
"""

from __future__ import annotations

import math
import platform
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from service.engines.local_importances import LocalImportances
from service.engines.sparse.importances import SparseImportances, SparseValues
from service.errors import ManifestError, expect
from service.explanations.context import ExplanationContext, unless_none
from service.explanations.files.consistency import (
    check_dense_size,
    check_heading,
    check_layout,
    check_numbers,
    check_outputs,
    check_overall,
    check_table,
    expect_heading,
)
from service.explanations.files.packed_columns import pack_rows, unpack_rows
from service.explanations.files.storage import (
    HEADING,
    NOT_FITTING,
    UNFINISHED,
    Reader,
    Writer,
    read_json,
    to_text,
)
from service.explanations.global_explanation import GlobalExplanation
from service.explanations.global_importances import GlobalImportances, with_output_axis
from service.explanations.local_explanation import LocalExplanation
from service.explanations.top_features import (
    TILE,
    add_ranks,
    cut_context,
    cut_global,
    rank_all,
    tiles,
    top,
)
from service.rows.values import without_numpy

FORMAT = 1
BLOCK = 64 * 2**20  # bytes
# The parts of a context that are tables: in which file, and whether they are data of rows.
TABLES = {
    "row_labels": ("row_ids", False),
    "eval_data": ("evaluation_examples", True),
    "init_data": ("initialization_examples", True),
    "true_labels": ("true_labels", True),
    "eval_y_predicted": ("predictions", True),
    "eval_y_predicted_proba": ("probabilities", True),
    "residuals": ("residuals", False),
    "other": ("other", False),
}
# The arrays of global importances, which are lists in explanation.json.
GLOBAL_ARRAYS = {
    "values": "global_importance_values",
    "per_class": "per_class_values",
    "standard_errors": "global_standard_errors",
    "per_class_standard_errors": "per_class_standard_errors",
    "noise_floor": "noise_floor",
}
SPARSE_FILE = "importances_sparse.npz"
SPARSE_PARTS = ("data", "indices", "indptr", "constants")
LIBRARIES = ("numpy", "pandas", "scikit-learn", "shap")


def write_explanation(explanation: LocalExplanation, writer: Writer, include_data: bool) -> None:
    """Put everything of an explanation into files, ``explanation.json`` last.

    Raises
    ------
    ValueError
        When a value is NaN or infinite, or data have no plain form.
    """
    overall = getattr(explanation, "overall", None)
    described: LocalImportances | GlobalImportances = overall or explanation.importances
    context = explanation.context.settled() if include_data else explanation.context
    heading: dict[str, Any] = {
        "format": FORMAT,
        "kind": "local" if overall is None else "global",
        "id": context.id,
        "method": described.method,
        "output": described.output,
        "features": described.features,
        "classes": described.classes,
        "expected_values": unless_none(_listed, described.expected_values, "expected_values"),
        "n_rows": len(explanation),
        "n_features": len(described.features),
        "task": context.model_task,
        "model_type": context.model_type,
        "class_labels": _plain_labels(context.class_labels),
        "one_row": context.is_one_row,
        "raw": context.is_raw,
        "engineered": context.is_engineered,
        "fidelity": context.fidelity,
        "raw_features": context.raw_features,
        "n_explained": context.n_explained,
        "versions": dict(_versions_here()),
    }
    heading |= unless_none(_list_overall, overall) or {}
    heading["local"] = None
    if explanation.importances is not None:
        heading["local"] = _write_local(explanation, writer)
    heading["tables"] = dict(_write_tables(context, heading, writer, include_data))
    heading["feature_maps"] = unless_none(_write_maps, context.feature_maps, writer)
    heading["has_engineered_part"] = context.engineered is not None
    unless_none(_write_engineered, context.engineered, writer, include_data)
    with _refusing_to_save():
        check_heading(read_json(to_text(heading), HEADING), "explanation")
    writer.write_heading(heading)


@contextmanager
def _refusing_to_save() -> Iterator[None]:
    """Refuse what could not be loaded again.

    Raises
    ------
    ValueError
    """
    try:
        yield
    except ManifestError as error:
        raise ValueError(f"{error} Saved so, it could not be loaded again.") from None


@cache  # looking them up takes longer than the rest of a small explanation
def _versions_here() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def _plain_labels(labels: Sequence[Any] | None) -> list[Any] | None:
    """Return what a classifier predicts, where JSON has it."""
    plain = list(map(without_numpy, [] if labels is None else labels))
    is_plain = bool(plain) and set(map(type, plain)) <= {str, int, float, bool}
    return plain if is_plain else None


def _list_overall(overall: GlobalImportances) -> dict[str, Any]:
    """Return global importances as lists."""
    listed = {}
    for name, stored in GLOBAL_ARRAYS.items():
        listed[stored] = unless_none(_listed, getattr(overall, name), stored)
    return listed


def _write_engineered(engineered: LocalExplanation, writer: Writer, include_data: bool) -> None:
    """Put the explanation of the engineered columns into a folder of its own."""
    nested = Writer(lambda name, content: writer.write(f"engineered/{name}", content))
    write_explanation(engineered, nested, include_data)


def read_explanation(reader: Reader, top_k: int | None = None) -> LocalExplanation:
    """Make an explanation of its files.

    Parameters
    ----------
    reader : Reader
    top_k : int, optional
        Return what :func:`~service.explanations.top_features.top` makes of it; no more blocks are
        read than that takes.

    Raises
    ------
    ArtifactError
        When a file is missing, altered, or of another kind.
    """
    heading, place = reader.heading, reader.place
    if heading.get("kind") == UNFINISHED:
        raise ManifestError(
            f"{place}/{HEADING}: expected a whole explanation, got one whose saving did not come "
            "to its end; save it again with exist_ok=True."
        )
    if heading.get("format") != FORMAT:
        raise ManifestError(
            f"{place}: expected format {FORMAT} of explanations, got "
            f"{heading.get('format')!r}; load it with the version that wrote it."
        )
    check_heading(heading, place)
    read = _read_held(reader, _plan_ranks(heading, top_k, place))
    return read if top_k is None else top(read, top_k)


@dataclass(frozen=True)
class _Ranks:
    """How many of the first ranks are held, and how many are read: whole blocks."""

    n_held: int
    n_read: int


_Rest = list[NDArray[np.float64]]  # values that are read and not held, [class][rank][row]


def _plan_ranks(heading: Mapping[str, Any], top_k: int | None, place: str) -> _Ranks:
    """Say how far to read: to a sum of all that comes after; to the end, where files have none."""
    n_features = heading["n_features"]
    with _naming(f"{place}/{HEADING}", "how importances lie in blocks"):
        described = (heading["local"] or {}).get("values", {})
        sums = described.get("sums", [])
        expect(set(sums) <= set(described.get("firsts", [])), f"sums {sums}", ValueError)
        wanted, ends = min(top_k or n_features, n_features), sorted([*sums, n_features])
        n_read = int(ends[bisect_left(ends, wanted)])
        return _Ranks(wanted if n_read < n_features else n_features, n_read)


def _read_held(reader: Reader, ranks: _Ranks) -> LocalExplanation:
    """Make an explanation of the features of the first ranks, whose blocks alone are read."""
    heading, place = reader.heading, reader.place
    no_local: tuple[Any, _Rest] = (None, [])
    local, rest = unless_none(_read_local, heading["local"], reader, ranks) or no_local
    context = _read_context(reader)
    kept = None
    if ranks.n_held < heading["n_features"]:
        kept = _held(heading, ranks.n_held)
        context = cut_context(context, kept, heading["n_features"])
        context = replace(context, other=_read_sums(reader, ranks.n_read, rest))
    if heading["kind"] == "global":
        overall = _read_overall(heading, place)
        _check_outputs_alike(overall, local, place)
        held = overall if kept is None else cut_global(overall, kept)
        return GlobalExplanation(local, context, held)
    expect_heading(local is not None, place, "local values of a local explanation", None)
    return LocalExplanation(local, context)


def _held(heading: Mapping[str, Any], n_held: int) -> NDArray[np.intp]:
    """Return the features of the first ranks, in column order."""
    return np.sort(np.asarray(heading["local"]["order"][:n_held], dtype=np.intp))


def _read_sums(reader: Reader, n_read: int, rest: _Rest) -> NDArray[np.float64]:
    """Return the sum of the features that are not held.

    Parameters
    ----------
    reader : Reader
    n_read : int
        The sum of all after so many ranks is in a file.
    rest : list of ndarray of shape (n_kept, n, n_rows)
        The values of those before, which were read.
    """
    heading = reader.heading
    described = heading["local"]["values"]
    name = _block_name("others", n_read)
    sums = reader.read_array(name)
    _check_block(sums, (described["n_kept"], heading["n_rows"]), f"{reader.place}/{name}")
    for part in reversed(rest):
        add_ranks(sums, part.transpose(1, 0, 2))
    if described["mirrored"]:
        sums = np.concatenate([sums, 0.0 - sums])
    return sums if heading["local"]["has_class_axis"] else sums[0]


def _read_overall(heading: Mapping[str, Any], place: str) -> GlobalImportances:
    arrays: dict[str, Any] = {}
    for name, stored in GLOBAL_ARRAYS.items():
        arrays[name] = unless_none(check_numbers, heading[stored])
    overall = GlobalImportances(**arrays, **_described(heading), n_rows=heading["n_rows"])
    check_overall(overall, place)
    return overall


def _check_outputs_alike(
    overall: GlobalImportances, local: LocalImportances | None, place: str
) -> None:
    """Check that local and global importances are of as many outputs."""
    if local is not None and overall.per_class is not None:
        n_outputs = len(overall.per_class)
        expect_heading(
            n_outputs == math.prod(local.shape[:-2]), place, "global values", local.shape
        )


def _described(heading: Mapping[str, Any]) -> dict[str, Any]:
    """Return what local and global importances have in common."""
    return {
        "features": heading["features"],
        "method": heading["method"],
        "output": heading["output"],
        "classes": heading["classes"],
        "expected_values": unless_none(check_numbers, heading["expected_values"]),
    }


def _listed(array: NDArray[np.float64], name: str) -> Any:
    """Return an array as lists, whose numbers JSON keeps to the last bit."""
    _check_finite(array, name)
    return np.asarray(array).tolist()


def _check_finite(values: NDArray[Any], name: str) -> None:
    parts = tiles(values if values.ndim == 3 else np.atleast_1d(values)[None])
    if not all(np.isfinite(part).all() for part in parts):
        raise ValueError(
            f"{name}: expected finite numbers to save, got NaN or an infinity; explain rows whose "
            "output the model knows."
        )


def _write_local(explanation: LocalExplanation, writer: Writer) -> dict[str, Any]:
    """Put local values and their errors into blocks, and say how they lie there."""
    importances = explanation.importances
    if isinstance(importances, SparseImportances):
        return _write_sparse(importances, writer)
    _check_finite(importances.values, "importances")
    order = rank_all(explanation)
    errors, other = importances.standard_errors, explanation.context.other
    sums = np.zeros(importances.shape[:-1]) if other is None else other
    blocks = _Blocks(importances.values, "importances", order)
    return {
        "order": order.tolist(),
        "has_class_axis": importances.values.ndim == 3,
        "values": blocks.write_with_sums(writer, np.atleast_2d(sums)),
        "standard_errors": unless_none(_write_errors, errors, order, writer),
    }


def _write_errors(
    errors: NDArray[np.float64], order: NDArray[np.intp], writer: Writer
) -> dict[str, Any]:
    _check_finite(errors, "standard_errors")
    return _Blocks(errors, "standard_errors", order).write(writer)


def _write_sparse(importances: SparseImportances, writer: Writer) -> dict[str, Any]:
    """Put the values of sparse rows as they are: a constant row, and what differs from it."""
    sparse = importances.sparse
    _check_finite(sparse.data, "importances")
    _check_finite(sparse.constants, "importances")
    writer.write_arrays(SPARSE_FILE, {name: getattr(sparse, name) for name in SPARSE_PARTS})
    return {"is_sparse": True, "has_class_axis": importances.has_output_axis}


def _read_sparse(reader: Reader) -> SparseImportances:
    """Return the values of sparse rows, when their cells are in the rows and columns.

    Raises
    ------
    ManifestError
        When they are elsewhere.
    """
    heading = reader.heading
    arrays = reader.read_arrays(SPARSE_FILE)
    has_axis = heading["local"]["has_class_axis"]
    with _naming(f"{reader.place}/{SPARSE_FILE}", "cells of all rows"):
        sparse = SparseValues(*map(arrays.__getitem__, SPARSE_PARTS))
        _check_cells(sparse, (heading["n_rows"], heading["n_features"]))
        expect(has_axis is True or len(sparse.constants) == 1, "outputs without axis", ValueError)
    return SparseImportances(sparse, has_axis, **_described(heading))


def _check_cells(sparse: SparseValues, shape: tuple[int, int]) -> None:
    """Check that every cell is finite, and in a row and column that there is."""
    cells = csr_array((sparse.data[0], sparse.indices, sparse.indptr), shape=shape)
    cells.check_format(full_check=True)
    n_outputs, n_stored = sparse.data.shape
    counts = {n_stored, len(sparse.indices), int(sparse.indptr[-1])}
    expect(len(counts) == 1, f"{n_stored} cells", ValueError)
    expect(sparse.constants.shape == (n_outputs, shape[1]), "constants", ValueError)
    _check_finite(sparse.data, "importances")
    _check_finite(sparse.constants, "importances")


@contextmanager
def _naming(file: str, expected: str) -> Iterator[None]:
    """Name a file and what was expected of it where its content does not fit.

    Raises
    ------
    ManifestError
        Of all that crafted content raises.
    """
    try:
        yield
    except NOT_FITTING as error:
        told = str(error) or type(error).__name__
        raise ManifestError(f"{file}: expected {expected}, got others ({told}).") from error


class _Blocks:
    """Values of rows and features, and classes where there are any, on their way into blocks.

    Parameters
    ----------
    array : ndarray of shape (n_rows, n_features) or (n_classes, n_rows, n_features)
    name : str
        What their files are called.
    order : ndarray of int
        Features by falling importance.
    """

    def __init__(self, array: NDArray[np.float64], name: str, order: NDArray[np.intp]) -> None:
        values = with_output_axis(array)
        self.name, self.order = name, order
        self.mirrored = len(values) == 2 and _are_negatives(values[0], values[1])
        self.kept = values[: len(values) - self.mirrored]
        n_kept, n_rows, n_features = self.kept.shape
        width = max(1, BLOCK // max(1, 8 * n_kept * n_rows))
        self.firsts = list(range(0, n_features, width))

    @property
    def described(self) -> dict[str, Any]:
        """How they lie in blocks."""
        return {"mirrored": self.mirrored, "n_kept": len(self.kept), "firsts": self.firsts}

    def write(self, writer: Writer) -> dict[str, Any]:
        """Write block after block, and say how they lie there."""
        deque(self._written(writer), maxlen=0)
        return self.described

    def write_with_sums(self, writer: Writer, sums: NDArray[np.float64]) -> dict[str, Any]:
        """Write beside each block, but the first, what it and all after it add up to.

        Parameters
        ----------
        writer : Writer
        sums : ndarray of shape (n_classes, n_rows)
            What comes after the last.
        """
        if not self._fit(sums):
            return self.write(writer)
        running = sums[: len(self.kept)].copy()
        for first, block in self._written(writer):
            add_ranks(running, block.transpose(1, 0, 2))
            if first > 0:
                writer.write_array(_block_name("others", first), running)
        return {**self.described, "sums": self.firsts[1:]}

    def _written(self, writer: Writer) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Write block after block, the last first, and give each with the rank it begins at."""
        for first, end in reversed(list(pairwise([*self.firsts, len(self.order)]))):
            block = self._gather(self.order[first:end])
            writer.write_array(_block_name(self.name, first), block)
            yield first, block

    def _fit(self, sums: NDArray[np.float64]) -> bool:
        """Tell whether sums are mirrored where values are, as those are that `top` has made."""
        return not self.mirrored or bool(np.array_equal(0.0 - sums[0], sums[1]))

    def _gather(self, features: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return ``[class][feature][row]``, without a second copy on the way."""
        n_kept, n_rows, _ = self.kept.shape
        block = np.empty((n_kept, len(features), n_rows))
        for of_class, target in zip(self.kept, block, strict=True):
            for first in range(0, n_rows, TILE):
                rows = slice(first, first + TILE)
                target[:, rows] = of_class[rows].T[features]
        return block


def _block_name(name: str, first: int) -> str:
    return f"{name}-{first:05}.npy"


def _are_negatives(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Tell whether two classes mirror each other to the last bit, zeros and their signs too."""
    return all(map(_part_is_negative, tiles(one[None]), tiles(other[None])))


def _part_is_negative(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return (-one).tobytes() == other.tobytes()


def _read_local(
    described: Mapping[str, Any], reader: Reader, ranks: _Ranks
) -> tuple[LocalImportances, _Rest]:
    """Return the local values, with as many names and expected values as they have.

    Beside them stand the values that were read and are not held.
    """
    rest: _Rest = []
    if described.get("is_sparse"):
        importances: LocalImportances = _read_sparse(reader)
    else:
        importances, rest = _read_dense(reader, ranks)
    n_outputs, n_features = math.prod(importances.shape[:-2]), importances.shape[-1]
    check_outputs(importances, n_outputs, n_features, reader.place)
    return importances, rest


def _read_dense(reader: Reader, ranks: _Ranks) -> tuple[LocalImportances, _Rest]:
    described = reader.heading["local"]
    values, rest = _read_blocks(described["values"], reader, "importances", ranks)
    errors, _ = unless_none(
        _read_blocks, described["standard_errors"], reader, "standard_errors", ranks
    ) or (None, None)
    if errors is not None:
        expect_heading(
            errors.shape == values.shape, reader.place, "an error of each value", errors.shape
        )
    known = _described(reader.heading)
    names = known["features"]
    known["features"] = list(map(names.__getitem__, _held(reader.heading, ranks.n_held)))
    return LocalImportances(**known, values=values, standard_errors=errors), rest


def _read_blocks(
    described: Mapping[str, Any], reader: Reader, name: str, ranks: _Ranks
) -> tuple[NDArray[np.float64], _Rest]:
    """Put blocks together to the shape that the explanation had, with the first ranks alone.

    Returned beside it is what blocks hold beyond them, as it lies there.
    """
    heading, n_kept, n_held = reader.heading, described["n_kept"], ranks.n_held
    with _naming(f"{reader.place}/{HEADING}", f"how {name} lie in blocks"):
        check_layout(described, heading["local"], heading["n_features"])
    blocks = _iterate_blocks(described, reader, name, ranks.n_read)
    files = [_block_name(name, first) for first, _ in _spans(described, heading, ranks.n_read)]
    n_there = sum(map(reader.measure, files))
    if n_there < 8 * n_kept * heading["n_rows"] * ranks.n_read:
        deque(blocks, maxlen=0)  # names the one that is too short, before memory is taken for all
    n_outputs = n_kept * (1 + described["mirrored"])
    values = np.empty((n_outputs, heading["n_rows"], n_held))
    place = np.searchsorted(_held(heading, n_held), heading["local"]["order"][:n_held])
    rest = []
    for first, block in blocks:
        _spread(block, values, place[first : first + block.shape[1]])
        if first + block.shape[1] > n_held:
            rest.append(block[:, max(0, n_held - first) :])
    if described["mirrored"]:
        np.negative(values[:n_kept], out=values[n_kept:])
    return values if heading["local"]["has_class_axis"] else values[0], rest


def _spread(block: NDArray[np.float64], values: NDArray[np.float64], place: NDArray[Any]) -> None:
    """Put the features of a block to their places, few rows at a time: the cache holds both."""
    for of_class, target in zip(block, values, strict=False):
        for rows, part in zip(tiles(target[None]), tiles(of_class.T[None]), strict=True):
            rows[:, place] = part[:, : len(place)]


def _iterate_blocks(
    described: Mapping[str, Any], reader: Reader, name: str, n_read: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Read block after block, with the rank that it begins at, up to the ranks that are wanted."""
    heading = reader.heading
    for first, end in _spans(described, heading, n_read):
        block = reader.read_array(_block_name(name, first))
        shape = (described["n_kept"], end - first, heading["n_rows"])
        _check_block(block, shape, f"{reader.place}/{_block_name(name, first)}")
        yield first, block[:, : n_read - first]


def _spans(
    described: Mapping[str, Any], heading: Mapping[str, Any], n_read: int
) -> list[tuple[int, int]]:
    """Return where each block begins and ends that holds any of the first ranks."""
    firsts = described["firsts"]
    return list(pairwise([*firsts, heading["n_features"]]))[: bisect_left(firsts, n_read)]


def _check_block(block: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    if block.shape != shape or block.dtype != np.float64:
        raise ManifestError(
            f"{name}: expected float64 of shape {shape}, got {block.dtype} of shape {block.shape}."
        )
    if not np.isfinite(block).all():
        raise ManifestError(f"{name}: expected finite numbers, got NaN or an infinity.")


def _write_tables(
    context: ExplanationContext, heading: Mapping[str, Any], writer: Writer, include_data: bool
) -> Iterator[tuple[str, Any]]:
    """Put the tables of a context into files; data only where that is wanted."""
    for name, (file, is_data) in TABLES.items():
        table = getattr(context, name)
        if table is None or (is_data and not include_data):
            continue
        with _refusing_to_save(), _naming("explanation", f"the table {name} of the rows explained"):
            check_table(name, table, heading)
        spec, arrays = pack_rows(table)
        yield name, {**spec, **_write_table(file, arrays, writer)}


def _write_table(file: str, arrays: dict[str, NDArray[Any]], writer: Writer) -> dict[str, Any]:
    """Put the arrays of a table into one file, and say which; a range of numbers needs none."""
    if not arrays:
        return {"file": None}
    if len(arrays) > 1:
        writer.write_arrays(f"{file}.npz", arrays)
        return {"file": f"{file}.npz"}
    (key,) = arrays
    writer.write_array(f"{file}.npy", arrays[key])
    return {"file": f"{file}.npy", "array": key}


def _write_maps(feature_maps: Sequence[Any], writer: Writer) -> list[Any]:
    specs = []
    for i, feature_map in enumerate(feature_maps):
        table = feature_map if hasattr(feature_map, "tocsr") else np.asarray(feature_map)
        spec, arrays = pack_rows(table)
        writer.write_arrays(f"feature_map-{i}.npz", arrays)
        specs.append(spec)
    return specs


def _read_context(reader: Reader) -> ExplanationContext:
    heading = reader.heading
    tables = {}
    for name, spec in heading["tables"].items():
        if name in TABLES:
            with _naming(f"{reader.place}/{spec['file'] or HEADING}", f"the table {name}"):
                tables[name] = _read_table(reader, spec)
                check_table(name, tables[name], heading)
    return ExplanationContext(
        id=heading["id"],
        model_task=heading["task"],
        model_type=heading["model_type"],
        class_labels=heading.get("class_labels"),
        is_one_row=heading["one_row"],
        is_raw=heading["raw"],
        is_engineered=heading["engineered"],
        fidelity=heading["fidelity"],
        raw_features=heading["raw_features"],
        n_explained=heading.get("n_explained"),  # which older files have not
        feature_maps=unless_none(_read_maps, heading["feature_maps"], reader),
        engineered=_read_engineered(reader),
        **tables,
    )


def _read_table(reader: Reader, spec: Mapping[str, Any]) -> Any:
    if spec["file"] is None:
        return unpack_rows(dict(spec), {})
    if spec["file"].endswith(".npy"):
        return unpack_rows(dict(spec), {spec["array"]: reader.read_array(spec["file"])})
    return unpack_rows(dict(spec), reader.read_arrays(spec["file"]))


def _read_maps(specs: Sequence[dict[str, Any]], reader: Reader) -> list[Any]:
    maps = []
    for i, spec in enumerate(specs):
        file = f"feature_map-{i}.npz"
        with _naming(f"{reader.place}/{file}", "a feature map"):
            maps.append(unpack_rows(spec, reader.read_arrays(file)))
            _check_map(maps)
    return maps


def _check_map(maps: Sequence[Any]) -> None:
    """Check that the product of the maps so far is small enough to be made dense."""
    check_dense_size(maps[0].shape[0], maps[-1].shape[1])


def _read_engineered(reader: Reader) -> LocalExplanation | None:
    if not reader.heading["has_engineered_part"]:
        return None
    engineered = read_explanation(reader.open_part("engineered"))
    n_rows = reader.heading["n_rows"]
    expect_heading(
        len(engineered) == n_rows, reader.place, f"{n_rows} engineered rows", len(engineered)
    )
    return engineered
