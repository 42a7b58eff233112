"""The page /runs: what is in a store, as text; names are data."""

import json
import re
from html.parser import HTMLParser

import pytest
from flask import Flask

from service.explanations import LocalExplanation
from service.pages import runs as runs_page_module
from service.pages.explanations import create_explanations_app
from service.pages.runs import bars, runs_page
from service.runs import ExplanationClient, Run, Workspace
from service.runs.summaries import to_tags

HOSTILE = "<script>alert(1)</script>\"' onload=x {{ 7 * 7 }}"
ALLOWED = {"html", "head", "meta", "title", "link", "body", "h1", "h2", "h3", "h4", "p", "code"}
ALLOWED |= {"table", "tr", "th", "td", "a", "article", "span", "svg", "rect"}


class Elements(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self):
        super().__init__()
        self.elements, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def summary(name, features, comment=""):
    return {
        "id": name,
        "comment": comment,
        "uploaded": "2026-01-01T00:00:00Z",
        "raw": True,
        "engineered": False,
        "explanation": "global",
        "heading": "",
        "kind": "global",
        "features": features,
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    made = Workspace(f"sqlite:///{folder}/runs.db", experiment=HOSTILE)
    run = Run(made, made.create_run(HOSTILE))
    (folder / "model.pkl").write_bytes(b"none")
    run.upload_file("model.pkl", str(folder / "model.pkl"))
    features = [["worst <b>radius</b>", 0.5], ["texture", -0.25], ["no number", None]]
    made.engine.log_tags(run.id, to_tags(summary("e1", features, HOSTILE)))
    version = run.register_model("a model", "model.pkl", description=HOSTILE)
    version.set_alias("champion")
    made.engine.ask("set_model_version_tag", "a model", "1", "deployed.scoring", "0123456789ab")
    return made


def get(workspace, path="/runs"):
    app = Flask("test")
    app.register_blueprint(runs_page(workspace))
    return app.test_client().get(path)


def test_what_is_in_the_store_is_on_the_page(workspace):
    """Experiment, run, explanation with its bars, and the version with alias and deployment."""
    page = Elements()
    page.feed(get(workspace).get_data(as_text=True))
    for told in ("a model:1", "champion", "scoring, release 0123456789ab", "texture", "-0.25"):
        assert told in page.text, told
    drawn = [attributes for tag, attributes in page.elements if tag == "rect"]
    assert [bar["width"] for bar in drawn] == ["100.00", "50.00"]
    assert [bar.get("class") for bar in drawn] == [None, "negative"]
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    anchors = {f"#{attributes['id']}" for _, attributes in page.elements if "id" in attributes}
    assert links <= anchors


def test_names_are_text_and_never_markup(workspace):
    """Whatever experiments, runs, features and comments are called, no element comes of it."""
    page = Elements()
    page.feed(get(workspace).get_data(as_text=True))
    assert {tag for tag, _ in page.elements} <= ALLOWED
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert page.text.count(HOSTILE) >= 4
    assert "worst <b>radius</b>" in page.text


def test_the_page_allows_nothing_but_its_style_sheet(workspace):
    answer = get(workspace)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe|script-src|\*", policy)
    style = get(workspace, "/runs/style.css")
    assert (style.status_code, style.mimetype) == (200, "text/css")
    assert style.headers["X-Content-Type-Options"] == "nosniff"


def test_a_store_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / "runs.db").write_bytes(b"no database at all" * 100)
    answer = get(Workspace(f"sqlite:///{tmp_path}/runs.db", experiment="none"))
    assert answer.status_code == 503
    assert "runs.db" in answer.get_data(as_text=True)


def test_runs_that_are_left_out_are_counted(workspace, monkeypatch):
    """The newest are shown, and how many there are is said."""
    monkeypatch.setattr(runs_page_module, "N_RUNS", 1)
    Run(workspace, workspace.create_run("another"))
    assert "The newest 1 of 2 runs" in get(workspace).get_data(as_text=True)


@pytest.mark.parametrize(
    ("features", "lengths"),
    [
        ([], []),
        ("nothing", []),
        ([["a", 0.0], ["b", 0]], [0.0, 0.0]),
        ([["a", float("nan")], ["b", float("inf")], ["c", 2]], [100.0]),
        ([["a"], 7, ["b", 1, 2], ["c", 1e308], ["d", -1e308]], [100.0, 100.0]),
    ],
)
def test_bars_are_finite_whatever_a_tag_says(features, lengths):
    assert [bar.percent for bar in bars(features)] == lengths
    json.dumps([bar.percent for bar in bars(features)], allow_nan=False)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """An application over a store with one explanation, and the address of that."""
    folder = tmp_path_factory.mktemp("shown")
    made = Workspace(f"sqlite:///{folder}/runs.db", experiment="tumours")
    run = Run(made, made.create_run("first"))
    local = LocalExplanation.from_values(
        [[1.0, -2.0], [0.5, 0.25]], expected_values=5.0, features=["radius", HOSTILE]
    )
    upload = ExplanationClient.from_run(run).upload_model_explanation(local, comment="of two")
    return create_explanations_app(made).test_client(), f"/explanations/{run.id}/{upload}/"


def test_each_explanation_opens_in_the_dashboard(shown):
    """From the list, by a link; its answers are those of the explanation."""
    client, address = shown
    listed = Elements()
    listed.feed(client.get("/", follow_redirects=True).get_data(as_text=True))
    assert address in [attributes.get("href") for _, attributes in listed.elements]
    page = client.get(address)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    meta = client.get(f"{address}api/meta").get_json()
    assert meta["views"][0]["features"] == ["radius", HOSTILE]
    asked = {"cohorts": [{"name": "all"}]}
    told = client.post(f"{address}api/importance", json=asked).get_json()
    assert [feature["name"] for feature in told["features"]] == [HOSTILE, "radius"]
    assert told["cohorts"][0]["mean_abs"] == [1.125, 0.75]


def test_what_is_not_there_is_a_sentence(shown):
    """An unknown run, an unknown explanation, a name of another site, and another call."""
    client, address = shown
    other = client.get(f"{address.rsplit('/', 2)[0]}/other/")
    assert (other.status_code, other.mimetype) == (404, "text/plain")
    assert "of two" in other.get_data(as_text=True)
    assert client.get("/explanations/none/other/").status_code == 404
    assert client.get(address, headers={"Host": "evil.example"}).status_code == 421
    assert client.post(f"{address}api/nothing", json={}).status_code == 404
