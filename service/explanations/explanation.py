"""What an explainer answers: local and global explanations, with ranked names and values.

Everything comes as plain nested lists. Axis order: classifiers have the class first,
``[class][row][feature]``, in ``predict_proba`` column order; regressors ``[row][feature]``. Ranks
go from the highest value to the lowest: in a local ranking what pushes the output up comes first
and what pushes it down comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances


@dataclass(frozen=True)
class LocalExplanation:
    """Local importances of evaluation rows.

    Parameters
    ----------
    importances : LocalImportances

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> rows = pd.DataFrame({"size": [0.0, 1.0, 0.0, 1.0], "age": [0.0, 0.0, 1.0, 1.0]})
    >>> model = LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> explanation = TabularExplainer(model, rows).explain_local(rows[3:])
    >>> explanation.get_ranked_local_names()
    [['size', 'age']]
    >>> [round(value, 3) for value in explanation.get_ranked_local_values()[0]]
    [1.0, -0.5]
    >>> round(explanation.expected_values, 3)
    0.5
    """

    importances: LocalImportances

    @property
    def local_importance_values(self) -> list[Any]:
        """Importances as ``[class][row][feature]``, or ``[row][feature]`` for regressors."""
        return self.importances.to_lists()

    @property
    def expected_values(self) -> Any:
        """The model's mean output over the background.

        One number per class, or one number for regressors.
        """
        return self.importances.expected_values.tolist()

    @property
    def features(self) -> list[str]:
        """Feature names, along the last axis."""
        return self.importances.features

    @property
    def classes(self) -> list[Any] | None:
        """Class names, along the first axis; None for regressors."""
        return self.importances.classes

    @property
    def method(self) -> str:
        """How the importances were computed; see :class:`service.scoring.LocalImportances`."""
        return self.importances.method

    @property
    def standard_errors(self) -> list[Any] | None:
        """Standard errors of the importances, in the same order; None from the exact methods."""
        errors = self.importances.standard_errors
        return None if errors is None else errors.tolist()

    @property
    def output(self) -> str:
        """The scale of the importances: "probability", "margin" or "prediction"."""
        return self.importances.output

    @property
    def num_features(self) -> int:
        """Number of features explained."""
        return int(self.importances.values.shape[-1])

    @property
    def num_examples(self) -> int:
        """Number of evaluation rows."""
        return int(self.importances.values.shape[-2])

    @property
    def num_classes(self) -> int:
        """Number of classes; 1 for regressors."""
        return len(self.classes) if self.classes is not None else 1

    def get_ranked_local_names(self, top_k: int | None = None) -> list[Any]:
        """Return feature names by falling local importance, for each (class and) row.

        Parameters
        ----------
        top_k : int, optional
            Keep only the first `top_k`.
        """
        return np.array(self.features, dtype=object)[
            _ranks(self.importances.values, top_k)
        ].tolist()

    def get_ranked_local_values(self, top_k: int | None = None) -> list[Any]:
        """Return the importances in the order of :meth:`get_ranked_local_names`."""
        values = self.importances.values
        return np.take_along_axis(values, _ranks(values, top_k), axis=-1).tolist()


@dataclass(frozen=True)
class GlobalExplanation(LocalExplanation):
    """Global importances: mean absolute local importances, per class and then over classes.

    The local importances of the evaluation rows that were averaged are there as well.

    Parameters
    ----------
    importances : LocalImportances

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> rows = pd.DataFrame({"size": [0.0, 1.0, 0.0, 1.0], "age": [0.0, 0.0, 1.0, 1.0]})
    >>> model = LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> explanation = TabularExplainer(model, rows).explain_global(rows)
    >>> explanation.get_ranked_global_names()
    ['size', 'age']
    >>> {name: round(value, 3) for name, value in explanation.get_feature_importance_dict().items()}
    {'size': 1.0, 'age': 0.5}
    """

    @property
    def per_class_values(self) -> list[list[float]]:
        """Global importances per class, ``[class][feature]``; one list for regressors."""
        return self._per_class.tolist()

    @property
    def global_importance_values(self) -> list[float]:
        """Global importances, ``[feature]``."""
        return self._overall.tolist()

    def get_ranked_global_names(self, top_k: int | None = None) -> list[str]:
        """Return feature names by falling global importance.

        Parameters
        ----------
        top_k : int, optional
            Keep only the first `top_k`.
        """
        return [self.features[i] for i in _ranks(self._overall, top_k)]

    def get_ranked_global_values(self, top_k: int | None = None) -> list[float]:
        """Return the global importances in the order of :meth:`get_ranked_global_names`."""
        return self._overall[_ranks(self._overall, top_k)].tolist()

    def get_ranked_per_class_names(self, top_k: int | None = None) -> list[list[str]]:
        """Return feature names by falling importance, for each class."""
        return [[self.features[i] for i in ranks] for ranks in _ranks(self._per_class, top_k)]

    def get_ranked_per_class_values(self, top_k: int | None = None) -> list[list[float]]:
        """Return the importances in the order of :meth:`get_ranked_per_class_names`."""
        return np.take_along_axis(self._per_class, _ranks(self._per_class, top_k), axis=-1).tolist()

    def get_feature_importance_dict(self, top_k: int | None = None) -> dict[str, float]:
        """Return {feature name: global importance}, highest first."""
        return dict(
            zip(
                self.get_ranked_global_names(top_k),
                self.get_ranked_global_values(top_k),
                strict=True,
            )
        )

    @property
    def _per_class(self) -> NDArray[np.float64]:
        values = np.abs(self.importances.values)
        return values.reshape(-1, *values.shape[-2:]).mean(axis=1)  # (n_classes, n_features)

    @property
    def _overall(self) -> NDArray[np.float64]:
        return self._per_class.mean(axis=0)


def _ranks(values: NDArray[np.float64], top_k: int | None) -> NDArray[np.intp]:
    """Order the last axis from highest to lowest; equal values keep their column order."""
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: expected a positive number, got {top_k}.")
    return np.argsort(-values, axis=-1, kind="stable")[..., :top_k]
