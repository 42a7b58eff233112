"""True labels and weights, held against their rows and the model that predicts them.

Next: :mod:`service.explainers.pfi.expected_columns`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import expect
from service.explainers.pfi.asked_models import AskedClassifier
from service.explainers.pfi.metrics import ask_for_labels
from service.rows.tables import as_table
from service.rows.values import shown

_HINTS = {False: "", True: "; classes= names what a function predicts"}


def read_labels(true_labels: Any, n_rows: int) -> NDArray[Any]:
    """Return labels as an array, one for each row.

    Parameters
    ----------
    true_labels : array-like of shape (n_rows,) or (n_rows, n_targets)
    n_rows : int

    Raises
    ------
    TypeError
        When there are none.
    ValueError
        When they are of another length, or some are missing.
    """
    if true_labels is None:
        raise TypeError(
            "PFI explainer requires true_labels: expected what the rows are labelled with, "
            "explain_global(rows, true_labels), got none."
        )
    labels = _as_array(true_labels)
    expect(
        labels.shape[:1] == (n_rows,),
        f"true_labels: expected one for each of {n_rows} rows, got shape {labels.shape}.",
        ValueError,
    )
    missing = np.flatnonzero(pd.isna(labels).reshape(n_rows, -1).any(axis=1))
    if len(missing):
        raise ValueError(
            f"true_labels: expected one for each row, but {len(missing)} are missing, the first in "
            f"row {missing[0]}; leave these rows out."
        )
    return labels


def labels_for(model: Any, task: str, labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels as those of what a model predicts.

    Parameters
    ----------
    model : object
        What it predicts is asked of its ``classes_``.
    task : {"classification", "regression"}
    labels : ndarray of shape (n_rows,) or (n_rows, n_targets)

    Raises
    ------
    ValueError
        When the model never predicts one.
    """
    if task == "regression":
        return _as_numbers(labels)
    _check_known(labels, model)
    return labels


def _as_array(true_labels: Any) -> NDArray[Any]:
    if isinstance(true_labels, pd.Series | pd.DataFrame | pd.Categorical):
        true_labels = true_labels.to_numpy()
    try:
        labels = np.asarray(as_table(true_labels))
    except ValueError:
        raise ValueError(
            "true_labels: expected one for each row, got lists of different lengths."
        ) from None
    return as_plain(labels)


def as_plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels, of one target with one axis; objects that are all numbers as numbers."""
    labels = labels[:, 0] if labels.shape[1:] == (1,) else labels
    if labels.dtype != object or labels.ndim != 1:
        return labels
    return pd.Series(labels).infer_objects().to_numpy()


def check_shape(labels: NDArray[Any], model: Any, rows: Any) -> None:
    """Refuse labels of another shape than what a model predicts for their rows.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,) or (n_rows, n_targets)
    model : object
    rows : table of shape (n_rows, n_features)

    Raises
    ------
    ModelOutputError
        When the model does not take the rows.
    ValueError
        Saying both shapes.
    """
    expected = as_plain(np.asarray(ask_for_labels(model, rows))).shape
    classes: Any = getattr(model, "classes_", None)
    is_one_hot = len(expected) == 1 and labels.shape[1:] == np.shape(classes)
    hint = "; of a column for each class take classes[columns.argmax(axis=1)]" * is_one_hot
    expect(
        labels.shape == expected,
        f"true_labels: expected shape {expected}, as the model's predictions, got shape "
        f"{labels.shape}{hint}.",
        ValueError,
    )


def read_weights(sample_weight: Any, n_rows: int) -> dict[str, Any]:
    """Return weights of the rows as metrics take them; nothing where there are none.

    Raises
    ------
    ValueError
        When they are not as many numbers as rows, one is negative or missing, or all are 0.
    """
    if sample_weight is None:
        return {}
    expected = f"sample_weight: expected a number of at least 0 for each of {n_rows} rows"
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected}, got something else: {error}.") from None
    expect(weights.shape == (n_rows,), f"{expected}, got shape {weights.shape}.", ValueError)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(f"{expected}, got {weights[wrong[0]]} in row {wrong[0]}.")
    expect(bool(weights.any()), f"{expected}, not all 0, got zeros alone.", ValueError)
    return {"sample_weight": weights}


def _as_numbers(labels: NDArray[Any]) -> NDArray[np.float64]:
    try:
        expect(labels.dtype.kind not in "cmM", "no numbers", ValueError)
        numbers = labels.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"true_labels: expected numbers, for a regression, got {shown(labels.flat[0])}; "
            "of a model that answers classes say model_task='classification'."
        ) from None
    infinite = np.flatnonzero(np.isinf(numbers).reshape(len(numbers), -1).any(axis=1))
    if len(infinite):
        raise ValueError(
            f"true_labels: expected finite numbers, got an infinite one in row {infinite[0]}."
        )
    return numbers


def _check_known(labels: NDArray[Any], model: Any) -> None:
    """Refuse labels that the model never predicts; several targets are left to the metric."""
    classes: Any = getattr(model, "classes_", None)
    if np.ndim(labels) != 1 or not isinstance(classes, np.ndarray):
        return
    is_known = pd.Series(labels).isin(classes.tolist()).to_numpy()
    if not is_known.all():
        raise ValueError(
            f"true_labels: expected what the model predicts, {_listed(classes)}, got "
            f"{shown(labels[~is_known].tolist()[0])}{_HINTS[isinstance(model, AskedClassifier)]}."
        )


def _listed(classes: NDArray[Any]) -> str:
    few = ", ".join(map(shown, classes[:5].tolist()))
    return few if len(classes) <= 5 else f"{few} and {len(classes) - 5} more"
