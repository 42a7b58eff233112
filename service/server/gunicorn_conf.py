"""How gunicorn runs the service.

It is started by ``python -m service serve``, or by
``gunicorn -c python:service.server.gunicorn_conf``. Gunicorn reads the module's variables and
functions by name; its documentation explains each. Options on its command line come after and win,
where they are not refused.

Next: `service.server.gunicorn_options`.
"""

import gc
import logging
import os
import signal
import sys
from functools import partial
from types import FrameType
from typing import Any

from service.server.gunicorn_options import refuse_options
from service.server.memory_folder import folder_in_memory
from service.server.process import connections, lifecycle, load, metrics_folder, settings, startup
from service.server.startup import ENDING, FAILED
from service.web.logs import log_config

refuse_options(sys.argv[1:], os.environ)

# No process ends with it: the system keeps eight bits of an exit code, and 256 more are the same.
NEVER = 256
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _end_at_once(*_: Any) -> None:
    metrics_folder.remove()
    os._exit(FAILED if startup.has_failed else 0)


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
worker_class = "service.server.worker.scoring_worker.ScoringWorker"
threads = settings.threads

# Each worker loads the models by itself: what init() starts, and the threads of OpenMP, do not
# survive a fork.
preload_app = False

# By default longer than the idle time-out of the usual load balancers (60 s), so that it is never
# gunicorn which hangs up first.
keepalive = settings.keep_alive

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
    """Import what all workers need, once; let SIGTERM begin with a drain.

    Importing starts no thread that a fork would lose: OpenBLAS starts its own anew in each worker.
    """
    import service.server.application  # noqa: F401  after the environment is made

    # The collector writes into every object that it looks at, which would copy their pages into
    # each worker.
    gc.collect()
    gc.freeze()
    # Gunicorn would end the service, and with it the workers that serve, at these exit codes of any
    # worker; child_exit() decides.
    server.WORKER_BOOT_ERROR += NEVER
    server.APP_LOAD_ERROR += NEVER
    # A worker that has sockets of its own opens them when it is ready.
    server.cfg.set("reuse_port", False)
    lifecycle.begin_on_sigterm(settings.drain, graceful_timeout)
    _let_end(server)
    os.register_at_fork(after_in_parent=partial(_hear_signals, os.getpid()))


def pre_fork(server: Any, worker: Any) -> None:
    """Let no signal that ends the service reach a worker before it has an answer to it.

    The handlers that it is born with are the parent's, and would lose it. It waits until the worker
    begins to load.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def _hear_signals(parent: int) -> None:
    if os.getpid() == parent:  # and not in a worker, whose init() may fork too
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _let_end(server: Any) -> None:
    """Let a service that nobody was served by yet end at once, and without complaint."""
    former: dict[int, Any] = {number: signal.getsignal(number) for number in ENDING}

    def end(number: int, frame: FrameType | None) -> None:
        startup.call_off()
        if number == signal.SIGTERM and not connections.has_any():
            server.kill_workers(signal.SIGKILL)
            _end_at_once()
        former[number](number, frame)

    for number in ENDING:
        signal.signal(number, end)


def child_exit(server: Any, worker: Any) -> None:
    """Let the metrics of a worker that has ended go on counting.

    One that ended before it was ready, killed for its memory perhaps, ends the service where no
    other serves: the next one would end so too.
    """
    # It reads the environment when it is imported, which gunicorn has made by now.
    from prometheus_client import multiprocess

    has_started = connections.has(worker.age)
    connections.forget(worker.age)
    load.forget(worker.age)
    multiprocess.mark_process_dead(worker.pid, str(metrics_folder.path))  # type: ignore[no-untyped-call]
    if has_started or (startup.is_called_off and not startup.has_failed):
        return
    then = startup.fail()
    server.log.error("Worker %s ended before it was ready, see above; %s.", worker.pid, then)
    if startup.has_failed:
        os.kill(os.getpid(), signal.SIGTERM)


def on_exit(server: Any) -> None:
    """Tell whoever started the service that it could not."""
    if startup.has_failed:
        raise SystemExit(FAILED)
