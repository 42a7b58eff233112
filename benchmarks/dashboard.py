"""The dashboard on many rows and features: ``python -m benchmarks.dashboard``.

A server of its own shows a made explanation; each call is asked twice, the first time and again,
and the page is opened in Debian's chromium where there is one. Then the example is served by two
workers, and scores are timed alone and while ten dashboards click. Seconds are of the clock and of
the server's processors: on a busy machine the second tell more. Next: :mod:`benchmarks.report`.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from service.explanations import (
    ExplanationContext,
    GlobalExplanation,
    LocalExplanation,
    save_explanation,
)

RESULTS = Path(__file__).parent / "results" / "dashboard.json"
SIZES = [(10, 20), (100_000, 20), (1_000_000, 20), (2_000, 5_000)]
TICKS = os.sysconf("SC_CLK_TCK")
ALL = {"name": "All data"}
SOME = {"name": "some", "filters": [{"col": "x3", "op": ">", "value": 0.5}]}
CALLS = [
    ("performance", {"cohorts": [ALL]}),
    ("performance", {"cohorts": [ALL, SOME], "threshold": 0.6}),
    ("performance", {"cohorts": [ALL], "split": {"col": "x0", "bins": 4}}),
    ("importance", {"cohorts": [ALL]}),
    ("importance", {"cohorts": [ALL, SOME], "class": 1, "quantiles": True}),
    ("histogram", {"cohort": ALL, "x": "x0"}),
    ("box", {"cohorts": [ALL, SOME], "y": "x0", "x": "x2"}),
    ("points", {"cohort": ALL, "x": "x0", "y": "phi0.1", "color": "x2"}),
    ("rows", {"cohort": ALL, "sort": {"col": "p1", "descending": True}, "columns": ["p1", "x0"]}),
    ("rows", {"cohort": ALL, "search": "999"}),
    ("row", {"rows": [5]}),
    ("errortree", {"cohort": ALL}),
]
VIEWS = ("importance", "performance", "data", "rows", "errortree")
DASHBOARDS = 10
SECONDS = 15
PAUSE = 1.0  # between two clicks of a reader


def main():
    """Measure each size, then scores beside dashboards; print and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", type=int, help="numbers of rows, of 20 features")
    parser.add_argument("--no-scores", action="store_true", help="leave the scores out")
    known = parser.parse_args()
    sizes = SIZES if known.sizes is None else [(n, 20) for n in known.sizes]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for n_rows, n_features in sizes:
            place = save_explanation(
                make(n_rows, n_features), Path(folder) / f"{n_rows}x{n_features}", include_data=True
            )
            found[place.name] = told = measure(place)
            print(place.name, json.dumps(told, indent=1), flush=True)
            shutil.rmtree(place)
        if not known.no_scores:
            found["scores"] = measure_scores(Path(folder))
            print(json.dumps(found["scores"], indent=1))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def make(n_rows, n_features):
    """Make an explanation of two classes whose numbers are drawn."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(n_rows, n_features))
    weights = random.normal(size=n_features) / np.sqrt(n_features)
    probability = 1 / (1 + np.exp(-2 * rows @ weights))
    values = 0.2 * rows * weights
    names = np.array(["no", "yes"])
    features = [f"feature {i}" for i in range(n_features)]
    context = ExplanationContext(
        eval_data=pd.DataFrame(rows, columns=features),
        eval_y_predicted=names[(probability > 0.5).astype(int)],
        eval_y_predicted_proba=np.column_stack([1 - probability, probability]),
        true_labels=names[(random.random(n_rows) < probability).astype(int)],
        class_labels=names.tolist(),
        model_task="classification",
    )
    local = LocalExplanation.from_values(
        np.stack([-values, values]),
        features=features,
        classes=names.tolist(),
        expected_values=[0.5, 0.5],
        axes=("class", "row", "feature"),
        output="probability",
    )
    return GlobalExplanation(local.importances, context)


def measure(place):
    """Show an explanation by a server, ask all calls, and open the page."""
    with started("dashboard", str(place)) as (process, address):
        post(address, "saved", {})
        told = {"memory_mb_opened": own_memory(process)}
        for number, (call, question) in enumerate(CALLS):
            seconds = []
            for _ in range(2):
                before, began = processor_seconds(process), time.perf_counter()
                n_bytes = len(post(address, call, question))
                clock = time.perf_counter() - began
                seconds.append([round(clock, 3), round(processor_seconds(process) - before, 2)])
            told[f"{number} {call}"] = {"first, again": seconds, "kB": n_bytes // 1000}
        told["memory_mb"] = own_memory(process)
        told["page"] = open_page(address)
    return told


@contextmanager
def started(*arguments, **settings):
    """Start the service on a free port until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    option = "--port" if arguments[0] == "dashboard" else "--http_port"
    command = [sys.executable, "-m", "service", *arguments, option, port]
    process = subprocess.Popen(
        command, env={**os.environ, **settings}, stderr=subprocess.DEVNULL, text=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 300
        while not answers(address):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{' '.join(command)} did not start.")
            time.sleep(0.2)
        yield process, address
    finally:
        process.terminate()
        process.wait(60)


def answers(address):
    """Tell whether a server is there."""
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def post(address, call, question, path="/api/"):
    """Ask a call and return the answer's bytes."""
    request = urllib.request.Request(
        f"{address}{path}{call}",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return answer.read()


def own_memory(process):
    """Return the megabytes that are the process's own, the pages of mapped files not counted."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return round(int(line.split()[1]) / 1024)
    raise SystemExit("Expected RssAnon in /proc/PID/status, as of Linux.")


def processor_seconds(process):
    """Return the processor seconds that a process has used."""
    parts = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / TICKS


def open_page(address):
    """Open the page as a reader does: seconds to each view, and what came over the wire."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return "no chromium"
    from playwright.sync_api import sync_playwright

    told, sizes = {}, []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_default_timeout(120_000)
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda one: sizes.append(one["encodedDataLength"]))
        began = time.perf_counter()
        page.goto(f"{address}/")
        page.wait_for_selector("html[data-ready]")
        told["ready_s"] = round(time.perf_counter() - began, 2)
        for view in VIEWS:
            began = time.perf_counter()
            page.locator(f"#go-{view}").click()
            page.wait_for_timeout(20)
            page.wait_for_selector("[aria-busy=true]", state="detached")
            told[f"{view}_s"] = round(time.perf_counter() - began, 2)
        told["transferred_kb"] = round(sum(sizes) / 1000)
        browser.close()
    return told


def measure_scores(folder):
    """Time scores of the example alone, and while ten dashboards click."""
    from sklearn.linear_model import LogisticRegression

    from service.explainers import TabularExplainer
    from service.scoring import KernelScoringExplainer, save

    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(20_000, 10)), columns=[f"x{i}" for i in range(10)])
    y = (rows.sum(axis=1) + random.normal(size=len(rows)) > 0).astype(int)
    model = LogisticRegression().fit(rows, y)
    explainer = TabularExplainer(model, rows[:100])
    save(KernelScoringExplainer(explainer), folder / "models", original_model=model)
    place = save_explanation(explainer.explain_global(rows), folder / "shown", include_data=True)
    body = rows[:3].to_dict("records")
    settings = {"AZUREML_MODEL_DIR": str(folder / "models"), "DASHBOARD": str(place)}
    with started("serve", "--workers", "2", **settings) as (_, address):
        post(address, "score", body, "/")
        alone = time_scores(address, body)
        statuses, stop = [], threading.Event()
        clicking = []
        for seed in range(DASHBOARDS):
            thread = threading.Thread(target=click, args=(address, seed, statuses, stop))
            thread.start()
            clicking.append(thread)
        beside = time_scores(address, body)
        stop.set()
        for thread in clicking:
            thread.join(60)
    counted = {str(status): statuses.count(status) for status in set(statuses)}
    return {"alone_ms": alone, "ten_dashboards_ms": beside, "their_statuses": counted}


def time_scores(address, body):
    """Return the median, the 95th and the 99th of a hundred milliseconds of scores."""
    taken, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        began = time.perf_counter()
        post(address, "score", body, "/")
        taken.append(1000 * (time.perf_counter() - began))
        time.sleep(0.01)
    return [round(float(one), 1) for one in np.quantile(taken, [0.5, 0.95, 0.99])]


def click(address, seed, statuses, stop):
    """Ask the dashboard what nobody has asked yet, until told to stop."""
    turn = 0
    while not stop.wait(PAUSE):
        turn += 1
        cohort = {"filters": [{"col": "x0", "op": ">", "value": 0.01 * turn + 0.001 * seed}]}
        asked = {"pdp": {"feature": 1, "seed": 1000 * seed + turn}}
        asked["performance" if seed % 2 else "importance"] = {"cohorts": [cohort]}
        for call, question in asked.items():
            try:
                post(address, call, question, "/dashboard/api/")
                statuses.append(200)
            except urllib.error.HTTPError as error:
                statuses.append(error.code)


if __name__ == "__main__":
    main()
