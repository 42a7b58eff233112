"""The verbs: each takes the lock, heals what an interrupted one left, does its work and writes the
audit.

`deploy.cli` and `deploy.webservice` are two thin ways to call them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.configuration import Configuration
from deploy.console import Console
from deploy.engine.docker_engine import Engine
from deploy.engine.labels import IMAGE, LOCK, STAGE
from deploy.errors import ConfigurationError, DeployError, NotDeployedError
from deploy.interrupts import uninterrupted
from deploy.release import credentials
from deploy.release import specs as release_specs
from deploy.release.preflight import Proof, preflight
from deploy.release.release import Release, release_id
from deploy.release.releases import build_release, forget, kept, prune, record, releases
from deploy.serving import Serving
from deploy.target import target_for, target_of
from deploy.verbs.audit import audited
from deploy.verbs.mutex import locked


@contextmanager
def working(
    engine: Engine, name: str, root: Path, doing: str, console: Console
) -> Iterator[dict[str, Any]]:
    """Hold the lock, write the audit, begin from a sound state and leave one behind."""
    with audited(root, name, doing) as facts, locked(engine, name, doing):
        target_of(engine, name).heal(engine, name, console)
        try:
            yield facts
        except BaseException:
            # Whatever was interrupted wherever: one whole generation stays, and nothing beside it.
            with uninterrupted("tidying up", console), suppress(DeployError):
                target_of(engine, name).heal(engine, name, console)
            raise


def up(
    engine: Engine, config: Configuration, root: Path, console: Console, fresh: bool = False
) -> Release:
    """Build, prove and roll out; what serves is touched last.

    Parameters
    ----------
    engine : Engine
    config : Configuration
    root : Path
        The folder of deploy.yml.
    console : Console
    fresh : bool, default False
        Whether to build without the engine's cache.

    Returns
    -------
    Release
        The one that serves now.

    Raises
    ------
    DeployError
    """
    with working(engine, config.name, root, "up", console) as facts:
        target_for(engine, config)
        check_properties(engine, config)
        release = build_release(engine, config, root, console, fresh)
        facts["release"] = release.id
        credentials.prepare(engine, config, root)
        replace_by(engine, release, console)
        facts["pruned"] = forget_old(engine, config.name, config.retain)
    return release


def replace_by(engine: Engine, release: Release, console: Console) -> None:
    """Prove a release and let it replace what serves."""
    try:
        prove(engine, release, console)
        target_for(engine, release.config).roll_out(engine, release, console)
    except BaseException:
        # A release that never served is nothing to go back to.
        state = look(engine, release.config.name)
        if release.id not in (state.release, state.previous):
            forget(engine, release.config.name, release.id)
        raise


def prove(engine: Engine, release: Release, console: Console) -> Proof:
    """Run the preflight and say what it found."""
    config = release.config
    with console.step(
        f"Proving release {release.id} with {config.cpu_cores:g} CPU and {config.memory_gb:g} GB"
    ) as found:
        proof = preflight(engine, release)
        found.append(f"ready after {proof.seconds:.1f} s, {proof.memory / 2**20:.0f} MB")
        found.append(
            "the example is answered as recorded" if proof.answer else "no example to answer"
        )
    return proof


def rollback(engine: Engine, name: str, root: Path, console: Console, to: str = "") -> Release:
    """Go back to the release that served before, or to any that is kept.

    Raises
    ------
    NotDeployedError
        When there is none.
    """
    with working(engine, name, root, "rollback", console) as facts:
        wanted = to or look(engine, name).previous
        if not wanted:
            raise NotDeployedError(
                f"{name}: no release served before this one; `python -m deploy releases` lists all"
            )
        release = kept(engine, name, _complete(engine, name, wanted))
        facts["release"] = release.id
        prove(engine, release, console)
        target_for(engine, release.config).roll_out(engine, release, console)
    return release


def serving(engine: Engine, name: str) -> Release:
    """Return the release that serves.

    Raises
    ------
    NotDeployedError
        When none does.
    """
    release = look(engine, name).release
    if not release:
        raise nothing(name)
    return kept(engine, name, release)


def nothing(name: str) -> NotDeployedError:
    """Say that nothing is deployed under a name."""
    return NotDeployedError(f"{name}: nothing is deployed; `make deploy` deploys it")


def change(
    engine: Engine, name: str, root: Path, console: Console, doing: str, **changes: Any
) -> Release:
    """Roll the serving image out again with some of its configuration changed."""
    with working(engine, name, root, doing, console) as facts:
        now = serving(engine, name)
        config = replace(now.config, **changes)
        changed = replace(now, id=release_id(now.image, config), config=config)
        facts["release"] = record(engine, changed).id
        credentials.prepare(engine, config, root)
        replace_by(engine, changed, console)
        forget_old(engine, name, config.retain)
    return changed


def rotate_keys(engine: Engine, name: str, root: Path, console: Console) -> None:
    """Make a new primary key and keep the old one as the secondary: clients move over, then rotate
    once more.

    On one host the service reads the file again by itself; in a swarm, where a secret cannot be
    changed, the replicas are replaced one by one.

    Raises
    ------
    NotDeployedError
        When the deployment has no keys.
    """
    with working(engine, name, root, "keys rotate", console):
        now = serving(engine, name)
        known = credentials.read_keys(engine, name) if now.config.auth_enabled else None
        if known is None:
            raise credentials.no_keys(name)
        credentials.write_keys(engine, name, (credentials.new_key(), known[0]))
        try:
            target_of(engine, name).renew(engine, now, console)
        except BaseException:
            credentials.write_keys(engine, name, known)  # those that the replicas still have
            raise


def down(engine: Engine, name: str, root: Path, console: Console) -> None:
    """Remove everything that is deployed under a name: containers, releases, keys, images. Twice is
    as good as once.
    """
    with audited(root, name, "down"), locked(engine, name, "down"):
        target_of(engine, name).remove(engine, name, console)
        for container in engine.containers(name):
            if container.label("role") != LOCK:
                engine.remove(container.id)
        engine.remove_volume(release_specs.secrets_volume(name))
        for image in [*engine.images(name, IMAGE), *engine.images(name, STAGE)]:
            engine.remove_image(image["Id"])
    console.say(f"{name}: nothing is deployed")


def asked(engine: Engine, config: Configuration) -> Configuration:
    """Return a configuration with the address at which its deployment is asked."""
    return target_of(engine, config.name).asked(engine, config)


def look(engine: Engine, name: str) -> Serving:
    """Say what serves under a name."""
    return target_of(engine, name).look(engine, name)


def forget_old(engine: Engine, name: str, retain: int) -> list[str]:
    """Forget the oldest releases beyond `retain`, but not the one that serves nor the one before;
    return their ids.
    """
    state = look(engine, name)
    return prune(engine, name, retain, {state.release, state.previous})


def check_properties(engine: Engine, config: Configuration) -> None:
    """Refuse other properties than those that the deployment began with."""
    known = releases(engine, config.name)
    if known and dict(known[-1].config.properties) != dict(config.properties):
        raise ConfigurationError(
            f"properties: fixed with the first deploy as {dict(known[-1].config.properties)}, got "
            f"{dict(config.properties)}; put what changes into tags, or undeploy first"
        )


def _complete(engine: Engine, name: str, start: str) -> str:
    # The first digits of an id will do, as long as they name one release.
    found = [release.id for release in releases(engine, name) if release.id.startswith(start)]
    return found[0] if len(found) == 1 else start
