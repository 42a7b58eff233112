"""Which function answers which call.

Next: :mod:`service.dashboard.meta`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response

from service.dashboard.dashboard import Dashboard
from service.dashboard.model_access import Asking
from service.dashboard.questions import Question


@dataclass(frozen=True)
class Body:
    """An answer that is no JSON."""

    content: bytes
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
        share = cohort.n / n_rows if n_rows else None
        counted.append({"name": cohort.name, "n": cohort.n, "share": share})
    return {"cohorts": counted, "n_rows": n_rows}


ANSWERS: dict[str, Answer] = {
    "columns": _describe_columns,
    "cohorts": _count_cohorts,
}
