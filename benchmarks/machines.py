"""Kernel machines on more rows than they can meet: ``python -m benchmarks.machines``.

Exact importances meet every support vector with every background row, which is too much for some
thousand of each: they are estimated from a sample of rows. The truth is the exact answer on all
rows, which takes minutes. Against it stand the ways that a user could take instead: shap's
KernelExplainer with a hundred rows, the model called on all rows, ten k-means centres, and a sample
of a hundred rows without an estimate of the rest. Next: :mod:`benchmarks.report`.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import shap
from sklearn.datasets import make_regression
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVR

from benchmarks.forests import root_mean_square, timed
from benchmarks.run import assert_one_thread
from service.explainers import TabularExplainer

RESULTS = Path(__file__).parent / "results" / "machines.json"
N_SAMPLE = 100
N_ROWS = 4
CASES = {
    "SVR": (SVR(C=10), 1_500, 20),
    "SVR, polynomial": (SVR(kernel="poly", coef0=1, C=10), 2_000, 20),
    "KernelRidge": (KernelRidge(kernel="rbf", alpha=0.1), 2_000, 12),
}
WAYS = {
    "ours": {},
    "model called": {"engine": "kernel"},
    "ten centres": {"background": "kmeans"},
    "a hundred rows": {"background": "sample", "background_size": N_SAMPLE},
}


@dataclass(frozen=True)
class Measured:
    """What one way took for a row, and how far its answers were from the truth.

    Times are processor seconds; errors are root mean squares over mean absolute importances.
    """

    case: str
    way: str
    method: str
    row_s: float
    error: float
    standard_error: float


def main():
    """Measure each case by each way, print and record."""
    assert_one_thread()
    found = []
    for case, (model, n_rows, n_features) in CASES.items():
        for measured in measure(case, model, n_rows, n_features):
            print(
                f"{case}, {n_rows} x {n_features}, {measured.way} ({measured.method}): "
                f"row {measured.row_s:.3f} s, error {measured.error:.3f}, "
                f"said {measured.standard_error:.3f}",
                flush=True,
            )
            found.append(asdict(measured))
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def measure(case, model, n_rows, n_features):
    """Explain some rows that the model was not fitted on, by every way."""
    examples, target, rows = data(n_rows, n_features)
    model.fit(examples, target)
    truth = explain(model, examples, rows, background="whole")[0].values
    unit = np.abs(truth).mean()
    for way, options in WAYS.items():
        local, taken = explain(model, examples, rows, **options)
        errors = np.zeros(1) if local.standard_errors is None else local.standard_errors
        off = local.values - truth
        yield Measured(
            case,
            way,
            local.method,
            taken / N_ROWS,
            root_mean_square(off) / unit,
            root_mean_square(errors) / unit,
        )
    values, taken = by_shap(model, examples, rows)
    yield Measured(
        case, "shap", "kernel", taken / N_ROWS, root_mean_square(values - truth) / unit, 0.0
    )


def data(n_rows, n_features):
    """Make standardised columns that correlate, and a target with interactions."""
    columns, target = make_regression(
        n_samples=n_rows + N_ROWS,
        n_features=n_features,
        n_informative=8,
        noise=5,
        effective_rank=10,
        random_state=0,
    )
    target = np.tanh(target / target.std()) + (columns[:, 0] * columns[:, 1] > 0)
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return columns[:n_rows], target[:n_rows], columns[n_rows:]


def explain(model, examples, rows, **options):
    """Return what our explainer says of some rows, and the processor time of it."""
    engine = TabularExplainer(model, examples, **options).row_explainer
    engine.explain(rows[:1])  # the first call of anything is slower
    return timed(lambda: engine.explain(rows))


def by_shap(model, examples, rows):
    """Return what shap says on a hundred rows, all features kept, and the time."""
    sample = np.random.default_rng(1).choice(len(examples), N_SAMPLE, replace=False)
    explainer = shap.KernelExplainer(model.predict, examples[sample])
    return timed(lambda: explainer.shap_values(rows, l1_reg=False, silent=True))


if __name__ == "__main__":
    main()
