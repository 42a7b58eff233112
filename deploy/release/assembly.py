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
    ConfigurationError, BuildError, EngineError
    """
    doing = "Gathering the files, and asking the entry script for the example's answer"
    with console.step(doing) as found:
        context = gather(config, root, pip_files())
        megabytes = sum(map(len, context.files.values())) / 2**20
        found.append(f"{len(context.files)} files, {megabytes:.1f} MB")
    base = base_image(engine, config.base_image, console)
    image = build_image(engine, config, context, base, console, fresh=fresh)
    identity = release_id(image, config)
    sbom.write(root, context.files["requirements.lock"].decode(), config.name, image)
    content = content_hash(engine, config.name, image)
    return Release(identity, image, config, content, time.time())


def foresee_image(engine: Engine, config: Configuration, root: Path) -> tuple[str, str]:
    """Say which image `make_release` would build; nothing is changed.

    Returns
    -------
    tag, image : str
        Its tag, empty where not even the base image is there, and its id, empty unless it is built.

    Raises
    ------
    ConfigurationError, BuildError, EngineError
    """
    base = engine.image(config.base_image)
    if base is None:
        return "", ""
    tag = image_tag(config, gather(config, root, pip_files()), str(base["Id"]))
    built = engine.image(tag)
    return tag, str(built["Id"]) if built else ""
