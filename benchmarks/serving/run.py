"""Measure the service under load, in ratios against peers of the same run; see
benchmarks/README.md.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # read when numpy is imported

from benchmarks.serving.servers import HERE, ROOT, running
from service.scoring import ScoringModel

RESULTS = HERE.parent / "results" / "service.json"
ARTIFACTS = ROOT / "artifacts"
TURNS, PAIRS = 5, 43
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=8, help="of each turn")
    parser.add_argument("--soak-seconds", type=float, default=600)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit(
            "make bench-service: expected the load generator wrk, found none; "
            "on Debian: apt-get install wrk"
        )
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        place = prepared(Path(folder))
        for name in given.only:
            results[name] = PARTS[name](place, given)
            print(name, json.dumps(results[name]), flush=True)
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def prepared(folder):
    """Copy the models, and write bodies of one and of four rows."""
    for file in ARTIFACTS.iterdir():
        shutil.copy(file, folder)
    four = json.loads((folder / "examples.json").read_text())
    (folder / "four.json").write_text(json.dumps(four))
    (folder / "one.json").write_text(
        json.dumps({name: dict([next(iter(rows.items()))]) for name, rows in four.items()})
    )
    return folder


def load(url, body, connections, seconds):
    """Post with wrk; return what its last line says."""
    environment = {**os.environ, "BODY": "" if body is None else str(body)}
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--timeout",
        "60s",
        "-s",
        str(HERE / "post.lua"),
        url,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return {**said, "per_second": said["requests"] / said["seconds"]}


def predictions(folder, given):
    """Requests a second for predictions alone, one row, 16 connections: the servers take turns."""
    with (
        running("ours", folder) as ours,
        running("bare", folder) as bare,
        running("azureml", folder) as azureml,
    ):
        urls = {
            "ours": f"{ours.address}/score?explain=false",
            "bare": f"{bare.address}/score",
            "azureml": f"{azureml.address}/score",
        }
        turns = [
            {name: load(url, folder / "one.json", 16, given.seconds) for name, url in urls.items()}
            for _ in range(TURNS)
        ]
    rates = {name: statistics.median(turn[name]["per_second"] for turn in turns) for name in urls}
    ratios = {
        f"against_{peer}": statistics.median(
            turn["ours"]["per_second"] / turn[peer]["per_second"] for turn in turns
        )
        for peer in ("bare", "azureml")
    }
    return {
        "per_second": rates,
        **ratios,
        "errors": {name: sum(turn[name]["errors"] for turn in turns) for name in urls},
    }


def importances(folder, given):
    """Four rows with importances: time over the wire against time in process, and the spread under
    load.
    """
    model, body = ScoringModel.load(folder), (folder / "four.json").read_bytes()
    with running("ours", folder) as server:
        url = f"{server.address}/score"
        post = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        turns = [
            (timed(lambda: answered(post)), timed(lambda: model.score(body).to_dict()))
            for _ in range(PAIRS)
        ][3:]
        busy = load(url, folder / "four.json", 16, 10 * given.seconds)
    return {
        "p50_ms": statistics.median(wire for wire, _ in turns),
        "in_process_ms": statistics.median(inside for _, inside in turns),
        "difference_ms": statistics.median(wire - inside for wire, inside in turns),
        "p50_of_16_ms": busy["p50_ms"],
        "p99_of_16_ms": busy["p99_ms"],
        "p99_to_p50_of_16": busy["p99_ms"] / busy["p50_ms"],
        "errors": busy["errors"],
    }


def timed(call):
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)


def answered(request):
    with direct.open(request, timeout=60) as answer:
        return answer.read()


def health(folder, given):
    """Time of /ping while 16 connections ask for importances."""
    with running("ours", folder) as server:
        seconds = 2 * given.seconds
        scoring = threading.Thread(
            target=load, args=(f"{server.address}/score", folder / "four.json", 16, seconds)
        )
        scoring.start()
        time.sleep(1)
        times = sorted(probed(f"{server.address}/ping", seconds - 2))
        scoring.join()
    return {
        "probes": len(times),
        "p50_ms": 1e3 * times[len(times) // 2],
        "p99_ms": 1e3 * times[int(0.99 * len(times))],
        "largest_ms": 1e3 * times[-1],
    }


def probed(url, seconds):
    """Ask every 20 ms, on a new connection each time as load balancers do."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        with direct.open(url, timeout=30) as answer:
            answer.read()
        yield time.perf_counter() - started
        time.sleep(0.02)


def start(folder, given):
    """Seconds from the start of the process to the first 200, against gunicorn with a bare view of
    the same model.
    """
    turns = []
    for _ in range(TURNS):
        seconds = {}
        for name in ("ours", "bare"):
            with running(name, folder) as server:
                seconds[name] = server.seconds_to_start
        turns.append(seconds)
    return {
        "ours_s": statistics.median(turn["ours"] for turn in turns),
        "bare_s": statistics.median(turn["bare"] for turn in turns),
        "beyond_bare_s": statistics.median(turn["ours"] - turn["bare"] for turn in turns),
    }


def soak(folder, given):
    """Many requests: 16 connections for predictions beside one for importances; errors, and memory
    over time.
    """
    with running("ours", folder) as server:
        said = {}

        def ask(name, url, body, connections):
            said[name] = load(url, body, connections, given.soak_seconds)

        asking = [
            threading.Thread(
                target=ask,
                args=(
                    "predictions",
                    f"{server.address}/score?explain=false",
                    folder / "one.json",
                    16,
                ),
            ),
            threading.Thread(
                target=ask, args=("importances", f"{server.address}/score", folder / "four.json", 1)
            ),
        ]
        for one in asking:
            one.start()
        memory = []
        while any(one.is_alive() for one in asking):
            memory.append(server.memory_mb())
            time.sleep(given.soak_seconds / 60)
        for one in asking:
            one.join()
    half = memory[len(memory) // 2 :]
    return {
        "requests": {name: one["requests"] for name, one in said.items()},
        "seconds": given.soak_seconds,
        "errors": sum(one["errors"] for one in said.values()),
        "memory_mb": {
            "first": memory[0],
            "middle": half[0],
            "last": half[-1],
            "largest": max(memory),
        },
        "growth_in_second_half": half[-1] / half[0] - 1,
    }


PARTS = {
    "predictions": predictions,
    "importances": importances,
    "health": health,
    "start": start,
    "soak": soak,
}

if __name__ == "__main__":
    main()
