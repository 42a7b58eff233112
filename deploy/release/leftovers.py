"""What a deployment that was killed has left: preflights and couriers.

Next: `deploy.target`.
"""

from __future__ import annotations

from deploy.console import Console
from deploy.engine.docker_engine import Container, Engine
from deploy.engine.labels import COURIER, PREFLIGHT


def leftovers(engine: Engine, name: str) -> list[Container]:
    """List what a deployment that was killed has left: preflights and couriers."""
    return [
        found for found in engine.containers(name) if found.label("role") in (PREFLIGHT, COURIER)
    ]


def remove_leftovers(engine: Engine, name: str, console: Console) -> bool:
    """Remove them; return whether there were any."""
    found = leftovers(engine, name)
    for container in found:
        console.say(f"Removing {container.name}, left by a deployment that was interrupted")
        engine.remove(container.id)
    return bool(found)
