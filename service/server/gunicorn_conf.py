"""How gunicorn runs the service: ``python -m service serve``, or ``gunicorn -c
python:service.server.gunicorn_conf``.

Gunicorn reads the module's variables and functions by name; its documentation explains each.
Options on its command line come after and win.
"""

import atexit
import gc
import logging
import os
import shutil
import signal
import tempfile
import time
from typing import Any

from gunicorn.arbiter import Arbiter

from service.server.connection_balance import NOBODY, connections
from service.server.drain import SharedFlag, drain_on_sigterm
from service.settings import Settings
from service.web.errors import SettingsError, WebError
from service.web.logs import log_config

try:
    _settings = Settings.from_environment()
except SettingsError as error:
    raise SystemExit(str(error)) from None

MEMORY, ROOM = (
    "/dev/shm",
    16 * 2**20,
)  # the workers' numbers are mapped into memory: without room they would crash


def _folder_in_memory() -> str | None:
    """Return a folder in memory with room: a slow or full disk must not stop the workers. None
    where there is none.
    """
    return MEMORY if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM else None


try:
    _memory = _folder_in_memory()
    _metrics_folder = tempfile.mkdtemp(prefix="scoring-metrics-", dir=_memory)
except OSError as error:
    raise SystemExit(
        f"expected room for small files in {MEMORY} or the folder TMPDIR, but {error}"
    ) from None


def _remove_metrics_folder(owner: int) -> None:
    if os.getpid() == owner:  # and not a worker, which has inherited this
        shutil.rmtree(_metrics_folder, ignore_errors=True)


atexit.register(_remove_metrics_folder, os.getpid())


def _end_at_once(*_: Any) -> None:
    _remove_metrics_folder(os.getpid())
    os._exit(0)


# While models are loaded nothing is in flight; and process 1 of a container hears no signal without
# a handler for it.
signal.signal(signal.SIGTERM, _end_at_once)

# Read by libraries when they are imported, which is after this module.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_folder
os.environ["AZUREML_MODEL_DIR"] = str(_settings.model_folder)
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, str(_settings.processors_each))

wsgi_app = "service.web.app:from_environment()"
bind = _settings.binds
reuse_port = _settings.reuse_port
workers = _settings.n_workers
certfile = None if _settings.tls_cert_file is None else str(_settings.tls_cert_file)
keyfile = None if _settings.tls_key_file is None else str(_settings.tls_key_file)

# Headers of proxies change nothing here. Believed, as those from 127.0.0.1 are by default,
# SCRIPT_NAME makes a 500.
forwarded_allow_ips = ""

# Threads, so that the health routes answer while rows are explained.
worker_class = "service.server.worker.ScoringWorker"
threads = _settings.threads

# The parent loads the models and the workers share that memory. It must never predict: the OpenMP
# threads that a prediction starts do not survive the fork, and the workers would wait for them for
# ever.
preload_app = True

# Longer than the idle time-out of the usual load balancers (60 s), so that it is never gunicorn
# which hangs up first.
keepalive = 75

# After the drain; both together stay below the 30 s that container hosts wait before SIGKILL.
graceful_timeout = max(1, int(29 - _settings.drain))

# A worker that shows no sign of life is killed; a model that holds the interpreter may be silent
# for a deadline.
timeout = int(_settings.deadline) + 30

# Workers prove that they live by touching a file.
worker_tmp_dir = _memory

# A second way to steer the process is one more to guard, and nothing uses it.
control_socket_disable = True

# The service writes its own line for each request.
logconfig_dict = log_config("INFO")
logging.captureWarnings(True)  # into lines of that log


def when_ready(server: Any) -> None:
    """Let SIGTERM begin with a drain, and the workers share what is loaded."""
    drain_on_sigterm(_settings.drain, graceful_timeout)
    # The collector writes into every object that it looks at, which would copy their pages into
    # each worker.
    gc.collect()
    gc.freeze()


_boot_has_failed = SharedFlag()


def post_worker_init(worker: Any) -> None:
    """Score the recorded example before the worker accepts anything: ready means that it has
    worked.
    """
    connections.tell(
        worker.age, 0
    )  # already now: those who come while it starts are left to it for a moment
    try:
        worker.wsgi.extensions["warm_up"]()
    except WebError as error:
        # Gunicorn gives up when one worker ends so, and does not try for ever. It can bear only one
        # of them.
        while _boot_has_failed and worker.alive and worker.is_parent_alive():
            time.sleep(0.1)
        if _boot_has_failed:
            raise SystemExit(0) from None
        _boot_has_failed.set()
        worker.log.error("%s", error)
        raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None


def child_exit(server: Any, worker: Any) -> None:
    """Let the metrics of a worker that has ended go on counting."""
    from prometheus_client import multiprocess

    connections.tell(worker.age, NOBODY)
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
