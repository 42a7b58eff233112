"""How the replicas in a swarm are: where they run, what failed and why.

Next: `deploy.verbs.mutex`.
"""

from __future__ import annotations

from deploy.engine.docker_engine import SECOND
from deploy.errors import EngineError
from deploy.serving import ReplicaStatus, Troubles
from deploy.swarm.api import Listed, Swarm
from deploy.swarm.state import State, failed, hostname, node_of, runs, serves, wanted, words
from deploy.swarm.watch import is_ready

SHOWN = 5  # failures of the past
# A worker that the kernel kills for its memory is replaced by gunicorn, and neither engine nor
# swarm hears of it; on another host only the log can be read.
KILLED = "Perhaps out of memory?"
LINES = 2000  # of each log, in which that is looked for

Nodes = dict[str, Listed]


def replicas(swarm: Swarm, state: State) -> list[ReplicaStatus]:
    """Say how every replica is that is meant to run."""
    if state.replicas is None:
        return []
    nodes, name = swarm.nodes(), state.replicas["Spec"]["Name"]
    meant = sorted(filter(wanted, state.tasks), key=lambda task: int(task["Slot"]))
    return [_status(swarm, name, task, state.tasks, nodes) for task in meant]


def troubles(swarm: Swarm, state: State) -> Troubles:
    """Say what is amiss beside the replicas, and what failed before."""
    nodes = swarm.nodes()
    now, past = _proxy_troubles(swarm, state, nodes), []
    for task in state.tasks:
        if _is_stuck(task, state):
            now.append(words(task, nodes))
        else:
            past += _past(task, nodes)
    return Troubles(tuple(now), tuple(past[-SHOWN:]))


def logs(swarm: Swarm, state: State, lines: int | str) -> dict[str, list[str]]:
    """Read the last lines of every replica's log, by its name and host."""
    if state.replicas is None:
        return {}
    nodes, name = swarm.nodes(), state.replicas["Spec"]["Name"]
    found = {}
    for task in filter(wanted, state.tasks):
        host = hostname(task, nodes, "no host")
        found[f"{name}.{task['Slot']} on {host}"] = _log(swarm, task, lines)
    return found


def _status(
    swarm: Swarm, name: str, task: Listed, tasks: tuple[Listed, ...], nodes: Nodes
) -> ReplicaStatus:
    limits, slot = task["Spec"]["Resources"]["Limits"], task["Slot"]
    node = node_of(task, nodes)
    lost = node is not None and not is_ready(node)
    healthy = runs(task) and not lost  # running means healthy
    return ReplicaStatus(
        name=f"{name}.{slot}",
        state="lost" if lost else task["Status"]["State"],
        health="healthy" if healthy else "unknown",
        started=task["Status"]["Timestamp"],
        restarts=[past["Slot"] for past in filter(failed, tasks)].count(slot),
        oom_kills="\n".join(_log(swarm, task, LINES)).count(KILLED),
        memory=0,
        memory_limit=limits["MemoryBytes"],
        cpu_cores=limits["NanoCPUs"] / SECOND,
        node=hostname(task, nodes),
    )


def _log(swarm: Swarm, task: Listed, lines: int | str) -> list[str]:
    # Of a replica that has not begun, or whose host is lost, there is none.
    try:
        return swarm.log(task["ID"], lines) if runs(task) else []
    except EngineError as error:
        return [f"({error})"]


def _proxy_troubles(swarm: Swarm, state: State, nodes: Nodes) -> list[str]:
    tasks = swarm.tasks(state.proxy["ID"]) if state.proxy else []
    if state.replicas is None or any(map(serves, tasks)):
        return []
    return [words(tasks[-1], nodes)] if tasks else ["there is no proxy: `status --heal` starts it"]


def _is_stuck(task: Listed, state: State) -> bool:
    # In the middle of an update only what has an error is.
    starting = state.moving and "Err" not in task["Status"]
    return wanted(task) and not runs(task) and not starting


def _past(task: Listed, nodes: Nodes) -> list[str]:
    node, status = node_of(task, nodes), task["Status"]
    if failed(task):
        when = status["Timestamp"][:19].replace("T", " ")
        return [f"{when} UTC {words(task, nodes)}"]
    left_behind = runs(task) and not wanted(task)
    if node is None or not left_behind or node["Status"]["State"] != "down":
        return []
    why = node["Status"].get("Message", "no word")
    host = hostname(task, nodes)
    return [f"replica {task['Slot']} was on {host}, which is down ({why}); another took its place"]
