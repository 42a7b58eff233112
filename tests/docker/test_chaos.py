"""Everything at once: what runs is killed at random, beside clients that hang, dawdle, ask for too
much or speak no HTTP, and beside those that do as they should.

CHAOS_SECONDS says for how long, CHAOS_SEED repeats a run: what is killed in which round, and what
each client draws, do not depend on how their threads take turns. The engine is killed too where
ENGINE_COMMAND names one.
"""

import http.client
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from itertools import count

import pytest
from deploy_helpers import (
    Deployment,
    clean,
    connect,
    end_engine,
    engine_again,
    leftovers,
    look,
    make_project,
    process_of,
    wait_until_whole,
    worker_of,
)

pytestmark = [pytest.mark.engine, pytest.mark.alone]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "45"))
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
RATE, CLIENTS = 50, 25  # well-behaved requests a second, and who sends them
PATIENCE = 60  # for a port that refuses: the service must be whole by then
TIMEOUT = 20  # for an answer
PREDICT = "/score?explain=false"

# An entry script that can be told to hang; more of it than the deadline is not waited for.
SCRIPT = """
import time
import score
init = score.init
def run(raw_data, request):
    if raw_data.startswith('"hang'):
        time.sleep(12)
    return score.run(raw_data, request)
"""


@pytest.fixture
def deployment(tmp_path_factory, diabetes):
    engine = connect()
    folder = make_project(tmp_path_factory.mktemp("chaos"), diabetes)
    (folder / "hanging.py").write_text(SCRIPT)
    made = Deployment(
        engine,
        folder,
        f"chaos-{os.getpid()}",
        entry_script="hanging.py",
        code=["score.py"],
        dockerfile="",
        replicas=2,
        workers=2,
        # What hangs takes one of the places at which a worker computes, and not the only one.
        env={"DEADLINE_SECONDS": "10", "SLOW_CLIENT_SECONDS": "3", "SLOTS": "4"},
    )
    clean(engine, made.name)
    yield made
    clean(made.engine, made.name)
    made.engine.close()


def chances(who):
    """The random numbers of one thread, or of one round of kills: those of nobody else."""
    return random.Random(f"{SEED} {who}")


class Client(threading.Thread):
    """Asks twice a second and checks the answer.

    It connects when the service is ready, and waits for that until it must be whole. A request that
    breaks off is sent once more, and counted. Everything else is a failure.
    """

    def __init__(self, number, port, body, expected, *, counts, stopped):
        super().__init__(daemon=True)
        self.delay = chances(f"client {number}").uniform(0, CLIENTS / RATE)
        self.port, self.body, self.expected = port, body, expected
        self.counts, self.stopped, self.connection = counts, stopped, None

    def run(self):
        due = time.monotonic() + self.delay
        while not self.stopped.wait(max(0.0, due - time.monotonic())):
            self.counts[self.outcome()] += 1
            due = max(due + CLIENTS / RATE, time.monotonic())  # what it missed stays missed
        self.close()

    def outcome(self):
        for outcome in ("answered", "answered when asked again"):
            try:
                answer = self.ask()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                broken = f"failed: {type(error).__name__}: {error}"
                continue
            return outcome if answer == (200, self.expected) else f"failed: {answer}"
        return broken

    def ask(self):
        if self.connection is None or self.connection.sock is None:
            self.connect()
        return self.exchange("POST", PREDICT, self.body)

    def exchange(self, *request):
        self.connection.request(*request)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def connect(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        deadline = time.monotonic() + PATIENCE
        while not self.is_welcome() and time.monotonic() < deadline:
            self.connection.close()
            time.sleep(0.2)

    def is_welcome(self):
        with suppress(OSError, http.client.HTTPException):
            return self.exchange("GET", "/ping")[0] == 200
        return False

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def silent(client, _):
    """Says nothing."""
    time.sleep(5)


def slow(client, _):
    """Sends its headers a letter at a time."""
    for letter in b"POST /score HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n":
        client.send(bytes([letter]))
        time.sleep(0.2)


def unread(client, _):
    """Asks a hundred times and reads no answer."""
    client.sendall(b"GET /swagger.json HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
    time.sleep(5)


def huge(client, _):
    """Sends twice as much as is taken."""
    client.sendall(b"POST /score HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n")
    for _ in range(512):
        client.sendall(b"1" * 2**16)


def hanging(client, _):
    """Asks for what takes longer than the deadline."""
    client.sendall(b'POST /score HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"hang"')
    client.recv(2**16)


def hostile(client, chance):
    """Speaks something else."""
    client.sendall(chance.randbytes(2000) + b"\r\n\r\n")
    client.recv(2**16)


BAD = (silent, slow, unread, huge, hanging, hostile)


def misbehave(port, behaviour, stopped):
    chance = chances(behaviour.__name__)
    while not stopped.is_set():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as client:
            client.settimeout(10)
            behaviour(client, chance)
        stopped.wait(0.5)


@contextmanager
def clients(port, body, expected):
    """Run all of them, and yield the counts of those that behave."""
    counts, stopped = Counter(), threading.Event()
    threads = [
        Client(n, port, body, expected, counts=counts, stopped=stopped) for n in range(CLIENTS)
    ]
    for behaviour in BAD:
        target = threading.Thread(target=misbehave, args=(port, behaviour, stopped), daemon=True)
        threads.append(target)
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stopped.set()
        for thread in threads:
            thread.join(PATIENCE + 2 * TIMEOUT)
    assert not any(thread.is_alive() for thread in threads)


def kill_worker(deployment, chance):
    os.kill(worker_of(deployment.engine, one_of("replicas", deployment, chance)), signal.SIGKILL)


def kill_replica(deployment, chance):
    os.kill(process_of(deployment.engine, one_of("replicas", deployment, chance)), signal.SIGKILL)


def kill_anchor(deployment, chance):
    os.kill(process_of(deployment.engine, one_of("anchors", deployment, chance)), signal.SIGKILL)


def one_of(part, deployment, chance):
    there = getattr(look(deployment.engine, deployment.name), part)
    return chance.choice(sorted(there, key=lambda container: container.name))


def end_the_engine(deployment, chance):
    end_engine(chance.choice((signal.SIGTERM, signal.SIGKILL)))
    deployment.engine.close()
    deployment.engine = engine_again()


KILLS = [kill_worker, kill_replica, kill_anchor]
if "ENGINE_COMMAND" in os.environ:
    KILLS.append(end_the_engine)


def test_nothing_is_lost_and_everything_comes_back(deployment):
    """Of the requests of those who behave none fails: each is answered, but for those whose worker,
    replica or port was killed at that moment, which are answered when they are asked once more.
    Afterwards all is as before, and nobody has healed anything.
    """
    deployment.up()
    before, body = wait_until_whole(deployment.engine, deployment.name), one_row(deployment)
    expected = answer_to(deployment, body)
    kills, end = Counter(), time.monotonic() + SECONDS
    with clients(deployment.settings["port"], body, expected) as counts:
        time.sleep(3)
        for number, (kill, chance) in enumerate(each_then_any(KILLS)):
            begun = time.monotonic()
            if begun > end and len(kills) == len(KILLS):
                break
            print(f"\nCHAOS_SEED={SEED}, round {number}: {kill.__name__}", end="", flush=True)
            kill(deployment, chance)
            assert wait_until_whole(deployment.engine, deployment.name) == before
            kills[kill.__name__] += 1
            print(f", whole again after {time.monotonic() - begun:.1f} s", end="")
            time.sleep(chance.uniform(1, 4))
    print(f"\n{dict(kills)} {dict(counts)}")
    failed = [outcome for outcome in counts if outcome.startswith("failed")]
    assert failed == []
    assert counts["answered"] > 10 * SECONDS
    assert counts["answered when asked again"] <= CLIENTS * kills.total()
    assert wait_until_whole(deployment.engine, deployment.name) == before
    assert answer_to(deployment, body) == expected
    assert leftovers(deployment.engine, deployment.name) == []


def answer_to(deployment, body):
    connection = http.client.HTTPConnection("127.0.0.1", deployment.settings["port"], timeout=60)
    with closing(connection):
        connection.request("POST", PREDICT, body)
        return connection.getresponse().read()


def one_row(deployment):
    return (deployment.root / "artifacts" / "one.json").read_bytes()


def each_then_any(kills):
    """Kinds of kills without end, each with the chances of its round."""
    for number, kill in enumerate(chances("order").sample(kills, len(kills))):
        yield kill, chances(f"round {number}")
    for number in count(len(kills)):
        chance = chances(f"round {number}")
        yield chance.choice(kills), chance
