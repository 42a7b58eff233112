"""Results as JSON, as tables and as a plot; the short tables also go between the markers of
``benchmarks/README.md``.

``python -m benchmarks.report`` writes them anew from results.json.
Next: :mod:`benchmarks.coverage`.
"""

import json
from importlib.metadata import version
from math import ceil
from pathlib import Path
from platform import python_version

import numpy as np

from benchmarks.cases import CASES
from benchmarks.peers import PEERS

README = Path(__file__).parent / "README.md"
RESULTS = Path(__file__).parent / "results"
MARKERS = ("<!-- results -->", "<!-- end of results -->")
EXACT = 1e-9
NO_ROWS = "none"  # ours makes no model rows, or only the explained row itself
HEADER = (
    "| tool | ms a row, 1 row | 32 rows | 1,000 rows | model rows "
    "| error | error, own game | additivity | base off | method |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|"
)
RATIO_HEADER = (
    "| case | against | 1 row | 32 rows | 1,000 rows | model rows "
    "| equal error: time | equal error: model rows |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|"
)


def read(folder):
    """Return the cells of former runs, or none."""
    path = folder / "results.json"
    return json.loads(path.read_text())["cells"] if path.exists() else []


def write(cells, folder):
    """Write results.json, results.md and results.png, and bring the README up to date."""
    cells = in_order(cells)
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(
        json.dumps({"versions": versions(), "cells": cells}, indent=1) + "\n"
    )
    summary = [overview(cells), ratios(cells), coverage(folder / "coverage.json")]
    details = [lines(group) for group in by_case(cells)]
    (folder / "results.md").write_text("\n\n".join(filter(None, summary + details)) + "\n")
    plot(cells, folder / "results.png")
    before, rest = README.read_text().split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    text = "\n\n".join(["", *filter(None, summary), ""])
    README.write_text(before + MARKERS[0] + text + MARKERS[1] + after)


def in_order(cells):
    """Sort the cells by case and tool, whichever run they are from."""
    cases, tools = list(CASES), list(PEERS)

    def position(cell):
        tool = cell["tool"]
        return cases.index(cell["case"]), tools.index(tool) + 1 if tool in tools else 0, tool

    return sorted(cells, key=position)


def versions():
    """Name the libraries that were measured."""
    names = ("numpy", "scikit-learn", "shap", "lightshap", "shapiq")
    return {"python": python_version(), **{name: version(name) for name in names}}


def overview(cells):
    """Make one line a case: milliseconds a row and error of each tool."""
    tools = ("ours", *PEERS)
    head = "| case | " + " | ".join(tools) + " |\n|---|" + "--:|" * len(tools)
    body = [
        f"| {group[0]['title']} | {' | '.join(_short(group, tool) for tool in tools)} |"
        for group in by_case(cells)
    ]
    return "### Milliseconds a row (batches of 32), error, error on its own game\n\n" + "\n".join(
        [head, *body]
    )


def _short(group, tool):
    cell = next((cell for cell in group if cell["tool"] == tool), None)
    if cell is None or "note" in cell:
        return cell["note"] if cell else ""
    return f"{cell['ms']['32']:,.3g}; {_error(cell['error_full'])}; {_error(cell['error_own'])}"


def coverage(path):
    """Make the table of the standard errors, where they were measured."""
    if not path.exists():
        return ""
    rows = [
        f"| {name} | {found['share']:.1%} | {found['seeds']} | {found['lowest_feature']:.1%} | "
        f"{found['stated_over_real']:.2f} | {found['bias_over_error']:.2f} |"
        for name, found in json.loads(path.read_text()).items()
    ]
    head = (
        "| case | within 1.96 | seeds | lowest feature | stated / real spread | bias / spread |\n"
        + "|---"
        + "|--:" * 5
        + "|"
    )
    return "### Standard errors: the share of truths within 1.96 of them\n\n" + "\n".join(
        [head, *rows]
    )


def by_case(cells):
    """Group the cells by case, in their order."""
    names = dict.fromkeys(cell["case"] for cell in cells)
    return [[cell for cell in cells if cell["case"] == name] for name in names]


def lines(group):
    """Make the table of one case."""
    noise = next((cell["noise_full"] for cell in group if "noise_full" in cell), 0)
    truth = "exact" if noise == 0 else f"sampled, itself off by {noise:.2g}"
    return (
        f"### {group[0]['title']}\n\n`{group[0]['case']}`; truth: {truth}.\n\n{HEADER}\n"
        + "\n".join(_line(cell) for cell in group)
    )


def _line(cell):
    if "note" in cell:
        return f"| {cell['tool']} | {cell['note']} | | | | | | | | |"
    times = " | ".join(_time(cell, n) for n in ("1", "32", "1000"))
    errors = f"{_error(cell['error_full'])} | {_error(cell['error_own'])}"
    sums = f"{cell['additivity']:.0e} | {cell.get('base_off', np.nan):.0e}"
    model_rows = f"{cell['model_rows']:,.0f}"
    return f"| {cell['tool']} | {times} | {model_rows} | {errors} | {sums} | {cell['method']} |"


def _time(cell, n):
    measured = cell["measured_rows"][n]
    return f"{cell['ms'][n]:,.3g}" + (f" ({measured})" if measured < int(n) else "")


def _error(error):
    return f"{error:.0e}" if error < 1e-4 else f"{error:.2g}"


def ratios(cells):
    """Make the table of ratios, ours against every peer: above 1, ours is the faster."""
    found = [
        _ratio(group, peer)
        for group in by_case(cells)
        for peer in group
        if not peer["tool"].startswith("ours")
    ]
    return f"### Ratios: the peer's figure divided by ours\n\n{RATIO_HEADER}\n" + "\n".join(
        filter(None, found)
    )


def _ratio(group, peer):
    ours = [cell for cell in group if cell["tool"].startswith("ours") and "note" not in cell]
    plain = next((cell for cell in ours if cell["tool"] == "ours"), None)
    if plain is None or "note" in peer:
        return ""
    times = [_times(peer["ms"][n] / plain["ms"][n]) for n in ("1", "32", "1000")]
    calls = plain["model_rows"] > 1
    model_rows = _times(peer["model_rows"] / plain["model_rows"]) if calls else NO_ROWS
    equal = [
        _times(cost(peer) / needed) if (needed := at_error(ours, peer["error_own"], cost)) else "–"
        for cost in (lambda cell: cell["ms"]["1"], lambda cell: max(cell["model_rows"], 1))
    ]
    equal[1] = equal[1] if calls else NO_ROWS
    return "| " + " | ".join([peer["case"], peer["tool"], *times, model_rows, *equal]) + " |"


def at_error(ours, error, cost):
    """Read off our settings what an error costs, between two settings on a straight line in
    logarithms.

    None where no setting is as accurate; the cheapest setting where all are more accurate.
    """
    error = max(error, EXACT)
    by_error = sorted((max(cell["error_own"], EXACT), cost(cell)) for cell in ours)
    # A setting that costs more than a more accurate one is nobody's choice.
    points = [
        (e, c) for i, (e, c) in enumerate(by_error) if all(c < other for _, other in by_error[:i])
    ]
    if error < points[0][0]:
        return None
    within = [c for e, c in points if e <= error]
    between = np.exp(np.interp(np.log(error), *np.log(points).T))
    return float(min([between, *within]))


def _times(ratio):
    return f"{ratio:,.2g}×" if ratio < 99.5 else f"{ratio:,.0f}×"


def plot(cells, path):
    """Draw error over milliseconds a row, one panel a case."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    groups = by_case(cells)
    columns = min(4, len(groups))
    figure, axes = plt.subplots(
        ceil(len(groups) / columns),
        columns,
        figsize=(4.2 * columns, 3.4 * ceil(len(groups) / columns)),
        squeeze=False,
    )
    tools = list(
        dict.fromkeys("ours" if cell["tool"].startswith("ours") else cell["tool"] for cell in cells)
    )
    colours = {tool: f"C{i}" for i, tool in enumerate(tools)}
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    for axis, group in zip(axes.flat, groups, strict=False):
        _panel(axis, group, colours)
    handles = [
        plt.Line2D([], [], color=colour, marker="o", linestyle="", label=tool)
        for tool, colour in colours.items()
    ]
    handles.append(
        plt.Line2D(
            [],
            [],
            color="grey",
            marker="o",
            fillstyle="none",
            linestyle="",
            label="error on its own game",
        )
    )
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False)
    figure.tight_layout(rect=(0, 0.3 / figure.get_figheight(), 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis, group, colours):
    floor = 1e-4  # exact answers sit on the lower rim
    measured = [cell for cell in group if "note" not in cell]
    for cell in measured:
        colour = colours["ours" if cell["tool"].startswith("ours") else cell["tool"]]
        ms, size = cell["ms"]["32"], 50 if cell["tool"] == "ours" else 25
        full, own = (max(floor, cell[key]) for key in ("error_full", "error_own"))
        axis.plot([ms, ms], [own, full], color=colour, linewidth=0.7)
        axis.scatter(ms, own, s=size, facecolors="none", edgecolors=colour)
        axis.scatter(ms, full, s=size, color=colour)
    axis.set(xscale="log", yscale="log", xlabel="ms a row (32 rows)", ylabel="error / mean |φ|")
    decades = np.log10([cell["ms"]["32"] for cell in measured])
    axis.set_xlim(10 ** np.floor(decades.min()) * 0.8, 10 ** np.ceil(decades.max()) * 1.25)
    axis.set_ylim(floor / 2, 5)
    axis.set_title(group[0]["title"], fontsize=9)
    axis.grid(alpha=0.3)
    if any(cell["error_full"] < floor for cell in measured):
        axis.annotate("exact", (0.98, 0.02), xycoords="axes fraction", ha="right", fontsize=8)


if __name__ == "__main__":
    write(read(RESULTS), RESULTS)
