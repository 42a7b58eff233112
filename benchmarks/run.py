"""Measure every tool on every case: ``make bench``, or ``python -m benchmarks.run --only CASE
--tools ours,shap``.

A cell is one tool on one case. What is quick is measured several times, with the tools taking
turns, and the median counts; what is slow is measured on fewer rows, and the cell says on how many.
Times are of the processor: every tool has one thread, and what else the machine does is left out.
Next: :mod:`benchmarks.report`.
"""

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_info

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.peers import DEFAULT, TooSlowError, background_of, build, counted, handed
from benchmarks.truth import Truth, relative_error

BATCHES = (1, 32, 1000)
TURNS = 9
# Single rows follow one another, as in a service that is asked again and again: a tool's first call
# after another tool finds nothing of its own in the processor's caches.
MOST_IN_A_ROW, SECONDS_IN_A_ROW = 20, 0.05


def main():
    """Run the cases and tools asked for, and write the results."""
    options = arguments()
    assert_one_thread()
    cells = [] if options.fresh else report.read(report.RESULTS)
    for name in options.only or CASES:
        began = time.perf_counter()
        measured = measure_case(
            CASES[name](), options.tools, options.cell_seconds, options.row_seconds
        )
        kept = [cell for cell in cells if cell["case"] != name or cell["tool"] not in options.tools]
        cells = kept + measured
        report.write(cells, report.RESULTS)
        print(f"{report.lines(measured)}\n({time.perf_counter() - began:.0f} s)\n", flush=True)


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=_names(CASES), help="cases, separated by commas")
    parser.add_argument(
        "--tools", type=_list, default=list(DEFAULT), help="tools, separated by commas; also ours/4"
    )
    parser.add_argument(
        "--cell-seconds", type=float, default=1.5, help="about how long a batch is measured at most"
    )
    parser.add_argument(
        "--row-seconds",
        type=float,
        default=25.0,
        help="a tool that takes longer for one row is left out",
    )
    parser.add_argument("--fresh", action="store_true", help="forget the results of former runs")
    return parser.parse_args()


def _list(text):
    return [part for part in text.split(",") if part]


def _names(known):
    def read(text):
        if unknown := set(_list(text)) - set(known):
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}"
            )
        return _list(text)

    return read


def assert_one_thread():
    """Make sure that no library computes on two cores."""
    import shap  # noqa: F401

    pools = {
        f"{pool['internal_api']} {pool['filepath']}": pool["num_threads"]
        for pool in threadpool_info()
    }
    assert set(pools.values()) == {1}, f"expected one thread each, got {pools}"


def measure_case(case, tools, cell_seconds, row_seconds):
    """Measure all tools on one case; returns one dictionary a tool."""
    truths = {id(b): case.truth(b) for b in (case.full, case.peers_background)}
    cells, built = [], {}
    for tool in tools:
        began = time.process_time()
        explain = build(tool, case)
        cell = {
            "case": case.name,
            "title": case.title,
            "tool": tool,
            "build_s": time.process_time() - began,
        }
        cells.append(cell)
        try:
            cell |= accuracy(case, tool, explain, truths, row_seconds)
            built[tool] = explain
        except TooSlowError:
            cell["note"] = f"more than {row_seconds:.0f} s a row"
    drop_equals(cells, built)
    for cell in cells:
        cell["ms"], cell["measured_rows"] = {}, {}
    for n in BATCHES:
        time_batch(case, n, [cell for cell in cells if cell["tool"] in built], built, cell_seconds)
    for cell in cells:
        cell.pop("values", None)
    return cells


def accuracy(case, tool, explain, truths, row_seconds):
    """Explain the test rows once: errors, additivity, model rows. The first row alone says whether
    it is too slow.
    """
    rows = case.tests
    one = handed(tool, case, rows[:1])
    with counted(case, row_seconds) as counter:
        began = time.process_time()
        answer = explain(one)
        first = time.process_time() - began
    rows = rows if first < 1 else rows[:4]
    more = handed(tool, case, rows[1:])
    with counted(case) as others:
        began = time.process_time()
        rest = explain(more)
        seconds = (time.process_time() - began) / (len(rows) - 1)
    answer = replace(answer, values=np.concatenate([answer.values, rest.values]))
    full, own = truths[id(case.full)], truths[id(background_of(tool, case))]
    background, model = background_of(tool, case), case.function(rows)
    unit = max(1.0, np.abs(model).max())
    missed = np.abs(answer.base + answer.values.sum(axis=2) - model).max() / unit
    base_off = (
        np.abs(answer.base - background.weights @ case.function(background.rows)).max() / unit
    )
    return {
        "method": answer.method,
        "rows": len(rows),
        "model_rows": (counter.rows + others.rows) / len(rows),
        "error_full": relative_error(answer.values, first_rows(full, len(rows))),
        "error_own": relative_error(answer.values, first_rows(own, len(rows))),
        "noise_full": float(full.noise),
        "noise_own": float(own.noise),
        "additivity": float(missed),
        "base_off": float(base_off),
        "standard_errors": answer.errors is not None,
        "first_s": first,
        "row_s": seconds,
        "values": answer.values,
    }


def first_rows(truth, n):
    """Cut a truth down to the rows that were explained."""
    return Truth(truth.values[:n], truth.errors[:n])


def drop_equals(cells, built):
    """Forget "ours/8" and its like where the engine is exact, and more coalitions change
    nothing.
    """
    ours = next((cell for cell in cells if cell["tool"] == "ours" and "values" in cell), None)
    for cell in list(cells) if ours else []:
        variant = cell["tool"].startswith(("ours/", "ours*")) and "values" in cell
        if variant and np.array_equal(cell["values"], ours["values"]):
            cells.remove(cell)
            built.pop(cell["tool"])


def time_batch(case, n, cells, built, cell_seconds):
    """Time batches of `n` rows, or of as many as fit, the tools taking turns."""
    rows = case.rows(n + TURNS * MOST_IN_A_ROW)
    plans = {cell["tool"]: plan(cell, n, cell_seconds) for cell in cells}
    in_a_row = {cell["tool"]: count_in_a_row(cell["row_s"]) if n == 1 else 1 for cell in cells}
    for turn in range(TURNS):
        for tool, (size, taken) in plans.items():
            if taken and (sum(taken) + taken[-1]) * size > cell_seconds:
                continue  # what is slow gets one turn
            # Other rows each turn, the same for all tools.
            starts = range(turn * MOST_IN_A_ROW, turn * MOST_IN_A_ROW + in_a_row[tool])
            batches = [handed(tool, case, rows[start : start + size]) for start in starts]
            began = time.process_time()
            for batch in batches:
                built[tool](batch)
            taken.append((time.process_time() - began) / size / len(batches))
    for cell in cells:
        size, taken = plans[cell["tool"]]
        cell["ms"][str(n)] = statistics.median(taken) * 1e3
        cell["measured_rows"][str(n)] = size


def count_in_a_row(row_s):
    """Return how many single rows a turn has: they fill a twentieth of a second."""
    return int(np.clip(SECONDS_IN_A_ROW / row_s, 1, MOST_IN_A_ROW))


def plan(cell, n, cell_seconds):
    """Return how many rows a batch gets, and what was measured already of what is too slow to be
    measured again.
    """
    if n == 1:
        return 1, [cell["row_s"]] if cell["row_s"] > cell_seconds / 2 else []
    row_s, measured = cell["row_s"], cell["rows"] - 1
    if n > BATCHES[1]:
        row_s, measured = cell["ms"][str(BATCHES[1])] / 1e3, cell["measured_rows"][str(BATCHES[1])]
    fit = int(max(1, min(n, cell_seconds / row_s)))
    return (measured, [row_s]) if fit <= measured else (fit, [])


if __name__ == "__main__":
    main()
