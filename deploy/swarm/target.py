"""Several hosts: performs the steps that `deploy.swarm.plan` plans, by telling the swarm.

Everything carries the deployment's label. The network is made first and removed last, so as long as
anything is there the name is known to be in the swarm. Next: `deploy.swarm.replicas`.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from functools import partial

from deploy.configuration import Configuration
from deploy.console import Console
from deploy.engine.docker_engine import Body, Engine
from deploy.errors import BuildError, ConfigurationError, EngineError, RefusedError
from deploy.release.inventory import Inventory
from deploy.release.release import Release
from deploy.serving import ReplicaStatus, Troubles
from deploy.steps import Note, Step, after
from deploy.swarm import credentials, plan, proxy, replicas, specs
from deploy.swarm.api import Listed, Swarm
from deploy.swarm.plan import (
    FetchProxy,
    FinishUpdate,
    Publish,
    RemoveFromSwarm,
    Spread,
    Tidy,
    UpdateProxy,
    UpdateReplicas,
)
from deploy.swarm.proxy import FILE
from deploy.swarm.specs import PROXY, TASK, by_name, label
from deploy.swarm.state import State, look, times
from deploy.swarm.watch import Watch, all_on_one_host, remove_network
from deploy.target import Target


class SwarmTarget(Target[State]):
    """A swarm, with a proxy in front of the replicas."""

    kind = "swarm"

    def __init__(self, engine: Engine, name: str, console: Console) -> None:
        super().__init__(engine, name, console)
        self.swarm = Swarm(engine, name)
        self.watch = Watch(self.swarm, name, self._look_again, console)
        self._published: dict[str, str] = {}  # images by their ids: their names in the registry
        self.performers |= {
            FetchProxy: self._fetch_proxy,
            Publish: self._publish,
            UpdateReplicas: self._update_replicas,
            UpdateProxy: self._update_proxy,
            Spread: self._spread,
            Tidy: self._tidy,
            FinishUpdate: self._finish_update,
            RemoveFromSwarm: self._remove_from_swarm,
        }

    def check(self, config: Configuration) -> None:
        """Refuse an engine that manages no swarm, and nodes that cannot get the image.

        Raises
        ------
        EngineError, ConfigurationError
        """
        found = self.swarm.membership()
        if not found["ControlAvailable"]:
            raise EngineError(
                "target: swarm needs an engine that manages one, and this one does not: "
                "`docker swarm init` makes it one, `engine:` or DOCKER_HOST names another"
            )
        if found["Nodes"] > 1 and not config.registry:
            raise ConfigurationError(
                f"registry: expected where the {found['Nodes']} nodes pull the image from, got "
                "none; add for example `registry: registry.example:5000/scoring`"
            )

    def reached(self, config: Configuration) -> Configuration:
        """Return the configuration with the manager's own address: there the proxy listens."""
        return replace(config, bind=self.swarm.membership()["NodeAddr"])

    def look(self, inventory: Inventory) -> State:
        """Find out what runs."""
        return look(self.swarm, inventory)

    def replicas(self, state: State) -> list[ReplicaStatus]:
        """Say how every replica is that is meant to run."""
        return replicas.replicas(self.swarm, state)

    def troubles(self, state: State) -> Troubles:
        """Say what is amiss beside the replicas, and what failed before."""
        return replicas.troubles(self.swarm, state)

    def logs(self, state: State, lines: int | str) -> dict[str, list[str]]:
        """Read the last lines of every replica's log, by its name and host."""
        return replicas.logs(self.swarm, state, lines)

    def steps(self, state: State, wanted: Release) -> list[Step]:
        """Plan how a release replaces what serves, without losing a request."""
        found = plan.steps(state, wanted)
        image = wanted.config.proxy_image
        return [FetchProxy(image), *found] if self.engine.image(image) is None else found

    def mended(self, state: State) -> tuple[list[Step], State]:
        """Plan how the swarm comes to rest, and say what will run then."""
        found = plan.mending(state)
        return found, replace(state, inventory=after(state.inventory, found))

    def heal(self, state: State) -> bool:
        """Bring the swarm to rest, then see to the present keys, the proxy and what nobody uses."""
        healed = super().heal(state)
        state = self._look_again(state.inventory) if healed else state
        release = state.inventory.find(state.release)
        if state.replicas is None or release is None:
            return healed
        # Of what is amiss with the proxy `status` speaks; the verb that heals may mend it.
        with suppress(EngineError):
            self.perform(self._up_to_date(state, release))
        self.perform([Tidy()])
        return True

    def removal(self, state: State) -> list[Step]:
        """Plan how everything of a deployment in the swarm is removed."""
        return plan.removal(state)

    def renewal(self, state: State, release: Release) -> list[Step]:
        """Plan how the replicas take the present keys: they are replaced."""
        return self.steps(state, release)

    def _look_again(self, inventory: Inventory | None = None) -> State:
        return look(self.swarm, inventory or Inventory(self.name))

    def _up_to_date(self, state: State, release: Release) -> list[Step]:
        files = credentials.stored(self.engine, self.swarm, release.config)
        present = {file["SecretID"] for file in credentials.for_replicas(files)}
        if present == _used(state.replicas, "Secret"):
            return [UpdateProxy(release.config)]
        note = Note("Giving the replicas the present keys and certificate")
        return [note, *self.steps(state, release)]

    # --- images ---

    def _fetch_proxy(self, step: FetchProxy) -> None:
        with self.console.step(step.text):
            try:
                self.engine.pull(step.image, self.console.detail)
            except (BuildError, EngineError) as error:
                raise BuildError(
                    f"{error}; where no registry can be reached, `dockerfiles/base.sh "
                    "scoring-proxy:bookworm haproxy` makes one from Debian's package: then deploy "
                    "with `proxy_image: scoring-proxy:bookworm`"
                ) from error

    def _publish(self, step: Publish) -> None:
        with self.console.step(step.text):
            image, registry = step.release.image, step.release.config.registry
            self._published[image] = self.swarm.push(image, registry, step.tag, self.console.detail)

    # --- replicas ---

    def _update_replicas(self, step: UpdateReplicas) -> None:
        release = step.release
        if step.service is None:
            self.begun.append(partial(self._remove_from_swarm, RemoveFromSwarm(self.name)))
        files = credentials.stored(self.engine, self.swarm, release.config)
        body = specs.service(
            release,
            self._published.get(release.image, release.image),
            self._network(release.config),
            credentials.for_replicas(files),
            previous=step.previous,
            times=step.times,
        )
        with self.console.step(step.text) as found:
            self._tell(step.service, body)
            if step.service is not None:
                self.begun.append(partial(self._put_back, step.service["Spec"]))
            self.watch.until_complete(release, step.times)
            found.append("healthy")

    def _tell(self, service: Listed | None, body: Body) -> None:
        if service is None:
            self.swarm.create_service(body)
        else:
            self.swarm.update_service(service, body)

    def _put_back(self, spec: Body) -> None:
        # Unless the swarm has done so by itself.
        self.watch.until_settled(lambda state: state.update == "rollback_started")
        state = self._look_again()
        if state.replicas is not None and state.times != times(spec):
            self.swarm.update_service(state.replicas, spec)
            self.watch.until_settled(lambda state: state.at_work)

    def _finish_update(self, step: FinishUpdate) -> None:
        with self.console.step(step.text):
            settled = self.watch.until_settled(lambda state: state.at_work)
            if not settled and step.before is not None:
                self._put_back(step.before)

    def _spread(self, step: Spread) -> None:
        state = self._look_again()
        if state.replicas is None or not all_on_one_host(self.swarm, state):
            return
        spec = state.replicas["Spec"]
        template = {**spec["TaskTemplate"], "ForceUpdate": state.times + 1}
        with self.console.step(step.text), suppress(RefusedError):
            self.swarm.update_service(state.replicas, {**spec, "TaskTemplate": template})
            self._watch_or_put_back(step.release, state)

    def _watch_or_put_back(self, release: Release, before: State) -> None:
        try:
            self.watch.until_complete(release, before.times + 1)
        except BaseException:
            if before.replicas is not None:
                self._put_back(before.replicas["Spec"])
            raise

    # --- what a service needs ---

    def _network(self, config: Configuration) -> str:
        known = self.swarm.networks()
        return str(known[0]["Id"]) if known else self.swarm.create_network(specs.network(config))

    def _update_proxy(self, step: UpdateProxy) -> None:
        config = step.config
        files = credentials.stored(self.engine, self.swarm, config)
        mounted = credentials.for_proxy(files)
        file = self._proxy_file(config)
        body = proxy.service(config, self._network(config), file, mounted)
        present = self._look_again().proxy
        if present and label(present["Spec"], "digest") == label(body, "digest"):
            return
        before = {task["ID"] for task in self.swarm.tasks(present["ID"])} if present else set()
        with self.console.step(step.text):
            self._tell(present, body)
            self.watch.until_proxy_runs(config, before)

    def _proxy_file(self, config: Configuration) -> Body:
        content = proxy.configuration(config).encode()
        body = specs.file(config.name, "proxy", hashlib.sha256(content).hexdigest()[:12])
        if body["name"] not in by_name(self.swarm.configs()):
            self.swarm.create_config(body, content)
        stored = by_name(self.swarm.configs())[body["name"]]
        return specs.mounted(stored, "Config", FILE, 0o444)

    # --- removing ---

    def _tidy(self, step: Tidy) -> None:
        state = self._look_again()
        if not state.moving:  # otherwise the swarm may go back to what has them
            self._remove_files(state)

    def _remove_files(self, state: State) -> None:
        # Those that neither of the services has.
        secrets = _used(state.replicas, "Secret") | _used(state.proxy, "Secret")
        for stored in self.swarm.secrets():
            if stored["ID"] not in secrets:
                self.swarm.remove_secret(stored["ID"])
        configs = _used(state.replicas, "Config") | _used(state.proxy, "Config")
        for stored in self.swarm.configs():
            if stored["ID"] not in configs:
                self.swarm.remove_config(stored["ID"])

    def _remove_from_swarm(self, step: RemoveFromSwarm) -> None:
        services = [service["ID"] for service in self.swarm.services()]
        if services:
            with self.console.step(f"Removing {len(services)} services from the swarm"):
                for service in services:
                    self.swarm.remove_service(service)
                self.watch.until_ended(services, self._is_here)
        self._remove_files(State(None, None))
        for network in self.swarm.networks():
            remove_network(self.swarm, network["Id"])

    def _is_here(self) -> bool:
        tasks = self.engine.containers(self.name, TASK)
        return bool(tasks or self.engine.containers(self.name, PROXY))


def _used(service: Listed | None, kind: str) -> set[str]:
    # The ids of the secrets ("Secret") or configs ("Config") that a service has.
    if service is None:
        return set()
    given = service["Spec"]["TaskTemplate"]["ContainerSpec"].get(f"{kind}s")
    return {body[f"{kind}ID"] for body in given or []}
