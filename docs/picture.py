"""Draw one explained prediction of the example as an SVG: ``python docs/picture.py``.

It needs what ``make train`` saved under ``artifacts/``, and writes ``docs/images/reasons.svg``.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.explanations.drawing import BAR, DOWN, FAINT, INK, UP, bar, framed, line, text
from service.scoring import load

FILE = Path(__file__).parent / "images" / "reasons.svg"
ROW, N_SHOWN = 3, 7  # the row that is malignant; its largest importances by name
LEFT, RIGHT, TOP, STEP = 200, 560, 66, 28  # pixels


def main() -> None:
    """Explain the row and write the picture."""
    explainer = load("artifacts")
    rows = explainer.read_rows(Path("artifacts/examples.json").read_text(encoding="utf-8"))
    result = explainer.explain_rows(rows)
    names = json.loads(Path("artifacts/scoring_explainer.json").read_text())["features"]
    malignant = result.values[0, ROW]
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(waterfall(malignant, names, float(result.expected_values[0])))
    print(f"Wrote {FILE}")


def waterfall(values: NDArray[np.float64], names: list[str], start: float) -> str:
    """Draw bars that lead from the mean output to the output of a row.

    Parameters
    ----------
    values : ndarray of shape (n_features,)
    names : list of str
    start : float
        The expected value, where the first bar begins.
    """
    steps = largest_first(values, names)
    end = start + float(values.sum())
    levels = start + np.cumsum([0.0, *[value for _, value in steps]])
    low, high = float(levels.min()), float(levels.max())

    def across(level: float) -> float:
        return LEFT + (RIGHT - LEFT) * (level - low) / (high - low)

    bottom = TOP + STEP * len(steps)
    parts = [
        text(24, 30, "Malignant, with probability " + f"{end:.3f}. Why?", size=17, weight=600),
        text(24, 50, f"The model's mean over the training rows is {start:.3f}.", FAINT, size=12),
        line(across(start), TOP - 6, across(start), bottom, FAINT),
        line(across(end), TOP - 6, across(end), bottom, INK),
    ]
    for i, (name, value) in enumerate(steps):
        y = TOP + STEP * i
        before, after = across(levels[i]), across(levels[i + 1])
        color = UP if value > 0 else DOWN
        middle = y + BAR - 5
        parts.append(text(LEFT - 12, middle, name, anchor="end"))
        parts.append(bar(min(before, after), y, abs(after - before), color))
        parts.append(text(max(before, after) + 6, middle, f"{value:+.3f}", color, size=12))
    parts.append(text(across(start), bottom + 16, f"{start:.3f}", FAINT, size=12, anchor="middle"))
    parts.append(text(across(end), bottom + 16, f"{end:.3f}", INK, size=12, anchor="middle"))
    return framed(parts, RIGHT + 80, bottom + 32)


def largest_first(values: NDArray[np.float64], names: list[str]) -> list[tuple[str, float]]:
    """Pair names with importances, the largest first, and put the small ones together."""
    order = np.argsort(-np.abs(values), kind="stable")
    shown = [(names[i], float(values[i])) for i in order[:N_SHOWN]]
    rest = float(values[order[N_SHOWN:]].sum())
    return [*shown, (f"{len(values) - N_SHOWN} others", rest)]


if __name__ == "__main__":
    main()
