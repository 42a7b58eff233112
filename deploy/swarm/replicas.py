"""How the replicas in a swarm are: where they run, what failed and why."""

from __future__ import annotations

from dataclasses import replace

from deploy.engine.docker_engine import SECOND, Engine
from deploy.errors import EngineError
from deploy.serving import ReplicaStatus, Troubles
from deploy.swarm.api import Listed, Swarm
from deploy.swarm.state import failed, look, runs, wanted, words

SHOWN = 5  # failures of the past
# A worker that the kernel kills for its memory is replaced by gunicorn, and neither engine nor
# swarm hears of it; on another host only the log can be read.
KILLED = "Perhaps out of memory?"
LINES = 2000  # of each log, in which that is looked for


def replicas(engine: Engine, name: str) -> list[ReplicaStatus]:
    """Look at every replica that is meant to run."""
    swarm, service = Swarm(engine, name), look(engine, name).replicas
    if service is None:
        return []
    nodes, tasks = swarm.nodes(), swarm.tasks(service["ID"])
    return [
        replace(
            _status(service, task, nodes.get(task.get("NodeID", ""))),
            restarts=sum(failed(past) and past["Slot"] == task["Slot"] for past in tasks),
            oom_kills=sum(KILLED in line for line in _log(swarm, task, LINES)),
        )
        for task in sorted(filter(wanted, tasks), key=lambda task: int(task["Slot"]))
    ]


def _log(swarm: Swarm, task: Listed, lines: int | str) -> list[str]:
    # Of a replica that has not begun, or whose host is lost, there is none.
    try:
        return swarm.log(task["ID"], lines) if runs(task) else []
    except EngineError as error:
        return [f"({error})"]


def _status(service: Listed, task: Listed, node: Listed | None) -> ReplicaStatus:
    limits = task["Spec"]["Resources"]["Limits"]
    lost = node is not None and node["Status"]["State"] != "ready"
    return ReplicaStatus(
        name=f"{service['Spec']['Name']}.{task['Slot']}",
        state="lost" if lost else task["Status"]["State"],
        health="healthy" if runs(task) and not lost else "unknown",  # running means healthy
        started=task["Status"]["Timestamp"],
        restarts=0,
        oom_kills=0,
        memory=0,
        memory_limit=limits["MemoryBytes"],
        cpu_cores=limits["NanoCPUs"] / SECOND,
        node=node["Description"]["Hostname"] if node else "",
    )


def troubles(engine: Engine, name: str) -> Troubles:
    """Say what is amiss beside the replicas, and what failed before."""
    swarm, state = Swarm(engine, name), look(engine, name)
    nodes = swarm.nodes()
    now, past = [], []
    proxies = swarm.tasks(state.proxy["ID"]) if state.proxy else []
    if state.replicas and not any(wanted(task) and runs(task) for task in proxies):
        now.append(
            words(proxies[-1], nodes) if proxies else "there is no proxy: `status --heal` starts it"
        )
    for task in swarm.tasks(state.replicas["ID"]) if state.replicas else []:
        node = nodes.get(task.get("NodeID", ""))
        if wanted(task) and not runs(task) and not (state.moving and "Err" not in task["Status"]):
            now.append(words(task, nodes))
        elif failed(task):
            past.append(
                f"{task['Status']['Timestamp'][:19].replace('T', ' ')} UTC {words(task, nodes)}"
            )
        elif node and node["Status"]["State"] == "down" and runs(task) and not wanted(task):
            past.append(
                f"replica {task['Slot']} was on {node['Description']['Hostname']}, which is down "
                f"({node['Status'].get('Message', 'no word')}); another took its place"
            )
    return Troubles(tuple(now), tuple(past[-SHOWN:]))


def logs(engine: Engine, name: str, lines: int | str) -> dict[str, list[str]]:
    """Read the last lines of every replica's log, by its name and host."""
    swarm, service = Swarm(engine, name), look(engine, name).replicas
    if service is None:
        return {}
    nodes = swarm.nodes()
    found = {}
    for task in filter(wanted, swarm.tasks(service["ID"])):
        host = (
            nodes.get(task.get("NodeID", ""), {}).get("Description", {}).get("Hostname", "no host")
        )
        found[f"{name}.{task['Slot']} on {host}"] = _log(swarm, task, lines)
    return found
