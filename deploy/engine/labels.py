"""The labels by which this package knows its own containers, images and services again.

Next: `deploy.engine.hardening`.
"""

from __future__ import annotations

LABEL = "scoring.deploy."
ANCHOR, REPLICA, RELEASE, PREFLIGHT, LOCK, COURIER = (
    "anchor",
    "replica",
    "release",
    "preflight",
    "lock",
    "courier",
)
IMAGE, STAGE = "image", "stage"  # what runs, and what it was built in


def labels(name: str, role: str, **more: object) -> dict[str, str]:
    """Say whose a container is, and which part it plays; everything else about it is in further
    labels.
    """
    return {
        f"{LABEL}name": name,
        f"{LABEL}role": role,
        **{f"{LABEL}{key}": str(value) for key, value in more.items()},
    }
