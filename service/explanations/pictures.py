"""Pictures of explanations as SVG, for notebooks and pages, where no matplotlib is needed.

Next: :mod:`service.explanations.plots`.
"""

from __future__ import annotations

from itertools import starmap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.explanations.drawing import BAR, DOWN, FAINT, INK, UP, bar, framed, line, text
from service.explanations.frames import names_of_outputs
from service.explanations.global_importances import GlobalImportances, with_output_axis
from service.explanations.ranks import rank_features

N_SHOWN = 15
LEFT, WIDTH, TOP, STEP, LABEL = 220, 340, 52, 26, 90  # pixels
LONGEST = 30  # letters of a name


class Bar(NamedTuple):
    """One importance in a picture.

    Attributes
    ----------
    name : str
    value : float
    error : float
        One standard error; 0 where there is none.
    """

    name: str
    value: float
    error: float = 0.0


def draw_global(overall: GlobalImportances) -> str:
    """Draw the largest global importances as bars, with their standard errors.

    Parameters
    ----------
    overall : GlobalImportances

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    order = rank_features(overall.values, None)
    errors = overall.standard_errors
    if errors is None:
        errors = np.zeros(len(order))
    under = f"{overall.output}, over {overall.n_rows} rows, by {overall.method}"
    names = [overall.features[i] for i in order]
    bars = starmap(Bar, zip(names, overall.values[order], errors[order], strict=True))
    return _draw("Importance of each feature", under, list(bars), "{:.4g}")


def draw_first_row(importances: LocalImportances, labels: pd.Index[Any]) -> str:
    """Draw the importances of the first row, for the class or target that comes out highest.

    Parameters
    ----------
    importances : LocalImportances
        Of at least one row.
    labels : Index of length n_rows

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    output = largest_output(importances, 0)
    values = with_output_axis(importances.values)[output, 0]
    start = float(np.atleast_1d(importances.expected_values)[output])
    ends = f"from {start:.4g} on average to {start + values.sum():.4g}"
    order = rank_features(np.abs(values), None)
    names = [importances.features[i] for i in order]
    return _draw(
        f"{_name_output(importances, output)}{importances.output} of row {labels[0]}",
        f"{ends}, the first of {len(importances)} rows" if len(importances) > 1 else ends,
        list(starmap(Bar, zip(names, values[order], strict=True))),
        "{:+.4g}",
    )


def _name_output(importances: LocalImportances, output: int) -> str:
    """Name a class or target, where there are several."""
    names = names_of_outputs(importances)
    return f"{names[output]}: " if len(names) > 1 else ""


def _draw(title: str, under: str, bars: list[Bar], number: str) -> str:
    """Draw bars from zero to the right, and to the left where there are values below it."""
    shown = bars[:N_SHOWN]
    reach = np.array([[each.value - each.error, each.value + each.error] for each in shown])
    low, high = min(0.0, float(reach.min())), max(0.0, float(reach.max()))
    scale = WIDTH / (high - low or 1.0)
    left = LEFT + LABEL * (low < 0)
    zero = left - low * scale
    bottom = TOP + STEP * len(shown)
    parts = [
        text(16, 24, title, size=15, weight=600),
        text(16, 42, under, FAINT, size=12),
        line(zero, TOP - 4, zero, bottom, INK),
    ]
    for i, each in enumerate(shown):
        parts += _draw_bar(each, TOP + STEP * i, zero, scale)
        parts.append(_write_value(each, TOP + STEP * i, zero, scale, number))
    if len(bars) > N_SHOWN:
        told = f"and {len(bars) - N_SHOWN} more"
        parts.append(text(LEFT - 12, bottom + 14, told, FAINT, size=12, anchor="end"))
    return framed(parts, left + WIDTH + LABEL, bottom + 24)


def _draw_bar(each: Bar, y: float, zero: float, scale: float) -> list[str]:
    """Draw one bar with its name, and a line of a standard error to both sides."""
    end, error, middle = zero + each.value * scale, each.error * scale, y + BAR / 2
    name = each.name if len(each.name) <= LONGEST else f"{each.name[: LONGEST - 1]}…"
    return [
        text(LEFT - 12, y + BAR - 5, name, anchor="end"),
        bar(min(zero, end), y, abs(end - zero), _COLORS[each.value >= 0]),
        line(end - error, middle, end + error, middle, INK, dashes="none"),
    ]


def _write_value(each: Bar, y: float, zero: float, scale: float, number: str) -> str:
    """Write the value of a bar where it ends."""
    is_up = bool(each.value >= 0)
    away = _AWAY[is_up] * (each.error * scale + 6)
    said = number.format(each.value).replace("-", "−")
    x, color = zero + each.value * scale + away, _COLORS[is_up]
    return text(x, y + BAR - 5, said, color, size=12, anchor=_ANCHORS[is_up])


# By whether a value is up.
_COLORS = {True: UP, False: DOWN}
_AWAY = {True: 1, False: -1}
_ANCHORS = {True: "start", False: "end"}


def largest_output(importances: LocalImportances, row: int) -> int:
    """Return the position of the class or target that comes out highest for a row."""
    sums: NDArray[np.float64] = with_output_axis(importances.values)[:, row].sum(axis=-1)
    return int(np.argmax(sums + importances.expected_values))
