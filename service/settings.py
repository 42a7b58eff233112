"""The settings of the service: the one place that reads the environment, and nothing writes it.

Each setting is a field that knows its variables, how its text is read and what it means; the table
in docs/operating.md is made from them. Only the standard library is needed.

Next: `service.model_origin`.
"""

import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from service.container_limits import cpu_count, memory_limit

# KServe's, SageMaker's, and where `make train` saves.
MODEL_FOLDERS = ("/mnt/models", "/opt/ml/model", "artifacts")
# What the service takes with its first worker, what each further one takes of its own, and what a
# model takes in each of them for a byte of its files.
BASE_MEMORY, WORKER_MEMORY, MODEL_MEMORY = 250 * 2**20, 100 * 2**20, 1.5
MOST_WORKERS = 512
FEWEST_THREADS = 4
SPARE_THREADS = 4  # beyond those that score or wait for it: they answer the health routes


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message names its variable."""


def find_model_folder(named: str | Path | None = None) -> Path:
    """Find the folder with the original model and its scoring explainer: the one rule for it.

    Parameters
    ----------
    named : str or Path, optional
        What AZUREML_MODEL_DIR says, if it says something.

    Returns
    -------
    Path
        The folder that is named, else the first of ``MODEL_FOLDERS`` that exists, else the last of
        them.

    Examples
    --------
    >>> find_model_folder("my-models")
    PosixPath('my-models')
    """
    if named:
        return Path(named)
    for folder in MODEL_FOLDERS:
        if Path(folder).is_dir():
            return Path(folder)
    return Path(MODEL_FOLDERS[-1])


def _whole_number(name: str, text: str, smallest: int = 1, largest: int = 2**31 - 1) -> int:
    # int() would take "8_080", "-1" and Arabic digits too, and no text of 5,000 digits.
    digits = text.strip()
    as_long_as_the_largest = f"[0-9]{{1,{len(str(largest))}}}"
    if re.fullmatch(as_long_as_the_largest, digits) and smallest <= int(digits) <= largest:
        return int(digits)
    raise SettingsError(
        f"{name}: expected a whole number from {smallest} to {largest}, got {text!r}; "
        "correct or unset this environment variable"
    )


def _seconds(name: str, text: str, smallest: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if smallest <= seconds <= 86_400:
        return seconds
    raise SettingsError(
        f"{name}: expected a number of seconds from {smallest:g} to 86400, got {text!r}; "
        "correct or unset this environment variable"
    )


def _flag(name: str, text: str) -> bool:
    known = {"1": True, "true": True, "0": False, "false": False}
    if text.lower() in known:
        return known[text.lower()]
    raise SettingsError(
        f"{name}: expected 1 or 0, got {text!r}; correct or unset this environment variable"
    )


def _segment(name: str, text: str) -> str:
    if not {"/", ":"} & {*text}:
        return text
    raise SettingsError(
        f"{name}: expected a name without / and :, to stand in a route, got {text!r}; "
        "correct or unset this environment variable"
    )


def _prefix(name: str, text: str) -> str:
    if re.fullmatch("(/[A-Za-z0-9._~-]+)+/?", text):
        return text.rstrip("/")
    raise SettingsError(
        f"{name}: expected a path such as /models/credit, got {text!r}; "
        "correct or unset this environment variable"
    )


def _origins(name: str, text: str) -> tuple[str, ...]:
    origins = tuple(text.replace(",", " ").split())
    if origins and all(re.fullmatch(_ORIGIN, origin) for origin in origins):
        return origins
    raise SettingsError(
        f"{name}: expected origins such as https://app.example.com with commas between them, or *, "
        f"got {text!r}; correct or unset this environment variable"
    )


_ORIGIN = r"\*|[a-z][a-z0-9+.-]*://[^\s/?#]+"  # without a path, as browsers send it
# What conda's compilers put into HOST: the kind of machine that they compile for, and no address.
_TRIPLET = re.compile("[a-z0-9_]+-([a-z0-9_]+-)?(linux-[a-z0-9]+|darwin[0-9.]*|mingw[0-9]*)")
_LOCAL = "127.0.0.1"


def _address(name: str, text: str) -> str:
    if _TRIPLET.fullmatch(text):
        return _LOCAL
    try:
        socket.getaddrinfo(text, None)
    except (OSError, UnicodeError):
        raise SettingsError(
            f"{name}: expected an address of this machine, such as 127.0.0.1 or 0.0.0.0, got "
            f"{text!r}; correct or unset this environment variable"
        ) from None
    return text


def unused_values(environ: Mapping[str, str]) -> list[str]:
    """Say in a sentence each what is set and not used.

    Examples
    --------
    >>> unused_values({"HOST": "x86_64-conda-linux-gnu"})
    ['HOST is x86_64-conda-linux-gnu, as conda sets it for compilers: listening on 127.0.0.1.']
    """
    host = environ.get("HOST", "")
    if not _TRIPLET.fullmatch(host):
        return []
    return [f"HOST is {host}, as conda sets it for compilers: listening on {_LOCAL}."]


def _existing_file(name: str, text: str) -> Path:
    if not Path(text).is_file():
        raise SettingsError(
            f"{name}: expected a file, found none at {text!r}; "
            "correct or unset this environment variable"
        )
    return Path(text)


def _path(_: str, text: str) -> Path:
    return Path(text)


def _setting(
    default: Any,
    variables: str,
    meaning: str,
    read: Callable[[str, str], Any] = _whole_number,
    shown: str = "",
) -> Any:
    return field(
        default=default,
        metadata={"variables": variables.split(), "meaning": meaning, "read": read, "shown": shown},
    )


_port = partial(_whole_number, largest=65535)


@dataclass(frozen=True)
class Settings:
    """Everything that can be set about the service; docs/operating.md says what each means.

    Raises
    ------
    SettingsError
        When two of them make no sense together.

    Examples
    --------
    >>> Settings(port=9000).binds
    ['127.0.0.1:9000']
    """

    entry_script: Path = _setting(
        Path("score.py"), "ENTRY_SCRIPT", "the file with `init()` and `run(raw_data)`", _path
    )
    model_dir: Path | None = _setting(
        None,
        "AZUREML_MODEL_DIR",
        "the folder that `score.py` loads from",
        _path,
        "the first that exists of " + ", ".join(f"`{folder}`" for folder in MODEL_FOLDERS),
    )
    model_name: str = _setting(
        "model", "MODEL_NAME", "the name in `/v1` and `/v2` routes", _segment
    )
    host: str = _setting(
        _LOCAL,
        "HOST",
        "the address to listen on; `0.0.0.0` in a container. What conda sets it to for compilers, "
        "as `x86_64-conda-linux-gnu`, is none and has no effect",
        _address,
    )
    port: int = _setting(8080, "PORT SAGEMAKER_BIND_TO_PORT", "the port to listen on", _port)
    probe_port: int | None = _setting(
        None, "PROBE_PORT", "a second port, for health checks of this process alone", _port, "none"
    )
    reuse_port: bool = _setting(
        False, "REUSE_PORT", "1 lets several services share the port (SO_REUSEPORT)", _flag, "0"
    )
    port_from: Path | None = _setting(
        None,
        "PORT_FROM",
        "a Unix socket where another process, which keeps `PORT` open, lends it; here only "
        "`PROBE_PORT` is opened then",
        _path,
        "none",
    )
    replicas_folder: Path | None = _setting(
        None,
        "REPLICAS_FOLDER",
        "a folder that the replicas behind one port share: `/metrics`, asked at that port, adds up "
        "all of them",
        _path,
        "none",
    )
    workers: int | None = _setting(
        None,
        "WORKERS",
        "processes",
        partial(_whole_number, largest=MOST_WORKERS),
        "from the limits on processors and memory",
    )
    threads: int = _setting(
        32,
        "THREADS",
        "requests that a process takes at once, the waiting ones included",
        partial(_whole_number, smallest=FEWEST_THREADS),
    )
    slots: int | None = _setting(
        None,
        "SLOTS",
        "requests that a process computes at once; more wait their turn",
        shown="processors / processes",
    )
    row_threads: int | None = _setting(
        None,
        "ROW_THREADS",
        "threads that explain rows at once, in all processes together: each request that computes "
        "has an even share of them, and one at least; 1 leaves it at that",
        shown="processors; with `SLOTS` as many as it lets compute at once",
    )
    max_in_flight: int | None = _setting(
        None,
        "MAX_IN_FLIGHT",
        "scoring requests in a process, beyond which 429",
        shown=f"`THREADS` − {SPARE_THREADS}",
    )
    max_content_length: int = _setting(
        16 * 2**20, "MAX_CONTENT_LENGTH", "largest body in bytes, beyond which 413"
    )
    max_rows: int = _setting(10_000, "MAX_ROWS", "most rows in a request, beyond which 413")
    deadline: float = _setting(
        30.0,
        "DEADLINE_SECONDS",
        "time for an answer, after which 504",
        partial(_seconds, smallest=0.01),
    )
    start: float = _setting(
        300.0,
        "START_SECONDS",
        "time for a process to load the models and score the example, after which the service ends",
        partial(_seconds, smallest=1),
    )
    slow_client: float = _setting(
        10.0,
        "SLOW_CLIENT_SECONDS",
        "time for a client to send its headers, again its body, and to take each 64 KiB of its "
        "answer",
        partial(_seconds, smallest=0.1),
    )
    keep_alive: int = _setting(
        75,
        "KEEP_ALIVE_SECONDS",
        "time for which a connection without a request is kept open; longer than that of the load "
        "balancer before it, or that one finds it closed and answers 502",
        partial(_whole_number, largest=86_400),
    )
    drain: float = _setting(
        5.0,
        "DRAIN_SECONDS",
        "time from SIGTERM, when readiness turns 503, until nothing more is accepted",
        partial(_seconds, smallest=0),
    )
    path_prefix: str = _setting(
        "",
        "PATH_PREFIX",
        "a prefix under which a proxy asks for every route, as `/models/credit`; without it they "
        "are answered too",
        _prefix,
        "none",
    )
    origins: tuple[str, ...] = _setting(
        (),
        "CORS_ORIGINS",
        "origins whose pages may ask, as `https://app.example.com`, with commas between them; `*` "
        "for all",
        _origins,
        "none",
    )
    dashboard: Path | None = _setting(
        None,
        "DASHBOARD",
        "a saved explanation, shown at `/dashboard/` with the same keys; it shows the rows that "
        "were explained",
        _path,
        "none",
    )
    dashboard_frames: tuple[str, ...] = _setting(
        (),
        "DASHBOARD_FRAMES",
        "origins whose pages may show the dashboard in a frame, as `https://wiki.example.com`",
        _origins,
        "its own",
    )
    keys_file: Path | None = _setting(
        None,
        "AUTH_KEYS_FILE",
        "a file with one or two keys, a line each; scoring then needs `Authorization: Bearer`",
        _existing_file,
        "none",
    )
    tls_cert_file: Path | None = _setting(
        None, "TLS_CERT_FILE", "certificate, for HTTPS", _existing_file, "none"
    )
    tls_key_file: Path | None = _setting(
        None, "TLS_KEY_FILE", "its private key", _existing_file, "none"
    )

    def __post_init__(self) -> None:
        """Refuse settings that make no sense together."""
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise SettingsError(
                "TLS_CERT_FILE, TLS_KEY_FILE: expected both or none, got one of them"
            )
        if not self.binds:
            raise SettingsError("PORT_FROM: expected PROBE_PORT too, for health checks, got none")
        if self.probe_port == self.port:
            raise SettingsError(
                f"PROBE_PORT: expected another port than PORT, got {self.port} for both"
            )
        if self.max_in_flight is not None and self.max_in_flight >= self.threads:
            raise SettingsError(
                f"MAX_IN_FLIGHT: expected less than THREADS ({self.threads}), "
                f"so that health routes answer, got {self.max_in_flight}"
            )

    @property
    def binds(self) -> list[str]:
        """Addresses and ports as gunicorn takes them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        opened: dict[Path | None, int] = {None: self.port}  # a borrowed one is open already
        ports = (opened.get(self.port_from), self.probe_port)
        return [f"{host}:{port}" for port in filter(None, ports)]

    @cached_property  # it looks at every file of the models
    def n_workers(self) -> int:
        """The number of processes: as set, else one a processor as far as the memory goes."""
        if self.workers is not None:
            return self.workers
        limit = memory_limit()
        if limit is None:
            return cpu_count()
        models = MODEL_MEMORY * _size(self.model_folder)
        fitting = 1 + (limit - BASE_MEMORY - models) // (WORKER_MEMORY + models)
        return max(1, min(cpu_count(), int(fitting)))

    @property
    def processors_each(self) -> int:
        """The processors that each process has for itself."""
        return max(1, cpu_count() // self.n_workers)

    @property
    def n_slots(self) -> int:
        """How many requests a process computes at once."""
        return self.processors_each if self.slots is None else self.slots

    @property
    def n_row_threads(self) -> int:
        """How many threads explain rows at once, in all processes together."""
        if self.row_threads is not None:
            return self.row_threads
        return cpu_count() if self.slots is None else min(cpu_count(), self.slots * self.n_workers)

    @property
    def n_in_flight(self) -> int:
        """How many scoring requests a process holds."""
        if self.max_in_flight is not None:
            return self.max_in_flight
        return max(1, self.threads - SPARE_THREADS)

    @property
    def model_folder(self) -> Path:
        """The folder with the models; see :func:`find_model_folder`."""
        return find_model_folder(self.model_dir)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from environment variables; an unset or empty one leaves the default.

        Parameters
        ----------
        environ : mapping of str to str, optional
            What to read in place of the environment of this process.

        Raises
        ------
        SettingsError
            When a value cannot be used; the message names the variable.

        Examples
        --------
        >>> Settings.from_environment({"PORT": "9000"}).port
        9000
        """
        environ = os.environ if environ is None else environ
        given = {}
        for setting in fields(cls):
            name = _first_set(setting.metadata["variables"], environ)
            if name is not None:
                given[setting.name] = setting.metadata["read"](name, environ[name])
        return cls(**given)


def _size(folder: Path) -> int:
    """Return the bytes of all files in a folder and below; 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _first_set(names: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return the first of some variables that is set and not empty; None where none is."""
    for name in names:
        if environ.get(name):
            return name
    return None


def settings_table() -> str:
    """Return the settings as the table of docs/operating.md."""
    lines = ["| setting (environment) | default | meaning |", "|---|---|---|"]
    for setting in fields(Settings):
        assert setting.default is not MISSING
        names = ", ".join(f"`{name}`" for name in setting.metadata["variables"])
        default = setting.metadata["shown"] or f"`{setting.default}`"
        lines.append(f"| {names} | {default} | {setting.metadata['meaning']} |")
    return "\n".join(lines) + "\n"
