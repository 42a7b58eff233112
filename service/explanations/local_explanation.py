"""What an explainer answers for each row: local explanations, with ranked names and values.

Everything comes as plain nested lists. Axis order: classifiers have the class first,
``[class][row][feature]``, in ``predict_proba`` column order; regressors ``[row][feature]``, and
``[target][row][feature]`` with several targets. Ranks go from the highest value to the lowest: in a
local ranking what pushes the output up comes first and what pushes it down comes last.

Next: :mod:`service.explanations.global_explanation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.explanations.context import ExplanationContext, KnowsContext, require
from service.explanations.global_importances import GlobalImportances
from service.explanations.ranks import rank_features

NOTHING_ADDS_UP = "its importances do not add up to an output"


@dataclass(frozen=True, repr=False)
class LocalExplanation(KnowsContext):
    """Local importances of evaluation rows; `explanation[2:5]` is that of some of them.

    :meth:`service.explainers.TabularExplainer.explain_local` makes one.

    Parameters
    ----------
    importances : LocalImportances
        The same as arrays.
    context : ExplanationContext, optional
        What is known beside them.

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
    context: ExplanationContext = field(default_factory=ExplanationContext)

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
        taken = np.atleast_1d(np.arange(len(self))[rows])
        return type(self)(self._local[taken], self.context.take_rows(taken))

    @property
    def _local(self) -> LocalImportances:
        """The local importances, where there are any."""
        return self.importances

    @property
    def _described(self) -> LocalImportances | GlobalImportances:
        """What knows the names and how the importances came about."""
        return self._local

    @property
    def local_importance_values(self) -> list[Any]:
        """Importances as ``[class][row][feature]``, or ``[row][feature]`` for regressors.

        A row that came without an axis of rows has none here either: ``[class][feature]``, or
        ``[feature]``. It is so with everything that is told row by row.
        """
        return self._to_lists(self._local.values)

    def _to_lists(self, of_rows: NDArray[Any]) -> list[Any]:
        """Write an array whose last axis but one has the rows."""
        return (of_rows[..., 0, :] if self.context.is_one_row else of_rows).tolist()

    @property
    def expected_values(self) -> Any:
        """The model's mean output over the background.

        One number per class or per target, or one number for a regressor with one target. With the
        importances of a row it adds up to the model's output for it.
        """
        return require(self._described.expected_values, "expected_values", NOTHING_ADDS_UP).tolist()

    @property
    def features(self) -> list[str]:
        """Feature names, along the last axis."""
        return self._described.features

    @property
    def classes(self) -> list[Any] | None:
        """Class names, along the first axis; None for regressors."""
        return self._described.classes

    @property
    def method(self) -> str:
        """How the importances were computed; see :class:`service.scoring.LocalImportances`."""
        return self._described.method

    @property
    def standard_errors(self) -> list[Any] | None:
        """Standard errors of the importances, in the same order; None from the exact methods."""
        errors = self._local.standard_errors
        return None if errors is None else self._to_lists(errors)

    @property
    def output(self) -> str:
        """The scale of the importances: "probability", "margin" or "prediction"."""
        return self._described.output

    @property
    def num_features(self) -> int:
        """Number of features explained."""
        return len(self.features)

    @property
    def num_examples(self) -> int:
        """Number of evaluation rows."""
        return len(self)

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
        return self._to_lists(names[rank_features(self._local.values, top_k)])

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
        values = self._local.values
        return self._to_lists(np.take_along_axis(values, rank_features(values, top_k), axis=-1))

    def get_local_importance_rank(self, top_k: int | None = None) -> list[Any]:
        """Return the positions of features in the order of :meth:`get_ranked_local_names`.

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
        return self._to_lists(rank_features(self._local.values, top_k))
