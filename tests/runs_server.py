"""MLflow's server as `make runs-server` starts it, and a PostgreSQL for it, both started by tests.

The server needs the environment .venv-foreign, which `make setup-clients` makes;
RUNS_SERVER_PYTHON names another. PostgreSQL is Debian's package `postgresql`. Where one of them is
not there, its tests are left out, but fail where REQUIRE_RUNS_SERVER is set.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from serving import ROOT, free_port

PYTHON = Path(os.environ.get("RUNS_SERVER_PYTHON") or ROOT / ".venv-foreign/bin/python")
POSTGRESQL = Path("/usr/lib/postgresql")
SECONDS = 150
PASSWORD, SECRET = "a password of sixteen", "a-secret-of-its-own"
OURS = re.compile("MLFLOW_|RUNS_DIR")


def leave_out(why):
    """Skip a test, or fail it where everything has to be there."""
    if os.environ.get("REQUIRE_RUNS_SERVER"):
        pytest.fail(f"REQUIRE_RUNS_SERVER is set, but {why}")
    pytest.skip(f"left out: {why}")


class Server:
    """A server of runs in a folder, with what it has said."""

    def __init__(self, folder, **variables):
        environment = {name: text for name, text in os.environ.items() if not OURS.match(name)}
        self.port, self.log = free_port(), folder / "said.log"
        self.uri = f"http://127.0.0.1:{self.port}"
        command = [PYTHON, ROOT / "tools/runs-server/start.py", "--port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*map(str, command), "--folder", str(folder / ".runs")],
                env={**environment, **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self):
        deadline = time.monotonic() + SECONDS
        while "MLflow's pages" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        return self

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def running_server(folder, store=""):
    """Start a server of runs in a folder, with an administrator, until the block ends.

    The address of another store has a password: it is told by the environment, which others do not
    see.
    """
    if not PYTHON.exists():
        leave_out(f"there is no {PYTHON}: run `make setup-clients`")
    told = {"MLFLOW_BACKEND_STORE_URI": store} if store else {}
    started = Server(folder, MLFLOW_AUTH_ADMIN_PASSWORD=PASSWORD, **told)
    try:
        yield started.wait()
    finally:
        started.end()


@contextmanager
def running_postgresql():
    """Start a PostgreSQL of its own that takes a password, and give its address with it."""
    programs = sorted(POSTGRESQL.glob("*/bin/initdb"))
    if not programs:
        leave_out(f"there is no PostgreSQL below {POSTGRESQL}: `apt-get install postgresql`")
    # It refuses to run as root, and its user may not enter the folders that pytest makes.
    user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    user = user if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        data, secret = Path(folder, "data"), Path(folder, "secret")
        secret.write_text(SECRET)
        if user:
            for place in (folder, secret):
                shutil.chown(place, "postgres", "postgres")
        made = ["--username=runs", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
        bounded = {"timeout": 120, "check": True, "capture_output": True}
        run = partial(subprocess.run, cwd=folder, **bounded, **user)
        run([programs[-1], data, *made, "--encoding=UTF8", "--locale=C"])
        port = free_port()
        control = [programs[-1].with_name("pg_ctl"), "--pgdata", data, "--wait", "--timeout=60"]
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -F"
        run([*control, "-o", options, "-l", f"{folder}/log", "start"])
        try:
            yield f"postgresql://runs:{SECRET}@127.0.0.1:{port}/postgres"
        finally:
            run([*control, "--mode=immediate", "stop"])
