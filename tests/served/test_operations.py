"""What an operator relies on: keys, TLS, ports, request ids, logs, metrics that add up, the same
bytes everywhere.
"""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import numpy as np
import pandas as pd
import psutil
import pytest
from serving import JSON, free_port, serving
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save

pytestmark = pytest.mark.alone

FIRST, SECOND, THIRD = "first-key-of-two", "second-key-of-two", "third-key-after-them"
SCORING_ROUTES = (
    "/score",
    "/invocations",
    "/v1/models/model:predict",
    "/v1/models/model:explain",
    "/v2/models/model/infer",
)
HEALTH_ROUTES = (
    "/",
    "/ping",
    "/health",
    "/version",
    "/v1/models",
    "/v1/models/model",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/model/ready",
)
MARKER = 4711.25


@pytest.fixture(scope="module")
def rows():
    """Three columns, two of them with missing values."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(60, 3)).round(6), columns=["age", "income", "debt"])
    table.iloc[::4, 1] = np.nan
    table.iloc[::5, 2] = np.nan
    return table


@pytest.fixture(scope="module")
def gaps_folder(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gaps")
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(rows, rows["age"] > 0.3)
    save(
        KernelScoringExplainer(TabularExplainer(model, rows)),
        folder,
        exist_ok=True,
        original_model=model,
    )
    return folder


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"{FIRST}\n{SECOND}\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def probe_port():
    return free_port()


@pytest.fixture(scope="module")
def operated(gaps_folder, keys_file, probe_port, tmp_path_factory):
    """Two workers with keys, caps and a probe port."""
    settings = {"AUTH_KEYS_FILE": str(keys_file), "MAX_ROWS": "20", "PROBE_PORT": str(probe_port)}
    folder = tmp_path_factory.mktemp("operated")
    with serving(
        folder, AZUREML_MODEL_DIR=str(gaps_folder), MAX_CONTENT_LENGTH="5000", **settings
    ) as running:
        yield running


def with_key(service, body, query="", **headers):
    return service.score(body, query=query, Authorization=f"Bearer {FIRST}", **headers)


# Keys


@pytest.mark.parametrize("route", SCORING_ROUTES)
def test_scoring_needs_a_key(operated, route):
    """Without one, with a wrong one, with another scheme or with one that is no ASCII: 401 that
    says what to send.
    """
    wrong = (
        None,
        "Bearer wrong",
        f"Basic {FIRST}",
        FIRST,
        "Bearer",
        f"Bearer {FIRST}x",
        "Bearer schlüssel",
        "\xff",
    )
    for authorization in wrong:
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = operated.ask("POST", route, "[]", **headers)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), authorization
        assert "'Authorization: Bearer <key>'" in answer.body.decode()
        assert FIRST not in answer.body.decode()


def test_documents_need_a_key_and_health_never_does(operated):
    """A probe has no key."""
    assert [operated.ask("GET", route).status for route in HEALTH_ROUTES] == [200] * len(
        HEALTH_ROUTES
    )
    assert [operated.ask("GET", route).status for route in ("/metrics", "/swagger.json")] == [
        401,
        401,
    ]
    assert operated.ask("GET", "/metrics", Authorization=f"bearer {SECOND}").status == 200


def test_keys_are_rotated_without_a_restart(operated, keys_file, rows):
    """Both keys are good; once the file has changed the new ones are, in every worker."""
    body = rows[:1].to_json()

    def statuses():
        return [
            operated.score(body, Authorization=f"Bearer {key}").status
            for key in (FIRST, SECOND, THIRD)
        ]

    assert statuses() == [200, 200, 401]
    keys_file.write_text(f"{SECOND}\n{THIRD}\n", encoding="utf-8")
    assert statuses() == [401, 200, 200]
    keys_file.write_text(f"{FIRST}\n{SECOND}\n", encoding="utf-8")
    assert statuses() == [200, 200, 401]


# Caps


def test_caps_on_rows_and_bytes(operated, rows):
    """As many as are allowed are answered; one more is 413 with the number."""
    fits, more = rows[:20].to_json(orient="values"), rows[:21].to_json(orient="values")
    assert with_key(operated, fits).status == 200
    answer = with_key(operated, more)
    assert (answer.status, "at most 20" in answer.json()["message"]) == (413, True)
    assert with_key(operated, fits.ljust(5000)).status == 200
    answer = with_key(operated, fits.ljust(5001))
    assert (answer.status, "at most 5000 bytes" in answer.json()["message"]) == (413, True)


# Request ids and the log


def test_every_answer_has_a_request_id(operated, rows):
    """One that is short and printable comes back, another is replaced, none is made up; on refusals
    too.
    """
    asks = [
        ("GET", "/", None),
        ("GET", "/nowhere", None),
        ("GET", "/score", None),
        ("POST", "/score", "[]"),
    ]
    for method, route, body in asks:
        assert (
            operated.ask(method, route, body, X_Request_Id="mine 1").headers["X-Request-Id"]
            == "mine 1"
        )
        assert re.fullmatch(
            "[0-9a-f]{32}", operated.ask(method, route, body).headers["X-Request-Id"]
        )
    for unusable in ("x" * 101, "tab\there", "ümlaut", ""):
        made = operated.ask("GET", "/", X_Request_Id=unusable).headers["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{32}", made)
    assert operated.ask("GET", "/", X_Request_Id="x" * 100).headers["X-Request-Id"] == "x" * 100


def lines_of(service, request_id):
    lines = [json.loads(line) for line in service.log().splitlines()]
    return [line for line in lines if line.get("request_id") == request_id]


def test_one_line_of_json_for_each_request_and_no_value_in_it(operated, rows):
    """Route, status, time and rows under the id; nothing of the body, good or bad, nor of the query
    or the key.
    """
    good = with_key(
        operated, rows[:2].assign(age=MARKER).to_json(), "?top_k=2", X_Request_Id="good"
    )
    bad = with_key(operated, json.dumps([[f"{MARKER}!", 1, 2]]), X_Request_Id="bad")
    assert (good.status, bad.status) == (200, 400)
    assert str(MARKER) in bad.json()["message"]

    (line,), (refused,) = lines_of(operated, "good"), lines_of(operated, "bad")
    assert (line["method"], line["route"], line["status"], line["rows"]) == (
        "POST",
        "/score",
        200,
        2,
    )
    assert line["milliseconds"] > 0
    assert (refused["status"], refused["rows"]) == (400, None)
    assert not any(secret in operated.log() for secret in (str(MARKER), "top_k", FIRST))


# Metrics


def metric(service, name):
    """The samples of one metric, by their labels as text."""
    text = service.ask("GET", "/metrics", Authorization=f"Bearer {FIRST}").body.decode()
    found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def pids(service):
    return {child.pid for child in psutil.Process(service.process.pid).children()}


def answered_by(service):
    return {
        json.loads(line)["process"]
        for line in service.log().splitlines()
        if '"/score", "status": 200' in line
    }


def test_metrics_add_up_over_all_workers_also_when_one_is_killed(operated, gaps_folder, rows):
    """Requests, rows, missing values and mean importances are those of all that was sent, whoever
    has answered it.
    """
    names = ("scoring_requests_total", "scoring_rows_sum", "scoring_rows_explained_total",
             "scoring_missing_values_total", "scoring_importance_sum_total")  # fmt: skip
    before = {name: metric(operated, name) for name in names}
    sent = [rows[start : start + 4] for start in range(0, 56, 4)]
    everything = pd.concat(sent)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):  # until both have answered
            assert {
                a.status for a in pool.map(lambda part: with_key(operated, part.to_json()), sent)
            } == {200}
    assert pids(operated) <= answered_by(operated)
    os.kill(max(pids(operated)), signal.SIGKILL)
    after = {name: metric(operated, name) for name in names}

    def added(name, labels=""):
        return after[name][labels] - before[name].get(labels, 0.0)

    importances = 3 * np.abs(load(gaps_folder).explain(everything)).mean(axis=0).sum(axis=0)
    missing = 3 * everything.isna().sum()
    assert added("scoring_requests_total", 'code="200",route="/score"') == 3 * len(sent)
    assert added("scoring_rows_sum") == added("scoring_rows_explained_total") == 3 * len(everything)
    for feature, importance in zip(rows.columns, importances, strict=True):
        labels = f'feature="{feature}"'
        assert added("scoring_importance_sum_total", labels) == pytest.approx(importance, rel=1e-12)
        assert added("scoring_missing_values_total", labels) == missing[feature]
        total, n_rows = (
            after["scoring_importance_sum_total"][labels],
            after["scoring_rows_explained_total"][""],
        )
        assert metric(operated, "scoring_importance_mean")[labels] == pytest.approx(
            total / n_rows, rel=1e-12
        )
    assert list(metric(operated, "scoring_model_info").values()) == [1.0]


# Ports and TLS


def test_the_probe_port_answers_too(operated, probe_port):
    """A second port of the same process."""
    with urllib.request.urlopen(f"http://127.0.0.1:{probe_port}/ping", timeout=30) as answer:
        assert answer.status == 200


def test_two_services_share_a_port(gaps_folder, tmp_path, rows):
    """REUSE_PORT: both answer, and with one of them gone the other answers all."""
    port = str(free_port())
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    settings = {
        "AZUREML_MODEL_DIR": str(gaps_folder),
        "PORT": port,
        "REUSE_PORT": "1",
        "WORKERS": "1",
    }
    with serving(folders[0], **settings) as first:
        with serving(folders[1], **settings) as second:
            assert {first.score(rows[:1].to_json()).status for _ in range(60)} == {200}
            assert all('"/score", "status": 200' in one.log() for one in (first, second))
        assert {first.score(rows[:1].to_json()).status for _ in range(20)} == {200}


def test_https_with_a_certificate(gaps_folder, tmp_path, rows):
    """The certificate is the one that was set; plain HTTP gets no answer of the service; slow
    handshakes are ended, and keep nobody from an answer.
    """
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    settings = {
        "TLS_CERT_FILE": str(certificate),
        "TLS_KEY_FILE": str(key),
        "SLOW_CLIENT_SECONDS": "1",
    }
    trusted = ssl.create_default_context(cafile=certificate)
    with serving(
        tmp_path,
        trusted=trusted,
        AZUREML_MODEL_DIR=str(gaps_folder),
        WORKERS="1",
        THREADS="8",
        **settings,
    ) as secure:
        request = urllib.request.Request(
            f"https://127.0.0.1:{secure.port}/score",
            rows[:1].to_json().encode(),
            {"Content-Type": JSON},
        )
        with urllib.request.urlopen(request, context=trusted, timeout=30) as answer:
            assert answer.status == 200
            assert list(json.loads(answer.read())) == ["predictions", "local_importance_values"]
        with secure.connection() as waiting:
            waiting.connect()
            waiting.sock.sendall(b"GET /ping HTTP/1.1\r\nX-Slow: ")
            with suppress(ssl.SSLError):  # a goodbye in the middle of the headers, or none
                assert waiting.sock.recv(1) == b""
        with ExitStack() as stack:  # five times as many as there are threads
            for first in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") * 20:
                client = socket.create_connection(("127.0.0.1", secure.port), timeout=30)
                stack.enter_context(client).sendall(first)
            soon = stack.enter_context(secure.connection())
            soon.timeout = 3
            soon.request("GET", "/ping")
            assert soon.getresponse().status == 200
        body = rows.to_json(orient="records").encode()
        padded = body + b" " * (5_000_000 - len(body))  # many records of TLS
        assert secure.score(padded).body == secure.score(body).body


# The same bytes


def test_the_same_row_gives_the_same_bytes_alone_in_company_and_from_every_worker(
    breast_cancer, tmp_path
):
    """The documents' model: predictions and importances of a row do not depend on who asks for what
    beside it.
    """
    table = load_breast_cancer(as_frame=True).data
    folder = tmp_path / "models"
    explainer = TabularExplainer(
        breast_cancer.model, breast_cancer.x_train[:40]
    )  # fewer rows than usual, for speed
    save(KernelScoringExplainer(explainer), folder, original_model=breast_cancer.model)
    company = pd.concat([table[:200], breast_cancer.rows, table[200:252]])
    with serving(tmp_path, AZUREML_MODEL_DIR=str(folder), DEADLINE_SECONDS="600") as service:
        together = service.score(company.to_json(orient="records")).json()
        with ThreadPoolExecutor(4) as pool:
            rows = [breast_cancer.rows[i : i + 1].to_json(orient="records") for i in range(4)]
            alone = list(pool.map(service.score, rows * 6))
        assert pids(service) == answered_by(service)
    for i in range(4):
        assert {answer.body for answer in alone[i::4]} == {alone[i].body}
        found = alone[i].json()
        assert found["predictions"] == together["predictions"][200 + i : 201 + i]
        for of_class, in_company in zip(
            found["local_importance_values"], together["local_importance_values"], strict=True
        ):
            assert of_class[0] == in_company[200 + i]
