"""The server of run history as `make runs-server` starts it: MLflow's own, with its authentication.

Left out where its environment is not, unless REQUIRE_RUNS_SERVER is set.
"""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from runs_server import PASSWORD, PYTHON, running_server
from serving import ROOT

from deploy.configuration import configuration
from deploy.registry.fetching import fetched_models
from deploy.registry.marking import mark_versions
from service.explanations import LocalExplanation
from service.runs import ExplanationClient, Model, Run, RunStoreError, Workspace
from service.runs.names import RESERVED_FOLDER

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("server")) as started:
        yield started
    assert started.process.returncode == 130
    assert not answers(started.uri)


@pytest.fixture
def admin(server, monkeypatch):
    """A workspace on the server, asked by its administrator."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    return Workspace(server.uri, experiment="irises")


def answers(uri):
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def status(request):
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_version_goes_there_comes_back_and_is_deployed_from_there(admin, tmp_path, monkeypatch):
    """Over HTTP, byte by byte: by the registry's own client, and by the deployment's, which writes
    where it runs.
    """
    monkeypatch.chdir(tmp_path)
    run = Run(admin, admin.create_run())
    content = np.random.default_rng(0).bytes(300_000)
    (tmp_path / "model.pkl").write_bytes(content)
    run.upload_file("model.pkl", str(tmp_path / "model.pkl"))
    run.register_model("a model", "model.pkl").set_alias("champion")
    run.complete()
    fetched = Model(admin, "a model@champion").download(tmp_path / "fetched")
    assert Path(fetched).read_bytes() == content

    config = configuration(
        {"name": "scoring", "models": ["models:/a model@champion"], "tracking_uri": admin.uri}
    )
    with fetched_models(config, tmp_path) as fetched:
        [file] = fetched.files
        assert file.file.read_bytes() == content
    [origin] = fetched.origins
    assert (origin.uri, origin.registry) == ("models:/a model/1", admin.uri)
    assert list(mark_versions("scoring", "0123456789ab", [origin], (), tmp_path)) == []
    assert Model(admin, "a model:1").tags["deployed.scoring"] == "0123456789ab"


def test_files_of_an_upload_that_broke_off_are_pruned_there(admin):
    """By their folder, which has no tag; what was uploaded to its end stays whole."""
    run = Run(admin, admin.create_run())
    client = ExplanationClient(run)
    assert client.prune(seconds=0) == []
    local = LocalExplanation.from_values(np.array([[1.0, -2.0]]), expected_values=0.5)
    upload = client.upload_model_explanation(local)
    with run.artifacts() as artifacts:
        artifacts.put(f"{RESERVED_FOLDER}/00000000/part.npz", b"half of it")
    assert client.prune() == []
    assert client.prune(seconds=0) == ["00000000"]
    assert client.prune(seconds=0) == []
    found = client.download_model_explanation(upload)
    assert found.local_importance_values == [[1.0, -2.0]]


def test_nobody_is_let_in_without_a_password(server, monkeypatch):
    """Neither to read nor to write, a file least of all; health alone is told."""
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for method, path in (
        ("GET", "/api/2.0/mlflow/experiments/search?max_results=1"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts?path=0"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/x/artifacts/model.pkl"),
        ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/0/x"),
        ("POST", "/api/2.0/mlflow/registered-models/create"),
    ):
        data = json.dumps({"name": "x"}).encode() if method in ("PUT", "POST") else None
        request = urllib.request.Request(f"{server.uri}{path}", data, method=method)
        assert status(request) == 401, path
    with pytest.raises(RunStoreError, match=r"expected to be let in, was refused .*; name a user"):
        Workspace(server.uri, experiment="none").experiments()
    assert answers(server.uri)


def test_what_the_server_does_beside_is_off(server):
    """No runner of jobs, no gateway: their processes would be the server's children."""
    import psutil

    children = psutil.Process(server.process.pid).children(recursive=True)
    said = " ".join(" ".join(child.cmdline()) for child in children)
    assert "uvicorn" in said
    assert not re.search("huey|consumer|gateway", said)


def test_an_embedded_store_is_copied_into_it_by_one_command(admin, tmp_path):
    """Repeated, the command copies nothing."""
    embedded = Workspace(f"sqlite:///{tmp_path}/.runs/runs.db", experiment="copied")
    run = Run(embedded, embedded.create_run())
    (tmp_path / "model.pkl").write_bytes(b"an embedded model")
    run.upload_file("model.pkl", str(tmp_path / "model.pkl"))
    for value in (0.4, float("nan"), 0.5):
        run.log("accuracy", value)
    run.register_model("copied", "model.pkl")
    command = [sys.executable, "-m", "service.runs", "--store", embedded.uri, "copy", admin.uri]
    said = []
    for _ in range(2):
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip())
    assert said == ["copied 1 runs and 1 versions", "copied 0 runs and 0 versions"]
    copied = Model(admin, "copied")
    history = admin.engine.ask("get_metric_history", copied.run_id, "accuracy")
    assert repr([metric.value for metric in history]) == "[0.4, nan, 0.5]"
    fetched = copied.download(tmp_path / "fetched")
    assert Path(fetched).read_bytes() == b"an embedded model"


def test_a_port_that_is_taken_is_one_sentence(server, tmp_path):
    """Before MLflow loads for seconds."""
    command = [str(PYTHON), str(ROOT / "tools/runs-server/start.py"), "--port", str(server.port)]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot listen there" in done.stderr
    assert "Traceback" not in done.stderr
