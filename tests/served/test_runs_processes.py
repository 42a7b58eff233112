"""Run history with real processes: made at once, killed, raising, moved to a server, offline."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from service.runs import (
    ExplanationClient,
    Model,
    Run,
    StoreUnreachableError,
    Workspace,
    engine,
)
from service.runs.commands import main
from service.runs.copying import copy_store
from service.runs.embedded import PARTS
from service.runs.submission import submit
from service.runs.surroundings import uri_of
from service.shapley import kernels

ROOT = Path(__file__).parents[2]
PLAIN = """
from service.explanations import LocalExplanation
from service.runs import ExplanationClient, Run
run = Run.get_context()
local = LocalExplanation.from_values([[1.0, -2.0]], expected_values=5.0)
"""
UPLOADING = (
    PLAIN
    + """
upload = ExplanationClient.from_run(run).upload_model_explanation(local)
open("model.pkl", "w").write("not read")
run.upload_file("model.pkl", "model.pkl")
print(run.id, upload, run.register_model("shared", "model.pkl").version)
"""
)


# Importing MLflow takes most of the time of such a process, so one imports it and becomes each of
# the others: a child leaves the loop and ends as an interpreter does, at the end of its script.
PREPARED = """
import json, os, sys
from service.runs import ExplanationClient, Model, Run, engine
engine.load_mlflow()
import mlflow.store.tracking.sqlalchemy_store
for line in sys.stdin:
    asked = json.loads(line)
    if "ended" in asked:
        print(json.dumps(os.waitpid(asked["ended"], os.WNOHANG)), flush=True)
        continue
    child = os.fork()
    if child == 0:
        break
    print(child, flush=True)
else:
    os._exit(0)
os.chdir(asked["folder"])
os.environ.update(asked["variables"])
for number, file in enumerate(asked["files"], 1):
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
exec(compile(asked["script"], "script", "exec"))
"""


class Prepared:
    """A process that has imported MLflow, and becomes any number of others."""

    def __init__(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("MLFLOW_RUN_ID", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PREPARED],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, folder, script, **variables):
        """Run a script in a folder, with its store in `.runs` there, as a process of its own."""
        variables = {"RUNS_DIR": str(folder / ".runs"), **variables}
        files = [str(folder / name) for name in ("told.out", "told.error")]
        child = self.ask(folder=str(folder), script=script, variables=variables, files=files)
        return Child(self, child, *map(Path, files))

    def end(self):
        self.process.communicate(timeout=60)


@dataclass
class Child:
    """One of them; its number stays its own until it is asked how it has ended."""

    prepared: Prepared
    number: int
    out: Path
    error: Path

    def kill(self):
        os.kill(self.number, signal.SIGKILL)
        return self.wait()

    def wait(self, seconds=500):
        until = time.monotonic() + seconds
        while (ended := self.prepared.ask(ended=self.number))[0] == 0:
            assert time.monotonic() < until, self.error.read_text()
            time.sleep(0.02)
        return os.waitstatus_to_exitcode(ended[1])

    def finish(self, code=0):
        assert self.wait() == code, self.error.read_text()
        return self.out.read_text()


@pytest.fixture(scope="module")
def prepared():
    made = Prepared()
    yield made
    made.end()


def started(folder, script, **variables):
    """Start Python on a script in a folder, with its store in `.runs` there."""
    variables = {"PYTHONPATH": str(ROOT), "RUNS_DIR": str(folder / ".runs"), **variables}
    environment = {**os.environ, **variables}
    environment.pop("MLFLOW_RUN_ID", None)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process, code=0):
    out, error = process.communicate(timeout=500)
    assert process.returncode == code, error
    return out


def test_eight_processes_make_one_store_and_use_it(prepared, tmp_path):
    """None fails, nothing is lost, and versions have no gap."""
    processes = []
    for i in range(8):
        folder = tmp_path / str(i)
        folder.mkdir()
        processes.append(prepared.start(folder, UPLOADING, RUNS_DIR=str(tmp_path / ".runs")))
    told = [process.finish().split() for process in processes]
    workspace = Workspace(uri_of(tmp_path / ".runs"))
    assert sorted(int(version) for _, _, version in told) == list(range(1, 9))
    for run_id, upload, _ in told:
        client = ExplanationClient(Run(workspace, run_id))
        assert [one["id"] for one in client.list_model_explanations()] == [upload]
        assert client.download_model_explanation().local_importance_values == [[1.0, -2.0]]
        assert workspace.get_run(run_id).info.status == "FINISHED"
    assert list((tmp_path / ".runs" / PARTS).iterdir()) == []


def wait_for(there, seconds=300):
    """Wait until something is there."""
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until, "nothing came"
        time.sleep(0.02)


def test_a_process_that_is_killed_while_it_makes_a_store_leaves_none(prepared, tmp_path):
    """The next one makes it."""
    parts = tmp_path / ".runs" / PARTS
    for extra in (0.0, 0.6):
        process = prepared.start(tmp_path, PLAIN)
        wait_for(lambda: list(parts.glob("*/*.db")))
        time.sleep(extra)
        process.kill()
        if not (tmp_path / ".runs" / "runs.db").exists():
            assert list(parts.iterdir())
    prepared.start(tmp_path, PLAIN).finish()
    assert len(Workspace(uri_of(tmp_path / ".runs")).runs()) >= 1


LARGE = (
    PLAIN
    + """
import numpy as np
from service.explanations.files import content
content.BLOCK = 2**20
client = ExplanationClient.from_run(run)
while True:
    values = np.full((20000, 40), float(len(client.list_model_explanations())))
    client.upload_model_explanation(LocalExplanation.from_values(values, expected_values=0.0))
"""
)


def test_a_process_that_is_killed_while_it_uploads_leaves_whole_explanations(prepared, tmp_path):
    """What is listed is whole; what is not is pruned."""
    process = prepared.start(tmp_path, LARGE)
    artifacts = tmp_path / ".runs" / "artifacts"
    wait_for(lambda: len(list(artifacts.glob("*/*/artifacts/explanations/*/*.json"))) >= 2)
    known = len(list(artifacts.glob("*/*/artifacts/explanations/*")))
    wait_for(lambda: len(list(artifacts.glob("*/*/artifacts/explanations/*"))) > known)
    process.kill()
    workspace = Workspace(uri_of(tmp_path / ".runs"))
    (run,) = workspace.runs()
    client = ExplanationClient(Run(workspace, run.info.run_id))
    listed = client.list_model_explanations()
    assert len(listed) >= 2
    for number, one in enumerate(listed):
        values = client.download_model_explanation(one["id"]).importances.values
        assert np.all(values == number)
    folders = len(list(artifacts.glob("*/*/artifacts/explanations/*")))
    assert len(client.prune(seconds=0)) == folders - len(listed)
    assert len(list(artifacts.glob("*/*/artifacts/explanations/*"))) == len(listed)


@pytest.mark.parametrize(
    ("script", "code", "status"),
    [
        (PLAIN, 0, "FINISHED"),
        (PLAIN + "raise ValueError('no')", 1, "FAILED"),
        (PLAIN + "run.complete()\nraise ValueError('later')", 1, "FINISHED"),
    ],
    ids=["ends", "raises", "raises after its end"],
)
def test_a_run_ends_as_its_script_does(prepared, tmp_path, script, code, status):
    """MLflow itself says FINISHED of a script that raised."""
    prepared.start(tmp_path, script).finish(code)
    (run,) = Workspace(uri_of(tmp_path / ".runs")).runs()
    assert run.info.status == status
    if status == "FAILED":
        assert run.data.tags["error"] == "ValueError: no"


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", "FINISHED"),
        ("raise SystemExit(3)", "FAILED"),
        ("import os; os.kill(os.getpid(), 9)", "KILLED"),
    ],
    ids=["ends", "exits with 3", "is killed"],
)
def test_a_submitted_script_ends_as_its_exit_code_says(tmp_path, monkeypatch, ending, status):
    """Its context is the run that it was submitted as."""
    script = tmp_path / "train.py"
    script.write_text(PLAIN + "import sys\nrun.tag(given=sys.argv[1])\n" + ending)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run = submit(Workspace(uri_of(tmp_path / ".runs")), script, ["x"])
    assert (run.status, run.tags["given"]) == (status, "x")
    assert len(run.workspace.runs()) == 1


WATCHED = (
    """
import socket, sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("SENT", event, args[1:], flush=True)
sys.addaudithook(refuse)
"""
    + UPLOADING
)


def test_nothing_is_sent_anywhere_and_nothing_lies_elsewhere(tmp_path):
    """No socket is connected, no name looked up; files are in `.runs` and nowhere else."""
    home = tmp_path / "home"
    home.mkdir()
    project = tmp_path / "project"
    project.mkdir()
    out = finished(started(project, WATCHED, HOME=str(home), RUNS_DIR=""))
    assert "SENT" not in out
    assert len(out.splitlines()) == 1
    assert sorted(file.name for file in project.iterdir()) == [".runs", "model.pkl"]
    assert list(home.rglob("*mlflow*")) == []


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mlflow", "sqlalchemy", "alembic"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from service.runs import ExplanationClient, Model, Run
print(Model.get_model_path("model.pkl"))
assert not {"mlflow", "flask", "shap"} & set(sys.modules)
try:
    Run.get_context()
except Exception as error:
    print(type(error).__name__, error)
"""


FULL = """
import logging, sqlite3
logging.basicConfig(level=logging.INFO)
from service.runs import Run, RunStoreError
with Run.get_context() as run:
    database = sqlite3.connect(".runs/runs.db")
    full = "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    database.execute(f"CREATE TRIGGER full BEFORE INSERT ON metrics {full}")
    database.commit()
    try:
        run.log("accuracy", 0.25)
    except RunStoreError as error:
        print(error)
"""


def test_what_a_database_says_is_told_once(tmp_path):
    """In a sentence without values, and MLflow prints nothing, however a script logs."""
    out, error = (process := started(tmp_path, FULL)).communicate(timeout=500)
    assert (process.returncode, error) == (0, "")
    assert out == f"{uri_of(tmp_path / '.runs')}: the disk is full\n"


def test_without_mlflow_paths_of_models_are_found_and_the_rest_says_what_to_install(tmp_path):
    """As in the container of the service."""
    (tmp_path / "model.pkl").write_text("x")
    out = finished(started(tmp_path, WITHOUT, AZUREML_MODEL_DIR=str(tmp_path))).splitlines()
    assert out[0] == str(tmp_path / "model.pkl")
    assert out[1].startswith("RunStoreError Run history needs MLflow's client")
    assert 'pip install "mlflow-skinny' in out[1]


def test_a_server_that_is_down_is_told_in_a_sentence(monkeypatch):
    """Within a bound, and without the password of its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(engine, "MOST_SECONDS", 30)
    started_at = time.monotonic()
    with pytest.raises(StoreUnreachableError, match="expected a server of MLflow's") as caught:
        Workspace(f"http://me:secret@127.0.0.1:{port}").runs()
    assert time.monotonic() - started_at < 60
    assert "secret" not in str(caught.value)


def test_a_server_that_never_ends_its_answer_is_told_in_a_sentence(monkeypatch):
    """One that sends a byte now and then keeps every timeout of a socket from coming."""
    monkeypatch.setattr(engine, "MOST_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        dripping = pool.submit(drip, server)
        with pytest.raises(StoreUnreachableError, match="nothing in 3 seconds"):
            Workspace(f"http://127.0.0.1:{server.getsockname()[1]}").runs()
        dripping.result(timeout=60)


def drip(server):
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(8):
            connection.sendall(b" ")
            time.sleep(0.5)


def test_one_store_is_copied_into_another_and_again(tmp_path, iris_folder, capsys):
    """Runs, files, explanations, versions, aliases; the second time nothing."""
    source = Workspace(uri_of(tmp_path / "a"), experiment="irises")
    run = Run(source, source.create_run())
    run.upload_folder("outputs", iris_folder)
    run.log("accuracy", 0.4)
    run.log("accuracy", 0.5)
    run.tag(note="x")
    source.engine.ask("log_param", run.id, "depth", "3")
    for _ in range(2):
        model = run.register_model("iris", "outputs", {"team": "a"}, "text", {"k": 1})
    model.set_alias("champion")
    run.complete()
    target = Workspace(uri_of(tmp_path / "b"), experiment="other")
    assert copy_store(source, target) == (1, 2)
    assert copy_store(source, target) == (0, 0)
    (copied,) = target.runs("irises")
    copied = Run(target, copied.info.run_id)
    assert (copied.status, copied.tags["note"]) == ("FINISHED", "x")
    assert copied.get_metrics() == {"accuracy": 0.5}
    whole = target.get_run(copied.id)
    original = source.get_run(run.id)
    assert whole.data.params == {"depth": "3"}
    assert (whole.info.start_time, whole.info.end_time) == (
        *(original.info.start_time, original.info.end_time),
    )
    history = target.engine.ask("get_metric_history", copied.id, "accuracy")
    assert [metric.value for metric in history] == [0.4, 0.5]
    assert copied.get_file_names() == run.get_file_names()
    again = Model(target, "iris@champion")
    assert (again.version, again.properties, again.run_id) == (2, {"k": 1}, copied.id)
    assert (again.tags["sha256"], again.description) == (model.tags["sha256"], "text")
    assert Path(again.download(tmp_path / "there")).is_dir()
    assert main(["--store", target.uri, "list"]) == 0
    assert "iris:2" in capsys.readouterr().out
    assert main(["--store", target.uri, "show", copied.id]) == 0
    assert "outputs/original_model.pkl" in capsys.readouterr().out
    assert main(["--store", target.uri, "show", "0" * 32]) == 1
    assert "service.runs show" in capsys.readouterr().err


def test_mlflow_loads_a_version_where_this_package_is_not(
    tmp_path, iris_folder, iris_model, four_rows
):
    """In a process that finds no package of ours but the one in the version."""
    workspace = Workspace(uri_of(tmp_path / ".runs"))
    run = Run(workspace, workspace.create_run())
    run.upload_folder("outputs", iris_folder)
    run.register_model("iris", "outputs").set_alias("champion")
    four_rows.to_json(tmp_path / "rows.json")
    script = f"""
import json, os, sys
sys.path = [place for place in sys.path if place != {str(ROOT)!r}]
ours = lambda place: os.path.isdir(os.path.join(place, "service", "runs"))
sys.path = [place for place in sys.path if not ours(place)]
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model("models:/iris@champion")
rows = pd.read_json("rows.json")
told = {{"plain": model.predict(rows).tolist()}}
told["why"] = model.predict(rows, params={{"explain": True}})["local_importance_values"]
import service
told["from"] = service.__file__
from service.shapley import kernels
told["kernels"] = kernels.current.name
print(json.dumps(told))
"""
    process = started(
        tmp_path,
        script,
        PYTHONPATH="",
        MLFLOW_TRACKING_URI=workspace.uri,
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
    )
    told = json.loads(finished(process).splitlines()[-1])
    assert told["plain"] == iris_model.predict(four_rows).tolist()
    assert np.shape(told["why"]) == (3, 4, 4)
    assert told["from"].startswith(str(tmp_path / ".runs" / "artifacts"))
    assert told["kernels"] == kernels.current.name
