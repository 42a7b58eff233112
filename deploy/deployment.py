"""One deployment and what can be done to it: the verbs.

Each verb takes the mutex, heals what an interrupted one left, does its work and writes the audit.
`deploy.cli` and `deploy.webservice` are two thin ways to call them. What is done is a plan of steps
(`deploy.steps`), so it can be shown instead of performed. A rollback plans as a deployment does,
with a release that is kept in place of a new one. Next: `deploy.steps`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deploy.client import Client, wrong_with_port
from deploy.configuration import Configuration
from deploy.console import Console
from deploy.engine.docker_engine import Engine
from deploy.engine.tunnel import tunnel
from deploy.errors import ConfigurationError, DeployError, NotDeployedError
from deploy.host.target import HostTarget
from deploy.interrupts import uninterrupted
from deploy.registry.marking import mark_versions
from deploy.registry.origin import Origin
from deploy.release import credentials
from deploy.release.assembly import foresee_release, make_release
from deploy.release.inventory import Inventory, take_inventory
from deploy.release.release import Release, release_id
from deploy.release.releases import previous_to, record, remove_unused_images
from deploy.serving import Serving
from deploy.steps import Build, Note, Prove, Record, RemoveAll, Step, after, pruning
from deploy.swarm.api import Swarm
from deploy.swarm.target import SwarmTarget
from deploy.target import Target
from deploy.verbs.audit import audited
from deploy.verbs.mutex import locked
from deploy.verbs.ownership import check_owner, claim, is_there, owner_here
from deploy.verbs.status import Status, describe


@dataclass(frozen=True)
class Sight:
    """What a look has found: on which target a deployment runs, and what runs there.

    Parameters
    ----------
    target : Target
        One host when nothing is deployed.
    state : Serving
    facts : dict
        What goes into the audit.
    """

    target: Target[Any]
    state: Any
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def inventory(self) -> Inventory:
        """The containers of the deployment."""
        found: Inventory = self.state.inventory
        return found


class Deployment:
    """What is deployed under one name on one engine.

    Parameters
    ----------
    engine : Engine
    name : str
    root : Path
        The folder of deploy.yml: paths start from it, and the audit is written below it.
    console : Console
    address : str, default ""
        The engine's address, as the configuration or DOCKER_HOST names it; empty for this machine.
    take_over : bool, default False
        Whether to touch what another project has deployed under the name; it is this one's then.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        root: Path,
        console: Console,
        address: str = "",
        *,
        take_over: bool = False,
    ) -> None:
        self.engine, self.name, self.root, self.console = engine, name, root, console
        self.address, self.take_over = address, take_over

    def told_to(self, console: Console) -> Deployment:
        """Return the same deployment, whose steps are written to another console."""
        return Deployment(
            self.engine, self.name, self.root, console, self.address, take_over=self.take_over
        )

    # --- looking ---

    def look(self) -> Sight:
        """Find out what runs; the containers are listed once."""
        inventory = take_inventory(self.engine, self.name)
        in_swarm = self.engine.info["Swarm"].get("ControlAvailable")
        kind = "swarm" if in_swarm and Swarm(self.engine, self.name).networks() else "host"
        target = self._target(kind)
        return Sight(target, target.look(inventory))

    def serving(self) -> Release:
        """Return the release that serves.

        Raises
        ------
        NotDeployedError
            When none does.
        """
        return self._serving(self.look().state)

    def status(self) -> Status:
        """Say what it is doing."""
        seen = self.look()
        serving = seen.inventory.find(seen.state.release)
        config = serving and seen.target.reached(serving.config)
        unanswered = wrong_with_port(self.address, config) if config else ""
        return describe(seen.target, seen.state, owner_here(self.root), unanswered)

    def logs(self, lines: int | str) -> dict[str, list[str]]:
        """Read the last lines of every replica's log, by its name."""
        seen = self.look()
        return seen.target.logs(seen.state, lines)

    def keys(self) -> tuple[str, str] | None:
        """Return the primary and the secondary key; None when it has none."""
        return credentials.read_keys(self.engine, self.name)

    def client(self, config: Configuration, key: str = "") -> Client:
        """Return who asks the service, wherever it is."""
        reached = self._target(config.target).reached(config)
        return Client(self.address, reached, key, self.root)

    def client_with_key(self, config: Configuration) -> Client:
        """Return who asks the service with its primary key, where it wants one."""
        keys = self.keys() if config.auth_enabled else None
        return self.client(config, keys[0] if keys else "")

    # --- changing ---

    def check_owner(self) -> Sight:
        """Look, and refuse to touch what another project has deployed, unless told to.

        Raises
        ------
        OwnedError
        """
        seen = self.look()
        check_owner(seen.inventory, owner_here(self.root), take_over=self.take_over)
        return seen

    @contextmanager
    def working(self, doing: str) -> Iterator[Sight]:
        """Hold the mutex, write the audit, begin from a sound state and leave one behind.

        Yields
        ------
        Sight
            What runs, now that it is sound.
        """
        with (
            audited(self.root, self.name, doing) as facts,
            locked(self.engine, self.name, doing),
        ):
            sound = self._mend()
            try:
                yield Sight(sound.target, sound.state, facts)
            except BaseException:
                # Whatever was interrupted wherever: one whole generation stays, nothing beside it.
                with uninterrupted("tidying up", self.console), suppress(DeployError):
                    self._mend()
                raise

    def heal(self) -> None:
        """Mend what a killed deployment, engine or host has left."""
        with self.working("heal"):
            pass  # `working` heals

    def build(self, config: Configuration, fresh: bool = False) -> Release:
        """Build the image and record the release; nothing is started.

        Parameters
        ----------
        config : Configuration
        fresh : bool, default False
            Whether to build without the engine's cache.

        Raises
        ------
        ConfigurationError, BuildError, EngineError
        """
        with self.working("build") as sound:
            release = record(self.engine, self._make_release(config, fresh))
            self._claim(sound)
        return release

    def up(self, config: Configuration, fresh: bool = False) -> Release:
        """Build, prove and roll out; what serves is touched last.

        Parameters
        ----------
        config : Configuration
        fresh : bool, default False
            Whether to build without the engine's cache.

        Returns
        -------
        Release
            The one that serves now.

        Raises
        ------
        DeployError
        """
        with self.working("up") as sound:
            self._admit(config, sound)
            check_properties(config, sound.inventory)
            release = self._make_release(config, fresh)
            self._claim(sound)
            self._replace_by(release, sound)
            sound.facts["pruned"] = self._prune(config.retain)
        return release

    def rollback(self, to: str = "") -> Release:
        """Go back to the release that served before, or to any that is kept.

        Raises
        ------
        NotDeployedError
            When there is none.
        """
        with self.working("rollback") as sound:
            release = self._to_go_back_to(sound.state, to)
            sound.facts["release"] = release.id
            target = self._admit(release.config, sound)
            target.perform(proven_replacement(target, sound.state, release))
            self._mark(release, sound)
        return release

    def change(self, doing: str, **changes: Any) -> Release:
        """Roll the serving image out again with some of its configuration changed."""
        with self.working(doing) as sound:
            release = self._changed(sound.state, changes)
            self._admit(release.config, sound)
            self._replace_by(release, sound)
            self._prune(release.config.retain)
        return release

    def scale(self, replicas: int) -> Release:
        """Change the number of replicas."""
        return self.change("scale", replicas=replicas)

    def rotate_keys(self) -> None:
        """Make a new primary key and keep the old one as the secondary.

        Clients move over, then rotate once more. On one host the service reads the file again by
        itself; in a swarm, where a secret cannot be changed, the replicas are replaced one by one.

        Raises
        ------
        NotDeployedError
            When the deployment has no keys.
        """
        with self.working("keys rotate") as sound:
            now = self._serving(sound.state)
            known = self.keys() if now.config.auth_enabled else None
            if known is None:
                raise credentials.no_keys(self.name)
            credentials.write_keys(self.engine, self.name, (credentials.new_key(), known[0]))
            try:
                sound.target.perform(sound.target.renewal(sound.state, now))
            except BaseException:
                # Those that the replicas still have.
                credentials.write_keys(self.engine, self.name, known)
                raise

    def prune(self, retain: int) -> list[str]:
        """Forget old releases beyond `retain` and free their images; return their ids."""
        with self.working("prune"):
            return self._prune(retain)

    def down(self) -> None:
        """Remove everything that is deployed under the name; twice is as good as once."""
        with audited(self.root, self.name, "down"), locked(self.engine, self.name, "down"):
            seen = self.check_owner()
            seen.target.perform(self._undeployment(seen))
            self._mark(None, seen)
        self.console.say(f"{self.name}: nothing is deployed")

    # --- saying what would be done ---

    def steps_up(self, config: Configuration) -> list[Step]:
        """Plan what `up` would do; nothing is changed.

        The files are gathered and the entry script is asked for the example's answer, as `up` does:
        so it is known whether the image is built already.

        Raises
        ------
        DeployError
            Where `up` would refuse at once.
        """
        plan, sound = self._mended()
        target = self._admit(config, sound)
        check_properties(config, sound.inventory)
        tag, release = foresee_release(self.engine, config, self.root)
        plan += [Note(f"Taking {origin.text}") for origin in release.origins]
        if not tag:
            plan.append(Note(f"Pulling {config.base_image}"))
        plan.append(Build(tag or self.name, built=bool(release.image)))
        state = sound.state if target is sound.target else target.look(sound.inventory)
        plan += replacement(target, state, release)
        return plan + self._steps_prune(sound, plan, release)

    def steps_rollback(self, to: str = "") -> list[Step]:
        """Plan what `rollback` would do; nothing is changed.

        Raises
        ------
        NotDeployedError
            When there is nothing to go back to.
        """
        plan, sound = self._mended()
        release = self._to_go_back_to(sound.state, to)
        target = self._admit(release.config, sound)
        return plan + proven_replacement(target, sound.state, release)

    def steps_scale(self, replicas: int) -> list[Step]:
        """Plan what `scale` would do; nothing is changed.

        Raises
        ------
        NotDeployedError
            When nothing serves.
        """
        plan, sound = self._mended()
        release = self._changed(sound.state, {"replicas": replicas})
        target = self._admit(release.config, sound)
        plan += replacement(target, sound.state, release)
        return plan + self._steps_prune(sound, plan, release)

    def steps_down(self) -> list[Step]:
        """Plan what `down` would do; nothing is changed."""
        return self._undeployment(self.check_owner())

    # --- parts of the verbs ---

    def _make_release(self, config: Configuration, fresh: bool) -> Release:
        return make_release(self.engine, config, self.root, self.console, fresh)

    def _claim(self, seen: Sight) -> None:
        claim(self.engine, seen.inventory, owner_here(self.root))

    def _target(self, kind: str) -> Target[Any]:
        kinds: dict[str, type[Target[Any]]] = {"host": HostTarget, "swarm": SwarmTarget}
        return kinds[kind](self.engine, self.name, self.console)

    def _mend(self) -> Sight:
        seen = self.check_owner()
        if is_there(seen.inventory):
            self._claim(seen)
        return self.look() if seen.target.heal(seen.state) else seen

    def _mended(self) -> tuple[list[Step], Sight]:
        seen = self.check_owner()
        plan, state = seen.target.mended(seen.state)
        return plan, Sight(seen.target, state)

    def _admit(self, config: Configuration, sound: Sight) -> Target[Any]:
        """Return the target that a configuration names, if it can be deployed there."""
        present = sound.target.kind
        if sound.state.release and present != config.target:
            raise ConfigurationError(
                f"target: {self.name} is deployed with `target: {present}`, got "
                f"{config.target!r}; `python -m deploy down` removes it, then `up` deploys it "
                "there (or choose another name)"
            )
        target = sound.target if present == config.target else self._target(config.target)
        target.check(config)
        return target

    def _replace_by(self, release: Release, sound: Sight) -> None:
        sound.facts["release"] = release.id
        credentials.prepare(self.engine, release.config, self.root)
        target = self._target(release.config.target)
        state = target.look(take_inventory(self.engine, self.name))
        target.perform(replacement(target, state, release))
        self._mark(release, sound)

    def _mark(self, release: Release | None, sound: Sight) -> None:
        """Say in the registry which versions serve now, in place of those that did."""
        former = origins_of(sound.inventory.find(sound.state.release))
        serving, identity = origins_of(release), release.id if release else ""
        sound.facts["models"] = [origin.uri for origin in serving]
        for sentence in mark_versions(self.name, identity, serving, former, self.root):
            self.console.say(sentence)

    def _prune(self, retain: int) -> list[str]:
        seen = self.look()
        plan = pruning(seen.inventory, retain, {seen.state.release, seen.state.previous})
        seen.target.perform(plan)
        pruned = [step.release.id for step in plan]
        left = [each for each in seen.inventory.containers if each.label("release") not in pruned]
        remove_unused_images(self.engine, self.name, {container.image for container in left})
        return pruned

    def _steps_prune(self, sound: Sight, plan: list[Step], release: Release) -> list[Step]:
        previous = previous_to(release, sound.state.release, sound.state.previous)
        inventory = after(sound.inventory, plan)
        return [*pruning(inventory, release.config.retain, {release.id, previous})]

    def _serving(self, state: Serving) -> Release:
        if not state.release:
            raise nothing(self.name)
        return state.inventory.kept(state.release)

    def _to_go_back_to(self, state: Serving, to: str) -> Release:
        wanted = to or state.previous
        if not wanted:
            raise NotDeployedError(
                f"{self.name}: no release served before this one; `python -m deploy releases` "
                "lists all"
            )
        return state.inventory.kept(wanted)

    def _changed(self, state: Serving, changes: dict[str, Any]) -> Release:
        now = self._serving(state)
        config = replace(now.config, **changes)
        return replace(now, id=release_id(now.image, config), config=config)

    def _undeployment(self, seen: Sight) -> list[Step]:
        return [*seen.target.removal(seen.state), RemoveAll(self.name)]


@contextmanager
def opened(
    address: str, name: str, root: Path, console: Console, *, take_over: bool = False
) -> Iterator[Deployment]:
    """Connect to an engine, through ssh if its address says so, until the block ends.

    Parameters
    ----------
    address : str
        The engine's; empty for this machine's socket.
    name : str
        The deployment's.
    root : Path
    console : Console
    take_over : bool, default False
        Whether to touch what another project has deployed.

    Raises
    ------
    UnreachableError
        When no engine answers.
    """
    with tunnel(address) as local, closing(Engine(local)) as engine:
        yield Deployment(engine, name, root, console, address, take_over=take_over)


def replacement(target: Target[Any], state: Any, release: Release) -> list[Step]:
    """Plan how a new release is recorded, proven, and replaces what serves."""
    passing = release.id not in (state.release, state.previous)
    return [Record(release, passing), *proven_replacement(target, state, release)]


def proven_replacement(target: Target[Any], state: Any, release: Release) -> list[Step]:
    """Plan how a release that is kept is proven, and replaces what serves."""
    return [Prove(release), *target.steps(state, release)]


def check_properties(config: Configuration, inventory: Inventory) -> None:
    """Refuse other properties than those that the deployment began with."""
    known = inventory.releases
    if known and dict(known[-1].config.properties) != dict(config.properties):
        raise ConfigurationError(
            f"properties: fixed with the first deploy as {dict(known[-1].config.properties)}, got "
            f"{dict(config.properties)}; put what changes into tags, or undeploy first"
        )


def origins_of(release: Release | None) -> tuple[Origin, ...]:
    """Return the registered models of a release; of none there are none."""
    return release.origins if release else ()


def nothing(name: str) -> NotDeployedError:
    """Say that nothing is deployed under a name."""
    return NotDeployedError(f"{name}: nothing is deployed; `make deploy` deploys it")
