"""Columns cut into bins: of equal width, of equal counts, or the categories.

Next: :mod:`service.dashboard.charts.intervals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.columns import Column
from service.dashboard.values import Values, in_words, tell_apart

MOST_CATEGORIES = 40
DAY = 86_400_000.0  # in milliseconds


@dataclass(frozen=True, eq=False)
class Bins:
    """The bins of a column, and in which the rows of a cohort are.

    Attributes
    ----------
    column : Column
    codes : ndarray of int, shape (n,)
        Of each row of the cohort; −1 where there is no finite value.
    edges : ndarray of shape (n_bins + 1,), or None
        Of numbers and dates; each bin has its lower edge, the last one both.
    kept : sequence of int
        The codes of the categories that have a bin; what comes behind them are all others.
    has_others : bool
        Whether there is a bin of all other categories.
    """

    column: Column
    codes: NDArray[np.intp]
    edges: NDArray[np.float64] | None = None
    kept: Sequence[int] = ()
    has_others: bool = False

    def __len__(self) -> int:
        """Return the number of bins."""
        if self.edges is not None:
            return max(0, len(self.edges) - 1)
        return len(self.kept) + self.has_others

    @property
    def plain_edges(self) -> list[Any] | None:
        """The edges as JSON has them."""
        if self.edges is None:
            return None
        return list(map(self.column.values.plain_value, self.edges.tolist()))

    @property
    def names(self) -> list[Any] | None:
        """The categories, None for all others."""
        categories = self.column.values.categories
        if categories is None:
            return None
        return [categories[code] for code in self.kept] + [None] * self.has_others

    def count(self, among: Any = slice(None)) -> list[int]:
        """Count the rows in each bin, of all or of those among them that a mask keeps."""
        codes = self.codes[among]
        return np.bincount(codes[codes >= 0], minlength=len(self)).tolist()

    def n_missing(self, among: Any = slice(None)) -> int:
        """Count the rows in no bin."""
        return int((self.codes[among] < 0).sum())

    def describe(self, place: int) -> dict[str, Any]:
        """Name a bin and tell the filters that make a cohort of it; −1 is what is missing."""
        col = self.column.id
        if place < 0:
            return {"label": "(missing)", "filters": [{"col": col, "op": "missing"}]}
        if self.edges is not None:
            return self._describe_range(place)
        names: Any = self.names
        if names[place] is None:
            others = {"col": col, "op": "not-in", "value": names[:-1]}
            known = {"col": col, "op": "not-missing"}
            return {"label": "(others)", "filters": [others, known]}
        only = {"col": col, "op": "in", "value": [names[place]]}
        return {"label": in_words(names[place]), "filters": [only]}

    @cached_property
    def _edge_texts(self) -> list[str]:
        return tell_apart(self.plain_edges or [])

    def _describe_range(self, place: int) -> dict[str, Any]:
        edges: Any = self.plain_edges
        least, most = edges[place], edges[place + 1]
        is_last = place == len(self) - 1
        filters = [
            {"col": self.column.id, "op": ">=", "value": least},
            {"col": self.column.id, "op": "<=" if is_last else "<", "value": most},
        ]
        return {"label": " – ".join(self._edge_texts[place : place + 2]), "filters": filters}


def cut(column: Column, rows: Any, n_bins: int, *, equal_counts: bool = False) -> Bins:
    """Cut the values of some rows into bins.

    Parameters
    ----------
    column : Column
    rows : ndarray
        Positions or a mask.
    n_bins : int
    equal_counts : bool, default False
        Whether numbers are cut at their quantiles, and not at equal distances.

    Returns
    -------
    Bins
    """
    values = column.values
    if not values.is_numeric:
        return _cut_categories(column, values.stored[rows], min(n_bins, MOST_CATEGORIES))
    numbers = values.numbers(rows)
    is_known = np.isfinite(numbers)
    known = numbers[is_known]
    codes = np.full(len(numbers), -1, dtype=np.intp)
    if len(known) == 0:
        return Bins(column, codes, np.empty(0))
    edges = _find_edges(values, known, n_bins, equal_counts)
    places = np.searchsorted(edges, known, side="right") - 1
    codes[is_known] = np.minimum(places, len(edges) - 2)
    return Bins(column, codes, edges)


def _find_edges(
    values: Values, known: NDArray[np.float64], n_bins: int, equal_counts: bool
) -> NDArray[np.float64]:
    least, most = float(known.min()), float(known.max())
    if least == most:
        return np.array([least, most])
    shares = np.linspace(0, 1, n_bins + 1)
    if equal_counts:
        edges = np.unique(np.quantile(known, shares, method="lower"))
    elif values.kind == "integer" and most - least < n_bins:
        return np.arange(least, most + 2) - 0.5
    else:  # without the difference, which can be beyond all numbers
        edges = np.unique(least * (1 - shares) + most * shares)
    inner = edges[1:-1]
    if values.kind == "date":  # which have a text without loss then
        is_of_days = most - least >= n_bins * DAY and not (known % DAY).any()
        unit = DAY if is_of_days else 1.0
        inner = np.unique(np.round(inner / unit) * unit)
    inner = inner[(inner > least) & (inner < most)]
    return np.concatenate([[least], inner, [most]])


def _cut_categories(column: Column, codes: NDArray[Any], most: int) -> Bins:
    categories: Any = column.values.categories
    known = codes[codes >= 0].astype(np.intp)
    counts = np.bincount(known, minlength=len(categories))
    frequent = np.argsort(-counts, kind="stable")
    kept = frequent[counts[frequent] > 0]
    has_others = len(kept) > most
    kept = kept[:most]
    places = np.full(len(categories) + 1, len(kept), dtype=np.intp)  # the last is of code −1
    places[kept] = np.arange(len(kept))
    places[-1] = -1
    return Bins(column, places[np.maximum(codes, -1)], kept=kept.tolist(), has_others=has_others)
