"""What serves under a name and how its replicas are, whatever it runs on.

Next: `deploy.target`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from deploy.release.inventory import Inventory


class Serving(Protocol):
    """What serves under a name."""

    @property
    def inventory(self) -> Inventory:
        """The containers of the deployment on the engine that was asked."""

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
        return self.state == "running" and self.health == "healthy"


@dataclass(frozen=True)
class Troubles:
    """What is amiss beside the replicas, and what failed before: sentences."""

    now: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
