"""Aggregate importances of cohorts, with standard errors and noise floors.

Next: :mod:`service.dashboard.charts.swarm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.charts.swarm import draw_swarms
from service.dashboard.cohorts import Cohort
from service.dashboard.columns import QUANTILES
from service.dashboard.dashboard import Dashboard
from service.dashboard.questions import Question
from service.dashboard.store import Store
from service.explanations.context import unless_none
from service.explanations.moments import MEAN_MAGNITUDE, Moments

MOST_FEATURES = 5000
MOST_BOXES = 50


@dataclass(frozen=True, eq=False)
class Measured:
    """Importances of a cohort, of each output and, last, of the mean over outputs.

    Attributes
    ----------
    n : int
    means : ndarray of shape (n_outputs + 1, n_features)
        Mean magnitudes.
    standard_errors : ndarray of the same shape, or None
        Of the means.
    floors : ndarray of the same shape, or None
        What features without influence would show.
    signed : ndarray of shape (n_outputs, n_features), or None
        Means with their signs.
    """

    n: int
    means: NDArray[np.float64]
    standard_errors: NDArray[np.float64] | None = None
    floors: NDArray[np.float64] | None = None
    signed: NDArray[np.float64] | None = None


def answer_importance(dashboard: Dashboard, question: Question) -> dict[str, Any]:
    """Answer ``api/importance``.

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
    n_outputs = len(dashboard.outcomes.outputs)
    choice = question.part("class").choice(["all", *range(n_outputs)], "all")
    is_all = choice == "all"
    output = _place_of(store, choice)
    cohorts = _read_cohorts(dashboard, question, store)
    measured = [_measure(dashboard, store, cohort) for cohort in cohorts]
    sort = question.part("sort").count(0, 0, max(0, len(measured) - 1))
    wants_boxes = question.part("quantiles").flag()
    wants_swarms = question.part("swarm").flag()
    most = MOST_BOXES if wants_boxes or wants_swarms else MOST_FEATURES
    top = question.part("top").count(20, 1, most)
    found = _find_features(store, question)
    kept = found
    if question.part("features").is_absent and measured:
        magnitudes = np.nan_to_num(measured[sort].means[output][found])
        kept = found[np.argsort(-magnitudes, kind="stable")[:top]]
    is_mean = is_all and n_outputs > 1
    told = []
    for number, (cohort, of_cohort) in enumerate(zip(cohorts, measured, strict=True)):
        listed = _list(of_cohort, output, is_mean, kept)
        listed["quantiles"] = None
        if wants_boxes and not is_mean:
            listed["quantiles"] = _quantiles(store, max(0, output), cohort, kept)
        told.append({"cohort": number, "n": of_cohort.n, "swarm": None, **listed})
    edges = None
    if wants_swarms and not is_mean and store.has_local:
        edges, swarms = draw_swarms(store, max(0, output), cohorts, kept.tolist())
        for listed, swarm in zip(told, swarms, strict=True):
            listed["swarm"] = swarm
    return {
        "class": choice,
        "n_features": len(store.features),
        "n_found": len(found),
        "features": _name_features(dashboard, store, kept, 0 if is_all else choice),
        "cohorts": told,
        "swarm_edges": edges,
        "scale": store.heading["output"],
    }


def _place_of(store: Store, choice: Any) -> int:
    """Return where the importances of a choice stand; the last place is of all outputs."""
    has_each = store.n_outputs > 1 or store.has_local
    return -1 if choice == "all" or not has_each else choice


def _read_cohorts(dashboard: Dashboard, question: Question, store: Store) -> list[Cohort]:
    if store.has_local:
        return dashboard.cohorts.read_all(question)
    return [dashboard.cohorts.everything()]


def _find_features(store: Store, question: Question) -> NDArray[np.intp]:
    """Return the positions of the features that are named or searched for."""
    named, n_features = question.part("features"), len(store.features)
    if not named.is_absent:
        listed = named.items(MOST_FEATURES)
        return np.array([one.count(None, 0, n_features - 1) for one in listed], dtype=np.intp)
    wanted = question.part("search").text("").casefold()
    fits = [wanted in feature.casefold() for feature in store.features]
    return np.flatnonzero(fits)


def _name_features(
    dashboard: Dashboard, store: Store, positions: NDArray[np.intp], output: int
) -> list[dict[str, Any]]:
    start = "" if store is dashboard.store else "e"
    named = []
    for position in positions.tolist():
        value = f"{start or 'x'}{position}"
        importance = f"{start}phi{position}" + f".{output}" * (output > 0)
        name = store.features[position]
        named.append({"position": position, "id": value, "phi": importance, "name": name})
    return named


def _list(measured: Measured, output: int, is_mean: bool, kept: NDArray[np.intp]) -> dict[str, Any]:
    """Return the numbers of some features as lists."""
    signed = None if is_mean else unless_none(itemgetter(max(0, output)), measured.signed)
    arrays = {
        "mean_abs": measured.means[output],
        "standard_error": unless_none(itemgetter(output), measured.standard_errors),
        "mean": signed,
        "noise_floor": unless_none(itemgetter(output), measured.floors),
    }
    nothing = [None] * len(kept)
    told = {}
    for name, array in arrays.items():
        told[name] = unless_none(lambda found: found[kept].tolist(), array) or nothing
    return told


def _measure(dashboard: Dashboard, store: Store, cohort: Cohort) -> Measured:
    key = ("importance", store.digest, cohort.key)
    return dashboard.remember(key, partial(measure_importance, store, cohort))


def measure_importance(store: Store, cohort: Cohort) -> Measured:
    """Average the importances of a cohort, feature by feature.

    Parameters
    ----------
    store : Store
    cohort : Cohort

    Returns
    -------
    Measured
        Of a global explanation without local importances what was saved.
    """
    if not store.has_local:
        return _read_global(store)
    n_features = len(store.features)
    shape = (store.n_outputs + 1, n_features)
    means, signed = np.full(shape, np.nan), np.full((shape[0] - 1, n_features), np.nan)
    errors, floors = np.full(shape, np.nan), np.full(shape, np.nan)
    rows = slice(None) if cohort.mask.all() else cohort.rows
    n = cohort.n
    for position in range(n_features if n else 0):
        values = _stack(store, position, rows, "importances")
        sampled = _stack(store, position, rows, "standard_errors") if store.is_sampled else None
        moments = Moments.of(values, sampled)
        means[:, position] = moments.means[:, 0]
        signed[:, position] = values.mean(axis=(1, 2))
        if moments.standard_errors is not None:
            errors[:, position] = moments.standard_errors[:, 0]
        if moments.mean_errors is not None:
            floors[:, position] = MEAN_MAGNITUDE * moments.mean_errors[:, 0]
    return Measured(n, means, errors, floors, signed)


def _stack(store: Store, position: int, rows: Any, name: str) -> NDArray[np.float64]:
    """Return the importances of a feature for all outputs, shape (n_outputs, n, 1)."""
    outputs = range(store.n_outputs)
    stacked = np.stack([store.importances(position, output, name)[rows] for output in outputs])
    return stacked[:, :, None]


def _read_global(store: Store) -> Measured:
    def stacked(of_classes: str, of_all: str) -> NDArray[np.float64] | None:
        overall = store.heading.get(of_all)
        if overall is None:
            return None
        each = store.heading.get(of_classes)
        return np.array([*([overall] if each is None else each), overall], dtype=np.float64)

    means = stacked("per_class_values", "global_importance_values")
    assert means is not None
    errors = stacked("per_class_standard_errors", "global_standard_errors")
    return Measured(store.n_rows, means, errors, stacked("", "noise_floor"))


def _quantiles(
    store: Store, output: int, cohort: Cohort, kept: NDArray[np.intp]
) -> list[list[float | None]]:
    rows = cohort.rows
    told = []
    for position in kept.tolist():
        values = store.importances(position, output)[rows]
        quantiles: Any = np.quantile(values, QUANTILES) if len(rows) else np.full(5, np.nan)
        told.append(quantiles.tolist())
    return told
