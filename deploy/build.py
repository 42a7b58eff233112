"""From files to a release: the image, and the record that keeps it.

Next: `deploy.preflight`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path

from deploy import sbom, specs
from deploy.config import Configuration
from deploy.console import Console
from deploy.context import Context, gather, last_lines
from deploy.engine import Engine
from deploy.errors import BuildError, EngineError
from deploy.pip_settings import pip_files
from deploy.releases import record
from deploy.specs import Release

HOW_TO_MAKE_A_BASE = (
    "where no registry can be reached, `dockerfiles/base.sh` makes a base with debootstrap: then deploy with "
    "BASE_IMAGE=scoring-base:bookworm"
)
KEPT_LINES = 30


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


def base_image(engine: Engine, name: str, console: Console) -> str:
    """Make sure that the base image is there, and return its id."""
    if (found := engine.image(name)) is None:
        with console.step(f"Pulling {name}"):
            try:
                engine.pull(name, console.detail)
            except (BuildError, EngineError) as error:
                raise BuildError(f"{error}; {HOW_TO_MAKE_A_BASE}") from error
        found = engine.image(name)
    if found is None:
        raise BuildError(
            f"pulling {name}: the engine has no such image afterwards; {HOW_TO_MAKE_A_BASE}"
        )
    return str(found["Id"])


def build_image(
    engine: Engine,
    config: Configuration,
    context: Context,
    base: str,
    console: Console,
    *,
    fresh: bool = False,
) -> str:
    """Build the image of a context, or find the one that was built of it before; return its id."""
    made_from = hashlib.sha256(f"{context.digest()} {base}".encode()).hexdigest()
    tag = f"{config.name}:{made_from[:12]}"
    known = engine.image(tag)
    if known is not None and not fresh:
        console.say(f"Image {tag} is built already")
        return str(known["Id"])
    options = {
        "tag": tag,
        "rm": True,
        "forcerm": True,
        "nocache": fresh,
        "timeout": config.timeouts.build,
        "buildargs": {"BASE_IMAGE": config.base_image, "NAME": config.name},
        "labels": specs.image_labels(
            config,
            base,
            input=made_from,
            lock=context.digest("requirements.lock"),
            models=context.digest("app/models/"),
        ),
    }
    said: deque[str] = deque(maxlen=KEPT_LINES)

    def on_line(line: str) -> None:
        said.append(line)
        console.detail(line)

    with console.step(f"Building image {tag}") as found:
        try:
            engine.build(context.to_tar(), options, on_line)
        except BuildError as error:
            raise BuildError(
                f"building {tag}: {error}\n{last_lines(said)}\n"
                "The step that failed is the last one above; nothing that serves was touched."
            ) from error
        image = engine.image(tag) or {}
        found.append(
            f"{(image['Size'] - (engine.image(base) or image)['Size']) / 1e6:.0f} MB above its base"
        )
    return str(image["Id"])


def release_id(image: str, config: Configuration) -> str:
    """Name a release by all that makes it: image, configuration, references to secrets."""
    text = json.dumps([image, asdict(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def content_hash(engine: Engine, name: str, image: str) -> str:
    """Read the hash over the image's files, which its build wrote."""
    reader = engine.create(
        "", {"Image": image, "Labels": specs.labels(name, specs.COURIER), "NetworkDisabled": True}
    )
    try:
        return engine.read_file(reader, "/app/content.sha256").decode().strip()
    finally:
        engine.remove(reader)
