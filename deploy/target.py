"""Where a deployment runs: what every target can do, and how a plan is performed on it.

`deploy.host.target` is one host, `deploy.swarm.target` several. Next: `deploy.client`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from deploy.configuration import Configuration
from deploy.console import Console
from deploy.engine.docker_engine import Engine
from deploy.engine.labels import LOCK
from deploy.interrupts import uninterrupted
from deploy.release.inventory import Inventory
from deploy.release.preflight import preflight
from deploy.release.release import Release
from deploy.release.releases import forget, record, remove_images
from deploy.release.specs import port_volume, secrets_volume
from deploy.serving import ReplicaStatus, Serving, Troubles
from deploy.steps import (
    Forget,
    Note,
    Prove,
    Record,
    Remove,
    RemoveAll,
    Step,
    parted,
)

S = TypeVar("S", bound=Serving)
Performer = Callable[[Any], None]


class Target(ABC, Generic[S]):
    """Where the deployment of a name runs.

    Parameters
    ----------
    engine : Engine
    name : str
        The deployment's.
    console : Console

    Attributes
    ----------
    kind : str
        As `target` of deploy.yml names it.
    """

    kind: str

    def __init__(self, engine: Engine, name: str, console: Console) -> None:
        self.engine, self.name, self.console = engine, name, console
        self.begun: list[Callable[[], None]] = []  # how to take back what was done so far
        self.performers: dict[type[Step], Performer] = {
            Note: self._say,
            Record: self._record,
            Prove: self._prove,
            Remove: self._remove,
            Forget: self._forget,
            RemoveAll: self._remove_all,
        }

    # --- what it is ---

    @abstractmethod
    def check(self, config: Configuration) -> None:
        """Refuse an engine that cannot be the target, before anything is built.

        Raises
        ------
        ConfigurationError, EngineError, RefusedError
        """

    def reached(self, config: Configuration) -> Configuration:
        """Return a configuration with the address, as `bind`, at which its deployment is asked."""
        return config

    # --- what runs ---

    @abstractmethod
    def look(self, inventory: Inventory) -> S:
        """Find out what runs."""

    @abstractmethod
    def replicas(self, state: S) -> list[ReplicaStatus]:
        """Say how every replica is."""

    def troubles(self, state: S) -> Troubles:
        """Say what is amiss beside the replicas, and what failed before."""
        return Troubles()

    @abstractmethod
    def logs(self, state: S, lines: int | str) -> dict[str, list[str]]:
        """Read the last lines of every replica's log, by its name."""

    # --- what is to be done ---

    @abstractmethod
    def steps(self, state: S, wanted: Release) -> list[Step]:
        """Plan how a release replaces what runs, without losing a request."""

    @abstractmethod
    def mended(self, state: S) -> tuple[list[Step], S]:
        """Plan how what runs becomes what should, and say what will run then."""

    @abstractmethod
    def removal(self, state: S) -> list[Step]:
        """Plan how everything that runs is taken away."""

    def renewal(self, state: S, release: Release) -> list[Step]:
        """Plan how the replicas take the present keys: they read a changed file by themselves."""
        return []

    # --- doing it ---

    def heal(self, state: S) -> bool:
        """Bring what runs to what should; return whether anything was done.

        For whatever a killed deployment, a killed engine or a reboot has left.
        """
        plan, _ = self.mended(state)
        self.perform(plan)
        return bool(plan)

    def perform(self, plan: Sequence[Step]) -> None:
        """Perform a plan.

        What fails before the release is accepted, Ctrl-C too, is taken back: what served before
        serves on. From then on Ctrl-C only makes it say that it is finishing.

        Raises
        ------
        RefusedError
            When the release does not prove itself or does not become ready.
        EngineError
        """
        revocable, accepted, rest = parted(plan)
        self.begun = []
        try:
            self._do_all(revocable)
        except BaseException:
            with uninterrupted("taking back what was begun"):
                for undo in reversed(self.begun):
                    undo()
            raise
        if accepted is not None:
            doing = f"release {accepted.release.id} serves already; finishing"
            with uninterrupted(doing, self.console):
                self._do_all(rest)

    def _do_all(self, plan: Sequence[Step]) -> None:
        for step in plan:
            self.performers[type(step)](step)

    def _say(self, step: Note) -> None:
        self.console.say(step.text)

    def _record(self, step: Record) -> None:
        record(self.engine, step.release)
        if step.passing:
            self.begun.append(partial(forget, self.engine, step.release))

    def _prove(self, step: Prove) -> None:
        with self.console.step(step.text) as found:
            proof = preflight(self.engine, step.release)
            found.append(f"ready after {proof.seconds:.1f} s, {proof.memory / 2**20:.0f} MB")
            found.append(
                "the example is answered as recorded" if proof.answer else "no example to answer"
            )

    def _remove(self, step: Remove) -> None:
        if step.why:
            self.console.say(step.text)
        self.engine.remove(step.container.id)

    def _forget(self, step: Forget) -> None:
        forget(self.engine, step.release)

    def _remove_all(self, step: RemoveAll) -> None:
        for container in self.engine.containers(step.name):
            if container.label("role") != LOCK:
                self.engine.remove(container.id)
        for volume in (secrets_volume(step.name), port_volume(step.name)):
            self.engine.remove_volume(volume)
        remove_images(self.engine, step.name)
