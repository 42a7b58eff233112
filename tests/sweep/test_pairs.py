"""Every pair of rows and a model: the importances are those of the definition, and what is served
is what the model says.
"""

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from pairs import EXAMPLES, PAIRS, Pair
from serving import JSON, ROOT
from shapley_by_definition import shapley_by_definition
from werkzeug.serving import make_server

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save
from service.settings import Settings
from service.web.app import create_app

EXPLAINED = [31, 77]  # rows that are no examples
pytestmark = [
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
    pytest.mark.filterwarnings("ignore:.*[Cc]onvergence"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@dataclass(frozen=True)
class Explained:
    """A fitted pair with its explainer."""

    pair: Pair
    model: Any
    rows: Any
    explainer: TabularExplainer


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def explained(request):
    """A pair, fitted and explained once for all tests of it."""
    model, rows = request.param.fitted()
    explainer = TabularExplainer(model, rows_at(rows, slice(EXAMPLES)))
    return Explained(request.param, model, rows, explainer)


def rows_at(rows, positions):
    return rows.iloc[positions] if isinstance(rows, pd.DataFrame) else rows[positions]


def mixed_rows(rows, positions):
    """Rows whose every cell comes from a row of its own; (n_rows, n_features) positions."""
    if not isinstance(rows, pd.DataFrame):
        return np.take_along_axis(rows, positions, axis=0)
    cells = {
        name: rows[name].take(positions[:, place]).reset_index(drop=True)
        for place, name in enumerate(rows)
    }
    return pd.DataFrame(cells)


def margin(model, rows):
    """The margin of a classifier by its own library, one column a class."""
    if hasattr(model, "steps"):
        return margin(model[-1], model[:-1].transform(rows))
    if hasattr(model, "best_estimator_"):
        return margin(model.best_estimator_, rows)
    if not hasattr(model, "decision_function") and hasattr(model, "estimator_"):
        return margin(model.estimator_, rows)
    name = type(model).__name__
    if name.startswith("LGBM"):
        raw = model.predict(rows, raw_score=True)
    elif name.startswith("XGB"):
        raw = model.predict(rows, output_margin=True)
    elif name.startswith("CatBoost"):
        raw = model.predict(rows, prediction_type="RawFormulaVal")
    else:
        raw = model.decision_function(rows)
    return np.column_stack([-raw, raw]) if raw.ndim == 1 else raw


OUTPUTS = {
    "prediction": lambda model, rows: model.predict(rows),
    "probability": lambda model, rows: model.predict_proba(rows),
    "margin": margin,
}


def importances_of(model, rows, output, place):
    """By the definition, over all coalitions and all examples; (n_outputs, n_features)."""
    examples = np.repeat(np.arange(EXAMPLES)[:, None], rows.shape[1], axis=1)
    row = np.full(rows.shape[1], place)

    def function(positions):
        return np.asarray(OUTPUTS[output](model, mixed_rows(rows, positions)), dtype=float)

    return shapley_by_definition(function, row, examples, np.ones(EXAMPLES))


def precision(pair):
    """How exactly a pair can add up, relative to its outputs: XGBoost sums in single precision."""
    return 1e-5 if "XGB" in pair.model or pair.rows == "single" else 1e-9


def test_the_importances_are_those_of_the_definition(explained):
    """Exact where no standard error is given, and within six of them where one is."""
    model, rows, explainer = explained.model, explained.rows, explained.explainer
    local = explainer.explain_local(rows_at(rows, EXPLAINED)).importances
    values = local.values if local.values.ndim == 3 else local.values[None]
    errors = local.standard_errors
    errors = np.zeros_like(values) if errors is None else errors.reshape(values.shape)
    outputs = np.asarray(OUTPUTS[explainer.output](model, rows), dtype=float)

    for place, row in enumerate(EXPLAINED):
        expected = importances_of(model, rows, explainer.output, row)
        allowed = precision(explained.pair) * np.abs(outputs).max() + 6 * errors[:, place]
        assert (np.abs(values[:, place] - expected) <= allowed).all(), (
            explainer.method,
            values[:, place],
            expected,
            errors[:, place],
        )


@contextmanager
def served(application):
    """An application behind a socket."""
    server = make_server("127.0.0.1", 0, application)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join(timeout=30)
        server.server_close()


def bodies_of(frame):
    """The rows in each form that a client may send: its name, route, content type and body."""
    orients = {}
    for orient in ("records", "columns", "split", "values"):
        orients[orient] = frame.to_json(orient=orient, date_format="iso", double_precision=15)
        yield orient, "/score", JSON, orients[orient]
    yield "dataframe_split", "/invocations", JSON, f'{{"dataframe_split": {orients["split"]}}}'
    yield "instances", "/v1/models/model:predict", JSON, f'{{"instances": {orients["records"]}}}'
    yield "csv", "/invocations", "text/csv; header=present", frame.to_csv(index=False)


def assert_same(answered, expected, form):
    """Labels are equal; numbers are, but for the order in which linear algebra adds them up."""
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answered, expected, rtol=1e-12, atol=0, err_msg=form)
    else:
        assert answered == expected.tolist(), form


def test_served_predictions_are_the_models_own(explained, tmp_path, monkeypatch):
    """Over HTTP, in every orient, wrapper and format."""
    model, rows, explainer = explained.model, explained.rows, explained.explainer
    save(KernelScoringExplainer(explainer), tmp_path, exist_ok=True, original_model=model)
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    sent = rows_at(rows, [*EXPLAINED, 0, 1, 2, 3, 4, 5])
    expected = np.asarray(model.predict(sent))
    frame = pd.DataFrame(sent).set_axis(explainer.features, axis=1).reset_index(drop=True)

    with served(create_app(Settings(entry_script=ROOT / "score.py"))) as address:
        for form, route, content_type, body in bodies_of(frame):
            answer = requests.post(
                f"{address}{route}?explain=false",
                data=body,
                headers={"Content-Type": content_type},
                timeout=60,
            )
            assert answer.status_code == 200, (form, answer.text)
            assert_same(answer.json()["predictions"], expected, form)


def test_there_are_enough_pairs():
    """At least 150, and no two alike."""
    assert len(PAIRS) >= 150
    assert len({str(pair) for pair in PAIRS}) == len(PAIRS)
