"""What `make serve` does with the user's own models, and when it cannot start."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from contextlib import contextmanager, suppress
from email.message import Message
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from examples import serve
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(60, 3))
ECHO = "def init(): pass\ndef run(raw_data): return {'echo': raw_data}\n"


def free_port(host="127.0.0.1"):
    with socket.create_server(
        (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
    ) as server:
        return server.getsockname()[1]


def environment(**settings):
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("proxy")}
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        **{name: str(value) for name, value in settings.items()},
    }


def is_answering(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def refused(**settings):
    """Run it where it must end by itself, and return its one sentence."""
    command = [sys.executable, "-m", "examples.serve"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@contextmanager
def serving(command, **settings):
    """Run it until it says that it serves; yield the process and what it printed."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, f"ended early after: {printed}"
            printed += line
        yield process, printed
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()
        with suppress(ProcessLookupError):  # nothing is left, unless a test has failed
            os.killpg(process.pid, signal.SIGKILL)


def test_a_busy_port_is_refused_before_another_server_answers():
    """One sentence with the address and what to do, exit 1, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sentence = refused(HOST="127.0.0.1", PORT=port)
    assert f"make serve: cannot listen on 127.0.0.1:{port}" in sentence
    assert "choose another: make serve PORT=" in sentence


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"PORT": "abc"}, "make serve: PORT: expected a whole number"),
        ({"HOST": "192.0.2.1"}, "choose another: make serve HOST=127.0.0.1"),
        ({"HOST": "no address"}, "make serve: HOST: expected an address of this machine"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(settings, reason):
    """Not a traceback."""
    assert reason in refused(**settings)


def test_a_model_folder_without_examples_is_served_on_ipv6_past_a_proxy(tmp_path):
    """It says how to ask instead of asking, the command works as it is, and no proxy is asked for
    this machine.
    """
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    script, rows = tmp_path / "own.py", tmp_path / "rows.json"
    script.write_text(ECHO)
    rows.write_text("[[1]]")
    settings = {"HOST": "::1", "PORT": port, "ENTRY_SCRIPT": script, "AZUREML_MODEL_DIR": tmp_path}
    proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    with serving([sys.executable, "-m", "examples.serve"], **settings, **proxy) as (_, printed):
        assert "examples.json with rows to try" in printed
        command = shlex.split(next(line for line in printed.splitlines() if "curl" in line))
        assert command[-1] == f"http://[::1]:{port}/score"
        answer = subprocess.run(
            [*command, "--silent"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert json.loads(answer.stdout) == {"echo": "[[1]]"}


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_killing_make_ends_the_server(tmp_path):
    """The recipe leaves no process behind that keeps the port. An empty AZUREML_MODEL_DIR means
    artifacts/.
    """
    script, port = tmp_path / "own.py", free_port()
    script.write_text(ECHO)
    done = ["-o", ".venv/.runtime-installed", "-o", "artifacts/scoring_explainer.json"]
    command = ["make", *done, "serve", f"BIN={Path(sys.executable).parent}", f"PORT={port}"]
    with serving(command, HOST="127.0.0.1", ENTRY_SCRIPT=script, AZUREML_MODEL_DIR="") as (
        make,
        printed,
    ):
        assert f"http://127.0.0.1:{port}/score" in printed
        assert "artifacts/examples.json" in printed
        make.terminate()
        make.wait(timeout=30)
        deadline = time.monotonic() + 15
        while is_answering(port) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not is_answering(port)


def shown(capsys, scoring, rows, predictions):
    answer = {"predictions": predictions, "local_importance_values": scoring.explain(rows)}
    serve.show(answer, json.loads(json.dumps(scoring.to_dict())))
    return capsys.readouterr().out


def test_a_classifier_is_shown_with_the_reasons_for_the_predicted_class(capsys):
    """Its labels say which class that is."""
    model = LogisticRegression().fit(X, np.where(X[:, 1] > 0, "yes", "no"))
    scoring = KernelScoringExplainer(
        TabularExplainer(model, X, features=["a", "b", "c"], classes=["No", "Yes"])
    )
    rows = np.array([[0.0, 2.0, 0.0], [0.0, -2.0, 0.0]])
    printed = shown(capsys, scoring, rows, ["yes", "no"])
    assert "row 0: yes (Yes): b +" in printed
    assert "row 1: no (No): b +" in printed


def test_a_function_without_labels_is_shown_by_its_largest_output(capsys):
    """Nothing tells which column a prediction is, so the largest one explains it."""
    scoring = KernelScoringExplainer(
        TabularExplainer(lambda x: np.stack([x[:, 0], x[:, 1]], axis=1), X)
    )
    assert "row 0: 7 (1): 1 +" in shown(capsys, scoring, np.array([[0.0, 5.0, 0.0]]), [7])


def test_several_targets_are_shown_one_by_one(capsys):
    """[target][row][feature]."""
    scoring = KernelScoringExplainer(
        TabularExplainer(Ridge().fit(X, X[:, :2]), X, features=["a", "b", "c"])
    )
    printed = shown(capsys, scoring, np.array([[3.0, -3.0, 0.0]]), [[3.0, -3.0]])
    assert "row 0: [3.0, -3.0] (target 0): a +" in printed
    assert "row 0: [3.0, -3.0] (target 1): b -" in printed


def test_the_answer_of_another_script_is_shown_as_it_is(capsys):
    """Without a manifest, or without importances, nothing can be named."""
    serve.show(["anything"], None)
    serve.show({"predictions": [1]}, {"output": "prediction"})
    printed = capsys.readouterr().out
    assert '["anything"]' in printed
    assert '{"predictions": [1]}' in printed


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            urllib.error.HTTPError("", 400, "", Message(), BytesIO(b"Column 'a' is missing")),
            "answered 400 to .*: Column",
        ),
        (TimeoutError("timed out"), "did not answer to .*: timed out"),
    ],
)
def test_examples_that_the_service_refuses_are_no_end(
    tmp_path, monkeypatch, capsys, error, sentence
):
    """The refusal is shown, and how to try again."""

    def post(url, body):
        raise error

    (tmp_path / "examples.json").write_text("[]")
    monkeypatch.setattr(serve, "post", post)
    serve.try_examples(tmp_path, "http://127.0.0.1:1/score")
    printed = capsys.readouterr().out
    assert re.search(sentence, printed)
    assert f"curl --data @{tmp_path}/examples.json http://127.0.0.1:1/score" in printed
