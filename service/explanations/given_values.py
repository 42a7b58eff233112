"""Importances that were computed elsewhere, such as by shap.

Next: :mod:`service.explanations.raw_features`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.engines.options import check_choice, check_different
from service.errors import expect
from service.rows.values import list_names

OURS = ("class", "row", "feature")
OUTPUTS = ("prediction", "probability", "margin")
LAYOUTS = (OURS, ("row", "feature", "class"))  # here and in older shap; in newer shap


def take_values(
    values: Any,
    *,
    features: Sequence[str] | None,
    classes: Sequence[Any] | None,
    expected_values: Any,
    axes: Sequence[str] | None,
    output: str,
) -> LocalImportances:
    """Read importances of another tool.

    Parameters
    ----------
    values : array-like of two or three axes
        Two are rows and features. Three are in an order that fits the counts of classes and
        features.
    features : sequence of str, optional
        By default "0", "1", ….
    classes : sequence, optional
        Names of a classifier's classes.
    expected_values : array-like of shape (n_classes,), or float
    axes : sequence of "class", "row" and "feature", optional
        The order of the axes, where more than one fits.
    output : str
        The scale.

    Raises
    ------
    ValueError
        When the counts do not fit, or the order of the axes cannot be told.
    """
    output = check_choice("output", output, OUTPUTS)
    array = _read_numbers("values", values)
    expected = _read_numbers("expected_values", expected_values)
    names = list_names("classes", classes)
    features = list_names("features", features)
    if array.ndim == 3:
        array = _with_classes_first(array, features, names, expected, axes)
    _check_counts(array, features, names)
    outputs = array.shape[:-2]  # no axis of theirs where there is one
    if expected.size != math.prod(outputs):
        raise ValueError(
            f"expected_values: expected {math.prod(outputs)}, one for each output, got "
            f"{expected.size}."
        )
    return LocalImportances(
        values=np.ascontiguousarray(array),
        expected_values=expected.reshape(outputs),
        features=_names_of(features, array.shape[-1]),
        classes=names,
        method="given",
        output=output,
    )


def _read_numbers(name: str, values: Any) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers, got others ({error}).") from error
    expect(
        bool(np.isfinite(numbers).all()),
        f"{name}: expected finite numbers, got NaN or infinities.",
        ValueError,
    )
    return numbers


def _names_of(features: Sequence[str] | None, n_features: int) -> list[str]:
    return list(map(str, range(n_features) if features is None else features))


def _check_counts(
    array: NDArray[np.float64],
    features: Sequence[str] | None,
    classes: list[Any] | None,
) -> None:
    if array.ndim not in (2, 3):
        raise ValueError(
            "values: expected rows and features, and classes where there are several, got shape "
            f"{array.shape}."
        )
    if features is not None and len(features) != array.shape[-1]:
        raise ValueError(
            f"features: expected {array.shape[-1]} names, as many as the values have, got "
            f"{len(features)}."
        )
    check_different("features", list(map(str, features or ())))
    if classes is not None and array.shape[:-2] != (len(classes),):
        raise ValueError(
            f"classes: expected values with an axis of {len(classes)} classes, got shape "
            f"{array.shape}."
        )


def _with_classes_first(
    array: NDArray[np.float64],
    features: Sequence[str] | None,
    classes: list[Any] | None,
    expected: NDArray[np.float64],
    axes: Sequence[str] | None,
) -> NDArray[np.float64]:
    """Bring three axes into the order that is used here.

    Raises
    ------
    ValueError
        When none or several orders fit, or `axes` is no order.
    """
    n_classes = expected.size if classes is None else len(classes)
    n_features = None if features is None else len(features)
    fits = partial(_fits, array.shape, n_classes, n_features)
    fitting: list[Sequence[str]] = list(filter(fits, LAYOUTS)) if axes is None else [axes]
    if len(fitting) != 1 or sorted(fitting[0]) != sorted(OURS):
        raise ValueError(
            f"values: the order of the axes of shape {array.shape} cannot be told from {n_classes} "
            f"classes and {n_features} features; say it by axes=, such as axes={OURS}."
        )
    return array.transpose([fitting[0].index(axis) for axis in OURS])


def _fits(
    shape: tuple[int, ...], n_classes: int, n_features: int | None, order: Sequence[str]
) -> bool:
    has_classes = shape[order.index("class")] == n_classes
    return has_classes and n_features in (None, shape[order.index("feature")])
