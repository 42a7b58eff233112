"""Which steps lead from what runs in a swarm to what is wanted: pure, no engine is asked.

The swarm itself replaces the replicas, one at a time: it starts a new one, waits until it is
healthy, takes an old one out of its DNS and stops it; the proxy follows, and asks another replica
where one hangs up. A new replica that fails within the monitored time takes the whole update back.
So the steps say what the swarm is told. Rolling back is the same with a release that is kept,
scaling with another number of replicas. Next: `deploy.swarm.watch`.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.configuration import Configuration
from deploy.errors import ConfigurationError
from deploy.release.release import Release
from deploy.release.releases import previous_to
from deploy.steps import Accept, Note, Step, without_leftovers
from deploy.swarm.api import Listed
from deploy.swarm.state import State


@dataclass(frozen=True)
class FetchProxy(Step):
    """Pull the image of the proxy."""

    image: str

    @property
    def text(self) -> str:
        """The image."""
        return f"Pulling {self.image}"


@dataclass(frozen=True)
class Publish(Step):
    """Send the image of a release to where the nodes pull it from."""

    release: Release

    @property
    def tag(self) -> str:
        """The image's tag in the registry."""
        return self.release.image.removeprefix("sha256:")[:12]

    @property
    def text(self) -> str:
        """The image's name in the registry."""
        return f"Sending the image to {self.release.config.registry}:{self.tag}"


@dataclass(frozen=True)
class UpdateReplicas(Step):
    """Tell the swarm which replicas are wanted, and wait until it has them.

    Parameters
    ----------
    release : Release
    previous : str
        The id of the release that serves before.
    times : int
        The number of the rollout.
    service : dict or None
        The service that is there, as the engine lists it.
    """

    release: Release
    previous: str
    times: int
    service: Listed | None

    @property
    def text(self) -> str:
        """How many of which release."""
        count = self.release.config.replicas
        return f"Starting {count} x release {self.release.id}, one replica at a time"


@dataclass(frozen=True)
class UpdateProxy(Step):
    """Put the proxy in front of the replicas, unless it stands there as it should."""

    config: Configuration

    @property
    def text(self) -> str:
        """The port."""
        return f"Starting the proxy on port {self.config.port} of every manager"


@dataclass(frozen=True)
class Spread(Step):
    """Have the swarm place the replicas once more where all are on one host.

    The swarm counts the replicas that are still to be stopped: it may put all new ones on one
    host, and losing that would lose them all. The next round finds the other hosts empty.
    """

    release: Release

    @property
    def text(self) -> str:
        """Why."""
        return "All replicas are on one host: one more round to spread them"


@dataclass(frozen=True)
class Tidy(Step):
    """Remove the secrets and configs that no service uses any more."""

    @property
    def text(self) -> str:
        """What goes."""
        return "Removing secrets and configs that no service uses"


@dataclass(frozen=True)
class FinishUpdate(Step):
    """Wait until the swarm has finished an earlier update, or take it back where it cannot.

    Parameters
    ----------
    before : dict or None
        The description before that update.
    """

    before: Listed | None

    @property
    def text(self) -> str:
        """What is waited for."""
        return "Waiting until the swarm has finished what it was told before"


@dataclass(frozen=True)
class RemoveFromSwarm(Step):
    """Let the replicas end their requests, and remove everything of the deployment in the swarm."""

    name: str

    @property
    def text(self) -> str:
        """The deployment."""
        return f"Removing the services of {self.name} from the swarm"


def steps(state: State, wanted: Release) -> list[Step]:
    """Plan how a release replaces what serves.

    Parameters
    ----------
    state : State
        What runs.
    wanted : Release
        What shall serve afterwards.

    Raises
    ------
    ConfigurationError
        When the one is served by http and the other by https.
    """
    check_scheme(state, wanted.config)
    plan: list[Step] = []
    if wanted.config.registry:
        plan.append(Publish(wanted))
    previous = previous_to(wanted, state.release, state.previous)
    return [
        *plan,
        UpdateReplicas(wanted, previous, state.latest + 1, state.replicas),
        UpdateProxy(wanted.config),
        Accept(wanted),
        Spread(wanted),
        Tidy(),
    ]


def mending(state: State) -> list[Step]:
    """Plan how the swarm comes to rest; where nothing serves, what is left goes."""
    plan = without_leftovers(state.inventory)
    name = state.inventory.name
    if state.replicas is None:
        left = f"what a deployment of {name} that was interrupted has left in the swarm"
        return [*plan, Note(f"Removing {left}"), RemoveFromSwarm(name)]
    if state.at_work:
        plan.append(FinishUpdate(state.replicas.get("PreviousSpec")))
    return plan


def removal(state: State) -> list[Step]:
    """Plan how everything of a deployment in the swarm is removed."""
    return [RemoveFromSwarm(state.inventory.name)]


def check_scheme(state: State, config: Configuration) -> None:
    """Refuse to change between http and https behind the proxy."""
    release = state.inventory.find(state.release)
    if release is not None and release.config.scheme != config.scheme:
        raise ConfigurationError(
            f"tls: {config.name} serves {release.config.scheme}, and behind the proxy that cannot "
            "change while it serves; `python -m deploy down`, then `up`"
        )
