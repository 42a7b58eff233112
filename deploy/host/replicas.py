"""One host's replicas, as the engine and their own control groups see them.

Next: `deploy.swarm.specs`.
"""

from __future__ import annotations

from deploy.engine.docker_engine import SECOND, Container, Engine
from deploy.release.preflight import ask
from deploy.serving import ReplicaStatus


def inspect(engine: Engine, replica: Container) -> ReplicaStatus:
    """Say how a replica is."""
    found = engine.inspect(replica.id)
    state, host = found["State"], found["HostConfig"]
    known = state.get("Health", {}).get("Status", "unknown")
    memory = ask(engine, replica.id, "memory") if state["Running"] else {}
    return ReplicaStatus(
        name=replica.name,
        state=state["Status"],
        health=_health(engine, replica, known) if state["Running"] else known,
        started=state["StartedAt"],
        restarts=found["RestartCount"],
        oom_kills=memory.get("oom_kills", 0) or int(state["OOMKilled"]),
        memory=memory.get("used", 0),
        memory_limit=host["Memory"],
        cpu_cores=host["NanoCpus"] / SECOND,
    )


def _health(engine: Engine, replica: Container, known: str) -> str:
    # The engine asks every ten seconds, and takes half a minute to believe that a replica is not
    # ready any more.
    if ask(engine, replica.id, "health")["ok"]:
        return "healthy"
    return "not ready" if known == "healthy" else known
