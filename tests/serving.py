"""A real gunicorn on a free port, and a client that shows what came back byte for byte."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from service.settings import Settings

ROOT = Path(__file__).parent.parent
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"  # what `curl -d` declares
OURS = tuple(name for setting in fields(Settings) for name in setting.metadata["variables"])


def strict(text):
    """Parse JSON as a strict parser does: NaN and Infinity are no JSON."""

    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    return json.loads(text, parse_constant=refuse)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        assert self.headers.get_content_type() == JSON
        return strict(self.body)


@dataclass(frozen=True)
class Service:
    """A running gunicorn, talked to over its socket."""

    process: subprocess.Popen
    port: int
    log_file: Path
    trusted: ssl.SSLContext | None = None  # of a service with TLS

    def connection(self):
        if self.trusted is None:
            return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60))
        return closing(
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.trusted)
        )

    def ask(self, method, path, body=None, content_type=JSON, **headers):
        if body is not None:
            headers["Content-Type"] = content_type
        with self.connection() as connection:
            connection.request(
                method,
                path,
                body,
                {name.replace("_", "-"): value for name, value in headers.items()},
            )
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def score(self, body, content_type=JSON, query="", **headers):
        return self.ask("POST", f"/score{query}", body, content_type, **headers)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    def log(self):
        return self.log_file.read_text(encoding="utf-8")

    def is_up(self, workers):
        """Whether the service is ready in every worker: they start one after the other."""
        assert self.process.poll() is None, self.log()
        if self.log().count("is ready") < workers:
            return False
        try:
            return self.ask("GET", "/ping").status == 200
        except OSError:
            return False


def errors_in(log):
    """The messages of a service's log that are errors."""
    lines = [strict(line) for line in log.splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["level"] in ("error", "critical")]


def wait_until(happened, seconds=30):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_gunicorn(log, arguments=("serve",), under=(), **settings):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (*OURS, "GUNICORN_CMD_ARGS")
    }
    command = [*under, sys.executable, "-m", "service", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environment, "DRAIN_SECONDS": "0", **settings},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def stop(process):
    """End gunicorn as a container host does; return its exit status."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its session, hence the workers too
        return process.wait(timeout=30)


@contextmanager
def serving(folder, arguments=("serve",), under=(), trusted=None, **settings):
    """Run the service, with two workers unless told otherwise, for a while; it has to end well on
    SIGTERM.

    `under` is a command that runs what comes after it, in the same process.
    """
    settings = {"PORT": str(free_port()), "WORKERS": "2", **settings}
    log_file = folder / "service.log"
    with log_file.open("wb") as log:
        process = start_gunicorn(log, arguments, under, **settings)
    service = Service(process, int(settings["PORT"]), log_file, trusted)
    try:
        deadline = time.monotonic() + 120  # on a busy machine
        while not service.is_up(workers=int(settings["WORKERS"])):
            assert time.monotonic() < deadline, service.log()
            time.sleep(0.05)
        yield service
    finally:
        status = stop(process)
    assert status == 0, service.log()


LOADING = """
import os, time
def init():
    with open({started!r}, "w") as file:
        print(os.getpid(), file=file)
    time.sleep(60)
def run(_): pass
"""


@contextmanager
def loading(folder):
    """A service whose worker is busy with init(): its process, and the worker's number."""
    script, started = folder / "slow.py", folder / "started"
    script.write_text(LOADING.format(started=str(started)))
    with (folder / "service.log").open("wb") as log:
        process = start_gunicorn(log, ENTRY_SCRIPT=str(script), PORT=str(free_port()), WORKERS="2")
    try:
        wait_until(lambda: started.exists() and started.read_text().endswith("\n"))
        yield process, int(started.read_text())
    finally:
        stop(process)


def start_in_vain(folder, **settings):
    """Start a service that cannot start; return its exit status and what it printed."""
    log_file = folder / "service.log"
    with log_file.open("wb") as log:
        process = start_gunicorn(log, PORT=str(free_port()), **settings)
    try:
        status = process.wait(timeout=60)
    finally:
        stop(process)
    return status, log_file.read_text(encoding="utf-8")
