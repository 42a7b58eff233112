"""An entry script that misbehaves as the body of a request tells it: the name of a function and
seconds.
"""

import ctypes
import os
import threading
import time
from pathlib import Path

import numpy as np

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
