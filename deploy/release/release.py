"""A release: an image with its configuration, known by its id.

Next: `deploy.release.assembly`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from deploy.configuration import Configuration
from deploy.engine.docker_engine import Body
from deploy.engine.labels import LABEL, RELEASE, labels
from deploy.registry.origin import Origin, from_label, to_label


@dataclass(frozen=True)
class Release:
    """An image with its configuration: immutable, known by its id.

    Parameters
    ----------
    id : str
        Twelve hexadecimal digits over all of it.
    image : str
        The image's id.
    config : Configuration
    content : str
        The hash of the files in the image above its base: two builds of the same input have the
        same.
    created : float
        Seconds since 1970.
    borrows : bool, default True
        Whether its service can take connections from a port that another container keeps; that of
        releases which an earlier version of this package has built cannot.
    origins : tuple of Origin
        The registered models in the image.
    """

    id: str
    image: str
    config: Configuration
    content: str
    created: float
    borrows: bool = True
    origins: tuple[Origin, ...] = ()


def release_record(release: Release) -> Body:
    """Keep a release: a container that is never started holds its image and its configuration."""
    config = release.config
    return {
        "Image": release.image,
        "Labels": labels(
            config.name,
            RELEASE,
            release=release.id,
            content=release.content,
            created=release.created,
            configuration=config.to_json(),
            borrows="yes" if release.borrows else "",
            origins=to_label(release.origins),
        ),
        "NetworkDisabled": True,
    }


def release_from(record_labels: dict[str, str], image: str) -> Release:
    """Read a release back from its record."""
    return Release(
        id=record_labels[f"{LABEL}release"],
        image=image,
        config=Configuration.from_json(record_labels[f"{LABEL}configuration"]),
        content=record_labels[f"{LABEL}content"],
        created=float(record_labels[f"{LABEL}created"]),
        borrows=bool(record_labels.get(f"{LABEL}borrows")),
        origins=from_label(record_labels.get(f"{LABEL}origins", "[]")),
    )


def release_id(image: str, config: Configuration) -> str:
    """Name a release by all that makes it: image, configuration, references to secrets."""
    text = json.dumps([image, asdict(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
