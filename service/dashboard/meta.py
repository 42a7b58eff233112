"""What there is to ask a dashboard for: its schema, classes and capabilities.

Next: :mod:`service.dashboard.routes`.
"""

from __future__ import annotations

from typing import Any

from service.dashboard.cohorts import MOST_COHORTS
from service.dashboard.columns import Column
from service.dashboard.dashboard import Dashboard
from service.dashboard.limits import LIMITS
from service.dashboard.outcomes import NO_LABELS, NO_PREDICTIONS, NO_PROBABILITIES
from service.dashboard.store import NO_LOCAL, NO_ROWS


def describe_dashboard(dashboard: Dashboard) -> dict[str, Any]:
    """Tell what the page has to know before it asks anything.

    Parameters
    ----------
    dashboard : Dashboard

    Returns
    -------
    dict
        As in docs/dashboard-api.md.
    """
    store, outcomes = dashboard.store, dashboard.outcomes
    heading = store.heading
    of_explanation = {name: heading[name] for name in ("id", "method", "model_type")}
    return {
        "title": dashboard.title,
        "digest": store.digest,
        "explanation": of_explanation,
        "task": outcomes.task,
        "n_rows": store.n_rows,
        "labels": outcomes.has_labels,
        "classes": outcomes.class_names or None,
        "outputs": outcomes.outputs,
        "positive": outcomes.positive,
        "scale": heading["output"],
        "expected_values": store.expected_values,
        "views": _describe_views(dashboard),
        "columns": list(map(Column.heading, dashboard.columns.of_outcomes())),
        "capabilities": _describe_capabilities(dashboard),
        "limits": {**LIMITS, "cohorts": MOST_COHORTS},
    }


def _describe_views(dashboard: Dashboard) -> list[dict[str, Any]]:
    views = []
    for name, store in dashboard.views.items():
        rows = _tell(store.has_rows, NO_ROWS)
        views.append({"name": name, "features": store.features, "rows": rows})
    return views


def _describe_capabilities(dashboard: Dashboard) -> dict[str, Any]:
    """Tell what the dashboard can do, and why it cannot do the rest."""
    store, outcomes = dashboard.store, dashboard.outcomes
    has_model = dashboard.model is not None
    why_no_model = dashboard.why_no_model
    can_curve = has_model and store.has_rows
    why_no_curve = NO_ROWS if has_model else why_no_model
    known = {
        "rows": (store.has_rows, NO_ROWS),
        "local": (store.has_local, NO_LOCAL),
        "global": (True, ""),
        "labels": (outcomes.has_labels, NO_LABELS),
        "predictions": (outcomes.has_predictions, NO_PREDICTIONS),
        "probabilities": (outcomes.probabilities is not None, NO_PROBABILITIES),
        "predict": (has_model, why_no_model),
        "explain": (has_model, why_no_model),
        "ice": (can_curve, why_no_curve),
        "pdp": (can_curve, why_no_curve),
    }
    capabilities = {}
    for name, (is_there, reason) in known.items():
        capabilities[name] = _tell(is_there, reason)
    return capabilities


def _tell(is_there: bool, reason: str) -> dict[str, Any]:
    return {"ok": is_there, "reason": None if is_there else reason}
