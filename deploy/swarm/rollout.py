"""Replacing one release by another in a swarm, without losing a request.

The swarm does it, one replica at a time: it starts a new one, waits until it is healthy, takes an
old one out of its DNS and stops it; the proxy follows, and asks another replica where one hangs up.
A new replica that fails within the monitored time takes the whole update back. So what is done here
is to say what is wanted, to watch, and to say what went wrong. Whoever watches may be killed: the
swarm goes on, and the next command waits for it.

Everything carries the deployment's label. The network is made first and removed last, so as long as
anything is there the name is known to be in the swarm. Rolling back is the same with a release that
is kept. Next: `deploy.swarm.replicas`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from deploy.configuration import Configuration
from deploy.console import Console, last_lines
from deploy.contract import STOP_SECONDS
from deploy.engine.docker_engine import Body, Engine
from deploy.errors import BuildError, ConfigurationError, DeployError, EngineError, RefusedError
from deploy.interrupts import accepted, uninterrupted
from deploy.release.leftovers import remove_leftovers
from deploy.release.release import Release
from deploy.release.releases import previous_to, releases
from deploy.swarm import credentials, proxy, specs
from deploy.swarm.api import Listed, Swarm
from deploy.swarm.proxy import FILE
from deploy.swarm.specs import PROXY, TASK, label
from deploy.swarm.state import State, current, failed, look, runs, times, wanted, words

OFTEN = 0.5  # seconds between two looks
SLACK = 60  # seconds to find a node, to fetch the image, to be noticed
TAKEN_BACK = ("rollback_completed", "rollback_paused", "paused")


def check(engine: Engine, config: Configuration) -> None:
    """Refuse an engine that manages no swarm, and a swarm whose nodes have nowhere to get the image
    from.

    Raises
    ------
    EngineError, ConfigurationError
    """
    found = Swarm(engine, config.name).membership()
    if not found["ControlAvailable"]:
        raise EngineError(
            "target: swarm needs an engine that manages one, and this one does not: `docker swarm init` makes it one, "
            "`engine:` or DOCKER_HOST names another"
        )
    if found["Nodes"] > 1 and not config.registry:
        raise ConfigurationError(
            f"registry: expected where the {found['Nodes']} nodes pull the image from, got none; "
            "add for example `registry: registry.example:5000/scoring`"
        )


def asked(engine: Engine, config: Configuration) -> Configuration:
    """Return the configuration with the manager's own address: there the proxy listens."""
    return replace(config, bind=Swarm(engine, config.name).membership()["NodeAddr"])


def roll_out(engine: Engine, release: Release, console: Console) -> None:
    """Replace what serves by a release, with the present keys and certificate.

    Parameters
    ----------
    engine : Engine
    release : Release
        Proven in a preflight before.
    console : Console

    Raises
    ------
    RefusedError
        When a new replica fails or does not become healthy in time; what served serves on.
    EngineError
    """
    config = release.config
    swarm = Swarm(engine, config.name)
    before = look(engine, config.name)
    _same_scheme(engine, before, config)
    fetch_proxy(engine, config, console)
    image = publish(swarm, release, console)
    try:
        network = find_network(swarm, config)
        found = credentials.stored(engine, swarm, config)
        body = specs.service(
            release,
            image,
            network,
            credentials.for_replicas(found),
            previous=previous_to(release, before.release, before.previous),
            times=_latest(swarm, before) + 1,
        )
        with console.step(
            f"Starting {config.replicas} x release {release.id}, one replica at a time"
        ) as said:
            _apply(engine, release, before, body, console)
            said.append("healthy")
        front(engine, config, found, console)
    except BaseException:
        if before.replicas is None:
            with uninterrupted("removing what was begun", console):
                remove(engine, config.name, console)
        raise
    with accepted(release, console):
        _spread(engine, release, body, console)
    tidy(swarm, look(engine, config.name))


def _spread(engine: Engine, release: Release, body: Body, console: Console) -> None:
    # The swarm counts the replicas that are still to be stopped: it may put all new ones on one
    # host, and losing that would lose them all. The next round finds the other hosts empty.
    if not all_on_one_host(Swarm(engine, release.config.name), look(engine, release.config.name)):
        return
    body["TaskTemplate"]["ForceUpdate"] += 1
    with (
        console.step("All replicas are on one host: one more round to spread them"),
        suppress(RefusedError),
    ):
        _apply(engine, release, look(engine, release.config.name), body, console)


def all_on_one_host(swarm: Swarm, state: State) -> bool:
    """Say whether several replicas share a host while another is free."""
    hosts = [node for node in swarm.nodes().values() if takes_tasks(node)]
    tasks = swarm.tasks(state.replicas["ID"]) if state.replicas else []
    places = [task.get("NodeID") for task in tasks if wanted(task)]
    return len(hosts) > 1 and len(places) > 1 and len(set(places)) == 1


def takes_tasks(node: Listed) -> bool:
    """Say whether a host is there, and takes what is given to it."""
    return bool(node["Status"]["State"] == "ready" and node["Spec"]["Availability"] == "active")


def _apply(engine: Engine, release: Release, before: State, body: Body, console: Console) -> None:
    swarm = Swarm(engine, release.config.name)
    if before.replicas is None:
        swarm.create_service(body)
        watch(engine, swarm, release, times(body), console)
        return
    swarm.update_service(before.replicas, body)
    try:
        watch(engine, swarm, release, times(body), console)
    except BaseException:
        with uninterrupted("taking the update back", console):
            put_back(engine, swarm, before.replicas["Spec"], console)
        raise


def watch(engine: Engine, swarm: Swarm, release: Release, rollout: int, console: Console) -> None:
    """Wait until a rollout is complete.

    Raises
    ------
    RefusedError
        When the swarm takes it back, a first replica fails, or nothing moves for too long.
    """
    name, count = release.config.name, release.config.replicas
    patience = Patience(release.config)
    while True:
        state = look(engine, name)
        tasks = swarm.tasks(_id(state, name))
        mine = [task for task in tasks if times({"TaskTemplate": task["Spec"]}) == rollout]
        ready = sum(wanted(task) and runs(task) for task in mine)
        if state.update in TAKEN_BACK:
            raise refusal(swarm, release, mine, "the swarm has taken the update back")
        if state.update == "" and any(map(failed, mine)):
            raise refusal(swarm, release, mine, "a replica failed")
        if ready == count and not state.moving:
            return
        if patience.exhausted(ready):
            raise refusal(
                swarm,
                release,
                mine,
                f"nothing moved for {patience.seconds} s, {ready} of {count} are ready",
            )
        console.detail(f"{ready} of {count} replicas are healthy")
        time.sleep(OFTEN)


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


def put_back(engine: Engine, swarm: Swarm, spec: dict[str, Any], console: Console) -> None:
    """Return to a former description, unless the swarm has done so, and wait for it."""
    settle(engine, swarm, spec["Name"], console, lambda state: state.update == "rollback_started")
    state = look(engine, spec["Name"])
    if state.replicas is not None and times(state.replicas["Spec"]) != times(spec):
        swarm.update_service(state.replicas, spec)
        settle(engine, swarm, spec["Name"], console)


def settle(
    engine: Engine,
    swarm: Swarm,
    name: str,
    console: Console,
    unsettled: Callable[[State], bool] | None = None,
) -> bool:
    """Wait until the swarm has finished what it is doing; return whether it has."""
    unsettled = unsettled or (
        lambda state: state.moving or (state.update == "" and not _whole(swarm, state))
    )
    patience = Patience(Configuration(name))
    while unsettled(state := look(engine, name)):
        if state.replicas is None or patience.exhausted(_ready(swarm, state)):
            return False
        console.detail("the swarm is at work")
        time.sleep(OFTEN)
    return True


def _ready(swarm: Swarm, state: State) -> int:
    service = state.replicas
    return (
        sum(current(service, task) and runs(task) for task in swarm.tasks(service["ID"]))
        if service
        else 0
    )


def _whole(swarm: Swarm, state: State) -> bool:
    if state.replicas is None:
        return False
    return _ready(swarm, state) >= int(state.replicas["Spec"]["Mode"]["Replicated"]["Replicas"])


def refusal(swarm: Swarm, release: Release, tasks: list[Listed], reason: str) -> RefusedError:
    """Say why a release is refused, with the words of the swarm and of the replica that failed."""
    bad = (
        [task for task in tasks if failed(task)]
        or [task for task in tasks if not runs(task)]
        or tasks
    )
    told, said = "", ""
    if bad:
        told = f"; {words(bad[-1], swarm.nodes())}"
        with suppress(DeployError):
            said = last_lines(swarm.log(bad[-1]["ID"], 15))
    limit = f"(limits: {release.config.cpu_cores:g} CPU, {release.config.memory_gb:g} GB)"
    return RefusedError(
        f"release {release.id} is refused: {reason}{told} {limit}\n{said or '    (its log cannot be read)'}\n"
        "What serves was not touched. Mend the release and deploy again."
    )


# --- what a service needs ---


def publish(swarm: Swarm, release: Release, console: Console) -> str:
    """Send the image to where the nodes pull it from, and return its name there; without a registry
    it is here.
    """
    if not release.config.registry:
        return release.image
    tag = release.image.removeprefix("sha256:")[:12]
    with console.step(f"Sending the image to {release.config.registry}:{tag}"):
        return swarm.push(release.image, release.config.registry, tag, console.detail)


def fetch_proxy(engine: Engine, config: Configuration, console: Console) -> None:
    """Make sure that the manager has the proxy's image."""
    if engine.image(config.proxy_image) is None:
        with console.step(f"Pulling {config.proxy_image}"):
            try:
                engine.pull(config.proxy_image, console.detail)
            except (BuildError, EngineError) as error:
                raise BuildError(
                    f"{error}; where no registry can be reached, `dockerfiles/base.sh scoring-proxy:bookworm haproxy` "
                    "makes one from Debian's package: then deploy with `proxy_image: scoring-proxy:bookworm`"
                ) from error


def find_network(swarm: Swarm, config: Configuration) -> str:
    """Return the id of the deployment's network, made if there is none."""
    known = swarm.networks()
    return str(known[0]["Id"]) if known else swarm.create_network(specs.network(config))


def front(
    engine: Engine, config: Configuration, files: dict[str, specs.Stored], console: Console
) -> bool:
    """Put the proxy in front of the replicas, as the configuration wants it; return whether there
    was anything to do.

    Parameters
    ----------
    engine : Engine
    config : Configuration
    files : dict
        What `deploy.swarm.credentials.stored` returned.
    console : Console

    Raises
    ------
    EngineError
        When it does not run afterwards: most often the port is taken.
    """
    swarm = Swarm(engine, config.name)
    mounted = credentials.for_proxy(files)
    body = proxy.service(config, find_network(swarm, config), _proxy_file(swarm, config), mounted)
    present = look(engine, config.name).proxy
    if present and label(present["Spec"], "digest") == label(body, "digest"):
        return False
    before = {task["ID"] for task in swarm.tasks(present["ID"])} if present else set()
    with console.step(f"Starting the proxy on port {config.port} of every manager"):
        if present:
            swarm.update_service(present, body)
        else:
            swarm.create_service(body)
        _wait_for_proxy(engine, swarm, config, before)
    return True


def _wait_for_proxy(engine: Engine, swarm: Swarm, config: Configuration, before: set[str]) -> None:
    patience = Patience(config)
    while True:
        service = look(engine, config.name).proxy or {}
        tasks = [task for task in swarm.tasks(service.get("ID", "")) if task["ID"] not in before]
        if any(map(failed, tasks)) or patience.exhausted(0):
            told = (
                words([*filter(failed, tasks), *tasks][0], swarm.nodes())
                if tasks
                else "no node takes it"
            )
            raise EngineError(
                f"starting the proxy on port {config.port}: {told}; if the port is taken, choose another: PORT=8081"
            )
        if any(wanted(task) and runs(task) for task in tasks):
            return
        time.sleep(OFTEN)


def _proxy_file(swarm: Swarm, config: Configuration) -> Body:
    content = proxy.configuration(config).encode()
    body = specs.file(config.name, "proxy", hashlib.sha256(content).hexdigest()[:12])
    if body["name"] not in {stored["Spec"]["Name"] for stored in swarm.configs()}:
        swarm.create_config(body, content)
    stored = next(stored for stored in swarm.configs() if stored["Spec"]["Name"] == body["name"])
    return specs.mounted(stored, "Config", FILE, 0o444)


# --- mending and removing ---


def heal(engine: Engine, name: str, console: Console) -> bool:
    """Bring what runs to what should: no update under way, the present keys, a proxy, nothing that
    nobody uses.

    For whatever a killed deployment has left. Return whether anything was amiss.
    """
    swarm = Swarm(engine, name)
    healed = remove_leftovers(engine, name, console)
    if look(engine, name).replicas is None:
        console.say(
            f"Removing what a deployment of {name} that was interrupted has left in the swarm"
        )
        remove(engine, name, console)
        return True
    healed |= _finish(engine, swarm, name, console)
    with suppress(
        EngineError
    ):  # of what is amiss with the proxy `status` speaks; the verb that heals may mend it
        healed |= _bring_up_to_date(engine, swarm, name, console)
    return tidy(swarm, look(engine, name)) or healed


def _finish(engine: Engine, swarm: Swarm, name: str, console: Console) -> bool:
    state = look(engine, name)
    if not state.moving and (state.update or _whole(swarm, state)):
        return False
    with console.step("Waiting until the swarm has finished what it was told before"):
        if (
            not settle(engine, swarm, name, console)
            and state.replicas
            and "PreviousSpec" in state.replicas
        ):
            put_back(engine, swarm, state.replicas["PreviousSpec"], console)
    return True


def _bring_up_to_date(engine: Engine, swarm: Swarm, name: str, console: Console) -> bool:
    state = look(engine, name)
    release = next(
        (release for release in releases(engine, name) if release.id == state.release), None
    )
    if release is None or state.replicas is None:
        return False
    files = credentials.stored(engine, swarm, release.config)
    kept = credentials.for_replicas(files)
    given = state.replicas["Spec"]["TaskTemplate"]["ContainerSpec"].get("Secrets") or []
    if {one["SecretID"] for one in kept} == {one["SecretID"] for one in given}:
        return front(engine, release.config, files, console)
    console.say("Giving the replicas the present keys and certificate")
    roll_out(engine, release, console)
    return True


def tidy(swarm: Swarm, state: State) -> bool:
    """Remove secrets and configs that no service uses any more; return whether there were any."""
    if state.moving:
        return False  # the swarm may go back to what has them
    used = {
        one[key]
        for service in (state.replicas, state.proxy)
        if service
        for key, one in _files(service)
    }
    secrets_left = [one["ID"] for one in swarm.secrets() if one["ID"] not in used]
    configs_left = [one["ID"] for one in swarm.configs() if one["ID"] not in used]
    for one in secrets_left:
        swarm.remove_secret(one)
    for one in configs_left:
        swarm.remove_config(one)
    return bool(secrets_left or configs_left)


def _files(service: Listed) -> list[tuple[str, Body]]:
    container = service["Spec"]["TaskTemplate"]["ContainerSpec"]
    return [
        (f"{kind}ID", one)
        for kind in ("Secret", "Config")
        for one in container.get(f"{kind}s") or []
    ]


def remove(engine: Engine, name: str, console: Console) -> None:
    """Let the replicas end their requests, and remove everything of the deployment in the swarm."""
    swarm = Swarm(engine, name)
    services = [service["ID"] for service in swarm.services()]
    if services:
        with console.step(f"Removing {len(services)} services from the swarm"):
            for service in services:
                swarm.remove_service(service)
            _wait_for_the_end(engine, swarm, name, services)
    tidy(swarm, State(None, None))
    for network in swarm.networks():
        _remove_network(swarm, network["Id"])


def _wait_for_the_end(engine: Engine, swarm: Swarm, name: str, services: list[str]) -> None:
    # A node that is lost says no more: its tasks are not waited for.
    deadline = time.monotonic() + STOP_SECONDS + SLACK
    while time.monotonic() < deadline:
        up = {
            node for node, listed in swarm.nodes().items() if listed["Status"]["State"] == "ready"
        }
        ending = [
            task
            for service in services
            for task in swarm.tasks(service)
            if task.get("NodeID") in up
        ]
        here = [one for one in engine.containers(name) if one.label("role") in (TASK, PROXY)]
        if not ending and not here:
            return
        time.sleep(OFTEN)


def _remove_network(swarm: Swarm, network: str) -> None:
    # The swarm notices a moment later that its last task is gone.
    deadline = time.monotonic() + SLACK
    while True:
        try:
            swarm.remove_network(network)
            return
        except EngineError:
            if time.monotonic() > deadline:
                raise
            time.sleep(OFTEN)


def _id(state: State, name: str) -> str:
    if state.replicas is None:
        raise EngineError(
            f"{name}: its service was removed from the swarm by somebody else; deploy again"
        )
    return str(state.replicas["ID"])


def _latest(swarm: Swarm, before: State) -> int:
    # A rollout that was taken back has left tasks with a number that the description has no more.
    tasks = swarm.tasks(before.replicas["ID"]) if before.replicas else []
    return max([before.times, *(times({"TaskTemplate": task["Spec"]}) for task in tasks)])


def _same_scheme(engine: Engine, before: State, config: Configuration) -> None:
    now = next(
        (one.config for one in releases(engine, config.name) if one.id == before.release), config
    )
    if now.scheme != config.scheme:
        raise ConfigurationError(
            f"tls: {config.name} serves {now.scheme}, and behind the proxy that cannot change while it serves; "
            "`python -m deploy down`, then `up`"
        )
