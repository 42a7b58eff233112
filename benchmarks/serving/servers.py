"""The servers that are measured, each a process tree of its own on a free port."""

import os
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
# The service as it is locked, and its peers: no development tools.
ENVIRONMENT = ROOT / ".venv-bench" / "bin"
# The documents' own stack wants an older numpy.
AZUREML_INTERPRET = ROOT / ".venv-azureml-interpret" / "bin"
GUNICORN = [
    "-m",
    "gunicorn",
    "--worker-class",
    "gthread",
    "--threads",
    "32",
    "--workers",
    "2",
    "--keep-alive",
    "75",
]


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen
    address: str
    seconds_to_start: float

    def memory_mb(self):
        """Memory of the whole tree, shared pages counted once."""
        return sum(one.memory_full_info().pss for one in self._tree()) / 1e6

    def processor_seconds(self):
        """Seconds that the whole tree has computed."""
        return sum(sum(one.cpu_times()[:2]) for one in self._tree())

    def _tree(self):
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]


def ours(port):
    return [
        str(ENVIRONMENT / "python"),
        "-m",
        "service",
        "serve",
        "--http_port",
        str(port),
        "--workers",
        "2",
    ]


def bare(port):
    return [
        str(ENVIRONMENT / "python"),
        *GUNICORN,
        "--preload",
        "--bind",
        f"127.0.0.1:{port}",
        "benchmarks.serving.bare:app",
    ]


def azureml(port):
    return inference_server(ENVIRONMENT, HERE / "azure_score.py", port)


def azureml_interpret(port):
    script = ROOT / "benchmarks" / "documents" / "azureml_score.py"
    return inference_server(AZUREML_INTERPRET, script, port)


def inference_server(environment, script, port):
    return [
        str(environment / "azmlinfsrv"),
        "--entry_script",
        str(script),
        "--port",
        str(port),
        "--worker_count",
        "2",
    ]


COMMANDS = {
    "ours": ours,
    "bare": bare,
    "azureml": azureml,
    "azureml-interpret": azureml_interpret,
}
READY = {"ours": "/ping", "bare": "/ping", "azureml": "/", "azureml-interpret": "/"}


@contextmanager
def running(name, folder):
    """Run a server over the models of a folder; its log goes beside them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {
        **os.environ,
        **one_thread,
        "AZUREML_MODEL_DIR": str(folder),
        "DRAIN_SECONDS": "0",
    }
    with (folder / f"{name}.log").open("wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            COMMANDS[name](port), cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, address + READY[name], log.name)
            yield Server(process, address, time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait(process, url, log):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None:
        try:
            with direct.open(url, timeout=1):
                return
        except OSError:
            time.sleep(0.005)
    raise SystemExit(f"{url}: the server ended with {process.returncode}; see {log}")
