"""Curves over all thresholds, out of one sort: ROC, precision and recall, calibration.

Next: :mod:`service.dashboard.charts.performance`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc

from service.dashboard.charts.intervals import Metric, Z, metric

MOST_POINTS = 200
N_CALIBRATED = 10


class Curves:
    """The curves of a class against all others.

    Parameters
    ----------
    is_true : ndarray of bool, shape (n,)
        Whether a row is of the class.
    probability : ndarray of shape (n,)
        That it is predicted with.
    """

    def __init__(self, is_true: NDArray[np.bool_], probability: NDArray[np.float64]) -> None:
        self._is_true = is_true
        self._probability = probability
        self._n_true = int(is_true.sum())
        self._n_false = len(is_true) - self._n_true

    @property
    def are_known(self) -> bool:
        """Whether there are rows of the class and others."""
        return self._n_true > 0 and self._n_false > 0

    def draw(self) -> dict[str, Any]:
        """Return ROC and precision-recall curves, thinned, each point a true one.

        Source: the formulas of scikit-learn's ``roc_curve``, ``precision_recall_curve`` and
        ``average_precision_score``, each of which would sort all rows again.
        """
        if not self.are_known:
            return {"roc": None, "pr": None}
        hits, alarms, thresholds = self._count_above()
        false_rate, true_rate = alarms / self._n_false, hits / self._n_true
        precision = np.divide(hits, hits + alarms, out=np.ones(len(hits)), where=hits + alarms > 0)
        area = auc(false_rate, true_rate)
        roc = _thin(false_rate, true_rate, thresholds)
        pr = _thin(true_rate[::-1], precision[::-1], thresholds[::-1])
        average = float((np.diff(true_rate) * precision[1:]).sum())
        self.area = self._with_interval(area, hits, alarms)
        return {"roc": {**roc, "area": float(area)}, "pr": {**pr, "average_precision": average}}

    def _count_above(self) -> tuple[NDArray[np.float64], ...]:
        """Count hits and false alarms at each threshold, the largest first, and name it."""
        order = np.argsort(self._probability)[::-1]
        falling = self._probability[order]
        last_of_tie = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
        hits = np.append(0.0, np.cumsum(self._is_true[order])[last_of_tie])
        n_above = np.append(0.0, last_of_tie + 1)
        return hits, n_above - hits, np.append(np.inf, falling[last_of_tie])

    area: Metric = metric(math.nan)

    def _with_interval(
        self, area: float, hits: NDArray[np.float64], alarms: NDArray[np.float64]
    ) -> Metric:
        """Return the area under the ROC curve with the interval of DeLong et al. (1988).

        Their structural components are the same for all rows of one threshold.
        """
        if min(self._n_true, self._n_false) < 2:
            return metric(area)
        new_hits, new_alarms = np.diff(hits), np.diff(alarms)
        below = 1 - (alarms[1:] - new_alarms / 2) / self._n_false  # of a true row
        above = (hits[1:] - new_hits / 2) / self._n_true  # of another row
        of_true = (new_hits * (below - area) ** 2).sum() / (self._n_true - 1)
        of_false = (new_alarms * (above - area) ** 2).sum() / (self._n_false - 1)
        half = Z * math.sqrt(of_true / self._n_true + of_false / self._n_false)
        return metric(area, max(0.0, area - half), min(1.0, area + half))

    def calibrate(self) -> dict[str, Any]:
        """Return mean predicted probabilities and the shares that were true, in ten bins."""
        edges = np.linspace(0, 1, N_CALIBRATED + 1)
        bins = np.searchsorted(edges[1:-1], self._probability)
        n = np.bincount(bins, minlength=N_CALIBRATED)
        there = np.flatnonzero(n)
        predicted = np.bincount(bins, self._probability, N_CALIBRATED)[there] / n[there]
        observed = np.bincount(bins, self._is_true, N_CALIBRATED)[there] / n[there]
        return {
            "predicted": predicted.tolist(),
            "observed": observed.tolist(),
            "n": n[there].tolist(),
        }


def _thin(x: NDArray[Any], y: NDArray[Any], thresholds: NDArray[Any]) -> dict[str, list[Any]]:
    """Keep at most 200 points of a curve, about equally far from each other along it."""
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, along[-1], MOST_POINTS - 1)
    kept = np.unique(np.append(np.searchsorted(along, wanted), len(along) - 1))
    if len(along) <= MOST_POINTS:
        kept = np.arange(len(along))
    told = []
    for threshold in thresholds[kept].tolist():
        told.append(threshold if math.isfinite(threshold) else None)
    return {"x": x[kept].tolist(), "y": y[kept].tolist(), "threshold": told}
