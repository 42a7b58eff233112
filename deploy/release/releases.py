"""The releases that are kept: containers that are never started hold their images and
configurations.
"""

from __future__ import annotations

import time
from pathlib import Path

from deploy.configuration import Configuration
from deploy.console import Console
from deploy.engine.docker_engine import Engine
from deploy.engine.labels import IMAGE, LABEL, RELEASE, STAGE
from deploy.errors import ConflictError, NotDeployedError
from deploy.image import sbom
from deploy.image.build import base_image, build_image, content_hash
from deploy.image.context import gather
from deploy.image.pip_settings import pip_files
from deploy.release.release import Release, release_from, release_id, release_record


def record(engine: Engine, release: Release) -> Release:
    """Keep a release on the engine; one that is kept already stays as it is."""
    name = f"{release.config.name}-release-{release.id}"
    try:
        engine.create(name, release_record(release))
    except ConflictError:
        kept = engine.inspect(name)["Config"]["Labels"]
        return release_from(kept, release.image)
    return release


def releases(engine: Engine, name: str) -> list[Release]:
    """List the releases that are kept, oldest first."""
    kept = engine.containers(name, RELEASE)
    found = [release_from(dict(container.labels), container.image) for container in kept]
    return sorted(found, key=lambda release: release.created)


def forget(engine: Engine, name: str, release: str) -> None:
    """Remove a release's record."""
    for container in engine.containers(name, RELEASE):
        if container.labels[f"{LABEL}release"] == release:
            engine.remove(container.id)


def kept(engine: Engine, name: str, release: str) -> Release:
    """Find a release that is kept.

    Raises
    ------
    NotDeployedError
        When there is no such release; the message names those that are.
    """
    known = {found.id: found for found in releases(engine, name)}
    if release not in known:
        listed = ", ".join(known) or "none"
        raise NotDeployedError(
            f"{name}: expected a release that is kept ({listed}), got {release or 'none'!r}"
        )
    return known[release]


def previous_to(release: Release, serving: str, previous: str) -> str:
    """Say which release a rollout will have as the one before: the one that serves now.

    Deploying the same release once more does not change what rolling back means.
    """
    return previous if serving == release.id else serving


def prune(engine: Engine, name: str, retain: int, needed: set[str]) -> list[str]:
    """Forget the oldest releases beyond `retain`, never those that are needed, and free their
    images.

    Returns
    -------
    list of str
        The releases that are forgotten.
    """
    known = releases(engine, name)
    spare = [release for release in known if release.id not in needed]
    surplus = spare[: max(0, len(known) - retain)]
    for release in surplus:
        forget(engine, name, release.id)
    in_use = {container.image for container in engine.containers(name)}
    unused = [image for image in engine.images(name, IMAGE) if image["Id"] not in in_use]
    # The newest stage stays: the next build starts from it.
    for image in [*unused, *engine.images(name, STAGE)[1:]]:
        engine.remove_image(image["Id"])
    return [release.id for release in surplus]


def build_release(
    engine: Engine, config: Configuration, root: Path, console: Console, fresh: bool = False
) -> Release:
    """Build the image unless it is there, and record the release.

    Parameters
    ----------
    engine : Engine
    config : Configuration
    root : Path
        The folder that the configuration's paths start from.
    console : Console
    fresh : bool, default False
        Whether to build without the engine's cache.

    Raises
    ------
    ConfigurationError, BuildError, EngineError
    """
    base = base_image(engine, config.base_image, console)
    with console.step(
        "Gathering the files, and asking the entry script for the example's answer"
    ) as found:
        context = gather(config, root, pip_files())
        found.append(
            f"{len(context.files)} files, {sum(map(len, context.files.values())) / 2**20:.1f} MB"
        )
    image = build_image(engine, config, context, base, console, fresh=fresh)
    sbom.write(root, context.files["requirements.lock"].decode(), config.name, image)
    release = Release(
        release_id(image, config),
        image,
        config,
        content_hash(engine, config.name, image),
        time.time(),
    )
    return record(engine, release)
