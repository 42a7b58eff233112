"""What is done to a deployment, as values: a plan is a list of steps, and nothing has happened yet.

A plan is made by a pure function of what runs and of what is wanted (`deploy.host.plan` and
`deploy.swarm.plan`); a target performs it, and ``--dry-run`` prints it. The steps that all targets
have in common are here. Next: `deploy.serving`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from deploy.engine.docker_engine import Container
from deploy.release.inventory import Inventory
from deploy.release.release import Release, release_record


class Step(ABC):
    """One thing that is done to a deployment."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What it is, as a person reads it while it is done or instead."""

    def change(self, containers: dict[str, Container]) -> None:  # noqa: B027 (most change none)
        """Do to a list of containers, by their ids, what performing the step does to the engine's.

        A step that changes none of them leaves it as it is.
        """


@dataclass(frozen=True)
class Note(Step):
    """A sentence on why the following steps are needed."""

    sentence: str

    @property
    def text(self) -> str:
        """The sentence."""
        return self.sentence


@dataclass(frozen=True)
class Build(Step):
    """Build an image, or find that it is built already."""

    tag: str
    built: bool

    @property
    def text(self) -> str:
        """The image, by its tag."""
        return f"Image {self.tag} is built already" if self.built else f"Building image {self.tag}"


@dataclass(frozen=True)
class Record(Step):
    """Keep a release on the engine, so that one can go back to it.

    Parameters
    ----------
    release : Release
    passing : bool
        Whether it is forgotten when it does not prove itself: it never served, so it is nothing to
        go back to.
    """

    release: Release
    passing: bool

    @property
    def text(self) -> str:
        """The release."""
        return f"Recording release {self.release.id}"

    def change(self, containers: dict[str, Container]) -> None:
        """Put its record to the others."""
        if any(container.label("release") == self.release.id for container in containers.values()):
            return
        name, labels = self.text, release_record(self.release)["Labels"]
        containers[name] = Container(name, name, "created", self.release.image, labels)


@dataclass(frozen=True)
class Prove(Step):
    """Run a release and have it score the recorded example, without a network unless allowed."""

    release: Release

    @property
    def text(self) -> str:
        """The release, its limits, and whether it has a network."""
        config = self.release.config
        network = ", on the engine's network" if config.preflight_network else ""
        return (
            f"Proving release {self.release.id} with {config.cpu_cores:g} CPU and "
            f"{config.memory_gb:g} GB{network}"
        )


@dataclass(frozen=True)
class Accept(Step):
    """The point of no return.

    What was begun before it can be taken back, what follows it is finished.
    """

    release: Release

    @property
    def text(self) -> str:
        """The release that serves from then on."""
        return f"Release {self.release.id} serves"


@dataclass(frozen=True)
class Remove(Step):
    """Remove a container that answers nobody."""

    container: Container
    why: str = ""

    @property
    def text(self) -> str:
        """The container, and why it goes."""
        return f"Removing {self.container.name}{self.why and f', {self.why}'}"

    def change(self, containers: dict[str, Container]) -> None:
        """Leave the container out."""
        containers.pop(self.container.id, None)


@dataclass(frozen=True)
class Forget(Step):
    """Remove the record of a release that is not needed any more."""

    release: Release

    @property
    def text(self) -> str:
        """The release."""
        return f"Forgetting release {self.release.id}"


@dataclass(frozen=True)
class RemoveAll(Step):
    """Remove the releases, keys and images of a deployment that serves no more."""

    name: str

    @property
    def text(self) -> str:
        """The deployment."""
        return f"Removing the releases, keys and images of {self.name}"


def without_leftovers(inventory: Inventory) -> list[Step]:
    """Remove what a deployment that was killed has left: preflights and couriers."""
    why = "left by a deployment that was interrupted"
    return [Remove(container, why) for container in inventory.leftovers]


def pruning(inventory: Inventory, retain: int, needed: set[str]) -> list[Forget]:
    """Forget the oldest releases beyond `retain`, never those that are needed.

    Parameters
    ----------
    inventory : Inventory
    retain : int
    needed : set of str
        The ids of the release that serves and of the one before it.
    """
    spare = [release for release in inventory.releases if release.id not in needed]
    surplus = max(0, len(inventory.releases) - retain)
    return [Forget(release) for release in spare[:surplus]]


def after(inventory: Inventory, plan: Iterable[Step]) -> Inventory:
    """Say which containers there will be when a plan has been performed."""
    containers = {container.id: container for container in inventory.containers}
    for step in plan:
        step.change(containers)
    return replace(inventory, containers=tuple(containers.values()))


def parted(plan: Sequence[Step]) -> tuple[Sequence[Step], Accept | None, Sequence[Step]]:
    """Part a plan into what can be taken back, the point of no return, and what follows it."""
    for at, step in enumerate(plan):
        if isinstance(step, Accept):
            return plan[:at], step, plan[at + 1 :]
    return plan, None, []
