"""Every number of the dashboard is scikit-learn's or numpy's of the same rows."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dashboards import HOSTILE, asking, explained, mixed_rows, unpacked
from scipy.sparse import csr_array
from sklearn import metrics
from sklearn.calibration import calibration_curve

from service.dashboard import open_dashboard
from service.dashboard.charts import intervals
from service.dashboard.store import Store
from service.errors import ArtifactError, DigestError
from service.explanations import (
    GlobalExplanation,
    LocalExplanation,
    load_explanation,
    save_explanation,
)

ALL = {"name": "All data"}
FLAGGED = {"name": "flagged", "filters": [{"col": "x6", "op": "=", "value": True}]}


@pytest.fixture(scope="module")
def binary():
    explanation = explained("binary")
    return explanation, asking(explanation)


@pytest.fixture(scope="module")
def multiclass():
    explanation = explained("multiclass")
    return explanation, asking(explanation)


@pytest.fixture(scope="module")
def regression():
    explanation = explained("regression")
    return explanation, asking(explanation)


def frame_of(explanation):
    """Return all that filters can ask for, as a table of pandas."""
    context = explanation.context
    frame = context.eval_data.copy()
    frame.columns = [f"x{i}" for i in range(frame.shape[1])]
    frame["true"], frame["predicted"] = np.asarray(context.true_labels), context.eval_y_predicted
    if context.eval_y_predicted_proba is not None:
        frame["p1"] = context.eval_y_predicted_proba[:, 1]
    if explanation.classes is not None:
        frame["phi4.1"] = explanation.importances.values[1, :, 4]
    return frame


def test_the_page_is_told_what_there_is(binary):
    """Tasks, classes, features with hostile names, and capabilities with reasons."""
    _, ask = binary
    meta = ask("meta")
    assert (meta["task"], meta["classes"], meta["positive"]) == ("binary", ["no", "yes"], 1)
    assert meta["views"][0]["features"][:3] == HOSTILE
    assert meta["n_rows"] == 240
    assert meta["labels"]
    ids = [column["id"] for column in meta["columns"]]
    assert ids == ["row", "index", "true", "predicted", "outcome", "p0", "p1"]
    assert meta["capabilities"]["rows"] == {"ok": True, "reason": None}
    assert not meta["capabilities"]["ice"]["ok"]
    assert "name one" in meta["capabilities"]["ice"]["reason"]


def test_columns_are_described_as_pandas_does(binary):
    """Ranges and quantiles; categories with counts; gaps; dates as texts."""
    explanation, ask = binary
    rows = explanation.context.eval_data
    told = ask("columns", columns=["x8", "x1", "x7", "x6", "x5", "row"])["columns"]
    gaps, colour, day, flag, constant, row = told
    quantiles = rows["gaps"].quantile([0.05, 0.25, 0.5, 0.75, 0.95])
    assert gaps["quantiles"] == pytest.approx(quantiles.tolist())
    assert gaps["n_missing"] == rows["gaps"].isna().sum()
    counts = rows[HOSTILE[1]].value_counts().to_dict()
    assert {one["value"]: one["n"] for one in colour["categories"]} == counts
    assert colour["n_missing"] == 5
    assert (day["kind"], day["min"]) == ("date", str(rows["day"].min().date()))
    assert {one["value"] for one in flag["categories"]} == {False, True}
    assert (constant["min"], constant["max"], constant["n_different"]) == (3.5, 3.5, 1)
    assert (row["kind"], row["n_different"]) == ("text", 240)


FILTERS = {
    "more": ([{"col": "x0", "op": ">", "value": 0.5}], lambda f: f.x0 > 0.5),
    "between": ([{"col": "x2", "op": "between", "value": [2, 4]}], lambda f: f.x2.between(2, 4)),
    "in": (
        [{"col": "x1", "op": "in", "value": ["red", 'gr"een']}],
        lambda f: f.x1.isin(["red", 'gr"een']),
    ),
    "not-in": ([{"col": "x1", "op": "not-in", "value": ["red"]}], lambda f: f.x1 != "red"),
    "missing": ([{"col": "x8", "op": "missing"}], lambda f: f.x8.isna()),
    "not-missing": ([{"col": "x1", "op": "not-missing"}], lambda f: f.x1.notna()),
    "unequal": ([{"col": "x8", "op": "!=", "value": 0}], lambda f: f.x8 != 0),
    "true class": ([{"col": "true", "op": "=", "value": "yes"}], lambda f: f.true == "yes"),
    "outcome": (
        [{"col": "outcome", "op": "in", "value": ["FP", "FN"]}],
        lambda f: f.true != f.predicted,
    ),
    "false alarms": (
        [{"col": "outcome", "op": "=", "value": "FP"}],
        lambda f: (f.true == "no") & (f.predicted == "yes"),
    ),
    "probability": ([{"col": "p1", "op": "<=", "value": 0.3}], lambda f: f.p1 <= 0.3),
    "importance": ([{"col": "phi4.1", "op": "<", "value": 0}], lambda f: f["phi4.1"] < 0),
    "date": ([{"col": "x7", "op": ">=", "value": "2024-02-01"}], lambda f: f.x7 >= "2024-02-01"),
    "huge": ([{"col": "x4", "op": ">", "value": 1e12}], lambda f: f.x4 > 1e12),
    "row": (
        [{"col": "row", "op": "contains", "value": "ROW 7"}],
        lambda f: f.index.str.contains("row 7"),
    ),
    "one row": ([{"col": "row", "op": "=", "value": "row 7"}], lambda f: f.index == "row 7"),
    "position": ([{"col": "index", "op": "<", "value": 9}], lambda f: np.arange(len(f)) < 9),
    "two": (
        [{"col": "x0", "op": ">", "value": 0}, {"col": "x6", "op": "=", "value": False}],
        lambda f: (f.x0 > 0) & ~f.x6,
    ),
    "nested": (
        [
            {"col": "x0", "op": ">", "value": 0},
            {
                "match": "any",
                "filters": [
                    {"col": "x2", "op": "=", "value": 3},
                    {"col": "x9", "op": "=", "value": "b"},
                ],
            },
        ],
        lambda f: (f.x0 > 0) & ((f.x2 == 3) | (f.x9 == "b")),
    ),
    "none": ([{"col": "x0", "op": ">", "value": 1e9}], lambda f: f.x0 > 1e9),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_keep_the_rows_that_pandas_keeps(binary, name):
    """Counted, and row by row in the order of the table."""
    explanation, ask = binary
    filters, of_frame = FILTERS[name]
    frame = frame_of(explanation)
    kept = np.flatnonzero(of_frame(frame))
    told = ask("cohorts", cohorts=[ALL, {"name": name, "filters": filters}])["cohorts"]
    assert [one["n"] for one in told] == [len(frame), len(kept)]
    rows = ask("rows", cohort={"filters": filters}, size=200)
    assert [row["index"] for row in rows["rows"]] == kept[:200].tolist()
    any_ = ask("cohorts", cohorts=[{"match": "any", "filters": filters}])["cohorts"][0]
    assert any_["n"] >= len(kept)


WRONG = {
    "column": ({"col": "x99", "op": "=", "value": 1}, "/cohorts/0/filters/0/col"),
    "name": ({"col": "age", "op": "=", "value": 1}, "/cohorts/0/filters/0/col"),
    "operation": ({"col": "x0", "op": "~", "value": 1}, "/cohorts/0/filters/0/op"),
    "text": ({"col": "x0", "op": "<", "value": "1"}, "/cohorts/0/filters/0/value"),
    "category": ({"col": "x1", "op": "=", "value": "pink"}, "/cohorts/0/filters/0/value"),
    "order": ({"col": "x1", "op": "<", "value": "red"}, "/cohorts/0/filters/0/value"),
    "date": ({"col": "x7", "op": "<", "value": "soon"}, "/cohorts/0/filters/0/value"),
    "truth": ({"col": "x0", "op": "=", "value": True}, "/cohorts/0/filters/0/value"),
    "no value": ({"col": "x0", "op": "="}, "/cohorts/0/filters/0/value"),
    "bounds": ({"col": "x0", "op": "between", "value": [1]}, "/cohorts/0/filters/0/value"),
    "member": ({"col": "x0", "op": "in", "value": [1, "2"]}, "/cohorts/0/filters/0/value/1"),
    "huge": ({"col": "x0", "op": "=", "value": 10**400}, "/cohorts/0/filters/0/value"),
    "kind": ([], "/cohorts/0/filters/0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_filter_is_named_by_its_place(binary, name):
    """By a JSON pointer, beside a sentence that begins with it."""
    filter_, pointer = WRONG[name]
    told = binary[1]("cohorts", status=400, cohorts=[{"filters": [filter_]}])
    assert told["pointer"] == pointer
    assert told["message"].startswith(pointer)


def test_filters_are_bounded(binary):
    """Groups within groups, and their number."""
    nested = {"filters": [{"col": "x0", "op": "missing"}]}
    for _ in range(6):
        nested = {"filters": [nested]}
    assert "deep" in binary[1]("cohorts", status=400, cohorts=[nested])["message"]
    many = {"filters": [{"col": "x0", "op": "missing"}] * 101}
    assert "at most 100" in binary[1]("cohorts", status=400, cohorts=[many])["message"]


def test_binary_performance_is_that_of_scikit_learn(binary):
    """Of all rows and of a cohort, metric by metric."""
    explanation, ask = binary
    frame = frame_of(explanation)
    groups = ask("performance", cohorts=[ALL, FLAGGED])["groups"]
    for group, part in zip(groups, (frame, frame[frame.x6]), strict=True):
        true, predicted = part.true == "yes", part.predicted == "yes"
        told = {name: one["value"] for name, one in group["metrics"].items()}
        expected = {
            "accuracy": metrics.accuracy_score(true, predicted),
            "precision": metrics.precision_score(true, predicted),
            "recall": metrics.recall_score(true, predicted),
            "f1": metrics.f1_score(true, predicted),
            "fpr": 1 - metrics.recall_score(~true, ~predicted),
            "fnr": 1 - metrics.recall_score(true, predicted),
            "selection_rate": predicted.mean(),
            "roc_auc": metrics.roc_auc_score(true, part.p1),
            "log_loss": metrics.log_loss(true, part.p1),
            "brier": metrics.brier_score_loss(true, part.p1),
        }
        assert list(told) == list(expected)
        assert told == pytest.approx(expected)
        table = metrics.confusion_matrix(part.true, part.predicted, labels=["no", "yes"])
        assert group["confusion"]["counts"] == table.tolist()
        average = metrics.average_precision_score(true, part.p1)
        assert group["pr"]["average_precision"] == pytest.approx(average)
        for one in group["metrics"].values():
            assert one["low"] <= one["value"] <= one["high"]


def test_a_threshold_moves_the_predictions(binary):
    """Also that of a probability which a row has exactly."""
    explanation, ask = binary
    frame = frame_of(explanation)
    for threshold in (0.0, 0.2, float(frame.p1.iloc[7]), 1.0):
        group = ask("performance", threshold=threshold)["groups"][0]
        table = metrics.confusion_matrix(frame.true == "yes", frame.p1 >= threshold)
        assert group["confusion"]["counts"] == table.tolist()


def test_curves_are_made_of_true_points(binary):
    """Each is the rate at its threshold, and ends are kept; at most 200 of many thousands."""
    explanation, ask = binary
    large = explained("binary", n=5000, seed=3)
    for one, asked in ((explanation, ask), (large, asking(large))):
        frame = frame_of(one)
        true = (frame.true == "yes").to_numpy()
        group = asked("performance")["groups"][0]
        roc, pr = group["roc"], group["pr"]
        assert len(roc["x"]) <= 200
        assert (roc["x"][0], roc["y"][0], roc["x"][-1], roc["y"][-1]) == (0, 0, 1, 1)
        for x, y, threshold in zip(roc["x"], roc["y"], roc["threshold"], strict=True):
            kept = np.zeros(len(frame), bool) if threshold is None else frame.p1 >= threshold
            assert (x, y) == pytest.approx((kept[~true].mean(), kept[true].mean()))
        for x, y, threshold in zip(pr["x"], pr["y"], pr["threshold"], strict=True):
            if threshold is not None:
                kept = frame.p1 >= threshold
                assert (x, y) == pytest.approx((kept[true].mean(), true[kept].mean()))
        observed, predicted = calibration_curve(true, frame.p1, n_bins=10)
        assert group["calibration"]["observed"] == pytest.approx(observed.tolist())
        assert group["calibration"]["predicted"] == pytest.approx(predicted.tolist())
        counts = np.histogram(frame.p1[true], np.linspace(0, 1, 21))[0]
        assert group["histogram"]["series"][0] == {"name": "yes", "counts": counts.tolist()}


def test_multiclass_performance_is_that_of_scikit_learn(multiclass):
    """Averages over classes, and a class against all others."""
    explanation, ask = multiclass
    frame = frame_of(explanation)
    classes = ["no", "yes", "may be"]
    group = ask("performance", **{"class": 2})["groups"][0]
    told = {name: one["value"] for name, one in group["metrics"].items()}
    probabilities = explanation.context.eval_y_predicted_proba
    codes = np.array([classes.index(name) for name in frame.true])
    expected = {"accuracy": metrics.accuracy_score(frame.true, frame.predicted)}
    for average in ("macro", "weighted"):
        scores = metrics.precision_recall_fscore_support(
            frame.true, frame.predicted, average=average
        )
        names = [f"{average}_{name}" for name in ("precision", "recall", "f1")]
        expected |= dict(zip(names, scores[:3], strict=True))
    expected["log_loss"] = metrics.log_loss(codes, probabilities)
    assert told == pytest.approx(expected)
    report = metrics.classification_report(frame.true, frame.predicted, output_dict=True)
    for one in group["per_class"]:
        of_class = report[one["class"]]
        assert one["f1"] == pytest.approx(of_class["f1-score"])
        assert one["n"] == of_class["support"]
    area = metrics.roc_auc_score(codes == 2, probabilities[:, 2])
    assert group["roc"]["area"] == pytest.approx(area)


def test_regression_performance_is_that_of_scikit_learn(regression):
    """With an interval around each number."""
    explanation, ask = regression
    frame = frame_of(explanation)
    for group, part in zip(
        ask("performance", cohorts=[ALL, FLAGGED])["groups"], (frame, frame[frame.x6]), strict=True
    ):
        true, predicted = part.true.astype(float), part.predicted.astype(float)
        told = {name: one["value"] for name, one in group["metrics"].items()}
        expected = {
            "mae": metrics.mean_absolute_error(true, predicted),
            "rmse": metrics.root_mean_squared_error(true, predicted),
            "r2": metrics.r2_score(true, predicted),
            "median_ae": metrics.median_absolute_error(true, predicted),
            "mean_prediction": predicted.mean(),
            "mean_error": (predicted - true).mean(),
        }
        assert told == pytest.approx(expected)
        counts, edges = np.histogram(predicted - true, 20)
        assert group["histogram"]["series"][0]["counts"] == counts.tolist()
        assert group["histogram"]["edges"] == pytest.approx(edges.tolist())
        assert sum(group["residuals"]["n"]) == len(part)


def test_a_split_is_a_partition_into_cohorts(binary):
    """The filters of each bin, added to the cohort, keep as many rows as the bin has."""
    _, ask = binary
    for column in ("x0", "x1", "x4", "x5", "x7", "x8"):
        for cohort in (ALL, FLAGGED):
            groups = ask("performance", cohorts=[cohort], split={"col": column, "bins": 3})
            cohorts = []
            for group in groups["groups"]:
                filters = [*cohort.get("filters", []), *group["bin"]["filters"]]
                cohorts.append({"filters": filters})
            counted = ask("cohorts", cohorts=[cohort, *cohorts])["cohorts"]
            sizes = [one["n"] for one in counted]
            assert sizes[1:] == [group["n"] for group in groups["groups"]]
            assert sum(sizes[1:]) == sizes[0]


def test_without_labels_there_are_distributions_only():
    """And no metric that would need them."""
    for task in ("binary", "multiclass", "regression"):
        ask = asking(explained(task, labels=False))
        told = ask("performance")
        (group,) = told["groups"]
        assert not told["labels"]
        assert set(group["metrics"]) <= {"selection_rate", "mean_prediction"}
        assert sum(group["histogram"]["series"][0]["counts"]) == 240
        assert group["confusion"] is None
        assert not ask("meta")["capabilities"]["labels"]["ok"]
        assert "true" in ask("histogram", status=400, x="true")["message"]


def test_intervals_cover_what_they_are_of():
    """Wilson's by the quadratic that defines it; DeLong's by the variance of its components."""
    told = intervals.share(7, 20)
    for end in (told["low"], told["high"]):
        assert (7 / 20 - end) ** 2 == pytest.approx(intervals.Z**2 * end * (1 - end) / 20)
    explanation = explained("binary")
    frame = frame_of(explanation)
    true = (frame.true == "yes").to_numpy()
    ones, others = frame.p1[true].to_numpy(), frame.p1[~true].to_numpy()
    wins = (ones[:, None] > others) + 0.5 * (ones[:, None] == others)
    variance = wins.mean(axis=1).var(ddof=1) / len(ones) + wins.mean(axis=0).var(ddof=1) / len(
        others
    )
    area = asking(explanation)("performance")["groups"][0]["metrics"]["roc_auc"]
    assert area["value"] == pytest.approx(wins.mean())
    assert area["high"] - area["value"] == pytest.approx(intervals.Z * variance**0.5)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_importances_are_means_of_the_rows(task):
    """Of all rows those of the explanation; of a cohort numpy's, for each class and for all."""
    explanation = explained(task)
    ask = asking(explanation)
    values = np.atleast_3d(explanation.importances.values)
    values = values if task != "regression" else explanation.importances.values[None]
    mask = explanation.context.eval_data["flag"].to_numpy()
    told = ask("importance", cohorts=[ALL, FLAGGED], top=30)
    ranked = [feature["name"] for feature in told["features"]]
    assert ranked == explanation.get_ranked_global_names()
    for one, among in zip(told["cohorts"], (slice(None), mask), strict=True):
        order = [feature["position"] for feature in told["features"]]
        magnitudes = np.abs(values[:, among])
        assert one["mean_abs"] == pytest.approx(magnitudes.mean(axis=(0, 1))[order])
        spread = magnitudes.mean(axis=0).std(axis=0, ddof=1) / np.sqrt(magnitudes.shape[1])
        assert one["standard_error"] == pytest.approx(spread[order])
    if task == "regression":
        return
    told = ask("importance", cohorts=[FLAGGED], top=30, quantiles=True, **{"class": 1})
    order = [feature["position"] for feature in told["features"]]
    of_class = values[1][mask][:, order]
    (one,) = told["cohorts"]
    assert one["mean"] == pytest.approx(of_class.mean(axis=0))
    assert one["mean_abs"] == pytest.approx(np.abs(of_class).mean(axis=0))
    expected = np.quantile(of_class, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0).T
    assert np.array(one["quantiles"]) == pytest.approx(expected)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_swarms_count_every_row(task):
    """As numpy's histograms in common bins; their colours are mean places among the values."""
    explanation = explained(task)
    ask = asking(explanation)
    flag = [{"col": "x6", "op": "=", "value": True}]
    none = [{"col": "x0", "op": ">", "value": 1e9}]
    cohorts = [{"name": "all"}, {"name": "flag", "filters": flag}, {"name": "no", "filters": none}]
    output = 0 if task == "regression" else 2
    told = ask("importance", cohorts=cohorts, swarm=True, top=10, **{"class": output})
    edges = np.array(told["swarm_edges"])
    values = explanation.importances.values.reshape(-1, 240, 10)[output]
    rows = explanation.context.eval_data
    assert edges[[0, -1]] == pytest.approx([values.min(), values.max()])
    masks = [np.full(240, True), rows["flag"].to_numpy()]
    for cohort, mask in zip(told["cohorts"], masks, strict=False):
        for feature, swarm in zip(told["features"], cohort["swarm"], strict=True):
            column = values[mask, feature["position"]]
            assert swarm["counts"] == np.histogram(column, edges)[0].tolist()
            name = rows.columns[feature["position"]]
            if name in ("gaps", "tiny"):
                low, high = rows[name].quantile([0.05, 0.95])
                places = ((rows[name] - low) / (high - low)).clip(0, 1)[mask]
                bins = np.minimum(np.digitize(column, edges) - 1, len(edges) - 2)
                means = places.groupby(bins).mean().reindex(range(len(edges) - 1))
                found = np.array(swarm["color"], dtype=float)
                assert found == pytest.approx(means.to_numpy(), nan_ok=True)
            assert ({*swarm["color"]} == {None}) == (name in ("kind", HOSTILE[1]))
    assert sum(sum(swarm["counts"]) for swarm in told["cohorts"][2]["swarm"]) == 0
    nobody = ask("importance", cohorts=cohorts[2:], swarm=True, **{"class": output})
    empty = {"counts": [0], "color": [None]}
    assert (nobody["swarm_edges"], nobody["cohorts"][0]["swarm"][0]) == ([-0.5, 0.5], empty)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.linspace(1e6 + 0.1, 1e6 + 0.5, 30), ["1000000.1", "1000000.3", "1000000.5"]),
        (np.linspace(10_000.4, 99_999.4, 30), ["10000", "55000", "99999"]),
        (9_007_199_254_740_000 + np.arange(30), ["9007199254740000", "9007199254740029"]),
    ],
)
def test_bins_with_different_edges_have_different_names(column, expected):
    """Of large numbers all digits before the point, and of close ones as many as it takes."""
    explanation = explained(n=30)
    rows = explanation.context.eval_data.assign(**{HOSTILE[0]: column})
    ask = asking(replace(explanation, context=replace(explanation.context, eval_data=rows)))
    groups = ask("box", y="x4", x="x0", bins=2)["groups"]
    labels = [group["bin"]["label"] for group in groups]
    assert len(set(labels)) == 2
    for text in expected:
        assert any(text in label for label in labels), (text, labels)


def test_days_are_cut_at_midnight():
    """Where they span more days than bins; each bin is the cohort of its days."""
    ask = asking(explained())
    groups = ask("box", y="x4", x="x7", bins=5)["groups"]
    assert all("T" not in group["bin"]["label"] for group in groups)
    assert sum(group["n"] for group in groups) == 240


def test_a_column_of_nothing_has_no_edges():
    """All rows are counted as missing."""
    explanation = explained(n=30)
    rows = explanation.context.eval_data.assign(**{HOSTILE[0]: np.nan})
    ask = asking(replace(explanation, context=replace(explanation.context, eval_data=rows)))
    told = ask("histogram", x="x0")
    assert (told["edges"], told["series"][0]) == ([], {"name": None, "counts": [], "missing": 30})


def test_features_are_searched_and_named(binary):
    """By a part of their name in any case, or by their positions."""
    _, ask = binary
    told = ask("importance", search="SCRIPT")
    assert [one["name"] for one in told["features"]] == [HOSTILE[0]]
    assert (told["n_found"], told["n_features"]) == (1, 10)
    told = ask("importance", features=[9, 2], **{"class": 1})
    assert [(one["id"], one["phi"]) for one in told["features"]] == [
        ("x9", "phi9.1"),
        ("x2", "phi2.1"),
    ]


def test_histograms_are_those_of_numpy(binary):
    """Numbers of every size, whole numbers, dates, categories; by another column too."""
    explanation, ask = binary
    frame = frame_of(explanation)
    for column in ("x0", "x3", "x4", "x8"):
        known = frame[column].dropna()
        counts, edges = np.histogram(known, 7)
        told = ask("histogram", x=column, bins=7)
        assert told["edges"] == pytest.approx(edges.tolist(), rel=1e-12)
        assert told["series"][0]["counts"] == counts.tolist()
        assert told["series"][0]["missing"] == len(frame) - len(known)
    whole = ask("histogram", x="x2")
    assert whole["series"][0]["counts"] == frame.x2.value_counts().sort_index().tolist()
    constant = ask("histogram", x="x5")
    assert (constant["edges"], constant["series"][0]["counts"]) == ([3.5, 3.5], [240])
    by = ask("histogram", x="x1", by="true")
    table = pd.crosstab(frame.true, frame.x1)
    for series in by["series"]:
        expected = [table.loc[series["name"], name] for name in by["categories"]]
        assert series["counts"] == expected


def test_boxes_are_those_of_numpy(binary):
    """Quartiles, whiskers within one and a half boxes, means; cut by a category."""
    explanation, ask = binary
    frame = frame_of(explanation)
    for group in ask("box", y="x8", x="x1")["groups"]:
        label = group["bin"]["label"]
        part = frame[frame.x1 == label].x8 if label != "(missing)" else frame[frame.x1.isna()].x8
        known = part.dropna().to_numpy()
        q1, median, q3 = np.quantile(known, [0.25, 0.5, 0.75])
        assert (group["q1"], group["median"], group["q3"]) == pytest.approx((q1, median, q3))
        inside = known[(known >= q1 - 1.5 * (q3 - q1)) & (known <= q3 + 1.5 * (q3 - q1))]
        assert (group["low"], group["high"]) == (inside.min(), inside.max())
        assert (group["n"], group["missing"]) == (len(part), part.isna().sum())
    assert "numbers" in ask("box", status=400, y="x1")["message"]


@pytest.mark.parametrize("x", ["x0", "x1", "x2", "x3", "x4", "x5", "x7", "x8"])
def test_points_are_the_rows_of_the_cohort(binary, x):
    """Their values to single precision of the range, and their positions."""
    explanation, ask = binary
    frame = frame_of(explanation)
    heading, arrays = unpacked(ask("points", cohort=FLAGGED, x=x, y="phi4.1", color="p1"))
    column = frame[x]
    if x == "x1":
        column = column.map({name: i for i, name in enumerate(heading["x"]["categories"])})
    if x == "x7":
        column = (column - pd.Timestamp(0)) / pd.Timedelta("1ms")
    kept = frame.x6 & column.notna()
    assert heading["kind"] == "points"
    assert heading["missing"] == (frame.x6 & column.isna()).sum()
    assert arrays["index"].tolist() == np.flatnonzero(kept).tolist()
    for name, expected in (("x", column), ("y", frame["phi4.1"]), ("color", frame.p1)):
        got = heading[name]["offset"] + heading[name]["scale"] * arrays[name].astype(float)
        reach = max(heading[name]["scale"], 0.0)
        assert got == pytest.approx(expected[kept].to_numpy(dtype=float), abs=1e-6 * reach)


def test_too_many_points_are_counted(binary):
    """As numpy's histogram of two axes; a smaller window shows the points in it again."""
    explanation, ask = binary
    frame = frame_of(explanation)
    heading, arrays = unpacked(ask("points", x="x0", y="phi4.1", color="p1", max=50))
    assert heading["kind"] == "grid"
    shape = (heading["nx"], heading["ny"])
    counts = np.histogram2d(frame.x0, frame["phi4.1"], shape)[0].T
    assert arrays["counts"].reshape(shape[::-1]).sum() == 240
    assert np.abs(arrays["counts"].reshape(shape[::-1]) - counts).sum() <= 4  # at edges
    window = [-0.5, 0.5, -3, 3]
    heading, arrays = unpacked(ask("points", x="x0", y="phi4.1", window=window, max=200))
    kept = frame.x0.between(-0.5, 0.5) & frame["phi4.1"].between(-3, 3)
    assert arrays["index"].tolist() == np.flatnonzero(kept).tolist()
    assert "different texts" in ask("points", status=400, x="row", y="x0")["message"]


def test_rows_are_paged_sorted_and_searched(binary):
    """What is missing comes last in both directions; a random order is that of its seed."""
    explanation, ask = binary
    frame = frame_of(explanation)
    for descending in (False, True):
        sort = {"col": "x8", "descending": descending}
        told = ask("rows", columns=["x8", "x1"], sort=sort, page=1, size=30)
        ranked = frame.sort_values("x8", ascending=not descending, kind="stable")[30:60]
        assert [row["id"] for row in told["rows"]] == list(ranked.index)
        assert told["total"] == 240
    last = ask("rows", columns=["x8"], sort={"col": "x8"}, page=2, size=100)["rows"][-1]
    assert last["values"] == [None]
    found = ask("rows", search="W 23", size=20)
    assert {row["id"] for row in found["rows"]} == {f"row {i}" for i in (23, *range(230, 240))}
    one, other = (ask("rows", sort={"random": 7}, size=5)["rows"] for _ in range(2))
    assert one == other


def test_a_row_adds_up_to_its_prediction(regression):
    """Base, importances and residual; values as they were."""
    explanation, ask = regression
    told = ask("row", rows=[3, 40])
    for row in told["rows"]:
        i = row["index"]
        assert row["id"] == f"row {i}"
        assert row["phi"] == explanation.importances.values[i].tolist()
        assert row["total"] == pytest.approx(0.5 + sum(row["phi"]))
        assert row["model"] == explanation.context.eval_y_predicted[i]
        assert row["residual"] == pytest.approx(row["model"] - row["total"])
        assert row["values"][7] == str(explanation.context.eval_data["day"].iloc[i].date())
    assert told["features"] == list(explanation.context.eval_data)


def test_the_error_tree_finds_where_the_model_fails(binary):
    """Its first split is what the errors were drawn by; each node is a cohort of its size."""
    _, ask = binary
    told = ask("errortree")
    root = told["nodes"][0]
    assert root["split"]["name"] == "flag"
    assert root["value"] == pytest.approx(told["value"])
    cohorts = [{"filters": node["filters"]} for node in told["nodes"]]
    for start in range(0, len(cohorts), 10):
        counted = ask("cohorts", cohorts=cohorts[start : start + 10])["cohorts"]
        nodes = told["nodes"][start : start + 10]
        assert [one["n"] for one in counted] == [node["n"] for node in nodes]
    for node in told["nodes"]:
        if node["children"]:
            assert sum(told["nodes"][child]["n"] for child in node["children"]) == node["n"]


def test_rows_are_exported_as_csv(binary):
    """A reader of CSV gets the values back."""
    explanation, ask = binary
    content = ask("export.csv", cohort=FLAGGED, columns=["x0", "x1", "true"])
    read = pd.read_csv(pd.io.common.BytesIO(content))
    rows = explanation.context.eval_data
    assert list(read) == ["row", HOSTILE[0], HOSTILE[1], "true"]
    assert read["row"].tolist() == list(rows.index[rows["flag"]])
    assert read[HOSTILE[0]].tolist() == rows[rows["flag"]][HOSTILE[0]].tolist()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_cohort_of_no_row_and_of_one_has_no_number_that_is_none(task):
    """Every chart answers, with null where there is no number."""
    explanation = explained(task)
    ask = asking(explanation)
    nobody = {"filters": [{"col": "x0", "op": ">", "value": 1e9}]}
    one = {"filters": [{"col": "index", "op": "=", "value": 3}]}
    for cohort in (nobody, one):
        ask("performance", cohorts=[cohort])
        ask("performance", cohorts=[cohort], split={"col": "x0"})
        ask("importance", cohorts=[cohort], quantiles=True, **{"class": 0})
        for x in ("x0", "x1"):
            ask("histogram", cohort=cohort, x=x, by="x6")
            ask("box", cohorts=[cohort], y="x0", x=x)
            unpacked(ask("points", cohort=cohort, x=x, y="phi0", color="x1"))
        assert ask("rows", cohort=cohort)["total"] == (cohort is one)
        ask("errortree", cohort=cohort)
    alone = asking(explanation[3:4])
    alone("performance")
    alone("importance")
    assert alone("rows", columns=["x0"])["total"] == 1


def test_one_class_and_constant_probabilities_have_no_curve():
    """And no warning either."""
    explanation = explained("binary")
    context = explanation.context
    same = replace(context, true_labels=np.array(["yes"] * 240))
    (group,) = asking(replace(explanation, context=same))("performance")["groups"]
    assert group["roc"] is None
    assert group["metrics"]["fpr"]["value"] is None
    assert group["metrics"]["roc_auc"]["value"] is None
    assert group["metrics"]["recall"]["value"] is not None


def test_labels_are_recognised_however_they_are_written():
    """As names, as scikit-learn's labels, as numbers in floats."""
    explanation = explained("binary")
    names = np.asarray(explanation.context.true_labels)
    expected = asking(explanation)("performance")["groups"][0]["confusion"]
    codes = (names == "yes").astype(int)
    for labels in (names.tolist(), codes, codes.astype(float), pd.Series(codes)):
        context = replace(explanation.context, true_labels=labels)
        told = asking(replace(explanation, context=context))("performance")["groups"][0]
        assert told["confusion"] == expected
    context = replace(explanation.context, true_labels=["what"] * 240)
    with pytest.raises(ArtifactError, match="expected labels"):
        asking(replace(explanation, context=context))


def test_saved_without_rows_or_locals_the_rest_is_shown(tmp_path):
    """Each capability that is missing says why."""
    explanation = explained("binary")
    dashboard = open_dashboard(save_explanation(explanation, tmp_path / "bare"))
    assert not dashboard.store.has_rows
    bare = GlobalExplanation(None, explanation.context, explanation.overall)
    ask = asking(bare)
    capabilities = ask("meta")["capabilities"]
    assert not capabilities["local"]["ok"]
    assert "include_local" in capabilities["local"]["reason"]
    told = ask("importance", top=30)
    assert told["cohorts"][0]["mean_abs"] == explanation.get_ranked_global_values()
    assert ask("row", status=409, rows=[0])["message"] == capabilities["local"]["reason"]


def test_an_array_of_numbers_and_sparse_rows_are_shown(tmp_path):
    """Column by column, out of the mapped file; features named by position."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 4)) * (random.random((50, 4)) < 0.5)
    values = random.normal(size=(50, 4))
    for given in (rows, csr_array(rows)):
        local = LocalExplanation.from_values(values, expected_values=0.0)
        local = replace(local, context=replace(local.context, eval_data=given))
        folder = tmp_path / type(given).__name__
        store = Store(save_explanation(local, folder, include_data=True))
        for position in range(4):
            assert store.values(position).numbers().tolist() == rows[:, position].tolist()
        loaded = load_explanation(folder)
        assert loaded.local_importance_values == values.tolist()
        for position in range(4):
            assert store.importances(position, 0).tolist() == values[:, position].tolist()


def test_values_of_rows_are_pages_of_the_file(tmp_path):
    """So that workers share them: columns of numbers and importances are not copied."""
    explanation = explained("binary")
    store = Store(save_explanation(explanation, tmp_path / "saved", include_data=True))
    assert isinstance(store.values(0).stored, np.memmap)
    assert isinstance(store.importances(0, 0), np.memmap)


def test_an_altered_file_is_refused(tmp_path):
    """Whatever is shown was saved so."""
    folder = save_explanation(explained("binary"), tmp_path / "saved", include_data=True)
    file = folder / "importances-00000.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DigestError, match="SHA-256"):
        open_dashboard(folder)
    with pytest.raises(ArtifactError, match="found nothing"):
        open_dashboard(tmp_path / "nowhere")


def test_a_zip_file_is_opened_too(tmp_path):
    """Its arrays are put where they can be mapped."""
    saved = save_explanation(explained("binary"), tmp_path / "saved.zip", include_data=True)
    assert open_dashboard(saved).store.n_rows == 240


def test_answers_are_safe_to_show(binary):
    """Strict policy, no sniffing, no other origin; data are never stored; JSON alone is read."""
    client = binary[1].client
    page = client.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in page.headers
    answer = client.post("/api/cohorts", json={})
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.post("/api/cohorts", data="{}", content_type="text/plain").status_code == 415
    assert client.post("/api/cohorts", data="{", content_type="application/json").status_code == 400
    assert client.post("/api/nothing", json={}).status_code == 404
    assert client.post("/api/cohorts", json={}, headers={"Host": "evil.example"}).status_code == 421
    meta = client.get("/api/meta")
    again = client.get("/api/meta", headers={"If-None-Match": meta.headers["ETag"]})
    assert again.status_code == 304
    assert json.loads(meta.data)["views"][0]["features"][0] == HOSTILE[0]


def test_five_thousand_features_are_usable():
    """Searched and ranked; a row has them all."""
    random = np.random.default_rng(0)
    local = LocalExplanation.from_values(
        random.normal(size=(20, 5000)) * np.linspace(0, 1, 5000), expected_values=0.0
    )
    rows = pd.DataFrame(random.normal(size=(20, 5000)), columns=list(map(str, range(5000))))
    context = replace(
        local.context, eval_data=rows, true_labels=np.ones(20), eval_y_predicted=np.ones(20)
    )
    ask = asking(GlobalExplanation(local.importances, context))
    assert ask("importance", top=3)["n_features"] == 5000
    assert len(ask("row", rows=[0])["rows"][0]["phi"]) == 5000
    assert ask("errortree")["nodes"]


def test_mixed_rows_have_every_kind(binary):
    """Or the tests above would look at less than they say."""
    _, ask = binary
    ids = [f"x{i}" for i in range(mixed_rows().shape[1])]
    kinds = {column["kind"] for column in ask("columns", columns=ids)["columns"]}
    assert kinds == {"number", "integer", "boolean", "category", "date"}
