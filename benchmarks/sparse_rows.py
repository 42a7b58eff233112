"""Global importances of 100,000 × 5,000 sparse rows (density 0.1%): time and memory.

``python -m benchmarks.sparse_rows``. Each model has a process of its own, so that the peak is its
own; the dense table would have 4,000 MB.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from lightgbm import LGBMRegressor
from scipy.sparse import random_array
from sklearn.linear_model import Ridge

from service.explainers import TabularExplainer

SHAPE = (100_000, 5_000)
DENSITY = 0.001
N_EXAMPLES = 200  # rows of the background


def make_rows():
    """Return the rows, and a target of a hundred of their columns."""
    generator = np.random.default_rng(0)
    rows = random_array(SHAPE, density=DENSITY, rng=generator, format="csr")
    weights = np.zeros(SHAPE[1])
    weights[:100] = generator.normal(size=100)
    return rows, rows @ weights


MODELS = {
    "linear": Ridge(),
    "LightGBM": LGBMRegressor(n_estimators=30, num_leaves=15, verbose=-1, n_jobs=1),
}


def peak():
    """Return the largest memory that the process has had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def measure(name):
    """Fit a model, explain all rows, and print a line of the table."""
    rows, target = make_rows()
    model = MODELS[name].fit(rows, target)
    start, fitted = time.perf_counter(), peak()
    explainer = TabularExplainer(model, rows[:N_EXAMPLES].toarray())
    built, built_peak = time.perf_counter(), peak()
    overall = explainer.explain_global(rows, include_local=False)
    seconds = time.perf_counter() - built
    cells = [
        f"{name} (`{overall.method}`)",
        f"{built - start:.1f} s",
        f"{seconds:.1f} s",
        f"{fitted:.0f} MB",
        f"{built_peak:.0f} MB",
        f"{peak():.0f} MB",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)
    check(name, model, rows, explainer, overall)


def check(name, model, rows, explainer, overall):
    """Compare with the closed form, or with some of the rows when they are dense."""
    found = np.array(overall.global_importance_values)
    if name == "linear":
        mean = rows[:N_EXAMPLES].mean(axis=0)
        by_column = rows.tocsc()
        expected = np.empty(SHAPE[1])
        for column in range(SHAPE[1]):
            values = by_column[:, [column]].data
            rest = (SHAPE[0] - len(values)) * abs(mean[column])
            total = np.abs(values - mean[column]).sum() + rest
            expected[column] = abs(model.coef_[column]) * total / SHAPE[0]
    else:
        rows = rows[:300]
        found = explainer.explain_global(rows, include_local=False).global_importance_values
        expected = explainer.explain_global(rows.toarray()).global_importance_values
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS)
    chosen = parser.parse_args().model
    if chosen is not None:
        measure(chosen)
        sys.exit()
    print("| model | build | explain | peak fitted | peak built | peak in all |")
    print("|---|--:|--:|--:|--:|--:|", flush=True)
    for each in MODELS:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.sparse_rows", "--model", each], check=True
        )
