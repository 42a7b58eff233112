"""Requests that arrive in pieces: when they are whole, and when no more of them is wanted."""

import socket

import pytest
from werkzeug.exceptions import RequestEntityTooLarge

from service.server import incoming
from service.server.incoming import Incoming, Limits
from service.web.errors import BodyError, BusyError, SlowBodyError

HEAD = b"POST /score HTTP/1.1\r\nHost: here\r\n"
LENGTH, CHUNKED = HEAD + b"content-length: %d\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = {
    "no body": b"GET / HTTP/1.1\r\n\r\n",
    "an empty line before it": b"\r\nGET / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
    "a length": LENGTH % 7 + b"\r\n\r\n{}0",
    "chunks": CHUNKED + b'3;a="b"\r\nabc\r\nA \r\n\r\n\r\n0\r\n\r\nx\r\n000\r\n\r\n',
    "trailers": CHUNKED + b"1\r\na\r\n0\r\nx: 1\r\ny: 2\r\n\r\n",
}
LIMITS = Limits(line=100, head=300, body=1000, seconds=60)


@pytest.fixture
def ends():
    """The client's end of a connection, and ours."""
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    with theirs, ours:
        yield theirs, ours


def read_all(request):
    parts = []
    while part := request.recv(3):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_request_is_whole_with_its_last_byte(ends, kind):
    """Byte by byte: not before, and then nothing of the next one is missing either."""
    theirs, ours = ends
    request, sent = Incoming(ours, LIMITS), WHOLE[kind]
    for _ in range(2):
        for at in range(len(sent)):
            assert not request.is_ready, at
            theirs.send(sent[at : at + 1])
            request.receive()
        assert request.is_ready
        assert request.is_whole
        assert read_all(request) == sent
        request.begin()


def test_what_was_read_ahead_begins_the_next_request(ends):
    """Two at once: the second is ready without a byte from its client."""
    theirs, ours = ends
    request = Incoming(ours, LIMITS)
    theirs.send(WHOLE["a length"] + WHOLE["chunks"])
    request.receive()
    taken = request.recv(len(WHOLE["a length"]) + 5)
    request.put_back(taken[-5:])
    request.begin()
    assert request.is_whole
    assert read_all(request) == WHOLE["chunks"]


UNWANTED = {
    "no request": (b"GARBAGE 4711\r\n", None),
    "a long line": (b"GET /" + b"x" * 101, None),
    "long headers": (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 60, None),
    "a long body": (LENGTH % 1001, RequestEntityTooLarge),
    "a long chunk": (CHUNKED + b"3e9\r\n", RequestEntityTooLarge),
    "many chunks": (CHUNKED + b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n", RequestEntityTooLarge),
    "no size": (CHUNKED + b"zz\r\n", None),
    "no end of a chunk": (CHUNKED + b"1\r\naXX", None),
    "framing": (CHUNKED + (b"1;" + b"x" * 90 + b"\r\na\r\n") * 720, BodyError),
}


@pytest.mark.parametrize("kind", UNWANTED)
def test_what_is_refused_anyway_is_not_waited_for(ends, kind):
    """Its reader finds the reason behind what has come, or what is malformed in it."""
    theirs, ours = ends
    request, (sent, reason) = Incoming(ours, LIMITS), UNWANTED[kind]
    theirs.send(sent)
    request.receive()
    assert request.is_ready
    assert not request.is_whole
    if reason is None:
        assert sent.startswith(read_all(request))
    else:
        with pytest.raises(reason):
            read_all(request)


def test_one_that_is_late_is_given_up(ends, monkeypatch):
    """In its headers the client is gone, in its body it is told; with little room, sooner."""
    theirs, ours = ends
    now = incoming.time.monotonic()
    monkeypatch.setattr(incoming.time, "monotonic", lambda: now)
    for sent, reason in ((HEAD, None), (LENGTH % 9 + b"1", SlowBodyError)):
        for is_pressed, patience in ((False, 60.0), (True, incoming.PRESSED_SECONDS)):
            request = Incoming(ours, LIMITS)
            theirs.send(sent)
            request.receive()
            now += patience - 0.01
            request.give_up_if_late(is_pressed)
            assert not request.is_ready
            now += 0.02
            request.give_up_if_late(is_pressed)
            assert request.is_ready
            assert request.recv(1000) == sent
            if reason is None:
                assert request.recv(1) == b""
            else:
                with pytest.raises(reason, match="within 60 seconds"):
                    request.recv(1)


def test_long_bodies_are_turned_away_when_too_much_is_kept(ends, monkeypatch):
    """Short ones are taken: they are not what fills the memory."""
    monkeypatch.setattr(incoming, "MOST_KEPT", 2**18)
    theirs, ours = ends
    limits = Limits(line=100, head=300, body=2**17, seconds=60)
    others = [Incoming(ours, limits) for _ in range(3)]
    for other in others:
        other.put_back(LENGTH % 2**17 + b"x" * 100_000)
        other.begin()
    assert incoming.is_short_of_room(limits)
    for length, is_turned_away in ((1000, False), (90_000, True)):
        request = Incoming(ours, limits)
        theirs.send(LENGTH % 2**17 + b"x" * length)
        request.receive()
        assert request.is_ready == is_turned_away
    with pytest.raises(BusyError, match="Too many bodies"):
        read_all(request)
