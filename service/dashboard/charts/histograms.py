"""Counts in bins, and boxes.

Next: :mod:`service.dashboard.charts.points`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.charts.binning import Bins, cut
from service.dashboard.columns import Column
from service.dashboard.dashboard import Dashboard
from service.dashboard.limits import LIMITS
from service.dashboard.questions import Question

MOST_SERIES = 10
WHISKER = 1.5
NUMBERS = ("min", "low", "q1", "median", "q3", "high", "max", "mean")


def find_column(dashboard: Dashboard, question: Question, name: str) -> Column:
    """Return the column that a part of a question names."""
    part = question.part(name)
    return dashboard.columns.find(part.text(), part.pointer)


def answer_histogram(dashboard: Dashboard, question: Question) -> dict[str, Any]:
    """Answer ``api/histogram``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question

    Returns
    -------
    dict
        As in docs/dashboard-api.md.
    """
    column = find_column(dashboard, question, "x")
    rows = dashboard.cohorts.read_one(question).rows
    n_bins = question.part("bins").count(20, 1, LIMITS["bins"])
    bins = cut(column, rows, max(n_bins, 40) if not column.values.is_numeric else n_bins)
    series = []
    for name, among in _cut_series(dashboard, question, rows):
        counts, missing = bins.count(among), bins.n_missing(among)
        series.append({"name": name, "counts": counts, "missing": missing})
    return {
        "kind": column.values.kind,
        "edges": bins.plain_edges,
        "categories": bins.names,
        "other": bins.has_others,
        "series": series,
        "n": len(rows),
    }


def _cut_series(
    dashboard: Dashboard, question: Question, rows: NDArray[np.intp]
) -> Iterator[tuple[Any, Any]]:
    """Yield the name of each series, and which rows are in it."""
    if question.part("by").is_absent:
        yield None, slice(None)
        return
    bins = cut(find_column(dashboard, question, "by"), rows, MOST_SERIES)
    for place in [*range(len(bins)), *[-1] * bool(bins.n_missing())]:
        yield bins.describe(place)["label"], bins.codes == place


def answer_box(dashboard: Dashboard, question: Question) -> dict[str, Any]:
    """Answer ``api/box``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question

    Returns
    -------
    dict
        As in docs/dashboard-api.md.

    Raises
    ------
    QuestionError
        When the column is no number.
    """
    column = find_column(dashboard, question, "y")
    if not column.values.is_numeric:
        raise question.part("y").refuse("a column of numbers or dates")
    groups = []
    for number, cohort in enumerate(dashboard.cohorts.read_all(question)):
        for told, rows in _cut_boxes(dashboard, question, cohort.rows):
            groups.append({"cohort": number, "bin": told, **_draw_box(column, rows)})
    return {"kind": column.values.kind, "groups": groups}


def _cut_boxes(
    dashboard: Dashboard, question: Question, rows: NDArray[np.intp]
) -> Iterator[tuple[Any, NDArray[np.intp]]]:
    if question.part("x").is_absent:
        yield None, rows
        return
    n_bins = question.part("bins").count(5, 1, LIMITS["bins"])
    bins: Bins = cut(find_column(dashboard, question, "x"), rows, n_bins)
    for place in [*range(len(bins)), *[-1] * bool(bins.n_missing())]:
        yield bins.describe(place), rows[bins.codes == place]


def _draw_box(column: Column, rows: NDArray[np.intp]) -> dict[str, Any]:
    values = column.values
    numbers = values.numbers(rows)
    known = numbers[np.isfinite(numbers)]
    told: dict[str, Any] = {"n": len(rows), "missing": len(rows) - len(known)}
    if len(known) == 0:
        return told | dict.fromkeys(NUMBERS)
    q1, median, q3 = np.quantile(known, [0.25, 0.5, 0.75])
    reach = WHISKER * (q3 - q1)
    low = known[known >= q1 - reach].min()
    high = known[known <= q3 + reach].max()
    numbers_of_box = (known.min(), low, q1, median, q3, high, known.max(), known.mean())
    plain = map(values.plain_value, map(float, numbers_of_box))
    return told | dict(zip(NUMBERS, plain, strict=True))
