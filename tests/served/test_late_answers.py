"""Answers in the place of threads that compute for too long: one to each request, whatever a script
does and however its worker ends.
"""

import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from random import Random

import psutil
import pytest
from serving import errors_in, serving, strict, wait_until

pytestmark = pytest.mark.alone

SCRIPT = Path(__file__).parents[1] / "faulty_script.py"
SCORED = re.compile(r'scoring_requests_total\{code="(\d+)",route="/score"\} (\d+)')


def settings(folder, **others):
    return {
        "ENTRY_SCRIPT": str(SCRIPT),
        "FAULTS_FOLDER": str(folder),
        "WORKERS": "1",
        "THREADS": "32",
        "SLOTS": "16",
        "DEADLINE_SECONDS": "1",
        **others,
    }


@pytest.fixture(scope="module")
def hurried(tmp_path_factory):
    """One worker that gives sixteen requests at once a second each."""
    folder = tmp_path_factory.mktemp("hurried")
    with serving(folder, **settings(folder)) as running:
        yield running


def workers(service):
    return {child.pid for child in psutil.Process(service.process.pid).children()}


def counted(service):
    """How many requests were scored with which status, as the metrics have it."""
    pairs = SCORED.findall(service.ask("GET", "/metrics").body.decode())
    return Counter({int(status): int(count) for status, count in pairs})


def logged(service):
    """The statuses in the log by the id of a request."""
    statuses = {}
    for line in service.log().splitlines():
        fields = strict(line) if line.startswith("{") else {}
        if "route" in fields:
            statuses.setdefault(fields["request_id"], []).append(fields["status"])
    return statuses


def test_at_the_deadline_each_request_is_answered_logged_and_counted_once(hurried):
    """Work that ends just when another answers in its place, on processors that are busy: what the
    client heard is what the log and the metrics say, once, under its id.
    """
    before, heard = counted(hurried), {}

    def ask(number):
        body = f"spin {Random(number).uniform(1.0, 1.4)}"
        answer = hurried.score(body, X_Request_Id=f"late-{number}")
        assert answer.headers["X-Request-Id"] == f"late-{number}"
        heard[f"late-{number}"] = [answer.status]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(64)))
    wait_until(lambda: hurried.score("pid").status == 200)  # the threads are back
    assert counted(hurried) - before == Counter(sum(heard.values(), [200]))
    assert {name: logged(hurried)[name] for name in heard} == heard


def test_a_late_request_is_answered_in_its_place_when_nothing_else_happens(hurried):
    """Not only when its thread comes back: nobody else has to ask for the worker to look."""
    late = [hurried.score("sleep 1.7") for _ in range(3)]
    assert [(one.status, one.headers["Connection"]) for one in late] == [(504, "close")] * 3


@pytest.mark.parametrize("what", ["stream", "closing", "header"])
def test_an_answer_that_fails_while_it_is_made_is_a_500(hurried, what):
    """A stream that ends the process, a close that is interrupted, a header that HTTP does not
    have: the form and the id of every failure, and the connection goes on.
    """
    before = counted(hurried)
    with hurried.connection() as connection:
        for body, status in ((what, 500), ("pid", 200)):
            connection.request("POST", "/score", body, {"X-Request-Id": f"{what}-{body}"})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert (answer.status, answer.headers["X-Request-Id"]) == (status, f"{what}-{body}")
        assert strict(text)["predictions"]
    assert counted(hurried) - before == Counter({500: 1, 200: 1})


def test_the_length_of_an_answer_is_counted_and_not_believed(hurried):
    """The next answer on the connection is not taken for the rest of this one."""
    answer = hurried.score("longer")
    assert (answer.body, answer.headers["Content-Length"]) == (b"short", "5")


def test_a_child_of_a_script_answers_nobody(hurried):
    """A forked process that comes back from run() ends, with the status that it wants; the request
    has one answer, and one place in the metrics.
    """
    before = counted(hurried)
    with hurried.connection() as connection:
        for body, predictions in (("child", [0, 7]), ("pid", list(workers(hurried)))):
            connection.request("POST", "/score", body)
            assert strict(connection.getresponse().read()) == {"predictions": predictions}
    assert counted(hurried) - before == Counter({200: 2})


def test_a_thread_that_does_not_come_back_is_found_wherever_it_stands(tmp_path):
    """Behind the computation too: its client hears at the deadline, and its worker, all of whose
    threads are taken so, is replaced.
    """
    bounds = settings(tmp_path, THREADS="4", SLOTS="1", MAX_IN_FLIGHT="3")
    with serving(tmp_path, **bounds) as service, ThreadPoolExecutor(4) as pool:
        before = workers(service)
        late = list(pool.map(service.score, ["afterwards 3600"] * 4))
        assert [answer.status for answer in late] == [504] * 4
        wait_until(lambda: workers(service) and not workers(service) & before)
        assert service.score("pid").status == 200
        (sentence,) = errors_in(service.log())
    assert "in wait" in sentence


def test_a_short_deadline_leaves_a_worker_its_life(tmp_path):
    """Twice a deadline of a fifth of a second is no computation that does not end."""
    with serving(tmp_path, **settings(tmp_path, DEADLINE_SECONDS="0.2")) as service:
        before = workers(service)
        assert service.score("sleep 0.9").status == 504
        time.sleep(0.7)
        assert (workers(service), errors_in(service.log())) == (before, [])


@pytest.mark.parametrize("why", ["forever", "SIGHUP"])
def test_who_is_with_a_worker_that_is_replaced_has_the_time_of_others(tmp_path, why):
    """However little the service itself may take to stop: an answer within the deadline comes, and
    a 504 to who computes for longer.
    """
    bounds = settings(tmp_path, DEADLINE_SECONDS="3", DRAIN_SECONDS="28")
    with serving(tmp_path, **bounds) as service, ThreadPoolExecutor(3) as pool:
        (replaced,) = workers(service)
        if why == "forever":
            assert service.score("forever").status == 504
            time.sleep(0.9)  # it is stuck 4.5 seconds after it began
        asked = [pool.submit(service.score, body) for body in ("sleep 2.7", "sleep 20")]
        time.sleep(0.3)
        if why == "SIGHUP":
            service.process.send_signal(signal.SIGHUP)
        others, late = (answer.result() for answer in asked)
        wait_until(lambda: replaced not in workers(service))
        assert service.score("pid").status == 200
        service.process.send_signal(signal.SIGTERM)  # the next one cuts the drain short
        wait_until(lambda: service.ask("GET", "/ping").status == 503)
    assert (others.status, others.json()) == (200, {"predictions": [replaced]})
    assert late.status == 504


def test_a_worker_that_is_ended_says_with_which_status(tmp_path):
    """Beside what it computes too: an end by force does not look like one of its own."""
    with serving(tmp_path, **settings(tmp_path)) as service:
        before = workers(service)
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            service.score("abort 5")
        wait_until(lambda: workers(service) and not workers(service) & before)
        assert service.score("pid").status == 200
        (sentence,) = errors_in(service.log())
    assert "exited with code 1" in sentence


@contextmanager
def with_few_files(folder):
    """One worker that may have 64 open files, and a function that connects a client to it."""
    bounds = settings(folder, DEADLINE_SECONDS="5")
    few = ("prlimit", "--nofile=64")
    with serving(folder, under=few, **bounds) as service, ExitStack() as idle:

        def connect():
            client = HTTPConnection("127.0.0.1", service.port, timeout=10)
            idle.callback(client.close)
            client.connect()

        yield service, connect


def test_idle_clients_leave_files_to_what_computes(tmp_path):
    """However many connect: the script opens its own file, new clients are answered, and the log
    says what there is room for.
    """
    with with_few_files(tmp_path) as (service, connect), ThreadPoolExecutor(1) as pool:
        before = workers(service)
        for _ in range(70):
            connect()
        busy = pool.submit(service.score, "sleep 1")
        for _ in range(70):
            connect()
        assert service.ask("GET", "/ping").status == 200
        assert busy.result().status == 200
        assert errors_in(service.log()) == []
        assert workers(service) == before
        assert "connections at once" in service.log()


def test_connections_beyond_the_files_that_may_be_open_wait(tmp_path):
    """Where the script takes all of them the worker says so once, and lives; who connects then is
    answered when there is room again.
    """
    with with_few_files(tmp_path) as (service, connect), ThreadPoolExecutor(1) as pool:
        before = workers(service)
        hoarding = pool.submit(service.score, "hoard 1")
        # What was open for a moment when the last one was taken is free again.
        wait_until(lambda: left_files(before) < 5)
        for _ in range(5):
            connect()
        assert service.ask("GET", "/ping").status == 200
        assert hoarding.result().status == 200
        (sentence,) = errors_in(service.log())
        assert workers(service) == before
    assert "ulimit -n" in sentence


def left_files(workers):
    """How many of their 64 files the workers may still open."""
    return sum(64 - psutil.Process(worker).num_fds() for worker in workers)
