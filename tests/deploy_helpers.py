"""A small project of models to deploy, and an engine to deploy it to."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from deploy import deployment
from deploy.configuration import configuration
from deploy.console import Console
from deploy.engine.docker_engine import Engine
from deploy.errors import DeployError, EngineError, UnreachableError
from deploy.release import specs as release_specs
from deploy.verbs import mutex
from deploy.verbs.status import as_text
from service.scoring import save

ROOT = Path(__file__).parent.parent
REQUIRED = bool(os.environ.get("REQUIRE_ENGINE"))
BASE = os.environ.get("BASE_IMAGE") or "python:3.11-slim-bookworm"

# An entry script whose faults are switched on by its environment: the very image that works here
# fails there.
FAULTY = """
import os
import score
print("what a script prints is not an answer")
fault = os.environ.get("FAULT", "")
in_container = os.path.exists("/app/content.sha256")
if fault == "crash" and in_container:
    raise RuntimeError("cannot be imported")
def init():
    model = score.init()
    if fault == "unwell" and in_container:
        from service.web.guarded_script import GuardedScript
        GuardedScript.is_ready = property(lambda script: script.of_another_version)
    if fault == "check" and in_container:
        def self_check():
            raise ArithmeticError("the example scores otherwise")
        model.self_check = self_check
    if fault == "hog" and in_container:
        init.hog = bytearray(os.urandom(1)) * (600 * 2**20)
    if fault == "slow" and in_container:
        __import__("time").sleep(600)
    return model
def run(raw_data, request):
    print("at run too")
    if raw_data.strip() == '"hog"':
        run.hog = bytearray(os.urandom(1)) * (1200 * 2**20)
    answer = score.run(raw_data, request)
    if fault == "wrong" and in_container:
        answer = {**answer, "predictions": [value + 1 for value in answer["predictions"]]}
    return answer
"""


def missing(why):
    """Fail where an engine must be, skip where it may be missing."""
    if REQUIRED:
        pytest.fail(f"REQUIRE_ENGINE is set, but {why}")
    pytest.skip(f"left out: {why}")


def connect():
    """Return the engine, with a base image on it."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if address.startswith("unix://") and not answers(address.removeprefix("unix://")):
        missing(f"nobody listens at {address}")
    try:
        engine = Engine()
    except EngineError as error:
        missing(f"no Docker Engine answers ({error})")
    if engine.image(BASE) is None:
        try:
            engine.pull(BASE, lambda line: None)
        except DeployError:
            missing(
                f"there is no image {BASE}: run dockerfiles/base.sh, and set "
                "BASE_IMAGE=scoring-base:bookworm"
            )
    return engine


def answers(path):
    """Say whether somebody listens; the API's client would leave a socket open where nobody
    does.
    """
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def make_project(folder, fitted):
    """Write models, an example and entry scripts as a user's project has them; return the
    folder.
    """
    import joblib

    artifacts = folder / "artifacts"
    artifacts.mkdir()
    joblib.dump(fitted.model, artifacts / "original_model.pkl")
    save(fitted.scoring, artifacts, exist_ok=True)
    (artifacts / "examples.json").write_text(fitted.rows.to_json())
    (artifacts / "one.json").write_text(fitted.rows[:1].to_json())
    for name in ("score.py", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "faulty.py").write_text(FAULTY)
    return folder


def config_of(name, port, **more):
    return configuration({"name": name, "port": port, "base_image": BASE, **more}, source="test")


class Deployment(deployment.Deployment):
    """One deployment of a test, on the real engine: its verbs, with the settings of the test."""

    def __init__(self, engine, root, name, **settings):
        super().__init__(engine, name, root, Console(quiet=True))
        self.settings = {"port": free_port(), **settings}

    def config(self, **more):
        return config_of(self.name, **{**self.settings, **more})

    def up(self, fresh=False, **more):
        return super().up(self.config(**more), fresh)

    def stop_serving(self):
        """Take away what runs, and keep releases and images."""
        seen = self.look()
        seen.target.perform(seen.target.removal(seen.state))

    def lines(self):
        audit = (self.root / ".deploy" / "audit.jsonl").read_text()
        return [json.loads(line) for line in audit.splitlines()]


def of_name(engine, name):
    return deployment.Deployment(engine, name, Path(), Console(quiet=True))


def look(engine, name):
    """Return what runs under a name."""
    return of_name(engine, name).look().state


def leftovers(engine, name):
    return look(engine, name).inventory.leftovers


def status(engine, name):
    return of_name(engine, name).status()


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.status, answer.read()


def inside(deployment, *command):
    """Run a command in a replica and return what it writes."""
    replica = look(deployment.engine, deployment.name).replicas[0]
    return deployment.engine.run_inside(replica.id, list(command))[1]


def clean(engine, name):
    """Take away what a failed test has left."""

    with suppress(DeployError):
        mutex.unlock(engine, name)
        for container in engine.containers(name):
            engine.remove(container.id)
        for volume in (release_specs.secrets_volume, release_specs.port_volume):
            engine.remove_volume(volume(name))


def process_of(engine, container):
    """The first process of a container, as the host numbers it."""
    process = engine.inspect(container.id)["State"]["Pid"]
    assert process > 1  # 0 where it does not run, and that would be this process's own group
    return process


def worker_of(engine, replica):
    """A worker of a replica: its newest process."""
    return max(int(fields[1]) for fields in engine.api.top(replica.id)["Processes"])


def whole(engine, name):
    """The ids of the anchor and the replicas that serve; None while anything is amiss."""
    try:
        found, state = status(engine, name), look(engine, name)
    except EngineError:  # a container has ended in the middle of the question
        return None
    if found.state != "Healthy":
        return None
    return {each.id for each in (*state.anchors, *state.replicas)}


def wait_until_whole(engine, name, seconds=60):
    """Wait until a service is whole again by itself; return what `whole` does."""
    deadline = time.monotonic() + seconds
    while (found := whole(engine, name)) is None:
        assert time.monotonic() < deadline, as_text(status(engine, name))
        time.sleep(0.2)
    return found


def end_engine(number):
    """Send the engine a signal, and wait until it has ended."""
    process = int(Path("/var/run/docker.pid").read_text())
    os.kill(process, number)
    deadline = time.monotonic() + 60
    while _runs(process):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # A zombie would hold the number that the next engine finds in its file.
    with suppress(ChildProcessError):
        os.waitpid(process, 0)


def _runs(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def engine_again():
    """Start the engine until it stays: the one that was killed may hold its files for a moment."""
    command, quiet = shlex.split(os.environ["ENGINE_COMMAND"]), subprocess.DEVNULL
    deadline, process = time.monotonic() + 90, None
    while True:
        if process is None or process.poll() is not None:
            process = subprocess.Popen(command, start_new_session=True, stdout=quiet, stderr=quiet)
        if answers("/var/run/docker.sock"):
            with suppress(UnreachableError):  # it listens before it knows whether it can stay
                Engine(timeout=10).close()
                process.returncode = 0  # it lives on
                return Engine()
        assert time.monotonic() < deadline
        time.sleep(1)
