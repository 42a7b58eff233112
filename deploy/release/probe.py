"""Asks a service from inside its container. The standard library only: it is copied into the image
as it is.

::

    python probe.py health                 exit 0 when GET /ping answers 200; the container's health check
    python probe.py ready SECONDS          the same, asked again and again until then
    python probe.py prove                  POST preflight/request.json and compare with preflight/expected.json
    python probe.py memory                 what the container's control group says

Each prints one line of JSON. Over the private port: what others ask of the public one cannot
disturb it. It never runs longer than its deadline, and never imports the service.
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
SHOWN = 5  # differing numbers named in a refusal
# What may be sampled in single precision: another processor rounds it otherwise, by so much of the
# largest number.
SAMPLED, SHARE = ("local_importance_values", "standard_errors"), 1e-5


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
        status, body = ask("GET", "/ping", seconds=min(seconds, 5))
    except OSError as error:
        return {"ok": False, "url": url("/ping"), "answer": f"{type(error).__name__}: {error}"}
    return {"ok": status == 200, "url": url("/ping"), "answer": answered(status, body)}


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
        status, body = ask(
            "POST", "/score", (HERE / "preflight" / "request.json").read_bytes(), seconds
        )
    except OSError as error:
        return {"ok": False, "url": url("/score"), "answer": f"{type(error).__name__}: {error}"}
    if status != 200:
        return {"ok": False, "url": url("/score"), "answer": answered(status, body)}
    expected = json.loads((HERE / "preflight" / "expected.json").read_bytes())
    differences = differing(expected, json.loads(body))
    return {"ok": not differences, "url": url("/score"), "answer": body.decode(), "differences": differences[:SHOWN],
            "seconds": round(time.monotonic() - start, 3)}  # fmt: skip


def memory(seconds: float) -> dict[str, Any]:
    """Read the container's memory in bytes, and how often something in it was killed for exceeding
    the limit.

    Files that the kernel keeps in memory until somebody needs it are not counted as used.
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
    files = sum(
        _field(group / "memory.stat", f"{cache}{kind}_file") for kind in ("inactive", "active")
    )
    return {
        "ok": True,
        "used": _number(group / used) - files,
        "limit": _number(group / limit),
        "oom_kills": _field(group / events, "oom_kill"),
    }


def ask(
    method: str, path: str, body: bytes | None = None, seconds: float = 30
) -> tuple[int, bytes]:
    """Send one request to the private port."""
    port = int(os.environ["PROBE_PORT"])
    connection: http.client.HTTPConnection
    if os.environ.get("TLS_CERT_FILE"):
        # The certificate names the public host; here it is the container's own.
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=seconds, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body, _headers())
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def answered(status: int, body: bytes) -> str:
    """Write an answer as part of a sentence."""
    return f"{status} {body[:500].decode(errors='replace').strip()}"


def url(path: str) -> str:
    """Say where it asks."""
    return f"{'https' if os.environ.get('TLS_CERT_FILE') else 'http'}://127.0.0.1:{os.environ['PROBE_PORT']}{path}"


def differing(expected: Any, got: Any, where: str = "answer", within: float = 1e-9) -> list[str]:
    """Name where two JSON values differ; numbers may by a millionth or by `within`, for another
    processor's arithmetic.

    Importances may by a share of the largest of them.
    """
    if isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        inner = [
            (
                expected[key],
                got[key],
                f"{where}.{key}",
                SHARE * _largest(expected[key]) if key in SAMPLED else within,
            )
            for key in expected
        ]
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = enumerate(zip(expected, got, strict=True))
        inner = [(one, other, f"{where}[{at}]", within) for at, (one, other) in pairs]
    else:
        same = _same(expected, got, within)
        return [] if same else [f"{where}: expected {_short(expected)}, got {_short(got)}"]
    return [found for pair in inner for found in differing(*pair)]


def _largest(values: Any) -> float:
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
