"""Gunicorn's own options, and which of them leave the service what it promises.

They stand on gunicorn's command line or in GUNICORN_CMD_ARGS and win over its configuration.
Another kind of worker, HTTP/2 or a preloaded application would take away in silence what only the
worker of this service does: bounds on slow clients, the drain, a start after the fork. So every
option is refused but those that were looked at; what gunicorn learns next is refused too.

Next: `service.server.process`.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from gunicorn.config import Config

HARMLESS = frozenset(
    [
        "config",
        "check_config",
        "print_config",
        "pythonpath",
        "proc_name",
        "pidfile",
        "user",
        "group",
        "umask",
        "initgroups",
        "backlog",
        "worker_connections",
        "worker_tmp_dir",
        "max_requests",
        "max_requests_jitter",
        "limit_request_line",
        "limit_request_fields",
        "limit_request_field_size",
        "sendfile",
        "http_parser",
        "errorlog",
        "loglevel",
        "capture_output",
        "enable_stdio_inheritance",
        "statsd_host",
        "statsd_prefix",
        "dogstatsd_tags",
        "enable_backlog_metric",
        "ciphers",
        "cert_reqs",
        "ca_certs",
        "ssl_version",
        "suppress_ragged_eofs",
        "control_socket_disable",
    ]
)
# Where 0 means no bound to gunicorn, or nobody, and the worker needs a number.
NUMBERS = frozenset(
    ["worker_connections", "limit_request_line", "limit_request_fields", "limit_request_field_size"]
)
INSTEAD = {
    "bind": "set HOST, PORT and PROBE_PORT",
    "workers": "set WORKERS",
    "threads": "set THREADS",
    "timeout": "set DEADLINE_SECONDS",
    "graceful_timeout": "set DRAIN_SECONDS",
    "keepalive": "set KEEP_ALIVE_SECONDS",
    "reuse_port": "set REUSE_PORT",
    "certfile": "set TLS_CERT_FILE",
    "keyfile": "set TLS_KEY_FILE",
    "root_path": "set PATH_PREFIX",
    "raw_env": "set the variables themselves",
    "chdir": "start it in that folder",
}
OTHERWISE = "leave it out"
ADVICE = {**INSTEAD, **dict.fromkeys(NUMBERS, "expected a number above 0")}


def refuse_options(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Refuse what would change in silence how the service works.

    Parameters
    ----------
    arguments : sequence of str
        Gunicorn's command line, without its name.
    environ : mapping of str to str
        The environment of this process.

    Raises
    ------
    SystemExit
        With one sentence that names each such option, and what to do instead.

    Examples
    --------
    >>> refuse_options(["--workers", "3"], {})
    Traceback (most recent call last):
    SystemExit: Gunicorn's options (its command line, GUNICORN_CMD_ARGS): expected none that changes
    how the service works, got --workers (set WORKERS).
    """
    config = Config()
    words = [*shlex.split(environ.get("GUNICORN_CMD_ARGS", "")), *arguments]
    given = vars(config.parser().parse_known_args(words)[0])
    del given["args"]  # the application
    wrong = [name for name in given if not _is_harmless(name, given[name])]
    if wrong:
        told = ", ".join(f"{_spelled(config, name)} ({_advice(name)})" for name in wrong)
        raise SystemExit(
            "Gunicorn's options (its command line, GUNICORN_CMD_ARGS): expected none that changes "
            f"how the service works, got {told}."
        )
    if environ.get("SCRIPT_NAME"):  # gunicorn answers 500 to every path that begins otherwise
        raise SystemExit(
            f"SCRIPT_NAME: expected none, got {environ['SCRIPT_NAME']!r}; set PATH_PREFIX instead."
        )


def _is_harmless(name: str, value: Any) -> bool:
    is_no_bound = name in NUMBERS and value == 0
    return value is None or (name in HARMLESS and not is_no_bound)


def _spelled(config: Config, name: str) -> str:
    return str(config.settings[name].cli[-1])


def _advice(name: str) -> str:
    return ADVICE.get(name, OTHERWISE)
