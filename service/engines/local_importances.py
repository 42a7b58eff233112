"""Local importances with what is needed to read them: what an explainer answers, as arrays.

Next: :mod:`service.engines.sparse`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, repr=False)
class LocalImportances:
    """Local importances of some rows, as arrays; `importances[2:5]` are those of some of them.

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
        The engine. "linear", "tree", "product" and "polynomial" are exact where all examples are
        met; with "/sampled" the same is estimated from a sample of them. "kernel" is Kernel SHAP
        by calling the model; "kernel/linear", "kernel/additive", "kernel/tree", "kernel/product",
        "kernel/polynomial", "kernel/network", "kernel/process", "kernel/neighbours" and
        "kernel/stacked" are Kernel SHAP without a call of the model; "permutation/linear",
        "permutation/additive" and "permutation/network" are the same for more than 200 features,
        along orders of them.
        "sum" adds up the importances of the models inside of another one, and "sum/sampled" where
        some are estimated. "shap" is ``shap.KernelExplainer``.
    output : {"probability", "margin", "prediction"}
        The scale on which the importances add up.
    standard_errors : ndarray of the shape of `values`, or None
        One standard error of each importance, 0 where nothing was sampled; it covers a background
        that is a sample of the examples. None from the exact methods on all examples, on centres of
        k-means, and from "shap".

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> from service.scoring import KernelScoringExplainer
    >>> rows = pd.DataFrame({"size": [0.0, 1.0, 0.0, 1.0], "age": [0.0, 0.0, 1.0, 1.0]})
    >>> model = LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> explainer = KernelScoringExplainer(TabularExplainer(model, rows))
    >>> importances = explainer.explain_rows(rows)
    >>> importances.values.shape, importances.features, importances.output
    ((4, 2), ['size', 'age'], 'prediction')
    >>> importances[1:3]
    <LocalImportances of 2 rows, 2 features: method='linear', output='prediction'>
    >>> (importances.expected_values + importances.values.sum(axis=-1)).round(3).tolist()
    [0.0, 2.0, -1.0, 1.0]
    """

    values: NDArray[np.float64]
    expected_values: NDArray[np.float64]
    features: list[str]
    classes: list[Any] | None
    method: str
    output: str
    standard_errors: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        """Tell in a line what they are."""
        *outer, n_rows, n_features = self.shape
        counts = [_counted(n_rows, "row"), _counted(n_features, "feature")]
        if self.classes is not None:
            counts.append(f"{len(self.classes)} classes")
        elif outer:
            counts.append(f"{outer[0]} targets")
        made = f"method={self.method!r}, output={self.output!r}"
        return f"<{type(self).__name__} of {', '.join(counts)}: {made}>"

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.shape[-2])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `values`."""
        return self.values.shape

    def __getitem__(self, rows: Any) -> LocalImportances:
        """Take some of the rows.

        Parameters
        ----------
        rows : int, slice, sequence of int or of bool
            As for an array; a single number keeps the axis of the rows.

        Returns
        -------
        LocalImportances

        Raises
        ------
        IndexError
            When there is no such row.
        """
        taken = np.atleast_1d(np.arange(len(self))[rows])
        errors = self.standard_errors
        if errors is not None:
            errors = errors[..., taken, :]
        return replace(self, values=self.values[..., taken, :], standard_errors=errors)

    def to_lists(self) -> list[Any]:
        """Return the values as nested lists.

        Returns
        -------
        list
            ``[class][row][feature]`` for classifiers, ``[row][feature]`` for regressors,
            ``[target][row][feature]`` for regressors with several targets.
        """
        return self.values.tolist()


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
