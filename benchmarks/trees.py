"""Exact importances of trees against those who compute them exactly too: ``python -m
benchmarks.trees``.

shap's TreeExplainer keeps a hundred of the background rows that it is given, and says nothing; so
its figure is for a hundred rows, whatever the line says. woodelf-explainer and ours take all of
them. The truth is shap's own compiled code on all rows, which it is made to keep. Next:
:mod:`benchmarks.boosted`.
"""

import argparse
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shap
from lightgbm import LGBMRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from woodelf import WoodelfExplainer
from xgboost import XGBRegressor

from benchmarks.forests import timed
from benchmarks.run import MOST_IN_A_ROW, assert_one_thread, count_in_a_row
from benchmarks.truth import Background, Truth, cached, relative_error
from service.explainers import TabularExplainer

RESULTS = Path(__file__).parent / "results" / "trees.json"
N_FEATURES = 20
N_TESTS = 4  # rows on which accuracy is measured
KEPT = 100  # of the background, by shap
BACKGROUNDS = (100, 1_000, 16_000)
BATCH = 1_000
SECONDS = 2.0  # about how long one tool is timed with one batch, at most


@dataclass(frozen=True)
class Trees:
    """A model to fit, on how many rows, and the backgrounds to explain it on."""

    model: Any
    n_rows: int = 16_000
    backgrounds: tuple[int, ...] = BACKGROUNDS


MODELS = {
    "lightgbm": Trees(LGBMRegressor(n_jobs=1, random_state=0, verbose=-1)),
    "xgboost": Trees(XGBRegressor(n_jobs=1, random_state=0)),
    "histogram": Trees(HistGradientBoostingRegressor(random_state=0)),
    "depth-8": Trees(RandomForestRegressor(max_depth=8, random_state=0)),
    "unrestricted": Trees(RandomForestRegressor(random_state=0), 4_000, (100, 4_000)),
}


@dataclass(frozen=True)
class Measured:
    """What one tool took on one background, in processor seconds, and how far off it was.

    `rows` says how many rows the batch had. The error is against the truth on the whole background,
    relative to the mean absolute importance; `kept` is the number of background rows in use.
    """

    model: str
    background: int
    tool: str
    method: str
    kept: int
    build_s: float
    first_s: float
    row_s: float
    batch_row_s: float
    rows: int
    error: float


def main():
    """Measure each model on each background by each tool, print and record."""
    options = arguments()
    assert_one_thread()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for name in options.only:
        for n in sorted(set(MODELS[name].backgrounds) & set(options.backgrounds)):
            measured = [asdict(one) for one in measure(name, n, options.tools)]
            tools = {(name, n, one["tool"]) for one in measured}
            found = [
                one for one in found if (one["model"], one["background"], one["tool"]) not in tools
            ] + measured
            RESULTS.write_text(json.dumps(sorted(found, key=position), indent=1) + "\n")
    print(table(sorted(found, key=position)))


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tools", nargs="*", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--backgrounds", nargs="*", type=int, default=[*BACKGROUNDS, 4_000])
    return parser.parse_args()


def position(measured):
    """Sort by model, background and tool, as they are listed here."""
    names = [list(MODELS).index(measured["model"]), list(TOOLS).index(measured["tool"])]
    return names[0], measured["background"], names[1]


def measure(name, n_background, tools):
    """Explain rows that the model was not fitted on, on the first rows that it was fitted on."""
    trees = MODELS[name]
    examples, target = data(trees.n_rows)
    model, background = trees.model.fit(examples, target), examples[:n_background]
    rows, _ = data(BATCH + 9 * MOST_IN_A_ROW, seed=1)
    truth = truth_of(model, background, rows[:N_TESTS])
    for tool in tools:
        measured = timed_tool(tool, model, background, rows, truth)
        one = Measured(name, n_background, tool, **measured)
        print(describe(one), flush=True)
        yield one


def data(n_rows, seed=0):
    """Make normal columns, and a target with interactions.

    shap rounds rows to single precision, which then may go down another branch: these are round.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, N_FEATURES)).astype(np.float32).astype(float)
    y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) * X[:, 3] + X[:, 4:12].sum(axis=1) / 2
    return X, y + rng.standard_normal(n_rows) / 2


def truth_of(model, background, rows):
    """Let shap's compiled code meet every row of the background."""

    def function(X):
        return model.predict(X)[:, None]

    def on_every_row(_, background, rows):
        masker = shap.maskers.Independent(background.rows, max_samples=len(background.rows))
        explainer = shap.TreeExplainer(model, masker)
        assert len(explainer.data) == len(background.rows)
        return Truth.exact(explainer.shap_values(rows, check_additivity=False)[:, None])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so many rows are slow
        return cached(on_every_row, function, Background.of(background), rows, "on_every_row")


def timed_tool(tool, model, background, rows, truth):
    """Build a tool, and time its first rows, single rows, and as large a batch as fits."""
    (explain, method, kept), build_s = timed(lambda: TOOLS[tool](model, background))
    values, first_s = timed(lambda: explain(rows[:N_TESTS]))
    row_s = median_of(explain, rows, 1)
    # woodelf takes about as long for a row as for a thousand.
    size = BATCH if tool == "woodelf" else int(np.clip(5 * SECONDS / row_s, 1, BATCH))
    return {
        "method": method,
        "kept": kept,
        "build_s": build_s,
        "first_s": first_s,
        "row_s": row_s,
        "batch_row_s": median_of(explain, rows, size) / size,
        "rows": size,
        "error": relative_error(values[:, None], truth),
    }


def median_of(explain, rows, size):
    """Return the median time of up to nine calls, each with other rows; what is slow is called
    once. Single rows are explained in a row, which counts as one call.
    """
    taken, n = [], 1
    for turn in range(9):
        starts = range(turn * MOST_IN_A_ROW, turn * MOST_IN_A_ROW + n)
        batches = [rows[start : start + size] for start in starts]
        taken.append(timed(lambda batches=batches: [*map(explain, batches)])[1] / n)
        if n * (sum(taken) + taken[-1]) > SECONDS:
            break
        n = count_in_a_row(taken[0]) if size == 1 else 1
    return float(np.median(taken))


def ours(model, background):
    """Make our explainer, as it comes: "tree" is exact on all rows, "tree/sampled" an estimate."""
    explainer = TabularExplainer(model, background).row_explainer
    return lambda rows: explainer.explain(rows).values, explainer.method, len(background)


def by_shap(model, background):
    """Make shap's explainer of trees, as it comes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so many rows are slow, of which it keeps a hundred
        explainer = shap.TreeExplainer(model, background)
    assert len(explainer.data) == min(KEPT, len(background))
    return (
        lambda rows: explainer.shap_values(rows, check_additivity=False),
        "interventional",
        len(explainer.data),
    )


def by_woodelf(model, background):
    """Make woodelf's explainer, which takes frames."""
    columns = [f"column_{j}" for j in range(background.shape[1])]

    def framed(rows):
        return pd.DataFrame(rows, columns=columns)

    explainer = WoodelfExplainer(model, framed(background))
    return (
        lambda rows: explainer.shap_values(framed(rows), verbose=False),
        "interventional",
        len(background),
    )


TOOLS = {"ours": ours, "shap": by_shap, "woodelf": by_woodelf}


def describe(measured):
    """Say it in one line."""
    return (
        f"{measured.model}, {measured.background} rows, {measured.tool} ({measured.method}, "
        f"{measured.kept} rows kept): build {measured.build_s:.2f} s, "
        f"row {1e3 * measured.row_s:.2f} ms, in {measured.rows} {1e3 * measured.batch_row_s:.3f} "
        f"ms a row, error {measured.error:.1e}"
    )


def table(found):
    """Make the table of README.md: ours, and how many times as long the others take."""
    cells = {(one["model"], one["background"], one["tool"]): one for one in found}
    lines = [
        "| model, background | build | one row | of shap | of woodelf "
        "| a row in a batch | of shap | of woodelf |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for (name, n, tool), plain in cells.items():
        if tool != "ours":
            continue
        line = [f"{name}, {n:,} (`{plain['method']}`)", f"{plain['build_s']:.2f} s"]
        for key in ("row_s", "batch_row_s"):
            line.append(f"{1e3 * plain[key]:.3g} ms")
            for peer in ("shap", "woodelf"):
                other = cells.get((name, n, peer))
                line.append(f"{other[key] / plain[key]:,.3g}×" if other else "–")
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
