"""What stands around the service: load balancers, pages in a browser, a proxy, a conda shell."""

import http.client
import json
import time
from contextlib import closing

import pytest
from serving import serving

ORIGIN, OTHER = "https://app.example.com", "https://evil.example.com"
PREFIX = "/models/iris"


@pytest.fixture(scope="module")
def surrounded(iris_folder, tmp_path_factory):
    """One worker, started from a shell of conda's, with all such settings."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("secret\n", encoding="ascii")
    with serving(
        tmp_path_factory.mktemp("service"),
        AZUREML_MODEL_DIR=str(iris_folder),
        HOST="x86_64-conda-linux-gnu",
        KEEP_ALIVE_SECONDS="2",
        CORS_ORIGINS=f"http://localhost:3000, {ORIGIN}",
        PATH_PREFIX=PREFIX,
        AUTH_KEYS_FILE=str(keys),
        WORKERS="1",
    ) as running:
        yield running


def test_host_as_conda_sets_it_stops_nothing(surrounded):
    """It is no address: the log says which one is used."""
    assert surrounded.ask("GET", "/ping").status == 200
    assert "HOST is x86_64-conda-linux-gnu" in surrounded.log()
    assert "listening on 127.0.0.1" in surrounded.log()


def test_a_kept_connection_stays_open_for_the_time_that_is_set(surrounded):
    """It answers again before, and is closed after."""
    with closing(http.client.HTTPConnection("127.0.0.1", surrounded.port, timeout=30)) as client:
        for pause in (0, 1):
            time.sleep(pause)
            client.request("GET", "/ping")
            assert client.getresponse().read()
        assert client.sock.recv(1) == b""  # waits until the service hangs up


def preflight(service, origin, path="/score"):
    return service.ask(
        "OPTIONS",
        path,
        Origin=origin,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization, content-type",
    )


@pytest.mark.parametrize(
    "path", ["/score", "/invocations", "/v2/models/model/infer", f"{PREFIX}/score"]
)
def test_a_page_of_an_allowed_origin_may_ask(surrounded, path):
    """The browser's question needs no key; it is told what the request may have."""
    answer = preflight(surrounded, ORIGIN, path)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert {"authorization", "content-type"} <= set(allowed.split(", "))
    assert answer.headers["Vary"] == "Origin"


def test_a_page_reads_answers_and_refusals(surrounded, four_rows):
    """Both have the header, without which a browser hides them."""
    body = four_rows.to_json()
    scored = surrounded.score(body, Origin=ORIGIN, Authorization="Bearer secret")
    refused = surrounded.score(body, Origin=ORIGIN)
    assert (scored.status, refused.status) == (200, 401)
    for answer in (scored, refused, surrounded.ask("GET", "/none", Origin=ORIGIN)):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("origin", [OTHER, "null", ORIGIN.upper(), f"{ORIGIN}.evil.com", "*", ""])
def test_other_pages_may_not(surrounded, origin):
    """Nor what only looks like an allowed origin; the caches between know that it depends."""
    for answer in (preflight(surrounded, origin), surrounded.ask("GET", "/ping", Origin=origin)):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin"


def test_by_default_no_page_may_ask(service):
    """Nothing of it is in any answer."""
    for answer in (preflight(service, ORIGIN), service.ask("GET", "/ping", Origin=ORIGIN)):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert "Vary" not in answer.headers


def test_routes_are_answered_with_and_without_the_prefix(surrounded, four_rows):
    """A proxy keeps it, the health checks of a container do not know it; errors have their
    protocol's form under it too.
    """
    body = four_rows.to_json()
    key = {"Authorization": "Bearer secret"}
    for path in (
        "/score",
        "/invocations",
        "/v1/models/model:predict",
        "/v1/models/model%3Apredict",
    ):
        bare = surrounded.ask("POST", path, body, **key)
        assert bare.status == 200
        assert surrounded.ask("POST", f"{PREFIX}{path}", body, **key).body == bare.body
    for path in ("/ping", "/", "", "/v2/health/ready"):
        assert surrounded.ask("GET", f"{PREFIX}{path}").status == 200
    for path in (f"{PREFIX}more/ping", f"/x{PREFIX}/ping", f"{PREFIX}{PREFIX}/ping"):
        assert surrounded.ask("GET", path).status == 404
    wrong = surrounded.ask("POST", f"{PREFIX}/v1/models/other:predict", body, **key)
    assert (wrong.status, list(wrong.json())) == (404, ["error"])
    document = surrounded.ask("GET", f"{PREFIX}/swagger.json", **key).json()
    assert document["servers"] == [{"url": PREFIX}]


def test_packed_lines_get_lines_as_batch_transform_asks_for_them(surrounded, four_rows):
    """Over the wire: gzip in, a line for each row out."""
    import gzip

    rows = json.loads(four_rows.to_json(orient="records"))
    lines = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    answer = surrounded.ask(
        "POST",
        "/invocations",
        lines,
        "application/jsonlines",
        Accept="text/csv",
        Content_Encoding="gzip",
        Authorization="Bearer secret",
    )
    assert (answer.status, answer.headers.get_content_type()) == (200, "text/csv")
    assert len(answer.body.splitlines()) == 4
