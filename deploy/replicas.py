"""One host's replicas, as the engine and their own control groups see them."""

from __future__ import annotations

from dataclasses import dataclass

from deploy import specs
from deploy.engine import Container, Engine
from deploy.preflight import ask
from deploy.state import look


@dataclass(frozen=True)
class ReplicaStatus:
    """One replica, as the engine and its own control group see it.

    Parameters
    ----------
    name, state, health, started : str
        As the engine says.
    restarts : int
        How often the engine started it again.
    oom_kills : int
        How often something in it was killed for exceeding the memory limit since it started.
        gunicorn starts a killed worker anew and the engine never hears of it, so this is read from
        the control group.
    memory, memory_limit : int
        Bytes; `memory` is 0 where it cannot be asked for.
    cpu_cores : float
        The limit.
    node : str
        The host, where there are several.
    """

    name: str
    state: str
    health: str
    started: str
    restarts: int
    oom_kills: int
    memory: int
    memory_limit: int
    cpu_cores: float
    node: str = ""

    @property
    def fine(self) -> bool:
        """Whether it serves."""
        return self.state == "running" and self.health in ("healthy", "starting")


@dataclass(frozen=True)
class Troubles:
    """What is amiss beside the replicas, and what failed before: sentences."""

    now: tuple[str, ...] = ()
    past: tuple[str, ...] = ()


def replicas(engine: Engine, name: str) -> list[ReplicaStatus]:
    """Look at every replica."""
    return [_replica(engine, replica) for replica in look(engine, name).replicas]


def logs(engine: Engine, name: str, lines: int | str) -> dict[str, list[str]]:
    """Read the last lines of every replica's log, by its name."""
    return {replica.name: engine.logs(replica.id, lines) for replica in look(engine, name).replicas}


def _replica(engine: Engine, replica: Container) -> ReplicaStatus:
    found = engine.inspect(replica.id)
    state, host = found["State"], found["HostConfig"]
    memory = ask(engine, replica.id, "memory") if state["Running"] else {}
    return ReplicaStatus(
        name=replica.name,
        state=state["Status"],
        health=state.get("Health", {}).get("Status", "unknown"),
        started=state["StartedAt"],
        restarts=found["RestartCount"],
        oom_kills=memory.get("oom_kills", 0) or int(state["OOMKilled"]),
        memory=memory.get("used", 0),
        memory_limit=host["Memory"],
        cpu_cores=host["NanoCpus"] / specs.SECOND,
    )
