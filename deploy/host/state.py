"""What runs under a name on one host, read from the engine: nothing is remembered anywhere else.

Next: `deploy.host.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from deploy.engine.docker_engine import Container
from deploy.engine.labels import ANCHOR, REPLICA
from deploy.host.specs import LEAVING
from deploy.release.inventory import Inventory
from deploy.release.release import Release


@dataclass(frozen=True)
class State:
    """The containers of one deployment, by the parts that they play on one host.

    Parameters
    ----------
    inventory : Inventory
    """

    inventory: Inventory

    @property
    def anchors(self) -> list[Container]:
        """The anchors: one, or two in the middle of a move to another port."""
        return self.inventory.of(ANCHOR)

    @cached_property
    def generations(self) -> dict[int, list[Container]]:
        """The replicas by the number of their rollout; two numbers only in the middle of one."""
        found: dict[int, list[Container]] = {}
        for container in self.inventory.of(REPLICA):
            found.setdefault(int(container.label("generation")), []).append(container)
        return found

    @property
    def replicas(self) -> list[Container]:
        """All replicas, of every generation."""
        return self.inventory.of(REPLICA)

    @property
    def latest(self) -> int:
        """The number of the latest rollout; 0 when there was none."""
        return max(self.generations, default=0)

    @property
    def serving(self) -> int:
        """The generation to keep.

        Nothing is retired before every new replica is ready. So while the older generation is whole
        and none of it is marked as leaving, the newer one had not been accepted; afterwards it had,
        and the old one may be ending.
        """
        for generation in sorted(self.generations):
            if _stays_whole(self.generations[generation]):
                return generation
        return self.latest

    @property
    def served_by(self) -> list[Container]:
        """The replicas of the generation to keep."""
        return self.generations.get(self.serving, [])

    @property
    def release(self) -> str:
        """The id of the release that serves; empty when none does."""
        return self.served_by[0].label("release") if self.served_by else ""

    @property
    def previous(self) -> str:
        """The id of the release that served before."""
        return self.served_by[0].label("previous") if self.served_by else ""

    @property
    def moving(self) -> bool:
        """Whether it is in the middle of a rollout."""
        return len(self.generations) > 1

    @property
    def former_anchors(self) -> list[Container]:
        """Those that an earlier version of this package has made: they lend no port."""
        return [anchor for anchor in self.anchors if not anchor.label("lends")]

    def anchor_at(self, port: int, bind: str) -> Container | None:
        """Return the anchor that publishes an address and lends it, or None."""
        wanted = (str(port), bind)
        for anchor in self.anchors:
            if anchor.label("lends") and (anchor.label("port"), anchor.label("bind")) == wanted:
                return anchor
        return None

    def serves(self, wanted: Release) -> bool:
        """Say whether all replicas that a release wants run, with their port, and no others."""
        lending = {anchor.name for anchor in self.anchors if anchor.running}
        reached = [each for each in self.replicas if each.running and anchor_of(each) in lending]
        return len(reached) == wanted.config.replicas == len(self.replicas)


def is_leaving(replica: Container) -> bool:
    """Say whether a replica is marked as not to be counted on any more."""
    return replica.name.endswith(LEAVING)


def anchor_of(replica: Container) -> str:
    """Return the name of the anchor whose port a replica borrows."""
    return replica.label("anchor")


def _stays_whole(replicas: list[Container]) -> bool:
    up = [replica for replica in replicas if replica.state in ("running", "restarting")]
    return not any(map(is_leaving, replicas)) and len(up) >= int(replicas[0].label("replicas"))
