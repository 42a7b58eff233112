"""How gunicorn runs the service.

It is started by ``python -m service serve``, or by
``gunicorn -c python:service.server.gunicorn_conf``. Gunicorn reads the module's variables and
functions by name; its documentation explains each. Options on its command line come after and win.

Next: `service.server.process`.
"""

import gc
import logging
import os
import signal
import time
from typing import Any

from gunicorn.arbiter import Arbiter

from service.server.connection_balance import NOBODY
from service.server.drain import SharedFlag
from service.server.memory_folder import folder_in_memory
from service.server.process import connections, lifecycle, metrics_folder, settings
from service.web.errors import WebError
from service.web.logs import log_config

THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _end_at_once(*_: Any) -> None:
    metrics_folder.remove()
    os._exit(0)


# While models are loaded nothing is in flight; and process 1 of a container hears no signal without
# a handler for it.
signal.signal(signal.SIGTERM, _end_at_once)

wsgi_app = "service.server.application:application()"
bind = settings.binds
reuse_port = settings.reuse_port
workers = settings.n_workers
certfile = None if settings.tls_cert_file is None else str(settings.tls_cert_file)
keyfile = None if settings.tls_key_file is None else str(settings.tls_key_file)

# Gunicorn puts these into the environment before it loads the application. Entry scripts read the
# first. Libraries read the others when they are imported, which must not happen before; a limit on
# threads that is set already stays.
raw_env = [
    f"AZUREML_MODEL_DIR={settings.model_folder}",
    f"PROMETHEUS_MULTIPROC_DIR={metrics_folder.path}",
    *(f"{name}={settings.processors_each}" for name in THREAD_LIMITS if name not in os.environ),
]

# Headers of proxies change nothing here. Believed, as those from 127.0.0.1 are by default,
# SCRIPT_NAME makes a 500.
forwarded_allow_ips = ""

# Threads, so that the health routes answer while rows are explained.
worker_class = "service.server.worker.ScoringWorker"
threads = settings.threads

# The parent loads the models and the workers share that memory. It must never predict: the OpenMP
# threads that a prediction starts do not survive the fork, and the workers would wait for them for
# ever.
preload_app = True

# Longer than the idle time-out of the usual load balancers (60 s), so that it is never gunicorn
# which hangs up first.
keepalive = 75

# After the drain; both together stay below the 30 s that container hosts wait before SIGKILL.
graceful_timeout = max(1, int(29 - settings.drain))

# A worker that shows no sign of life is killed; a model that holds the interpreter may be silent
# for a deadline.
timeout = int(settings.deadline) + 30

# Workers prove that they live by touching a file.
worker_tmp_dir = folder_in_memory()

# A second way to steer the process is one more to guard, and nothing uses it.
control_socket_disable = True

# The service writes its own line for each request.
logconfig_dict = log_config("INFO")
logging.captureWarnings(True)  # into lines of that log


def when_ready(server: Any) -> None:
    """Let SIGTERM begin with a drain, and the workers share what is loaded."""
    lifecycle.begin_on_sigterm(settings.drain, graceful_timeout)
    # The collector writes into every object that it looks at, which would copy their pages into
    # each worker.
    gc.collect()
    gc.freeze()


_boot_has_failed = SharedFlag()


def post_worker_init(worker: Any) -> None:
    """Score the recorded example before the worker accepts anything.

    Ready means that this has worked.
    """
    # Already now: those who come while it starts are left to it for a moment.
    connections.tell(worker.age, 0)
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
    # It reads the environment when it is imported, which gunicorn has made by now.
    from prometheus_client import multiprocess

    connections.tell(worker.age, NOBODY)
    multiprocess.mark_process_dead(worker.pid, str(metrics_folder.path))  # type: ignore[no-untyped-call]
