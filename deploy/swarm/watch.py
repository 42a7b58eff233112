"""Watching a swarm at work, and saying what went wrong.

Whoever watches may be killed: the swarm goes on, and the next command waits for it.
Next: `deploy.swarm.target`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import filterfalse

from deploy.configuration import Configuration
from deploy.console import Console, last_lines
from deploy.contract import STOP_SECONDS
from deploy.errors import DeployError, EngineError, RefusedError
from deploy.release.release import Release
from deploy.swarm.api import Listed, Swarm
from deploy.swarm.state import (
    State,
    failed,
    node_of,
    runs,
    serves,
    wanted,
    words,
)

OFTEN = 0.5  # seconds between two looks
SLACK = 60  # seconds to find a node, to fetch the image, to be noticed
TAKEN_BACK = ("rollback_completed", "rollback_paused", "paused")


class Patience:
    """How long the swarm may take without a step forward."""

    def __init__(self, config: Configuration) -> None:
        self.seconds = config.timeouts.ready + STOP_SECONDS + SLACK
        self._progress: object = None
        self._until = 0.0

    def exhausted(self, progress: object) -> bool:
        """Say whether it is over; a change of what is looked at renews it."""
        if progress != self._progress:
            self._progress, self._until = progress, time.monotonic() + self.seconds
        return time.monotonic() > self._until


class Watch:
    """Looks at a deployment in a swarm again and again.

    Parameters
    ----------
    swarm : Swarm
    name : str
        The deployment's.
    look : function
        Returns its state now.
    console : Console
        Where signs of life are written.
    """

    def __init__(
        self, swarm: Swarm, name: str, look: Callable[[], State], console: Console
    ) -> None:
        self._swarm, self._name, self._look, self._console = swarm, name, look, console

    def until_complete(self, release: Release, rollout: int) -> None:
        """Wait until a rollout is complete.

        Raises
        ------
        RefusedError
            When the swarm takes it back, a first replica fails, or nothing moves for too long.
        """
        patience = Patience(release.config)
        while not self._is_complete(release, rollout, patience):
            time.sleep(OFTEN)

    def until_settled(self, unsettled: Callable[[State], bool]) -> bool:
        """Wait until the swarm has finished what it is doing; return whether it has."""
        patience = Patience(Configuration(self._name))
        while unsettled(state := self._look()):
            if state.replicas is None or patience.exhausted(state.ready):
                return False
            self._console.detail("the swarm is at work")
            time.sleep(OFTEN)
        return True

    def until_proxy_runs(self, config: Configuration, before: set[str]) -> None:
        """Wait until a task of the proxy runs that was not there before.

        Raises
        ------
        EngineError
            When it fails: most often the port is taken.
        """
        patience = Patience(config)
        while True:
            tasks = self._proxy_tasks(before)
            bad = list(filter(failed, tasks))
            if bad or patience.exhausted(0):
                raise self._no_proxy(config, [*bad, *tasks])
            if any(map(serves, tasks)):
                return
            time.sleep(OFTEN)

    def until_ended(self, services: list[str], here: Callable[[], bool]) -> None:
        """Wait until the tasks of removed services have ended, as long as a service may take.

        A node that is lost says no more: its tasks are not waited for.

        Parameters
        ----------
        services : list of str
            Their ids.
        here : function
            Says whether containers of them are still on the manager.
        """
        for _ in _until(STOP_SECONDS + SLACK):
            ending = any(map(self._has_living_tasks, services))
            if not ending and not here():
                return

    def refusal(self, release: Release, tasks: list[Listed], reason: str) -> RefusedError:
        """Say why a release is refused, in the words of the swarm and of what failed in it."""
        told, said = "", ""
        if bad := _worst(tasks):
            told = f"; {words(bad, self._swarm.nodes())}"
            with suppress(DeployError):
                said = last_lines(self._swarm.log(bad["ID"], 15))
        limit = f"(limits: {release.config.cpu_cores:g} CPU, {release.config.memory_gb:g} GB)"
        return RefusedError(
            f"release {release.id} is refused: {reason}{told} {limit}\n"
            f"{said or '    (its log cannot be read)'}\n"
            "What serves was not touched. Mend the release and deploy again."
        )

    def _is_complete(self, release: Release, rollout: int, patience: Patience) -> bool:
        state, count = self._present(), release.config.replicas
        mine = state.tasks_of(rollout)
        ready = sum(map(serves, mine))
        complete = ready == count and not state.moving
        reason = _failure(state, mine)
        if not reason and not complete and patience.exhausted(ready):
            reason = f"nothing moved for {patience.seconds} s, {ready} of {count} are ready"
        if reason:
            raise self.refusal(release, mine, reason)
        self._console.detail(f"{ready} of {count} replicas are healthy")
        return complete

    def _present(self) -> State:
        state = self._look()
        if state.replicas is None:
            raise EngineError(
                f"{self._name}: its service was removed from the swarm by somebody else; "
                "deploy again"
            )
        return state

    def _proxy_tasks(self, before: set[str]) -> list[Listed]:
        service = self._look().proxy
        tasks = self._swarm.tasks(service["ID"]) if service else []
        return [task for task in tasks if task["ID"] not in before]

    def _has_living_tasks(self, service: str) -> bool:
        nodes = self._swarm.nodes()
        for task in self._swarm.tasks(service):
            node = node_of(task, nodes)
            if node is not None and is_ready(node):
                return True
        return False

    def _no_proxy(self, config: Configuration, tasks: list[Listed]) -> EngineError:
        told = words(tasks[0], self._swarm.nodes()) if tasks else "no node takes it"
        return EngineError(
            f"starting the proxy on port {config.port}: {told}; if the port is taken, choose "
            "another: PORT=8081"
        )


def remove_network(swarm: Swarm, network: str) -> None:
    """Remove a network; the swarm notices a moment later that its last task is gone."""
    for _ in _until(SLACK):
        with suppress(EngineError):
            swarm.remove_network(network)
            return
    swarm.remove_network(network)


def is_ready(node: Listed) -> bool:
    """Say whether a host is there."""
    return bool(node["Status"]["State"] == "ready")


def takes_tasks(node: Listed) -> bool:
    """Say whether a host is there, and takes what is given to it."""
    return is_ready(node) and bool(node["Spec"]["Availability"] == "active")


def all_on_one_host(swarm: Swarm, state: State) -> bool:
    """Say whether several replicas share a host while another is free."""
    hosts = list(filter(takes_tasks, swarm.nodes().values()))
    places = [task.get("NodeID") for task in filter(wanted, state.tasks)]
    several = len(hosts) > 1 and len(places) > 1
    return several and len(set(places)) == 1


def _until(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(OFTEN)


def _failure(state: State, mine: list[Listed]) -> str:
    if state.update in TAKEN_BACK:
        return "the swarm has taken the update back"
    if state.update == "" and any(map(failed, mine)):
        return "a replica failed"
    return ""


def _worst(tasks: list[Listed]) -> Listed | None:
    # The last that failed, or that does not run, or the last of all.
    failures = list(filter(failed, tasks))
    idle = list(filterfalse(runs, tasks))
    ranked = failures or idle or tasks
    return ranked[-1] if ranked else None
