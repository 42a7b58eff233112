"""What runs under a name, read from the swarm: nothing is remembered anywhere else.

Next: `deploy.swarm.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from deploy.release.inventory import Inventory
from deploy.swarm.api import Listed, Swarm
from deploy.swarm.specs import PROXY, SERVICE, label

NO_CONTAINERS = Inventory("")
MOVING = ("updating", "rollback_started")


@dataclass(frozen=True)
class State:
    """The services of one deployment.

    Parameters
    ----------
    replicas, proxy : dict or None
        The two services, as the engine lists them.
    tasks : tuple of dict
        The tasks of the replicas, past ones too, oldest first.
    inventory : Inventory
        The containers on the manager: releases, and what was left by an interrupted deployment.
    """

    replicas: Listed | None
    proxy: Listed | None
    tasks: tuple[Listed, ...] = ()
    inventory: Inventory = NO_CONTAINERS

    @property
    def spec(self) -> dict[str, Any]:
        """The description of the replicas; empty when there are none."""
        return self.replicas["Spec"] if self.replicas else {}

    @property
    def release(self) -> str:
        """The id of the release that serves, or that an update is bringing; empty for none."""
        return label(self.spec, "release")

    @property
    def previous(self) -> str:
        """The id of the release that served before."""
        return label(self.spec, "previous")

    @property
    def update(self) -> str:
        """Where the latest update stands, in the swarm's words.

        Empty before the first, and before it has begun.
        """
        return str((self.replicas or {}).get("UpdateStatus", {}).get("State", ""))

    @property
    def moving(self) -> bool:
        """Whether the swarm is replacing replicas."""
        return self.update in MOVING

    @property
    def times(self) -> int:
        """How often something was rolled out."""
        return times(self.spec)

    @property
    def latest(self) -> int:
        """The number of the latest rollout, also of one that was taken back.

        Such a one has left tasks with a number that the description has no more.
        """
        return max([self.times, *map(times_of_task, self.tasks)])

    @property
    def ready(self) -> int:
        """How many replicas run as the description wants them now."""
        service = self.replicas
        if service is None:
            return 0
        mine = filter(partial(current, service), self.tasks)
        return sum(map(runs, mine))

    def tasks_of(self, rollout: int) -> list[Listed]:
        """Return the tasks of a rollout, by its number."""
        return [task for task in self.tasks if times_of_task(task) == rollout]

    @property
    def at_work(self) -> bool:
        """Whether the swarm has not finished what it was told."""
        if self.replicas is None:
            return True
        count = int(self.spec["Mode"]["Replicated"]["Replicas"])
        return self.moving or (self.update == "" and self.ready < count)


def look(swarm: Swarm, inventory: Inventory) -> State:
    """Read the state of a deployment from the swarm."""
    services = {label(service["Spec"], "role"): service for service in swarm.services()}
    replicas = services.get(SERVICE)
    tasks = tuple(swarm.tasks(replicas["ID"])) if replicas else ()
    return State(replicas, services.get(PROXY), tasks, inventory)


def times(spec: dict[str, Any]) -> int:
    """Count the rollouts that led to a description."""
    return int(spec.get("TaskTemplate", {}).get("ForceUpdate", 0))


def times_of_task(task: Listed) -> int:
    """Count the rollouts that led to a task."""
    return times({"TaskTemplate": task["Spec"]})


def current(service: Listed, task: Listed) -> bool:
    """Say whether a task is one of those that a service wants now, as it wants them now."""
    return wanted(task) and times_of_task(task) == times(service["Spec"])


def wanted(task: Listed) -> bool:
    """Say whether a task is meant to run."""
    return task["DesiredState"] in ("running", "ready", "accepted")


def runs(task: Listed) -> bool:
    """Say whether a task runs: with a health check, that is only when it is healthy."""
    return str(task["Status"]["State"]) == "running"


def serves(task: Listed) -> bool:
    """Say whether a task runs and is meant to."""
    return wanted(task) and runs(task)


def failed(task: Listed) -> bool:
    """Say whether a task ended by itself, or never began."""
    return task["Status"]["State"] in ("failed", "rejected", "complete")


def node_of(task: Listed, nodes: dict[str, Listed]) -> Listed | None:
    """Return the host of a task, as the swarm lists it; None before it has one."""
    return nodes.get(task.get("NodeID", ""))


def hostname(task: Listed, nodes: dict[str, Listed], otherwise: str = "") -> str:
    """Return the name of a task's host."""
    node = node_of(task, nodes)
    return str(node["Description"]["Hostname"]) if node else otherwise


def words(task: Listed, nodes: dict[str, Listed]) -> str:
    """Say what became of a task: where, its state, the engine's words, the exit code."""
    status, host = task["Status"], hostname(task, nodes)
    facts = [str(status.get("Err") or status.get("Message", ""))]
    if failed(task):
        facts += _end(status, facts[0])
    where = f" on {host}" if host else ""
    slot = task.get("Slot", "of the proxy")
    return f"replica {slot}{where}: {status['State']}: {'; '.join(facts)}"


def _end(status: dict[str, Any], said: str) -> list[str]:
    code = status.get("ContainerStatus", {}).get("ExitCode", 0)
    facts = []
    if str(code) not in said:
        facts.append(f"exit code {code}")
    if code == 137:
        facts.append("killed, as for exceeding the memory limit")
    # A service that is told to stop while it loads ends with 0, and then the swarm does not say why
    # it told it to.
    if status["State"] == "complete":
        facts.append("unhealthy, or its process ended by itself")
    return facts
