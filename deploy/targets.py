"""Where a deployment runs, behind the same few functions: what differs between targets, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from deploy import replicas, rollout, state
from deploy.console import Console
from deploy.engine import Engine
from deploy.replicas import ReplicaStatus
from deploy.specs import Release


class Serving(Protocol):
    """What serves under a name."""

    @property
    def release(self) -> str:
        """The id of the release that serves; empty when none does."""

    @property
    def previous(self) -> str:
        """The id of the release that served before."""

    @property
    def moving(self) -> bool:
        """Whether it is in the middle of a rollout."""


@dataclass(frozen=True)
class Target:
    """What the verbs need of a target; each function begins with the engine.

    Parameters
    ----------
    look, replicas, logs : function of the deployment's name
        What serves; how its replicas are; the last lines of each.
    roll_out : function of a release and a console
        Replaces what serves, without losing a request.
    heal, remove : function of the deployment's name and a console
        Brings what runs to what should, and says whether anything was amiss; takes everything that runs away.
    """

    look: Callable[[Engine, str], Serving]
    replicas: Callable[[Engine, str], list[ReplicaStatus]]
    logs: Callable[[Engine, str, int | str], dict[str, list[str]]]
    roll_out: Callable[[Engine, Release, Console], None]
    heal: Callable[[Engine, str, Console], bool]
    remove: Callable[[Engine, str, Console], None]


HOST = Target(
    look=state.look,
    replicas=replicas.replicas,
    logs=replicas.logs,
    roll_out=rollout.roll_out,
    heal=rollout.heal,
    remove=rollout.remove,
)


def target_of(engine: Engine, name: str) -> Target:
    """Return the target on which something is deployed."""
    return HOST
