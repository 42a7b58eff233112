"""Which steps lead from what runs on one host to what is wanted: pure, no engine is asked.

The order is all: start the new replicas beside the old ones, wait until each is ready, and only
then stop the old ones, one by one, gracefully. Until the last new replica is ready any failure
removes the new ones and leaves the old ones as they were; after that the new release has been
accepted, and an interruption only delays the end of the old one. Rolling back is the same with a
release that is kept, scaling with another number of replicas, healing with the release that serves.
Next: `deploy.host.target`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import filterfalse

from deploy.engine.docker_engine import Body, Container
from deploy.host import specs
from deploy.host.specs import LEAVING
from deploy.host.state import State, anchor_of, is_leaving
from deploy.release.release import Release
from deploy.release.releases import previous_to
from deploy.steps import Accept, Note, Remove, Step, without_leftovers
from deploy.steps import after as steps_after

FORMER = (
    "An earlier version of this package has published the port: it is closed and opened anew, and "
    "for some seconds nobody is answered; this happens once"
)


@dataclass(frozen=True)
class MakeAnchor(Step):
    """Create and start the container that keeps a release's port.

    Parameters
    ----------
    name : str
        The container's.
    release : Release
    """

    name: str
    release: Release

    @property
    def text(self) -> str:
        """The address."""
        config = self.release.config
        return f"Publishing {config.bind}:{config.port} by {self.name}"

    def change(self, containers: dict[str, Container]) -> None:
        """Put the anchor to the others."""
        labels = specs.anchor(self.release, self.name)["Labels"]
        containers[self.name] = Container(
            self.name, self.name, "running", self.release.image, labels
        )


@dataclass(frozen=True)
class StartAnchor(Step):
    """Start an anchor that has ended."""

    anchor: Container

    @property
    def text(self) -> str:
        """The anchor."""
        return f"Starting {self.anchor.name} again"

    def change(self, containers: dict[str, Container]) -> None:
        """Let it run."""
        containers[self.anchor.id] = replace(self.anchor, state="running")


@dataclass(frozen=True)
class StartReplicas(Step):
    """Start the replicas of a release, and wait until each is ready.

    Parameters
    ----------
    release : Release
    generation : int
        The number of the rollout.
    previous : str
        The id of the release that serves before.
    anchor : str
        The name of the anchor whose port they borrow.
    """

    release: Release
    generation: int
    previous: str
    anchor: str

    @property
    def text(self) -> str:
        """How many of which release."""
        count = self.release.config.replicas
        return f"Starting {count} x release {self.release.id} beside what serves"

    @property
    def names(self) -> list[str]:
        """The names of the replicas."""
        config = self.release.config
        return [f"{config.name}-{self.generation}-{index}" for index in range(config.replicas)]

    @property
    def body(self) -> Body:
        """The description of each."""
        return specs.replica(self.release, self.anchor, self.generation, self.previous)

    def change(self, containers: dict[str, Container]) -> None:
        """Put the replicas to the others."""
        image, labels = self.release.image, self.body["Labels"]
        for name in self.names:
            containers[name] = Container(name, name, "running", image, labels)


@dataclass(frozen=True)
class MarkLeaving(Step):
    """Mark replicas, in their names, as not to be counted on any more.

    The engine goes on stopping a replica when whoever asked for it is killed.
    """

    replicas: tuple[Container, ...]

    @property
    def text(self) -> str:
        """The replicas."""
        names = ", ".join(replica.name for replica in self.replicas)
        return f"Marking {names} as leaving"

    def change(self, containers: dict[str, Container]) -> None:
        """Give them their new names."""
        for replica in self.replicas:
            containers[replica.id] = replace(replica, name=replica.name + LEAVING)


@dataclass(frozen=True)
class Retire(Step):
    """Let a replica end its requests, and remove it."""

    replica: Container

    @property
    def text(self) -> str:
        """The replica."""
        return f"Retiring {self.replica.name} (release {self.replica.label('release')})"

    def change(self, containers: dict[str, Container]) -> None:
        """Leave the replica out."""
        containers.pop(self.replica.id, None)


def steps(state: State, wanted: Release, *, afresh: bool) -> list[Step]:
    """Plan how a release comes to serve alone: one whole generation on one running anchor.

    Parameters
    ----------
    state : State
        What runs.
    wanted : Release
        What shall serve afterwards.
    afresh : bool
        Whether new replicas are started even where all is as it should be: a rollout. Otherwise
        the plan mends what an interruption, a killed engine or a reboot has left, and is empty
        where nothing has.

    Returns
    -------
    list of Step
    """
    plan = mending(state)
    mended = after(state, plan)
    if not afresh and mended.serves(wanted):
        return plan
    if not afresh:
        plan.append(Note(f"Replacing replicas of release {wanted.id} that are not running"))
    return plan + replacement(mended, wanted)


def removal(state: State) -> list[Step]:
    """Plan how all replicas end their requests and are removed, with their anchors."""
    plan = without_leftovers(state.inventory) + retirement(state.replicas)
    return plan + closing(state, used=set())


def mending(state: State) -> list[Step]:
    """Plan how one generation of what runs is left, and nothing beside it."""
    plan = without_leftovers(state.inventory)
    others = list(state.replicas)
    for replica in state.served_by:
        others.remove(replica)
    if others:
        why = "an interrupted rollout left two side by side"
        plan.append(Note(f"Keeping release {state.release}: {why}"))
        plan += retirement(others)
    return plan + closing(
        state, used={*map(anchor_of, state.served_by), *names(state.former_anchors)}
    )


def replacement(state: State, wanted: Release) -> list[Step]:
    """Plan how a release replaces what runs."""
    config = wanted.config
    plan: list[Step] = []
    for former in state.former_anchors:
        # Two containers cannot publish one port.
        if former.label("port") == str(config.port):
            plan += [Note(FORMER), Remove(former)]
    anchor = state.anchor_at(config.port, config.bind)
    name = anchor.name if anchor else f"{config.name}-anchor-{config.port}-{state.latest + 1}"
    if anchor is None:
        plan.append(MakeAnchor(name, wanted))
    elif not anchor.running:
        plan.append(StartAnchor(anchor))
    previous = previous_to(wanted, state.release, state.previous)
    plan.append(StartReplicas(wanted, state.latest + 1, previous, name))
    plan.append(Accept(wanted))
    plan += retirement(state.replicas)
    return plan + closing(after(state, plan), used={name})


def retirement(replicas: Sequence[Container]) -> list[Step]:
    """Plan how replicas end: first all are marked, then each is stopped."""
    plan: list[Step] = []
    staying = tuple(filterfalse(is_leaving, replicas))
    if staying:
        plan.append(MarkLeaving(staying))
    return plan + list(map(Retire, replicas))


def closing(state: State, used: set[str]) -> list[Step]:
    """Plan how the anchors go, and their ports with them, but for those that are used."""
    return [Remove(anchor) for anchor in state.anchors if anchor.name not in used]


def names(containers: Iterable[Container]) -> set[str]:
    """Return the names of containers."""
    return {container.name for container in containers}


def after(state: State, plan: Iterable[Step]) -> State:
    """Say what will run when a plan has been performed."""
    return State(steps_after(state.inventory, plan))
