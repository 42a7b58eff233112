"""PORT_FROM: services that take connections from one listening socket, which another process keeps
and lends, as the replicas of a deployment on one host do.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager

import pytest
from load import Load
from serving import free_port, start_gunicorn, stop, wait_until

from deploy.host import port_keeper

pytestmark = pytest.mark.alone

PATIENCE = 120  # on a busy machine

SCRIPT = """
import time
def init(): pass
def run(raw_data, request):
    time.sleep(0.02)
    return [1.0]
"""


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def script(tmp_path):
    (tmp_path / "score.py").write_text(SCRIPT)
    return tmp_path / "score.py"


@contextmanager
def keeping(address, port):
    """The anchor's program, in a process of its own."""
    keeper = subprocess.Popen([sys.executable, "-I", port_keeper.__file__, address, str(port)])
    try:
        yield keeper
    finally:
        keeper.kill()
        keeper.wait()


class Replica:
    """A service that borrows the port, and is asked on its own."""

    def __init__(self, folder, name, port, script):
        self.probe, address = free_port(), folder / "port"
        self.log_file = folder / f"{name}.log"
        settings = {
            "PORT": str(port),
            "PORT_FROM": str(address),
            "REPLICAS_FOLDER": str(folder),
            "PROBE_PORT": str(self.probe),
            "REUSE_PORT": "1",
            "ENTRY_SCRIPT": str(script),
            "WORKERS": "2",
        }
        with self.log_file.open("wb") as log:
            self.process = start_gunicorn(log, **settings)

    def wait_for(self, status):
        wait_until(lambda: status_of(self.probe) == status, seconds=PATIENCE)

    def answered(self):
        """How many requests it has answered."""
        return self.log_file.read_text().count('"/score", "status": 200')

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self):
        assert stop(self.process) == 0, self.log_file.read_text()


@pytest.fixture
def begin(tmp_path, script, port):
    """Begins replicas, and ends those that are left."""
    begun = []

    def one(name):
        begun.append(Replica(tmp_path, name, port, script))
        return begun[-1]

    yield one
    for replica in begun:
        stop(replica.process)


def status_of(port):
    """What /ping says at a port; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def test_replicas_come_and_go_and_no_request_is_lost(tmp_path, begin, port):
    """16 clients that never retry, on new and on kept connections, while two of three end: the
    third answers all, and nobody is refused.
    """
    with keeping(tmp_path / "port", port):
        replicas = list(map(begin, ("first", "second", "third")))
        for replica in replicas:
            replica.wait_for(200)
        with Load(port, b"[]", clients=16) as load:
            wait_until(lambda: all(replica.answered() for replica in replicas), seconds=PATIENCE)
            for replica in replicas[:2]:
                replica.end()
            time.sleep(1)
    assert load.failed == {}


def test_they_start_in_any_order_and_nobody_is_ready_without_the_port(tmp_path, begin, port):
    """Without a keeper, and after it was killed, readiness is 503; the same processes borrow the
    next one's port.
    """
    replica = begin("first")
    replica.wait_for(503)
    for _ in range(3):
        with keeping(tmp_path / "port", port) as keeper:
            replica.wait_for(200)
            assert status_of(port) == 200
            keeper.send_signal(signal.SIGKILL)
            replica.wait_for(503)
            # The last of its workers to see that lets go of the port a moment later.
            deadline = time.monotonic() + 10
            while status_of(port) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert status_of(port) == 0
    assert replica.log_file.read_text().count("Booting worker") == 2
    replica.end()


def test_a_keeper_that_says_nothing_holds_nobody_up(tmp_path, begin, port):
    """It is asked in vain, and the probe's port answers all the same."""
    with closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.bind(str(tmp_path / "port"))
        silent.listen(1)
        replica = begin("first")
        replica.wait_for(503)
        assert [status_of(replica.probe) for _ in range(20)] == [503] * 20
        replica.end()


def test_metrics_are_those_of_all_replicas_also_when_one_is_killed(tmp_path, begin, port):
    """Asked at the port that they share, whichever answers tells the sum, which never goes back;
    asked at its own, each tells its own.
    """
    with keeping(tmp_path / "port", port):
        replicas = list(map(begin, ("first", "second")))
        for replica in replicas:
            replica.wait_for(200)
        for number in range(1, 31):
            score(port)
            assert scored(port) == number
        assert sum(scored(replica.probe) for replica in replicas) == 30
        replicas[0].kill()
        assert [scored(port) for _ in range(5)] == [30] * 5
        for _ in range(5):
            score(port)
        third = begin("third")
        third.wait_for(200)
        assert [scored(port) for _ in range(5)] == [35] * 5
        for replica in (replicas[1], third):
            replica.end()


def score(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/score", b"[]", timeout=30) as answer:
        assert answer.status == 200


def scored(port):
    """How many scored requests the metrics at a port tell of."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert re.findall(r"(?m)^scoring_model_info.* (\S+)$", text) == ["1.0"]
    found = re.search(r'(?m)^scoring_requests_total{code="200",route="/score"} (\S+)$', text)
    return float(found[1]) if found else 0
