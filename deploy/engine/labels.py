"""The labels that tell which containers, images and services are this package's own.

Next: `deploy.engine.hardening`.
"""

from __future__ import annotations

LABEL = "scoring.deploy."
ANCHOR, REPLICA, RELEASE, PREFLIGHT, LOCK, OWNER, COURIER = (
    "anchor",
    "replica",
    "release",
    "preflight",
    "lock",
    "owner",
    "courier",
)
IMAGE, STAGE = "image", "stage"  # what runs, and what it was built in


def labels(name: str, role: str, **more: object) -> dict[str, str]:
    """Say whose a container is, which part it plays, and whatever else there is to know of it.

    Parameters
    ----------
    name : str
        The deployment's.
    role : str
        One of the parts above, or one of `deploy.swarm.specs`.
    **more
        Further labels, written as text.
    """
    return {
        f"{LABEL}name": name,
        f"{LABEL}role": role,
        **{f"{LABEL}{key}": str(value) for key, value in more.items()},
    }
