"""Default forests against shap's own explainer of trees: ``python -m benchmarks.forests``.

A forest as scikit-learn makes it, on many rows, is more than any exact way can afford for all of
them: both tools work on samples. shap's TreeExplainer is given a hundred rows, as its documentation
recommends. The truth comes from shap too: the mean over other samples of a hundred, whose spread
says what shap's error is, and how exact the truth. Next: :mod:`benchmarks.report`.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import shap
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from benchmarks.run import assert_one_thread
from service.explainers import TabularExplainer

RESULTS = Path(__file__).parent / "results" / "forests.json"
SIZES = ((6_000, 9), (20_000, 30), (20_000, 100))
N_SAMPLE = 100
N_ROWS = 4


@dataclass(frozen=True)
class Measured:
    """What one forest took, and how far the answers were from the truth.

    Times are processor seconds; errors are root mean squares over mean absolute importances.
    """

    rows: int
    features: int
    kind: str
    method: str
    build_s: float
    row_s: float
    shap_row_s: float
    error: float
    shap_error: float
    truth_error: float
    within: float


def main():
    """Measure each size and kind, print and record."""
    options = arguments()
    assert_one_thread()
    found = []
    for n_rows, n_features in SIZES:
        for kind in (RandomForestRegressor, RandomForestClassifier):
            measured = measure(kind, n_rows, n_features, options.samples)
            print(describe(measured), flush=True)
            found.append(asdict(measured))
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--samples", type=int, default=10, help="samples of a hundred for the truth"
    )
    return parser.parse_args()


def measure(kind, n_rows, n_features, n_samples):
    """Explain some rows that the forest was not fitted on, by both."""
    rng = np.random.default_rng(0)
    examples = rng.normal(size=(n_rows, n_features))
    signal = examples[:, 0] + examples[:, 1] * examples[:, 2] + rng.normal(size=n_rows)
    target = signal > 0 if kind is RandomForestClassifier else signal
    model = kind(random_state=0).fit(examples, target)
    rows = rng.normal(size=(N_ROWS, n_features))

    explainer, build_s = timed(lambda: TabularExplainer(model, examples))
    engine = explainer.row_explainer
    engine.explain(rows[:1])  # the first call of anything is slower
    local, taken = timed(lambda: engine.explain(rows))
    values = of_one_output(local.values)
    is_exact = local.standard_errors is None
    errors = 0.0 if is_exact else of_one_output(local.standard_errors)
    sampled, shap_taken = by_shap(model, examples, rows, n_samples)
    truth = sampled.mean(axis=0)
    spread = sampled.std(axis=0, ddof=1)
    truth_errors = spread / np.sqrt(n_samples)
    unit = np.abs(truth).mean()
    within = np.abs(values - truth) <= 1.96 * np.hypot(errors, truth_errors)
    return Measured(
        n_rows,
        n_features,
        kind.__name__,
        local.method,
        build_s,
        taken / N_ROWS,
        shap_taken / N_ROWS,
        error=root_mean_square(values - truth) / unit,
        shap_error=root_mean_square(spread) / unit,
        truth_error=root_mean_square(truth_errors) / unit,
        within=float(within.mean()),
    )


def by_shap(model, examples, rows, n_samples):
    """Return values of shap's explainer on several samples, and the median time of one of them."""
    rng = np.random.default_rng(1)
    values, times = [], []
    for _ in range(n_samples):
        background = examples[rng.choice(len(examples), N_SAMPLE, replace=False)]
        explainer = shap.TreeExplainer(model, background)
        given, taken = timed(lambda: explainer.shap_values(rows, check_additivity=False))  # noqa: B023
        values.append(given if given.ndim == 2 else given[..., 1])
        times.append(taken)
    return np.array(values), float(np.median(times))


def of_one_output(values):
    """Return the values of the second class, or of the one target."""
    return values if values.ndim == 2 else values[1]


def timed(work):
    """Return what a function returns, and the processor time of it in seconds."""
    began = time.process_time()
    done = work()
    return done, time.process_time() - began


def root_mean_square(values):
    """Return the root of the mean square."""
    return float(np.sqrt((values**2).mean()))


def describe(measured):
    """Say it in one line."""
    return (
        f"{measured.rows} x {measured.features} {measured.kind}: {measured.method}, "
        f"build {measured.build_s:.1f} s, row {measured.row_s:.3f} s "
        f"({measured.row_s / measured.shap_row_s:.2f} of shap's), error {measured.error:.3f} "
        f"({measured.error / measured.shap_error:.2f} of shap's), "
        f"truth within {measured.truth_error:.3f}, {measured.within:.0%} within 1.96"
    )


if __name__ == "__main__":
    main()
