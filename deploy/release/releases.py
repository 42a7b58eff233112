"""The releases that are kept: recorded, forgotten, and their images freed.

Containers that are never started hold their images and configurations.
Next: `deploy.release.specs`.
"""

from __future__ import annotations

from deploy.engine.docker_engine import Engine
from deploy.engine.labels import IMAGE, STAGE
from deploy.errors import ConflictError
from deploy.release.release import Release, release_from, release_record


def record(engine: Engine, release: Release) -> Release:
    """Keep a release on the engine; one that is kept already stays as it is."""
    name = _record_name(release)
    try:
        engine.create(name, release_record(release))
    except ConflictError:
        kept = engine.inspect(name)["Config"]["Labels"]
        return release_from(kept, release.image)
    return release


def forget(engine: Engine, release: Release) -> None:
    """Remove a release's record."""
    engine.remove(_record_name(release))


def previous_to(release: Release, serving: str, previous: str) -> str:
    """Say which release a rollout will have as the one before: the one that serves now.

    Deploying the same release once more does not change what rolling back means.
    """
    return previous if serving == release.id else serving


def remove_unused_images(engine: Engine, name: str, in_use: set[str]) -> None:
    """Free the images of a deployment that no container has; the newest build stage stays.

    The next build starts from that stage.

    Parameters
    ----------
    engine : Engine
    name : str
        The deployment's.
    in_use : set of str
        The ids of the images that containers have.
    """
    for image in engine.images(name, IMAGE):
        if image["Id"] not in in_use:
            engine.remove_image(image["Id"])
    for stage in engine.images(name, STAGE)[1:]:
        engine.remove_image(stage["Id"])


def remove_images(engine: Engine, name: str) -> None:
    """Remove every image of a deployment, and the stages that they were built in."""
    for image in [*engine.images(name, IMAGE), *engine.images(name, STAGE)]:
        engine.remove_image(image["Id"])


def _record_name(release: Release) -> str:
    return f"{release.config.name}-release-{release.id}"
