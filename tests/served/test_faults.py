"""Faults injected into a real service: what breaks stays small, and everybody else is answered."""

import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import psutil
import pytest
from serving import errors_in, serving, strict, wait_until

pytestmark = pytest.mark.alone

SCRIPT = Path(__file__).parents[1] / "faulty_script.py"
THREADS = 8
HEAD = b"POST /score HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
GET = b"GET /ping HTTP/1.1\r\nHost: here\r\n"


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


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    """One worker that takes four requests at once and gives them three seconds."""
    with serving(
        tmp_path_factory.mktemp("alone"),
        **settings(folder, WORKERS="1", SLOTS="4", DEADLINE_SECONDS="3"),
    ) as running:
        yield running


def workers(service):
    return {child.pid for child in psutil.Process(service.process.pid).children()}


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
    """SIGKILL in the middle of a request: its client is hung up on, nobody else notices, a new
    worker takes over.
    """
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


def test_idle_connections_keep_nobody_from_an_answer(alone, faulty):
    """More silent connections than all workers have threads: health and scores are answered at
    once.
    """
    for service in (alone, faulty):
        with ExitStack() as stack:
            for _ in range(3 * 2 * THREADS):
                stack.enter_context(connected(service))
            time.sleep(0.2)  # all of them are accepted
            answers = [
                quick(service, *ask) for ask in (("GET", "/ping"), ("POST", "/score", "pid")) * 5
            ]
        assert answers == [200] * 10


def quick(service, method, path, body=None, seconds=3):
    """The status of an answer that has to come before what would be waited for."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=seconds)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    finally:
        connection.close()


def test_answered_clients_that_do_not_go_hold_nobody_up(alone):
    """Clients that keep their end open after the last answer: nobody waits for each of them to
    go.
    """
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connected(alone, b"GET / HTTP/1.0\r\n\r\n"))
            for _ in range(THREADS - 1)
        ]
        assert quick(alone, "GET", "/ping", seconds=6) == 200
        assert all(b"Healthy" in received(client) for client in clients)


def test_a_client_that_hangs_up_costs_one_answer(faulty, folder, asking):
    """Whoever goes while the answer is computed is not missed: no worker dies, no error is
    logged.
    """
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
    """More slow clients than there are threads: each is cut off, and health is answered right
    after.
    """
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


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW = {  # what comes at once, and what comes a byte at a time
    "headers": (b"", b"POST /score HTTP/1.1\r\nX-Slow: " + b"x" * 1000),
    "body": (HEAD + b"Content-Length: 1000\r\n\r\n", b"x" * 1000),
    "much of a body": (HEAD + b"Content-Length: 900000\r\n\r\n" + b"x" * 300_000, b"x" * 1000),
    "chunks": (CHUNKED, b"1\r\nx\r\n" * 200),
    "one chunk": (CHUNKED + b"ffff\r\n", b"\r\n\r\n0\r\n\r\n" * 100),
    "trailers": (CHUNKED + b"3\r\npid\r\n0\r\n", b"X-Slow: " + b"x" * 1000),
    "too long a body": (HEAD + b"Content-Length: 99999999\r\n\r\n", b"x" * 1000),
    "a request behind another": (GET + b"\r\n" + HEAD, b"X-Slow: " + b"x" * 1000),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("kind", SLOW)
def test_slow_senders_keep_nobody_from_an_answer(alone, kind):
    """Five times as many as there are threads, which would hold them for five times as long as
    each of them may: health and scores are answered at once.
    """
    first, rest = SLOW[kind]
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(alone, first)) for _ in range(5 * THREADS)]
        answers = []
        for at, ask in enumerate((("GET", "/ping"), ("POST", "/score", "pid")) * 3):
            for client in clients:
                with suppress(OSError):  # it was hung up on
                    client.sendall(rest[at : at + 1])
            answers.append(quick(alone, *ask))
    assert answers == [200] * 6


def test_a_client_that_waits_to_be_told_sends_its_body_then(alone):
    """Expect: 100-continue is answered once; not at all where the body would be refused."""
    asks = HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with connected(alone, asks % 3) as client:
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"pid")
        assert received(client).startswith(b"HTTP/1.1 200 ")
    with connected(alone, asks % 10**9) as client:
        assert received(client).startswith(b"HTTP/1.1 413 ")


def test_a_connection_stays_usable_whatever_was_not_read_of_a_body(alone):
    """A megabyte to a route that does not exist, in chunks too; the next request is answered."""
    with alone.connection() as connection:
        for body in (b"x" * 2**20, iter([b"x" * 2**16] * 16)):
            connection.request("POST", "/none", body)
            answer = connection.getresponse()
            assert (answer.status, answer.read() != b"") == (404, True)
            kept = connection.sock
            connection.request("GET", "/ping")
            assert connection.getresponse().read()
            assert connection.sock is kept


def asks_for(megabytes):
    body = b"large %d" % megabytes
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


@contextmanager
def narrow(service, first):
    """A client by hand that has room for some kilobytes alone."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", service.port))
        client.sendall(first)
        yield client


def test_clients_that_take_no_answer_hold_nobody_up(alone):
    """Far more than there are threads: health and scores are answered at once, and those clients
    are hung up on.
    """
    logged, (worker,) = len(alone.log()), workers(alone)
    with ExitStack() as stack:
        for _ in range(3 * THREADS):
            stack.enter_context(narrow(alone, asks_for(3)))
            time.sleep(0.05)  # more at once than MAX_IN_FLIGHT would be turned away
        asked = (("GET", "/ping"), ("GET", "/"), ("POST", "/score", "pid")) * 3
        assert [quick(alone, *ask) for ask in asked] == [200] * 9
        wait_until(lambda: not established(worker))
    assert alone.log()[logged:].count("did not take its answer in time") >= 2 * THREADS
    assert alone.score("pid").status == 200


def established(worker):
    """The connections of a worker."""
    every = psutil.Process(worker).net_connections()
    return [one for one in every if one.status == psutil.CONN_ESTABLISHED]


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(alone):
    """For longer than a client may be silent; the connection stays usable."""
    with narrow(alone, asks_for(1) + asks_for(1)) as client:
        parts, began = [], time.monotonic()
        while sum(map(len, parts)) < 2_000_000:
            parts.append(client.recv(100_000))
            assert parts[-1], "hung up"
            if time.monotonic() < began + 2.5:
                time.sleep(0.005)
        assert b"".join(parts).count(b"HTTP/1.1 200 OK") == 2
    assert alone.score("large 4").status == 200


def test_a_large_answer_is_whole_where_the_connection_ends_with_it(alone):
    """Connection: close, and a client that begins to read when the service would be through."""
    head = asks_for(3).replace(b"Host: here", b"Host: here\r\nConnection: close")
    with narrow(alone, head) as client:
        time.sleep(0.7)
        head, body = received(client).split(b"\r\n\r\n", 1)
    assert b"Content-Length: %d" % len(body) in head


def test_a_body_that_drips_is_refused(faulty):
    """408 with what was expected; the connection ends."""
    stop = threading.Event()
    with (
        connected(faulty, HEAD + b"Content-Length: 1000\r\n\r\n") as client,
        ThreadPoolExecutor(1) as pool,
    ):
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


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n[[1]]\r\n0\r\n\r\n", b"5\r\n[[1]]XX0\r\n\r\n"], ids=["size", "end"]
)
def test_a_chunk_that_is_no_chunk_is_the_clients_mistake(faulty, chunks):
    """400, not 500."""
    with connected(faulty, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks) as client:
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Body: " in answer


NO_HTTP = {
    "no request": (b"GARBAGE 4711\r\n\r\n", 400, "HTTP/1.1"),
    "the rest of a body": (
        HEAD + b"Content-Length: 3\r\n\r\npid[[4711.5, 1]]\r\n\r\n",
        400,
        "Content-Length",
    ),
    "a long line": (b"GET /score?" + b"4711" * 2000 + b" HTTP/1.1\r\n\r\n", 414, "body of a POST"),
    "a long header": (GET + b"X-Long: " + b"4711" * 4000 + b"\r\n\r\n", 431, "shorter"),
    "a header with a space": (GET + b"X 4711: 1\r\n\r\n", 400, "malformed"),
    "two lengths": (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\npid", 400, "twice"),
    "an expectation": (HEAD + b"Expect: 4711\r\nContent-Length: 3\r\n\r\npid", 417, "100-continue"),
}


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_http_is_refused_like_all_else(faulty, name):
    """JSON with an id, one line of the log under it, a place in the metrics; what came is repeated
    nowhere.
    """
    sent, status, says = NO_HTTP[name]
    counted = f'scoring_requests_total{{code="{status}",route="unreadable"}}'
    before, logged = count(faulty, counted), len(faulty.log())

    with connected(faulty, sent) as client:
        head, body = received(client).rsplit(b"\r\n\r\n", 1)

    assert b"HTTP/1.1 %d " % status in head
    assert b"Content-Type: application/json" in head
    assert says in strict(body)["message"]
    (request_id,) = re.findall(rb"X-Request-Id: (\w{32})", head.split(b"HTTP/1.1 %d " % status)[-1])
    (line,) = [
        line
        for line in map(strict, faulty.log()[logged:].splitlines())
        if line.get("route") == "unreadable"
    ]
    assert (line["request_id"], line["status"], line["client"]) == (
        request_id.decode(),
        status,
        "127.0.0.1",
    )
    assert b"4711" not in body
    assert "4711" not in faulty.log()[logged:]
    assert count(faulty, counted) == before + 1


def count(service, sample):
    """The value of one sample of the metrics; 0 before it is there."""
    lines = service.ask("GET", "/metrics").body.decode().splitlines()
    return next(
        (float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{sample} ")), 0.0
    )


@pytest.mark.parametrize(
    "header", [b"SCRIPT_NAME: /x", b"PATH_INFO: /score", b"X-Forwarded-Proto: x"]
)
def test_headers_of_proxies_change_nothing(faulty, header):
    """From this machine too, where a proxy beside the service is: none is a failure, none leads to
    another route.
    """
    with connected(
        faulty, GET + header + b"\r\nX-Forwarded-Ssl: on\r\nConnection: close\r\n\r\n"
    ) as client:
        assert b"HTTP/1.1 200 OK" in received(client)


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
    assert answer.json() == {
        "predictions": [None, None, 1.0],
        "local_importance_values": [[None, 2.0]],
    }


# Work that takes too long, or is too much


def test_a_model_slower_than_the_deadline_is_a_504(alone):
    """In one piece the answer is late, between pieces it ends; both say so, and the threads are
    free for others.
    """
    with ThreadPoolExecutor(4) as pool:
        late = list(pool.map(alone.score, ["sleep 3.2", "pieces 20", "pieces 20", "pieces 20"]))
        after = list(pool.map(alone.score, ["pid"] * 4))

    assert [answer.status for answer in late] == [504] * 4
    assert all(
        "longer than 3 seconds; send fewer rows" in answer.json()["message"] for answer in late
    )
    assert [answer.status for answer in after] == [200] * 4


def test_more_than_is_allowed_in_flight_is_turned_away_at_once(alone):
    """429 with Retry-After while the others are computed, and health is answered; afterwards there
    is room again.
    """
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(alone.score, "sleep 2.5") for _ in range(4)]
        time.sleep(0.5)  # who asks too early takes the place of one of them
        wait_until(lambda: alone.score("pid").status == 429)
        refused, healthy = alone.score("pid"), alone.ask("GET", "/ping")
        assert not any(other.done() for other in others)

    assert (refused.status, refused.headers["Retry-After"], healthy.status) == (429, "1", 200)
    assert "try again" in refused.json()["message"]
    assert alone.score("pid").status == 200


def n_answers_during(service, work):
    """How often health is answered, one after another, while one piece of work is done."""
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(service.score, work)
        count = 0
        while not working.done():
            count += service.ask("GET", "/ping").status == 200
        assert working.result().status in (200, 504)
        return count


def test_health_is_answered_while_the_interpreter_is_held(faulty):
    """Ten times 0.3 s without a word in one worker: the other answers, most questions without
    waiting for any.
    """
    assert n_answers_during(faulty, "hold 3") > 20


def test_health_is_answered_while_one_worker_computes(alone):
    """Numerical work lets the other threads of a single worker run."""
    assert n_answers_during(alone, "multiply 2") > 20


# Work that does not end


def test_a_computation_that_does_not_end_costs_its_client_a_504_and_nobody_else(folder, tmp_path):
    """The client hears at the deadline; long after it the worker, which is the only one, finishes
    what else it does and is replaced. Its log says where it stood.
    """
    bounds = settings(folder, WORKERS="1", SLOTS="2", DEADLINE_SECONDS="2")
    with serving(tmp_path, **bounds) as service, ThreadPoolExecutor(3) as pool:
        (stuck,) = workers(service)
        began = time.monotonic()
        hanging = pool.submit(service.score, "forever")
        assert service.score("pid").json() == {"predictions": [stuck]}  # the other slot
        answer = hanging.result()
        assert (answer.status, time.monotonic() - began < 5) == (504, True)
        assert "longer than 2 seconds" in answer.json()["message"]
        last = pool.submit(service.score, "sleep 1.5")

        wait_until(lambda: service.log().count("is ready") == 2)
        assert last.result().json() == {"predictions": [stuck]}
        assert workers(service) != {stuck}
        assert service.ask("GET", "/ping").status == 200
        assert service.score("pid").json() != {"predictions": [stuck]}
        (sentence,) = errors_in(service.log())
    assert "does not end" in sentence
    assert "in forever" in sentence


def test_an_answer_that_is_too_late_is_logged_and_counted_once(folder, tmp_path):
    """As the 504 that its client heard; what the computation returns afterwards changes nothing."""
    with serving(tmp_path, **settings(folder, WORKERS="1", DEADLINE_SECONDS="2")) as service:
        before = workers(service)
        assert service.score("sleep 2.8").status == 504
        time.sleep(1.5)  # until after it has slept
        assert service.score("pid").status == 200
        counted = service.ask("GET", "/metrics").body
        lines = [line for line in service.log().splitlines() if '"route": "/score"' in line]
        assert workers(service) == before
    assert [json.loads(line)["status"] for line in lines] == [504, 200]
    assert 2000 <= json.loads(lines[0])["milliseconds"] < 2800
    assert b'scoring_requests_total{code="504",route="/score"} 1.0' in counted
    assert b'scoring_requests_total{code="200",route="/score"} 1.0' in counted


def test_a_late_answer_has_the_form_of_its_route(folder, tmp_path):
    """Whoever answers in the place of the computation, and with the id that the client gave."""
    bounds = settings(folder, WORKERS="1", DEADLINE_SECONDS="1", MAX_IN_FLIGHT="6", SLOTS="6")
    with serving(tmp_path, **bounds) as service:
        late = service.ask("POST", "/invocations", "sleep 1.4", X_Request_Id="mine")
    assert (late.status, late.headers["X-Request-Id"]) == (504, "mine")
    assert late.json()["error_code"] == "INVALID_STATE"


def test_every_slot_may_hang_and_the_service_comes_back(folder, tmp_path):
    """Two workers, all of whose slots are taken by what does not end."""
    bounds = settings(folder, SLOTS="1", DEADLINE_SECONDS="1")
    with serving(tmp_path, **bounds) as service, ThreadPoolExecutor(8) as pool:
        before = workers(service)
        hanging = list(pool.map(service.score, ["forever"] * 8))
        assert {answer.status for answer in hanging} <= {504, 429}
        wait_until(lambda: not workers(service) & before and service.log().count("is ready") >= 4)
        assert service.score("pid").status == 200


def test_nobody_waits_at_a_port_of_a_worker_that_goes(folder, tmp_path):
    """REUSE_PORT: a replaced worker that still has clients is connected to no more, and whoever had
    connected is answered.
    """
    bounds = settings(folder, SLOTS="2", DEADLINE_SECONDS="1", REUSE_PORT="1")
    gone = threading.Event()
    with serving(tmp_path, **bounds) as service, ExitStack() as idle, ThreadPoolExecutor(6) as pool:
        for _ in range(12):  # some of them at that worker, which keeps them open for two seconds
            assert idle.enter_context(connected(service, GET + b"\r\n")).recv(1) == b"H"
        posting = [pool.submit(post_until, gone, service, False) for _ in range(6)]
        try:
            assert service.score("forever").status == 504
            wait_until(lambda: service.log().count("is ready") == 3)
        finally:
            gone.set()
        answered = [future.result() for future in posting]
    assert all(set(statuses) <= {200, 429} for statuses in answered)


# The end, and a place that is full

# However a client asks, and whoever answers: the application, or gunicorn in its place.
LAST_WORDS = [
    b"POST /score HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\npid",
    b"HEAD /ping HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n" * 3,
    b"GET nowhere\r\n\r\n",
]


def test_sigterm_under_load_fails_nobody(folder, tmp_path):
    """Readiness turns 503 first; clients that then go elsewhere lose nothing, nor does a longer
    one; exit 0.
    """
    with serving(
        tmp_path, **settings(folder, DRAIN_SECONDS="2", SLOTS="8", THREADS="32", MAX_IN_FLIGHT="28")
    ) as busy:
        gone = threading.Event()
        with ThreadPoolExecutor(10) as pool:
            (folder / "busy").unlink(missing_ok=True)
            long = pool.submit(busy.score, "sleep 4")
            wait_until(lambda: is_busy(folder))
            posting = [pool.submit(post_until, gone, busy, keeps) for keeps in (True, False) * 4]
            time.sleep(0.5)
            busy.process.send_signal(signal.SIGTERM)
            wait_until(lambda: busy.ask("GET", "/ping").status == 503)
            late = busy.score("pid")
            for asked in LAST_WORDS:
                with connected(busy, asked) as client, client.makefile("rb") as answer:
                    assert answer.read().lower().count(b"\r\nconnection: close\r\n") == 1
            gone.set()
            answered = [future.result() for future in posting]
        for answer in (late, long.result()):
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert busy.process.wait(timeout=30) == 0
    assert all(set(statuses) == {200} for statuses in answered)


def test_what_cannot_be_finished_before_the_end_is_refused_and_not_cut(folder, tmp_path):
    """An answer that would come after SIGTERM's last second: 503 with its reason, and exit 0."""
    lasting = settings(folder, DRAIN_SECONDS="28", DEADLINE_SECONDS="120")
    with serving(tmp_path, **lasting) as leaving, ThreadPoolExecutor() as pool:
        long = pool.submit(leaving.score, "pieces 60")
        time.sleep(0.5)
        leaving.process.send_signal(signal.SIGTERM)
        refused = long.result()
        assert leaving.process.wait(timeout=30) == 0
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert b"The service is stopping" in refused.body


def test_the_end_waits_for_no_computation_that_nobody_waits_for(folder, tmp_path):
    """What never returns is refused at SIGTERM's last second, and the process ends: exit 0."""
    lasting = settings(folder, DRAIN_SECONDS="28", DEADLINE_SECONDS="120", WORKERS="1")
    with serving(tmp_path, **lasting) as leaving, ThreadPoolExecutor() as pool:
        endless = pool.submit(leaving.score, "forever")
        time.sleep(0.5)
        leaving.process.send_signal(signal.SIGTERM)
        refused = endless.result()
        assert leaving.process.wait(timeout=30) == 0
    assert refused.status == 503
    assert b"The service is stopping" in refused.body


def post_until(gone, service, keeps):
    """Post again and again, over one kept connection or a new one each time; return the
    statuses.
    """
    statuses = []
    connection = HTTPConnection("127.0.0.1", service.port, timeout=30)
    while not gone.is_set():
        connection.request("POST", "/score", "pid")
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
        if not keeps:
            connection.close()
    connection.close()
    return statuses


FILL = """
for folder in /dev/shm "$TMPDIR"; do
    mount -t tmpfs -o size=64k none "$folder"
    cat /dev/zero > "$folder/zeros" 2> /dev/null
done
exec "$@"
"""


def test_full_temporary_folders_stop_nothing(folder, tmp_path):
    """Neither memory nor TMPDIR has room for a byte: the service starts, answers and counts."""
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    in_own_mounts = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FILL, "sh")
    with serving(
        tmp_path, under=in_own_mounts, **settings(folder, TMPDIR=str(tiny), WORKERS="1")
    ) as cramped:
        assert [cramped.score("x" * 100_000 if n == 2 else "pid").status for n in range(4)] == [
            200,
            200,
            500,
            200,
        ]
        assert (
            b'scoring_requests_total{code="200",route="/score"} 3.0'
            in cramped.ask("GET", "/metrics").body
        )
        assert len(workers(cramped)) == 1
