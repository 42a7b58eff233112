"""What to deploy and how: `deploy.yml`, read into a frozen object.

A key that is missing takes its default, a value that cannot be used is refused with the key's path,
and a key that does not exist is refused too: a misspelt limit is no limit. `deploy.example.yml`
explains every key. Next: `deploy.contract`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from deploy.contract import FEWEST_THREADS, MOST_DRAIN_SECONDS, MOST_WORKERS, VARIABLES
from deploy.errors import ConfigurationError

Check = Callable[[str, Any], Any]

REPOSITORY = r"|[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+"
NAME = r"[a-z]([-a-z0-9]{1,30}[a-z0-9])"
PACKAGE = r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?"
VARIABLE = r"[-._a-zA-Z][-._a-zA-Z0-9]*"  # what Docker, a swarm and Kubernetes all take
# Scalars that are tried out often; the whole of the rest is `--set key=value`.
FROM_ENVIRONMENT = (
    "cpu_cores",
    "memory_gb",
    "replicas",
    "workers",
    "threads",
    "port",
    "base_image",
)
REGISTERED = "models:"  # how the address of a registered model begins
MODEL_URI = r"models:/(?P<name>[^/@:]+)(@(?P<alias>[\w.-]+)|/(?P<version>[1-9][0-9]*))"
BUILD_TOOLS = (
    "RUN apt-get update && apt-get install -y --no-install-recommends g++"
    " && rm -rf /var/lib/apt/lists/*"
)


@dataclass(frozen=True)
class Timeouts:
    """How long each step may take, in seconds.

    Parameters
    ----------
    build : int, default 1800
        For one step of the image's build to say something.
    ready : int, default 60
        From a container's start until its service is ready.
    request : int, default 60
        For one scored request.
    drain : int, default 1
        For which a replica that is told to stop goes on accepting, each answer asking the client to
        connect anew.
    """

    build: int = 1800
    ready: int = 60
    request: int = 60
    drain: int = 1


@dataclass(frozen=True)
class Keys:
    """Where the two bearer keys come from.

    Parameters
    ----------
    primary, secondary : str
        ``env:NAME`` or ``file:PATH``; an empty one is generated.
    """

    primary: str = ""
    secondary: str = ""


@dataclass(frozen=True)
class Tls:
    """The files for HTTPS; both empty for plain HTTP.

    Parameters
    ----------
    certificate : str
        The certificate with its chain, PEM.
    key : str
        Its private key, PEM.
    """

    certificate: str = ""
    key: str = ""


@dataclass(frozen=True)
class Configuration:
    """One deployment, as `deploy.yml` describes it; `deploy.example.yml` documents each key.

    Examples
    --------
    >>> Configuration("scoring", cpu_cores=2.0).memory_gb
    1.0
    """

    name: str
    models: tuple[str, ...] = ("artifacts/original_model.pkl", "artifacts/scoring_explainer.pkl")
    tracking_uri: str = ""
    entry_script: str = "score.py"
    code: tuple[str, ...] = ()
    environment: str = "requirements.lock"
    dockerfile: str = BUILD_TOOLS
    packages: tuple[str, ...] = ()
    base_image: str = "python:3.11-slim-bookworm"
    example: str = "artifacts/examples.json"
    expected: str = ""
    preflight_network: bool = False
    cpu_cores: float = 1.0
    memory_gb: float = 1.0
    scratch_mb: int = 64
    scratch_exec: bool = False
    replicas: int = 1
    workers: int = 0
    threads: int = 0
    port: int = 8080
    bind: str = "127.0.0.1"
    engine: str = ""
    target: str = "host"
    registry: str = ""
    proxy_image: str = "haproxy:3.2"
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    auth_enabled: bool = False
    keys: Keys = Keys()
    tls: Tls = Tls()
    retain: int = 3
    timeouts: Timeouts = Timeouts()

    @property
    def has_secrets(self) -> bool:
        """Whether the replicas need the volume with keys or certificates."""
        return self.auth_enabled or bool(self.tls.certificate)

    @property
    def scheme(self) -> str:
        """``https`` when there is a certificate."""
        return "https" if self.tls.certificate else "http"

    @property
    def registered_models(self) -> dict[int, str]:
        """The models that a registry has, by their place in `models`."""
        return {at: text for at, text in enumerate(self.models) if is_registered(text)}

    @property
    def local_models(self) -> dict[int, str]:
        """The models that are files and folders here, by their place in `models`."""
        return {at: text for at, text in enumerate(self.models) if not is_registered(text)}

    def to_json(self) -> str:
        """Write it for a label: secrets are in it as references only."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Configuration:
        """Read what `to_json` wrote.

        A key that another version of this package wrote has no effect.
        """
        values = json.loads(text)
        known = {key: value for key, value in values.items() if key in CHECKS}
        return configuration(known, source="the release's record")


def configuration(values: Mapping[str, Any], source: str = "deploy.yml") -> Configuration:
    """Check a mapping of keys to values.

    Parameters
    ----------
    values : mapping
        As YAML gives them; ``name`` is the only one that must be there.
    source : str, default "deploy.yml"
        What error messages begin with.

    Raises
    ------
    ConfigurationError
        For a missing name, an unknown key, or a value that cannot be used.

    Examples
    --------
    >>> configuration({"name": "scoring", "timeouts": {"ready": 90}}).timeouts.ready
    90
    >>> configuration({"name": "scoring", "auth_enabled": 1})
    Traceback (most recent call last):
        ...
    deploy.errors.ConfigurationError: deploy.yml: auth_enabled: expected true or false, got 1
    """
    try:
        checked = _known(CHECKS)("", values)
        if "name" not in checked:
            raise ConfigurationError(
                "name: expected the deployment's name, got none; add `name: scoring`"
            )
        config = Configuration(**checked)
        _fit_together(config)
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    return config


def is_registered(model: str) -> bool:
    """Say whether an entry of `models` names a registered model, and not a path.

    Examples
    --------
    >>> is_registered("models:/tumours@champion"), is_registered("my-models/model.pkl")
    (True, False)
    """
    return model.startswith(REGISTERED)


def read(
    path: Path, environ: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None
) -> Configuration:
    """Read a file, then the environment's overrides, then the command line's.

    Parameters
    ----------
    path : Path
        The YAML file.
    environ : mapping, optional
        In place of this process's environment; CPU_CORES, MEMORY_GB, REPLICAS, WORKERS, THREADS,
        PORT and BASE_IMAGE win over the file.
    settings : mapping, optional
        ``{"timeouts.ready": "90"}``: keys with dots and values as YAML writes them; they win over
        both.

    Raises
    ------
    ConfigurationError
        When the file is missing or not YAML, or as `configuration` does.
    """
    values = _yaml_file(path)
    environ = os.environ if environ is None else environ
    for key in FROM_ENVIRONMENT:
        if environ.get(key.upper()):
            values[key] = _yaml_value(key.upper(), environ[key.upper()])
    for dotted, text in (settings or {}).items():
        _set_dotted(values, dotted, _yaml_value(f"--set {dotted}", text))
    return configuration(values, source=path.name)


class _UniqueKeysLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, where YAML's loader would take the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        known = set()
        for key, _ in node.value:
            if key.value in known:
                raise yaml.YAMLError(
                    f"{key.value} stands a second time in line {key.start_mark.line + 1}"
                )
            known.add(key.value)
        return super().construct_mapping(node, deep)


def _set_dotted(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigurationError(
                f"--set {dotted}: {parent} has no keys of its own, it is {values!r}"
            )
    values[last] = value


def _yaml_value(source: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"{source}: expected a value as YAML writes it, got {text!r}"
        ) from error


def _yaml_file(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeysLoader)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: no such file; copy deploy.example.yml to it and edit it"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: expected YAML, but {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: expected `key: value` lines, got {values!r}")
    return values


def _fit_together(config: Configuration) -> None:
    if bool(config.tls.certificate) != bool(config.tls.key):
        raise ConfigurationError("tls: expected a certificate and its key, got one of them")
    if config.timeouts.drain > MOST_DRAIN_SECONDS:
        raise ConfigurationError(
            f"timeouts.drain: expected at most {MOST_DRAIN_SECONDS} seconds, "
            f"got {config.timeouts.drain}"
        )
    if config.scratch_mb >= config.memory_gb * 1024:
        raise ConfigurationError(
            f"scratch_mb: expected less than memory_gb ({config.memory_gb * 1024:g} MB), of which "
            f"it is a part, got {config.scratch_mb}"
        )
    if config.target == "swarm" and config.scratch_exec:
        raise ConfigurationError(
            "scratch_exec: expected false with `target: swarm`, got true: a swarm's engines let no "
            "program in /tmp be started"
        )
    if config.target == "swarm" and config.bind != "0.0.0.0":
        raise ConfigurationError(
            f"bind: expected 0.0.0.0 with `target: swarm`, got {config.bind}: a swarm publishes a "
            "port on all addresses of its managers"
        )


def _refusal(path: str, expected: str, got: Any) -> ConfigurationError:
    return ConfigurationError(f"{path}: expected {expected}, got {got!r}")


def _text(pattern: str = r"(?s).*", expected: str = "text") -> Check:
    def check(path: str, value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise _refusal(path, expected, value)

    return check


def _number(kind: type, low: float, high: float) -> Check:
    def check(path: str, value: Any) -> float:
        accepted = (int,) if kind is int else (int, float)
        if isinstance(value, accepted) and not isinstance(value, bool) and low <= value <= high:
            return kind(value)
        what = "a whole number" if kind is int else "a number"
        raise _refusal(path, f"{what} from {low:g} to {high:g}", value)

    return check


def _zero_or(check: Check) -> Check:
    return lambda path, value: 0 if value == 0 and value is not False else check(path, value)


def _flag(path: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _refusal(path, "true or false", value)


def _list(check: Check, expected: str) -> Check:
    def checked(path: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise _refusal(path, expected, value)
        return tuple(check(f"{path}[{at}]", item) for at, item in enumerate(value))

    return checked


def _pairs(path: str, value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    raise _refusal(path, "`key: value` lines", value)


def _labels(path: str, value: Any) -> dict[str, str]:
    for key, item in _pairs(path, value).items():
        is_text = item is not None and not isinstance(item, list | dict | set | bytes)
        if not isinstance(key, str) or not is_text:
            raise _refusal(f"{path}.{key}", "text", item)
    return {key: _plain(item) for key, item in value.items()}


def _plain(value: Any) -> str:
    # YAML reads `yes` and `1.0` as a flag and a number; a tag is text.
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _variables(path: str, value: Any) -> dict[str, str]:
    for name in _pairs(path, value):
        _check_variable(path, name)
    return _labels(path, value)


def _check_variable(path: str, name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(VARIABLE, name):
        raise _refusal(path, "names of letters, digits, _, . and -, no digit first", name)
    own = name.upper()  # in another case it would be without effect, and be taken for the setting
    if own in VARIABLES:
        subject = "" if name == own else f"{own} is "
        key = VARIABLES[own]
        advice = f"use `{key}` of deploy.yml" if key else "leave it out, there is no key for it"
        raise ConfigurationError(f"{path}.{name}: {subject}set by the deployment itself; {advice}")


def _known(checks: Mapping[str, Check]) -> Check:
    def check(path: str, value: Any) -> dict[str, Any]:
        prefix = f"{path}." if path else ""
        for key in _pairs(path, value):
            if key not in checks:
                raise ConfigurationError(
                    f"{prefix}{key}: no such key; there are {', '.join(checks)}"
                )
        return {key: checks[key](prefix + key, item) for key, item in value.items()}

    return check


def _nested(kind: type, check: Check) -> Check:
    checks = _known(dict.fromkeys((entry.name for entry in fields(kind)), check))
    return lambda path, value: kind(**checks(path, value))


_path = _text(r"[^\0]+", "a path")
_paths = _list(_path, "a list of paths")
_model_uri = _text(
    MODEL_URI, "the address of a registered model, models:/NAME@ALIAS or models:/NAME/VERSION"
)


def _model(path: str, value: Any) -> str:
    text: str = _path(path, value)
    return _model_uri(path, text) if is_registered(text) else text


_path_or_none = _text(r"[^\0]*", "a path")
_reference = _text(r"|(env|file):.+", "env:NAME or file:PATH (a key itself is never written here)")

CHECKS: dict[str, Check] = {
    "name": _text(
        NAME, "3 to 32 lower-case letters, digits and hyphens, a letter first and no hyphen last"
    ),
    "models": _list(_model, "a list of paths, or of registered models as models:/NAME@ALIAS"),
    "tracking_uri": _text(
        r"|(https?://[^@\s]+|sqlite:///[^\0]+)",
        "http(s)://... or sqlite:///..., without a password (MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD in the environment say who asks)",
    ),
    "entry_script": _path,
    "code": _paths,
    "environment": _path,
    "dockerfile": _text(),
    "packages": _list(
        _text(PACKAGE, "the name of a Debian package, such as libpq5 or libpq5=VERSION"),
        "a list of Debian packages",
    ),
    "base_image": _text(r"\S+", "the name of an image"),
    "example": _path_or_none,
    "expected": _path_or_none,
    "preflight_network": _flag,
    "cpu_cores": _number(float, 0.1, 1024),
    "memory_gb": _number(float, 0.1, 16384),
    "scratch_mb": _number(int, 1, 2**24),
    "scratch_exec": _flag,
    "replicas": _number(int, 1, 100),
    "workers": _number(int, 0, MOST_WORKERS),
    "threads": _zero_or(_number(int, FEWEST_THREADS, 1024)),
    "port": _number(int, 1, 65535),
    "bind": _text(r"[0-9a-fA-F:.]+", "an IP address"),
    "engine": _text(r"|(unix|tcp|ssh)://\S+", "unix://, tcp:// or ssh:// and an address"),
    "target": _text("host|swarm", "host or swarm"),
    "registry": _text(
        REPOSITORY, "a repository such as registry.example:5000/scoring, without a tag"
    ),
    "proxy_image": _text(r"\S+", "the name of an image"),
    "description": _text(),
    "tags": _labels,
    "properties": _labels,
    "env": _variables,
    "auth_enabled": _flag,
    "keys": _nested(Keys, _reference),
    "tls": _nested(Tls, _path_or_none),
    "retain": _number(int, 1, 100),
    "timeouts": _nested(Timeouts, _number(int, 1, 86400)),
}
