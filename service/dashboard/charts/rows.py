"""Tables of rows, and all that is known of some rows.

Next: :mod:`service.dashboard.charts.error_tree`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.columns import Column
from service.dashboard.dashboard import Dashboard
from service.dashboard.limits import LIMITS
from service.dashboard.questions import Question
from service.dashboard.store import Store
from service.explanations.context import unless_none

MOST_COLUMNS = 100
ROWS_A_PIECE = 5000


def answer_rows(dashboard: Dashboard, question: Question) -> dict[str, Any]:
    """Answer ``api/rows``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question

    Returns
    -------
    dict
        As in docs/dashboard-api.md.
    """
    columns = _read_columns(dashboard, question)
    rows = _sort(dashboard, question, _search(dashboard, question))
    size = question.part("size").count(50, 1, LIMITS["page"])
    page = question.part("page").count(0, 0, 2**31)
    shown = rows[page * size : (page + 1) * size]
    cells = [column.values.plain(shown) for column in columns]
    told = []
    for place, row in enumerate(shown.tolist()):
        values = [of_column[place] for of_column in cells]
        told.append({"index": row, "id": dashboard.store.row_name(row), "values": values})
    names = [column.id for column in columns]
    return {"total": len(rows), "page": page, "size": size, "columns": names, "rows": told}


def export_rows(dashboard: Dashboard, question: Question) -> Iterator[bytes]:
    """Answer ``api/export.csv``, piece by piece.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question

    Returns
    -------
    iterator of bytes
    """
    columns = [dashboard.columns.find("row"), *_read_columns(dashboard, question)]
    rows = _sort(dashboard, question, _search(dashboard, question))
    return _write_pieces(columns, rows)


def _write_pieces(columns: list[Column], rows: NDArray[np.intp]) -> Iterator[bytes]:
    names = [column.name for column in columns]
    yield _write_lines([names])
    for start in range(0, len(rows), ROWS_A_PIECE):
        piece = rows[start : start + ROWS_A_PIECE]
        cells = [column.values.plain(piece) for column in columns]
        yield _write_lines(list(zip(*cells, strict=True)))


def _write_lines(lines: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def _read_columns(dashboard: Dashboard, question: Question) -> list[Column]:
    named = question.part("columns").items(MOST_COLUMNS)
    return [dashboard.columns.find(one.text(), one.pointer) for one in named]


def _search(dashboard: Dashboard, question: Question) -> NDArray[np.intp]:
    """Return the rows of the cohort whose name contains what is searched for."""
    rows = dashboard.cohorts.read_one(question).rows
    wanted = question.part("search").text("").casefold()
    if not wanted:
        return rows
    names = dashboard.columns.find("row").values.plain(rows)
    fits = [wanted in str(name).casefold() for name in names]
    return rows[np.array(fits, dtype=bool)]


def _sort(dashboard: Dashboard, question: Question, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    part = question.part("sort")
    if part.is_absent:
        return rows
    seed = part.part("random")
    if not seed.is_absent:
        return np.random.default_rng(seed.count(None, 0, 2**31)).permutation(rows)
    col = part.part("col")
    keys = dashboard.columns.find(col.text(), col.pointer).values.order(rows)
    if part.part("descending").flag():
        keys = -keys
    return rows[np.argsort(keys, kind="stable")]  # NaN comes last


def answer_row(dashboard: Dashboard, question: Question) -> dict[str, Any]:
    """Answer ``api/row``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question

    Returns
    -------
    dict
        As in docs/dashboard-api.md.
    """
    store = dashboard.view(question)
    output = dashboard.output(question)
    last = dashboard.store.n_rows - 1
    listed = question.part("rows").items(LIMITS["rows"])
    rows = np.array([one.count(None, 0, last) for one in listed], dtype=np.intp)
    importances = _take(store, output, rows, "importances")
    errors = None
    if store.is_sampled:
        errors = _take(store, output, rows, "standard_errors").tolist()
    values = _list_values(store, rows)
    told = []
    for place, row in enumerate(rows.tolist()):
        known = {
            "index": row,
            "id": dashboard.store.row_name(row),
            "values": unless_none(itemgetter(place), values),
            "standard_errors": unless_none(itemgetter(place), errors),
        }
        known |= _describe_outcome(dashboard, row, output)
        told.append(known | add_up(dashboard, output, importances[place], known))
    return {
        "class": output,
        "output": dashboard.outcomes.outputs[output],
        "scale": store.heading["output"],
        "features": store.features,
        "rows": told,
    }


def _take(store: Store, output: int, rows: NDArray[np.intp], name: str) -> NDArray[np.float64]:
    """Return importances of some rows, shape (n, n_features)."""
    positions = range(len(store.features))
    return np.stack([store.importances(i, output, name)[rows] for i in positions], axis=1)


def _list_values(store: Store, rows: NDArray[np.intp]) -> list[list[Any]] | None:
    """Return the values of some rows, row by row."""
    if not store.has_rows:
        return None
    columns = [store.values(position).plain(rows) for position in range(len(store.features))]
    return list(map(list, zip(*columns, strict=True)))


def _describe_outcome(dashboard: Dashboard, row: int, output: int) -> dict[str, Any]:
    """Tell what is true and what was predicted for a row."""
    outcomes = dashboard.outcomes
    told: dict[str, Any] = dict.fromkeys(("true", "predicted", "probabilities"))
    if outcomes.has_labels:
        told["true"] = outcomes.values("true", output).plain([row])[0]
    if outcomes.has_predictions:
        told["predicted"] = outcomes.values("predicted", output).plain([row])[0]
    if outcomes.probabilities is not None:
        told["probabilities"] = outcomes.probabilities[row].tolist()
    return told


def add_up(
    dashboard: Dashboard, output: int, importances: NDArray[np.float64], known: dict[str, Any]
) -> dict[str, Any]:
    """Add importances to the expected value, and compare with what the model answered.

    Parameters
    ----------
    dashboard : Dashboard
    output : int
    importances : ndarray of shape (n_features,)
    known : dict
        With the row's ``predicted`` and ``probabilities``.
    """
    expected = dashboard.store.expected_values
    base = unless_none(itemgetter(output), expected)
    added = float(importances.sum())
    told: dict[str, Any] = {"phi": importances.tolist(), "base": base, "sum": added}
    told["total"] = total = unless_none(added.__add__, base)
    told["model"] = answered = _model_output(dashboard, output, known)
    told["residual"] = unless_none(lambda found: unless_none(found.__sub__, total), answered)
    return told


def _model_output(dashboard: Dashboard, output: int, known: dict[str, Any]) -> float | None:
    """Return the model's output on the scale of the importances, None where it is not known."""
    scale = dashboard.store.heading["output"]
    if scale == "probability":
        return unless_none(itemgetter(output), known["probabilities"])
    is_number = scale == "prediction" and dashboard.outcomes.classes is None
    return known["predicted"] if is_number else None
