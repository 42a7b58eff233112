"""An engine that listens on TCP with TLS: a second dockerd of this test's own, with certificates
made here.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from deploy_helpers import ROOT, missing

from deploy.engine.docker_engine import Engine
from deploy.errors import EngineError, UnreachableError

pytestmark = pytest.mark.engine

AUTHORITY = "req -x509 -newkey rsa:2048 -nodes -days 2"
HOLDER = "req -newkey rsa:2048 -nodes"
AUTHORITIES = ("ours", "other")
HOLDERS = {"engine": "subjectAltName=IP:127.0.0.1", "user": "extendedKeyUsage=clientAuth"}


@pytest.fixture(scope="module")
def folder():
    """Certificates of two authorities; a short path, since an engine makes sockets in it."""
    with tempfile.TemporaryDirectory(prefix="tls-", ignore_cleanup_errors=True) as name:
        for authority in AUTHORITIES:
            files = ["-keyout", f"{authority}.key", "-out", f"{authority}.pem"]
            openssl(name, *AUTHORITY.split(), "-subj", f"/CN={authority}", *files)
        for holder, extension in HOLDERS.items():
            asked = ["-subj", f"/CN={holder}", "-addext", extension]
            files = ["-keyout", f"{holder}.key", "-out", f"{holder}.csr"]
            openssl(name, *HOLDER.split(), *asked, *files)
            signed = "-CA ours.pem -CAkey ours.key -CAcreateserial -days 2 -copy_extensions copy"
            files = ["-in", f"{holder}.csr", "-out", f"{holder}.pem"]
            openssl(name, "x509", "-req", *signed.split(), *files)
        yield Path(name)


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def address(folder):
    """The second engine, with nothing in common with the first.

    It runs nothing and needs no network. In a network namespace of its own it cannot take the first
    engine's bridge away, as --bridge=none else does; so it is handed the socket that it listens on,
    in the way of systemd.
    """
    dockerd = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
    if dockerd is None or os.geteuid() != 0:
        missing("there is no dockerd that may be started here")
    own = [
        "--data-root",
        folder / "data",
        "--exec-root",
        folder / "exec",
        "--pidfile",
        folder / "pid",
    ]
    tls = ["--tlsverify", "--tlscacert", folder / "ours.pem", "--tlscert", folder / "engine.pem",
           "--tlskey", folder / "engine.key"]  # fmt: skip
    command = [
        "unshare",
        "--net",
        dockerd,
        *own,
        *tls,
        "--bridge=none",
        "--iptables=false",
        "-H",
        "fd://",
    ]
    with socket.create_server(("127.0.0.1", 0)) as server, (folder / "log").open("w") as log:
        handed = [
            "bash",
            "-c",
            f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&{server.fileno()}',
            "bash",
            *command,
        ]
        process = subprocess.Popen(
            handed, stdout=log, stderr=subprocess.STDOUT, pass_fds=[server.fileno()]
        )
        try:
            wait_for(process, folder / "log")
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            process.kill()
            process.wait()


def wait_for(process, log):
    """Until it says that it listens; the socket itself takes connections from the beginning."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if "API listen on" in log.read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"the second engine does not start:\n{log.read_text()[-2000:]}")


@pytest.fixture
def certificates(folder, tmp_path, monkeypatch):
    """Set DOCKER_CERT_PATH to certificates of choice, while REQUESTS_CA_BUNDLE points elsewhere, as
    a company's may.
    """

    def choose(authority="ours", holder="user"):
        for name, file in (
            ("ca.pem", f"{authority}.pem"),
            ("cert.pem", f"{holder}.pem"),
            ("key.pem", f"{holder}.key"),
        ):
            shutil.copy(folder / file, tmp_path / name)
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "other.pem"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return choose


def test_the_engines_own_authority_counts_and_no_other(address, certificates):
    """From the first question on: connecting, listing, an image made and found, and the command
    line.
    """
    certificates()
    with closing(Engine(address)) as engine:
        assert engine.containers("scoring") == []
        assert engine.image(engine.empty_image())["Id"].startswith("sha256:")
    command = [sys.executable, "-m", "deploy", "status", "--set", f"engine={address}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "nothing is deployed" in done.stdout


@pytest.mark.parametrize(
    ("authority", "holder", "reason"),
    [
        ("other", "user", "CERTIFICATE_VERIFY_FAILED"),
        ("ours", "other", "(?i)bad.certificate|unknown.ca"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_one_sentence(
    address, certificates, authority, holder, reason
):
    """The engine's or the user's: which check failed and what to set, and not that no engine
    answers.
    """
    certificates(authority, holder)
    with pytest.raises(UnreachableError, match=reason) as refusal:
        Engine(address)
    assert "ca.pem, of the authority that signed the engine's certificate" in str(refusal.value)
    assert "no Docker Engine answers" not in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_missing_certificates_are_one_sentence(address, certificates, tmp_path, monkeypatch):
    """A folder without them, and no word of TLS at all."""
    certificates()
    (tmp_path / "cert.pem").unlink()
    with pytest.raises(
        UnreachableError, match=f"no certificates in {tmp_path}; set DOCKER_TLS_VERIFY=1"
    ):
        Engine(address)
    monkeypatch.delenv("DOCKER_TLS_VERIFY")
    monkeypatch.delenv("DOCKER_CERT_PATH")
    with pytest.raises(
        EngineError, match="HTTP request to an HTTPS server; set DOCKER_TLS_VERIFY=1"
    ):
        Engine(address)
