"""Whether a heading and the arrays beside it are of one explanation, before memory is taken.

A digest tells that nothing was changed; this tells that what was written can be true.

Next: :mod:`service.explanations.files.content`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ManifestError, expect
from service.explanations.context import OF_ROWS, count_rows
from service.explanations.files.storage import HEADING
from service.rows.values import shown

LARGEST_COUNT = 2**53  # which every number of JSON keeps
LARGEST_DENSE = 2**30  # bytes of what is stored sparse and cannot stay so
Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST_COUNT


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str | int | float) for name in value)


def _are_numbers(value: Any) -> bool:
    with suppress(ValueError, TypeError, OverflowError):
        check_numbers(value)
        return True
    return False


def _if_any(is_right: Check) -> Check:
    return lambda value: value is None or is_right(value)


# What explanation.json says: how it is to be, and in words.
_EXPECTED: dict[str, tuple[Check, str]] = {
    "kind": (("local", "global").__contains__, '"local" or "global"'),
    **dict.fromkeys(("id", "method", "output", "task", "model_type"), (_is_text, "a text")),
    **dict.fromkeys(("one_row", "raw", "engineered"), (_is_truth, "true or false")),
    "has_engineered_part": (_is_truth, "true or false"),
    "features": (_are_names, "a list of names"),
    "classes": (_if_any(_are_names), "null or a list of names"),
    "expected_values": (_if_any(_are_numbers), "null or numbers"),
    "raw_features": (_if_any(_are_names), "null or a list of names"),
    "n_rows": (_is_count, "a count"),
    "n_features": (_is_count, "a count"),
    "fidelity": (_if_any(_is_object), "null or an object"),
    "local": (_if_any(_is_object), "null or an object"),
    "feature_maps": (_if_any(_is_list), "null or a list"),
    "tables": (_is_object, "an object"),
}


# What explanation.json of an earlier version may lack.
_OPTIONAL: dict[str, tuple[Check, str]] = {
    "class_labels": (_if_any(_are_names), "null or a list of labels"),
}


# What explanation.json says of a global explanation, which a local one has not.
OF_GLOBAL = (
    *("global_importance_values", "per_class_values", "global_standard_errors"),
    *("per_class_standard_errors", "noise_floor"),
)


def check_heading(heading: Mapping[str, Any], place: str) -> None:
    """Check what ``explanation.json`` says by itself.

    Parameters
    ----------
    heading : mapping
    place : str
        What the folder or zip file is called in errors.

    Raises
    ------
    ManifestError
        When an entry is of another kind than is written here.
    """
    for name, (is_right, expected) in _EXPECTED.items():
        expect_heading(is_right(heading[name]), place, f"{name} to be {expected}", heading[name])
    for name, (is_right, expected) in _OPTIONAL.items():
        value = heading.get(name)
        expect_heading(is_right(value), place, f"{name} to be {expected}", value)
    for name in OF_GLOBAL:
        values = heading.get(name)
        expect_heading(values is None or _are_numbers(values), place, f"numbers in {name}", values)
    n_explained = heading.get("n_explained")
    may_be = n_explained is None or _is_count(n_explained)
    expect_heading(may_be, place, "null or a count in n_explained", n_explained)
    n_names = len(heading["features"])
    expect_heading(
        heading["n_features"] == n_names, place, f"{heading['n_features']} features", n_names
    )


def expect_heading(is_right: bool, place: str, expected: str, found: Any) -> None:
    """Raise ManifestError unless something is right."""
    if not is_right:
        raise ManifestError(f"{place}/{HEADING}: expected {expected}, got {shown(found)}.")


def check_outputs(importances: Any, n_outputs: int, n_features: int, place: str) -> None:
    """Check that there are as many names and expected values as columns and outputs.

    Parameters
    ----------
    importances : LocalImportances or GlobalImportances
        Of which names and expected values are looked at.
    n_outputs, n_features : int
        What the arrays have.
    place : str

    Raises
    ------
    ManifestError
        When there are more or fewer.
    """
    n_names, classes = len(importances.features), importances.classes
    expect_heading(n_names == n_features, place, f"names of {n_features} features", n_names)
    if classes is not None:
        expect_heading(
            len(classes) == n_outputs, place, f"names of {n_outputs} classes", len(classes)
        )
    n_expected = n_outputs
    if importances.expected_values is not None:
        n_expected = np.size(importances.expected_values)
    expect_heading(n_expected == n_outputs, place, f"{n_outputs} expected values", n_expected)


def check_overall(overall: Any, place: str) -> None:
    """Check that all global importances are of the same features and outputs.

    Raises
    ------
    ManifestError
        When some are of more or fewer.
    """
    n_features = len(overall.features)
    for name in ("values", "standard_errors", "noise_floor"):
        _check_shape(getattr(overall, name), (n_features,), f"global {name}", place)
    if overall.per_class is None:
        return
    shape = (len(overall.per_class), n_features)
    for name in ("per_class", "per_class_standard_errors"):
        _check_shape(getattr(overall, name), shape, f"global {name}", place)
    check_outputs(overall, shape[0], n_features, place)


def _check_shape(array: NDArray[Any] | None, shape: tuple[int, ...], name: str, place: str) -> None:
    if array is not None:
        expect_heading(array.shape == shape, place, f"{name} of shape {shape}", array.shape)


def check_numbers(values: Any) -> NDArray[np.float64]:
    """Return an array of a list of numbers.

    Raises
    ------
    ValueError
        When there are texts, truth values or gaps in it, or its rows are not of one length.
    """
    array = np.asarray(values)
    is_of_numbers = array.size == 0 or array.dtype.kind in "iuf"
    expect(is_of_numbers, "expected numbers, got others", ValueError)
    return array.astype(np.float64)


def check_dense_size(*shape: int) -> None:
    """Check that an array is not so large that making it dense is meant to take all memory.

    Raises
    ------
    ValueError
        When it is.
    """
    fits = 8 * math.prod(shape) <= LARGEST_DENSE
    expect(fits, f"shape {shape}, too large to be made dense", ValueError)


def check_layout(described: Mapping[str, Any], local: Mapping[str, Any], n_features: int) -> None:
    """Check how blocks lie, and in which order features lie in them.

    Parameters
    ----------
    described : mapping
        The entries of the blocks: ``n_kept``, ``mirrored`` and ``firsts``.
    local : mapping
        The entries of all local values: ``order`` and ``has_class_axis``.
    n_features : int

    Raises
    ------
    ValueError
        When blocks miss a feature, have one twice, or a class would be lost.
    """
    order, bounds = local["order"], [*described["firsts"], n_features]
    n_kept, mirrored, has_axis = described["n_kept"], described["mirrored"], local["has_class_axis"]
    types = set(map(type, (*order, *bounds, n_kept)))
    expect(types == {int}, "features and blocks are not numbered", ValueError)
    expect(sorted(order) == list(range(n_features)), "features are missing", ValueError)
    expect([0, *sorted(set(bounds[1:]) - {0})] == bounds, "blocks are missing", ValueError)
    expect({type(mirrored), type(has_axis)} == {bool}, "classes are not described", ValueError)
    # One class is kept, or as many as are there.
    expect(n_kept == 1 or (n_kept > 1 and has_axis and not mirrored), "classes", ValueError)
    expect(has_axis or not mirrored, "a class without an axis", ValueError)


def check_table(name: str, table: Any, heading: Mapping[str, Any]) -> None:
    """Check that a table has a row for each row explained, where it is of those.

    Raises
    ------
    ValueError
        When it has more or fewer.
    """
    expected, found = heading["n_rows"], heading["n_rows"]
    if name in ("residuals", "other"):
        found = np.shape(table)[-1]
    elif name == "row_labels" or (name in OF_ROWS and not heading["one_row"]):
        found = count_rows(table)
    expect(found == expected, f"{found} rows of {expected}", ValueError)
