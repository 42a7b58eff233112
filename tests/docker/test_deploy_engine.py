"""The whole way on a real Docker Engine: left out where none answers, but failing where
REQUIRE_ENGINE is set.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from deploy_helpers import (
    BASE,
    ROOT,
    Deployment,
    clean,
    config_of,
    connect,
    end_engine,
    engine_again,
    free_port,
    get,
    inside,
    leftovers,
    look,
    make_project,
    missing,
    process_of,
    status,
    wait_until_whole,
    worker_of,
)
from load import Load

from deploy import Webservice, deploy, deploy_configuration
from deploy.client import score, scoring_uri
from deploy.engine.docker_engine import Engine
from deploy.engine.hardening import USER
from deploy.engine.tunnel import tunnel
from deploy.errors import (
    BuildError,
    ConfigurationError,
    LockedError,
    NotDeployedError,
    OwnedError,
    RefusedError,
    RequestFailedError,
    UnreachableError,
)
from deploy.image.context import gather
from deploy.image.pip_settings import pip_files
from deploy.release import credentials
from deploy.release.assembly import make_release
from deploy.verbs import mutex
from deploy.verbs.status import as_text

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine():
    engine = connect()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory, diabetes):
    """A project whose expected answer was recorded once: most tests need not ask the entry script
    again.
    """
    made = make_project(tmp_path_factory.mktemp("project"), diabetes)
    recorded = gather(
        config_of("recorded", 1, entry_script="faulty.py", code=["score.py"]), made, {}
    )
    (made / "expected.json").write_bytes(recorded.files["app/preflight/expected.json"])
    return made


@pytest.fixture(scope="module")
def example_project(tmp_path_factory, breast_cancer):
    return make_project(tmp_path_factory.mktemp("example"), breast_cancer)


@pytest.fixture
def deployment(engine, project):
    """A deployment that is taken away afterwards."""
    made = Deployment(
        engine,
        project,
        f"test-{os.getpid()}",
        entry_script="faulty.py",
        code=["score.py"],
        threads=64,
        dockerfile="",
        expected="expected.json",
    )
    clean(engine, made.name)
    yield made
    clean(engine, made.name)


def test_the_whole_way_on_the_documents_example(engine, example_project):
    """Build, prove, serve four rows, status, logs, redeploy, rollback, down; the answers are the
    local service's.
    """
    # Which kernels OpenBLAS takes decides the last bits: the same inside as here.
    kernels = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
    made = Deployment(engine, example_project, f"example-{os.getpid()}", dockerfile="", env=kernels)
    clean(engine, made.name)
    try:
        first = made.up()
        body = (example_project / "artifacts" / "examples.json").read_bytes()
        answer = score(first.config, body)
        assert answer == local_answer(example_project, body)
        assert len(json.loads(answer)["predictions"]) == 4

        found = status(engine, made.name)
        assert (found.state, found.release, len(found.replicas)) == ("Healthy", first.id, 1)
        assert found.scoring_uri == f"http://127.0.0.1:{made.settings['port']}/score"
        assert any(
            "Listening" in line
            for line in engine.logs(look(engine, made.name).replicas[0].id, "all")
        )

        second = made.up(cpu_cores=0.5, tags={"colour": "green"})
        assert status(engine, made.name).tags == {"colour": "green"}
        assert inside(made, "cat", "/proc/1/comm").strip() == "docker-init"
        assert second.id != first.id
        assert second.image == first.image
        assert score(second.config, body) == answer

        assert made.rollback().id == first.id
        assert score(first.config, body) == answer
        assert [line["doing"] for line in made.lines()] == ["up", "up", "rollback"]
        assert {line["outcome"] for line in made.lines()} == {"done"}

        made.down()
        made.down()
        assert engine.containers(made.name) == []
        assert status(engine, made.name).state == "Absent"
        with pytest.raises(RequestFailedError, match="status"):
            score(first.config, body)
    finally:
        clean(engine, made.name)


def score_when_ready(config, body, seconds=60):
    """Ask again while nothing listens, for a bounded time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return score(config, body)
        except RequestFailedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def local_answer(project, body):
    """What the service answers here, without a container."""
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "AZUREML_MODEL_DIR": str(project / "artifacts")}
    environment.pop("ENTRY_SCRIPT", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve"], cwd=ROOT, env=environment
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                get(port, "/ping")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/score", body)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()
    finally:
        process.terminate()
        process.wait(timeout=40)


def test_redeploys_and_rollbacks_lose_nothing(deployment):
    """32 clients that never retry, on new and on kept connections: 10 redeploys and 3 rollbacks
    fail no request.
    """
    deployment.up()
    one = (deployment.root / "artifacts" / "one.json").read_bytes()
    expected = score(deployment.config(), one)
    with Load(deployment.settings["port"], one, expected=expected) as load:
        time.sleep(1)
        for _ in range(10):
            deployment.up()
        deployment.up(description="another release, so that there is one to go back to")
        for _ in range(3):
            deployment.rollback()
        time.sleep(1)
    print(f"\n{load.succeeded} requests, slowest {load.slowest:.2f} s, failed: {load.failed}")
    assert load.failed == {}
    assert load.succeeded > 1000


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            "crash",
            r"the container has ended \[exit code 3\] .*\n"
            r"(.*\n)* +RuntimeError: cannot be imported",
        ),
        (
            "unwell",
            r"http://127\.0\.0\.1:9001/ping answered 500 \{.*\}, expected 200 within 15 s .*\n"
            r"(.*\n)* +AttributeError",
        ),
        (
            "check",
            r"the container has ended \[exit code 3\] .*\n(.*\n)* +error: .* the self-check failed",
        ),
        ("wrong", r"not the recorded one:\s+answer.predictions\[0\]: expected"),
        ("hog", "exit code 3; killed for exceeding the memory limit"),
        ("slow", "Connection ?[Rr]efused"),
    ],
)
def test_a_bad_release_is_refused_before_it_meets_a_client(deployment, fault, reason):
    """What serves is not touched, the refusal says what happened and what to do, and nothing is
    left behind.
    """
    good = deployment.up(memory_gb=0.5)
    one = (deployment.root / "artifacts" / "one.json").read_bytes()
    before = [replica.id for replica in look(deployment.engine, deployment.name).replicas]
    with (
        Load(deployment.settings["port"], one) as load,
        pytest.raises(RefusedError, match=reason) as refusal,
    ):
        deployment.up(memory_gb=0.5, env={"FAULT": fault}, timeouts={"ready": 15})
    assert "What serves was not touched. Mend the release and deploy again." in str(refusal.value)
    assert load.failed == {}
    assert load.succeeded > 0
    state = look(deployment.engine, deployment.name)
    assert [replica.id for replica in state.replicas] == before
    assert leftovers(deployment.engine, deployment.name) == []
    assert [one["id"] for one in status(deployment.engine, deployment.name).releases] == [good.id]
    assert deployment.lines()[-1]["outcome"] == "failed"


def test_limits_hold(deployment):
    """The container sees its quota and limit, BLAS threads follow, and an out-of-memory kill is in
    the status.
    """
    deployment.up(cpu_cores=0.5, memory_gb=0.75, workers=1)
    replica = look(deployment.engine, deployment.name).replicas[0]
    host = deployment.engine.inspect(replica.id)["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (
        5 * 10**8,
        805306368,
        805306368,
    )
    script = "import service.container_limits as r; print(r._quota(r.CGROUP), r.memory_limit())"
    quota, limit = (
        inside(deployment, "python", "-c", script)
        .replace("(", "")
        .replace(")", "")
        .rsplit(maxsplit=1)
    )
    used, period = map(int, quota.split(","))
    assert used / period == 0.5
    assert int(limit) == 805306368
    libraries = "from service.server.gunicorn_conf import raw_env; print(*raw_env)"
    assert "OMP_NUM_THREADS=1" in inside(deployment, "python", "-c", libraries).split()

    with pytest.raises(RequestFailedError):
        score(deployment.config(), b'"hog"')
    deadline = time.monotonic() + 30
    while (
        not status(deployment.engine, deployment.name).replicas[0].oom_kills
        and time.monotonic() < deadline
    ):
        time.sleep(0.5)
    found = status(deployment.engine, deployment.name)
    assert found.replicas[0].oom_kills == 1
    assert f"killed for exceeding the memory limit: 1 x in {deployment.name}-1-0" in as_text(found)
    one = (deployment.root / "artifacts" / "one.json").read_bytes()
    # Gunicorn puts another worker in the place of the only one; it listens when it is ready.
    assert json.loads(score_when_ready(deployment.config(), one))["predictions"]


def test_a_replica_is_hardened(deployment):
    """A read-only root, no capabilities, no new privileges, nobody's user, and a /tmp that runs
    nothing.
    """
    deployment.up()
    facts = inside(deployment, "cat", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in facts
    assert "CapBnd:\t0000000000000000" in facts
    assert "NoNewPrivs:\t1" in facts
    assert f"Uid:\t{USER}" in facts
    assert "Read-only file system" in inside(
        deployment, "sh", "-c", "touch /app/x /opt/venv/x 2>&1"
    )
    assert (
        "denied"
        in inside(
            deployment, "sh", "-c", "cp /bin/true /tmp/t && chmod +x /tmp/t; /tmp/t 2>&1"
        ).lower()
    )


def test_the_image_holds_nothing_that_is_not_needed(deployment):
    """No pip, compiler or tests of large packages, no trace of this machine's pip, bytecode for
    everything, and no shap without need.
    """
    release = deployment.up()
    absent = (
        "command -v pip gcc g++ cc make; python -c 'import pip'; python -c 'import ensurepip'; "
        "python -c 'import shap'"
    )
    said = inside(deployment, "sh", "-c", f"({absent}) 2>&1; ls /build /root/.cache /app")
    assert "/pip" not in said
    assert "gcc" not in said
    for module in ("pip", "ensurepip", "shap"):
        assert f"No module named '{module}'" in said
    assert inside(deployment, "sh", "-c", "find /opt/venv /app -type d -name tests").strip() == ""
    sources = inside(
        deployment,
        "sh",
        "-c",
        "find /app/service -name '*.py' | wc -l; find /app/service -name '*.pyc' | wc -l",
    )
    assert len(set(sources.split())) == 1
    history = json.dumps(deployment.engine.api.history(release.image)) + json.dumps(
        deployment.engine.image(release.image)
    )
    for trace in ("pip.conf", "cert.pem", "index-url"):
        assert trace not in history
    base = deployment.engine.image(BASE)["Size"]
    assert deployment.engine.image(release.image)["Size"] - base <= 260e6


def test_keys_are_asked_for_and_stay_secret(deployment, monkeypatch):
    """Scoring needs one of two keys and health none; no key is in the image, labels, environment or
    log; rotation.
    """
    monkeypatch.setenv("SCORING_KEY", "a-key-of-the-user-0123456789")
    keys = {"auth_enabled": True, "keys": {"primary": "env:SCORING_KEY"}}
    release = deployment.up(**keys)
    one = (deployment.root / "artifacts" / "one.json").read_bytes()
    primary, secondary = credentials.read_keys(deployment.engine, deployment.name)
    assert primary == "a-key-of-the-user-0123456789"
    assert get(deployment.settings["port"], "/ping")[0] == 200
    with pytest.raises(RequestFailedError, match="401"):
        score(release.config, one)
    for key in (primary, secondary):
        assert json.loads(score(release.config, one, key))["predictions"]

    shown = json.dumps(
        [
            deployment.engine.inspect(each.id)
            for each in deployment.engine.containers(deployment.name)
        ]
    )
    shown += "".join(
        "".join(deployment.engine.logs(each.id, "all"))
        for each in look(deployment.engine, deployment.name).replicas
    )
    shown += (
        json.dumps(deployment.engine.image(release.image))
        + (deployment.root / ".deploy" / "audit.jsonl").read_text()
    )
    assert primary not in shown
    assert secondary not in shown

    deployment.rotate_keys()
    fresh, old = credentials.read_keys(deployment.engine, deployment.name)
    assert old == primary
    assert json.loads(score(release.config, one, fresh))["predictions"]
    assert json.loads(score(release.config, one, old))["predictions"]
    with pytest.raises(RequestFailedError, match="401"):
        score(release.config, one, secondary)


def test_https_with_a_certificate_of_ones_own(deployment, tmp_path):
    """Certificate and key reach the service as files; the probes and the preflight follow."""
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt"]
    subprocess.run([*request.split(), *files], check=True, capture_output=True)
    release = deployment.up(
        tls={"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}
    )
    assert scoring_uri(release.config).startswith("https://")
    one = (deployment.root / "artifacts" / "one.json").read_bytes()
    assert json.loads(score(release.config, one))["predictions"]


PRIVATE = "private-of-the-user-8d1f"
PIP_PASSWORD = "password-of-pip-5c07"


@pytest.fixture(scope="module")
def twice_built(engine, project):
    """A deployment with keys and two images of the same input, without the cache, where secrets lie
    all around.

    This machine's pip has a password for another place to look at, and files that are nobody's
    business lie beside the code.
    """
    for name in (
        "extras/__init__.py",
        "extras/.env",
        "extras/.git/config",
        ".env",
        "artifacts/private.pem",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("" if name.endswith(".py") else PRIVATE)
    made = Deployment(
        engine,
        project,
        f"twice-{os.getpid()}",
        entry_script="faulty.py",
        code=["score.py", "extras"],
        dockerfile="",
        auth_enabled=True,
        expected="expected.json",
    )
    clean(engine, made.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_FIND_LINKS", f"http://me:{PIP_PASSWORD}@127.0.0.1:9/wheels")
        patch.setenv("PIP_RETRIES", "0")
        yield (
            made,
            made.up(fresh=True),
            make_release(engine, made.config(), project, made.console, fresh=True),
        )
    clean(engine, made.name)


def test_two_builds_of_the_same_input_have_the_same_content(twice_built):
    """Without the cache: what is installed and copied is the same, byte for byte."""
    _, first, second = twice_built
    assert first.image != second.image
    assert first.content == second.content
    assert len(first.content) == 64


def test_no_layer_of_the_exported_image_holds_a_secret(engine, twice_built, tmp_path):
    """Keys, pip's passwords and settings, private files: in no byte of any layer; no .git, tests or
    build folder.
    """
    made, release, _ = twice_built
    assert PIP_PASSWORD.encode() in pip_files()["pip.conf"]  # so that there was something to leak
    secret = [PRIVATE, PIP_PASSWORD, *credentials.read_keys(engine, made.name)]
    wanted = {text.encode(): set() for text in [*secret, "def init()"]}
    names = set()
    for path, content, own in files_of_layers(engine, release.image, tmp_path / "image.tar"):
        names |= {path} if own else set()
        for text, found in wanted.items():
            if text in content:
                found.add(path)
    assert {"app/score.py", "app/faulty.py"} <= wanted.pop(
        b"def init()"
    )  # so that the search can find
    assert wanted == {text.encode(): set() for text in secret}
    assert "app/extras/__init__.py" in names
    assert [
        path
        for path in names
        if path.startswith("build/") or not PRIVATE_NAMES.isdisjoint(path.split("/"))
    ] == []
    text = json.dumps([engine.api.history(release.image), engine.image(release.image)])
    assert [one for one in secret if one in text] == []


PRIVATE_NAMES = {
    ".git",
    ".env",
    "tests",
    "pip.conf",
    "cert.pem",
    "private.pem",
    "deploy.yml",
    ".deploy",
}


def files_of_layers(engine, image, saved):
    """Save an image; yield each file of each layer: its path, its bytes, and whether it lies above
    the base.
    """
    with saved.open("wb") as file:
        for chunk in engine.api.get_image(image):
            file.write(chunk)
    bases = len(engine.image(BASE)["RootFS"]["Layers"])
    with tarfile.open(saved) as archive:
        layers = json.load(archive.extractfile("manifest.json"))[0]["Layers"]
        assert len(layers) > bases
        for number, name in enumerate(layers):
            with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                for entry in layer:
                    if entry.isfile():
                        yield entry.name, layer.extractfile(entry).read(), number >= bases


def test_a_failed_build_says_which_step_and_what_it_wrote(deployment):
    """The last lines of the step, and that nothing was touched."""
    with pytest.raises(BuildError, match="no-such-command: command not found") as failure:
        deployment.up(dockerfile="RUN no-such-command")
    assert "nothing that serves was touched" in str(failure.value)


def test_an_entry_script_that_fails_here_is_not_built(deployment):
    """Its own words, before any image is built."""
    (deployment.root / "broken.py").write_text("raise ValueError('broken in this very way')")
    with pytest.raises(BuildError, match="broken in this very way"):
        deployment.up(entry_script="broken.py", code=[], expected="")


def test_a_port_that_is_taken_is_said_so(deployment):
    """And nothing is left behind."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(Exception, match="choose another"),
    ):
        deployment.up(port=other.getsockname()[1])
    assert look(deployment.engine, deployment.name).anchors == []


def test_replicas_scale_and_the_port_moves(deployment):
    """Two replicas on one port; then another port, and the old one is closed."""
    deployment.up()
    deployment.scale(2)
    assert len(look(deployment.engine, deployment.name).replicas) == 2
    old, new = deployment.settings["port"], free_port()
    deployment.up(port=new)
    assert get(new, "/ping")[0] == 200
    with pytest.raises(OSError, match="refused"):
        get(old, "/ping")


def test_releases_beyond_retain_are_forgotten(deployment):
    """Their images too; the one that serves and the one before stay."""
    for number in range(4):
        deployment.up(description=f"release {number}", retain=2)
    found = status(deployment.engine, deployment.name)
    assert [one["id"] for one in found.releases] == [found.previous, found.release]


def test_properties_are_fixed(deployment):
    """Tags may change, properties may not."""
    deployment.up(properties={"owner": "me"}, tags={"a": "1"})
    with pytest.raises(ConfigurationError, match="properties: fixed"):
        deployment.up(properties={"owner": "you"}, tags={"a": "2"})


def test_one_deploys_at_a_time(deployment):
    """The second is told who does; a holder that has ended is taken over from."""
    engine, name = deployment.engine, deployment.name
    with (
        mutex.locked(engine, name, "up"),
        pytest.raises(LockedError, match=r"is deploying \(up, process"),
    ):
        deployment.up()
    script = (
        "from deploy.engine.docker_engine import Engine; from deploy.verbs import mutex; "
        f"mutex._take(Engine(), {name!r}, 'up')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    assert mutex.holder(engine, name)["doing"] == "up"
    with mutex.locked(engine, name, "down"):
        assert mutex.holder(engine, name)["doing"] == "down"
    assert mutex.holder(engine, name) is None


def test_without_a_deployment_there_is_nothing_to_go_back_to(deployment):
    """One sentence each."""
    with pytest.raises(NotDeployedError, match="no release served before"):
        deployment.rollback()
    with pytest.raises(NotDeployedError, match="nothing is deployed"):
        deployment.serving()
    for verb, sentence in (
        ("logs", "nothing is deployed"),
        ("releases", "nothing is deployed"),
        ("keys show", "no keys"),
    ):
        done = command_line(*verb.split(), "--set", f"name={deployment.name}")
        assert (done.returncode, sentence in done.stderr, done.stdout) == (1, True, "")


def command_line(*arguments):
    command = [sys.executable, "-m", "deploy", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_dry_run_prints_the_steps_and_changes_nothing(deployment):
    """Of `up`, `rollback`, `scale` and `down`: what is then done is what was printed."""
    engine, name = deployment.engine, deployment.name
    # An image of its own, which no test before has built.
    deployment.settings["dockerfile"] = "RUN echo an image of its own"

    def dry(*arguments):
        settings = {**deployment.settings, "name": name, "base_image": BASE}
        (deployment.root / "deploy.yml").write_text(yaml.safe_dump(settings))
        before = engine.containers(name)
        done = command_line(*arguments, "--dry-run", "--file", str(deployment.root / "deploy.yml"))
        assert done.returncode == 0, done.stderr
        assert engine.containers(name) == before
        first, *steps = done.stdout.splitlines()
        assert first == f"{name}: `{arguments[0]}` would do this; nothing was changed"
        return [step.strip() for step in steps]

    build = dry("up")[0]
    assert build.startswith(f"Building image {name}:")
    old = deployment.up(description="old")
    build, record, prove, start, serves, mark, retire = dry("up")
    assert build.endswith("is built already")
    new = deployment.up()
    assert record == f"Recording release {new.id}"
    assert prove == f"Proving release {new.id} with 1 CPU and 1 GB"
    assert start == f"Starting 1 x release {new.id} beside what serves"
    assert (serves, mark) == (f"Release {new.id} serves", f"Marking {name}-1-0 as leaving")
    assert retire == f"Retiring {name}-1-0 (release {old.id})"
    assert dry("rollback")[:2] == [
        f"Proving release {old.id} with 1 CPU and 1 GB",
        f"Starting 1 x release {old.id} beside what serves",
    ]
    assert dry("scale", "2")[2].startswith("Starting 2 x release ")
    assert dry("down")[-1] == f"Removing the releases, keys and images of {name}"


def test_a_redeploy_looks_three_times(deployment, monkeypatch):
    """Before it begins, before it replaces, and before it forgets: what is seen is handed on."""
    deployment.up()
    looks = []
    listed = Engine.containers

    def counted(engine, *arguments):
        looks.append(arguments)
        return listed(engine, *arguments)

    monkeypatch.setattr(Engine, "containers", counted)
    deployment.up(description="another")
    assert looks == [(deployment.name,)] * 3


@pytest.mark.parametrize("victim", ["worker", "replica", "anchor", "anchor and replicas"])
def test_what_is_killed_comes_back(deployment, victim):
    """By itself, nobody heals it: the same containers, with the port, and the same answer."""
    deployment.up(replicas=2)
    engine, name = deployment.engine, deployment.name
    before, one = (
        wait_until_whole(engine, name),
        (deployment.root / "artifacts" / "one.json").read_bytes(),
    )
    expected = score(deployment.config(), one)
    state = look(engine, name)
    victims = {
        "worker": [worker_of(engine, state.replicas[0])],
        "replica": [process_of(engine, state.replicas[0])],
        "anchor": [process_of(engine, state.anchors[0])],
        "anchor and replicas": [
            process_of(engine, each) for each in (*state.anchors, *state.replicas)
        ],
    }
    for process in victims[victim]:
        os.kill(process, signal.SIGKILL)
    time.sleep(1)
    assert wait_until_whole(engine, name) == before
    assert score(deployment.config(), one) == expected


def test_status_says_so_when_the_published_port_answers_nobody(deployment):
    """Whatever the replicas say of themselves: here the anchor stands still."""
    deployment.up()
    engine, name = deployment.engine, deployment.name
    anchor = look(engine, name).anchors[0]
    engine.stop(anchor.id, 1)
    found = status(engine, name)
    assert found.state == "Unhealthy"
    assert "nobody answers" in as_text(found)
    assert {each.health for each in found.replicas} <= {"not ready", "starting"}
    engine.start(anchor.id)
    wait_until_whole(engine, name)


@pytest.mark.parametrize("moment", ["Proving", "Starting", "Retiring"])
def test_a_deployment_that_is_killed_is_mended_by_the_next(deployment, moment):
    """kill -9 in the middle of each step: no request fails, and afterwards one whole generation
    serves alone.
    """
    deployment.up()
    engine, name = deployment.engine, deployment.name
    one = (deployment.root / "artifacts" / "one.json").read_bytes()
    with Load(deployment.settings["port"], one) as load:
        process = start_up(deployment, description=moment)
        for line in process.stdout:
            if line.startswith(moment):
                break
        time.sleep(0.3)
        process.kill()
        process.wait()
        process.stdout.close()
        deployment.heal()
        time.sleep(1)
    assert load.failed == {}
    state = look(engine, name)
    assert len(state.generations) == len(state.replicas) == len(state.anchors) == 1
    assert leftovers(engine, name) == []
    assert mutex.holder(engine, name) is None
    assert status(engine, name).state == "Healthy"


@pytest.mark.parametrize("moment", ["Building", "Proving", "Starting", "Retiring"])
def test_ctrl_c_leaves_one_release_serving_and_nothing_behind(deployment, moment):
    """At any moment: until the new release is ready the old one serves on, from then on the new one
    does.
    """
    old = deployment.up()
    engine, name = deployment.engine, deployment.name
    one = (deployment.root / "artifacts" / "one.json").read_bytes()
    (deployment.root / "extra.py").write_text(
        f"MOMENT = {moment!r}"
    )  # so that there is something to build
    with Load(deployment.settings["port"], one) as load:
        process = start_up(deployment, code=["score.py", "extra.py"])
        for line in process.stdout:
            if line.startswith(moment):
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(timeout=60) == (0 if moment == "Retiring" else 130)
        process.stdout.close()
    assert load.failed == {}
    state = look(engine, name)
    assert (state.release == old.id) == (moment != "Retiring")
    assert len(state.generations) == len(state.replicas) == len(state.anchors) == 1
    assert leftovers(engine, name) == []
    assert mutex.holder(engine, name) is None


def start_up(deployment, **more):
    """Run `up` in a process of its own, as the command line does."""
    config = {**deployment.settings, "name": deployment.name, "base_image": BASE, **more}
    (deployment.root / "deploy.yml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "deploy", "up", "--file", str(deployment.root / "deploy.yml")]
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PORT", "BASE_IMAGE")
    }
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """An engine behind ssh: Debian's sshd on loopback, reached by the user's own ssh and its
    configuration.
    """
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if sshd is None or shutil.which("ssh") is None:
        missing("there is no sshd: apt-get install openssh-server")
    for key in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key], check=True
        )
    port = free_port()
    (tmp_path / "config").write_text(
        f"Host *\n  IdentityFile {tmp_path}/user\n  IdentitiesOnly yes\n"
        "  StrictHostKeyChecking no\n"
        f"  UserKnownHostsFile {tmp_path}/known\n  LogLevel ERROR\n"
    )
    (tmp_path / "ssh").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        f'exec {shutil.which("ssh")} -F {tmp_path}/config "$@"\n'
    )
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    Path("/run/sshd").mkdir(exist_ok=True)
    options = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": tmp_path / "host",
        "PidFile": "none",
        "AuthorizedKeysFile": tmp_path / "user.pub",
        "StrictModes": "no",
        "UsePAM": "no",
    }
    command = [
        sshd,
        "-D",
        "-e",
        "-f",
        "/dev/null",
        *(f"-o{name}={value}" for name, value in options.items()),
    ]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    yield f"ssh://root@127.0.0.1:{port}"
    server.terminate()
    server.wait()


def test_an_engine_behind_ssh(deployment, remote, tmp_path):
    """The command line and Python build, deploy and score through the tunnel, and leave none
    open.
    """
    process = start_up(deployment, engine=remote)
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 0, printed
    assert '"predictions"' in printed
    assert "/score on 127.0.0.1\n" in printed
    (tmp_path / "asked").unlink()
    with closing(Webservice(deployment.name, deployment.root, remote)) as service:
        rows = json.loads((deployment.root / "artifacts" / "one.json").read_text())
        assert len(service.run(rows)["predictions"]) == 1
    assert f":127.0.0.1:{deployment.settings['port']} " in (tmp_path / "asked").read_text()
    assert look(deployment.engine, deployment.name).release
    with (
        pytest.raises(UnreachableError, match="ssh opened no tunnel"),
        tunnel("ssh://root@127.0.0.1:1"),
    ):
        pass


def test_from_python(deployment):
    """The reference's shape: deploy, wait, score, update, keys, logs, delete."""
    wanted = deploy_configuration(
        cpu_cores=0.5,
        memory_gb=0.5,
        tags={"a": "1"},
        description="from Python",
        port=deployment.settings["port"],
        base_image=BASE,
        dockerfile="",
        auth_enabled=True,
    )
    models = ["artifacts/original_model.pkl", "artifacts/scoring_explainer.pkl"]
    service = deploy(deployment.name, models, wanted, root=deployment.root)
    service.wait_for_deployment(show_output=True, timeout=600)
    assert service.state == "Healthy"
    assert service.scoring_uri.endswith("/score")
    rows = json.loads((deployment.root / "artifacts" / "examples.json").read_text())
    answer = service.run(rows)
    assert len(answer["predictions"]) == 4
    assert len(set(service.get_keys())) == 2
    assert "Listening" in service.get_logs()
    service.update(cpu_cores=1, memory_gb=1, tags={"a": "2"})
    with pytest.raises(TimeoutError):
        service.wait_for_deployment(timeout=0.01)
    service.wait_for_deployment()
    found = service.status()
    assert (found.tags, found.replicas[0].cpu_cores, found.replicas[0].memory_limit) == (
        {"a": "2"},
        1,
        2**30,
    )
    assert service.run(rows) == answer
    service.update(env={"FAULT": "slow"}, entry_script="nowhere.py")
    with pytest.raises(ConfigurationError, match="entry_script"):
        service.wait_for_deployment()
    service.delete()
    service.delete()
    assert service.state == "Absent"
    service.close()


@pytest.mark.alone
@pytest.mark.skipif(
    "ENGINE_COMMAND" not in os.environ,
    reason="left out: ENGINE_COMMAND names no engine to be killed",
)
def test_a_service_outlives_its_engine(deployment):
    """By TERM and by KILL: within a minute of its start the same containers serve as before, and
    nobody heals them. ENGINE_RESTARTS says how often.
    """
    deployment.up(replicas=2)
    one = (deployment.root / "artifacts" / "one.json").read_bytes()
    expected = score(deployment.config(), one)
    before, took = wait_until_whole(deployment.engine, deployment.name), []
    for number in range(int(os.environ.get("ENGINE_RESTARTS", "4"))):
        end_engine((signal.SIGTERM, signal.SIGKILL)[number % 2])
        deployment.engine.close()
        deployment.engine = engine_again()
        begun = time.monotonic()
        assert wait_until_whole(deployment.engine, deployment.name) == before
        took.append(round(time.monotonic() - begun, 1))
        assert score(deployment.config(), one) == expected
    print(f"\nwhole again after {took} s")


def test_a_name_belongs_to_who_deployed_it(deployment, tmp_path):
    """A second clone is told whose it is, and touches it only when told; then it is its own."""
    first = deployment.up()
    engine, name = deployment.engine, deployment.name
    settings = {**deployment.settings, "name": name, "base_image": BASE}
    (tmp_path / "deploy.yml").write_text(yaml.safe_dump(settings))

    def from_there(*arguments):
        return command_line(*arguments, "--file", str(tmp_path / "deploy.yml"))

    done = from_there("status")
    assert done.returncode == 0
    assert f"deployed by {socket.gethostname()}:{deployment.root}, not from here" in done.stdout
    for verb in ("up", "down", "down --dry-run", "rollback", "scale 2", "prune", "status --heal"):
        done = from_there(*verb.split())
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert f"not by {socket.gethostname()}:{tmp_path}, and was not touched" in done.stderr
    assert (status(engine, name).state, status(engine, name).release) == ("Healthy", first.id)
    assert from_there("scale", "2", "--take-over").returncode == 0
    with pytest.raises(OwnedError, match=f"deployed by .*:{tmp_path}, not by "):
        deployment.down()
    assert "not from here" not in from_there("status").stdout
    assert from_there("down").returncode == 0
    assert engine.containers(name) == []
