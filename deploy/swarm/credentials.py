"""Keys and certificates as a swarm keeps them: stored once, never changed, never read back.

So the volume of `deploy.release.credentials`, on the manager's engine, stays the place where they are kept and
shown from; the swarm gets copies, whose names have a version. It is made from the content and a
salt of the volume's own: by it one can tell whether two are the same, and nothing else.
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
from deploy.swarm.specs import mounted

KEYS, CERTIFICATE, PRIVATE = "keys", "tls.crt", "tls.key"


def stored(engine: Engine, swarm: Swarm, config: Configuration) -> dict[str, specs.Stored]:
    """Make sure that the swarm has the present keys and certificate, and return them as it lists
    them.
    """
    files = wanted(config)
    if not files:
        return {}
    content = credentials.read(engine, config.name, [SALT, *files])
    for file in files:
        version = hmac.new(content[SALT], content[file], hashlib.sha256).hexdigest()[:12]
        body = specs.file(config.name, file, version)
        if body["name"] not in {secret["Spec"]["Name"] for secret in swarm.secrets()}:
            swarm.create_secret(body, content[file])
        files[file] = body["name"]
    known = {secret["Spec"]["Name"]: secret for secret in swarm.secrets()}
    return {file: known[name] for file, name in files.items()}


def wanted(config: Configuration) -> dict[str, str]:
    """Say which files a configuration needs."""
    names = [KEYS] if config.auth_enabled else []
    names += [CERTIFICATE, PRIVATE] if config.tls.certificate else []
    return dict.fromkeys(names, "")


def for_replicas(found: dict[str, specs.Stored]) -> list[Body]:
    """Mount them as on one host."""
    return [mounted(secret, "Secret", file, MODE) for file, secret in found.items()]


def for_proxy(found: dict[str, specs.Stored]) -> list[Body]:
    """Mount the certificate, and its key where HAProxy looks for it."""
    places = {CERTIFICATE: CERTIFICATE, PRIVATE: f"{CERTIFICATE}.key"}
    return [
        mounted(found[file], "Secret", path, MODE) for file, path in places.items() if file in found
    ]
