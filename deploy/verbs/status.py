"""What a deployment is doing: its release, and its replicas with their health and memory.

Next: `deploy.render`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from deploy.client import scoring_uri
from deploy.configuration import Configuration
from deploy.engine.labels import LOCK
from deploy.release.release import Release
from deploy.serving import ReplicaStatus, Serving, Troubles
from deploy.target import Target
from deploy.verbs import mutex
from deploy.verbs.ownership import TAKE_OVER, owner_of


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
    owner: str
    is_own: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return asdict(self)

    def mark(self, release: str, serves: str, previous: str) -> str:
        """Return one word for the release that serves, another for the one before, none else."""
        return {self.release: serves, self.previous: previous}.get(release, "")

    def release_line(self, release: dict[str, Any]) -> str:
        """Write one of the releases for people."""
        mark = self.mark(release["id"], "serves", "`rollback` goes there")
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(release["created"]))
        line = f"  release {release['id']} of {when}  {mark}".rstrip()
        models = map("    {text}".format_map, release["models"])
        return "\n".join([line, *models])


def describe(target: Target[Any], state: Serving, here: str, unanswered: str = "") -> Status:
    """Say how what was found is.

    Parameters
    ----------
    target : Target
        On which it runs.
    state : Serving
        What the target's `look` found.
    here : str
        Who asks.
    unanswered : str, default ""
        What is wrong with the published port, which was asked; empty when it answers.
    """
    inventory = state.inventory
    release = inventory.find(state.release)
    config = release.config if release else Configuration(target.name)
    replicas, troubles = target.replicas(state), target.troubles(state)
    if unanswered:
        troubles = replace(troubles, now=(*troubles.now, unanswered))
    holders, owner = inventory.of(LOCK), owner_of(inventory)
    return Status(
        name=target.name,
        state=_verdict(state, replicas, troubles, config.replicas if release else 0),
        release=state.release,
        previous=state.previous,
        description=config.description,
        tags=dict(config.tags),
        properties=dict(config.properties),
        scoring_uri=scoring_uri(target.reached(config)) if release else "",
        replicas=replicas,
        troubles=troubles,
        releases=list(map(_release, inventory.releases)),
        locked_by=mutex.read(holders[0]) if holders else None,
        owner=owner,
        is_own=owner in ("", here),
    )


def as_text(found: Status) -> str:
    """Write a status for people."""
    if found.state == "Absent":
        return f"{found.name}: nothing is deployed; `make deploy` deploys it"
    lines = [f"{found.name}: {found.state}, release {found.release} at {found.scoring_uri}"]
    if not found.is_own:
        lines.append(
            f"  deployed by {found.owner}, not from here: it is touched with {TAKE_OVER} only"
        )
    if found.description:
        lines.append(f"  {found.description}")
    lines += map(_replica_line, found.replicas)
    lines += _kills(found.replicas)
    lines += map("  amiss: {}".format, found.troubles.now)
    lines += map("  before: {}".format, found.troubles.past)
    lines += map(found.release_line, found.releases)
    if found.locked_by:
        held = found.locked_by
        lines.append(f"  locked by {held['who']} ({held['doing']}) since {held['since']}")
    return "\n".join(lines)


def _release(release: Release) -> dict[str, Any]:
    models = [{**origin.facts(), "text": origin.text} for origin in release.origins]
    return {
        "id": release.id,
        "created": release.created,
        "content": release.content,
        "models": models,
    }


def _replica_line(replica: ReplicaStatus) -> str:
    facts = [replica.state, replica.health]
    if replica.restarts:
        facts.append(f"{replica.restarts} restarts")
    used = f"{replica.memory / 2**20:.0f} of " if replica.memory else "at most "
    facts.append(f"{used}{replica.memory_limit / 2**20:.0f} MB")
    facts.append(f"{replica.cpu_cores:g} CPU")
    facts.append(f"since {replica.started[:19].replace('T', ' ')} UTC")
    where = f" on {replica.node}" if replica.node else ""
    return f"  {replica.name}{where}: {', '.join(facts)}"


def _kills(replicas: Iterable[ReplicaStatus]) -> list[str]:
    lines = []
    for replica in replicas:
        if replica.oom_kills:
            lines.append(
                f"  killed for exceeding the memory limit: {replica.oom_kills} x in "
                f"{replica.name}; raise memory_gb, or send fewer rows at once"
            )
    return lines


def _verdict(state: Serving, replicas: list[ReplicaStatus], troubles: Troubles, wanted: int) -> str:
    if not replicas:
        return "Absent"
    if state.moving:
        return "Transitioning"
    fine = sum(replica.fine for replica in replicas)
    as_wanted = fine == len(replicas) == wanted
    return "Healthy" if as_wanted and not troubles.now else "Unhealthy"
