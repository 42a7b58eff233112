"""Bodies in every way in which they are sent: packed, in charsets, as lines; and answers alike."""

import csv
import gzip
import io
import json
import zlib

import numpy as np
import pandas as pd
import pytest
from serving import strict
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save
from service.settings import Settings
from service.web.app import create_app
from service.web.protocols.media_types import BINARY, JSON_LINES

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, 60),
        "income": RNG.normal(50, 9, 60).round(1),
        "city": RNG.choice(["Zürich", "Łódź", "東京"], 60),
    }
)
FRAME["city"] = FRAME["city"].astype("category")
NUMBERS = FRAME[["age", "income"]]
SCORE = NUMBERS["income"] - NUMBERS["age"] / 10
ROWS = json.loads(NUMBERS[:4].to_json(orient="records"))
BODY = json.dumps(ROWS).encode()
LARGEST = 2**19
ROUTES = ["/score?explain=false", "/invocations", "/v1/models/model:predict"]


def client_of(folder, fitted, rows):
    explainer = KernelScoringExplainer(TabularExplainer(fitted, rows))
    save(explainer, folder, original_model=fitted)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AZUREML_MODEL_DIR", str(folder))
        return create_app(Settings(max_content_length=LARGEST)).test_client()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A classifier of words over two columns of numbers."""
    fitted = LogisticRegression().fit(NUMBERS, np.where(SCORE > 44, "grant, soon", "refuse"))
    return client_of(tmp_path_factory.mktemp("classifier") / "models", fitted, NUMBERS)


@pytest.fixture(scope="module")
def regressor(tmp_path_factory):
    fitted = KNeighborsRegressor().fit(NUMBERS, SCORE)
    return client_of(tmp_path_factory.mktemp("regressor") / "models", fitted, NUMBERS)


@pytest.fixture(scope="module")
def two_targets(tmp_path_factory):
    fitted = LinearRegression().fit(NUMBERS, np.stack([SCORE, -SCORE], axis=1))
    return client_of(tmp_path_factory.mktemp("targets") / "models", fitted, NUMBERS)


def bare_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = [
    ("gzip", gzip.compress(BODY, mtime=0)),
    ("GZIP", gzip.compress(BODY, 1, mtime=0)),
    ("x-gzip", gzip.compress(BODY, mtime=0)),
    ("gzip", gzip.compress(BODY[:9], mtime=0) + gzip.compress(BODY[9:], mtime=0)),
    ("deflate", zlib.compress(BODY)),
    ("deflate", zlib.compress(BODY, 0)),
    ("deflate", bare_deflate(BODY)),
    ("gzip, deflate", zlib.compress(gzip.compress(BODY, mtime=0))),
    ("identity", BODY),
    ("", BODY),
]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("encoding", "body"), PACKED)
def test_packed_bodies_are_those_that_were_packed(client, route, encoding, body):
    """The same answer on every route that scores."""
    answer = client.post(route, data=body, headers={"Content-Encoding": encoding})
    expected = client.post(route, data=BODY)
    assert (answer.status_code, answer.data) == (200, expected.data)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bare_deflate])
def test_what_is_unpacked_is_bounded(client, pack):
    """A few kilobytes that would be far more than a body may have: 413, and no more is made."""
    encoding = "gzip" if pack is gzip.compress else "deflate"
    for size in (LARGEST + 1, 20 * LARGEST):
        body = pack(b" " * size)
        answer = client.post("/score", data=body, headers={"Content-Encoding": encoding})
        assert answer.status_code == 413
        assert f"at most {LARGEST} bytes" in answer.json["message"]
    padded = BODY + b" " * (LARGEST - len(BODY))
    fits = client.post("/score", data=pack(padded), headers={"Content-Encoding": encoding})
    assert fits.status_code == 200
    twice = client.post(
        "/score",
        data=gzip.compress(gzip.compress(b" " * 20 * LARGEST), mtime=0),
        headers={"Content-Encoding": "gzip, gzip"},
    )
    assert twice.status_code == 413


@pytest.mark.parametrize(
    ("encoding", "body", "status", "says"),
    [
        ("br", b"x", 415, "expected gzip, deflate or none, got br"),
        ("zstd", b"x", 415, "got zstd"),
        ("b4c7d1", b"x", 415, "got another one"),
        ("gzip, br", b"x", 415, "got br"),
        ("gzip", BODY, 400, "expected it packed as Content-Encoding says"),
        ("deflate", BODY, 400, "expected it packed as Content-Encoding says"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-9], 400, "it ends too early"),
        ("gzip", gzip.compress(BODY, mtime=0) + b"more", 400, "expected it packed"),
        ("gzip", b"", 400, "got an empty body"),
        ("", gzip.compress(BODY, mtime=0), 415, "got gzip; declare it by Content-Encoding: gzip"),
        ("", b"PAR1\x15\x04\xff\xfePAR1", 415, "got Parquet; send JSON, CSV or JSON Lines"),
        ("", BODY.decode().encode("utf-16"), 415, "declare it by charset=utf-16"),
    ],
)
def test_what_is_not_read_is_refused_by_name(client, encoding, body, status, says):
    """With what is, and in the protocol's own form; nothing of the header is repeated."""
    for route, key in (("/score", "message"), ("/v1/models/model:predict", "error")):
        answer = client.post(route, data=body, headers={"Content-Encoding": encoding})
        assert (answer.status_code, says in answer.json[key]) == (status, True), answer.json
        assert "b4c7d1" not in answer.text
        if status == 415:
            assert answer.headers["Accept-Encoding"] == "gzip, deflate"


CITY = '[{"age": 30, "income": 50.5, "city": "%s"}]'


@pytest.mark.parametrize(
    ("charset", "city"),
    [
        ("utf-8", "Łódź"),
        ("UTF8", "東京"),
        ("utf-16", "東京"),
        ("utf-16le", "Łódź"),
        ("utf-32", "東京"),
        ("iso-8859-1", "Zürich"),
        ("latin1", "Zürich"),
        ("windows-1250", "Łódź"),
        ("iso-8859-2", "Łódź"),
        ("shift_jis", "東京"),
        ("gb18030", "東京"),
        ('"utf-8"', "Zürich"),
    ],
)
def test_a_charset_is_read_as_declared(charset, city, tmp_path):
    """A script gets the text that was meant, in JSON and in CSV."""
    script = tmp_path / "echo.py"
    script.write_text("from json import loads as run; init = dict", encoding="utf-8")
    client = create_app(Settings(entry_script=script)).test_client()
    body = (CITY % city).encode(charset.strip('"'))
    declared = f"application/json; charset={charset}"
    answer = client.post("/score", data=body, content_type=declared)
    assert answer.json == json.loads(CITY % city)


@pytest.mark.parametrize(
    ("charset", "body", "status", "says"),
    [
        ("rot13", BODY, 415, "expected a charset that is known here"),
        ("b4c7d1", BODY, 415, "expected a charset that is known here"),
        ("idna", BODY, 415, "expected a charset that is known here"),
        ("unicode_escape", BODY, 415, "expected a charset that is known here"),
        ("x" * 5000, BODY, 415, "expected a charset that is known here"),
        (
            "us-ascii",
            '["ü"]'.encode(),
            400,
            "expected text in ASCII, but byte 2 is not ASCII; send",
        ),
        ("utf-8", '["ü"]'.encode("latin-1"), 400, "text in UTF-8, but byte 2 is not UTF-8; send"),
    ],
)
def test_a_charset_that_is_none_is_refused(client, charset, body, status, says):
    """415 for one that is not known, 400 for a body that is not in it."""
    answer = client.post("/score", data=body, content_type=f"text/plain; charset={charset}")
    assert (answer.status_code, says in answer.json["message"]) == (status, True), answer.json
    assert "b4c7d1" not in answer.text


# Lines in


LINES = "\n".join(map(json.dumps, ROWS))
LISTS = "\n".join(json.dumps(list(row.values())) for row in ROWS)
FEATURES = "\n".join(json.dumps({"features": list(row.values())}) for row in ROWS)


@pytest.mark.parametrize("media_type", JSON_LINES)
@pytest.mark.parametrize(
    "body", [LINES, LINES + "\n", LISTS, FEATURES, LINES.replace("\n", "\r\n\n")]
)
def test_json_lines_are_rows(client, media_type, body):
    """Records, lists of values, or those as Clarify writes them."""
    expected = client.post("/invocations", data=BODY).json
    answer = client.post("/invocations", data=body, content_type=media_type)
    assert (answer.status_code, answer.json) == (200, expected)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (LINES + '\n{"age": 4', "Body, line 5: expected JSON, but at column 10"),
        ('{"age": 4, "age": 5}', "Body, line 1: key 'age' came twice"),
        (LINES + "\n\n7", "Body, line 6: expected a record or a list of values, got 7"),
        ('{"features": 7}', "Body, line 1: expected a record or a list of values, got 7"),
        ('{"age": 4, "income": Infinity}', "Column 'income', row 0: expected a number, got inf"),
        (LINES + "\n[1, 2]", "Row 4: expected a record like row 0, got a list of 2"),
    ],
)
def test_a_line_that_is_no_row_is_named(client, body, says):
    """By its number, or by its row and column."""
    answer = client.post("/invocations", data=body, content_type="application/jsonlines")
    assert (answer.status_code, says in answer.json["message"]) == (400, True), answer.json


def test_malformed_csv_is_refused_by_its_line(client):
    """And names that do not fit by their names."""
    for body, says in (
        ('age,income\n4,5\n5,"6\n', "Body, line 3: expected CSV, but unexpected end of data"),
        ("age,income\n4,5\n5\n", "Body, line 3: expected 2 cells, got 1"),
        ("age,wage\n4,5\n", "Body, line 1: Expected the model's own columns, but missing"),
    ):
        answer = client.post("/invocations", data=body, content_type="text/csv")
        assert (answer.status_code, says in answer.json["message"]) == (400, True), answer.json
    odd = client.post("/invocations", data="4,5", content_type="text/csv; header=maybe")
    assert odd.status_code == 415
    declared = client.post("/invocations", data="4,5", content_type="text/csv; header=absent")
    assert declared.status_code == 200


@pytest.mark.parametrize("media_type", BINARY)
def test_other_kinds_of_file_get_a_clear_answer(client, media_type):
    """415, which names what was sent, what is read and what reads files."""
    answer = client.post("/invocations", data=b"PAR1\xff", content_type=media_type)
    assert answer.status_code == 415
    assert answer.json["message"].startswith(f"{BINARY[media_type]}: expected application/json")


# Lines out


def asked(client, accept, query="", body=BODY):
    return client.post(f"/invocations{query}", data=body, headers={"Accept": accept})


ALL = "?explain=true&probabilities=true&standard_errors=true&expected_values=true"


@pytest.mark.parametrize("name", ["client", "regressor", "two_targets"])
@pytest.mark.parametrize("query", ["", "?explain=true", "all"])
def test_lines_hold_what_json_holds(request, name, query):
    """Row by row, in CSV and in JSON Lines, without a line of names and with one."""
    client = request.getfixturevalue(name)
    everything = ALL if name == "client" else ALL.replace("&probabilities=true", "")
    query = everything if query == "all" else query
    whole = asked(client, "application/json", query).json
    lines = asked(client, "application/jsonlines", query)
    assert lines.mimetype == "application/jsonlines"
    rows = list(map(strict, lines.text.splitlines()))
    assert [row["prediction"] for row in rows] == whole["predictions"]
    for place, row in enumerate(rows):
        assert ("local_importance_values" in row) == ("local_importance_values" in whole)
        for key in ("local_importance_values", "standard_errors"):
            if whole.get(key) is not None:
                of_row = np.array(whole[key])[..., place, :].tolist()
                assert row[key] == of_row
            assert (key in row) == (key in whole)
        if "probabilities" in whole:
            assert row["probabilities"] == whole["probabilities"][place]
        assert row.get("expected_values") == whole.get("expected_values")

    bare, named = asked(client, "text/csv", query), asked(client, "text/csv; header=present", query)
    assert named.text.split("\n", 1)[1] == bare.text
    table = list(csv.DictReader(io.StringIO(named.text)))
    for place, cells in enumerate(table):
        check_cells(cells, whole, place)


def check_cells(cells, whole, place):
    """Every cell is the number or word that the JSON answer has."""
    predicted = np.ravel(whole["predictions"][place]).tolist()
    assert [cells[name] for name in cells if name.startswith("prediction")] == list(
        map(str, predicted)
    )
    for prefix, key in (
        ("importance:", "local_importance_values"),
        ("standard_error:", "standard_errors"),
    ):
        found = [cells[name] for name in cells if name.startswith(prefix)]
        if whole.get(key) is None:
            assert set(found) <= {""}
        else:
            expected = np.ravel(np.array(whole[key])[..., place, :]).tolist()
            assert list(map(float, found)) == expected


@pytest.mark.parametrize("body", ["age,income\n41,3", "41,3\n27,2", '{"age": 1}\n{"age": 2}'])
def test_rows_in_other_formats_are_told_where_they_are_read(client, body):
    """CSV and JSON Lines at /score are refused in words that name the route that takes them."""
    answer = client.post("/score", data=body)
    assert answer.status_code == 400
    assert "go to /invocations, with Content-Type: text/csv" in answer.json["message"]
    half = client.post("/score", data='{"data": [[1, 2')
    assert "/invocations" not in half.json["message"]


def test_csv_is_a_line_for_each_row_and_nothing_else(client):
    """What SageMaker's batch transform joins with its input; a comma in a label is quoted."""
    rows = list(csv.reader(io.StringIO(asked(client, "text/csv").text)))
    assert rows == [[label] for label in client.post("/invocations", data=BODY).json["predictions"]]
    assert "grant, soon" in {label for (label,) in rows}


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("b4c7d1", "application/json"),
        ("application/json", "application/json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("application/x-ndjson", "application/jsonlines"),
        ("text/*", "text/csv"),
        ("image/png, application/csv", "text/csv"),
    ],
)
def test_the_form_that_is_wanted_most_is_answered(client, accept, media_type):
    """JSON where a client does not say, or says what is no media type."""
    answer = asked(client, accept)
    assert (answer.status_code, answer.mimetype) == (200, media_type)


def test_what_cannot_be_written_is_406(client, tmp_path):
    """By its media type before anything is scored, or since it has no line for each row."""
    answer = asked(client, "image/png, application/xml")
    assert answer.status_code == 406
    assert "expected application/json, text/csv or application/jsonlines" in answer.json["message"]
    named = asked(client, "text/csv", "?explain=true&top_k=1")
    assert (named.status_code, "plain values" in named.json["message"]) == (406, True)
    lines = asked(client, "application/jsonlines", "?explain=true&top_k=1").text.splitlines()
    assert [len(strict(line)["top_importances"]) for line in lines] == [1] * 4

    script = tmp_path / "own.py"
    script.write_text("from json import loads as run; init = dict", encoding="utf-8")
    own = create_app(Settings(entry_script=script)).test_client()
    assert asked(own, "text/csv", body=b'{"predictions": [1, "a,b"]}').text == '1\n"a,b"\n'
    assert asked(own, "application/jsonlines", body=b"[1, [2]]").text == (
        '{"prediction":1}\n{"prediction":[2]}\n'
    )
    for body in (b'{"predictions": 1}', b'{"a": 1, "b": 2}', b"3"):
        assert asked(own, "text/csv", body=body).status_code == 406


# What stands beside the rows


@pytest.mark.parametrize(
    "beside",
    [
        {"params": {}},
        {"params": None},
        {"parameters": {}},
        {"signature_name": "serving_default"},
        {"signature_name": ""},
        {"method": "predict"},
        {"method": "predict", "params": {}},
    ],
)
@pytest.mark.parametrize("wrapper", ["instances", "data", "inputs", "dataframe_records"])
def test_members_of_other_envelopes_that_ask_for_nothing_are_taken(client, beside, wrapper):
    """MLflow's, Vertex AI's, TensorFlow Serving's and Azure ML's."""
    answer = client.post("/invocations", json={wrapper: ROWS, **beside})
    assert answer.json == client.post("/invocations", data=BODY).json


@pytest.mark.parametrize(
    "beside",
    [
        {"params": {"top_k": 3}},
        {"parameters": {"a": 1}},
        {"parameters": 0},
        {"signature_name": "regress"},
        {"method": "predict_proba"},
        {"model": "other"},
    ],
)
def test_members_that_ask_for_something_are_refused(client, beside):
    """By their name: an answer without it would be another one."""
    answer = client.post("/invocations", json={"instances": ROWS, **beside})
    assert answer.status_code == 400
    assert f"'{next(iter(beside))}'" in answer.json["message"]
