"""An entry script that misbehaves as the body of a request tells it: the name of a function and
seconds.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
from flask import Response, after_this_request

HERE = Path(os.environ["FAULTS_FOLDER"])


def init():
    """Load nothing: there is no model."""


def run(raw_data, request):
    name, _, seconds = raw_data.strip().partition(" ")
    return globals()[name](float(seconds or 0), request)


def pid(seconds, request):
    """Answer at once, with who answers."""
    return {"predictions": [os.getpid()]}


def sleep(seconds, request):
    """Take time without the interpreter, and say so in a file first."""
    (HERE / "busy").write_text(str(os.getpid()), encoding="ascii")
    time.sleep(seconds)
    return pid(seconds, request)


def hoard(seconds, request):
    """Open each file that may be open, and keep them for some time."""
    opened = []
    try:
        while True:
            opened.append(os.dup(0))
    except OSError:
        (time.sleep(seconds), *map(os.close, opened))
    return pid(seconds, request)


def forever(seconds, request):
    """Wait for what never comes."""
    threading.Event().wait()


def pieces(seconds, request):
    """Take time in pieces, between which the request may end it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        request.check()
    return pid(seconds, request)


def hold(seconds, request):
    """Keep the interpreter from all other threads of this process for 0.3 s at a time."""
    end = time.monotonic() + seconds
    usleep = ctypes.PyDLL("libc.so.6").usleep
    while time.monotonic() < end:
        usleep(300_000)
    return pid(seconds, request)


def multiply(seconds, request):
    """Work without the interpreter, as NumPy does."""
    end = time.monotonic() + seconds
    matrix = np.ones((500, 500))
    while time.monotonic() < end:
        matrix @ matrix
    return pid(seconds, request)


def large(megabytes, request):
    """Answer so many of them."""
    return {"predictions": ["x" * 1_000_000] * int(megabytes)}


def fail(seconds, request):
    """Raise an error that quotes a row."""
    raise ValueError("the secret is 4711")


def nan(seconds, request):
    """Answer what is no number."""
    return {
        "predictions": [float("nan"), np.inf, 1.0],
        "local_importance_values": np.array([[np.nan, 2.0]]),
    }


def spin(seconds, request):
    """Work with the interpreter, which other threads get now and then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return pid(seconds, request)


def stream(seconds, request):
    """Answer in pieces, and end the process between two of them."""

    def pieces():
        yield b"one"
        sys.exit(3)

    return Response(pieces())


def closing(seconds, request):
    """Answer, and raise what is no Exception when the answer is closed."""
    response = Response("closed")

    @response.call_on_close
    def close():
        time.sleep(seconds)
        raise KeyboardInterrupt

    return response


def header(seconds, request):
    """Answer with a header that cannot be sent."""
    return Response("unsendable", headers={"X-Text": "\u20ac"})


def longer(seconds, request):
    """Say that the body is longer than it is."""
    response = Response("short")
    response.headers["Content-Length"] = "500"
    return response


def afterwards(seconds, request):
    """Answer, and take time before it is sent."""

    @after_this_request
    def wait(response):
        time.sleep(seconds)
        return response

    return pid(seconds, request)


def child(seconds, request):
    """Fork a process that returns as this one does, and one that ends itself; say how they end."""
    first = os.fork()
    if first:
        second = os.fork()
        if not second:
            sys.exit(7)
        ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in (first, second)]
        return {"predictions": ended}
    return pid(seconds, request)


def abort(seconds, request):
    """End the process as gunicorn ends a worker that hangs."""
    os.kill(os.getpid(), signal.SIGABRT)
    time.sleep(seconds)
