"""Boosted probabilities against ``shap.KernelExplainer``: ``python -m benchmarks.boosted``.

The four libraries, with twenty and with 16,000 background rows; of the latter shap is given a
sample of a hundred, as its own notebooks do. What counts is what our explainer needs for shap's
error, and for half of it. Next: :mod:`benchmarks.documents`.
"""

import argparse
import json
from functools import cache
from pathlib import Path

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from xgboost import XGBClassifier

from benchmarks import truth
from benchmarks.cases import Case, cancer, probability, sample
from benchmarks.report import at_error, lines
from benchmarks.run import assert_one_thread, measure_case
from benchmarks.truth import Background

RESULTS = Path(__file__).parent / "results" / "boosted.json"
MODELS = {
    "gradient": GradientBoostingClassifier(random_state=0),
    "histogram": HistGradientBoostingClassifier(random_state=0),
    "lightgbm": LGBMClassifier(n_jobs=1, random_state=0, verbose=-1),
    "xgboost": XGBClassifier(n_jobs=1, random_state=0),
}
BACKGROUNDS = (20, 16_000)
TOOLS = ("ours", "ours/16", "ours/8", "ours*4", "shap", "shap-l1off")
SHARES = (1, 1 / 2)  # of shap's error


def main():
    """Measure each model on each background, print and record."""
    options = arguments()
    assert_one_thread()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for model in options.only:
        for n in options.backgrounds:
            name = f"{model}_{n}"
            cells = measure_case(
                case_of(model, n), options.tools, options.cell_seconds, row_seconds=60
            )
            found[name] = {"cells": cells, "ratios": ratios(cells)}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
            print(lines(cells), flush=True)
            print(f"{name}: {found[name]['ratios']}", flush=True)
    print(table(found))


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--backgrounds", nargs="*", type=int, default=list(BACKGROUNDS))
    parser.add_argument("--tools", nargs="*", default=list(TOOLS))
    parser.add_argument("--cell-seconds", type=float, default=1.0)
    return parser.parse_args()


def case_of(model, n_background):
    """Fit a model, on the breast cancer data or on as many rows as the background has."""
    return of_many(model, n_background) if n_background > 1_000 else of_cancer(model, n_background)


def of_cancer(model, n_background):
    """Explain a model of the breast cancer data on the first of its rows."""
    x_train, x_test, y_train = cancer()
    fitted = MODELS[model].fit(x_train, y_train)
    return Case(
        f"{model}_{n_background}",
        f"{type(fitted).__name__}, {n_background} rows, M=30",
        fitted,
        "probability",
        probability(fitted),
        Background.of(x_train[:n_background]),
        x_test[:4],
        truth.permutations(20_000),
    )


def of_many(model, n_background):
    """Explain a model of normal columns on all rows that it was fitted on."""
    X, y = many(n_background + 2)
    fitted = MODELS[model].fit(X[:-2], y[:-2])
    return Case(
        f"{model}_{n_background}",
        f"{type(fitted).__name__}, {n_background:,} rows, M={X.shape[1]}",
        fitted,
        "probability",
        probability(fitted),
        Background.of(X[:-2]),
        X[-2:],
        truth.permutations(8 * n_background),
        summary=sample(X[:-2]),
    )


@cache
def many(n_rows):
    """Make normal columns, and classes by interactions."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 20))
    score = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) * X[:, 3] + X[:, 4:12].sum(axis=1) / 2
    return X, score + rng.logistic(size=n_rows) > 0


def ratios(cells):
    """Say how many times as long each peer takes: as ours comes, at its error, at half of it."""
    ours = [cell for cell in cells if cell["tool"].startswith("ours")]
    plain = next(cell for cell in ours if cell["tool"] == "ours")
    return {
        f"{peer['tool']}, batches of {n}": {
            "default": peer["ms"][n] / plain["ms"][n],
            **{f"at {share:g} of its error": equal(ours, peer, n, share) for share in SHARES},
        }
        for peer in cells
        if not peer["tool"].startswith("ours")
        for n in peer["ms"]
    }


def equal(ours, peer, n, share):
    """Divide the peer's time by what ours needs for a share of its error; None where no setting is
    as accurate.
    """
    needed = at_error(ours, share * peer["error_own"], lambda cell: cell["ms"][n])
    return needed and peer["ms"][n] / needed


def table(found):
    """Make the table of README.md: against shap as it comes, one row and many at a time."""
    rows = [
        "| model, background | rows | ours | error | shap | error | at its error | at half of it |"
    ]
    rows.append("|---" + "|--:" * 7 + "|")
    for one in found.values():
        cells = {cell["tool"]: cell for cell in one["cells"]}
        rows += [line(cells, one["ratios"], n) for n in ("1", "1000")]
    return "\n".join(rows)


def line(cells, seen, n):
    """Make the line of one batch."""
    ours, shap = cells["ours"], cells["shap"]
    times = list(seen[f"shap, batches of {n}"].values())[1:]
    figures = [f"{cell['ms'][n]:.3g} ms | {cell['error_own']:.2g}" for cell in (ours, shap)]
    return (
        f"| {ours['title']} | {int(n):,} | {' | '.join(figures)} | "
        f"{' | '.join(f'{ratio:,.3g}×' if ratio else '–' for ratio in times)} |"
    )


if __name__ == "__main__":
    main()
