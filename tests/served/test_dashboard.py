"""The dashboard on a deployed service: two workers, a prefix, a key; scores come first."""

import http.client
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from browsers import Page, browsing
from dashboards import running, unpacked
from serving import ROOT, serving, start_in_vain
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from service.explainers import TabularExplainer
from service.explanations import save_explanation
from service.scoring import KernelScoringExplainer, save

KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A model with its explanation, saved."""
    folder = tmp_path_factory.mktemp("dashboard")
    data = load_iris(as_frame=True)
    model = LogisticRegression(max_iter=500).fit(data.data, data.target)
    explainer = TabularExplainer(model, data.data, classes=list(data.target_names))
    save(KernelScoringExplainer(explainer), folder / "models", original_model=model)
    explanation = explainer.explain_global(data.data)
    context = replace(explanation.context, true_labels=data.target)
    explanation = replace(explanation, context=context)
    save_explanation(explanation, folder / "iris", include_data=True)
    return folder, model, data.data


@pytest.fixture(scope="module")
def service(example):
    folder, _, _ = example
    keys = folder / "keys"
    keys.write_text(KEY)
    settings = {
        "AZUREML_MODEL_DIR": str(folder / "models"),
        "DASHBOARD": str(folder / "iris"),
        "AUTH_KEYS_FILE": str(keys),
        "PATH_PREFIX": "/models/iris",
        "CORS_ORIGINS": "https://app.example.com",
    }
    with serving(folder, **settings) as running:
        yield running


def ask(service, call, path="/dashboard", key=KEY, **question):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return service.ask("POST", f"{path}/api/{call}", json.dumps(question), **headers)


@pytest.mark.parametrize("path", ["/dashboard", "/models/iris/dashboard"])
def test_the_page_is_there_with_and_without_the_prefix(service, path):
    """It holds no data and needs no key; its files are found relative to it, and kept for ever."""
    redirect = service.ask("GET", path)
    assert (redirect.status, redirect.headers["Location"]) == (308, "dashboard/")
    page = service.ask("GET", f"{path}/")
    assert page.status == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    names = re.findall(rb'"(static/[^"]+)"', page.body)
    assert len(names) == 2
    for name in map(bytes.decode, names):
        file = service.ask("GET", f"{path}/{name}")
        assert "immutable" in file.headers["Cache-Control"]
        content = ROOT / "service" / "dashboard" / "static" / name.rpartition("/")[2]
        assert file.body == content.read_bytes()


def test_data_need_the_key(service):
    """And are for no other origin, whoever else may ask for scores."""
    assert ask(service, "cohorts", key="").status == 401
    assert service.ask("GET", "/dashboard/api/meta").status == 401
    answer = service.ask(
        "POST",
        "/dashboard/api/cohorts",
        "{}",
        Authorization=f"Bearer {KEY}",
        Origin="https://app.example.com",
    )
    assert answer.json()["n_rows"] == 150
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_two_workers_answer_alike(service):
    """Whichever is asked: nothing is kept in one of them."""
    cohort = {"filters": [{"col": "x2", "op": ">", "value": 4}]}
    answers = {ask(service, "importance", cohorts=[cohort]).body for _ in range(12)}
    assert len(answers) == 1
    digests = {
        service.ask("GET", "/dashboard/api/meta", Authorization=f"Bearer {KEY}").headers["ETag"]
        for _ in range(8)
    }
    assert len(digests) == 1


def test_what_if_is_what_the_service_scores(service, example):
    """Predictions, importances and curves are those of the model that serves."""
    _, model, rows = example
    record = dict(zip(rows.columns, [5.0, 3.0, 4.5, 1.5], strict=True))
    scored = service.score(
        json.dumps([record]), query="?probabilities=true", Authorization=f"Bearer {KEY}"
    ).json()
    told = ask(service, "predict", records=[record]).json()
    assert told["probabilities"] == scored["probabilities"]
    told = ask(service, "explain", records=[record], **{"class": 2}).json()["rows"][0]
    assert told["phi"] == scored["local_importance_values"][2][0]
    assert told["total"] == pytest.approx(told["model"])
    curve = ask(service, "ice", rows=[7], feature=2, **{"class": 1}).json()
    changed = rows.iloc[[7] * len(curve["grid"])].copy()
    changed.iloc[:, 2] = curve["grid"]
    assert curve["curves"][0]["y"] == pytest.approx(model.predict_proba(changed)[:, 1])


def test_a_wrong_record_is_refused_as_by_score(service):
    """With the sentence of /score, and where in the question it is."""
    record = {"sepal length (cm)": 1.0}
    scored = service.score(json.dumps([record]), Authorization=f"Bearer {KEY}").json()
    answer = ask(service, "predict", records=[record])
    assert (answer.status, answer.json()["pointer"]) == (400, "/records")
    assert answer.json()["message"] == scored["message"]


def test_points_come_whole(service):
    """Binary, of all rows."""
    heading, arrays = unpacked(ask(service, "points", x="x0", y="phi0.2").body)
    assert heading["n"] == 150
    assert arrays["index"].tolist() == list(range(150))


def test_many_dashboards_do_not_starve_scores(service, example):
    """Some of their questions are told to come again; every score is answered."""
    _, _, rows = example
    body = json.dumps(rows[:3].to_dict("records"))
    statuses, scores = [], []

    def click(seed):
        for turn in range(6):
            cohort = {"filters": [{"col": "x0", "op": ">", "value": 5 + 0.01 * turn + 0.1 * seed}]}
            answer = ask(service, "performance", cohorts=[cohort], split={"col": "x1"})
            statuses.append(answer.status)
            answer = ask(service, "pdp", feature=2, sample=250, seed=100 * seed + turn)
            statuses.append(answer.status)
            if answer.status == 429:
                assert answer.headers["Retry-After"] == "1"

    with ThreadPoolExecutor(10) as pool:
        clicking = [pool.submit(click, seed) for seed in range(10)]
        while not all(one.done() for one in clicking):
            scores.append(service.score(body, Authorization=f"Bearer {KEY}").status)
            time.sleep(0.02)
        for one in clicking:
            one.result()

    assert set(statuses) == {200, 429}
    assert set(scores) == {200}


def test_a_wrong_file_ends_the_start_with_a_sentence(example):
    """As any setting that cannot be used."""
    folder, _, _ = example
    wrong = str(folder / "nothing")
    _, log = start_in_vain(folder, AZUREML_MODEL_DIR=str(folder / "models"), DASHBOARD=wrong)
    assert "DASHBOARD" in log
    assert "found nothing" in log


def test_another_models_explanation_is_shown_without_what_if(example, tmp_path):
    """And says why, where the user looks."""
    folder, _, rows = example
    other = LogisticRegression(max_iter=500, C=1e-4).fit(rows, np.arange(150) % 3)
    explainer = TabularExplainer(other, rows, classes=["a", "b", "c"])
    stale = save_explanation(explainer.explain_global(rows), tmp_path / "stale", include_data=True)
    settings = {"AZUREML_MODEL_DIR": str(folder / "models"), "DASHBOARD": str(stale)}
    with serving(tmp_path, WORKERS="1", **settings) as running:
        meta = running.ask("GET", "/dashboard/api/meta").json()
        assert "another model" in meta["capabilities"]["ice"]["reason"]
        answer = ask(running, "ice", key="", rows=[0], feature=0)
        assert answer.status == 409
        assert ask(running, "importance", key="").status == 200


@pytest.fixture(scope="module")
def browser():
    """A real browser, without a window."""
    with browsing() as browser:
        yield browser


def test_the_page_asks_for_the_key_and_keeps_it(browser, service):
    """Again where it is wrong; once it is right, for the tab alone, and never in the address."""
    page = Page(browser, f"http://127.0.0.1:{service.port}/models/iris/dashboard/")
    page.page.goto(f"{page.url}#tab=performance")
    for key in ("a-wrong-key", KEY):
        page.page.get_by_label("Key of the service").last.fill(key)
        page.page.get_by_role("button", name="Continue").click()
        page.page.wait_for_timeout(300)
    page.page.wait_for_selector("html[data-ready]")
    page.settle()
    assert page.page.locator("td[data-metric=accuracy]").count() == 1
    assert page.page.get_by_role("dialog").count() == 0
    assert KEY not in page.page.url
    assert page.open(tab="importance").locator(".mark").count() > 0
    page.complaints[:] = [one for one in page.complaints if "status of 401" not in one]
    page.close()


class _Proxy(BaseHTTPRequestHandler):
    """Shows the dashboard below a path of its own to those who have logged in."""

    protocol_version = "HTTP/1.1"
    path_below = "/hub/user/me/iris/"
    is_open = True

    def do_GET(self):
        self._pass_on(None)

    def do_POST(self):
        self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

    def _pass_on(self, body):
        if self.path == "/login":
            return self._answer(204, {"Set-Cookie": "session=mine; Path=/; HttpOnly"}, b"")
        is_known = "session=mine" in self.headers.get("Cookie", "")
        if not (type(self).is_open and is_known):
            return self._answer(200, {"Content-Type": "text/html"}, b"<h1>Log in</h1>")
        path = f"/models/iris/dashboard/{self.path.removeprefix(self.path_below)}"
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        with closing(behind) as asked:
            asked.request(self.command, path, body, headers)
            answer = asked.getresponse()
            content = answer.read()
        kept = ("Content-Type", "Content-Security-Policy", "Cache-Control", "ETag")
        told = {name: answer.headers[name] for name in kept if answer.headers[name]}
        return self._answer(answer.status, told, content)

    def _answer(self, status, headers, content):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def proxied(service):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    server.behind = service.port
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}"


def test_a_proxy_with_a_login_of_its_own_may_stand_before_it(browser, service):
    """At any path; it may know the key itself. Who is logged out is told so."""
    with proxied(service) as origin:
        page = Page(browser, f"{origin}{_Proxy.path_below}")
        page.page.request.get(f"{origin}/login")
        shown = page.open(tab="whatif", rows="[3]")
        assert shown.locator(".answer").count() == 1
        assert page.open(tab="importance", feature="2").locator("canvas").count() == 1
        _Proxy.is_open = False
        shown.get_by_role("link", name="Model performance").click()
        page.settle()
        assert "log in again" in shown.locator("main .refusal").inner_text()
        _Proxy.is_open = True
        page.close()
