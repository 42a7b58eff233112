"""How well the model does for each cohort, and for each part of it.

Next: :mod:`service.dashboard.charts.importance`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.charts.binning import cut
from service.dashboard.charts.curves import Curves
from service.dashboard.charts.intervals import Metric, mean, share
from service.dashboard.charts.metrics import (
    count_classes,
    measure_binary,
    measure_classes,
    measure_multiclass,
    measure_probabilities,
    measure_regression,
)
from service.dashboard.cohorts import digest_of
from service.dashboard.columns import Column
from service.dashboard.dashboard import Dashboard
from service.dashboard.questions import Question
from service.dashboard.values import Values

N_BINS = 20
N_RESIDUAL_BINS = 10
NOTHING: dict[str, Any] = dict.fromkeys(
    ("confusion", "per_class", "roc", "pr", "calibration", "histogram", "residuals")
)


@dataclass(frozen=True)
class _Asked:
    """What a question asks for."""

    position: int
    threshold: float | None


def measure_performance(dashboard: Dashboard, question: Question) -> dict[str, Any]:
    """Answer ``api/performance``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question

    Returns
    -------
    dict
        As in docs/dashboard-api.md.
    """
    outcomes = dashboard.outcomes
    part = question.part("threshold")
    asked = _Asked(dashboard.output(question), None if part.is_absent else part.number())
    groups = []
    for number, bin_, rows in _cut_cohorts(dashboard, question):
        told = _measure(dashboard, asked, rows)
        groups.append({"cohort": number, "bin": bin_, "n": len(rows), **told})
    return {
        "task": outcomes.task,
        "labels": outcomes.has_labels,
        "class": asked.position,
        "threshold": asked.threshold,
        "groups": groups,
    }


def _cut_cohorts(
    dashboard: Dashboard, question: Question
) -> Iterator[tuple[int, Any, NDArray[np.intp]]]:
    """Yield the number of each cohort, a bin of it or None, and the rows."""
    split = question.part("split")
    for number, cohort in enumerate(dashboard.cohorts.read_all(question)):
        rows = cohort.rows
        if split.is_absent:
            yield number, None, rows
            continue
        col = split.part("col")
        column = dashboard.columns.find(col.text(), col.pointer)
        n_bins = split.part("bins").count(4, 1, 40)
        bins = cut(column, rows, n_bins, equal_counts=True)
        for place in [*range(len(bins)), *[-1] * bool(bins.n_missing())]:
            yield number, bins.describe(place), rows[bins.codes == place]


def _measure(dashboard: Dashboard, asked: _Asked, rows: NDArray[np.intp]) -> dict[str, Any]:
    if dashboard.outcomes.classes is None:
        return _measure_numbers(dashboard, asked, rows)
    if not dashboard.outcomes.has_labels:
        return _measure_unlabelled(dashboard, asked, rows)
    return _measure_classes(dashboard, asked, rows)


def _measure_classes(dashboard: Dashboard, asked: _Asked, rows: NDArray[np.intp]) -> dict[str, Any]:
    outcomes = dashboard.outcomes
    true = outcomes.codes("true")[rows]
    predicted = _predict(dashboard, asked, rows)
    is_known = (true >= 0) & (predicted >= 0)
    rows, true, predicted = rows[is_known], true[is_known], predicted[is_known]
    classes = outcomes.class_names
    counts = count_classes(true, predicted, len(classes))
    positive = outcomes.positive
    metrics = measure_multiclass(counts) if positive is None else measure_binary(counts, positive)
    told: dict[str, Any] = {
        **NOTHING,
        "metrics": metrics,
        "confusion": {"classes": classes, "counts": counts.tolist()},
        "per_class": measure_classes(counts, classes),
    }
    if outcomes.probabilities is not None:
        key = ("curves", asked.position, digest_of(rows))
        curves = partial(_measure_curves, dashboard, asked.position, rows, true)
        drawn, of_probabilities = dashboard.remember(key, curves)  # whatever the threshold
        told |= drawn
        metrics |= of_probabilities
    return told


def _predict(dashboard: Dashboard, asked: _Asked, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return predicted classes: the model's, or those at a threshold."""
    outcomes = dashboard.outcomes
    positive = outcomes.positive
    if asked.threshold is None or positive is None:
        return outcomes.codes("predicted")[rows]
    is_positive = outcomes.probability(positive)[rows] >= asked.threshold
    return np.where(is_positive, positive, 1 - positive)


def _measure_curves(
    dashboard: Dashboard, position: int, rows: NDArray[np.intp], true: NDArray[Any]
) -> tuple[dict[str, Any], dict[str, Metric]]:
    """Return the curves and the histogram of a class, and the metrics of probabilities."""
    outcomes = dashboard.outcomes
    assert outcomes.probabilities is not None
    probabilities = outcomes.probabilities[rows]
    is_known = np.isfinite(probabilities).all(axis=1)
    probabilities, true = probabilities[is_known], true[is_known]
    probability, classes = probabilities[:, position], outcomes.class_names
    curves = Curves(true == position, probability)
    edges = np.linspace(0, 1, N_BINS + 1)
    others = classes[1 - position] if len(classes) == 2 else f"not {classes[position]}"
    series = []
    for name, among in ((classes[position], true == position), (others, true != position)):
        counts = np.histogram(probability[among], edges)[0].tolist()
        series.append({"name": name, "counts": counts})
    drawn = {
        **curves.draw(),
        "calibration": curves.calibrate(),
        "histogram": {"edges": edges.tolist(), "series": series},
    }
    metrics = measure_probabilities(probabilities, true, outcomes.positive)
    if outcomes.positive is not None:
        metrics = {"roc_auc": curves.area, **metrics}  # the same for both classes
    return drawn, metrics


def _measure_unlabelled(
    dashboard: Dashboard, asked: _Asked, rows: NDArray[np.intp]
) -> dict[str, Any]:
    """Return what is predicted, where nobody knows what is true."""
    outcomes = dashboard.outcomes
    told: dict[str, Any] = {**NOTHING, "metrics": {}}
    if outcomes.has_predictions:
        predicted = _predict(dashboard, asked, rows)
        n_selected = int((predicted == asked.position).sum())
        told["metrics"] = {"selection_rate": share(n_selected, len(rows))}
    if outcomes.probabilities is not None:
        probability = outcomes.probability(asked.position)[rows]
        edges = np.linspace(0, 1, N_BINS + 1)
        counts = np.histogram(probability, edges)[0].tolist()
        told["histogram"] = {"edges": edges.tolist(), "series": [{"name": None, "counts": counts}]}
    return told


def _measure_numbers(dashboard: Dashboard, asked: _Asked, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Return the metrics of a regression."""
    outcomes = dashboard.outcomes
    predicted = outcomes.numbers("predicted", asked.position)[rows]
    if not outcomes.has_labels:
        known = predicted[np.isfinite(predicted)]
        metrics = {"mean_prediction": mean(known)}
        return {**NOTHING, "metrics": metrics, "histogram": _count(known, "prediction")}
    true = outcomes.numbers("true", asked.position)[rows]
    is_known = np.isfinite(true) & np.isfinite(predicted)
    true, predicted = true[is_known], predicted[is_known]
    return {
        **NOTHING,
        "metrics": measure_regression(true, predicted),
        "histogram": _count(predicted - true, "error"),
        "residuals": _cut_residuals(predicted, predicted - true),
    }


def _as_column(name: str, numbers: NDArray[np.float64]) -> Column:
    return Column(name, name, "outcome", lambda: Values("number", numbers))


def _count(numbers: NDArray[np.float64], name: str) -> dict[str, Any]:
    bins = cut(_as_column(name, numbers), slice(None), N_BINS)
    return {"edges": bins.plain_edges, "series": [{"name": None, "counts": bins.count()}]}


def _cut_residuals(
    predicted: NDArray[np.float64], error: NDArray[np.float64]
) -> dict[str, Any] | None:
    """Return the quartiles of the error in bins of the prediction."""
    if len(error) == 0:
        return None
    bins = cut(_as_column("prediction", predicted), slice(None), N_RESIDUAL_BINS)
    quartiles = []
    for place in range(len(bins)):
        inside = error[bins.codes == place]
        quartiles.append(np.quantile(inside, [0.25, 0.5, 0.75]) if len(inside) else [np.nan] * 3)
    told = np.array(quartiles)
    names = ("q1", "median", "q3")
    by_name = dict(zip(names, told.T.tolist(), strict=True))
    return {"edges": bins.plain_edges, **by_name, "n": bins.count()}
