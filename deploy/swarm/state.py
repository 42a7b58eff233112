"""What runs under a name, read from the swarm: nothing is remembered anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.engine.docker_engine import Engine
from deploy.swarm.api import Listed, Swarm
from deploy.swarm.specs import PROXY, SERVICE, label

MOVING = ("updating", "rollback_started")


@dataclass(frozen=True)
class State:
    """The services of one deployment.

    Parameters
    ----------
    replicas, proxy : dict or None
        The two services, as the engine lists them.
    """

    replicas: Listed | None
    proxy: Listed | None

    @property
    def release(self) -> str:
        """The id of the release that serves, or that an update is bringing; empty when there is
        none.
        """
        return label(self.replicas["Spec"], "release") if self.replicas else ""

    @property
    def previous(self) -> str:
        """The id of the release that served before."""
        return label(self.replicas["Spec"], "previous") if self.replicas else ""

    @property
    def update(self) -> str:
        """Where the latest update stands, in the swarm's words; empty before the first, and before
        it has begun.
        """
        return str((self.replicas or {}).get("UpdateStatus", {}).get("State", ""))

    @property
    def moving(self) -> bool:
        """Whether the swarm is replacing replicas."""
        return self.update in MOVING

    @property
    def times(self) -> int:
        """How often something was rolled out."""
        return times(self.replicas["Spec"]) if self.replicas else 0


def look(engine: Engine, name: str) -> State:
    """Read the state of a deployment from the swarm."""
    by_role = {
        label(service["Spec"], "role"): service for service in Swarm(engine, name).services()
    }
    return State(by_role.get(SERVICE), by_role.get(PROXY))


def times(spec: dict[str, Any]) -> int:
    """Count the rollouts that led to a description."""
    return int(spec["TaskTemplate"].get("ForceUpdate", 0))


def current(service: Listed, task: Listed) -> bool:
    """Say whether a task is one of those that a service wants now, as it wants them now."""
    return wanted(task) and times({"TaskTemplate": task["Spec"]}) == times(service["Spec"])


def wanted(task: Listed) -> bool:
    """Say whether a task is meant to run."""
    return task["DesiredState"] in ("running", "ready", "accepted")


def runs(task: Listed) -> bool:
    """Say whether a task runs: with a health check, that is only when it is healthy."""
    return str(task["Status"]["State"]) == "running"


def failed(task: Listed) -> bool:
    """Say whether a task ended by itself, or never began."""
    return task["Status"]["State"] in ("failed", "rejected", "complete")


def words(task: Listed, nodes: dict[str, Listed]) -> str:
    """Say what became of a task: where, its state, the engine's words, the exit code."""
    status = task["Status"]
    node = nodes.get(task.get("NodeID", ""), {})
    code = status.get("ContainerStatus", {}).get("ExitCode", 0)
    facts = [str(status.get("Err") or status.get("Message", ""))]
    facts += [f"exit code {code}"] if failed(task) and str(code) not in facts[0] else []
    facts += ["killed, as for exceeding the memory limit"] if failed(task) and code == 137 else []
    # A service that is told to stop while it loads ends with 0, and then the swarm does not say why
    # it told it to.
    facts += ["unhealthy, or its process ended by itself"] if status["State"] == "complete" else []
    where = f" on {node['Description']['Hostname']}" if node else ""
    return (
        f"replica {task.get('Slot', 'of the proxy')}{where}: {status['State']}: {'; '.join(facts)}"
    )
