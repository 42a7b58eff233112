"""DataFrameMapper: fits transformations that are listed column by column, as sklearn-pandas did.

Next: :mod:`service.explainers.named`.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any, Self

from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from service.explainers.listed_transformations import read_mapper, read_part, take_columns


class DataFrameMapper(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fit transformers to their columns, and put what they make side by side.

    sklearn-pandas has a class of this name, which cannot be imported beside scikit-learn 1.6 and
    later. As there, the listed transformers themselves are fitted, so that the same list can be
    given to an explainer as ``transformations=``.

    Parameters
    ----------
    features : sequence of (columns, transformer)
        ``"age"`` gives a transformer one axis and ``["age"]`` two; None in place of a transformer
        keeps columns as they are, and several of them in a list follow each other.
    default, sparse, df_out, input_df : False
        sklearn-pandas' further arguments, in its order: what they ask for is not done here.

    Raises
    ------
    ValueError
        When one of sklearn-pandas' further arguments is not False.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.preprocessing import StandardScaler
    >>> rows = pd.DataFrame({"size": [0.0, 2.0], "age": [7.0, 9.0]})
    >>> DataFrameMapper([(["size"], StandardScaler()), ("age", None)]).fit_transform(rows).tolist()
    [[-1.0, 7.0], [1.0, 9.0]]
    """

    def __init__(
        self,
        features: Sequence[Any],
        default: Any = False,
        sparse: bool = False,
        df_out: bool = False,
        input_df: bool = False,
    ) -> None:
        self.features = features
        self.default = _without("default", default, "list the other columns too")
        self.sparse = _without("sparse", sparse, "take a ColumnTransformer")
        self.df_out = _without("df_out", df_out, "call get_feature_names_out()")
        self.input_df = _without("input_df", input_df, "take a ColumnTransformer")

    def fit(self, rows: Any, y: Any = None) -> Self:
        """Fit each transformer that is listed.

        Parameters
        ----------
        rows : DataFrame or array of shape (n_rows, n_columns)
        y : array-like of shape (n_rows,), optional
            What transformers may look at.
        """
        for part in self.features:
            columns, transformer, _ = read_part(part)
            steps = transformer if isinstance(transformer, list) else [transformer]
            taken = take_columns(rows, columns)
            for step in filter(None, steps):
                taken = _fit(step, taken, y).transform(taken)
        self.joined_ = read_mapper(self, rows)
        return self

    def transform(self, rows: Any) -> Any:
        """Return what the transformers make of rows, (n_rows, n_made_columns).

        Parameters
        ----------
        rows : DataFrame or array of shape (n_rows, n_columns)

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        """
        check_is_fitted(self, "joined_")
        return self.joined_.transform(rows)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names of the columns that are made."""
        return self.joined_.get_feature_names_out(input_features)


def _without(name: str, value: Any, remedy: str) -> bool:
    """Refuse what sklearn-pandas' class can do beside listing columns."""
    if value is not False:
        raise ValueError(f"DataFrameMapper: {name}: expected False, got {value!r}; {remedy}.")
    return False


def _fit(step: Any, taken: Any, y: Any) -> Any:
    """Fit a transformer; those of labels, as LabelBinarizer, take nothing beside them."""
    takes_both = len(signature(step.fit).parameters) > 1
    return step.fit(taken, y) if takes_both else step.fit(taken)
