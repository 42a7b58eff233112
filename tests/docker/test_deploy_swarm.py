"""A swarm of two real engines on this machine: left out unless REQUIRE_SWARM is set; failing where
none can be made.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
import yaml
from deploy_helpers import BASE, ROOT, Deployment, connect, leftovers, look, make_project, status
from load import Load
from swarm_helpers import cluster, run, unsupported

from deploy.engine.docker_engine import Engine
from deploy.errors import ConfigurationError, EngineError, RefusedError, RequestFailedError
from deploy.image import build
from deploy.image.context import gather
from deploy.image.pip_settings import pip_files
from deploy.release import credentials
from deploy.swarm.api import Swarm
from deploy.swarm.state import runs, wanted
from deploy.verbs import mutex
from deploy.verbs.status import as_text

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        "REQUIRE_SWARM" not in os.environ,
        reason="left out: minutes long; `make test-swarm` runs them",
    ),
]

PROXY = os.environ.get("PROXY_IMAGE") or "scoring-proxy:bookworm"
NAME = f"swarm-{os.getpid()}"
PORT = 8080

# What fails in the swarm alone: there a replica has its address for itself, and in the preflight it
# shares a port.
FAULTY = """
import os
import score
in_swarm = os.path.exists("/app/content.sha256") and "REUSE_PORT" not in os.environ
fault = os.environ.get("FAULT", "") if in_swarm else ""
def init():
    if fault == "crash":
        raise RuntimeError("not on this host")
    if fault == "slow":
        __import__("time").sleep(600)
    return score.init()
def run(raw_data, request):
    if raw_data.strip() == '"hog"':
        run.hog = bytearray(os.urandom(1)) * (1200 * 2**20)
    return score.run(raw_data, request)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, diabetes):
    root = make_project(tmp_path_factory.mktemp("project"), diabetes)
    (root / "faulty.py").write_text(FAULTY)
    return root


@pytest.fixture(scope="module")
def hosts(project):
    """Two hosts; the image is built once, on this machine's engine, and brought to the manager."""
    if why := unsupported():
        pytest.fail(why)
    with closing(connect()) as here:
        if here.image(PROXY) is None:
            pytest.fail(f"there is no image {PROXY}: run `dockerfiles/base.sh {PROXY} haproxy`")
        made = deployment_on(here, project, "")
        image = build.build_image(
            here,
            made.config(),
            gather(made.config(), project, pip_files()),
            here.image(BASE)["Id"],
            made.console,
        )
        try:
            with cluster() as found:
                tag = here.image(image)["RepoTags"][0]
                save = subprocess.Popen(
                    ["docker", "save", tag, BASE, PROXY], stdout=subprocess.PIPE
                )
                run("docker", "--host", found.manager.url, "load", stdin=save.stdout)
                save.stdout.close()
                assert save.wait() == 0
                yield found
        finally:
            here.remove_image(image)


def deployment_on(engine, project, registry):
    return Deployment(
        engine,
        project,
        NAME,
        target="swarm",
        bind="0.0.0.0",
        port=PORT,
        replicas=2,
        cpu_cores=0.5,
        memory_gb=0.5,
        workers=1,
        threads=64,
        entry_script="faulty.py",
        code=["score.py"],
        dockerfile="",
        proxy_image=PROXY,
        registry=registry,
        timeouts={"ready": 30},
    )


@pytest.fixture(scope="module")
def engine(hosts):
    with closing(Engine(hosts.manager.url)) as found:
        yield found


@pytest.fixture
def deployment(engine, project, hosts):
    """The one deployment, whatever the tests before have made of it; on both hosts."""
    hosts.join()
    made = deployment_on(engine, project, f"{hosts.registry}/scoring")
    made.url = hosts.manager.url
    return made


@pytest.fixture(scope="module", autouse=True)
def _nothing_stays(engine, project):
    yield
    deployment_on(engine, project, "").down()


@pytest.fixture
def one(project):
    return (project / "artifacts" / "one.json").read_bytes()


def tasks(deployment):
    """Those that are meant to run, by their ids."""
    service = look(deployment.engine, NAME).replicas["ID"]
    return {
        task["ID"]: task for task in Swarm(deployment.engine, NAME).tasks(service) if wanted(task)
    }


def nodes_of(deployment):
    return {one.node for one in status(deployment.engine, deployment.name).replicas}


def loaded(deployment, body, hosts, clients=16, key=""):
    headers = {"Authorization": f"Bearer {key}"}
    expected = ask(deployment, body, key)
    return Load(
        PORT, body, clients=clients, expected=expected, host=hosts.manager.address, headers=headers
    )


def ask(deployment, body, key=""):
    return deployment.client(deployment.config(), key).score(body)


def told(load, what, start):
    seconds = time.monotonic() - start
    print(
        f"\n{what}: {load.succeeded} requests in {seconds:.0f} s, slowest {load.slowest:.2f} s, "
        f"failed: {load.failed}"
    )


def start_up(deployment, **more):
    """Run `up` in a process of its own, as the command line does."""
    config = {
        **deployment.settings,
        "name": NAME,
        "base_image": BASE,
        "engine": deployment.url,
        **more,
    }
    (deployment.root / "deploy.yml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "deploy", "up", "--file", str(deployment.root / "deploy.yml")]
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PORT", "BASE_IMAGE")
    }
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def heal(deployment):
    deployment.heal()


def stands_alone(deployment):
    """One release serves, the swarm is at rest, and nothing is kept that nobody uses."""
    engine, swarm = deployment.engine, Swarm(deployment.engine, NAME)
    state = look(engine, NAME)
    used = set()
    for service in (state.replicas, state.proxy):
        container = service["Spec"]["TaskTemplate"]["ContainerSpec"]
        used |= {secret["SecretID"] for secret in container.get("Secrets") or []}
    assert not state.moving
    assert {secret["ID"] for secret in swarm.secrets()} == used
    assert len(swarm.configs()) == len(swarm.networks()) == 1
    assert leftovers(engine, NAME) == []
    assert mutex.holder(engine, NAME) is None
    assert status(engine, NAME).state == "Healthy", as_text(status(engine, NAME))


def test_one_host_needs_no_registry(engine, project, one):
    """It has the image; the second host is not there yet."""
    alone = deployment_on(engine, project, "")
    alone.up(replicas=1)
    assert json.loads(ask(alone, one))["predictions"]
    stands_alone(alone)
    alone.stop_serving()


def test_a_swarm_with_several_nodes_needs_a_registry(deployment):
    """One sentence, before anything is built."""
    with pytest.raises(
        ConfigurationError, match="registry: expected where the 2 nodes pull the image from"
    ):
        deployment.up(registry="")


def test_an_engine_that_manages_no_swarm_is_one_sentence(deployment, hosts):
    """It says what to do."""
    with (
        closing(Engine(hosts.worker.url)) as deployment.engine,
        pytest.raises(EngineError, match="docker swarm init"),
    ):
        deployment.up()


def test_a_first_release_that_does_not_run_leaves_nothing(deployment):
    """Neither its service nor the network."""
    with pytest.raises(RefusedError, match="not on this host"):
        deployment.up(env={"FAULT": "crash"})
    swarm = Swarm(deployment.engine, NAME)
    assert swarm.services() == swarm.networks() == swarm.secrets() == swarm.configs() == []


def test_releases_roll_over_both_hosts_without_a_lost_request(deployment, hosts, one):
    """Up, three redeploys and a rollback, with clients that never retry, on new and on kept
    connections.
    """
    first = deployment.up(replicas=3)
    assert json.loads(ask(deployment, one))["predictions"]
    assert nodes_of(deployment) == {"host1", "host2"}
    start = time.monotonic()
    with loaded(deployment, one, hosts, clients=24) as load:
        for number in range(3):
            last = deployment.up(replicas=3, description=f"release {number}")
        back = deployment.rollback()
        time.sleep(1)
    told(load, "3 redeploys and a rollback", start)
    assert load.failed == {}
    assert load.succeeded > 500
    found = status(deployment.engine, NAME)
    assert (found.state, found.release, found.previous) == ("Healthy", back.id, last.id)
    assert found.scoring_uri == f"http://{hosts.manager.address}:{PORT}/score"
    assert [replica.memory_limit for replica in found.replicas] == [2**29] * 3
    assert "at most 512 MB, 0.5 CPU" in as_text(found)
    assert first.image == back.image
    logs = deployment.logs("all")
    assert len(logs) == 3
    assert all(any("Listening" in line for line in lines) for lines in logs.values())
    stands_alone(deployment)


@pytest.mark.parametrize(
    ("fault", "words"), [("crash", "RuntimeError: not on this host"), ("slow", "unhealthy")]
)
def test_a_release_that_fails_in_the_swarm_is_taken_back_by_the_swarm(
    deployment, hosts, one, fault, words
):
    """It passed the preflight; the refusal has the failed replica's words, and the old replicas are
    the same ones.
    """
    good = deployment.up()
    before = set(tasks(deployment))
    start = time.monotonic()
    with (
        loaded(deployment, one, hosts) as load,
        pytest.raises(RefusedError, match="taken the update back") as refusal,
    ):
        deployment.up(env={"FAULT": fault}, timeouts={"ready": 20})
    told(load, f"taken back ({fault})", start)
    assert load.failed == {}
    assert words in str(refusal.value)
    assert "What serves was not touched" in str(refusal.value)
    assert set(tasks(deployment)) == before
    found = status(deployment.engine, NAME)
    assert found.release == good.id
    assert "before: " in as_text(found)
    stands_alone(deployment)


def test_replicas_are_limited_and_hardened(deployment, engine):
    """Read-only root, no capabilities, numeric user, limits: seen from inside the one on the
    manager.
    """
    deployment.up()
    here = next(one for one in engine.containers(NAME, "task") if one.running)
    facts = engine.run_inside(here.id, ["cat", "/proc/self/status"])[1]
    assert "CapBnd:\t0000000000000000" in facts
    assert "Uid:\t10001" in facts
    assert (
        "Read-only file system" in engine.run_inside(here.id, ["sh", "-c", "touch /app/x 2>&1"])[1]
    )
    assert (
        "Permission denied"
        in engine.run_inside(here.id, ["sh", "-c", "cp /bin/true /tmp/t; /tmp/t 2>&1"])[1]
    )
    host = engine.inspect(here.id)["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"], host["Init"]) == (
        5 * 10**8,
        2**29,
        1024,
        True,
    )
    proxy = next(one for one in engine.containers(NAME, "proxy") if one.running)
    assert engine.inspect(proxy.id)["HostConfig"]["ReadonlyRootfs"] is True


def test_a_worker_that_is_killed_for_its_memory_is_in_the_status(deployment, one):
    """On whichever host it was."""
    deployment.up()
    with pytest.raises(RequestFailedError):
        ask(deployment, b'"hog"')
    deadline = time.monotonic() + 30
    while not any(replica.oom_kills for replica in status(deployment.engine, NAME).replicas):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert "killed for exceeding the memory limit" in as_text(status(deployment.engine, NAME))
    assert json.loads(ask(deployment, one))["predictions"]


def test_scaling_loses_nothing_and_leaves_the_proxy_alone(deployment, hosts, one):
    """Up and down again; the same proxy finds the replicas."""
    deployment.up()
    proxy = look(deployment.engine, NAME).proxy["Version"]
    start = time.monotonic()
    with loaded(deployment, one, hosts) as load:
        for replicas in (3, 2):
            deployment.scale(replicas)
            assert len(tasks(deployment)) == replicas
    told(load, "scaled to 3 and 2", start)
    assert load.failed == {}
    assert look(deployment.engine, NAME).proxy["Version"] == proxy
    stands_alone(deployment)


def test_keys_rotate(deployment, hosts, one):
    """The old primary goes on as the secondary without a failed request; no key can be seen in what
    is listed.
    """
    deployment.up(auth_enabled=True)
    primary, secondary = credentials.read_keys(deployment.engine, NAME)
    with pytest.raises(RequestFailedError, match="401"):
        ask(deployment, one)
    deployment.rotate_keys()
    fresh, old = credentials.read_keys(deployment.engine, NAME)
    assert old == primary
    for key in (fresh, old):
        assert json.loads(ask(deployment, one, key))["predictions"]
    with pytest.raises(RequestFailedError, match="401"):
        ask(deployment, one, secondary)
    swarm = Swarm(deployment.engine, NAME)
    shown = json.dumps(
        [swarm.services(), swarm.secrets(), swarm.configs(), list(tasks(deployment).values())]
    )
    shown += json.dumps(deployment.logs("all"))
    assert not [key for key in (primary, secondary, fresh) if key in shown]
    stands_alone(deployment)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_deployment_that_is_interrupted_leaves_one_release(
    deployment, hosts, one, by, monkeypatch
):
    """Killed in the middle, the swarm finishes and the next command tidies up; Ctrl-C takes the
    update back.
    """
    monkeypatch.setenv("SWARM_KEY", f"a-key-of-the-user-{by}")
    old = deployment.up(auth_enabled=True)
    secondary = credentials.read_keys(deployment.engine, NAME)[1]
    start = time.monotonic()
    with loaded(deployment, one, hosts, key=secondary) as load:
        more = {
            "description": f"by {by}",
            "auth_enabled": True,
            "keys": {"primary": "env:SWARM_KEY"},
        }
        process = start_up(deployment, **more)
        for line in process.stdout:
            if line.startswith("Starting"):
                break
        while not any(runs(task) for task in set_apart(deployment, old)):
            assert process.poll() is None
            assert time.monotonic() - start < 120
            time.sleep(0.2)
        process.send_signal(by)
        process.stdout.read()
        assert process.wait(timeout=200) == (-9 if by == signal.SIGKILL else 130)
        process.stdout.close()
        heal(deployment)
    told(load, f"interrupted by {by.name}", start)
    assert load.failed == {}
    assert (look(deployment.engine, NAME).release == old.id) == (by == signal.SIGINT)
    assert json.loads(ask(deployment, one, f"a-key-of-the-user-{by}"))[
        "predictions"
    ]  # keys are the deployment's
    stands_alone(deployment)


def set_apart(deployment, old):
    """The replicas of another release than the old one."""
    label = "scoring.deploy.release"
    return [
        task
        for task in tasks(deployment).values()
        if task["Spec"]["ContainerSpec"]["Labels"][label] != old.id
    ]


def test_a_host_that_is_lost_costs_no_request(deployment, hosts, one):
    """kill -9 of an engine and all of its containers: the proxy asks others, the swarm starts
    replicas elsewhere.
    """
    deployment.up()
    assert nodes_of(deployment) == {"host1", "host2"}
    start = time.monotonic()
    with loaded(deployment, one, hosts) as load:
        time.sleep(2)
        killed = time.monotonic()
        hosts.worker.kill()
        while not (
            nodes_of(deployment) == {"host1"} and status(deployment.engine, NAME).state == "Healthy"
        ):
            assert time.monotonic() - killed < 60
            time.sleep(0.5)
        elsewhere = time.monotonic() - killed
    told(load, f"lost a host, its replicas elsewhere after {elsewhere:.0f} s", start)
    assert load.failed == {}
    assert "host2, which is down" in as_text(status(deployment.engine, NAME))
    hosts.worker.start(hosts.registry)
    back = time.monotonic()
    while {node["Status"]["State"] for node in Swarm(deployment.engine, NAME).nodes().values()} != {
        "ready"
    }:
        assert time.monotonic() - back < 60
        time.sleep(0.5)
    deployment.up()
    assert nodes_of(deployment) == {"host1", "host2"}  # a rollout spreads them anew


def test_https_and_the_other_target(deployment, hosts, one, tmp_path):
    """The proxy answers with the user's certificate; what serves there is neither moved to one host
    nor to http.
    """
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    run(*request.split(), "-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt")
    deployment.stop_serving()  # and not its image
    deployment.settings |= {
        "tls": {"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}
    }
    deployment.up(replicas=1)
    assert json.loads(ask(deployment, one))["predictions"]
    with pytest.raises(ConfigurationError, match="cannot change while it serves"):
        deployment.up(tls={})
    with pytest.raises(ConfigurationError, match="is deployed with `target: swarm`, got 'host'"):
        deployment.up(target="host")


def test_down_leaves_nothing(deployment, hosts):
    """No service, network, secret, config, container, volume or image, on neither host; twice is as
    good as once.
    """
    deployment.down()
    deployment.down()
    swarm = Swarm(deployment.engine, NAME)
    assert swarm.services() == swarm.networks() == swarm.secrets() == swarm.configs() == []
    assert deployment.engine.containers(NAME) == deployment.engine.images(NAME, "image") == []
    assert (
        hosts.worker.docker("ps", "--all", "--quiet")
        == hosts.manager.docker("volume", "ls", "--quiet")
        == ""
    )
    assert status(deployment.engine, NAME).state == "Absent"
