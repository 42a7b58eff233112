"""What an explainer answers for each row: local explanations, with ranked names and values.

Everything comes as plain nested lists. Axis order: classifiers have the class first,
``[class][row][feature]``, in ``predict_proba`` column order; regressors ``[row][feature]``, and
``[target][row][feature]`` with several targets. Ranks go from the highest value to the lowest: in a
local ranking what pushes the output up comes first and what pushes it down comes last.

Next: :mod:`service.explanations.global_explanation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.errors import expect
from service.explanations.context import ExplanationContext, KnowsContext, count_rows, require
from service.explanations.frames import local_frame, to_shap
from service.explanations.given_values import take_values
from service.explanations.global_importances import GlobalImportances
from service.explanations.pictures import draw_first_row
from service.explanations.plots import plot_row
from service.explanations.ranks import rank_features
from service.explanations.raw_features import to_raw

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

    def _repr_html_(self) -> str | None:
        """Draw the first row, where a notebook or page shows this; nothing where there is none."""
        return draw_first_row(self._local, self._row_index) if len(self) else None

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
        listed: list[Any] = self._list_rows(of_rows, -2)
        return listed

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

    def to_frame(self, class_: Any = None) -> pd.DataFrame:
        """Return the importances as a table, a row for each row, under its label.

        Parameters
        ----------
        class_ : object, optional
            The name of a class, or the position of a class or target; by default all of them, side
            by side.

        Returns
        -------
        DataFrame of shape (n_rows, n_features), or (n_rows, n_classes · n_features)

        Raises
        ------
        ValueError
            When there is no such class.
        """
        return local_frame(self._local, self._row_index, class_)

    def to_shap(self, class_: Any = None) -> Any:
        """Return the importances as ``shap.Explanation``, for shap's plots.

        Parameters
        ----------
        class_ : object, optional
            As in :meth:`to_frame`; most plots want one class.

        Returns
        -------
        shap.Explanation
            Its values have the shape (n_rows, n_features), or (n_rows, n_features, n_classes); of a
            row that came without an axis of rows (n_features,), or (n_features, n_classes).

        Raises
        ------
        ValueError
            When there is no such class.
        """
        explained = to_shap(self._local, self.context, class_)
        return explained[0] if self.context.is_one_row else explained

    def plot_row(self, row: int, class_: Any = None, top_k: int = 10) -> Any:
        """Draw how a row comes from the expected value to its output, as shap's waterfall.

        Parameters
        ----------
        row : int
            Its position.
        class_ : object, optional
            As in :meth:`to_frame`; by default the one with the largest output.
        top_k : int, default 10
            How many features have a bar of their own.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            Where matplotlib is not installed.
        """
        return plot_row(self._local, self.context, row, class_, top_k)

    def visualize(self) -> Any:
        """Draw the first row, as :meth:`plot_row` does."""
        return self.plot_row(0)

    @classmethod
    def from_values(
        cls,
        values: Any,
        *,
        features: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        expected_values: Any,
        axes: Sequence[str] | None = None,
        output: str = "prediction",
        context: ExplanationContext | None = None,
    ) -> Self:
        """Make an explanation of values that were computed elsewhere.

        Parameters
        ----------
        values : array-like of shape (n_rows, n_features), or of three axes
            With an axis of classes or targets first, as here, or last, as in shap.
        features : sequence of str, optional
            By default "0", "1", ….
        classes : sequence, optional
            Names of a classifier's classes.
        expected_values : float or array-like of shape (n_classes,)
            What the importances of a row add up to its output with.
        axes : sequence of str, optional
            The order of "class", "row" and "feature", where the counts leave it open.
        output : {"prediction", "probability", "margin"}, default "prediction"
            The scale.
        context : ExplanationContext, optional
            What is known beside the values.

        Returns
        -------
        LocalExplanation

        Raises
        ------
        ValueError
            When the counts do not fit, the order of the axes cannot be told, or a value is not
            finite.

        Examples
        --------
        >>> local = LocalExplanation.from_values(
        ...     [[1.0, -2.0]], features=["rooms", "floor"], expected_values=5.0
        ... )
        >>> local.get_ranked_local_names()
        [['rooms', 'floor']]
        """
        given = take_values(
            values,
            features=features,
            classes=classes,
            expected_values=expected_values,
            axes=axes,
            output=output,
        )
        return cls(given, context if context is not None else ExplanationContext())

    def get_raw_explanation(
        self,
        feature_maps: Sequence[Any],
        raw_feature_names: Sequence[str] | None = None,
        eval_data: Any = None,
    ) -> Self:
        """Explain by the columns before transformations, by adding up those made of them.

        The global importances are those of these sums. A Shapley value of raw columns is not the
        sum of those of the columns made of them unless interactions are of pairs at most: give the
        explainer its transformations where they are at hand.

        Parameters
        ----------
        feature_maps : sequence of matrices of shape (n_columns, n_more_columns)
            Dense or sparse, transformation after transformation: above 0 where a column was made of
            another. What was made of several is shared among them.
        raw_feature_names : sequence of str, optional
        eval_data : table, optional
            The raw rows, as many as were explained.

        Returns
        -------
        LocalExplanation or GlobalExplanation

        Raises
        ------
        ValueError
            When the shapes do not fit, there are more or fewer rows, or there are no local
            importances to add up.

        Examples
        --------
        >>> local = LocalExplanation.from_values([[1.0, -2.0, 4.0]], expected_values=0.0)
        >>> one_hot = [[1, 1, 0], [0, 0, 1]]
        >>> local.get_raw_explanation([one_hot], ["colour", "size"]).to_frame()
           colour  size
        0    -1.0   4.0
        """
        names = self.context.raw_features if raw_feature_names is None else raw_feature_names
        raw = to_raw(self._addable, feature_maps, names)
        n_rows = (
            len(self) if eval_data is None or self.context.is_one_row else count_rows(eval_data)
        )
        expect(
            n_rows == len(self),
            f"eval_data: expected the raw rows of the {len(self)} explained, got {n_rows}.",
            ValueError,
        )
        return type(self)(raw, self.context.of_raw_columns(eval_data))

    def get_raw_feature_importances(self, feature_maps: Sequence[Any]) -> list[Any]:
        """Return the importances of the columns before transformations.

        Parameters
        ----------
        feature_maps : sequence of matrices of shape (n_columns, n_more_columns)
            As in :meth:`get_raw_explanation`.

        Returns
        -------
        list
            Local ones in the order of :attr:`local_importance_values`; of a global explanation the
            global ones, ``[feature]``.

        Raises
        ------
        ValueError
            As :meth:`get_raw_explanation`.
        """
        return self.get_raw_explanation(feature_maps).local_importance_values

    def to_raw(self) -> Self:
        """Explain by the raw columns, by what is known of how these columns were made of them.

        Returns
        -------
        LocalExplanation or GlobalExplanation

        Raises
        ------
        AttributeError
            When this is not an explanation of engineered columns.
        ValueError
            When there are no local importances to add up.
        """
        why = "it is known of none which raw column each of its columns is made of"
        return self.get_raw_explanation(require(self.context.feature_maps, "to_raw", why))

    @property
    def _addable(self) -> LocalImportances:
        return self._local
