"""Nearest neighbours: means of what the nearest of the rows that were fitted have.

| read                           | not read                                                    |
|--------------------------------|-------------------------------------------------------------|
| the Euclidean, Manhattan and   | all other metrics, and functions as metrics: they are no    |
| Minkowski metrics, with        | sums over columns                                           |
| weights of columns too         |                                                             |
| all neighbours alike, or by    | weights that are a function                                 |
| one over their distance        |                                                             |
| rows as a matrix               | sparse rows                                                 |

Next: :mod:`service.structures.statistical.process_kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse

from service.errors import UnsupportedStructureError, expect
from service.shapley.kernels.nearest import NearestPoints
from service.structures.family import Family
from service.structures.links import Floats
from service.structures.structure import Structure, as_floats

# The power of each metric; that of "minkowski" is an option.
POWERS = {"euclidean": 2.0, "l2": 2.0, "manhattan": 1.0, "cityblock": 1.0, "l1": 1.0}


@dataclass(frozen=True)
class NeighboursStructure(Structure):
    """Means of the targets of the nearest points, behind an optional link.

    Attributes
    ----------
    points : NearestPoints
    link : callable or None
    """

    points: NearestPoints

    @property
    def has_closed_form(self) -> bool:
        """Never: which points are nearest hangs on all features."""
        return False


def read_neighbours_regressor(estimator: Any, scale: str) -> NeighboursStructure | None:
    """Read KNeighborsRegressor, of one or several targets."""
    return _read(estimator, as_floats(estimator._y).reshape(len(estimator._y), -1))


def read_neighbours_classifier(estimator: Any, scale: str) -> NeighboursStructure | None:
    """Read KNeighborsClassifier: its probabilities are the neighbours' shares of each class.

    Those of several targets stand one after another.
    """
    if scale != "probability":
        return None
    labels = np.asarray(estimator._y).reshape(len(estimator._y), -1)
    classes: Sequence[Any] = estimator.classes_
    if not estimator.outputs_2d_:
        classes = [classes]
    shares = []
    for of_target, known in zip(labels.T, classes, strict=True):
        shares.append(np.eye(len(known))[of_target])
    return _read(estimator, np.hstack(shares))


def _read(estimator: Any, targets: Floats) -> NeighboursStructure:
    """Read what both have in common.

    Raises
    ------
    UnsupportedStructureError
        When distances are no sums over columns, or neighbours count in a way of their own.
    """
    name, points = type(estimator).__name__, estimator._fit_X
    expect(
        not issparse(points),
        f"{name} that was fitted on sparse rows is only called.",
        UnsupportedStructureError,
    )
    weights = estimator.weights or "uniform"
    expect(
        isinstance(weights, str),
        f"{name} with weights by a function is only called: 'uniform' and 'distance' are known.",
        UnsupportedStructureError,
    )
    power, scale = _read_metric(estimator, name, points.shape[1])
    nearest = NearestPoints(
        as_floats(points), targets, estimator.n_neighbors, power, scale, weights == "distance"
    )
    return NeighboursStructure(nearest)


def _read_metric(estimator: Any, name: str, n_columns: int) -> tuple[float, Floats]:
    """Return the power of a metric, and the weight of each column."""
    metric, options = estimator.metric, dict(estimator.metric_params or {})
    scale = as_floats(options.pop("w", np.ones(n_columns)))
    power = _power_of(metric, options.pop("p", estimator.p))
    adds_up = np.isfinite(power) and scale.shape == (n_columns,)
    expect(
        adds_up and not options,
        f"{name} with metric {metric!r} is only called: its distances are no sums over "
        "columns, as those of 'minkowski', 'euclidean' and 'manhattan' are.",
        UnsupportedStructureError,
    )
    return power, scale


def _power_of(metric: Any, option: Any) -> float:
    """Return the power of a metric, infinity for those that have none, as functions."""
    if not isinstance(metric, str):
        return np.inf
    if metric == "minkowski":
        return float(option)
    return POWERS.get(metric, np.inf)


FAMILY = Family(
    library="sklearn",
    readers={
        "KNeighborsClassifier": read_neighbours_classifier,
        "KNeighborsRegressor": read_neighbours_regressor,
    },
)
