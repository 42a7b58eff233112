"""What lies in the files of an explanation: from the explanation, and back.

Local values are blocks ``[class][feature][row]`` of at most 64 MB, the most important feature
first, named by the first rank that they hold: the few features that are shown most are read alone.
Two classes whose values are exact negatives are stored once. Global values are stored as they are,
never computed anew.

Next: :mod:`service.explanations.files.reference`.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.errors import ManifestError
from service.explanations.context import ExplanationContext
from service.explanations.files.packed_columns import pack_rows, unpack_rows
from service.explanations.files.storage import Reader, Writer
from service.explanations.global_explanation import GlobalExplanation
from service.explanations.global_importances import GlobalImportances, with_output_axis
from service.explanations.local_explanation import LocalExplanation

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
}
# The arrays of global importances, which are lists in explanation.json.
GLOBAL_ARRAYS = {
    "values": "global_importance_values",
    "per_class": "per_class_values",
    "standard_errors": "global_standard_errors",
    "per_class_standard_errors": "per_class_standard_errors",
    "noise_floor": "noise_floor",
}
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
    context = explanation.context
    heading: dict[str, Any] = {
        "format": FORMAT,
        "kind": "local" if overall is None else "global",
        "id": context.id,
        "method": described.method,
        "output": described.output,
        "features": described.features,
        "classes": _plain(described.classes, "classes"),
        "expected_values": _listed(described.expected_values, "expected_values"),
        "n_rows": len(explanation),
        "n_features": len(described.features),
        "task": context.model_task,
        "model_type": context.model_type,
        "one_row": context.is_one_row,
        "raw": context.is_raw,
        "engineered": context.is_engineered,
        "fidelity": _plain(context.fidelity, "fidelity"),
        "raw_features": _plain(context.raw_features, "raw_features"),
        "versions": {"python": platform.python_version(), **{n: version(n) for n in LIBRARIES}},
    }
    if overall is not None:
        for name, stored in GLOBAL_ARRAYS.items():
            heading[stored] = _listed(getattr(overall, name), stored)
    if explanation.importances is not None:
        heading["local"] = _write_local(explanation.importances, overall, writer)
    heading["tables"] = dict(_write_tables(context, writer, include_data))
    heading["feature_maps"] = _write_maps(context.feature_maps, writer)
    heading["has_engineered_part"] = context.engineered is not None
    if context.engineered is not None:
        nested = Writer(lambda name, content: writer.write(f"engineered/{name}", content))
        write_explanation(context.engineered, nested, include_data)
    writer.write_heading(heading)


def read_explanation(reader: Reader) -> LocalExplanation:
    """Make an explanation of its files.

    Raises
    ------
    ArtifactError
        When a file is missing, altered, or of another kind.
    """
    heading = reader.heading
    if heading.get("format") != FORMAT:
        raise ManifestError(
            f"{reader.place}: expected format {FORMAT} of explanations, got "
            f"{heading.get('format')!r}; load it with the version that wrote it."
        )
    context = _read_context(reader)
    local = None if heading.get("local") is None else _read_local(reader)
    if heading["kind"] == "local":
        if local is None:
            raise ManifestError(f"{reader.place}: expected local values of a local explanation.")
        return LocalExplanation(local, context)
    arrays: dict[str, Any] = {
        name: _array(heading[stored]) for name, stored in GLOBAL_ARRAYS.items()
    }
    overall = GlobalImportances(
        **arrays,
        **_described(heading),
        n_rows=heading["n_rows"],
    )
    return GlobalExplanation(local, context, overall)


def _described(heading: Mapping[str, Any]) -> dict[str, Any]:
    """Return what local and global importances have in common."""
    return {
        "features": heading["features"],
        "method": heading["method"],
        "output": heading["output"],
        "classes": heading["classes"],
        "expected_values": _array(heading["expected_values"]),
    }


def _array(values: Any) -> NDArray[np.float64] | None:
    return None if values is None else np.asarray(values, dtype=np.float64)


def _listed(array: NDArray[np.float64] | None, name: str) -> Any:
    """Return an array as lists, whose numbers JSON keeps to the last bit."""
    if array is None:
        return None
    _check_finite(array, name)
    return np.asarray(array).tolist()


def _plain(value: Any, name: str) -> Any:
    """Return names or measures as plain values.

    Raises
    ------
    ValueError
        When one is NaN, or has no plain form.
    """
    if isinstance(value, Mapping):
        return {str(key): _plain_item(item, name) for key, item in value.items()}
    return None if value is None else [_plain_item(item, name) for item in value]


def _plain_item(item: Any, name: str) -> Any:
    item = item.item() if isinstance(item, np.generic) else item
    if item is not None and not isinstance(item, str | int | float | bool):
        raise ValueError(f"{name}: expected texts or numbers, got {type(item).__name__}.")
    if isinstance(item, float):
        _check_finite(np.array(item), name)
    return item


def _check_finite(values: NDArray[Any], name: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name}: expected finite numbers to save, got NaN or an infinity; explain rows whose "
            "output the model knows."
        )


def _write_local(
    importances: LocalImportances, overall: GlobalImportances | None, writer: Writer
) -> dict[str, Any]:
    """Put local values and their errors into blocks, and say how they lie there."""
    values, errors = with_output_axis(importances.values), importances.standard_errors
    _check_finite(values, "importances")
    if overall is None:
        overall = GlobalImportances.of(importances)
    order = np.argsort(-overall.values, kind="stable")
    described: dict[str, Any] = {
        "order": order.tolist(),
        "has_class_axis": importances.values.ndim == 3,
        "values": _write_blocks("importances", values, order, writer),
        "standard_errors": None,
    }
    if errors is not None:
        errors = with_output_axis(errors)
        described["standard_errors"] = _write_blocks("standard_errors", errors, order, writer)
    return described


def _write_blocks(
    name: str, values: NDArray[np.float64], order: NDArray[np.intp], writer: Writer
) -> dict[str, Any]:
    """Put values of shape (n_classes, n_rows, n_features) into blocks of features."""
    _check_finite(values, name)
    n_classes, n_rows, n_features = values.shape
    mirrored = n_classes == 2 and _are_negatives(values[0], values[1])
    same = n_classes == 2 and not mirrored and _are_same(values[0], values[1])
    kept = values[:1] if mirrored or same else values
    width = max(1, BLOCK // max(1, 8 * len(kept) * n_rows))
    firsts = list(range(0, n_features, width))
    for first in firsts:
        block = kept[:, :, order[first : first + width]].transpose(0, 2, 1)
        writer.write_array(_block_name(name, first), np.ascontiguousarray(block))
    return {"mirrored": mirrored, "same": same, "n_kept": len(kept), "firsts": firsts}


def _block_name(name: str, first: int) -> str:
    return f"{name}-{first:05}.npy"


def _are_same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Tell whether all bits are the same, those of a zero's sign too."""
    return all(map(np.array_equal, _bits(one), _bits(other)))


def _are_negatives(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return all(map(_rows_are_negatives, one, other))


def _rows_are_negatives(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return np.array_equal((-one).view(np.int64), np.ascontiguousarray(other).view(np.int64))


def _bits(values: NDArray[np.float64]) -> Iterator[NDArray[np.int64]]:
    for row in values:
        yield np.ascontiguousarray(row).view(np.int64)


def _read_local(reader: Reader) -> LocalImportances:
    described = reader.heading["local"]
    errors = described["standard_errors"]
    return LocalImportances(
        **_described(reader.heading),
        values=_read_blocks(reader, "importances", described["values"]),
        standard_errors=None if errors is None else _read_blocks(reader, "standard_errors", errors),
    )


def _read_blocks(reader: Reader, name: str, described: Mapping[str, Any]) -> NDArray[np.float64]:
    """Put blocks together to the shape that the explanation had."""
    heading = reader.heading
    local, n_rows, n_features = heading["local"], heading["n_rows"], heading["n_features"]
    order, firsts = np.asarray(local["order"], dtype=np.intp), described["firsts"]
    if sorted(order) != list(range(n_features)) or (n_features and firsts[:1] != [0]):
        raise ManifestError(f"{reader.place}: expected blocks of all {n_features} features.")
    n_kept = described["n_kept"]
    values = np.empty((n_kept, n_rows, n_features))
    for first, end in pairwise([*firsts, n_features]):
        held = order[first:end]
        block = reader.read_array(_block_name(name, first))
        _check_block(block, (n_kept, len(held), n_rows), f"{reader.place}/{name}-{first:05}")
        values[:, :, held] = block.transpose(0, 2, 1)
    if described["mirrored"] or described["same"]:
        values = np.concatenate([values, -values if described["mirrored"] else values])
    return values if local["has_class_axis"] else values[0]


def _check_block(block: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    if block.shape != shape or block.dtype != np.float64:
        raise ManifestError(
            f"{name}: expected float64 of shape {shape}, got {block.dtype} of shape {block.shape}."
        )


def _write_tables(
    context: ExplanationContext, writer: Writer, include_data: bool
) -> Iterator[tuple[str, Any]]:
    """Put the tables of a context into files; data only where that is wanted."""
    for name, (file, is_data) in TABLES.items():
        table = getattr(context, name)
        if table is None or (is_data and not include_data):
            continue
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


def _write_maps(feature_maps: Sequence[Any] | None, writer: Writer) -> list[Any] | None:
    if feature_maps is None:
        return None
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
            tables[name] = _read_table(reader, spec)
    return ExplanationContext(
        id=heading["id"],
        model_task=heading["task"],
        model_type=heading["model_type"],
        is_one_row=heading["one_row"],
        is_raw=heading["raw"],
        is_engineered=heading["engineered"],
        fidelity=heading["fidelity"],
        raw_features=heading["raw_features"],
        feature_maps=_read_maps(reader),
        engineered=_read_engineered(reader),
        **tables,
    )


def _read_table(reader: Reader, spec: Mapping[str, Any]) -> Any:
    if spec["file"] is None:
        return unpack_rows(dict(spec), {})
    if spec["file"].endswith(".npy"):
        return unpack_rows(dict(spec), {spec["array"]: reader.read_array(spec["file"])})
    return unpack_rows(dict(spec), reader.read_arrays(spec["file"]))


def _read_maps(reader: Reader) -> list[Any] | None:
    specs = reader.heading["feature_maps"]
    if specs is None:
        return None
    maps = []
    for i, spec in enumerate(specs):
        maps.append(unpack_rows(spec, reader.read_arrays(f"feature_map-{i}.npz")))
    return maps


def _read_engineered(reader: Reader) -> LocalExplanation | None:
    if not reader.heading["has_engineered_part"]:
        return None
    nested = Reader(lambda name: reader.read(f"engineered/{name}"), f"{reader.place}/engineered")
    return read_explanation(nested)
