"""Points of a cohort in binary; where there are too many, counts of them in a grid.

Next: :mod:`service.dashboard.charts.rows`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.dashboard.charts.histograms import find_column
from service.dashboard.columns import Column
from service.dashboard.dashboard import Dashboard
from service.dashboard.errors import QuestionError, UnavailableError
from service.dashboard.limits import LIMITS
from service.dashboard.questions import Question
from service.dashboard.values import MOST_CATEGORIES

N_X, N_Y = 120, 80
Range = tuple[float, float]
Named = list[tuple[str, NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class Axis:
    """A column as numbers from 0 to 1, so that 4 bytes hold them well, whatever their size.

    Attributes
    ----------
    column : Column
    offset, most : float
        The range; a value is offset + scale · number.
    numbers : ndarray of shape (n,)
        The values of the cohort's rows, NaN where one is missing.
    """

    column: Column
    offset: float
    most: float
    numbers: NDArray[np.float64]

    @classmethod
    def of(cls, column: Column, rows: NDArray[np.intp], window: Range | None) -> Axis:
        """Take the values of some rows; the range is that of the values, or of a window."""
        numbers = column.values.numbers(rows)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        known = numbers[~np.isnan(numbers)]
        least, most = window if window else (0.0, 0.0)
        if window is None and len(known):
            least, most = float(known.min()), float(known.max())
        if not math.isfinite(most - least):
            raise UnavailableError(f"The values of {column.name} lie too far apart for a picture.")
        return cls(column, least, most, numbers)

    @property
    def scale(self) -> float:
        """The length of the range."""
        return self.most - self.offset

    @property
    def is_inside(self) -> NDArray[np.bool_]:
        """Which rows have a value in the range."""
        inside: NDArray[np.bool_] = (self.numbers >= self.offset) & (self.numbers <= self.most)
        return inside

    def shares(self, among: Any) -> NDArray[np.float64]:
        """Return where some rows lie in the range, from 0 to 1."""
        if self.scale == 0:
            return np.where(np.isnan(self.numbers[among]), np.nan, 0.0)
        return np.clip((self.numbers[among] - self.offset) / self.scale, 0.0, 1.0)

    def heading(self) -> dict[str, Any]:
        """Tell how the numbers are read."""
        values, told = self.column.values, self.column.heading()
        told |= {"offset": self.offset, "scale": self.scale, "categories": values.categories}
        return told


def answer_points(dashboard: Dashboard, question: Question) -> bytes:
    """Answer ``api/points``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question

    Returns
    -------
    bytes
        As in docs/dashboard-api.md.
    """
    rows = dashboard.cohorts.read_one(question).rows
    most = question.part("max").count(LIMITS["points"], 1, LIMITS["points"])
    window = _read_window(question)
    x = Axis.of(find_column(dashboard, question, "x"), rows, window[0])
    y = Axis.of(find_column(dashboard, question, "y"), rows, window[1])
    color = None
    if not question.part("color").is_absent:
        color = Axis.of(find_column(dashboard, question, "color"), rows, None)
    is_missing = np.isnan(x.numbers) | np.isnan(y.numbers)
    for name, axis in (("x", x), ("y", y), ("color", color)):
        if axis is not None and axis.column.values.kind == "text":
            raise QuestionError(
                question.part(name).pointer,
                f"{axis.column.name} has more than {MOST_CATEGORIES} different texts, which "
                "lie along no axis: choose another column.",
            )
    among = np.flatnonzero(x.is_inside & y.is_inside)
    heading: dict[str, Any] = {
        "total": len(rows),
        "missing": int(is_missing.sum()),
        "n": len(among),
    }
    heading |= {"x": x.heading(), "y": y.heading(), "color": color and color.heading()}
    if len(among) <= most:
        return _pack({"kind": "points", **heading}, _list_points(rows, among, x, y, color))
    shape = (_count_cells(x, N_X), _count_cells(y, N_Y))
    heading |= {"nx": shape[0], "ny": shape[1]}
    return _pack({"kind": "grid", **heading}, _count_points(among, x, y, color, shape))


def _read_window(question: Question) -> tuple[Range | None, Range | None]:
    """Return the ranges of x and y that a question looks at; None for all."""
    part = question.part("window")
    if part.is_absent:
        return None, None
    bounds = [one.number() for one in part.items(4)]
    lengths = np.diff(bounds)[::2]
    is_window = len(bounds) == 4 and bool((lengths >= 0).all())
    if not (is_window and np.isfinite(lengths).all()):
        raise part.refuse("four numbers, the least and the most x, the least and the most y")
    return (bounds[0], bounds[1]), (bounds[2], bounds[3])


def _list_points(
    rows: NDArray[np.intp], among: NDArray[np.intp], x: Axis, y: Axis, color: Axis | None
) -> Named:
    arrays: Named = [("index", rows[among].astype("<u4"))]
    for name, axis in (("x", x), ("y", y), ("color", color)):
        if axis is not None:
            arrays.append((name, axis.shares(among).astype("<f4")))
    return arrays


def _count_cells(axis: Axis, most: int) -> int:
    """Return the number of cells along an axis; each category, and each small number, has one."""
    values = axis.column.values
    if axis.scale == 0:
        return 1
    is_whole = values.kind not in ("number", "date")
    return min(most, math.ceil(axis.scale) + 1) if is_whole else most


def _count_points(
    among: NDArray[np.intp], x: Axis, y: Axis, color: Axis | None, shape: tuple[int, int]
) -> Named:
    n_x, n_y = shape
    columns = np.minimum((x.shares(among) * n_x).astype(np.intp), n_x - 1)
    lines = np.minimum((y.shares(among) * n_y).astype(np.intp), n_y - 1)
    cells = lines * n_x + columns
    counts = np.bincount(cells, minlength=n_x * n_y)
    arrays: Named = [("counts", counts.astype("<u4"))]
    if color is not None:
        shares = color.shares(among)
        known = ~np.isnan(shares)
        n_known = np.bincount(cells[known], minlength=n_x * n_y)
        totals = np.bincount(cells[known], shares[known], n_x * n_y)
        means = np.full(n_x * n_y, np.nan)
        np.divide(totals, n_known, out=means, where=n_known > 0)
        arrays.append(("color", means.astype("<f4")))
    return arrays


def _pack(heading: dict[str, Any], arrays: Named) -> bytes:
    """Put a heading and arrays behind each other."""
    described = []
    for name, array in arrays:
        kind = "u32" if array.dtype.kind == "u" else "f32"
        described.append({"name": name, "type": kind, "length": len(array)})
    text = json.dumps({**heading, "arrays": described}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    parts = [array.tobytes() for _, array in arrays]
    return b"".join([len(text).to_bytes(4, "little"), text, *parts])
