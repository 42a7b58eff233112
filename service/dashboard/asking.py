"""What if: the model that serves is asked for other values, and for the reasons.

Rows go through the schema of ``/score``, so that what that refuses is refused here.

Next: :mod:`service.dashboard.answers`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.charts.rows import add_up
from service.dashboard.dashboard import Dashboard
from service.dashboard.errors import QuestionError, UnavailableError
from service.dashboard.limits import LIMITS
from service.dashboard.model_access import Asking, Check
from service.dashboard.questions import Question
from service.dashboard.store import NO_ROWS
from service.dashboard.values import Values, respell_date
from service.engines.local_importances import LocalImportances
from service.errors import PayloadError
from service.explanations.context import unless_none
from service.explanations.global_importances import with_output_axis
from service.rows.schema import Schema
from service.rows.values import shown
from service.scoring.request import ScoringRequest
from service.scoring.scoring_model import ScoringModel

PIECE = 500  # rows between two looks at the clock and the client
N_QUANTILES = 20
MOST_CATEGORIES = 50
MOST_SAMPLED = 500
PDP_CELLS = 20_000
BAND = (0.1, 0.9)
ROWS: dict[str, Any] = {"mean": None, "low": None, "high": None}


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows to ask the model for, as its schema has read them.

    Attributes
    ----------
    matrix : ndarray of shape (n, n_columns)
    positions : list of int or None
        Of those that are rows of the explanation.
    """

    matrix: NDArray[Any]
    positions: list[int | None]

    @property
    def n_known(self) -> int:
        """How many are rows of the explanation; they come first."""
        return len(self.positions) - self.positions.count(None)


def predict_records(dashboard: Dashboard, question: Question, asking: Asking) -> dict[str, Any]:
    """Answer ``api/predict``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question
    asking : callable
        Runs what asks the model.

    Returns
    -------
    dict
        As in docs/dashboard-api.md.
    """
    model = dashboard.asked_model()
    matrix = _read_records(model.schema, question)
    started = time.perf_counter()
    told = asking(lambda check: _predict(model, matrix, check))
    scored = model.schema.records(matrix)
    return {
        "predicted": _name_predictions(dashboard, told["predictions"]),
        "probabilities": _listed(told.get("probabilities")),
        "records": scored,
        "warnings": [_warn(dashboard, record) for record in scored],
        "ms": _milliseconds(started),
    }


def explain_records(dashboard: Dashboard, question: Question, asking: Asking) -> dict[str, Any]:
    """Answer ``api/explain``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question
    asking : callable

    Returns
    -------
    dict
        As in docs/dashboard-api.md.
    """
    model = dashboard.asked_model()
    output = dashboard.output(question)
    matrix = _read_records(model.schema, question)
    started = time.perf_counter()
    request = ScoringRequest(expected_values=True, probabilities=_has_probabilities(model))
    answer = asking(lambda check: model.predict_and_explain(matrix, replace(request, check=check)))
    importances = answer.importances
    assert importances is not None
    outputs = _ask_on_scale(model, matrix)
    values = with_output_axis(importances.values)
    if output >= len(values):
        raise question.part("class").refuse(f"an output of the model, from 0 to {len(values) - 1}")
    predicted = _name_predictions(dashboard, answer.predictions)
    probabilities = _listed(answer.arrays.get("probabilities"))
    errors = None
    if importances.standard_errors is not None:
        errors = with_output_axis(importances.standard_errors)[output].tolist()
    rows = []
    for place, record in enumerate(model.schema.records(matrix)):
        known = {
            "values": _plain_values(dashboard, record, importances.features),
            "predicted": predicted[place],
            "probabilities": unless_none(itemgetter(place), probabilities),
            "standard_errors": unless_none(itemgetter(place), errors),
        }
        known |= add_up(dashboard, output, values[output, place], known)
        if outputs is not None:
            known["model"] = float(outputs[place, output])
        rows.append(known | _own_total(importances, output, known))
    return {
        "class": output,
        "output": dashboard.outcomes.outputs[output],
        "scale": importances.output,
        "method": importances.method,
        "features": importances.features,
        "rows": rows,
        "ms": _milliseconds(started),
    }


def _plain_values(
    dashboard: Dashboard, record: dict[str, Any], features: Sequence[str]
) -> list[Any]:
    """Return the values of a record as those of the rows are written."""
    listed = dict(record)
    n_known = len(dashboard.store.features) * dashboard.store.has_rows
    for position in range(n_known):
        name = dashboard.store.features[position]
        least, _, _ = dashboard.ranges(position)
        if isinstance(least, str):  # a date
            listed[name] = respell_date(listed.get(name))
    return list(map(listed.get, features))


def _ask_on_scale(model: ScoringModel, matrix: NDArray[Any]) -> NDArray[np.float64] | None:
    """Ask the model for its outputs on the scale of the importances, shape (n, n_outputs).

    None where another function was explained than what the model has.
    """
    explained = model.scoring_explainer.row_explainer.function
    if not explained.can_ask(model.original_model):
        return None
    outputs = np.asarray(replace(explained, model=model.original_model)(matrix))
    return outputs.reshape(len(matrix), -1)


def _own_total(importances: LocalImportances, output: int, known: dict[str, Any]) -> dict[str, Any]:
    """Add up from the expected value of the model that answers, which may not be the saved one."""
    base = float(np.atleast_1d(importances.expected_values)[output])
    total = base + known["sum"]
    residual = unless_none(lambda found: found - total, known["model"])
    return {"base": base, "total": total, "residual": residual}


def draw_ice(dashboard: Dashboard, question: Question, asking: Asking) -> dict[str, Any]:
    """Answer ``api/ice``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question
    asking : callable

    Returns
    -------
    dict
        As in docs/dashboard-api.md.
    """
    model = dashboard.asked_model()
    output = dashboard.output(question)
    rows = _read_rows(dashboard, question)
    place, values = _find_feature(dashboard, question)
    currents = _plain_column(model.schema, rows.matrix, place)
    if values.kind == "date":
        currents = list(map(respell_date, currents))
    grid = _read_grid(dashboard, question, values, currents)
    if len(rows.matrix) * len(grid) > LIMITS["cells"]:
        raise question.part("grid").refuse(
            f"at most {LIMITS['cells']} cells of rows and grid together"
        )
    started = time.perf_counter()
    changed = _cross(model.schema, rows.matrix, place, grid)
    told = asking(lambda check: _predict(model, changed, check))
    outputs, scale = _outputs(dashboard, model, told, output)
    curves = []
    lines = outputs.reshape(len(rows.matrix), -1).tolist()
    places = [*[None] * rows.n_known, *range(len(lines) - rows.n_known)]
    for position, record, current, y in zip(rows.positions, places, currents, lines, strict=True):
        curves.append({"row": position, "record": record, "current": current, "y": y})
    return {
        "feature": question.part("feature").value,
        "kind": values.kind,
        "grid": grid,
        "scale": scale,
        "curves": curves,
        "ms": _milliseconds(started),
    }


def draw_pdp(dashboard: Dashboard, question: Question, asking: Asking) -> dict[str, Any]:
    """Answer ``api/pdp``: the mean of the curves of some rows, with a band of 10 to 90 %.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question
    asking : callable

    Returns
    -------
    dict
        As in docs/dashboard-api.md.
    """
    model = dashboard.asked_model()
    output = dashboard.output(question)
    place, values = _find_feature(dashboard, question)
    cohort = dashboard.cohorts.read_one(question)
    sample = question.part("sample").count(200, 1, MOST_SAMPLED)
    seed = question.part("seed").count(0, 0, 2**31)
    grid = _make_grid(values, [])
    rows = _sample(cohort.rows, min(sample, PDP_CELLS // max(1, len(grid))), seed)
    told = {"feature": question.part("feature").value, "kind": values.kind, "grid": grid}
    told |= {"n": len(rows), "of": cohort.n, **ROWS, "scale": None}
    if len(rows) == 0:
        return told
    key = ("pdp", place, output, sample, seed, cohort.key)

    def compute() -> dict[str, Any]:
        matrix = _read_positions(dashboard, rows.tolist())
        changed = _cross(model.schema, matrix, place, grid)
        answered = asking(lambda check: _predict(model, changed, check))
        outputs, scale = _outputs(dashboard, model, answered, output)
        curves = outputs.reshape(len(rows), -1)
        low, high = np.quantile(curves, BAND, axis=0)
        drawn = {"mean": curves.mean(axis=0), "low": low, "high": high}
        return {"scale": scale, **{name: line.tolist() for name, line in drawn.items()}}

    return told | dashboard.remember(key, compute)


def _sample(rows: NDArray[np.intp], n: int, seed: int) -> NDArray[np.intp]:
    """Draw rows; all of them where there are no more."""
    drawn = np.random.default_rng(seed).choice(rows, min(n, len(rows)), replace=False)
    return np.sort(drawn)


def _milliseconds(started: float) -> int:
    return round(1000 * (time.perf_counter() - started))


def _has_probabilities(model: ScoringModel) -> bool:
    return hasattr(model.original_model, "predict_proba")


def _listed(array: NDArray[Any] | None) -> Any:
    return unless_none(np.ndarray.tolist, array)


def _predict(model: ScoringModel, matrix: NDArray[Any], check: Check) -> dict[str, NDArray[Any]]:
    """Ask the model for rows, piece by piece."""
    request = ScoringRequest(explain=False, probabilities=_has_probabilities(model), check=check)
    parts = []
    for start in range(0, len(matrix), PIECE):
        check()
        answer = model.predict_and_explain(matrix[start : start + PIECE], request)
        parts.append(answer.arrays)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _outputs(
    dashboard: Dashboard, model: ScoringModel, told: dict[str, NDArray[Any]], output: int
) -> tuple[NDArray[np.float64], str]:
    """Return what a curve shows: the probability of a class, or the prediction."""
    if dashboard.outcomes.classes is None:
        predictions = told["predictions"].reshape(len(told["predictions"]), -1)
        column = min(output, predictions.shape[1] - 1)
        return predictions[:, column].astype(np.float64), "prediction"
    if "probabilities" in told:
        return told["probabilities"][:, output], "probability"
    labels = model.scoring_explainer.row_explainer.labels or dashboard.outcomes.classes
    return (told["predictions"] == labels[output]).astype(np.float64), "prediction"


def _name_predictions(dashboard: Dashboard, predictions: NDArray[Any]) -> list[Any]:
    """Return predictions as the dashboard names classes."""
    flat = predictions.reshape(len(predictions), -1)[:, 0]
    if dashboard.outcomes.classes is None:
        return predictions.tolist()
    return dashboard.outcomes.name_labels(flat)


def _read_records(schema: Schema, question: Question) -> NDArray[Any]:
    """Read the records of a question as ``/score`` does.

    Raises
    ------
    QuestionError
        When there are none, or too many.
    PayloadError
        When a value does not fit its column.
    """
    part = question.part("records")
    listed = [one.value for one in part.items(LIMITS["rows"])]
    if set(map(type, listed)) != {dict}:
        raise part.refuse("records, objects with every feature")
    try:
        return schema.from_records(listed)
    except PayloadError as error:
        raise QuestionError(part.pointer, str(error)) from None


def _read_rows(dashboard: Dashboard, question: Question) -> _Rows:
    """Read the rows and the records that a question names."""
    schema, last = dashboard.asked_model().schema, dashboard.store.n_rows - 1
    listed = question.part("rows").items(LIMITS["rows"])
    positions = [one.count(None, 0, last) for one in listed]
    matrix = _read_positions(dashboard, positions)
    if question.part("records").items(LIMITS["rows"]):
        matrix = np.concatenate([matrix, _read_records(schema, question)])
    if len(matrix) == 0:
        raise question.part("rows").refuse("rows or records")
    n_records = len(matrix) - len(positions)
    return _Rows(matrix, [*positions, *[None] * n_records])


def _read_positions(dashboard: Dashboard, positions: Sequence[int]) -> NDArray[Any]:
    """Read rows of the explanation as the model takes them.

    Raises
    ------
    UnavailableError
        When their values are not there.
    """
    schema, store = dashboard.asked_model().schema, dashboard.store
    if not positions:
        dtype = np.float64 if schema.is_numeric else object
        return np.empty((0, len(schema.names)), dtype)
    columns = []
    for name in schema.names:
        values = store.values_of(name)
        if values is None:
            raise UnavailableError(NO_ROWS)
        columns.append(values.plain(np.asarray(positions)))
    return schema.from_named(schema.names, columns)


def _find_feature(dashboard: Dashboard, question: Question) -> tuple[int, Values]:
    """Return the place of a feature among the model's columns, and its values."""
    part = question.part("feature")
    position = part.count(None, 0, len(dashboard.store.features) - 1)
    name = dashboard.store.features[position]
    return dashboard.asked_model().schema.names.index(name), dashboard.store.values(position)


def _plain_column(schema: Schema, matrix: NDArray[Any], place: int) -> list[Any]:
    return list(map(schema.columns[place].plain, matrix[:, place]))


def _read_grid(
    dashboard: Dashboard, question: Question, values: Values, currents: list[Any]
) -> list[Any]:
    part = question.part("grid")
    if part.is_absent:
        return _make_grid(values, currents)
    return [one.value for one in part.items(LIMITS["cells"])]


def _make_grid(values: Values, currents: list[Any]) -> list[Any]:
    """Return quantiles with the least, the largest and the current values; or the categories."""
    if values.categories is not None:
        return _list_categories(values, currents)
    currents_known = set(currents) - {None}
    numbers = values.numbers()
    known = numbers[np.isfinite(numbers)]
    if len(known) == 0:
        return sorted(currents_known)
    quantiles = np.quantile(known, np.linspace(0, 1, N_QUANTILES + 1))
    quantiles = _ROUNDERS.get(values.kind, _keep)(quantiles, known)
    reached = quantiles[np.isfinite(quantiles)]
    return sorted(currents_known.union(map(values.plain_value, reached.tolist())))


def _keep(quantiles: NDArray[Any], known: NDArray[Any]) -> NDArray[Any]:
    """Leave numbers as they are."""
    return quantiles


def _round_numbers(quantiles: NDArray[Any], known: NDArray[Any]) -> NDArray[Any]:
    """Round to whole numbers."""
    return np.rint(quantiles).astype(np.int64)


def _round_dates(quantiles: NDArray[Any], known: NDArray[np.float64]) -> NDArray[Any]:
    """Round moments to days where all values are days, else to seconds, within the values."""
    a_day = 86_400_000.0
    unit = 1000.0 if (known % a_day).any() else a_day
    inside: NDArray[Any] = np.round(quantiles / unit) * unit
    return np.clip(inside, known.min(), known.max())


def _list_categories(values: Values, currents: list[Any]) -> list[Any]:
    assert values.categories is not None
    counts = np.bincount(values.stored[~values.missing], minlength=len(values.categories))
    frequent = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
    there = frequent[counts[frequent] > 0]
    listed = map(values.categories.__getitem__, there.tolist())
    grid = dict.fromkeys([*listed, *currents])
    grid.pop(None, None)
    return list(grid)


def _cross(schema: Schema, matrix: NDArray[Any], place: int, grid: list[Any]) -> NDArray[Any]:
    """Return each row with each value of a grid in one column, row by row."""
    column = schema.columns[place]
    if not grid:
        raise UnavailableError(f"Column {column.name!r} has no values to draw a curve over.")
    changed = np.repeat(matrix, len(grid), axis=0)
    changed[:, place] = np.tile(column.read(grid), len(matrix))
    return changed


def _warn(dashboard: Dashboard, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Say where a record has values that no row of the explanation has."""
    if not dashboard.store.has_rows:
        return []
    found = []
    for position, name in enumerate(dashboard.store.features):
        told = _compare(dashboard, position, record.get(name))
        found.append({"feature": name, "message": told})
    return list(filter(itemgetter("message"), found))


def _compare(dashboard: Dashboard, position: int, value: Any) -> str:
    """Tell how a value lies outside those of the rows; nothing where it does not."""
    least, most, categories = dashboard.ranges(position)
    if categories is not None:
        is_known = value in {None, *categories}
        return f"{shown(value)} is in no row" * (not is_known)
    if None in (value, least):
        return ""
    value = respell_date(value)  # numbers stay as they are
    above = f"above the largest value, {most}" * (value > most)
    return above + f"below the least value, {least}" * (value < least)


_ROUNDERS = {"integer": _round_numbers, "date": _round_dates}
