"""Keys and certificates, as files in a volume that only the service reads.

They are never in anything that can be listed. A courier, a container that is never started, carries
them in and out. Keys belong to the deployment and not to a release: rolling back never brings back
a key that was replaced. Next: `deploy.host.port_keeper`.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.configuration import Configuration
from deploy.contract import SECRETS_FOLDER
from deploy.engine.docker_engine import Engine
from deploy.engine.hardening import USER
from deploy.errors import ConfigurationError, NotDeployedError, NotFoundError
from deploy.image.context import tar
from deploy.release import specs as release_specs

Pair = tuple[str, str]
MODE = 0o400
SALT = "salt"  # for the names of copies that a swarm keeps


def prepare(
    engine: Engine, config: Configuration, root: Path, environ: Mapping[str, str] | None = None
) -> None:
    """Put the keys and the certificate that a configuration refers to into its volume.

    Parameters
    ----------
    engine : Engine
    config : Configuration
        A key without a reference stays as it is in the volume, or is made up.
    root : Path
        The folder that relative paths start from.
    environ : mapping, optional
        In place of this process's environment.

    Raises
    ------
    ConfigurationError
        When a reference leads nowhere.
    """
    if not config.has_secrets:
        return
    environ = os.environ if environ is None else environ
    files = {}
    if config.tls.certificate:
        files["tls.crt"] = _file("tls.certificate", root / config.tls.certificate)
        files["tls.key"] = _file("tls.key", root / config.tls.key)
    with _courier(engine, config.name) as courier:
        kept = _read(engine, courier, ["keys", SALT])
        if config.auth_enabled:
            files["keys"] = _lines(*_keys(config, root, environ, _pair(kept) or ("", "")))
        if SALT not in kept:
            files[SALT] = new_key().encode()
        _put(engine, courier, files)


def read_keys(engine: Engine, name: str) -> Pair | None:
    """Return the primary and the secondary key; None when the deployment has none."""
    return _pair(read(engine, name, ["keys"]))


def no_keys(name: str) -> NotDeployedError:
    """Say that a deployment has no keys."""
    return NotDeployedError(f"{name}: has no keys; set auth_enabled: true and deploy")


def read(engine: Engine, name: str, files: Iterable[str]) -> dict[str, bytes]:
    """Read files of the volume; those that are not there are left out."""
    with _courier(engine, name) as courier:
        return _read(engine, courier, files)


def write_keys(engine: Engine, name: str, keys: Pair) -> None:
    """Replace both keys; a running service reads them again by itself."""
    with _courier(engine, name) as courier:
        _put(engine, courier, {"keys": _lines(*keys)})


def new_key() -> str:
    """Make up a key: 256 random bits in URL-safe text."""
    return secrets.token_urlsafe(32)


def _keys(config: Configuration, root: Path, environ: Mapping[str, str], old: Pair) -> Pair:
    return (
        _key("primary", config.keys.primary, old[0], root, environ),
        _key("secondary", config.keys.secondary, old[1], root, environ),
    )


def _pair(found: Mapping[str, bytes]) -> Pair | None:
    """Take the keys from the files that were found."""
    if "keys" not in found:
        return None
    primary, secondary = found["keys"].decode().split()
    return primary, secondary


def _lines(primary: str, secondary: str) -> bytes:
    return f"{primary}\n{secondary}\n".encode()


def _key(name: str, reference: str, old: str, root: Path, environ: Mapping[str, str]) -> str:
    kind, _, where = reference.partition(":")
    if kind == "env":
        text = environ.get(where, "").strip()
    elif kind == "file":
        text = _file(f"keys.{name}", root / where).decode().strip()
    else:
        return old or new_key()
    if not text or len(text.split()) != 1:
        raise ConfigurationError(
            f"keys.{name}: expected one word in {reference}, found {len(text.split())}"
        )
    return text


def _file(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{key}: cannot read {path} ({error.strerror})") from error


def _read(engine: Engine, courier: str, files: Iterable[str]) -> dict[str, bytes]:
    found = {}
    for file in files:
        with suppress(NotFoundError):
            found[file] = engine.read_file(courier, f"{SECRETS_FOLDER}/{file}")
    return found


def _put(engine: Engine, courier: str, files: Mapping[str, bytes]) -> None:
    # With the time of the change: by that the service sees that there was one.
    engine.put_files(courier, SECRETS_FOLDER, tar(files, MODE, USER, time.time()))


@contextmanager
def _courier(engine: Engine, name: str) -> Iterator[str]:
    """Have a container with the volume in it for as long as files are carried."""
    body = release_specs.courier(name, engine.empty_image())
    courier = engine.create("", body)
    try:
        yield courier
    finally:
        engine.remove(courier)
