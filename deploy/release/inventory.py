"""Everything of one deployment on an engine, listed once and handed on.

Next: `deploy.release.releases`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from deploy.engine.docker_engine import Container, Engine
from deploy.engine.labels import COURIER, PREFLIGHT, RELEASE
from deploy.errors import NotDeployedError
from deploy.release.release import Release, release_from


@dataclass(frozen=True)
class Inventory:
    """The containers of one deployment, running or not, oldest first.

    Parameters
    ----------
    name : str
        The deployment's.
    containers : tuple of Container
    """

    name: str
    containers: tuple[Container, ...] = ()

    def of(self, *roles: str) -> list[Container]:
        """Return the containers that play one of some parts (`deploy.engine.labels`)."""
        return [container for container in self.containers if container.label("role") in roles]

    @cached_property
    def releases(self) -> list[Release]:
        """The releases that are kept, oldest first."""
        found = [release_from(dict(record.labels), record.image) for record in self.of(RELEASE)]
        return sorted(found, key=lambda release: release.created)

    @property
    def leftovers(self) -> list[Container]:
        """What a deployment that was killed has left: preflights and couriers."""
        return self.of(PREFLIGHT, COURIER)

    def find(self, release: str) -> Release | None:
        """Return a release that is kept, by its id, or None."""
        return next((found for found in self.releases if found.id == release), None)

    def kept(self, release: str) -> Release:
        """Return a release that is kept, by its id or by the first digits that only it has.

        Raises
        ------
        NotDeployedError
            When there is no such release; the message names those that are.
        """
        found = self._starting_with(release) if release else []
        if len(found) != 1:
            raise NotDeployedError(
                f"{self.name}: expected a release that is kept ({self._listed()}), got "
                f"{release or 'none'!r}"
            )
        return found[0]

    def _starting_with(self, digits: str) -> list[Release]:
        return [release for release in self.releases if release.id.startswith(digits)]

    def _listed(self) -> str:
        return ", ".join(release.id for release in self.releases) or "none"


def take_inventory(engine: Engine, name: str) -> Inventory:
    """List the containers of a deployment."""
    return Inventory(name, tuple(engine.containers(name)))
