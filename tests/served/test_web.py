"""The service as clients see it: a real gunicorn, real sockets, a real model."""

import json
import math
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import numpy as np
import pytest
from serving import FORM, ROOT, errors_in, serving, start_in_vain, strict, wait_until

from service.scoring import load
from service.web.entry_script import EntryScript
from service.web.errors import EntryScriptError

# What the user's own script answers is chosen by the body, so that one server serves many tests.
OWN_SCRIPT = """
import json, sys, warnings
import numpy as np
import pandas as pd
from service.scoring import PayloadError

def init():
    print("init was called", flush=True)

def run(raw_data):
    return globals()[raw_data.strip()]()

def fails():
    raise ValueError("the secret is 4711")

def exits():
    sys.exit(3)

class Panic(BaseException):
    pass

def panics():
    raise Panic("of a library in Rust")

def warns():
    warnings.warn("of a library")
    return 1

def refuses():
    raise PayloadError("column 'age' is missing")

def numbers():
    return {"array": np.arange(4.0).reshape(2, 2), "scalar": np.float32(0.5), "count": np.int64(7)}

def not_numbers():
    return {
        "array": np.array([1.0, np.nan, np.inf]),
        "list": [-np.inf, None],
        "scalar": np.float64("nan"),
    }

def text():
    return json.dumps({"a": 1})

def nothing_json_knows():
    return {"model": object()}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The service with a user's own script and a small cap on bodies."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_script.py").write_text(OWN_SCRIPT, encoding="utf-8")
    settings = {"ENTRY_SCRIPT": str(folder / "own_script.py"), "MAX_CONTENT_LENGTH": "1000"}
    with serving(folder, **settings) as running:
        yield running


# What is answered


def test_the_service_says_that_it_lives_and_that_it_is_ready(service):
    """GET / is Azure's liveness probe, a plain word; GET /ping is readiness, as JSON."""
    alive, ready = service.ask("GET", "/"), service.ask("GET", "/ping")

    assert (alive.status, alive.headers.get_content_type(), alive.body) == (
        200,
        "text/plain",
        b"Healthy",
    )
    assert (ready.status, ready.json()) == (200, {"status": "ready"})


def test_the_answer_is_the_model_and_its_explainer(service, iris_model, iris_folder, four_rows):
    """Predictions are iris_model.predict's and importances are explain's, number for number, in the
    order sent.
    """
    answer = service.score(four_rows.to_json())

    assert answer.status == 200, answer.body
    assert list(answer.json()) == ["predictions", "local_importance_values"]
    assert answer.json()["predictions"] == iris_model.predict(four_rows).tolist() == [2, 0, 1, 2]
    assert answer.json()["local_importance_values"] == load(iris_folder).explain(four_rows)


def test_importances_are_indexed_by_class_row_feature_and_are_not_trivial(
    service, iris_model, four_rows
):
    """For each row and class the importances add up to the probability's distance from a common
    base value.
    """
    values = np.array(
        service.score(four_rows.to_json()).json()["local_importance_values"]
    )  # (K, n, M)
    base_values = iris_model.predict_proba(four_rows).T - values.sum(axis=2)  # (K, n)

    assert values.shape == (3, 4, 4)
    assert np.abs(values).max() > 0.1
    assert np.allclose(base_values, base_values[:, :1], atol=1e-9)


def test_four_ways_to_write_four_rows_get_the_same_bytes(service, four_rows):
    """to_json() as it is, records, split and a list of lists mean the same rows."""
    columns, records, split = (
        four_rows.to_json(orient=orient) for orient in ("columns", "records", "split")
    )
    lists = json.dumps(four_rows.to_numpy().tolist())

    answers = {service.score(body).body for body in (columns, records, split, lists)}

    assert len(answers) == 1
    assert "predictions" in strict(answers.pop())


def test_columns_are_matched_by_name(service, four_rows):
    """The order in which a client writes the columns changes nothing."""
    reversed_columns = four_rows[four_rows.columns[::-1]]

    assert service.score(reversed_columns.to_json()).body == service.score(four_rows.to_json()).body


def test_curl_without_a_header_works(service, four_rows):
    """`curl -d` declares a form; the body is read as what it is."""
    answer = service.score(four_rows.to_json(), content_type=FORM)

    assert (answer.status, answer.body) == (200, service.score(four_rows.to_json()).body)


def test_concurrent_requests_get_the_same_bytes(service, four_rows):
    """Every thread of every worker gives the same answer."""
    with ThreadPoolExecutor(8) as pool:
        answers = {answer.body for answer in pool.map(service.score, [four_rows.to_json()] * 64)}

    assert answers == {service.score(four_rows.to_json()).body}


# What is refused


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        pytest.param(lambda rows: rows.to_json()[:-2], "JSON", id="malformed JSON"),
        pytest.param(lambda rows: "", "empty", id="empty body"),
        pytest.param(lambda rows: " \n", "empty", id="blank body"),
        pytest.param(lambda rows: b'{"a": "\xff"}', "UTF-8", id="not text"),
        pytest.param(
            lambda rows: rows.drop(columns="petal width (cm)").to_json(),
            "petal width",
            id="missing column",
        ),
        pytest.param(lambda rows: rows.assign(colour=1.0).to_json(), "colour", id="unknown column"),
        pytest.param(
            lambda rows: rows.assign(**{"petal width (cm)": [1.9, "wide", 1.7, 1.5]}).to_json(),
            "'petal width (cm)', row 1: expected a number",
            id="a string in a numeric column",
        ),
        pytest.param(
            lambda rows: json.dumps([rows.to_numpy().tolist()]), "got a list", id="3-D list"
        ),
        pytest.param(
            lambda rows: json.dumps(rows.to_numpy()[:, :3].tolist()), "4", id="rows too short"
        ),
        pytest.param(lambda rows: "3", "3", id="a number"),
    ],
)
def test_bad_input_is_refused_with_what_is_wrong_and_the_service_stays_up(
    service, four_rows, break_it, named
):
    """The client's mistake is a 400 whose message names it; a good request is answered
    afterwards.
    """
    answer = service.score(break_it(four_rows))

    assert answer.status == 400, answer.body
    assert list(answer.json()) == ["message"]
    assert named in answer.json()["message"]
    assert service.score(four_rows.to_json()).status == 200


def test_a_nan_token_is_a_missing_value(service, four_rows):
    """A bare NaN, which some clients write, means what null means, and is never the service's
    failure.
    """
    record = four_rows.iloc[0].to_dict()
    token, null = (
        json.dumps([{**record, "petal width (cm)": missing}]) for missing in (math.nan, None)
    )
    assert "NaN" in token

    answers = [service.score(body) for body in (token, null)]

    # Iris has no missing values, so that one is refused.
    assert [answer.status for answer in answers] == [400, 400]
    assert answers[0].json() == answers[1].json()
    assert "'petal width (cm)', row 0" in answers[0].json()["message"]
    assert "missing value" in answers[0].json()["message"]


def test_an_unknown_path_is_404_in_json(service):
    """A mistyped route is answered in JSON and points at the right one."""
    answer = service.ask("POST", "/scores", "[]")

    assert answer.status == 404
    assert "/score" in answer.json()["message"]


def test_a_wrong_method_is_405_in_json(service):
    """PUT /score is refused with what is allowed."""
    answer = service.ask("PUT", "/score", "[]")

    assert answer.status == 405
    assert answer.json()["message"]
    assert "POST" in answer.headers["Allow"]


def test_the_query_of_a_get_is_the_body(service, four_rows):
    """Its members by their names: rows under `data`, and columns themselves."""
    wrapped = urlencode({"data": json.dumps(four_rows.to_numpy().tolist())})
    columns = urlencode({name: json.dumps(four_rows[name].tolist()) for name in four_rows})
    expected = service.score(four_rows.to_json()).body

    for query in (wrapped, columns):
        answer = service.ask("GET", f"/score?{query}")
        assert (answer.status, answer.body) == (200, expected)
    assert service.ask("GET", "/score?data=1").status == 400


@pytest.mark.parametrize(
    "written", [lambda body: body, lambda body: iter([body])], ids=["declared", "chunked"]
)
def test_a_body_over_the_cap_is_413_in_json(own, written):
    """A body of MAX_CONTENT_LENGTH is read, one byte more is refused and the cap named, its length
    declared or not.
    """
    body = b"numbers".ljust(1000)

    fits, too_large = own.score(written(body)), own.score(written(body + b" "))

    assert fits.status == 200
    assert too_large.status == 413
    assert "1000 bytes" in too_large.json()["message"]


# The user's own script


def test_what_a_script_raises_stays_in_the_log(own):
    """A failure is a 500 with an id; under that id the log has the traceback, of which the client
    sees nothing.
    """
    answer = own.score("fails")

    assert answer.status == 500
    (error_id,) = re.findall(r"[0-9a-f]{32}", answer.json()["message"])
    assert not re.search(rb"Traceback|4711|ValueError|own_script", answer.body)
    logged = own.log().split(error_id, 1)[1]
    assert "Traceback" in logged
    assert "ValueError: the secret is 4711" in logged


@pytest.mark.parametrize("name", ["exits", "panics", "nothing_json_knows", "no such answer"])
def test_no_misbehaviour_of_a_script_ends_the_service(own, name):
    """sys.exit(), a panic, a result that is no JSON, a KeyError: each a 500 with an id, and no
    worker ends.
    """
    answer = own.score(name)

    assert answer.status == 500
    (error_id,) = re.findall(r"[0-9a-f]{32}", answer.json()["message"])
    assert error_id in own.log()
    assert own.score("numbers").status == 200
    assert own.log().count("Booting worker") == 2


def test_a_warning_is_a_line_of_the_log(own):
    """What a library warns of is JSON too, and the request is answered."""
    assert own.score("warns").status == 200
    (line,) = [
        strict(line) for line in own.log().splitlines() if "UserWarning: of a library" in line
    ]
    assert line["level"] == "warning"


def test_a_script_refuses_a_body_with_payload_error(own):
    """What a script of the user's own says in a PayloadError reaches the client as a 400."""
    answer = own.score("refuses")

    assert (answer.status, answer.json()) == (400, {"message": "column 'age' is missing"})


def test_numpy_results_are_json(own):
    """Arrays and scalars of NumPy are lists and numbers in the answer."""
    assert own.score("numbers").json() == {
        "array": [[0.0, 1.0], [2.0, 3.0]],
        "scalar": 0.5,
        "count": 7,
    }


def test_not_a_number_is_null(own):
    """The answer is strict JSON: NaN and the infinities are null."""
    assert own.score("not_numbers").json() == {
        "array": [1.0, None, None],
        "list": [None, None],
        "scalar": None,
    }


def test_a_string_is_a_json_string(own):
    """A str result is quoted, not passed off as a document, as Azure's server has it."""
    assert own.score("text").json() == '{"a": 1}'


def test_init_is_called_in_every_worker(own):
    """What it starts there, no fork takes away."""
    assert own.log().count("Booting worker") == 2
    wait_until(lambda: own.log().count("init was called") == 2)


# What keeps the service from starting


def test_a_script_without_run_ends_the_start(tmp_path):
    """Gunicorn exits with a failure and one sentence that names the script and what it lacks."""
    script = tmp_path / "halfway.py"
    script.write_text("def init(): pass\n", encoding="utf-8")

    status, log = start_in_vain(tmp_path, ENTRY_SCRIPT=str(script))

    assert status != 0
    assert f"entry script {script}: expected a function run()" in log
    assert "Traceback" not in log


def test_a_failing_init_ends_the_start(tmp_path):
    """Gunicorn exits with a failure; an error in the log names the script and the reason, above it
    is where it came from.
    """
    script = tmp_path / "broken.py"
    script.write_text("def init():\n    return 1 / 0\ndef run(raw_data): pass\n", encoding="utf-8")

    status, log = start_in_vain(tmp_path, ENTRY_SCRIPT=str(script))

    assert status != 0
    sentence = f"entry script {script}: init() failed with ZeroDivisionError: division by zero"
    assert sentence in errors_in(log)
    assert f'"{script}", line 2, in init' in log


def test_a_missing_model_ends_the_start_with_what_to_do(tmp_path):
    """score.py without models is one sentence that names the folder and `make train`, and no
    traceback.
    """
    status, log = start_in_vain(tmp_path, AZUREML_MODEL_DIR=str(tmp_path / "nowhere"))

    assert status != 0
    assert str(tmp_path / "nowhere") in log
    assert "make train" in log
    assert "Traceback" not in log


def test_a_bad_setting_ends_the_start(tmp_path):
    """A value that cannot be used is one sentence that names the variable, and no traceback."""
    status, log = start_in_vain(tmp_path, WORKERS="many")

    assert status != 0
    assert "WORKERS: expected a whole number from 1" in log
    assert "'many'" in log
    assert "Traceback" not in log


# The parts, in this process


def test_score_py_finds_its_models_where_azure_puts_them(
    iris_model, iris_folder, four_rows, monkeypatch
):
    """init() loads from AZUREML_MODEL_DIR, and run() answers a body with predictions and
    importances.
    """
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(iris_folder))
    script = EntryScript(ROOT / "score.py")
    script.init()

    answer = script.run(four_rows.to_json())

    assert answer["predictions"] == iris_model.predict(four_rows).tolist()
    assert answer["local_importance_values"] == load(iris_folder).explain(four_rows)


def test_score_py_says_what_to_do_about_a_missing_model(tmp_path, monkeypatch):
    """The sentence names the folder that was looked in and the command that fills it."""
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    script = EntryScript(ROOT / "score.py")

    with pytest.raises(EntryScriptError, match=f"{re.escape(str(tmp_path))}.*`make train`"):
        script.init()
