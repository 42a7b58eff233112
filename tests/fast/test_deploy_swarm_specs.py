"""What is asked of a swarm, without one: bodies, the proxy's configuration, what is read from
tasks.
"""

import shutil
import socket
import subprocess
from dataclasses import replace

import pytest
import requests
from deploy_helpers import missing
from serving import free_port, wait_until

from deploy.configuration import Configuration, configuration
from deploy.contract import STOP_SECONDS
from deploy.engine.docker_engine import SECOND
from deploy.engine.labels import labels
from deploy.errors import ConfigurationError
from deploy.release import specs as release_specs
from deploy.release.release import Release
from deploy.swarm import credentials, proxy, specs
from deploy.swarm.api import unpacked
from deploy.swarm.proxy import FILE
from deploy.swarm.specs import SERVICE, label
from deploy.swarm.state import State, current, failed, runs, wanted, words
from deploy.swarm.watch import Patience, takes_tasks

CONFIG = configuration(
    {
        "name": "scoring",
        "target": "swarm",
        "bind": "0.0.0.0",
        "replicas": 3,
        "timeouts": {"ready": 30},
    }
)
RELEASE = Release("0123456789ab", "sha256:1", CONFIG, "c" * 64, 1.0)
TLS = configuration({"name": "scoring", "target": "swarm", "bind": "0.0.0.0", "auth_enabled": True,
                     "tls": {"certificate": "c.pem", "key": "k.pem"}})  # fmt: skip


def stored(name):
    return {"ID": f"id-of-{name}", "Spec": {"Name": name}}


def service(**more):
    return specs.service(RELEASE, "registry.example/scoring@sha256:2", "network-id", [], **more)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"target": "kubernetes"}, "target: expected host or swarm, got 'kubernetes'"),
        ({"target": "swarm"}, "bind: expected 0.0.0.0 with `target: swarm`, got 127.0.0.1"),
        (
            {"registry": "registry.example:5000/scoring:latest"},
            "registry: expected a repository such as",
        ),
        ({"registry": "scoring"}, "registry: expected a repository such as"),
        ({"proxy_image": ""}, "proxy_image: expected the name of an image"),
    ],
)
def test_what_cannot_be_used_is_named(values, sentence):
    """By its key, in one sentence."""
    with pytest.raises(ConfigurationError, match=sentence):
        configuration({"name": "scoring", **values})


def test_an_update_starts_first_and_is_taken_back_when_a_replica_fails():
    """One at a time; no virtual IP; a failure within the monitored time decides."""
    body = service(previous="old", times=7)
    assert body["UpdateConfig"] == {
        "Parallelism": 1,
        "Order": "start-first",
        "FailureAction": "rollback",
        "Monitor": 5 * SECOND,
        "MaxFailureRatio": 0,
    }
    assert body["EndpointSpec"] == {"Mode": "dnsrr"}
    assert body["Mode"] == {"Replicated": {"Replicas": 3}}
    assert body["TaskTemplate"]["ForceUpdate"] == 7
    assert "Placement" not in body["TaskTemplate"]
    assert (label(body, "release"), label(body, "previous")) == ("0123456789ab", "old")


def test_a_replica_is_limited_and_hardened_as_on_one_host():
    """What a swarm can be told; as much is reserved as is allowed, so that a replica goes where
    there is room.
    """
    template = service()["TaskTemplate"]
    container, there = template["ContainerSpec"], release_specs.preflight(RELEASE)["HostConfig"]
    assert template["Resources"] == {
        "Limits": {
            "MemoryBytes": there["Memory"],
            "NanoCPUs": there["NanoCpus"],
            "Pids": there["PidsLimit"],
        },
        "Reservations": {"MemoryBytes": there["Memory"], "NanoCPUs": there["NanoCpus"]},
    }
    assert container["CapabilityDrop"] == there["CapDrop"] == ["ALL"]
    assert container["ReadOnly"] is there["ReadonlyRootfs"] is True
    assert container["Init"] is there["Init"] is True
    assert container["User"] == "10001:10001"
    assert container["Privileges"] == {"NoNewPrivileges": True}
    assert [mount["Target"] for mount in container["Mounts"]] == list(there["Tmpfs"])
    assert template["LogDriver"]["Options"] == there["LogConfig"]["Config"]
    assert template["RestartPolicy"]["Condition"] == "any"
    assert container["StopGracePeriod"] == STOP_SECONDS * SECOND


def test_a_replica_drains_until_the_proxy_has_seen_it_and_shares_no_port():
    """At least so long, longer when asked."""
    assert "DRAIN_SECONDS=5" in service()["TaskTemplate"]["ContainerSpec"]["Env"]
    assert not [
        line
        for line in service()["TaskTemplate"]["ContainerSpec"]["Env"]
        if line.startswith("REUSE_PORT")
    ]
    longer = replace(CONFIG, timeouts=replace(CONFIG.timeouts, drain=9))
    assert "DRAIN_SECONDS=9" in specs.container(replace(RELEASE, config=longer), "image")["Env"]


def test_secrets_are_files_of_the_services_user_with_a_version_in_their_names():
    """Both services see the certificate, the replicas alone the keys; values are nowhere."""
    found = {
        file: stored(specs.file("scoring", file, "v1")["name"]) for file in credentials.wanted(TLS)
    }
    assert [one["File"]["Name"] for one in credentials.for_replicas(found)] == [
        "keys",
        "tls.crt",
        "tls.key",
    ]
    assert [one["File"]["Name"] for one in credentials.for_proxy(found)] == [
        "tls.crt",
        "tls.crt.key",
    ]
    assert credentials.for_replicas(found)[0] == {
        "SecretID": "id-of-scoring-keys-v1",
        "SecretName": "scoring-keys-v1",
        "File": {"Name": "keys", "UID": "10001", "GID": "10001", "Mode": 0o400},
    }
    assert credentials.wanted(CONFIG) == []


def test_the_proxy_is_the_same_whatever_the_replicas_are():
    """Neither another release nor another number of replicas restarts it; another port or timeout
    does.
    """
    file = specs.mounted(stored("scoring-proxy-v1"), "Config", FILE, 0o444)
    first = proxy.service(CONFIG, "network-id", file, [])
    assert (
        proxy.service(replace(CONFIG, replicas=9, description="another"), "network-id", file, [])
        == first
    )
    assert label(
        proxy.service(replace(CONFIG, port=81), "network-id", file, []), "digest"
    ) != label(first, "digest")
    assert proxy.configuration(replace(CONFIG, replicas=9)) == proxy.configuration(CONFIG)
    assert first["EndpointSpec"]["Ports"] == [
        {"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 8080, "PublishMode": "host"}
    ]
    assert first["TaskTemplate"]["Placement"] == {"Constraints": ["node.role==manager"]}
    assert first["TaskTemplate"]["ContainerSpec"]["CapabilityDrop"] == ["ALL"]


def test_the_proxy_asks_another_replica_but_repeats_no_answer_that_has_begun():
    """Only what never reached a replica, or got no byte from it."""
    text = proxy.configuration(CONFIG)
    assert "retry-on conn-failure empty-response\n" in text
    assert "timeout connect 250ms" in text
    assert "server-template replica 128 tasks.scoring:8080" in text
    assert "ssl" not in text
    assert "bind :8080 ssl crt /run/secrets/tls.crt" in proxy.configuration(TLS)
    assert "init-addr none ssl verify none" in proxy.configuration(TLS)


def test_haproxy_takes_the_configuration(tmp_path):
    """Without a word."""
    if shutil.which("haproxy") is None:
        missing("there is no haproxy on this machine")
    (tmp_path / "haproxy.cfg").write_text(proxy.configuration(CONFIG))
    done = subprocess.run(
        ["haproxy", "-c", "-f", tmp_path / "haproxy.cfg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_the_proxy_shows_no_metrics_of_one_replica_or_another(tmp_path):
    """A real one: it says where each is scraped; what else is asked goes to the replicas."""
    if shutil.which("haproxy") is None:
        missing("there is no haproxy on this machine")
    port = free_port()
    text = proxy.configuration(CONFIG).replace("bind :8080", f"bind 127.0.0.1:{port}")
    (tmp_path / "haproxy.cfg").write_text(text)
    running = subprocess.Popen(["haproxy", "-db", "-f", tmp_path / "haproxy.cfg"])
    try:
        wait_until(lambda: is_open(port))
        answer = requests.get(f"http://127.0.0.1:{port}/metrics?x=1", timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/plain")
        assert "port 9001 of tasks.scoring on the network scoring-network" in answer.text
        assert requests.get(f"http://127.0.0.1:{port}/score", timeout=10).status_code == 503
    finally:
        running.terminate()
        running.wait(timeout=10)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def task(state, desired="running", times=3, **status):
    return {
        "ID": "t",
        "Slot": 2,
        "NodeID": "n",
        "DesiredState": desired,
        "Spec": {"ForceUpdate": times},
        "Status": {"State": state, **status},
    }


def test_what_a_failed_replica_says():
    """Where it was, the engine's words, the exit code once, and what 137, or an end without an
    error, means.
    """
    nodes = {"n": {"Description": {"Hostname": "host2"}}}
    out = task(
        "failed", "shutdown", Err="task: non-zero exit (137)", ContainerStatus={"ExitCode": 137}
    )
    assert words(out, nodes) == (
        "replica 2 on host2: failed: task: non-zero exit (137); "
        "killed, as for exceeding the memory limit"
    )
    waiting = task(
        "pending",
        Message="pending task scheduling",
        Err="no suitable node (insufficient resources on 2 nodes)",
    )
    assert (
        words(waiting, {})
        == "replica 2: pending: no suitable node (insufficient resources on 2 nodes)"
    )
    done = task("complete", "shutdown", Message="finished", ContainerStatus={"ExitCode": 0})
    assert words(done, {}) == (
        "replica 2: complete: finished; exit code 0; unhealthy, or its process ended by itself"
    )
    assert failed(out)
    assert not wanted(out)
    assert wanted(waiting)
    assert not runs(waiting)


def test_a_log_is_put_together_from_its_frames():
    """Of both streams, in the order in which they came; what is cut off in the middle is not waited
    for.
    """
    frames = b"\x01\0\0\0\0\0\0\x04one\n" + b"\x02\0\0\0\0\0\0\x04two\n"
    assert unpacked(frames) == b"one\ntwo\n"
    assert unpacked(frames + b"\x01\0\0") == b"one\ntwo\n"
    assert unpacked(b"") == b""


def test_the_tasks_of_another_rollout_are_not_counted():
    """Nor those that are told to stop."""
    one = {"Spec": {"TaskTemplate": {"ForceUpdate": 3}}}
    assert current(one, task("running"))
    assert not current(one, task("running", times=2))
    assert not current(one, task("running", desired="shutdown"))


@pytest.mark.parametrize(
    ("update", "moving"),
    [
        ("updating", True),
        ("rollback_started", True),
        ("completed", False),
        ("rollback_completed", False),
        ("", False),
    ],
)
def test_where_an_update_stands(update, moving):
    """In the swarm's words."""
    spec = {
        "Labels": labels("scoring", SERVICE, release="new", previous="old"),
        "TaskTemplate": {},
    }
    state = State({"Spec": spec, **({"UpdateStatus": {"State": update}} if update else {})}, None)
    assert (state.moving, state.release, state.previous, state.times) == (moving, "new", "old", 0)
    assert State(None, None).release == ""


@pytest.mark.parametrize(
    ("state", "availability", "takes"),
    [("ready", "active", True), ("down", "active", False), ("ready", "drain", False)],
)
def test_a_host_that_is_down_or_drained_takes_no_replica(state, availability, takes):
    """So replicas that share the only other one are spread as far as can be."""
    assert (
        takes_tasks({"Status": {"State": state}, "Spec": {"Availability": availability}}) == takes
    )


def test_patience_ends_unless_something_moves(monkeypatch):
    """A finite wait, anew from each step forward."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    patience = Patience(Configuration("scoring"))
    assert not patience.exhausted(0)
    now[0] = patience.seconds - 1
    assert not patience.exhausted(1)
    now[0] += patience.seconds
    assert not patience.exhausted(1)
    now[0] += 1
    assert patience.exhausted(1)
