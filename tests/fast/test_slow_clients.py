"""Answers that wait for their clients: sent as far as they are taken, within a bound on memory."""

import socket
import time
from contextlib import contextmanager

import pytest

from service.settings import Settings
from service.web.app import create_app
from service.web.slow_clients import (
    MOST_UNSENT,
    PIECE,
    PRESSED_SECONDS,
    Outgoing,
    forget_unsent,
    is_pressed,
    keep_unsent,
    unsent_bytes,
)


@pytest.fixture
def ends():
    """Both ends of a connection."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


@contextmanager
def waiting(connection, data, seconds):
    """An answer that waits for its client."""
    answer = Outgoing(connection, seconds)
    answer.sendall(data)
    assert not answer.push()
    keep_unsent(answer)
    yield answer
    forget_unsent(answer)


def test_an_answer_is_sent_as_it_is_taken(ends):
    """Every byte, in their order, and never waiting for the client."""
    ours, theirs = ends
    sent = bytes(range(256)) * 20_000
    answer, taken = Outgoing(ours, 1), []
    for start in range(0, len(sent), 100_000):
        answer.sendall(sent[start : start + 100_000])
    while not answer.push():
        taken.append(theirs.recv(2**20))
    assert len(answer) == 0
    ours.close()
    while part := theirs.recv(2**20):
        taken.append(part)
    assert b"".join(taken) == sent


def test_a_file_is_sent_behind_its_headers(ends, tmp_path):
    """As gunicorn sends one: a part of it, at its place among what is written."""
    ours, theirs = ends
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    answer = Outgoing(ours, 1)
    answer.sendall(b"headers ")
    with file.open("rb") as opened:
        assert answer.sendfile(opened, offset=2, count=5) == 5
        answer.sendall(b" end ")
        assert answer.sendfile(opened) == 10
    assert answer.push()
    assert theirs.recv(100) == b"headers 23456 end 0123456789"


def test_a_client_is_late_when_it_takes_less_than_a_piece_in_its_time(ends):
    """Its time begins anew with each piece; a byte now and then is not enough."""
    ours, theirs = ends
    with waiting(ours, bytes(2**23), 0.4) as answer:
        for _ in range(3):
            assert not answer.is_late(is_pressed())
            time.sleep(0.3)
            theirs.recv(PIECE, socket.MSG_WAITALL)
            answer.push()
        for _ in range(5):
            time.sleep(0.1)
            theirs.recv(1)
            answer.push()
        assert answer.is_late(is_pressed())


def test_what_is_left_reaches_no_client(ends):
    """Neither an answer that was being written, nor a hang-up: another one answers."""
    ours, theirs = ends
    left = Outgoing(ours, 1)
    left.sendall(b"left")
    other = left.leave()
    left.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        left.push()
    other.sendall(b"other")
    assert other.push()
    assert theirs.recv(100) == b"other"


def test_what_stands_in_for_a_socket_is_one(ends):
    """Whatever else is asked of it is the connection's."""
    ours, _ = ends
    assert Outgoing(ours, 1).fileno() == ours.fileno()


def test_more_answers_than_may_wait_turn_requests_away(ends, tmp_path):
    """429 with the reason, while health is answered; clients then have little patience left, and
    all is as before when the answers are gone.
    """
    script = tmp_path / "echo.py"
    script.write_text("from json import loads as run; init = dict", encoding="utf-8")
    client = create_app(Settings(entry_script=script)).test_client()
    ours, _ = ends
    with waiting(ours, bytes(MOST_UNSENT + 2**23), 60) as answer:
        assert unsent_bytes() > MOST_UNSENT
        refused = client.post("/score", data="[[1]]")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert "wait for their clients" in refused.json["message"]
        assert client.get("/swagger.json").status_code == 429
        assert client.get("/ping").status_code == 200
        assert not answer.is_late(is_pressed())
        time.sleep(PRESSED_SECONDS)
        assert answer.is_late(is_pressed())
    assert client.post("/score", data="[[1]]").status_code == 200
