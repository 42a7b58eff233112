"""One host: performs the steps that `deploy.host.plan` plans.

Next: `deploy.host.replicas`.
"""

from __future__ import annotations

from functools import partial

from deploy.configuration import Configuration
from deploy.console import Console
from deploy.contract import PORT_VOLUME, STOP_SECONDS
from deploy.engine.docker_engine import Engine
from deploy.errors import EngineError, RefusedError
from deploy.host import plan, specs
from deploy.host.plan import MakeAnchor, MarkLeaving, Retire, StartAnchor, StartReplicas
from deploy.host.replicas import inspect
from deploy.host.specs import LEAVING
from deploy.host.state import State
from deploy.release.inventory import Inventory
from deploy.release.preflight import wait_until_ready
from deploy.release.release import Release
from deploy.serving import ReplicaStatus
from deploy.steps import Step, without_leftovers
from deploy.target import Target


class HostTarget(Target[State]):
    """One host, whose replicas share a port."""

    kind = "host"

    def __init__(self, engine: Engine, name: str, console: Console) -> None:
        super().__init__(engine, name, console)
        self.performers |= {
            MakeAnchor: self._make_anchor,
            StartAnchor: self._start_anchor,
            StartReplicas: self._start_replicas,
            MarkLeaving: self._mark_leaving,
            Retire: self._retire,
        }

    def check(self, config: Configuration) -> None:
        """Any engine will do."""

    def look(self, inventory: Inventory) -> State:
        """Find out what runs."""
        return State(inventory)

    def replicas(self, state: State) -> list[ReplicaStatus]:
        """Say how every replica is."""
        return [inspect(self.engine, replica) for replica in state.replicas]

    def logs(self, state: State, lines: int | str) -> dict[str, list[str]]:
        """Read the last lines of every replica's log, by its name."""
        found = {}
        for replica in state.replicas:
            found[replica.name] = self.engine.logs(replica.id, lines)
        return found

    def steps(self, state: State, wanted: Release) -> list[Step]:
        """Plan how a release replaces what runs, without losing a request."""
        if not wanted.borrows:
            raise RefusedError(
                f"release {wanted.id} was built by an earlier version of this package, and cannot "
                "share a port as this one does it; deploy its models anew with `up`"
            )
        return plan.steps(state, wanted, afresh=True)

    def mended(self, state: State) -> tuple[list[Step], State]:
        """Plan how what runs becomes what should, and say what will run then."""
        if state.former_anchors:  # the next `up` replaces them; until then they go on as they are
            found = without_leftovers(state.inventory)
        elif state.release:
            recorded = state.inventory.kept(state.release)
            found = plan.steps(state, recorded, afresh=False)
        else:
            found = plan.mending(state)
        return found, plan.after(state, found)

    def removal(self, state: State) -> list[Step]:
        """Plan how the replicas end their requests and are removed, with their anchors."""
        return plan.removal(state)

    def _make_anchor(self, step: MakeAnchor) -> None:
        config = step.release.config
        self._make_port_folder(config.name)
        anchor = self.engine.create(step.name, specs.anchor(step.release, step.name))
        try:
            self.engine.start(anchor)
        except EngineError as error:
            self.engine.remove(anchor)
            raise EngineError(
                f"publishing {config.bind}:{config.port}: {error}; if the port is taken, "
                "choose another: PORT=8081"
            ) from error
        except BaseException:
            self.engine.remove(anchor)
            raise
        self.begun.append(partial(self.engine.remove, anchor))

    def _make_port_folder(self, name: str) -> None:
        courier = self.engine.create("", specs.port_courier(name, self.engine.empty_image()))
        try:
            self.engine.put_files(courier, PORT_VOLUME, specs.port_folder())
        finally:
            self.engine.remove(courier)

    def _start_anchor(self, step: StartAnchor) -> None:
        self.engine.start(step.anchor.id)

    def _start_replicas(self, step: StartReplicas) -> None:
        with self.console.step(step.text) as found:
            started = []
            for name in step.names:
                container = self.engine.create(name, step.body)
                self.begun.append(partial(self._end, container))
                self.engine.start(container)
                started.append(container)
            seconds = 0.0
            for container in started:
                ready = wait_until_ready(self.engine, container, step.release)
                seconds = max(seconds, ready)
            found.append(f"ready after {seconds:.1f} s")

    def _mark_leaving(self, step: MarkLeaving) -> None:
        for replica in step.replicas:
            self.engine.rename(replica.id, replica.name + LEAVING)

    def _retire(self, step: Retire) -> None:
        with self.console.step(step.text):
            self._end(step.replica.id)

    def _end(self, container: str) -> None:
        # One that listens may have requests, a new one too: it is let to answer them.
        self.engine.stop(container, STOP_SECONDS)
        self.engine.remove(container)
