"""A dashboard asks its model; it is shown in notebooks, and frozen in one file."""

import base64
import json
import re
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest
from dashboards import HOSTILE, asking, asking_app, explained, of_many_classes, unpacked
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression

from service.commands import main
from service.dashboard import Dashboard, ExplanationDashboard, open_dashboard, write_snapshot
from service.dashboard.errors import BusyError
from service.dashboard.hosting.serving import create_dashboard_app
from service.dashboard.hosting.snapshot import make_snapshot
from service.dashboard.model_access import OwnAccess
from service.dashboard.store import store_of
from service.explainers import TabularExplainer
from service.explanations import (
    ExplanationContext,
    GlobalExplanation,
    load_explanation,
    save_explanation,
)
from service.scoring import KernelScoringExplainer, ScoringModel


@pytest.fixture(scope="module")
def mixed():
    """A classifier of categories, gaps and numbers, its explanation, and a dashboard of both."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "age": random.integers(18, 80, 200),
            "colour": pd.Categorical(random.choice(["red", "blue"], 200)),
            "income": np.where(random.random(200) < 0.2, np.nan, random.normal(size=200)),
        }
    )
    y = np.where(rows["age"] + 20 * (rows["colour"] == "red") > 55, "bad", "good")
    model = HistGradientBoostingClassifier(
        max_iter=10, categorical_features="from_dtype", random_state=0
    ).fit(rows, y)
    explainer = TabularExplainer(model, rows)
    explanation = explainer.explain_global(rows[:60])
    scoring = ScoringModel(model, KernelScoringExplainer(explainer))
    return model, rows, explanation, asking(explanation, scoring)


class Failing:
    """A model that fails from a moment on."""

    classes_ = ("bad", "good")
    fails = False

    def predict(self, rows):
        return np.array(self.classes_)[self.predict_proba(rows).argmax(axis=1)]

    def predict_proba(self, rows):
        if self.fails:
            raise ZeroDivisionError("no such rows")
        return np.tile([0.25, 0.75], (len(rows), 1))


def test_what_if_is_what_the_model_says(mixed):
    """Predictions and probabilities of changed rows, and the rows as they were scored."""
    model, rows, _, ask = mixed
    record = {"age": 30, "colour": "blue", "income": None}
    told = ask("predict", records=[record, {**record, "age": 500}])
    frame = pd.DataFrame([record, {**record, "age": 500}])
    frame["colour"] = frame["colour"].astype(rows["colour"].dtype)
    frame["income"] = frame["income"].astype(float)
    assert told["predicted"] == model.predict(frame).tolist()
    assert np.allclose(told["probabilities"], model.predict_proba(frame))
    assert told["records"][0] == record
    assert told["warnings"][0] == []
    assert told["warnings"][1][0]["feature"] == "age"
    assert "above" in told["warnings"][1][0]["message"]


def test_an_explanation_asked_live_adds_up(mixed):
    """To the output of the model; of a row that was explained it is the saved one."""
    _, _, explanation, ask = mixed
    row = ask("row", rows=[7], **{"class": 1})
    record = dict(zip(row["features"], row["rows"][0]["values"], strict=True))
    live = ask("explain", records=[record], **{"class": 1})["rows"][0]
    assert live["phi"] == pytest.approx(explanation.importances.values[1, 7].tolist())
    assert live["residual"] == pytest.approx(0, abs=1e-9)
    assert live["total"] == pytest.approx(live["base"] + sum(live["phi"]))


@pytest.mark.parametrize("feature", [0, 1, 2])
def test_curves_are_predictions_of_changed_rows(mixed, feature):
    """ICE row by row, PDP as their mean with quantiles; the grid has the ends and the current."""
    model, rows, _, ask = mixed
    told = ask("ice", rows=[3, 11], feature=feature, **{"class": 0})
    column = rows.columns[feature]
    for curve in told["curves"]:
        changed = rows.iloc[[curve["row"]] * len(told["grid"])].copy()
        changed[column] = pd.Series(told["grid"], index=changed.index).astype(rows[column].dtype)
        assert curve["y"] == pytest.approx(model.predict_proba(changed)[:, 0].tolist())
        assert curve["current"] is None or curve["current"] in told["grid"]
    known = rows[column][:60].dropna()
    if feature != 1:
        assert (told["grid"][0], told["grid"][-1]) == (known.min(), known.max())
    pdp = ask("pdp", feature=feature, **{"class": 0})
    curves = []
    for value in pdp["grid"]:
        changed = rows[:60].copy()
        changed[column] = pd.Series([value] * 60).astype(rows[column].dtype)
        curves.append(model.predict_proba(changed)[:, 0])
    assert pdp["mean"] == pytest.approx(np.mean(curves, axis=1).tolist())
    low, high = np.quantile(curves, [0.1, 0.9], axis=1)
    assert (pdp["low"], pdp["high"]) == (pytest.approx(low), pytest.approx(high))


WRONG = {
    "no records": ({"records": []}, "/records"),
    "missing column": ({"records": [{"age": 3}]}, "/records"),
    "category": ({"records": [{"age": 3, "colour": 7, "income": 1.0}]}, "/records"),
    "many": ({"records": [{}] * 11}, "/records"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_records_are_refused(mixed, name):
    """By the schema of the model, with their place."""
    question, pointer = WRONG[name]
    told = mixed[3]("predict", status=400, **question)
    assert told["pointer"] == pointer


def test_a_model_that_fails_says_how(mixed, caplog):
    """In the answer, by the error's name and words, with its traceback in the log."""
    rows, model = mixed[1], Failing()
    explainer = TabularExplainer(model, rows[:10])
    scoring = ScoringModel(model, KernelScoringExplainer(explainer))
    ask = asking(explainer.explain_global(rows[:5]), scoring)
    question = {"records": [{"age": 30, "colour": "red", "income": None}]}
    assert ask("predict", **question)["predicted"] == ["good"]
    model.fails = True
    told = ask("predict", status=500, **question)
    assert told == {"message": "Answering failed: ZeroDivisionError: no such rows", "pointer": None}
    assert "Traceback" in caplog.text


def test_work_is_bounded(mixed):
    """Cells, and questions at once; who comes too early is told when to come again."""
    _, _, _, ask = mixed
    grid = list(np.linspace(-3, 3, 600))
    told = ask("ice", status=400, rows=list(range(10)), feature=2, grid=grid)
    assert told["pointer"] == "/grid"
    access = OwnAccess.of(1)

    def ask_within(check):
        with pytest.raises(BusyError):
            access.of_request({})(lambda _: 1)
        return 2

    assert access.of_request({})(ask_within) == 2
    assert access.of_request({})(lambda _: 3) == 3


def test_a_regression_shows_predictions():
    """And a model of other columns is not asked, with the reason."""
    data = load_diabetes(as_frame=True)
    model = LinearRegression().fit(data.data, data.target)
    explainer = TabularExplainer(model, data.data)
    explanation = explainer.explain_global(data.data[:50])
    scoring = ScoringModel(model, KernelScoringExplainer(explainer))
    ask = asking(explanation, scoring)
    told = ask("ice", rows=[0], feature=2)
    assert told["scale"] == "prediction"
    changed = data.data.iloc[[0] * len(told["grid"])].copy()
    changed.iloc[:, 2] = told["grid"]
    assert told["curves"][0]["y"] == pytest.approx(model.predict(changed).tolist())
    assert ask("row", rows=[5])["rows"][0]["residual"] == pytest.approx(0, abs=1e-9)

    stale = asking(explained("regression"), scoring)
    reason = stale("meta")["capabilities"]["ice"]["reason"]
    assert "other columns" in reason
    assert stale("ice", status=409, rows=[0], feature=0)["message"] == reason


def test_a_notebook_shows_it_by_the_documented_line(mixed):
    """With the older name of its rows; the server answers under a token alone."""
    model, rows, explanation, _ = mixed
    y = model.predict(rows[:60])
    dashboard = ExplanationDashboard(explanation, model, datasetX=rows[:60], true_y=y)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{dashboard.url}api/meta", timeout=30) as answer:
            meta = json.load(answer)
        assert meta["labels"]
        assert meta["capabilities"]["explain"]["ok"]
        request = urllib.request.Request(
            f"{dashboard.url}api/ice",
            json.dumps({"rows": [0], "feature": 0}).encode(),
            {"Content-Type": "application/json"},
        )
        with opener.open(request, timeout=30) as answer:
            assert json.load(answer)["curves"]
        root = dashboard.url.rsplit("/", 2)[0]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            opener.open(f"{root}/api/meta", timeout=30)
        shown = dashboard._repr_html_()
        assert dashboard.url in shown
        assert "cannot reach" in shown
    finally:
        dashboard.stop()


def test_a_notebook_says_what_is_missing(tmp_path, mixed):
    """An explanation that was loaded knows no explainer; rows and options that do not fit."""
    model, rows, explanation, _ = mixed
    loaded = load_explanation(save_explanation(explanation, tmp_path / "saved"))
    dashboard = ExplanationDashboard(
        loaded, model, rows[:60], public_url="https://hub.example.com/proxy/{port}/"
    )
    dashboard.stop()
    assert re.match(r"https://hub\.example\.com/proxy/\d+/[\w-]+/$", dashboard.url)
    with pytest.raises(ValueError, match="expected 60 rows"):
        ExplanationDashboard(explanation, model, rows)
    with pytest.raises(TypeError, match="expected a LocalExplanation"):
        ExplanationDashboard(model)
    with pytest.warns(UserWarning, match="locale"):
        ExplanationDashboard(explanation, locale="nl").stop()


def frozen_in(page):
    """Return what a snapshot holds."""
    found = re.search(r'<script type="application/json" id="snapshot">(.*?)</script>', page, re.S)
    return json.loads(found.group(1))


def test_a_snapshot_answers_as_the_server_does(tmp_path):
    """Every frozen answer is that of the same question; names are no markup; nothing is asked."""
    explanation = explained("binary")
    folder = save_explanation(explanation, tmp_path / "saved", include_data=True)
    assert main(["snapshot", str(folder), str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert HOSTILE[0] not in page
    assert "default-src 'none'" in page
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S*", "", page)
    frozen = frozen_in(page)
    assert HOSTILE[0] in frozen["meta"]["views"][0]["features"]
    assert not frozen["meta"]["capabilities"]["ice"]["ok"]
    assert frozen["left_out"]
    ask = asking_app(create_dashboard_app(open_dashboard(folder)))
    calls = set()
    for one in frozen["answers"]:
        call = one["call"].removeprefix("api/")
        calls.add(call)
        answer = ask(call, **one["question"])
        if call == "points":
            assert base64.b64decode(one["answer"]["base64"]) == answer
        else:
            assert one["answer"] == answer
    assert calls == {
        *("cohorts", "performance", "importance", "columns", "histogram", "points"),
        *("rows", "row", "errortree"),
    }


def test_a_snapshot_of_many_rows_stays_small(tmp_path):
    """Points are counted; it says what is left out."""
    dashboard = Dashboard(store_of(explained("binary", n=5000)))
    assert write_snapshot(dashboard, tmp_path / "page.html") < 5_000_000
    frozen = frozen_in((tmp_path / "page.html").read_text(encoding="utf-8"))
    points = [one["answer"] for one in frozen["answers"] if one["call"] == "api/points"]
    heading, _ = unpacked(base64.b64decode(points[0]["base64"]))
    assert heading["kind"] == "grid"
    assert any("50 of 5000" in sentence for sentence in frozen["left_out"])
    assert make_snapshot(dashboard) == make_snapshot(dashboard)


def test_a_snapshot_of_many_classes_stays_small(tmp_path):
    """It holds the first ones, and says so."""
    random = np.random.default_rng(0)
    names, importances = of_many_classes(random, 120, 60, 5)
    probabilities = random.dirichlet(np.ones(120), 60)
    context = ExplanationContext(
        eval_y_predicted=np.array(names)[probabilities.argmax(axis=1)],
        eval_y_predicted_proba=probabilities,
        true_labels=np.array(names)[random.integers(0, 120, 60)],
        class_labels=names,
        model_task="classification",
    )
    dashboard = Dashboard(store_of(GlobalExplanation(importances, context)))
    assert write_snapshot(dashboard, tmp_path / "out.html") < 5_000_000
    assert "the first 10 of 120 outputs" in (tmp_path / "out.html").read_text(encoding="utf-8")


def test_the_command_line_refuses_in_a_sentence(tmp_path, caplog):
    """What is no explanation."""
    assert main(["dashboard", str(tmp_path / "nothing")]) == 1
    assert "found nothing" in caplog.text


@pytest.mark.parametrize("option", ["--workers", "--http_port", "--model_dir"])
def test_options_of_the_service_are_no_options_of_the_dashboard(option, capsys):
    """They would be taken and do nothing."""
    with pytest.raises(SystemExit):
        main(["dashboard", "somewhere", option, "3"])
    assert f"unrecognized arguments: {option} 3" in capsys.readouterr().err
