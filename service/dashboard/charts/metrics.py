"""What a table of true and predicted classes, and what the errors of a regression, come to.

The numbers are scikit-learn's, out of a table of counts: intervals draw hundreds of such tables.
Next: :mod:`service.dashboard.charts.curves`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from service.dashboard.charts.intervals import (
    Metric,
    mean,
    median,
    of_counts,
    of_rows,
    root_mean_square,
    share,
)

Counts = NDArray[np.int64]


def count_classes(true: NDArray[Any], predicted: NDArray[Any], n_classes: int) -> Counts:
    """Count rows by their true and their predicted class, shape (n_classes, n_classes)."""
    cells = true.astype(np.int64) * n_classes + predicted
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def score_classes(tables: NDArray[Any]) -> NDArray[np.float64]:
    """Return precision, recall and F1 of each class of some tables; NaN where nothing is divided.

    Parameters
    ----------
    tables : ndarray of shape (..., n_classes, n_classes)
        Counts by true and predicted class.

    Returns
    -------
    ndarray of shape (3, ..., n_classes)

    Examples
    --------
    >>> score_classes(np.array([[3, 1], [0, 2]]))[2].round(3).tolist()
    [0.857, 0.8]
    """
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    n_true, n_predicted = tables.sum(axis=-1), tables.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        return np.stack([hits / n_predicted, hits / n_true, 2 * hits / (n_true + n_predicted)])


def _average(place: int, is_weighted: bool, tables: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean of a score over classes, as scikit-learn has it: what is undefined is 0."""
    scores = np.nan_to_num(score_classes(tables)[place])
    if not is_weighted:
        return scores.mean(axis=-1)
    n_true = tables.sum(axis=-1)
    weighted: NDArray[np.float64] = (scores * n_true).sum(axis=-1) / n_true.sum(axis=-1)
    return weighted


def _f1(position: int, tables: NDArray[Any]) -> NDArray[np.float64]:
    return score_classes(tables)[2][..., position]


def measure_binary(counts: Counts, positive: int) -> dict[str, Metric]:
    """Return the metrics of a binary classifier.

    Parameters
    ----------
    counts : ndarray of shape (2, 2)
        By true and predicted class.
    positive : int
    """
    negative = 1 - positive
    hits, misses = counts[positive, positive], counts[positive, negative]
    alarms, rejections = counts[negative, positive], counts[negative, negative]
    n = counts.sum()
    return {
        "accuracy": share(hits + rejections, n),
        "precision": share(hits, hits + alarms),
        "recall": share(hits, hits + misses),
        "f1": of_counts(counts, partial(_f1, positive)),
        "fpr": share(alarms, alarms + rejections),
        "fnr": share(misses, hits + misses),
        "selection_rate": share(hits + alarms, n),
    }


def measure_multiclass(counts: Counts) -> dict[str, Metric]:
    """Return the metrics of a classifier of several classes, of the classes that there are."""
    measured = {"accuracy": share(int(np.trace(counts)), counts.sum())}
    present = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    table = counts[np.ix_(present, present)]
    for average in ("macro", "weighted"):
        for place, name in enumerate(("precision", "recall", "f1")):
            measure = partial(_average, place, average == "weighted")
            measured[f"{average}_{name}"] = of_counts(table, measure)
    return measured


def measure_classes(counts: Counts, classes: list[str]) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each class."""
    measured = []
    for name, n_true, scores in zip(
        classes, counts.sum(axis=1), score_classes(counts).T, strict=True
    ):
        told = dict(zip(("precision", "recall", "f1"), scores.tolist(), strict=True))
        measured.append({"class": name, "n": int(n_true), **told})
    return measured


def measure_probabilities(
    probabilities: NDArray[np.float64], true: NDArray[Any], positive: int | None
) -> dict[str, Metric]:
    """Return the log loss, and for a binary task the Brier score.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)
    true : ndarray of int, shape (n,)
    positive : int or None
    """
    smallest = np.finfo(np.float64).eps
    of_true = probabilities[np.arange(len(true)), true].astype(np.float64)
    measured = {"log_loss": mean(-np.log(np.clip(of_true, smallest, 1 - smallest)))}
    if positive is not None:
        apart = probabilities[:, positive] - (true == positive)
        measured["brier"] = mean(apart * apart)
    return measured


def measure_regression(
    true: NDArray[np.float64], predicted: NDArray[np.float64]
) -> dict[str, Metric]:
    """Return the metrics of a regression."""
    error = predicted - true
    return {
        "mae": mean(np.abs(error)),
        "rmse": root_mean_square(error),
        "r2": of_rows(len(true), partial(_explained, true, predicted)),
        "median_ae": median(np.abs(error)),
        "mean_prediction": mean(predicted),
        "mean_error": mean(error),
    }


def _explained(true: Any, predicted: Any, rows: NDArray[np.intp] | None) -> float:
    if rows is not None:
        true, predicted = true[rows], predicted[rows]
    if len(true) < 2:
        return math.nan
    return float(r2_score(true, predicted))
