"""The dashboard's page in a real browser: what it shows is what numpy and scikit-learn say.

The browser is Debian's chromium. Without it, or without Playwright, these tests are left out; where
REQUIRE_BROWSER is set they fail.
"""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from browsers import Page, browsing
from dashboards import HOSTILE, explained, served
from serving import ROOT
from sklearn import metrics
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.dashboard import Dashboard
from service.dashboard.hosting.serving import open_dashboard
from service.dashboard.hosting.snapshot import write_snapshot
from service.dashboard.store import store_of
from service.explainers import TabularExplainer
from service.explanations import save_explanation
from service.scoring import KernelScoringExplainer, save
from service.scoring.scoring_model import ScoringModel

# As in the service, whose model is asked with arrays.
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")

STATIC = ROOT / "service" / "dashboard" / "static"
VIEWS = ["performance", "data", "importance", "rows", "whatif", "errortree"]
LARGE = {"name": "large", "match": "all", "filters": [{"col": "x3", "op": ">", "value": 700}]}
LOOKS = {view: {"tab": view} for view in VIEWS} | {
    "swarm": {"tab": "importance", "stat": "swarm"},
    "box": {"tab": "importance", "stat": "box"},
}
TWO = {"cohorts": json.dumps([{"name": "All data"}, LARGE]), "shown": "[0,1]"}


@pytest.fixture(scope="module")
def browser():
    """A real browser, without a window."""
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A model that is asked, its rows, labels and explanation, and where its dashboard is."""
    folder = tmp_path_factory.mktemp("page")
    data = load_breast_cancer(as_frame=True)
    rows = data.data.iloc[:, :10]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, data.target)
    explainer = TabularExplainer(model, rows.iloc[:100], classes=list(data.target_names))
    save(KernelScoringExplainer(explainer), folder / "models", original_model=model)
    explanation = explainer.explain_global(rows)
    explanation = replace(
        explanation, context=replace(explanation.context, true_labels=data.target)
    )
    save_explanation(explanation, folder / "cancer", include_data=True)
    dashboard = open_dashboard(folder / "cancer", ScoringModel.load(folder / "models"))
    with served(dashboard, "/some/prefix") as url:
        yield url, model, rows, data.target.to_numpy(), explanation


@pytest.fixture
def opened(browser, example):
    page = Page(browser, example[0])
    yield page
    page.close()


def _values(page, selector):
    texts = page.eval_on_selector_all(selector, "all => all.map(one => one.dataset.value)")
    return np.array([float(text) if text else np.nan for text in texts])


def _written(page, selector):
    texts = page.eval_on_selector_all(selector, "all => all.map(one => one.firstChild.textContent)")
    return [float(text.replace(",", "")) for text in texts]


def test_importances_are_numpys(opened, example):
    """Bars of both cohorts, in the order of the first, and their table."""
    _, _, rows, _, explanation = example
    page = opened.open(tab="importance", top="7", **TWO)
    values = explanation.importances.values[1]
    masks = [np.ones(len(rows), dtype=bool), (rows["mean area"] > 700).to_numpy()]
    means = np.array([np.abs(values[mask]).mean(axis=0) for mask in masks])
    order = np.argsort(-means[0])[:7]
    assert _values(page, ".picture .mark") == pytest.approx(means[:, order].T.ravel(), rel=1e-5)
    first = page.get_by_role("button", name=f"{rows.columns[order[0]]}, All data:")
    assert float(first.get_attribute("data-value")) == pytest.approx(means[0, order[0]], rel=1e-5)
    page.get_by_role("button", name="Show table").first.click()
    cells = _values(page, "figure table td.num").reshape(7, 2, 3)
    assert cells[:, :, 0] == pytest.approx(means[:, order].T, rel=1e-5)
    errors = [
        values[mask].shape[0] ** -0.5 * np.abs(values[mask]).std(axis=0, ddof=1) for mask in masks
    ]
    assert cells[:, :, 1] == pytest.approx(np.array(errors)[:, order].T, rel=1e-4)


def test_a_bar_opens_the_dependence_of_its_feature(opened, example):
    """A point for each row; the address remembers the feature."""
    _, _, rows, _, _ = example
    page = opened.open(tab="importance")
    page.get_by_role("button", name="mean area, All data").click()
    opened.settle()
    canvas = page.locator("canvas")
    assert canvas.get_attribute("data-n") == str(len(rows))
    assert "mean area" in canvas.get_attribute("aria-label")
    assert "feature=3" in page.url


@pytest.mark.parametrize("threshold", [None, 0.8])
def test_metrics_are_scikit_learns(opened, example, threshold):
    """Of both cohorts, also where the reader moves the threshold."""
    _, model, rows, true, _ = example
    chosen = {} if threshold is None else {"threshold": str(threshold)}
    page = opened.open(tab="performance", **chosen, **TWO)
    score = model.predict_proba(rows)[:, 1]
    predicted = (score >= (threshold or 0.5)).astype(int)
    for column, mask in enumerate([np.full(len(rows), True), (rows["mean area"] > 700).to_numpy()]):
        t, p, s = true[mask], predicted[mask], score[mask]
        expected = {
            "accuracy": metrics.accuracy_score(t, p),
            "precision": metrics.precision_score(t, p),
            "recall": metrics.recall_score(t, p),
            "f1": metrics.f1_score(t, p),
            "fpr": 1 - metrics.recall_score(t, p, pos_label=0),
            "selection_rate": p.mean(),
            "roc_auc": metrics.roc_auc_score(t, s),
            "log_loss": metrics.log_loss(t, s),
            "brier": metrics.brier_score_loss(t, s),
        }
        for name, value in expected.items():
            selector = f"td[data-metric={name}]"
            assert _values(page, selector)[column] == pytest.approx(value), name
            assert _written(page, selector)[column] == pytest.approx(value, rel=1e-3), name
        counts = _values(page, ".heat td").reshape(2, 2, 2)[column]
        assert counts.tolist() == metrics.confusion_matrix(t, p).tolist()


def test_a_rows_importances_add_up_to_its_prediction(opened, example):
    """Base and steps come to the total shown, which is the model's own log-odds."""
    _, model, rows, _, explanation = example
    page = opened.open(tab="rows", rows="[12]", top="4")
    told = page.locator(".sum").first
    base, total, added = (
        float(told.get_attribute(f"data-{name}")) for name in ("base", "total", "sum")
    )
    steps = _values(page, ".picture .mark")
    assert steps[0] == base
    assert steps[-1] == total
    assert steps[1:-1].sum() == pytest.approx(added)
    assert base + added == pytest.approx(total)
    assert added == pytest.approx(explanation.importances.values[1][12].sum(), rel=1e-5)
    assert total == pytest.approx(model.decision_function(rows)[12], rel=1e-5)


def test_rows_are_found_sorted_and_compared(opened, example):
    """By the largest probability first; three of them stand side by side."""
    _, model, rows, _, explanation = example
    page = opened.open(tab="rows")
    page.get_by_role("button", name="Probability of benign").click()
    opened.settle()
    order = np.argsort(-model.predict_proba(rows)[:, 1], kind="stable")
    shown = page.eval_on_selector_all("[data-index]", "all => all.map(one => one.dataset.index)")
    assert set(shown[:5]) == set(map(str, order[:5]))
    for index in shown[:4]:
        page.locator(f"#row-{index}").click()
        opened.settle()
    assert page.get_by_text("The chosen rows compared").count() == 1
    assert page.locator("button[aria-pressed=true][data-index]").count() == 3
    page.get_by_label("Order of").select_option("2")
    opened.settle()
    first = page.locator(".picture .mark").first.get_attribute("aria-label")
    largest = np.abs(explanation.importances.values[1][int(shown[3])]).argmax()
    assert first.startswith(rows.columns[largest])
    page.get_by_label("Find row by name").fill("12")
    page.get_by_label("Find row by name").press("Enter")
    opened.settle()
    page.get_by_role("link", name="Aggregate importance").click()
    opened.settle()
    assert page.get_by_label("Find feature").input_value() == ""


def test_the_data_explorer_counts_as_numpy(opened, example):
    """A bar for each bin; a click on one makes it a cohort of as many rows."""
    _, _, rows, _, _ = example
    page = opened.open(tab="data", x="x1")
    counts = _values(page, ".picture .mark")
    expected, _ = np.histogram(rows["mean texture"], bins=len(counts))
    assert counts.tolist() == expected.tolist()
    page.locator(".picture .mark").nth(3).click()
    opened.settle()
    assert page.locator(".cohorts .share").nth(1).get_attribute("data-n") == str(expected[3])


def test_what_if_asks_the_model(opened, example):
    """The answer, its importances and the curve follow a changed field."""
    _, model, rows, _, _ = example
    page = opened.open(tab="whatif", rows="[20]")
    page.get_by_label("mean area", exact=True).fill("900.5")
    page.wait_for_timeout(500)
    opened.settle()
    changed = rows.iloc[[20]].assign(**{"mean area": 900.5})
    expected = model.predict_proba(changed)[0]
    shown = _values(page, ".answer td.num[data-value]").reshape(-1, 3)
    assert shown[:, 0] == pytest.approx(model.predict_proba(rows.iloc[[20]])[0])
    assert shown[:, 1] == pytest.approx(expected)
    assert shown[:, 2] == pytest.approx(expected - model.predict_proba(rows.iloc[[20]])[0])
    total = float(page.locator(".sum").first.get_attribute("data-total"))
    assert total == pytest.approx(model.decision_function(changed)[0], rel=1e-4)
    page.get_by_role("button", name="Undo all changes").click()
    opened.settle()
    assert _values(page, ".answer td.num[data-value]").reshape(-1, 3)[:, 2].tolist() == [0, 0]


def test_a_cohort_is_made_edited_and_deleted(opened, example):
    """With a filter of a feature; a wrong one is refused where the reader looks."""
    _, _, rows, _, _ = example
    page = opened.open(tab="importance")
    page.get_by_role("button", name="New cohort").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("small ones")
    dialog.get_by_role("button", name="Add filter").click()
    dialog.get_by_label("Column").fill("mean radius")
    dialog.get_by_label("Column").press("Tab")
    dialog.get_by_label("Comparison").select_option("<=")
    dialog.get_by_label("Value").fill("12")
    dialog.get_by_role("button", name="Save").click()
    opened.settle()
    told = page.locator(".cohorts .share").nth(1).get_attribute("data-n")
    assert int(told) == (rows["mean radius"] <= 12).sum()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    opened.settle()
    assert page.get_by_text("mean radius <= 12").count() == 1
    page.get_by_role("button", name="Delete: small ones").click()
    opened.settle()
    assert page.locator(".cohorts li").count() == 1


def test_the_error_tree_shows_where_the_model_fails(opened, example):
    """Its root is the share of all rows that are wrong; a node makes a cohort."""
    _, model, rows, true, _ = example
    page = opened.open(tab="errortree")
    marks = page.locator(".picture .mark")
    wrong = (model.predict(rows) != true).mean()
    assert float(marks.first.get_attribute("data-value")) == pytest.approx(wrong)
    n = marks.nth(2).get_attribute("data-n")
    marks.nth(2).click()
    opened.settle()
    assert page.locator(".cohorts .share").nth(1).get_attribute("data-n") == n


def test_an_address_shows_the_same_again(browser, example):
    """All that is looked at stands in the fragment."""
    first, second = Page(browser, example[0]), Page(browser, example[0])
    page = first.open(tab="importance", top="5", feature="2", **TWO)
    page.get_by_label("Shown as").select_option("box")
    first.settle()
    second.url = page.url.partition("#")[0]
    other = second.open(**{})
    other.goto("about:blank")
    other.goto(page.url)
    other.wait_for_selector("html[data-ready]")
    second.settle()
    assert other.locator("main").inner_text() == page.locator("main").inner_text()
    first.close()
    second.close()


def test_the_keyboard_alone_walks_through(opened):
    """One stop a chart, arrows inside it, Enter as a click, Escape back."""
    page = opened.open(tab="importance")
    stops = page.eval_on_selector_all(
        ".picture svg",
        "all => all.map(one => one.querySelectorAll('.mark[tabindex=\"0\"]').length)",
    )
    assert stops == [1]
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('mark')"):
            break
    page.keyboard.press("ArrowDown")
    name = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert name == page.locator(".picture .mark").nth(1).get_attribute("aria-label")
    page.keyboard.press("Enter")
    opened.settle()
    canvas = page.locator("canvas")
    assert name.split(",")[0] in canvas.get_attribute("aria-label")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "Row at position" in page.locator("#live").inner_text()
    page.keyboard.press("Enter")
    opened.settle()
    assert page.locator("nav [aria-current]").inner_text() == "Individual importance"
    assert page.locator(".sum").count() == 1
    page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(browser, example, look, scheme):
    """No finding of axe-core, in light and dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = Page(browser, example[0], color_scheme=scheme, bypass_csp=True)
    found = axe.Axe().run(page.open(rows="[3,5]", feature="2", y="x2", **LOOKS[look], **TWO))
    told = [(one["id"], one["nodes"][0]["html"][:200]) for one in found.response["violations"]]
    assert told == []
    page.close()


@pytest.mark.parametrize("width", [320, 3840])
@pytest.mark.parametrize("look", LOOKS)
def test_every_width_holds_the_page(browser, example, look, width):
    """Nothing is wider than the window."""
    page = Page(browser, example[0], viewport={"width": width, "height": 800})
    shown = page.open(rows="[3,5]", feature="2", **LOOKS[look], **TWO)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_hostile_names_and_odd_values_are_shown(browser, task):
    """Names are data: no view runs them, none complains."""
    with served(Dashboard(store_of(explained(task)), None)) as url:
        page = Page(browser, url)
        page.page.on("dialog", lambda _: page.complaints.append("a name was run"))
        for view in VIEWS:
            for column in range(10):
                if column and view != "data":
                    break
                shown = page.open(tab=view, rows="[3]", x=f"x{column}", feature="1", split="x1")
                assert shown.locator(".refusal").count() == 0, (view, column)
        shown = page.open(tab="importance")
        assert shown.locator(f"text={HOSTILE[0]}").count() > 0
        assert "\u202e" not in shown.locator("body").inner_text()
        shown = page.open(tab="whatif")
        assert "No model" in shown.locator(".reason").inner_text()
        page.close()


@pytest.mark.parametrize(("language", "word"), [("nl", "Wat-als"), ("ko", "가정 분석")])
def test_other_languages_say_everything(opened, language, word):
    """Every text is there in each language, with the same places for values."""
    page = opened.open(tab="importance")
    page.get_by_label("Language").select_option(language)
    opened.settle()
    assert page.get_by_role("link", name=word).count() == 1
    assert page.evaluate("document.documentElement.lang") == language
    english, other = (_texts(name) for name in ("en", language))
    assert list(english) == list(other)
    for key, text in english.items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", other[key])), key


def _texts(language):
    content = (STATIC / f"strings.{language}.js").read_text(encoding="utf-8")
    pairs = re.findall(r'^  "?([\w-]+)"?: (".*"),$', content, re.MULTILINE)
    return {key: json.loads(text) for key, text in pairs}


def test_the_caveat_is_always_there(opened):
    """Importances are no causes, in every view."""
    for view in VIEWS:
        assert "not cause" in opened.open(tab=view).locator(".caveat").inner_text()


def test_a_snapshot_shows_the_same_without_a_server(browser, example, tmp_path):
    """One file: its views answer or say why not, and it asks nobody."""
    explanation = example[4]
    file = tmp_path / "snapshot.html"
    write_snapshot(Dashboard(store_of(explanation), None), file)
    page = Page(browser, file.as_uri())
    for name, look in LOOKS.items():
        shown = page.open(rows="[3]", feature="1", **look)
        assert shown.locator(".refusal").count() == 0, name
        assert (shown.locator("main .reason").count() > 0) == (name == "whatif"), name
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "about:"))] == []
    assert page.complaints == []
    page.context.close()


def test_the_page_is_small_and_its_modules_can_be_put_together():
    """No import but of a module beside, on one line; never markup from a text."""
    sizes = {"code": 0, "texts": 0}
    for file in STATIC.glob("*.js"):
        content = file.read_text(encoding="utf-8")
        sizes["texts" if file.name.startswith("strings.") else "code"] += len(content.encode())
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", content
        )
        for line in re.findall(r"^(?:import|export \*|export {).*", content, re.MULTILINE):
            assert re.fullmatch(r'import { [\w, ]+ } from "\./[\w.]+\.js";', line), line
    assert sizes["code"] < 140_000
    assert sizes["texts"] < 36_000  # in three languages


def test_the_picture_of_the_documentation_is_taken(browser, example, tmp_path):
    """As a reader sees the dashboard first; PICTURE=… writes it there."""
    page = Page(browser, example[0], viewport={"width": 1180, "height": 1190})
    target = os.environ.get("PICTURE", tmp_path / "dashboard.png")
    page.open(tab="importance", feature="3", top="6", color="p1", **TWO).screenshot(path=target)
    assert 10_000 < os.path.getsize(target) < 200_000
    page.close()
