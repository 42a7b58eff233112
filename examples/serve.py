"""Serve the trained models with gunicorn, ask for four rows over HTTP, and stay up until Ctrl-C: ``make serve``."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from service.web.settings import Settings

SECONDS_TO_START = 60
GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "service/web/gunicorn_conf.py", "--log-level", "warning"]


def main() -> int:
    """Start the server, show what it answers, and wait for it."""
    settings = Settings.from_environment(os.environ)
    folder = Path(os.environ.get("AZUREML_MODEL_DIR", "artifacts"))
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    address = f"http://{host}:{settings.port}"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a plain kill stops the server too
    server = subprocess.Popen(GUNICORN)
    try:
        wait_until_ready(server, f"{address}/ping")
        body = (folder / "examples.json").read_bytes()
        manifest = json.loads((folder / "scoring_explainer.json").read_bytes())
        show(post(f"{address}/score", body), manifest)
        print(
            f"\nTo repeat it:\n  curl --data @{folder}/examples.json {address}/score\n\nServing; Ctrl-C stops.",
            flush=True,
        )
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Ask until the server says that it is ready; give up when it has ended or takes too long."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"make serve: gunicorn ended with code {server.returncode}; its last lines above say why.")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    sys.exit(f"make serve: {url} did not answer 200 within {SECONDS_TO_START} seconds.")


def post(url: str, body: bytes) -> Any:
    """POST JSON and return the decoded answer."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def show(answer: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Print each row's prediction with its three largest local importances by name."""
    print(f"\nPredictions, with the three largest local importances ({manifest['output']} scale):")
    for row, prediction in enumerate(answer["predictions"]):
        importances, name = answer["local_importance_values"], str(prediction)
        if manifest["classes"]:  # [class][row][feature]: the reasons for the class that was predicted
            predicted = manifest["labels"].index(prediction)
            importances, name = importances[predicted], f"{prediction} ({manifest['classes'][predicted]})"
        largest = sorted(zip(manifest["features"], importances[row], strict=True), key=lambda pair: -abs(pair[1]))[:3]
        print(f"  row {row}: {name}: {', '.join(f'{feature} {value:+.3f}' for feature, value in largest)}")


if __name__ == "__main__":
    sys.exit(main())
