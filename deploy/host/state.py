"""What runs under a name, read from the engine: nothing is remembered anywhere else."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.contract import PROBE_PORTS
from deploy.engine.docker_engine import Container, Engine
from deploy.engine.labels import ANCHOR, REPLICA
from deploy.host.specs import LEAVING


@dataclass(frozen=True)
class State:
    """The containers of one deployment.

    Parameters
    ----------
    anchors : list of Container
        One, or two in the middle of a move to another port.
    generations : dict of int to list of Container
        The replicas by the number of their rollout; two only in the middle of one.
    """

    anchors: list[Container] = field(default_factory=list)
    generations: dict[int, list[Container]] = field(default_factory=dict)

    @property
    def replicas(self) -> list[Container]:
        """All replicas, of every generation."""
        return [replica for replicas in self.generations.values() for replica in replicas]

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
            replicas = self.generations[generation]
            if any(replica.name.endswith(LEAVING) for replica in replicas):
                continue
            up = [replica for replica in replicas if replica.state in ("running", "restarting")]
            if len(up) >= int(replicas[0].label("replicas")):
                return generation
        return self.latest

    @property
    def free_probe_ports(self) -> list[int]:
        """Ports of the common namespace that no replica uses."""
        used = {int(replica.label("probe-port")) for replica in self.replicas}
        return [port for port in PROBE_PORTS if port not in used]

    @property
    def release(self) -> str:
        """The id of the release that serves; empty when none does."""
        replicas = self.generations.get(self.serving)
        return replicas[0].label("release") if replicas else ""

    @property
    def previous(self) -> str:
        """The id of the release that served before."""
        replicas = self.generations.get(self.serving)
        return replicas[0].label("previous") if replicas else ""

    @property
    def moving(self) -> bool:
        """Whether it is in the middle of a rollout."""
        return len(self.generations) > 1


def look(engine: Engine, name: str) -> State:
    """Read the state of a deployment from the engine."""
    state = State()
    for container in engine.containers(name):
        role = container.label("role")
        if role == ANCHOR:
            state.anchors.append(container)
        elif role == REPLICA:
            state.generations.setdefault(int(container.label("generation")), []).append(container)
    return state
