"""Replacing one release by another on one host, without losing a request.

The order is all: start the new replicas beside the old ones, wait until each is ready, and only
then stop the old ones, one by one, gracefully. Until the last new replica is ready any failure
removes the new ones and leaves the old ones as they were; after that the new release has been
accepted, and an interruption only delays the end of the old one. Rolling back is the same with a
release that is kept. Next: `deploy.deployment`.
"""

from __future__ import annotations

from deploy.console import Console
from deploy.contract import STOP_SECONDS
from deploy.engine.docker_engine import Container, Engine
from deploy.errors import EngineError, RefusedError
from deploy.host import specs
from deploy.host.specs import LEAVING
from deploy.host.state import State, look
from deploy.interrupts import accepted, uninterrupted
from deploy.release.leftovers import remove_leftovers
from deploy.release.preflight import wait_until_ready
from deploy.release.release import Release
from deploy.release.releases import kept, previous_to

OLDEST_KERNEL = (5, 14)


def roll_out(engine: Engine, release: Release, console: Console) -> None:
    """Replace what serves by a release.

    Parameters
    ----------
    engine : Engine
    release : Release
        Proven in a preflight before.
    console : Console

    Raises
    ------
    RefusedError
        When a new replica does not become ready; the old ones serve as before.
    EngineError
    """
    before = look(engine, release.config.name)
    anchor = find_anchor(engine, before, release)
    with console.step(
        f"Starting {release.config.replicas} x release {release.id} beside what serves"
    ) as found:
        seconds = start_beside(engine, release, before, anchor)
        found.append(f"ready after {max(seconds):.1f} s")
    with accepted(release, console):
        retire(engine, before.replicas, console)
        for container in before.anchors:
            if container.id != anchor:
                engine.remove(container.id)


def start_beside(engine: Engine, release: Release, before: State, anchor: str) -> list[float]:
    """Start the new replicas and wait for each; on any failure, Ctrl-C too, remove them. Return the
    seconds taken.
    """
    started: list[str] = []
    try:
        for index, port in zip(
            range(release.config.replicas), before.free_probe_ports, strict=False
        ):
            body = specs.replica(
                release,
                anchor,
                before.latest + 1,
                port,
                previous_to(release, before.release, before.previous),
            )
            started.append(
                engine.create(f"{release.config.name}-{before.latest + 1}-{index}", body)
            )
            engine.start(started[-1])
        return [wait_until_ready(engine, container, release) for container in started]
    except BaseException:
        with uninterrupted("removing the new replicas"):
            for container in started:
                # Those that listen already may have requests: let them end.
                engine.stop(container, STOP_SECONDS)
                engine.remove(container)
            if not before.replicas:
                engine.remove(anchor)
        raise


def retire(engine: Engine, replicas: list[Container], console: Console) -> None:
    """Let replicas end their requests and remove them, one by one; first all are marked, in their
    names.

    The engine goes on stopping a replica when whoever asked for it is killed: from then on it must
    not be counted on.
    """
    for replica in replicas:
        if not replica.name.endswith(LEAVING):
            engine.rename(replica.id, replica.name + LEAVING)
    for replica in replicas:
        with console.step(f"Retiring {replica.name} (release {replica.label('release')})"):
            engine.stop(replica.id, STOP_SECONDS)
            engine.remove(replica.id)


def find_anchor(engine: Engine, before: State, release: Release) -> str:
    """Return the anchor of the release's address, made if there is none; it runs afterwards."""
    config = release.config
    wanted = {"port": str(config.port), "bind": config.bind}
    for container in before.anchors:
        if {key: container.label(key) for key in wanted} == wanted:
            if not container.running:
                engine.start(container.id)
            return container.id
    anchor = engine.create(
        f"{config.name}-anchor-{config.port}-{before.latest + 1}", specs.anchor(release)
    )
    try:
        engine.start(anchor)
    except EngineError as error:
        engine.remove(anchor)
        raise EngineError(
            f"publishing {config.bind}:{config.port}: {error}; if the port is taken, choose another: PORT=8081"
        ) from error
    except BaseException:
        engine.remove(anchor)
        raise
    return anchor


def check_kernel(engine: Engine) -> None:
    """Refuse a kernel that drops the waiting connections of a listener that closes."""
    version = str(engine.info["KernelVersion"])
    numbers = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:2])
    if numbers < OLDEST_KERNEL:
        raise RefusedError(
            f"the engine's host runs Linux {version}; replacing a release without losing requests needs 5.14 or newer"
        )


def heal(engine: Engine, name: str, console: Console) -> bool:
    """Bring what runs to what should: one whole generation on one running anchor. Return whether
    anything was amiss.

    For whatever a killed deployment, a killed engine or a reboot has left.
    """
    state = look(engine, name)
    healed = remove_leftovers(engine, name, console)
    if not state.generations:
        for anchor in state.anchors:
            engine.remove(anchor.id)
        return healed or bool(state.anchors)
    return any(
        [_one_generation(engine, name, state, console), _all_running(engine, name, console), healed]
    )


def remove(engine: Engine, name: str, console: Console) -> None:
    """Let the replicas end their requests, and remove them with their anchors."""
    state = look(engine, name)
    retire(engine, state.replicas, console)
    for anchor in state.anchors:
        engine.remove(anchor.id)


def _one_generation(engine: Engine, name: str, state: State, console: Console) -> bool:
    others = [replica for generation, replicas in state.generations.items() for replica in replicas
              if generation != state.serving]  # fmt: skip
    if others:
        console.say(
            f"Keeping release {state.release}: an interrupted rollout left two side by side"
        )
        retire(engine, others, console)
    used = {_anchor_of(engine, replica) for replica in state.generations[state.serving]}
    idle = [anchor for anchor in state.anchors if anchor.id not in used]
    for anchor in idle if used else []:
        engine.remove(anchor.id)
    return bool(others or idle)


def _all_running(engine: Engine, name: str, console: Console) -> bool:
    state = look(engine, name)
    release = kept(engine, name, state.release)
    healthy = [replica for replica in state.replicas if _on_its_anchor(engine, replica)]
    if len(healthy) == release.config.replicas == len(state.replicas):
        return False
    console.say(f"Replacing replicas of release {release.id} that are not running")
    anchor = find_anchor(engine, state, release)
    sick = [replica for replica in state.replicas if replica not in healthy]
    seconds = start_beside(engine, release, state, anchor)
    retire(engine, [*healthy, *sick], console)
    console.say(f"  ready after {max(seconds):.1f} s")
    return True


def _on_its_anchor(engine: Engine, replica: Container) -> bool:
    # An anchor that was started anew has a new namespace; a replica that is older listens in the
    # one that is gone.
    if not replica.running:
        return False
    try:
        anchor = engine.inspect(_anchor_of(engine, replica))["State"]
    except EngineError:
        return False
    return (
        bool(anchor["Running"])
        and anchor["StartedAt"] <= engine.inspect(replica.id)["State"]["StartedAt"]
    )


def _anchor_of(engine: Engine, replica: Container) -> str:
    return str(engine.inspect(replica.id)["HostConfig"]["NetworkMode"]).removeprefix("container:")
