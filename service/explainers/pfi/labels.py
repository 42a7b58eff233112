"""True labels, held against the rows that they belong to and the model that predicts them.

Next: :mod:`service.explainers.pfi.expected_columns`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import expect
from service.explainers.pfi.asked_models import AskedClassifier
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
    labels = np.asarray(true_labels)
    return labels[:, 0] if labels.shape[1:] == (1,) else labels


def _as_numbers(labels: NDArray[Any]) -> NDArray[np.float64]:
    try:
        return labels.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"true_labels: expected numbers, for a regression, got {shown(labels.flat[0])}; "
            "of a model that answers classes say model_task='classification'."
        ) from None


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
