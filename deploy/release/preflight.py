"""Proving a release before it gets a request.

The release runs as it would serve, with the same limits and hardening, but without a network unless
deploy.yml allows one; it must become ready and give the recorded answer to the recorded example.
What is refused here never met a client. Next: `deploy.release.advice`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deploy.console import last_lines
from deploy.contract import ACCESS_LOGGER, PROBE
from deploy.engine.docker_engine import Engine
from deploy.errors import DeployError, EngineError, RefusedError
from deploy.release import specs
from deploy.release.advice import advice
from deploy.release.release import Release

SETTLING = 20  # tenths of a second
NETWORK_LIMITS = {True: "", False: "; no network, unless `preflight_network: true`"}
READ = 200  # lines of a log, of which the last that say something are shown


@dataclass(frozen=True)
class Proof:
    """What the preflight measured.

    Parameters
    ----------
    seconds : float
        From the container's start until it was ready.
    memory : int
        Bytes in use after the example was scored.
    answer : str
        The answer to the example; empty when there is none.
    """

    seconds: float
    memory: int
    answer: str


def preflight(engine: Engine, release: Release) -> Proof:
    """Run a release, and ask it what it was recorded to answer.

    Raises
    ------
    RefusedError
        When it ends, does not become ready in time, answers something else, or exceeds its memory.
    """
    container = engine.create(
        f"{release.config.name}-preflight-{release.id}", specs.preflight(release)
    )
    try:
        engine.start(container)
        started = wait_until_ready(engine, container, release)
        answer = prove(engine, container, release)
        memory = ask(engine, container, "memory")
        if memory["oom_kills"]:
            raise refusal(
                engine,
                container,
                release,
                "something in it was killed for exceeding the memory limit",
            )
        return Proof(started, memory["used"], answer)
    finally:
        engine.remove(container)


def wait_until_ready(engine: Engine, container: str, release: Release) -> float:
    """Wait until a container's service is ready.

    Returns
    -------
    float
        The seconds that it took from the container's start.

    Raises
    ------
    RefusedError
        When it ends or does not become ready in time.
    """
    seconds = release.config.timeouts.ready
    found = ask(engine, container, "ready", str(seconds))
    if not found["ok"]:
        reason = f"{found['url']} answered {found['answer']}, expected 200 within {seconds} s"
        raise refusal(engine, container, release, reason if found.get("url") else found["answer"])
    return float(found["since_start"])


def prove(engine: Engine, container: str, release: Release) -> str:
    """Have the recorded example scored, and return the answer.

    Raises
    ------
    RefusedError
        When the answer is not the recorded one.
    """
    if not release.config.example:
        return ""
    found = ask(engine, container, "prove", str(release.config.timeouts.request))
    if not found["ok"]:
        raise refusal(engine, container, release, _what_was_wrong(found))
    return str(found["answer"])


def _what_was_wrong(found: dict[str, Any]) -> str:
    if not found["url"]:
        return str(found["answer"])
    if not found.get("differences"):
        return f"{found['url']} answered {found['answer']}"
    lines = "".join(f"\n    {line}" for line in found["differences"])
    return f"{found['url']} its answer is not the recorded one:{lines}"


def ask(engine: Engine, container: str, *command: str) -> dict[str, Any]:
    """Run the probe in a container and read its line.

    A container that has ended gives an answer too.
    """
    try:
        _, output = engine.run_inside(container, [*PROBE, *command])
        return dict(json.loads(output.splitlines()[-1]))
    except (EngineError, ValueError, IndexError):
        state = _settled(engine, container)
        said = (
            "the container runs, but the probe in it said nothing"
            if state["Running"]
            else "the container has ended"
        )
        return {"ok": False, "url": "", "answer": said}


def _settled(engine: Engine, container: str) -> dict[str, Any]:
    # A command in a container ends a moment before the engine knows that the container has ended.
    for _ in range(SETTLING):
        state = dict(engine.inspect(container)["State"])
        if not state["Running"]:
            break
        time.sleep(0.1)
    return state


def refusal(engine: Engine, container: str, release: Release, reason: str) -> RefusedError:
    """Say why a release is refused, with what the engine and the container said."""
    found = engine.inspect(container)
    state = found["State"]
    has_network = found["HostConfig"]["NetworkMode"] != specs.NETWORKS[False]
    memory = ask(engine, container, "memory") if state["Running"] else {}
    facts = "; ".join(_facts(state, memory))
    known = f" [{facts}]" if facts else ""
    said = log(engine, container)
    lines = [
        f"release {release.id} is refused: {reason}{known} {_limits(release, has_network)}",
        last_lines(said or ["(it wrote nothing to its log)"]),
        *advice("\n".join([reason, *said]), release.config, has_network=has_network),
        "What serves was not touched. Mend the release and deploy again.",
    ]
    return RefusedError("\n".join(lines))


def _limits(release: Release, has_network: bool) -> str:
    config = release.config
    network = NETWORK_LIMITS[has_network]
    return f"(limits: {config.cpu_cores:g} CPU, {config.memory_gb:g} GB{network})"


def _facts(state: dict[str, Any], memory: dict[str, Any]) -> list[str]:
    facts = []
    if not state["Running"]:
        facts.append(f"exit code {state['ExitCode']}")
    if state["OOMKilled"] or memory.get("oom_kills"):
        facts.append("killed for exceeding the memory limit")
    if state["Error"]:
        facts.append(state["Error"])
    return facts


def log(engine: Engine, container: str) -> list[str]:
    """Return the last lines of a container's log."""
    try:
        return readable(engine.logs(container, READ))
    except DeployError as error:
        return [f"(its log cannot be read: {error})"]


def readable(lines: Iterable[str]) -> list[str]:
    """Write the service's log, JSON for machines, for a person.

    An event is its level and message, then its traceback line by line. Answered requests are left
    out, most of them the probe's own; what is not of this form stays as it is.

    Examples
    --------
    >>> readable(['{"level": "info", "message": "Shutting down"}', "not JSON"])
    ['info: Shutting down', 'not JSON']
    """
    written = []
    for line in lines:
        written += _event(line)
    return written


def _event(line: str) -> list[str]:
    try:
        event = json.loads(line)
        said = f"{event['level']}: {event['message']}"
    except (ValueError, TypeError, KeyError):
        return [line]
    if event.get("logger") == ACCESS_LOGGER:
        return []
    return [said, *event.get("traceback", "").splitlines()]
