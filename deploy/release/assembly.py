"""From files to a release: the image is built, or is there already.

Next: `deploy.release.inventory`.
"""

from __future__ import annotations

import time
from pathlib import Path

from deploy.configuration import Configuration
from deploy.console import Console
from deploy.engine.docker_engine import Engine
from deploy.image import sbom
from deploy.image.build import base_image, build_image, content_hash, image_tag
from deploy.image.context import gather
from deploy.image.pip_settings import pip_files
from deploy.release.release import Release, release_id


def make_release(
    engine: Engine, config: Configuration, root: Path, console: Console, fresh: bool = False
) -> Release:
    """Build the image unless it is there, and return the release that it makes.

    Parameters
    ----------
    engine : Engine
    config : Configuration
    root : Path
        The folder that the configuration's paths start from; the image's bill of materials is
        written below it.
    console : Console
    fresh : bool, default False
        Whether to build without the engine's cache.

    Raises
    ------
    ConfigurationError, RegistryError, BuildError, EngineError
    """
    doing = "Gathering the files, and asking the entry script for the example's answer"
    with console.step(doing) as found:
        context = gather(config, root, pip_files())
        megabytes = sum(map(len, context.files.values())) / 2**20
        found.append(f"{len(context.files)} files, {megabytes:.1f} MB")
    for origin in context.origins:
        console.say(f"  {origin.text}")
    config = context.config
    base = base_image(engine, config.base_image, console)
    image = build_image(engine, config, context, base, console, fresh=fresh)
    identity = release_id(image, config)
    sbom.write(root, context.files["requirements.lock"].decode(), config.name, image)
    content = content_hash(engine, config.name, image)
    return Release(identity, image, config, content, time.time(), origins=context.origins)


def foresee_release(engine: Engine, config: Configuration, root: Path) -> tuple[str, Release]:
    """Say which release `make_release` would make; nothing is changed.

    Returns
    -------
    tag : str
        The image's; empty where not even the base image is there.
    release : Release
        Its image is empty unless it is built, and so is its content.

    Raises
    ------
    ConfigurationError, RegistryError, BuildError, EngineError
    """
    base = engine.image(config.base_image)
    context = gather(config, root, pip_files())
    tag = image_tag(config, context, str(base["Id"])) if base else ""
    built = engine.image(tag) if tag else None
    image = str(built["Id"]) if built else ""
    identity = release_id(image, context.config)
    return tag, Release(identity, image, context.config, "", time.time(), origins=context.origins)
