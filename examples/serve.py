"""Serve the trained models with gunicorn, ask for some rows, and stay up until Ctrl-C.

This is what ``make serve`` runs.
"""

import errno
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.settings import Settings, SettingsError

SECONDS_TO_START = 60
SERVER = [sys.executable, "-m", "service", "serve"]
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where a server that listens everywhere is asked

# The server is on this machine: a proxy set in the environment would look for it elsewhere.
web = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> int:
    """Start the server, show what it answers, and wait for it."""
    settings = read_settings()
    check_free(settings)
    folder = settings.model_folder
    host = ANYWHERE.get(settings.host, settings.host)
    address = f"http://{Settings(host=host, port=settings.port).binds[0]}"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a plain kill stops the server too
    server = subprocess.Popen(SERVER)
    try:
        wait_until_ready(server, f"{address}/ping")
        try_examples(folder, f"{address}/score")
        print("\nServing; Ctrl-C stops.", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def read_settings() -> Settings:
    """Read the environment; a setting that cannot be used ends the program with one sentence."""
    try:
        return Settings.from_environment()
    except SettingsError as error:
        sys.exit(f"make serve: {error}")


def check_free(settings: Settings) -> None:
    """End the program when nothing can listen there.

    Another server would answer in the place of this one.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        reason = error.strerror or error
        other = "PORT=8081" if error.errno == errno.EADDRINUSE else "HOST=127.0.0.1"
        sys.exit(
            f"make serve: cannot listen on {settings.binds[0]} ({reason}); "
            f"choose another: make serve {other}"
        )


def wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Ask until the server says that it is ready; give up when it has ended or takes too long."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(
                f"make serve: gunicorn ended with code {server.returncode}; "
                "its last lines above say why."
            )
        try:
            with web.open(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"make serve: {url} did not answer 200 within {SECONDS_TO_START} seconds.")


def try_examples(folder: Path, url: str) -> None:
    """Ask for the rows in ``examples.json`` and say how to repeat it.

    Without that file, say how to ask.
    """
    examples = folder / "examples.json"
    if not examples.is_file():
        print(f"\nNo {examples} with rows to try. To ask for some of yours:")
        print(f"  {curl('rows.json', url)}")
        return
    try:
        show(post(url, examples.read_bytes()), read_manifest(folder))
    except urllib.error.HTTPError as refusal:
        print(f"\nThe service answered {refusal.code} to {examples}: {refusal.read().decode()}")
    except OSError as error:
        print(f"\nThe service did not answer to {examples}: {error}")
    print(f"\nTo repeat it:\n  {curl(str(examples), url)}")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read what is written about the scoring explainer; None where there is none."""
    manifest = folder / "scoring_explainer.json"
    return json.loads(manifest.read_bytes()) if manifest.is_file() else None


def curl(rows: str, url: str) -> str:
    """Write the command that posts a file."""
    return shlex.join(["curl", "--data", f"@{rows}", url])


def post(url: str, body: bytes) -> Any:
    """POST JSON and return the decoded answer."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with web.open(request, timeout=60) as response:
        return json.load(response)


def show(answer: Any, manifest: dict[str, Any] | None) -> None:
    """Print each row's prediction with its three largest local importances by name."""
    is_ours = isinstance(answer, dict) and {"predictions", "local_importance_values"} <= set(answer)
    if manifest is None or not is_ours:
        print(f"\nThe answer of an entry script of your own:\n  {json.dumps(answer)[:300]}")
        return
    print(f"\nPredictions, with the three largest local importances ({manifest['output']} scale):")
    values = answer["local_importance_values"]
    for row, prediction in enumerate(answer["predictions"]):
        for name, importances in reasons(row, prediction, values, manifest):
            print(f"  row {row}: {name}: {largest(manifest['features'], importances)}")


def largest(features: list[str], importances: list[float]) -> str:
    """Write the three largest importances, with their features."""
    pairs = sorted(zip(features, importances, strict=True), key=lambda pair: -abs(pair[1]))
    return ", ".join(f"{feature} {value:+.3f}" for feature, value in pairs[:3])


def reasons(
    row: int, prediction: Any, values: list[Any], manifest: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Say what was predicted and give the importances that explain it, once for each target."""
    if manifest["classes"]:  # [class][row][feature]: the reasons for the class that was predicted
        predicted = class_index(row, prediction, values, manifest)
        yield f"{prediction} ({manifest['classes'][predicted]})", values[predicted][row]
    elif isinstance(manifest["expected_values"], list):  # [target][row][feature]
        for target, of_target in enumerate(values):
            yield f"{prediction} (target {target})", of_target[row]
    else:
        yield str(prediction), values[row]


def class_index(row: int, prediction: Any, values: list[Any], manifest: dict[str, Any]) -> int:
    """Find the predicted class by its label.

    A function has no labels: there it is the class of the largest output.
    """
    if prediction in (manifest["labels"] or ()):
        return manifest["labels"].index(prediction)
    outputs = [
        mean + sum(of_class[row])
        for mean, of_class in zip(manifest["expected_values"], values, strict=True)
    ]
    return outputs.index(max(outputs))


if __name__ == "__main__":
    sys.exit(main())
