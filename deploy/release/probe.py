"""Asks a service from inside its container.

It is copied into the image as it is, so it needs the standard library only.

::

    python probe.py health          exit 0 when GET /ping answers 200: the container's health check
    python probe.py ready SECONDS   the same, asked again and again until then
    python probe.py prove SECONDS   POST preflight/request.json; is it preflight/expected.json?
    python probe.py memory          what the container's control group says

Each prints one line of JSON. The private port is asked: what others ask of the public one cannot
disturb it. It never runs longer than its deadline, and never imports the service.
Next: `deploy.release.credentials`.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REQUEST = HERE / "preflight" / "request.json"
EXPECTED = HERE / "preflight" / "expected.json"
# What it knows of the service: `deploy.contract` has the same, but is not in the image.
READY_ROUTE = "/ping"
SCORE_ROUTE = "/score"
SHOWN = 5  # differing numbers named in a refusal
# Another processor rounds otherwise, by so much of the largest number beside; and by more what may
# be sampled in single precision.
ROUNDING = 1e-9
ROUNDING_OF = {"local_importance_values": 1e-5, "standard_errors": 1e-5}


def main(arguments: list[str]) -> int:
    """Run one command and print what it found."""
    command, *rest = arguments
    seconds = float(rest[0]) if rest else 30.0
    signal.alarm(math.ceil(seconds) + 5)  # whatever hangs, this process ends
    found = COMMANDS[command](seconds)
    print(json.dumps(found))
    return 0 if found["ok"] else 1


def health(seconds: float) -> dict[str, Any]:
    """Ask for readiness once."""
    try:
        status, body = ask("GET", READY_ROUTE, seconds=min(seconds, 5))
    except OSError as error:
        return failure(READY_ROUTE, f"{type(error).__name__}: {error}")
    return {"ok": status == 200, "url": url(READY_ROUTE), "answer": answered(status, body)}


def ready(seconds: float) -> dict[str, Any]:
    """Ask until ready, or until the time is up."""
    start = time.monotonic()
    while not (found := health(seconds))["ok"] and time.monotonic() - start < seconds:
        time.sleep(0.05)
    return {**found, "since_start": round(_age_of_process(1), 3)}


def prove(seconds: float) -> dict[str, Any]:
    """Score the recorded example and compare with the recorded answer."""
    start = time.monotonic()
    try:
        status, body = ask("POST", SCORE_ROUTE, REQUEST.read_bytes(), seconds)
    except OSError as error:
        return failure(SCORE_ROUTE, f"{type(error).__name__}: {error}")
    if status != 200:
        return failure(SCORE_ROUTE, answered(status, body))
    differences = differing(json.loads(EXPECTED.read_bytes()), json.loads(body))
    return {
        "ok": not differences,
        "url": url(SCORE_ROUTE),
        "answer": body.decode(),
        "differences": differences[:SHOWN],
        "seconds": round(time.monotonic() - start, 3),
    }


def memory(seconds: float) -> dict[str, Any]:
    """Read the container's memory in bytes.

    Files that the kernel keeps in memory until somebody needs it are not counted as used. With it
    comes how often something in the container was killed for exceeding the limit.
    """
    group = Path("/sys/fs/cgroup")
    if (group / "memory.current").exists():  # the unified hierarchy
        used, limit, cache, events = "memory.current", "memory.max", "", "memory.events"
    else:
        group /= "memory"
        used, limit, cache, events = (
            "memory.usage_in_bytes",
            "memory.limit_in_bytes",
            "total_",
            "memory.oom_control",
        )
    statistics = group / "memory.stat"
    files = _field(statistics, f"{cache}inactive_file") + _field(statistics, f"{cache}active_file")
    return {
        "ok": True,
        "used": _number(group / used) - files,
        "limit": _number(group / limit),
        "oom_kills": _field(group / events, "oom_kill"),
    }


def ask(
    method: str, path: str, body: bytes | None = None, seconds: float = 30
) -> tuple[int, bytes]:
    """Send one request to the private port.

    Returns
    -------
    int, bytes
        The answer's status and body.

    Raises
    ------
    OSError
        When none comes in time, or what comes is no HTTP.
    """
    connection = _connection(int(os.environ["PROBE_PORT"]), seconds)
    try:
        connection.request(method, path, body, _headers())
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def failure(route: str, answer: str) -> dict[str, Any]:
    """Say what came instead of the answer that was expected."""
    return {"ok": False, "url": url(route), "answer": answer}


def answered(status: int, body: bytes) -> str:
    """Write an answer as part of a sentence."""
    return f"{status} {body[:500].decode(errors='replace').strip()}"


def url(path: str) -> str:
    """Say where it asks."""
    scheme = "https" if os.environ.get("TLS_CERT_FILE") else "http"
    return f"{scheme}://127.0.0.1:{os.environ['PROBE_PORT']}{path}"


def differing(expected: Any, got: Any, where: str = "answer", within: float = 0.0) -> list[str]:
    """Name where two JSON values differ.

    Numbers may differ by a millionth, or by a share of the largest of their kind, for another
    processor's arithmetic; importances by a larger one.

    Parameters
    ----------
    expected, got : object
        Parsed JSON.
    where : str
        What the first value is called.
    within : float
        The absolute difference that numbers may have; what stands under a name may differ by a
        share of the largest number there, too.

    Returns
    -------
    list of str
        A sentence for each place; empty when they are the same.

    Examples
    --------
    >>> differing({"predictions": [1.0, 2.0]}, {"predictions": [1.0, 2.1]})
    ['answer.predictions[1]: expected 2.0, got 2.1']
    """
    if _are_alike_objects(expected, got):
        return _differing_values(expected, got, where, within)
    if _are_alike_lists(expected, got):
        return _differing_items(expected, got, where, within)
    if _same(expected, got, within):
        return []
    return [f"{where}: expected {_short(expected)}, got {_short(got)}"]


def _are_alike_objects(expected: Any, got: Any) -> bool:
    both = isinstance(expected, dict) and isinstance(got, dict)
    return both and expected.keys() == got.keys()


def _are_alike_lists(expected: Any, got: Any) -> bool:
    both = isinstance(expected, list) and isinstance(got, list)
    return both and len(expected) == len(got)


def _differing_values(
    expected: dict[str, Any], got: dict[str, Any], where: str, within: float
) -> list[str]:
    found = []
    for key, value in expected.items():
        allowed = max(within, ROUNDING_OF.get(key, ROUNDING) * _largest(value))
        found += differing(value, got[key], f"{where}.{key}", allowed)
    return found


def _differing_items(expected: list[Any], got: list[Any], where: str, within: float) -> list[str]:
    found = []
    for at, (one, other) in enumerate(zip(expected, got, strict=True)):
        found += differing(one, other, f"{where}[{at}]", within)
    return found


def _largest(values: Any) -> float:
    if isinstance(values, dict):
        return _largest(list(values.values()))
    if isinstance(values, list):
        return max(map(_largest, values), default=0.0)
    return abs(values) if isinstance(values, float) else 0.0


def _same(expected: Any, got: Any, within: float) -> bool:
    if isinstance(expected, float) and isinstance(got, float):
        return math.isclose(expected, got, rel_tol=1e-6, abs_tol=within)
    return bool(expected == got)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _connection(port: int, seconds: float) -> http.client.HTTPConnection:
    if not os.environ.get("TLS_CERT_FILE"):
        return http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    # The certificate names the public host; here it is the container's own.
    context = ssl._create_unverified_context()
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=seconds, context=context)


def _headers() -> dict[str, str]:
    file = os.environ.get("AUTH_KEYS_FILE")
    return {"Authorization": f"Bearer {Path(file).read_text().split()[0]}"} if file else {}


def _age_of_process(process: int) -> float:
    # Of process 1, the container's age. The name in parentheses may hold spaces; the 22nd field is
    # the start in ticks.
    ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _number(file: Path) -> int:
    text = file.read_text().strip()
    return int(text) if text.isdigit() else 0  # "max": no limit


def _field(file: Path, name: str) -> int:
    fields = dict(line.split() for line in file.read_text().splitlines())
    return int(fields.get(name, 0))


COMMANDS = {"health": health, "ready": ready, "prove": prove, "memory": memory}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
