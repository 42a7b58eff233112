"""Swarms: where the importances of all rows lie, and how large the feature's values are there.

Next: :mod:`service.dashboard.charts.histograms`.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.cohorts import Cohort
from service.dashboard.store import Store

N_BINS = 80
INNER = (0.05, 0.95)  # of the values, between which the colours run
Edges = NDArray[np.float64]


def draw_swarms(
    store: Store, output: int, cohorts: list[Cohort], positions: list[int]
) -> tuple[list[float], list[list[dict[str, Any]]]]:
    """Count the importances of features in the same bins for all of them.

    Parameters
    ----------
    store : Store
    output : int
    cohorts : list of Cohort
    positions : list of int
        Of the features.

    Returns
    -------
    edges : list of float
        From the least to the largest importance; each bin has its lower edge, the last one both.
    swarms : list of list of dict
        For each cohort and feature ``counts`` and ``color``: the mean place of the feature's
        values between its quantiles of 5 and 95 %, from 0 to 1; NaN where there are none.
    """
    rows = list(map(_rows_of, cohorts))
    edges = _find_edges(store, output, rows, positions)
    swarms: list[list[dict[str, Any]]] = [[] for _ in cohorts]
    for position in positions:
        values = store.importances(position, output)
        shares = _find_shares(store, position)
        for among, listed in zip(rows, swarms, strict=True):
            listed.append(_count(values[among], shares[among], edges))
    return edges.tolist(), swarms


def _rows_of(cohort: Cohort) -> Any:
    """Return what takes the rows of a cohort; of all rows nothing is copied."""
    return slice(None) if cohort.mask.all() else cohort.rows


def _find_edges(store: Store, output: int, rows: list[Any], positions: list[int]) -> Edges:
    """Return the edges of bins that hold all importances, and zero."""
    least = most = 0.0
    for position, among in product(positions, rows):
        values = store.importances(position, output)[among]
        least = float(values.min(initial=least))
        most = float(values.max(initial=most))
    if least == most:  # there is nothing but zeros
        return np.array([-0.5, 0.5])
    shares = np.linspace(0, 1, N_BINS + 1)
    edges: Edges = least * (1 - shares) + most * shares
    return edges


def _find_shares(store: Store, position: int) -> NDArray[np.float64]:
    """Return where the values of a feature lie between its quantiles; NaN of what has no order."""
    numbers = np.full(store.n_rows, np.nan)
    if store.has_rows:
        values = store.values(position)
        has_order = values.is_numeric or values.kind == "boolean"
        numbers[has_order & ~values.missing] = values.numbers()[has_order & ~values.missing]
    known = numbers[~np.isnan(numbers)]
    if len(known) == 0:
        return numbers
    low, high = np.quantile(known, INNER)
    if low == high:  # nearly all are alike, as where a few are flagged
        low, high = known.min(), known.max()
    if low == high:
        return np.where(np.isnan(numbers), np.nan, 0.5)
    return np.interp(numbers, [low, high], [0.0, 1.0])


def _count(
    values: NDArray[np.float64], shares: NDArray[np.float64], edges: Edges
) -> dict[str, Any]:
    n_bins = len(edges) - 1
    places = _find_places(values, edges)
    known = ~np.isnan(shares)
    n_known = np.bincount(places[known], minlength=n_bins)
    totals = np.bincount(places[known], shares[known], n_bins)
    means = np.full(n_bins, np.nan)
    np.divide(totals, n_known, out=means, where=n_known > 0)
    return {
        "counts": np.bincount(places, minlength=n_bins).tolist(),
        "color": means.tolist(),
    }


def _find_places(values: NDArray[np.float64], edges: Edges) -> NDArray[np.intp]:
    """Return the bin of each value: by arithmetic, and by its edges where that is rounded."""
    last = len(edges) - 2
    start, half = edges[0] / 2, edges[-1] / 2 - edges[0] / 2  # of numbers of every size
    places = ((values / 2 - start) / half * (last + 1)).astype(np.intp)
    places = np.clip(places, 0, last)
    places -= values < edges[places]
    return places + ((values >= edges[places + 1]) & (places < last))
