"""Where a deployment runs, behind the same few functions: what differs between targets, and nothing
else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy.configuration import Configuration
from deploy.console import Console
from deploy.engine.docker_engine import Engine
from deploy.engine.labels import ANCHOR, REPLICA
from deploy.errors import ConfigurationError
from deploy.host import replicas, rollout, state
from deploy.release.release import Release
from deploy.serving import ReplicaStatus, Serving, Troubles
from deploy.swarm import replicas as swarm_replicas
from deploy.swarm import rollout as swarm_rollout
from deploy.swarm import state as swarm_state
from deploy.swarm.api import Swarm


@dataclass(frozen=True)
class Target:
    """What the verbs need of a target; each function begins with the engine.

    Parameters
    ----------
    check : function of a configuration
        Refuses an engine that cannot be the target, before anything is built.
    asked : function of a configuration
        The same with the address, as `bind`, at which the deployment is asked.
    look, replicas, troubles, logs : function of the deployment's name
        What serves; how its replicas are; what else is amiss or failed before; the last lines of
        each.
    roll_out : function of a release and a console
        Replaces what serves, without losing a request.
    renew : function of a release and a console
        Has the replicas take the present keys.
    heal, remove : function of the deployment's name and a console
        Brings what runs to what should, and says whether anything was amiss; takes everything that
        runs away.
    """

    check: Callable[[Engine, Configuration], None]
    asked: Callable[[Engine, Configuration], Configuration]
    look: Callable[[Engine, str], Serving]
    replicas: Callable[[Engine, str], list[ReplicaStatus]]
    troubles: Callable[[Engine, str], Troubles]
    logs: Callable[[Engine, str, int | str], dict[str, list[str]]]
    roll_out: Callable[[Engine, Release, Console], None]
    renew: Callable[[Engine, Release, Console], None]
    heal: Callable[[Engine, str, Console], bool]
    remove: Callable[[Engine, str, Console], None]


HOST = Target(
    check=lambda engine, config: rollout.check_kernel(engine),
    asked=lambda engine, config: config,
    look=state.look,
    replicas=replicas.replicas,
    troubles=lambda engine, name: Troubles(),
    logs=replicas.logs,
    roll_out=rollout.roll_out,
    renew=lambda engine, release, console: None,  # the service reads a changed file again by itself
    heal=rollout.heal,
    remove=rollout.remove,
)
SWARM = Target(
    check=swarm_rollout.check,
    asked=swarm_rollout.asked,
    look=swarm_state.look,
    replicas=swarm_replicas.replicas,
    troubles=swarm_replicas.troubles,
    logs=swarm_replicas.logs,
    roll_out=swarm_rollout.roll_out,
    renew=swarm_rollout.roll_out,
    heal=swarm_rollout.heal,
    remove=swarm_rollout.remove,
)
TARGETS = {"host": HOST, "swarm": SWARM}


def target_of(engine: Engine, name: str) -> Target:
    """Return the target on which something is deployed; one host when nothing is."""
    return TARGETS[_deployed_on(engine, name) or "host"]


def target_for(engine: Engine, config: Configuration) -> Target:
    """Return the target that a configuration names.

    Raises
    ------
    ConfigurationError
        When the same name is deployed on the other.
    EngineError
        When the engine cannot be the target.
    """
    present = _deployed_on(engine, config.name)
    if present and present != config.target:
        raise ConfigurationError(
            f"target: {config.name} is deployed with `target: {present}`, got {config.target!r}; "
            "`python -m deploy down` removes it, then `up` deploys it there (or choose another name)"
        )
    target = TARGETS[config.target]
    target.check(engine, config)
    return target


def _deployed_on(engine: Engine, name: str) -> str:
    if engine.info["Swarm"].get("ControlAvailable") and Swarm(engine, name).networks():
        return "swarm"
    roles = {container.label("role") for container in engine.containers(name)}
    return "host" if roles & {ANCHOR, REPLICA} else ""
