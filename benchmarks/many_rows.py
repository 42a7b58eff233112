"""Many rows in two threads against one: ``python -m benchmarks.many_rows``.

The example's four rows in process, and whole files as ``python -m service score`` takes them:
seconds of the clock, since threads save no processor time, so the machine must be idle. The answers
must be the same bytes. Next: :mod:`benchmarks.report`.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from benchmarks.run import assert_one_thread
from service.batch import score_file
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel

RESULTS = Path(__file__).parent / "results" / "many_rows.json"
TURNS = 9
MODELS = {
    "SVC, probability": SVC(gamma=0.001, C=100, probability=True, random_state=0),
    "SVC, margin": SVC(gamma=0.001, C=100),
    "random forest": RandomForestClassifier(random_state=0),
}


def main():
    """Measure each model, print and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of a file in one thread")
    parser.add_argument("--rows", type=int, default=None, help="of a file, in place of seconds")
    given = parser.parse_args()
    assert_one_thread()
    found = {}
    for name, model in MODELS.items():
        found[name] = measure(model, given)
        print(name, json.dumps(found[name]), flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def measure(model, given):
    """Return the ratios of one thread to two, and what the file took."""
    table, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    x_train, x_test, y_train, _ = train_test_split(table, labels, test_size=0.2, random_state=0)
    model.fit(x_train, y_train)
    explainer = KernelScoringExplainer(TabularExplainer(model, x_train))
    scoring = ScoringModel(model, explainer)
    turns = [few_rows(explainer, x_test[:4]) for _ in range(TURNS)]
    n_rows = given.rows or int(given.seconds * 4 / statistics.median(one for one, _ in turns))
    rows = pd.concat([x_test] * (n_rows // len(x_test) + 1))[:n_rows]
    one, two = whole_file(scoring, rows)
    return {
        "method": explainer.method,
        "load_average": os.getloadavg()[0],
        "four_rows_ms": statistics.median(1e3 * one for one, _ in turns),
        "four_rows_ratio": statistics.median(one / two for one, two in turns),
        "file_rows": n_rows,
        "file_s": one,
        "file_ratio": one / two,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def few_rows(explainer, rows):
    """Return the seconds that a few rows take in one thread and in two."""
    return [timed(explainer.explain_rows, rows, n_jobs=threads)[0] for threads in (1, 2)]


def whole_file(scoring, rows):
    """Return the seconds that a file takes in one thread and in two."""
    seconds, written = [], []
    with tempfile.TemporaryDirectory() as folder:
        file, scored = Path(folder) / "rows.csv", Path(folder) / "scored.csv"
        rows.to_csv(file, index=False)
        for threads in (1, 2):
            seconds.append(timed(score_file, scoring, file, scored, threads=threads)[0])
            written.append(scored.read_bytes())
    assert written[0] == written[1]
    return seconds


def timed(function, *arguments, **options):
    """Call a function; return the seconds of the clock, and what it returned."""
    began = time.perf_counter()
    returned = function(*arguments, **options)
    return time.perf_counter() - began, returned


if __name__ == "__main__":
    main()
