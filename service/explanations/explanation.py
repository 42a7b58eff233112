"""What an explainer answers: local and global explanations, with ranked names and values.

Everything comes as plain nested lists. Axis order: classifiers have the class first,
``[class][row][feature]``, in ``predict_proba`` column order; regressors ``[row][feature]``, and
``[target][row][feature]`` with several targets. Ranks go from the highest value to the lowest: in a
local ranking what pushes the output up comes first and what pushes it down comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances


@dataclass(frozen=True, repr=False)
class LocalExplanation:
    """Local importances of evaluation rows; `explanation[2:5]` is that of some of them.

    :meth:`service.explainers.TabularExplainer.explain_local` makes one.

    Parameters
    ----------
    importances : LocalImportances
        The same as arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> X, y = [[0, 0], [2, 0], [0, 4], [2, 4]], [0, 2, 8, 10]
    >>> model = LinearRegression().fit(X, y)
    >>> explainer = TabularExplainer(model, X, features=["rooms", "floor"])
    >>> local = explainer.explain_local([[2, 1], [0, 4]])
    >>> np.round(local.local_importance_values, 6).tolist()
    [[1.0, -2.0], [-1.0, 4.0]]
    >>> local.get_ranked_local_names()
    [['rooms', 'floor'], ['floor', 'rooms']]
    >>> local.num_examples, local.num_features, local.num_classes, local.method
    (2, 2, 1, 'linear')
    >>> local[1]
    <LocalExplanation of 1 row, 2 features: method='linear', output='prediction'>
    """

    importances: LocalImportances

    def __repr__(self) -> str:
        """Tell in a line what it explains."""
        return repr(self.importances).replace("LocalImportances", type(self).__name__)

    def __len__(self) -> int:
        """Return the number of evaluation rows."""
        return len(self.importances)

    def __getitem__(self, rows: Any) -> Self:
        """Take the explanation of some of the rows.

        Parameters
        ----------
        rows : int, slice, sequence of int or of bool
            As for an array; a single number gives an explanation of one row.

        Raises
        ------
        IndexError
            When there is no such row.
        """
        return type(self)(self.importances[rows])

    @property
    def local_importance_values(self) -> list[Any]:
        """Importances as ``[class][row][feature]``, or ``[row][feature]`` for regressors."""
        return self.importances.to_lists()

    @property
    def expected_values(self) -> Any:
        """The model's mean output over the background.

        One number per class or per target, or one number for a regressor with one target. With the
        importances of a row it adds up to the model's output for it.
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
            Keep only the first `top_k`; all of them by default.

        Returns
        -------
        list
            ``[class][row][rank]``, or ``[row][rank]`` for regressors.

        Raises
        ------
        ValueError
            When `top_k` is not positive.
        """
        names = np.array(self.features, dtype=object)
        return names[_ranks(self.importances.values, top_k)].tolist()

    def get_ranked_local_values(self, top_k: int | None = None) -> list[Any]:
        """Return the importances in the order of :meth:`get_ranked_local_names`.

        Parameters
        ----------
        top_k : int, optional
            Keep only the first `top_k`; all of them by default.

        Returns
        -------
        list
            ``[class][row][rank]``, or ``[row][rank]`` for regressors.

        Raises
        ------
        ValueError
            When `top_k` is not positive.
        """
        values = self.importances.values
        return np.take_along_axis(values, _ranks(values, top_k), axis=-1).tolist()


@dataclass(frozen=True, repr=False)
class GlobalExplanation(LocalExplanation):
    """Global importances: the mean absolute local importance of the evaluation rows.

    The mean is taken per class, and then over classes. The local importances that were averaged are
    there as well. :meth:`service.explainers.TabularExplainer.explain_global` makes one.

    Parameters
    ----------
    importances : LocalImportances
        Of the evaluation rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> X, y = [[0, 0], [2, 0], [0, 4], [2, 4]], [0, 2, 8, 10]
    >>> model = LinearRegression().fit(X, y)
    >>> explainer = TabularExplainer(model, X, features=["rooms", "floor"])
    >>> overall = explainer.explain_global([[2, 1], [0, 4]])
    >>> overall.get_ranked_global_names()
    ['floor', 'rooms']
    >>> np.round(overall.get_ranked_global_values(), 6).tolist()
    [3.0, 1.0]
    >>> list(overall.get_feature_importance_dict(top_k=1))
    ['floor']
    >>> repr(overall).split("; ")[1]
    'floor 3, rooms 1>'
    """

    def __repr__(self) -> str:
        """Tell in a line what it explains, and by which features most of all."""
        told = super().__repr__()
        if len(self) == 0:
            return told
        largest = self.get_feature_importance_dict(3).items()
        return f"{told[:-1]}; {', '.join(f'{name} {value:.3g}' for name, value in largest)}>"

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
            Keep only the first `top_k`; all of them by default.

        Raises
        ------
        ValueError
            When `top_k` is not positive.
        """
        return [self.features[i] for i in _ranks(self._overall, top_k)]

    def get_ranked_global_values(self, top_k: int | None = None) -> list[float]:
        """Return the global importances in the order of :meth:`get_ranked_global_names`.

        Parameters
        ----------
        top_k : int, optional
            Keep only the first `top_k`; all of them by default.

        Raises
        ------
        ValueError
            When `top_k` is not positive.
        """
        return self._overall[_ranks(self._overall, top_k)].tolist()

    def get_ranked_per_class_names(self, top_k: int | None = None) -> list[list[str]]:
        """Return feature names by falling importance, for each class.

        Parameters
        ----------
        top_k : int, optional
            Keep only the first `top_k`; all of them by default.

        Returns
        -------
        list of list of str
            ``[class][rank]``.

        Raises
        ------
        ValueError
            When `top_k` is not positive.
        """
        names = np.array(self.features, dtype=object)
        return names[_ranks(self._per_class, top_k)].tolist()

    def get_ranked_per_class_values(self, top_k: int | None = None) -> list[list[float]]:
        """Return the importances in the order of :meth:`get_ranked_per_class_names`.

        Parameters
        ----------
        top_k : int, optional
            Keep only the first `top_k`; all of them by default.

        Returns
        -------
        list of list of float
            ``[class][rank]``.

        Raises
        ------
        ValueError
            When `top_k` is not positive.
        """
        return np.take_along_axis(self._per_class, _ranks(self._per_class, top_k), axis=-1).tolist()

    def get_feature_importance_dict(self, top_k: int | None = None) -> dict[str, float]:
        """Return global importances by feature name, highest first.

        Parameters
        ----------
        top_k : int, optional
            Keep only the first `top_k`; all of them by default.

        Raises
        ------
        ValueError
            When `top_k` is not positive.
        """
        names, values = self.get_ranked_global_names(top_k), self.get_ranked_global_values(top_k)
        return dict(zip(names, values, strict=True))

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
