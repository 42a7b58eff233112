"""The dashboard's page: rows of every kind, engineered columns, saved cohorts, readers who leave.

All in the browser of tests/browsers.py, against servers of this process.
"""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from browsers import Page, browsing
from dashboards import of_many_classes, served
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from service.dashboard import Dashboard, open_dashboard
from service.dashboard.saved_cohorts import READ_ONLY
from service.dashboard.store import store_of
from service.explainers import TabularExplainer
from service.explanations import (
    ExplanationContext,
    GlobalExplanation,
    LocalExplanation,
    save_explanation,
)
from service.scoring import KernelScoringExplainer, ScoringModel

START = pd.Timestamp("2024-01-01")
SMALL = (
    '[{"name": "All data"}, {"name": "small", "filters": [{"col": "x3", "op": "<", "value": 30}]}]'
)


@pytest.fixture(scope="module")
def browser():
    """A real browser, without a window."""
    with browsing() as browser:
        yield browser


def _count_days(frame):
    return (frame - START) / pd.Timedelta("1D")


class Slow:
    """A model that counts the pieces that it is asked, and waits in each while it is held."""

    def __init__(self, model):
        self._model = model
        self.classes_ = model.classes_
        self.n_pieces = 0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def predict(self, rows):
        return self._model.predict(rows)

    def predict_proba(self, rows):
        if len(rows) >= 100:
            self.n_pieces += 1
            self.goes_on.wait(60)
        return self._model.predict_proba(rows)


@pytest.fixture(scope="module")
def example(browser):
    """Dates, truth values, categories and whole numbers, raw and engineered; and their page."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "day": START + pd.to_timedelta(random.integers(0, 90, 240), "D"),
            "flag": random.integers(0, 2, 240).astype(bool),
            "colour": random.choice(["red", "blue"], 240),
            "size": random.integers(0, 101, 240),
        }
    )
    true = (rows["size"] + 30 * rows["flag"] > 60).astype(int)
    days = FunctionTransformer(_count_days, feature_names_out="one-to-one")
    parts = [
        ("day", days, ["day"]),
        ("colour", OneHotEncoder(handle_unknown="ignore"), ["colour"]),
        ("rest", "passthrough", ["flag", "size"]),
    ]
    model = Pipeline([("made", ColumnTransformer(parts)), ("last", LogisticRegression(C=1e-3))])
    model.fit(rows, true)
    explainer = TabularExplainer(
        model[-1], rows[:30], transformations=model[0], classes=["little", "much"]
    )
    local = explainer.explain_local(rows, engineered=True)
    local = replace(local, context=replace(local.context, true_labels=true))
    slow = Slow(model)
    scoring = ScoringModel(slow, KernelScoringExplainer(explainer))
    with served(Dashboard(store_of(local), scoring)) as url:
        yield url, slow, rows, local


@pytest.fixture
def opened(browser, example):
    page = Page(browser, example[0], timezone_id="Asia/Seoul")
    yield page
    page.close()


def _numbers(page, selector):
    return page.eval_on_selector_all(selector, "all => all.map(one => Number(one.dataset.value))")


def test_the_switch_shows_engineered_columns(opened, example):
    """Their importances, and those of a row, are those of the engineered part."""
    engineered = example[3].engineered
    page = opened.open(tab="importance")
    page.locator("#features-view").select_option("engineered")
    opened.settle()
    means = np.sort(np.abs(engineered.importances.values[1]).mean(axis=0))[::-1]
    assert _numbers(page, ".picture .mark") == pytest.approx(means, rel=1e-5)
    ids = page.eval_on_selector_all("[id]", "all => all.map(one => one.id)")
    assert len(ids) == len({*ids})
    page.get_by_role("button", name="rest__size").click()
    opened.settle()
    assert page.get_by_text("without its rows").count() == 1  # which the raw columns have
    page = opened.open(tab="rows", rows="[7]", view="engineered")
    total = float(page.locator(".sum").get_attribute("data-sum"))
    assert total == pytest.approx(engineered.importances.values[1][7].sum(), rel=1e-5)


def test_dates_flags_and_unseen_categories_are_asked_as_they_are(opened, example):
    """The answer is the model's for that row, and what no row has is said."""
    _, slow, rows, _ = example
    page = opened.open(tab="whatif", rows="[5]", ice="0")
    page.get_by_label("day", exact=True).fill("2024-06-05")
    page.get_by_label("flag", exact=True).select_option(str(not rows["flag"][5]).lower())
    page.get_by_label("colour", exact=True).fill("octarine")
    page.wait_for_timeout(500)
    opened.settle()
    changed = rows.iloc[[5]].assign(
        day=pd.Timestamp("2024-06-05"), flag=~rows["flag"][5:6], colour="octarine"
    )
    shown = np.array(_numbers(page, ".answer td.num[data-value]")).reshape(-1, 3)
    assert shown[:, 1] == pytest.approx(slow.predict_proba(changed)[0])
    warned = page.locator(".warnings").inner_text()
    assert "octarine" in warned
    assert "above the largest value, 2024-03-" in warned
    assert "flag" not in warned
    assert page.locator("svg .floor").count() == 1  # the day that the row has


def test_a_bar_becomes_a_cohort_of_as_many_rows(opened, example):
    """Of whole numbers on the edges of bins, of dates, categories and truth values."""
    for column in range(4):
        page = opened.open(tab="data", x=f"x{column}", cohorts='[{"name":"All data"}]')
        marks = page.locator(".picture .mark")
        n = marks.nth(1).get_attribute("data-value")
        marks.nth(1).click()
        opened.settle()
        assert page.locator(".cohorts .share").nth(1).get_attribute("data-n") == n, column


@pytest.fixture(scope="module")
def odd():
    """Columns without a value, of one value, of close large ones, of moments and of infinities."""
    n = 60
    random = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            "nothing": np.full(n, np.nan),
            "no text": [None] * n,
            "no day": pd.Series([pd.NaT] * n),
            "money": 1234.5 + 1000 * np.arange(n),
            "close": 1e6 + np.linspace(0.1, 0.9, n),
            "long": 9_007_199_254_740_000 + np.arange(n),
            "moment": START + pd.to_timedelta(np.arange(n), "min"),
            "infinite": [np.inf, -np.inf, np.nan, 1.0, 2.0, 3.0] * (n // 6),
        }
    )
    values = random.normal(size=(n, rows.shape[1]))
    local = LocalExplanation.from_values(values, features=list(rows), expected_values=0.5)
    context = ExplanationContext(
        eval_data=rows,
        eval_y_predicted=0.5 + values.sum(axis=1),
        true_labels=random.normal(size=n),
        model_task="regression",
    )
    explanation = GlobalExplanation(replace(local.importances, output="prediction"), context)
    with served(Dashboard(store_of(explanation))) as url:
        yield url, rows, values


def test_columns_without_values_and_close_ones_have_pictures(browser, odd):
    """Nothing is no number, and the labels of an axis differ."""
    page = Page(browser, odd[0])
    for column in range(odd[1].shape[1]):
        for shown in ({"tab": "data", "y": "x3"}, {"tab": "importance", "feature": str(column)}):
            drawn = page.open(x=f"x{column}", **shown)
            assert drawn.locator(".refusal").count() == 0, (column, shown)
            texts = drawn.eval_on_selector_all(
                ".axis",
                "all => all.map(one => [...one.querySelectorAll('text:not(.label)')]"
                ".map(text => text.textContent))",
            )
            for labels in texts:
                assert len(labels) == len({*labels}), (column, labels)
    drawn = page.open(tab="data", x="x0")
    assert _numbers(drawn, ".picture .mark") == [60]  # all are missing
    page.close()


def test_numbers_are_not_cut_before_the_point(browser, odd):
    """Of a row, of a filter, and in full in the table of a chart."""
    url, _, values = odd
    page = Page(browser, url)
    filters = [{"col": "x3", "op": ">=", "value": 12345.5}]
    drawn = page.open(
        tab="rows", rows="[17]", cohorts=json.dumps([{"name": "a", "filters": filters}])
    )
    assert drawn.get_by_text("money >= 12,345.5").count() == 1
    marks = drawn.eval_on_selector_all(".mark", "all => all.map(one => one.ariaLabel)")
    assert any(label.startswith("money = 18,234.5: ") for label in marks)
    assert any(label.startswith("long = 9,007,199,254,740,017: ") for label in marks)
    assert any(label.startswith("nothing = missing: ") for label in marks)
    drawn.get_by_role("button", name="Show table").first.click()
    assert drawn.locator("td", has_text="18,234.5").count() >= 1
    written = drawn.locator("figure table").first.inner_text().replace(",", "")
    for number in values[17]:
        assert str(number) in written
    page.close()


def test_what_is_missing_is_a_bar_that_becomes_a_cohort(browser, odd):
    """And the dependence says which importances such rows have."""
    url, rows, values = odd
    page = Page(browser, url)
    drawn = page.open(tab="data", x="x7")
    drawn.locator(".picture .mark").last.click()
    page.settle()
    missing = ~np.isfinite(rows["infinite"])
    told = drawn.locator(".cohorts .share").nth(1).get_attribute("data-n")
    assert told == str(missing.sum())
    drawn = page.open(tab="importance", feature="7", cohorts='[{"name": "All data"}]')
    median = np.median(values[missing, 7])
    words = f"Of the {missing.sum()} rows without a value the median is {median:.4g}."
    assert drawn.get_by_text(words).count() == 1
    page.close()


def test_bins_are_named_in_the_readers_language(browser, odd):
    """Also those that the server names."""
    page = Page(browser, odd[0], locale="nl")
    drawn = page.open(tab="data", x="x7", y="x3")
    assert drawn.locator(".picture .name", has_text="(ontbreekt)").count() == 1
    drawn = page.open(tab="performance", split="x7")
    assert drawn.locator("th", has_text="(ontbreekt)").count() == 1
    page.close()


def test_the_column_that_sorts_is_in_the_table(browser, odd):
    """Also one that is not among the first."""
    page = Page(browser, odd[0])
    drawn = page.open(tab="rows", order=json.dumps({"col": "x6", "descending": True}))
    assert drawn.locator("table.rows th[aria-sort]").inner_text().strip().startswith("moment")
    page.close()


def test_a_part_of_a_picture_becomes_a_cohort(opened, example):
    """That is dragged over: as many rows as there are points in it."""
    page = opened.open(tab="data", x="x3", y="x0", cohorts='[{"name": "All data"}]')
    canvas = page.locator("canvas")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 250, steps=4)
    page.mouse.up()
    opened.settle()
    n = page.locator("canvas").get_attribute("data-n")
    assert 0 < int(n) < 240
    page.get_by_role("button", name="Make cohort").click()
    opened.settle()
    assert page.locator(".cohorts .share").nth(1).get_attribute("data-n") == n


def test_a_swarm_has_every_row(opened, example):
    """In as many rows as there are, feature by feature, said in words and in a table too."""
    _, _, rows, local = example
    page = opened.open(tab="importance", stat="swarm", cohorts='[{"name": "All data"}]')
    marks = page.locator(".picture .mark")
    assert marks.count() == 4
    sums = marks.evaluate_all(
        "all => all.map(one => [...one.querySelectorAll('[data-n]')]"
        ".reduce((sum, bin) => sum + Number(bin.dataset.n), 0))"
    )
    assert sums == [240] * 4
    page.get_by_role("button", name="Show table").first.click()
    first = marks.first.get_attribute("aria-label").partition(":")[0]
    expected = np.quantile(
        local.importances.values[1][:, list(rows).index(first)], [0.05, 0.25, 0.5, 0.75, 0.95]
    )
    assert _numbers(page, "figure table td.num")[:5] == pytest.approx(expected, rel=1e-6)
    marks.first.click()
    opened.settle()
    assert page.locator("canvas").get_attribute("data-n") == "240"


def test_a_field_that_is_no_number_is_not_asked(opened):
    """And one that is emptied is ticked as missing."""
    page = opened.open(tab="whatif", rows="[5]")
    field = page.get_by_label("size", exact=True)
    field.fill("77")
    page.wait_for_timeout(500)
    opened.settle()
    known = _numbers(page, ".answer td.num[data-value]")
    field.press("End")
    field.press_sequentially("e")
    page.wait_for_timeout(500)
    opened.settle()
    assert field.evaluate("one => one.validity.badInput")
    assert _numbers(page, ".answer td.num[data-value]") == known
    assert not page.get_by_label("size is missing").is_checked()
    field.fill("")
    page.wait_for_timeout(500)
    opened.settle()
    assert page.get_by_label("size is missing").is_checked()
    assert "size" in page.locator("main .refusal").first.inner_text()
    opened.complaints[:] = [one for one in opened.complaints if "status of 400" not in one]


def test_many_classes_show_those_that_are_confused(browser):
    """Some in the picture, all in the table, and the sentence says so."""
    random = np.random.default_rng(0)
    names, importances = of_many_classes(random, 60, 300, 3)
    predicted = random.integers(0, 60, 300)
    true = np.where(random.random(300) < 0.3, random.integers(0, 20, 300), predicted)
    context = ExplanationContext(
        eval_y_predicted=np.array(names)[predicted],
        true_labels=np.array(names)[true],
        class_labels=names,
        model_task="classification",
    )
    with served(Dashboard(store_of(GlobalExplanation(importances, context)))) as url:
        page = Page(browser, url)
        drawn = page.open(tab="performance")
        assert drawn.get_by_text("The 25 of 60 classes with most mistakes").count() == 1
        assert drawn.locator(".heat td").count() == 25 * 25
        figure = drawn.locator("figure", has=drawn.locator(".heat"))
        figure.get_by_role("button", name="Show table").click()
        counts = _numbers(drawn, "figure:has(.heat) table:not(.heat) td.num")
        expected = np.zeros((60, 60), dtype=int)
        np.add.at(expected, (true, predicted), 1)
        assert counts == expected.ravel().tolist()
        page.close()


def test_an_address_that_does_not_fit_can_be_mended(opened):
    """A cohort and a split of columns that are not there are refused, and can be left."""
    stale = '[{"name": "stale", "filters": [{"col": "x99", "op": "missing"}]}]'
    page = opened.open(tab="performance", cohorts=stale, split="x77")
    assert "x99" in page.locator("aside .refusal").inner_text()
    page.get_by_role("button", name="Start with all rows").click()
    opened.settle()
    assert "x77" in page.locator("main .refusal").inner_text()
    page.get_by_label("Split by").fill("")
    page.get_by_label("Split by").press("Tab")
    opened.settle()
    assert page.locator(".refusal").count() == 0
    assert page.locator("td[data-metric=accuracy]").count() == 1
    page = opened.open(tab="rows", find="12")
    assert page.locator("tbody tr").count() == len([i for i in range(240) if "12" in str(i)])
    hostile = {"variants": "[7]", "edits": "7", "threshold": "wide", "feature": "-1", "shown": "9"}
    assert opened.open(tab="whatif", **hostile).locator(".answer").count() == 1
    opened.complaints[:] = [one for one in opened.complaints if "status of 400" not in one]


def test_a_closed_tab_stops_its_work(browser, example):
    """The model is left alone after the piece that it is at, of nine."""
    url, slow, _, _ = example
    slow.n_pieces = 0
    slow.goes_on.clear()
    page = Page(browser, url)
    page.page.goto(f"{url}#tab=importance&feature=0")
    end = time.monotonic() + 60
    while slow.n_pieces == 0 and time.monotonic() < end:
        page.page.wait_for_timeout(20)
    page.context.close()
    time.sleep(1)  # until the server's end of the connection is told
    slow.goes_on.set()
    time.sleep(1)
    assert slow.n_pieces == 1


def test_a_stale_explanation_says_so_where_what_if_would_be(browser, example):
    """With the row for which another model answers otherwise; the other views are there."""
    _, slow, rows, local = example
    other = Pipeline([("made", slow._model[0]), ("last", LogisticRegression(C=1e-6))])
    other.fit(rows, rows["flag"].astype(int))
    explainer = TabularExplainer(other[-1], rows[:30], transformations=other[0], classes=["a", "b"])
    scoring = ScoringModel(other, KernelScoringExplainer(explainer))
    with served(Dashboard(store_of(local), scoring)) as url:
        page = Page(browser, url)
        told = page.open(tab="whatif").locator("main .reason").inner_text()
        assert "another model than the one that answers: for row" in told
        assert page.open(tab="importance").locator(".mark").count() == 4
        page.close()


def test_cohorts_are_saved_for_other_readers(browser, example, tmp_path):
    """Another browser begins with them; where they are only read, the page says so."""
    place = save_explanation(example[3], tmp_path / "mine", include_data=True)
    with served(open_dashboard(place)) as url:
        page = Page(browser, url)
        shown = page.open(cohorts=SMALL)
        shown.get_by_role("button", name="Save with the explanation").click()
        page.settle()
        assert shown.get_by_text("Saved with the explanation.").count() >= 1
        page.close()
        other = Page(browser, url)
        shown = other.open()
        n = int((example[2]["size"] < 30).sum())
        assert shown.locator(".cohorts .share").nth(1).get_attribute("data-n") == str(n)
        shown.get_by_role("button", name="Delete: small").click()
        other.settle()
        shown.get_by_role("button", name="Show the saved ones").click()
        other.settle()
        assert shown.locator(".cohorts li").count() == 2
        other.close()
    only_read = open_dashboard(place)
    only_read.saved.why_not = READ_ONLY
    with served(only_read) as url:
        page = Page(browser, url)
        shown = page.open(cohorts='[{"name": "others"}]')
        assert shown.get_by_text(READ_ONLY).count() == 1
        assert shown.get_by_role("button", name="Save with the explanation").is_disabled()
        page.close()
