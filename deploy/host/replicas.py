"""One host's replicas, as the engine and their own control groups see them."""

from __future__ import annotations

from deploy.engine.docker_engine import SECOND, Container, Engine
from deploy.host.state import look
from deploy.release.preflight import ask
from deploy.serving import ReplicaStatus


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
        cpu_cores=host["NanoCpus"] / SECOND,
    )
