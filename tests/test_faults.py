"""Faults injected into a real service: what breaks stays small, and everybody else is answered."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import psutil
import pytest
from serving import serving

SCRIPT = Path(__file__).parent / "faulty_script.py"
THREADS = 8
HEAD = b"POST /score HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"


def settings(folder, **others):
    return {
        "ENTRY_SCRIPT": str(SCRIPT),
        "FAULTS_FOLDER": str(folder),
        "THREADS": str(THREADS),
        "SLOTS": "2",
        "MAX_IN_FLIGHT": "4",
        "DEADLINE_SECONDS": "5",
        "SLOW_CLIENT_SECONDS": "1",
        **others,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def faulty(folder):
    """Two workers of eight threads, short times, and a script that misbehaves when asked to."""
    with serving(folder, **settings(folder)) as running:
        yield running


def workers(service):
    return {child.pid for child in psutil.Process(service.process.pid).children()}


def wait_until(happened, seconds=30):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@contextmanager
def connected(service, first=b""):
    """A client by hand: a socket that has sent these bytes."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
        client.sendall(first)
        yield client


def received(client):
    """Everything until the service hangs up."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def hung_up(client):
    """Whether the service ends the connection without an answer; an aborted one counts."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def is_busy(folder):
    return (folder / "busy").exists()


@pytest.fixture
def asking(faulty, folder):
    """Requests in the background: the function starts one and returns its future."""
    (folder / "busy").unlink(missing_ok=True)
    with ThreadPoolExecutor(16) as pool:
        yield lambda body: pool.submit(faulty.score, body)


# Workers that die


def test_a_killed_worker_takes_only_its_own_request_with_it(faulty, folder, asking):
    """SIGKILL in the middle of a request: its client is hung up on, nobody else notices, a new worker takes over."""
    before = workers(faulty)
    lost = asking("sleep 20")
    wait_until(lambda: is_busy(folder))
    killed = int((folder / "busy").read_text(encoding="ascii"))
    os.kill(killed, signal.SIGKILL)

    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        lost.result()
    assert [faulty.score("pid").status for _ in range(40)] == [200] * 40
    wait_until(lambda: len(workers(faulty)) == len(before))
    (new,) = workers(faulty) - before
    wait_until(lambda: faulty.score("pid").json()["predictions"] == [new])
    assert killed not in workers(faulty)


# Clients that misbehave


def test_idle_connections_keep_nobody_from_an_answer(faulty):
    """More silent connections than there are threads: health and scores are answered at once."""
    with ExitStack() as stack:
        for _ in range(3 * 2 * THREADS):
            stack.enter_context(connected(faulty))
        time.sleep(0.2)  # all of them are accepted
        answers = [quick(faulty, *ask) for ask in (("GET", "/ping"), ("POST", "/score", "pid")) * 5]
    assert answers == [200] * 10


def quick(service, method, path, body=None, seconds=3):
    """The status of an answer that has to come before what would be waited for."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=seconds)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    finally:
        connection.close()


def test_answered_clients_that_do_not_go_hold_nobody_up(faulty):
    """A client that keeps its end open after the last answer: the next one does not wait for it."""
    with ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(connected(faulty, b"GET / HTTP/1.0\r\n\r\n"))
            assert b"Healthy" in received(client)
            assert quick(faulty, "GET", "/ping", seconds=10) == 200


def test_a_client_that_hangs_up_costs_one_answer(faulty, folder, asking):
    """Whoever goes while the answer is computed is not missed: no worker dies, no error is logged, others are answered."""
    before, logged = workers(faulty), len(faulty.log())
    body = b"sleep 0.5"
    with connected(faulty, HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body):
        wait_until(lambda: is_busy(folder))
    wait_until(lambda: '"route": "/score", "status": 200' in faulty.log()[logged:])

    assert faulty.score("pid").status == 200
    assert workers(faulty) == before
    assert "error" not in faulty.log()[logged:]


def drip(client, text, stop):
    """Send a byte every half second until the service hangs up."""
    for byte in text:
        try:
            client.sendall(bytes([byte]))
        except OSError:
            return
        if stop.wait(0.5):
            return


def test_headers_that_drip_are_hung_up_on(faulty):
    """More slow clients than there are threads: each is cut off, and health is answered right after."""
    stop = threading.Event()
    n_clients = 3 * THREADS
    with ExitStack() as stack, ThreadPoolExecutor(n_clients) as pool:
        stack.callback(stop.set)
        clients = [stack.enter_context(connected(faulty)) for _ in range(n_clients)]
        for client in clients:
            pool.submit(drip, client, b"GET /ping HTTP/1.1\r\nX-Slow: " + b"x" * 1000, stop)
        time.sleep(0.6)
        assert quick(faulty, "GET", "/ping", seconds=20) == 200
        assert all(hung_up(client) for client in clients)
        stop.set()


def test_a_body_that_drips_is_refused(faulty):
    """408 with what was expected; the connection ends."""
    stop = threading.Event()
    with connected(faulty, HEAD + b"Content-Length: 1000\r\n\r\n") as client, ThreadPoolExecutor(1) as pool:
        pool.submit(drip, client, b"x" * 1000, stop)
        answer = received(client)
        stop.set()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"within 1 seconds" in answer
    assert faulty.score("pid").status == 200


def test_a_body_cut_short_is_refused(faulty):
    """Fewer bytes than declared and the end of the stream: 400 that says so."""
    with connected(faulty, HEAD + b"Content-Length: 1000\r\n\r\n[[1, 2") as client:
        client.shutdown(socket.SHUT_WR)
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"expected the 1000 bytes of Content-Length, got 6" in answer
    assert faulty.score("pid").status == 200


@pytest.mark.parametrize("chunks", [b"zz\r\n[[1]]\r\n0\r\n\r\n", b"5\r\n[[1]]XX0\r\n\r\n"], ids=["size", "end"])
def test_a_chunk_that_is_no_chunk_is_the_clients_mistake(faulty, chunks):
    """400, not 500."""
    with connected(faulty, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks) as client:
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Body: " in answer


# Scripts that misbehave


def test_a_model_that_raises_is_a_500_with_an_id(faulty):
    """The id of the request, and nothing of the error; the log has both."""
    answer = faulty.score("fail", X_Request_Id="my-id-1")
    assert answer.status == 500
    assert "my-id-1" in answer.json()["message"]
    assert b"4711" not in answer.body
    assert "the secret is 4711" in faulty.log().split("my-id-1", 1)[1]


def test_what_is_no_number_is_null(faulty):
    """NaN and infinity in an answer: strict JSON."""
    answer = faulty.score("nan")
    assert answer.status == 200
    assert answer.json() == {"predictions": [None, None, 1.0], "local_importance_values": [[None, 2.0]]}
