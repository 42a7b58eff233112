"""What a deployment is doing: its release, its replicas and their health, memory and out-of-memory
kills.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from deploy.client import scoring_uri
from deploy.engine.docker_engine import Engine
from deploy.release.releases import releases
from deploy.serving import ReplicaStatus, Troubles
from deploy.target import target_of
from deploy.verbs import mutex


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
    troubles: Troubles
    releases: list[dict[str, Any]]
    locked_by: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return asdict(self)


def status(engine: Engine, name: str) -> Status:
    """Look at a deployment."""
    target = target_of(engine, name)
    state = target.look(engine, name)
    known = releases(engine, name)
    config = next((release.config for release in known if release.id == state.release), None)
    replicas, troubles = target.replicas(engine, name), target.troubles(engine, name)
    return Status(
        name=name,
        state=_verdict(
            replicas, state.moving, bool(troubles.now), config.replicas if config else 0
        ),
        release=state.release,
        previous=state.previous,
        description=config.description if config else "",
        tags=dict(config.tags) if config else {},
        properties=dict(config.properties) if config else {},
        scoring_uri=scoring_uri(target.asked(engine, config)) if config else "",
        replicas=replicas,
        troubles=troubles,
        releases=[{"id": one.id, "created": one.created, "content": one.content} for one in known],
        locked_by=mutex.holder(engine, name),
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
    lines += [f"  amiss: {trouble}" for trouble in found.troubles.now]
    lines += [f"  before: {trouble}" for trouble in found.troubles.past]
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
        f"{f'{replica.memory / 2**20:.0f} of ' if replica.memory else 'at most '}{replica.memory_limit / 2**20:.0f} MB",
        f"{replica.cpu_cores:g} CPU",
        f"since {replica.started[:19].replace('T', ' ')} UTC",
    ]
    return f"  {replica.name}{f' on {replica.node}' if replica.node else ''}: {', '.join(facts)}"


def _verdict(replicas: list[ReplicaStatus], moving: bool, troubled: bool, wanted: int) -> str:
    if not replicas:
        return "Absent"
    if moving:
        return "Transitioning"
    if troubled:
        return "Unhealthy"
    return (
        "Healthy"
        if len(replicas) == wanted and all(replica.fine for replica in replicas)
        else "Unhealthy"
    )
