"""Cohorts that are saved with an explanation, and data that are not as they should be."""

import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dashboards import asking, asking_app, explained

from service.dashboard import open_dashboard
from service.dashboard.hosting.serving import create_dashboard_app
from service.dashboard.saved_cohorts import MOST_BYTES, READ_ONLY, SavedCohorts
from service.explanations import GlobalExplanation, LocalExplanation, save_explanation

ONES = {"name": "ones", "filters": [{"col": "x0", "op": ">", "value": 0}]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved explanation."""
    folder = tmp_path_factory.mktemp("saved") / "v1.2"
    return save_explanation(explained(n=40), folder, include_data=True)


@pytest.fixture
def opened(saved):
    """It in a dashboard, without cohorts beside it; and where they would be."""
    file = saved.with_name("v1.2.cohorts.json")
    file.unlink(missing_ok=True)
    return asking_app(create_dashboard_app(open_dashboard(saved))), file


def test_cohorts_are_saved_beside_the_explanation(opened, saved):
    """Another dashboard of the explanation shows them; nothing else is written."""
    ask, file = opened
    told = ask("saved")
    assert (told["cohorts"], told["version"], told["reason"]) == (None, "", None)
    before = sorted(os.listdir(saved.parent))
    told = ask("save", cohorts=[{"name": "All data"}, {**ONES, "other": 1}], version="")
    assert told["cohorts"] == [{"name": "All data"}, ONES]
    other = asking_app(create_dashboard_app(open_dashboard(saved)))
    assert other("saved") == told
    assert sorted({*os.listdir(saved.parent)} - {*before}) == [file.name]


def test_what_somebody_else_saved_is_not_overwritten(opened):
    """Who saves names what was read; a former state is refused."""
    ask, _ = opened
    version = ask("save", cohorts=[ONES], version="")["version"]
    assert "meanwhile" in ask("save", 409, cohorts=[], version="")["message"]
    assert ask("saved")["cohorts"] == [ONES]
    assert ask("save", cohorts=[{"name": "two"}], version=version)["cohorts"] == [{"name": "two"}]


def test_wrong_cohorts_are_not_saved(opened):
    """With the place of what is wrong; nor are too many."""
    ask, file = opened
    wrong = {"name": "wrong", "filters": [{"col": "x99", "op": "=", "value": 1}]}
    assert ask("save", 400, cohorts=[wrong])["pointer"] == "/cohorts/0/filters/0/col"
    many = {"name": "m" * MOST_BYTES, "filters": []}
    assert "at most" in ask("save", 400, cohorts=[many])["message"]
    assert not file.exists()


FILES = {
    "no JSON": b"\xff{",
    "deep": b"[" * 100_000,
    "other format": b'{"format": 2, "cohorts": []}',
    "list": b"[]",
    "no list": b'{"format": 1, "cohorts": 7}',
    "another explanation's": json.dumps(
        {"format": 1, "cohorts": [{"name": "a", "filters": [{"col": "x50", "op": "missing"}]}]}
    ).encode(),
    "too large": b" " * (MOST_BYTES + 10),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used_is_told(opened, name):
    """And the dashboard goes on without it."""
    ask, file = opened
    file.write_bytes(FILES[name])
    told = ask("saved")
    assert told["cohorts"] is None
    assert "cannot be used" in told["problem"]


def test_where_nothing_may_be_written_the_reason_is_told(opened, saved):
    """Beside scores they are only read; what has no file has no place."""
    reads = SavedCohorts.beside(saved, READ_ONLY)
    assert reads.reason == READ_ONLY
    ask = asking(explained(n=5))
    assert "no file" in ask("saved")["reason"]
    assert ask("save", 409, cohorts=[])["message"] == ask("saved")["reason"]


def with_column(name, values):
    """An explanation of as many rows, one of whose columns has these values."""
    shown = explained(n=len(values))
    rows = shown.context.eval_data.copy()
    rows[rows.columns[0]] = values
    return GlobalExplanation(shown.importances, replace(shown.context, eval_data=rows))


def test_what_is_infinite_counts_as_missing_everywhere():
    """A bin, its cohort, filters and ranges agree; comparisons keep finite values alone."""
    values = np.array([1.0, 2.0, np.inf, -np.inf, np.nan, 3.0] * 5)
    ask = asking(with_column("x0", values))
    told = ask("histogram", x="x0")["series"][0]
    assert (sum(told["counts"]), told["missing"]) == (15, 15)
    count = {"missing": 15, "not-missing": 15}
    for op, n in count.items():
        cohort = {"filters": [{"col": "x0", "op": op}]}
        assert ask("cohorts", cohorts=[cohort])["cohorts"][0]["n"] == n
    cohort = {"filters": [{"col": "x0", "op": ">", "value": 1}]}
    assert ask("cohorts", cohorts=[cohort])["cohorts"][0]["n"] == 10
    described = ask("columns", columns=["x0"])["columns"][0]
    assert (described["min"], described["max"], described["n_missing"]) == (1.0, 3.0, 15)


def test_a_range_beyond_all_numbers_has_no_picture_but_a_sentence():
    """Its histogram and its rows are there all the same."""
    ask = asking(with_column("x0", np.array([-1e308, 1e308, 0.0] * 10)))
    assert "too far apart" in ask("points", 409, x="x0", y="x4")["message"]
    assert sum(ask("histogram", x="x0")["series"][0]["counts"]) == 30


@pytest.mark.parametrize("date", ["NaT", "99999999-01-01", "nonsense", ""])
def test_a_date_that_cannot_be_is_refused(date):
    """And none is counted from it."""
    ask = asking(explained(n=30))
    cohort = {"filters": [{"col": "x7", "op": ">", "value": date}]}
    assert "a date" in ask("cohorts", 400, cohorts=[cohort])["message"]


def test_dates_far_away_are_compared_as_they_are():
    """Also where nanoseconds do not reach."""
    ask = asking(explained(n=30))
    for date, n in (("99999-01-01", 0), ("-0500-01-01", 30), ("2262-05-01", 0)):
        cohort = {"filters": [{"col": "x7", "op": ">", "value": date}]}
        assert ask("cohorts", cohorts=[cohort])["cohorts"][0]["n"] == n


def test_texts_alone_leave_the_error_tree_its_root():
    """There is nothing to split by."""
    shown = explained(n=300)
    rows = pd.DataFrame({"note": [f"note {i}" for i in range(300)]})
    local = LocalExplanation.from_values(np.ones((300, 1)), features=["note"], expected_values=0.0)
    context = replace(shown.context, eval_data=rows, row_labels=rows.index)
    context = replace(context, true_labels=np.asarray(shown.context.true_labels))
    ask = asking(GlobalExplanation(local.importances, context))
    assert [node["label"] for node in ask("errortree")["nodes"]] == ["all"]


def test_a_model_without_errors_has_a_tree_of_one_leaf():
    """Also where there is one feature alone."""
    shown = explained(n=300)
    rows = shown.context.eval_data[["tiny"]]
    local = LocalExplanation.from_values(np.ones((300, 1)), features=["tiny"], expected_values=0.0)
    context = replace(
        shown.context, eval_data=rows, true_labels=np.asarray(shown.context.eval_y_predicted)
    )
    told = asking(GlobalExplanation(local.importances, context))("errortree")
    assert [(node["n"], node["value"], node["split"]) for node in told["nodes"]] == [(300, 0, None)]


def test_rows_without_a_probability_have_no_part_in_curves():
    """The others have theirs, and nothing fails."""
    shown = explained(n=60)
    probabilities = np.array(shown.context.eval_y_predicted_proba)
    probabilities[:7] = np.nan
    context = replace(shown.context, eval_y_predicted_proba=probabilities)
    ask = asking(GlobalExplanation(shown.importances, context))
    group = ask("performance")["groups"][0]
    assert sum(sum(one["counts"]) for one in group["histogram"]["series"]) == 53
    assert group["metrics"]["log_loss"]["value"] is not None
