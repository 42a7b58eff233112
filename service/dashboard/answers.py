"""Which function answers which call.

Next: :mod:`service.dashboard.meta`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from service.dashboard.asking import draw_ice, draw_pdp, explain_records, predict_records
from service.dashboard.charts.error_tree import answer_error_tree
from service.dashboard.charts.histograms import answer_box, answer_histogram
from service.dashboard.charts.importance import answer_importance
from service.dashboard.charts.performance import measure_performance
from service.dashboard.charts.points import answer_points
from service.dashboard.charts.rows import answer_row, answer_rows, export_rows
from service.dashboard.dashboard import Dashboard
from service.dashboard.model_access import Asking
from service.dashboard.questions import Question


@dataclass(frozen=True)
class Body:
    """An answer that is no JSON, in pieces."""

    pieces: Iterable[bytes]
    media_type: str


Answer = Callable[[Dashboard, Question, Asking], Any]


def _describe_columns(dashboard: Dashboard, question: Question, asking: Asking) -> Any:
    described = []
    for name in question.part("columns").items(100):
        described.append(dashboard.columns.find(name.text(), name.pointer).describe())
    return {"columns": described}


def _count_cohorts(dashboard: Dashboard, question: Question, asking: Asking) -> Any:
    counted, n_rows = [], dashboard.store.n_rows
    for cohort in dashboard.cohorts.read_all(question):
        share = cohort.n / max(1, n_rows)
        counted.append({"name": cohort.name, "n": cohort.n, "share": share})
    return {"cohorts": counted, "n_rows": n_rows}


def _read_saved(dashboard: Dashboard, question: Question, asking: Asking) -> Any:
    return dashboard.saved.answer_read(dashboard.cohorts)


def _save(dashboard: Dashboard, question: Question, asking: Asking) -> Any:
    return dashboard.saved.answer_write(dashboard.cohorts, question)


def _without_model(answer: Callable[[Dashboard, Question], Any]) -> Answer:
    return lambda dashboard, question, _: answer(dashboard, question)


def _send_points(dashboard: Dashboard, question: Question, asking: Asking) -> Body:
    return Body([answer_points(dashboard, question)], "application/octet-stream")


def _send_csv(dashboard: Dashboard, question: Question, asking: Asking) -> Body:
    return Body(export_rows(dashboard, question), "text/csv")


ANSWERS: dict[str, Answer] = {
    "columns": _describe_columns,
    "cohorts": _count_cohorts,
    "saved": _read_saved,
    "save": _save,
    "performance": _without_model(measure_performance),
    "importance": _without_model(answer_importance),
    "histogram": _without_model(answer_histogram),
    "box": _without_model(answer_box),
    "points": _send_points,
    "rows": _without_model(answer_rows),
    "row": _without_model(answer_row),
    "errortree": _without_model(answer_error_tree),
    "predict": predict_records,
    "explain": explain_records,
    "ice": draw_ice,
    "pdp": draw_pdp,
    "export.csv": _send_csv,
}
