"""Keys and certificates as a swarm keeps them: stored once, never changed, never read back.

So the volume of `deploy.release.credentials`, on the manager's engine, stays the place where they
are kept and shown from; the swarm gets copies, whose names have a version. It is made from the
content and a salt of the volume's own: by it one can tell whether two are the same, and nothing
else. Next: `deploy.swarm.api`.
"""

from __future__ import annotations

import hashlib
import hmac

from deploy.configuration import Configuration
from deploy.engine.docker_engine import Body, Engine
from deploy.release import credentials
from deploy.release.credentials import MODE, SALT
from deploy.swarm import specs
from deploy.swarm.api import Swarm
from deploy.swarm.specs import by_name, mounted

KEYS, CERTIFICATE, PRIVATE = "keys", "tls.crt", "tls.key"


def stored(engine: Engine, swarm: Swarm, config: Configuration) -> dict[str, specs.Stored]:
    """Make sure that the swarm has the present keys and certificate.

    Returns
    -------
    dict of str to dict
        By the file's name, the secret as the swarm lists it.
    """
    files = wanted(config)
    if not files:
        return {}
    content = credentials.read(engine, config.name, [SALT, *files])
    known = by_name(swarm.secrets())
    names = {}
    for file in files:
        version = hmac.new(content[SALT], content[file], hashlib.sha256).hexdigest()[:12]
        body = specs.file(config.name, file, version)
        names[file] = body["name"]
        if body["name"] not in known:
            swarm.create_secret(body, content[file])
    known = by_name(swarm.secrets())
    return {file: known[name] for file, name in names.items()}


def wanted(config: Configuration) -> list[str]:
    """Say which files a configuration needs."""
    names = []
    if config.auth_enabled:
        names.append(KEYS)
    if config.tls.certificate:
        names += [CERTIFICATE, PRIVATE]
    return names


def for_replicas(found: dict[str, specs.Stored]) -> list[Body]:
    """Mount them as on one host."""
    return [mounted(secret, "Secret", file, MODE) for file, secret in found.items()]


def for_proxy(found: dict[str, specs.Stored]) -> list[Body]:
    """Mount the certificate, and its key where HAProxy looks for it."""
    places = {CERTIFICATE: CERTIFICATE, PRIVATE: f"{CERTIFICATE}.key"}
    bodies = []
    for file, path in places.items():
        if file in found:
            bodies.append(mounted(found[file], "Secret", path, MODE))
    return bodies
