"""The clients of other projects, unmodified and in an environment of their own, against a real
gunicorn.

Each script in tests/clients uses one of them, and prints what the client got.
"""

import json
import os
import subprocess

import pytest
from serving import ROOT

from service.scoring import load

PYTHON = ROOT / ".venv-foreign" / "bin" / "python"


@pytest.fixture
def rows(mixed, tmp_path):
    """Four rows, the first without an age, and the file that a client reads them from."""
    frame = mixed.frame[:4]
    assert frame["age"].isna().tolist() == [True, False, False, False]
    file = tmp_path / "rows.json"
    frame.to_json(file, orient="records", date_format="iso")
    return frame, file


def used(script, service, file):
    """Run a client against a service and return what it printed."""
    assert PYTHON.exists(), "the foreign clients are not installed: run `make setup-clients`"
    environment = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    done = subprocess.run(
        [PYTHON, ROOT / "tests" / "clients" / script, str(service.port), file],
        env={**environment, "GIT_PYTHON_REFRESH": "quiet"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_mlflows_client_gets_predictions(classifier_service, regressor_service, mixed, rows):
    """Frames with missing values, columns in another order, arrays and lists; a refusal names the
    column.
    """
    frame, file = rows
    for service, model in (
        (classifier_service, mixed.classifier),
        (regressor_service, mixed.regressor),
    ):
        expected = model.predict(frame).tolist()

        got = used("use_mlflow.py", service, file)

        assert got["version"] == service.ask("GET", "/version").body.decode()
        assert {
            name: got[name] for name in ("frame", "reversed columns", "array", "list")
        } == dict.fromkeys(("frame", "reversed columns", "array", "list"), expected)
        assert "error code 400" in got["refusal"]
        assert '"error_code":"BAD_REQUEST"' in got["refusal"]
        assert "missing column 'age'" in got["refusal"]


def test_kserves_client_speaks_both_protocols(
    classifier_service, mixed, mixed_classifier_folder, rows
):
    """Version 1 predicts, explains and refuses; version 2 takes a tensor for each column and gives
    the id back.
    """
    frame, file = rows
    predictions = mixed.classifier.predict(frame).tolist()
    importances = load(mixed_classifier_folder).explain(frame)

    got = used("use_kserve.py", classifier_service, file)

    assert got["v1"]["ready"] is True
    assert got["v1"]["predict"] == {"predictions": predictions}
    assert got["v1"]["explain"] == {
        "predictions": predictions,
        "local_importance_values": importances,
    }
    assert "missing columns" in got["v1"]["refusals"][0]
    assert "No model 'other' here" in got["v1"]["refusals"][1]
    assert got["v2"]["live"] is True
    assert got["v2"]["ready"] == [True, True]
    assert got["v2"]["other"] is False
    assert got["v2"]["id"] == "of mine"
    assert got["v2"]["outputs"] == {"predictions": [[len(frame)], predictions]}


def test_tritons_client_sends_json_tensors(regressor_service, mixed, mixed_regressor_folder, rows):
    """Numbers with NaN, integers, booleans and text; importances when asked for. Binary tensors:
    what to do instead.
    """
    frame, file = rows

    got = used("use_triton.py", regressor_service, file)

    assert (got["live"], got["ready"], got["other"]) == (True, [True, True, True], False)
    assert got["server"] == "scoring-service"
    assert [tensor["name"] for tensor in got["inputs"]] == list(frame.columns)
    assert [tensor["datatype"] for tensor in got["inputs"]] == [
        "FP64",
        "INT64",
        "BOOL",
        "BYTES",
        "BYTES",
        "BYTES",
    ]
    assert got["id"] == "7"
    assert got["predictions"] == mixed.regressor.predict(frame).tolist()
    assert got["importances"] == load(mixed_regressor_folder).explain(frame)
    assert got["refusal"][0] == "400"
    assert "missing columns" in got["refusal"][1]
    assert got["binary"][0] == "400"
    assert "binary_data=False" in got["binary"][1]


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_plain_requests_post_a_frame(kind, request, mixed, rows):
    """requests.post(uri, examples.to_json()): what existing clients of /score do."""
    frame, file = rows

    got = used("use_requests.py", request.getfixturevalue(f"{kind}_service"), file)

    assert got["status"] == 200
    assert got["answer"] == {
        "predictions": getattr(mixed, kind).predict(frame).tolist(),
        "local_importance_values": load(request.getfixturevalue(f"mixed_{kind}_folder")).explain(
            frame
        ),
    }
