"""Pictures of explanations, where matplotlib is installed.

Next: :mod:`service.explanations.given_values`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from service.engines.local_importances import LocalImportances
from service.explanations.context import ExplanationContext
from service.explanations.frames import names_of_outputs, to_shap
from service.explanations.global_importances import GlobalImportances
from service.explanations.pictures import largest_output
from service.explanations.ranks import rank_features

ROW_HEIGHT = 0.3  # inches


def _new_axes(n_bars: int) -> Any:
    """Return the axes of a new picture.

    Raises
    ------
    ImportError
        Where matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        raise ImportError(
            "Plots are drawn by matplotlib, which is not installed: pip install "
            "'scoring-service[plots]', or matplotlib alone."
        ) from None
    _, axes = plt.subplots(figsize=(7.0, 1.0 + ROW_HEIGHT * n_bars), layout="constrained")
    return axes


def plot_global(overall: GlobalImportances, top_k: int) -> Any:
    """Draw global importances as bars with their standard errors, the largest on top.

    Parameters
    ----------
    overall : GlobalImportances
    top_k : int
        How many features.

    Returns
    -------
    matplotlib.axes.Axes
    """
    shown = rank_features(overall.values, top_k)[::-1]
    errors = overall.standard_errors
    axes = _new_axes(len(shown))
    axes.barh(
        [overall.features[i] for i in shown],
        overall.values[shown],
        xerr=None if errors is None else errors[shown],
        color="#4878a8",
        ecolor="#333333",
    )
    if overall.noise_floor is not None:
        places = np.arange(len(shown))
        axes.plot(overall.noise_floor[shown], places, "k|", markersize=12, label="noise floor")
        axes.legend(loc="lower right", frameon=False)
    axes.set_xlabel(f"importance ({overall.output})")
    return axes


def plot_row(
    importances: LocalImportances, context: ExplanationContext, row: int, class_: Any, top_k: int
) -> Any:
    """Draw how one row comes from the expected value to its output, as shap's waterfall.

    Parameters
    ----------
    importances : LocalImportances
    context : ExplanationContext
    row : int
        Its position.
    class_ : object
        The class or target; None for the one of the largest output.
    top_k : int
        How many features have a bar of their own.

    Returns
    -------
    matplotlib.axes.Axes
    """
    axes = _new_axes(top_k)
    if class_ is None:
        class_ = names_of_outputs(importances)[largest_output(importances, row)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap's own, of matplotlib's newer versions
        import shap

        explained = to_shap(importances[row], context.take_rows([row]), class_)[0]
        shap.plots.waterfall(explained, max_display=top_k, show=False)
    return axes
