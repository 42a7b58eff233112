"""PORT_FROM: services that take connections from one listening socket, which another process keeps
and lends, as the replicas of a deployment on one host do.
"""

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
def run(raw_data):
    time.sleep(0.02)
    return [1.0]
"""


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

    def __init__(self, folder, name, address, script):
        self.probe = free_port()
        self.log_file = folder / f"{name}.log"
        settings = {
            "PORT_FROM": str(address),
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

    def end(self):
        assert stop(self.process) == 0, self.log_file.read_text()


@pytest.fixture
def begin(tmp_path, script):
    """Begins replicas, and ends those that are left."""
    begun = []

    def one(name):
        begun.append(Replica(tmp_path, name, tmp_path / "port", script))
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


def test_replicas_come_and_go_and_no_request_is_lost(tmp_path, begin):
    """16 clients that never retry, on new and on kept connections, while two of three end: the third
    answers all, and nobody is refused.
    """
    port = free_port()
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


def test_they_start_in_any_order_and_nobody_is_ready_without_the_port(tmp_path, begin):
    """Without a keeper, and after it was killed, readiness is 503; the same processes borrow the
    next one's port.
    """
    port = free_port()
    replica = begin("first")
    replica.wait_for(503)
    for _ in range(3):
        with keeping(tmp_path / "port", port) as keeper:
            replica.wait_for(200)
            assert status_of(port) == 200
            keeper.send_signal(signal.SIGKILL)
            replica.wait_for(503)
            assert status_of(port) == 0
    assert replica.log_file.read_text().count("Booting worker") == 2
    replica.end()


def test_a_keeper_that_says_nothing_holds_nobody_up(tmp_path, begin):
    """It is asked in vain, and the probe's port answers all the same."""
    with closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.bind(str(tmp_path / "port"))
        silent.listen(1)
        replica = begin("first")
        replica.wait_for(503)
        assert [status_of(replica.probe) for _ in range(20)] == [503] * 20
        replica.end()
