"""Run history: uploads, downloads and lists of explanations.

``python -m benchmarks.run_history``, or ``--only NAME``, in an embedded store that is removed
afterwards; with ``--store http://user:password@127.0.0.1:5000`` on a server that was started with
``make runs-server``, where what was measured stays. Seconds are of this process's processor time,
and of the clock, the least of some repetitions; the peak is what came on top of the explanation
itself. The large explanation has 1,000,000 rows and takes 3 GB of memory, and 1.5 GB below TMPDIR.
"""

import argparse
import re
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from service.explanations import GlobalExplanation, LocalExplanation
from service.runs import ExplanationClient, Run, Workspace

LARGE, SMALL = (1_000_000, 100), (114, 30)
N_RUNS = 500
CLEAR_PEAK = "5"  # what Linux takes for it


def make_explanation(shape):
    """Return a global explanation of a binary classifier's rows, with its local importances."""
    values = np.random.default_rng(0).normal(size=shape)
    local = LocalExplanation.from_values(
        np.stack([-values, values]), classes=["no", "yes"], expected_values=[0.5, 0.5]
    )
    return GlobalExplanation(local.importances)


def measure(what, repetitions=1):
    """Return the least processor and clock times of repetitions in seconds, and the peak in MB."""
    least, status = np.full(2, np.inf), Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    before = _megabytes(status, "VmRSS")
    for _ in range(repetitions):
        began = np.array([time.process_time(), time.perf_counter()])
        what()
        took = np.array([time.process_time(), time.perf_counter()]) - began
        least = np.minimum(least, took)
    return least, _megabytes(status, "VmHWM") - before


def _megabytes(status, name):
    return int(re.search(rf"{name}:\s+(\d+) kB", status.read_text())[1]) / 1024


def measure_explanation(workspace, shape, repetitions):
    """Upload an explanation, and download it whole and in part."""
    client = ExplanationClient(Run(workspace, workspace.create_run()))
    upload = partial(client.upload_model_explanation, make_explanation(shape))
    told = f"{shape[0]:,} × {shape[1]}"
    tell(f"{told}: upload", *measure(upload, repetitions))
    del upload  # it holds the explanation
    for top_k in (4, None):
        download = partial(client.download_model_explanation, top_k=top_k)
        tell(f"{told}: download, top_k={top_k}", *measure(download, repetitions))


def measure_lists(workspace):
    """List runs that have an explanation each."""
    explanation = make_explanation(SMALL)
    for _ in range(N_RUNS):
        client = ExplanationClient(Run(workspace, workspace.create_run()))
        client.upload_model_explanation(explanation)
    tell(f"list {N_RUNS} runs", *measure(partial(workspace.runs, with_explanations=True), 5))


def tell(what, seconds, peak):
    """Print a line of the table."""
    computed, passed = 1000 * seconds
    print(f"| {what} | {computed:,.0f} ms | {passed:,.0f} ms | {peak:.0f} MB |", flush=True)


MEASURES = {
    "small": lambda workspace: measure_explanation(workspace, SMALL, 10),
    "lists": measure_lists,
    "large": lambda workspace: measure_explanation(workspace, LARGE, 1),
}


def main():
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=MEASURES)
    parser.add_argument("--store")
    known = parser.parse_args()
    for name in [known.only] if known.only else MEASURES:
        with tempfile.TemporaryDirectory() as folder:
            store = known.store or f"sqlite:///{folder}/runs.db"
            # Runs of earlier measurements would be listed too.
            workspace = Workspace(store, experiment=f"benchmark-{name}-{time.time_ns()}")
            workspace.engine.ask("search_experiments")
            MEASURES[name](workspace)


if __name__ == "__main__":
    main()
