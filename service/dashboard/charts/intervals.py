"""How far a metric of some rows may be from that of all rows like them: intervals of 95 %.

Next: :mod:`service.dashboard.charts.metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from service.explanations.context import unless_none

LEVEL = 0.95
Z = float(ndtri(0.5 + LEVEL / 2))
DRAWS = 200
MOST_ROWS = 20_000  # of which draws are made
Metric = dict[str, float | None]


def metric(value: float, low: float | None = None, high: float | None = None) -> Metric:
    """Return a metric with its interval; what is no number is None."""
    return {"value": _finite(value), "low": _finite(low), "high": _finite(high)}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def share(part: float, whole: float) -> Metric:
    """Return a share with Wilson's interval (Wilson, 1927).

    >>> told = share(9, 10)
    >>> told["value"], round(told["low"], 3), round(told["high"], 3)
    (0.9, 0.596, 0.982)
    """
    if whole == 0:
        return metric(math.nan)
    found, squared = part / whole, Z * Z
    centre = (found + squared / (2 * whole)) / (1 + squared / whole)
    width = math.sqrt(found * (1 - found) / whole + squared / (4 * whole * whole))
    half = Z * width / (1 + squared / whole)
    return metric(found, max(0.0, centre - half), min(1.0, centre + half))


def mean(values: NDArray[np.float64]) -> Metric:
    """Return a mean with the normal interval."""
    if len(values) < 2:
        return metric(float(values.mean()) if len(values) else math.nan)
    found, half = float(values.mean()), Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return metric(found, found - half, found + half)


def root_mean_square(values: NDArray[np.float64]) -> Metric:
    """Return a root mean square: the roots of the interval of the mean of squares."""
    squares = mean(values * values)
    roots = [
        unless_none(lambda square: math.sqrt(max(0.0, square)), one) for one in squares.values()
    ]
    return dict(zip(squares, roots, strict=True))


def median(values: NDArray[np.float64]) -> Metric:
    """Return a median with the interval between two order statistics."""
    if len(values) == 0:
        return metric(math.nan)
    half = Z / (2 * math.sqrt(len(values)))
    low, high = np.quantile(values, [max(0.0, 0.5 - half), min(1.0, 0.5 + half)])
    return metric(float(np.median(values)), float(low), float(high))


def of_counts(counts: NDArray[Any], measure: Callable[[NDArray[Any]], Any]) -> Metric:
    """Return a metric of a table of counts, with quantiles of tables drawn like it.

    Parameters
    ----------
    counts : ndarray of int, shape (n_classes, n_classes)
    measure : callable
        From such tables, shape (..., n_classes, n_classes), to the metric of each.
    """
    n = int(counts.sum())
    if n == 0:
        return metric(math.nan)
    random = np.random.default_rng(0)
    drawn = random.multinomial(n, counts.ravel() / n, size=DRAWS).reshape(DRAWS, *counts.shape)
    return metric(float(measure(counts)), *_between(measure(drawn)))


def of_rows(n: int, measure: Callable[[NDArray[np.intp] | None], float]) -> Metric:
    """Return a metric of rows, with quantiles of rows drawn among them, where they are not many.

    Parameters
    ----------
    n : int
    measure : callable
        From the positions of rows, None for all, to the metric.
    """
    if n > MOST_ROWS or n < 2:
        return metric(measure(None) if n else math.nan)
    random = np.random.default_rng(0)
    drawn = [measure(random.integers(0, n, n)) for _ in range(DRAWS)]
    return metric(measure(None), *_between(np.array(drawn)))


def _between(drawn: NDArray[np.float64]) -> tuple[float, float]:
    known = drawn[np.isfinite(drawn)]
    if len(known) == 0:
        return math.nan, math.nan
    low, high = np.quantile(known, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)
