"""Local importances with what is needed to read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LocalImportances:
    """Local importances of some rows, as arrays.

    Attributes
    ----------
    values : ndarray of shape (n_classes, n_rows, n_features) or (n_rows, n_features)
        Classes first for classifiers (in ``predict_proba`` column order), targets first for
        regressors with several of them; regressors with one target have no such axis.
    expected_values : ndarray of shape (n_classes,) or ()
        The model's mean output over the background. expected value + Σ importances = the model's
        output for the row.
    features : list of str
        Names along the last axis.
    classes : list or None
        Names along a classifier's first axis; None for regressors.
    method : str
        "linear", "tree", "product" and "polynomial" are exact; "kernel" is Kernel SHAP by calling
        the model, and "kernel/linear", "kernel/product", "kernel/polynomial", "kernel/network"
        evaluate it without a call of the model.
    output : {"probability", "margin", "prediction"}
        The scale on which the importances add up.
    standard_errors : ndarray of the shape of `values`, or None
        One standard error of each importance, 0 where nothing was sampled; None from the exact
        methods.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> from service.scoring import KernelScoringExplainer
    >>> rows = pd.DataFrame({"size": [0.0, 1.0, 0.0, 1.0], "age": [0.0, 0.0, 1.0, 1.0]})
    >>> model = LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> result = KernelScoringExplainer(TabularExplainer(model, rows)).explain_rows(rows)
    >>> result.values.shape, result.features, result.output
    ((4, 2), ['size', 'age'], 'prediction')
    >>> (result.expected_values + result.values.sum(axis=-1)).round(3).tolist()
    [0.0, 2.0, -1.0, 1.0]
    """

    values: NDArray[np.float64]
    expected_values: NDArray[np.float64]
    features: list[str]
    classes: list[Any] | None
    method: str
    output: str
    standard_errors: NDArray[np.float64] | None = None

    def to_lists(self) -> list[Any]:
        """Return the values as nested lists: ``[class][row][feature]``, or ``[row][feature]`` for
        regressors.

        Regressors with several targets have ``[target][row][feature]``.
        """
        return self.values.tolist()
