"""The plans of a swarm, without one: what it is told, and when it is waited for."""

import pytest

from deploy.configuration import configuration
from deploy.engine.docker_engine import Container
from deploy.engine.labels import COURIER, labels
from deploy.errors import ConfigurationError
from deploy.release.inventory import Inventory
from deploy.release.release import Release
from deploy.steps import Accept, Note, Record, Remove, after
from deploy.swarm import plan
from deploy.swarm.plan import (
    FinishUpdate,
    Publish,
    RemoveFromSwarm,
    Spread,
    Tidy,
    UpdateProxy,
    UpdateReplicas,
)
from deploy.swarm.specs import SERVICE
from deploy.swarm.state import State


def release(name, **more):
    values = {"name": "scoring", "target": "swarm", "bind": "0.0.0.0", **more}
    return Release(name, "sha256:0123456789abcdef", configuration(values), "c" * 64, 1.0)


OLD = release("old")
INVENTORY = after(Inventory("scoring"), [Record(OLD, passing=True)])
NOTHING = State(None, None, inventory=Inventory("scoring"))


def task(times, state="running"):
    status = {"State": state}
    return {"ID": "t", "Spec": {"ForceUpdate": times}, "Status": status, "DesiredState": "running"}


def serving(update="completed", tasks=(), **more):
    """The old release, rolled out once, with one replica."""
    spec = {
        "Name": "scoring",
        "Labels": labels("scoring", SERVICE, release="old", previous="older"),
        "TaskTemplate": {"ForceUpdate": 1},
        "Mode": {"Replicated": {"Replicas": 1}},
    }
    service = {"ID": "s", "Spec": spec, "UpdateStatus": {"State": update} if update else {}, **more}
    return State(service, None, tuple(tasks), INVENTORY)


def kinds(steps):
    return [type(step) for step in steps]


def test_the_swarm_is_told_once_and_the_proxy_follows():
    """What comes after the release was accepted is finished, whatever happens."""
    steps = plan.steps(NOTHING, OLD)
    assert kinds(steps) == [UpdateReplicas, UpdateProxy, Accept, Spread, Tidy]
    assert (steps[0].service, steps[0].times, steps[0].previous) == (None, 1, "")


def test_an_update_counts_on_from_what_was_taken_back():
    """A rollout that the swarm has undone left tasks with a number of its own."""
    state = serving("rollback_completed", [task(1), task(2, "failed")])
    steps = plan.steps(state, release("new"))
    assert (steps[0].times, steps[0].previous, steps[0].service) == (3, "old", state.replicas)


def test_with_a_registry_the_image_is_sent_first():
    """Under a tag of its own."""
    steps = plan.steps(NOTHING, release("new", registry="registry.example:5000/scoring"))
    assert kinds(steps)[0] is Publish
    assert steps[0].text == "Sending the image to registry.example:5000/scoring:0123456789ab"


def test_http_does_not_become_https_while_it_serves():
    """Behind the proxy replicas of both kinds would stand side by side."""
    secure = release("new", tls={"certificate": "c.pem", "key": "k.pem"})
    with pytest.raises(ConfigurationError, match="tls: scoring serves http, and behind the proxy"):
        plan.steps(serving(), secure)


@pytest.mark.parametrize(
    ("update", "tasks", "steps"),
    [
        ("completed", [task(1)], []),
        ("", [task(1)], []),
        ("", [], [FinishUpdate]),
        ("updating", [task(1)], [FinishUpdate]),
        ("rollback_started", [task(1)], [FinishUpdate]),
        ("rollback_completed", [task(1), task(2, "failed")], []),
    ],
)
def test_what_the_swarm_was_told_before_is_waited_for(update, tasks, steps):
    """An update under way, or a first release of which not every replica runs yet."""
    assert kinds(plan.mending(serving(update, tasks))) == steps


def test_a_network_without_a_service_is_removed():
    """A first release that was killed has left it."""
    steps = plan.mending(NOTHING)
    assert kinds(steps) == [Note, RemoveFromSwarm]
    assert steps[0].text == (
        "Removing what a deployment of scoring that was interrupted has left in the swarm"
    )


def test_leftovers_on_the_manager_are_removed():
    """A courier that nobody removed."""
    left = Container("x", "courier", "created", "i", labels("scoring", COURIER))
    state = serving()
    inventory = Inventory("scoring", (*state.inventory.containers, left))
    found = plan.mending(State(state.replicas, None, state.tasks, inventory))
    assert found == [Remove(left, "left by a deployment that was interrupted")]
