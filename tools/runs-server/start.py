"""Start MLflow's server and its pages over the store of runs (`make runs-server`), until Ctrl-C.

Authentication is on unless `--no-auth`. What MLflow switches on beside (telemetry, job runners, a
gateway) is off.
"""

import argparse
import base64
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

OFF = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
}
SQLITE, STORE = "sqlite:///", "MLFLOW_BACKEND_STORE_URI"
START_SECONDS, STOP_SECONDS = 120, 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ADMIN, PASSWORD = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"
ANY_QUESTION = "/api/2.0/mlflow/experiments/search?max_results=1"
USERS = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{database}
admin_username = {admin}
admin_password =
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = {seconds}
"""
# A password is slow to check by design, and one upload asks dozens of questions. A process that did
# not change a password itself takes the former one for so long.
CACHED_SECONDS = 15


class RefusalError(Exception):
    """Why the server is not started, or has not started."""


def main(words: list[str]) -> int:
    """Start the server, say where it is, and wait for its end."""
    known, others = parser().parse_known_args(words)
    try:
        return serve(known, others)
    except RefusalError as refusal:
        print(f"runs-server: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Describe the command line; what else is given is for `mlflow server`."""
    described = argparse.ArgumentParser("make runs-server ARGS=...", description=__doc__)
    described.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1")
    described.add_argument("--port", type=int, default=5000)
    described.add_argument(
        "--folder",
        type=Path,
        default=Path(os.environ.get("RUNS_DIR") or ".runs"),
        help="where the users are kept, and the store unless --store (default: .runs)",
    )
    described.add_argument(
        "--store",
        default=os.environ.get(STORE, ""),
        help=f"postgresql://...; default: {STORE}, where nobody else reads its password, else "
        "FOLDER/runs.db",
    )
    described.add_argument("--artifacts", default="", help="s3://...; default: FOLDER/artifacts")
    described.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    described.add_argument("--no-auth", action="store_true", help="let everybody read and write")
    return described


def serve(known: argparse.Namespace, others: list[str]) -> int:
    """Start `mlflow server` and wait for its end, or for Ctrl-C."""
    folder = known.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    store = known.store or f"{SQLITE}{folder / 'runs.db'}"
    os.environ.update(OFF)
    check_tables(store)
    check_port(known.host, known.port)
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--artifacts-destination", known.artifacts or str(folder / "artifacts")]
    command += ["--host", known.host, "--port", str(known.port), "--workers", str(known.workers)]
    command += others
    environ = {**os.environ, STORE: store}
    if known.no_auth:
        warn_if_open(known.host)
    else:
        command += ["--app-name", "basic-auth"]
        environ |= prepare_users(folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    # A group of its own: Ctrl-C comes here alone, and its workers are ended with it.
    server = subprocess.Popen(command, env=environ, start_new_session=True)
    try:
        at = f"http://{'127.0.0.1' if known.host == '0.0.0.0' else known.host}:{known.port}"
        wait_until_it_answers(server, at)
        tell(at, environ, known)
        return server.wait()
    finally:
        end(server)


def check_tables(store: str) -> None:
    """Refuse a database of another version of MLflow: the server would change it unasked."""
    database = Path(store.removeprefix(SQLITE))
    if not store.startswith(SQLITE) or not database.is_file():
        return
    from mlflow.store.db.utils import _get_latest_schema_revision

    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as read:
        try:
            found = read.execute("SELECT version_num FROM alembic_version").fetchall()
        except sqlite3.Error as error:
            raise RefusalError(f"{database}: expected a store of runs, but {error}") from error
    if found != [(_get_latest_schema_revision(),)]:
        raise RefusalError(
            f"{database}: its tables are those of another version of MLflow; "
            "`python -m service.runs upgrade` upgrades a copy and keeps the store as it was"
        )


def check_port(host: str, port: int) -> None:
    """Refuse a port that is taken, before MLflow loads for seconds."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RefusalError(
                f"{host}:{port}: cannot listen there ({error.strerror}); another port: "
                "make runs-server ARGS='--port 5001'"
            ) from error


def warn_if_open(host: str) -> None:
    """Say what it means to let everybody in."""
    if host not in LOOPBACK:
        print(
            f"runs-server: --no-auth, and {host} is not this machine alone: whoever reaches it "
            "may replace any file",
            file=sys.stderr,
        )


def prepare_users(folder: Path) -> dict[str, str]:
    """Return the environment of the users' database; a password is made up once, and told.

    The first start makes the administrator; later ones find it, with the password that it has.
    """
    private = folder / "server"
    private.mkdir(mode=0o700, exist_ok=True)
    database = private / "users.db"
    admin, password = os.environ.get(ADMIN) or "admin", os.environ.get(PASSWORD, "")
    if password and len(password) < 12:
        raise RefusalError(f"{PASSWORD}: expected at least 12 characters, got {len(password)}")
    if not password:
        password = secrets.token_urlsafe(18)
        if not database.exists():
            print(f"user {admin}, password {password} (told this once; note it)", flush=True)
    settings = private / "users.ini"
    # MLflow's own environment wins over the file, so no password is written.
    settings.write_text(USERS.format(database=database, admin=admin, seconds=CACHED_SECONDS))
    return {
        ADMIN: admin,
        PASSWORD: password,
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(32),
    }


def wait_until_it_answers(server: "subprocess.Popen[bytes]", at: str) -> None:
    """Wait until the server is healthy, for a bounded time."""
    deadline = time.monotonic() + START_SECONDS
    while ask(f"{at}/health") != 200:
        if server.poll() is not None:
            raise RefusalError(f"the server ended with code {server.returncode}; it says why above")
        if time.monotonic() > deadline:
            raise RefusalError(f"the server does not answer at {at}/health after {START_SECONDS} s")
        time.sleep(0.3)


def tell(at: str, environ: dict[str, str], known: argparse.Namespace) -> None:
    """Say where the server is, and who may ask it."""
    print(f"MLflow's pages: {at}\nFor scripts:    export MLFLOW_TRACKING_URI={at}", flush=True)
    if known.no_auth:
        print("Everybody may read and write (--no-auth).", flush=True)
        return
    print(
        f"                export MLFLOW_TRACKING_USERNAME={environ[ADMIN]} "
        "MLFLOW_TRACKING_PASSWORD=...",
        flush=True,
    )
    if ask(at + ANY_QUESTION) != 401:
        raise RefusalError("anonymous questions are answered although authentication is on")
    given = bool(os.environ.get(PASSWORD))
    if given and ask(at + ANY_QUESTION, f"{environ[ADMIN]}:{environ[PASSWORD]}") == 401:
        print(
            f"{PASSWORD} has no effect: {environ[ADMIN]} has the password of an earlier start",
            file=sys.stderr,
        )


def ask(url: str, credentials: str = "") -> int:
    """Return the status that a question is answered with; 0 when it is not answered."""
    request = urllib.request.Request(url)
    if credentials:
        encoded = base64.b64encode(credentials.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def end(server: "subprocess.Popen[bytes]") -> None:
    """End the server with all its workers, by force when it takes too long."""
    if server.poll() is None:
        server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(STOP_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
