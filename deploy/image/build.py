"""Having the engine build an image, or finding the one that was built of the same before.

Next: `deploy.image.sbom`.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque

from deploy.configuration import Configuration
from deploy.console import Console, last_lines
from deploy.contract import CONTENT_HASH
from deploy.engine.docker_engine import Engine
from deploy.engine.labels import COURIER, IMAGE, labels
from deploy.errors import BuildError, EngineError
from deploy.image.context import Context

HOW_TO_MAKE_A_BASE = (
    "where no registry can be reached, `dockerfiles/base.sh` makes a base with debootstrap: "
    "then deploy with BASE_IMAGE=scoring-base:bookworm"
)
KEPT_LINES = 30  # of what the build says, to look at when it fails


def base_image(engine: Engine, name: str, console: Console) -> str:
    """Make sure that the base image is there, and return its id.

    Raises
    ------
    BuildError
        When it cannot be pulled.
    """
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
    """Build the image of a context, or find the one that was built of it before.

    Parameters
    ----------
    engine : Engine
    config : Configuration
    context : Context
    base : str
        The id of the base image.
    console : Console
    fresh : bool, default False
        Build it anew, without the engine's cache.

    Returns
    -------
    str
        The image's id.

    Raises
    ------
    BuildError
        When a step fails; with what the build said last.
    """
    made_from = input_hash(context, base)
    tag = image_tag(config, context, base)
    known = engine.image(tag)
    if known is not None and not fresh:
        console.say(f"Image {tag} is built already")
        return str(known["Id"])
    archive = context.to_tar()
    made_of = {
        "input": made_from,
        "lock": context.digest("requirements.lock"),
        "models": context.digest("app/models/"),
    }
    options = {
        "tag": tag,
        "rm": True,
        "forcerm": True,
        "nocache": fresh,
        "timeout": config.timeouts.build,
        "buildargs": {"BASE_IMAGE": config.base_image, "NAME": config.name},
        "labels": _image_labels(config, base, made_of),
    }
    said: deque[str] = deque(maxlen=KEPT_LINES)

    def on_line(line: str) -> None:
        said.append(line)
        console.detail(line)

    with console.step(f"Building image {tag}") as found:
        try:
            engine.build(archive, options, on_line)
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


def input_hash(context: Context, base: str) -> str:
    """Hash all that an image is made of: the files of its context, and its base."""
    return hashlib.sha256(f"{context.digest()} {base}".encode()).hexdigest()


def image_tag(config: Configuration, context: Context, base: str) -> str:
    """Name an image by what it is made of."""
    return f"{config.name}:{input_hash(context, base)[:12]}"


def content_hash(engine: Engine, name: str, image: str) -> str:
    """Read the hash over the image's files, which its build wrote."""
    reader = engine.create(
        "", {"Image": image, "Labels": labels(name, COURIER), "NetworkDisabled": True}
    )
    try:
        return engine.read_file(reader, CONTENT_HASH).decode().strip()
    finally:
        engine.remove(reader)


def _image_labels(config: Configuration, base: str, made_of: dict[str, str]) -> dict[str, str]:
    """Describe an image: what it is, and the hashes of what it was made from."""
    return {
        "org.opencontainers.image.title": config.name,
        "org.opencontainers.image.description": config.description or "Scores rows and says why",
        "org.opencontainers.image.created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "org.opencontainers.image.base.name": config.base_image,
        "org.opencontainers.image.base.digest": base,
        **labels(config.name, IMAGE, **made_of),
    }
