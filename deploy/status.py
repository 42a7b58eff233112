"""What a deployment is doing: its release, its replicas and their health, memory and out-of-memory kills."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from deploy import locking, specs
from deploy.build import releases
from deploy.engine import Container, Engine
from deploy.preflight import ask
from deploy.scoring import scoring_uri
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
        How often something in it was killed for exceeding the memory limit since it started. gunicorn starts a killed
        worker anew and the engine never hears of it, so this is read from the control group.
    memory, memory_limit : int
        Bytes.
    cpu_cores : float
        The limit.
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

    @property
    def fine(self) -> bool:
        """Whether it serves."""
        return self.state == "running" and self.health in ("healthy", "starting")


@dataclass(frozen=True)
class Status:
    """A deployment as a whole; `state` is Healthy, Unhealthy, Transitioning or Absent."""

    name: str
    state: str
    release: str
    previous: str
    description: str
    tags: dict[str, str]
    properties: dict[str, str]
    scoring_uri: str
    replicas: list[ReplicaStatus]
    releases: list[dict[str, Any]]
    locked_by: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return asdict(self)


def status(engine: Engine, name: str) -> Status:
    """Look at a deployment."""
    state = look(engine, name)
    known = releases(engine, name)
    config = next((release.config for release in known if release.id == state.release), None)
    replicas = [_replica(engine, replica) for replica in state.replicas]
    return Status(
        name=name,
        state=_verdict(replicas, len(state.generations), config.replicas if config else 0),
        release=state.release,
        previous=state.previous,
        description=config.description if config else "",
        tags=dict(config.tags) if config else {},
        properties=dict(config.properties) if config else {},
        scoring_uri=scoring_uri(config) if config else "",
        replicas=replicas,
        releases=[{"id": one.id, "created": one.created, "content": one.content} for one in known],
        locked_by=locking.holder(engine, name),
    )


def as_text(found: Status) -> str:
    """Write a status for people."""
    if found.state == "Absent":
        return f"{found.name}: nothing is deployed; `make deploy` deploys it"
    head = f"{found.name}: {found.state}, release {found.release} at {found.scoring_uri}"
    lines = [head, *([f"  {found.description}"] if found.description else [])]
    lines += [_line(replica) for replica in found.replicas]
    lines += [f"  killed for exceeding the memory limit: {replica.oom_kills} x in {replica.name}; raise memory_gb, or "
              "send fewer rows at once" for replica in found.replicas if replica.oom_kills]  # fmt: skip
    for one in found.releases:
        mark = {found.release: "serves", found.previous: "`rollback` goes there"}.get(one["id"], "")
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one["created"]))
        lines.append(f"  release {one['id']} of {when}  {mark}".rstrip())
    if found.locked_by:
        lines.append(
            f"  locked by {found.locked_by['who']} ({found.locked_by['doing']}) since {found.locked_by['since']}"
        )
    return "\n".join(lines)


def _line(replica: ReplicaStatus) -> str:
    facts = [
        replica.state,
        replica.health,
        *([f"{replica.restarts} restarts"] if replica.restarts else []),
        f"{replica.memory / 2**20:.0f} of {replica.memory_limit / 2**20:.0f} MB",
        f"{replica.cpu_cores:g} CPU",
        f"since {replica.started[:19].replace('T', ' ')} UTC",
    ]
    return f"  {replica.name}: {', '.join(facts)}"


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


def _verdict(replicas: list[ReplicaStatus], generations: int, wanted: int) -> str:
    if not replicas:
        return "Absent"
    if generations > 1:
        return "Transitioning"
    return "Healthy" if len(replicas) == wanted and all(replica.fine for replica in replicas) else "Unhealthy"
