"""What an explainer answers for a model as a whole: global explanations, with ranked names.

Next: :mod:`service.explanations.top_features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.explanations.context import listed, require
from service.explanations.frames import global_frame
from service.explanations.global_importances import GlobalImportances
from service.explanations.local_explanation import LocalExplanation
from service.explanations.pictures import draw_global
from service.explanations.plots import plot_global
from service.explanations.ranks import rank_features

NO_CLASSES = "its importances are those of all classes together"
NOT_KEPT = "explain_global(rows, include_local=True) keeps them"


@dataclass(frozen=True, repr=False)
class GlobalExplanation(LocalExplanation):
    """Global importances: the mean absolute local importance of the evaluation rows.

    The mean is taken per class, and then over classes. The local importances that were averaged are
    there as well, unless they were left out for the sake of memory: then what is asked of rows
    raises AttributeError. :meth:`service.explainers.TabularExplainer.explain_global` makes one.

    Parameters
    ----------
    importances : LocalImportances or None
        Of the evaluation rows.
    context : ExplanationContext, optional
        What is known beside them.
    overall : GlobalImportances, optional
        The global importances; by default the mean magnitudes of the local ones.

    Raises
    ------
    TypeError
        When there are neither local importances nor global ones.

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

    importances: LocalImportances | None  # type: ignore[assignment]
    overall: GlobalImportances = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Average the local importances, once."""
        if self.overall is not None:
            return
        if self.importances is None:
            raise TypeError("GlobalExplanation: expected importances or overall, got neither.")
        object.__setattr__(self, "overall", GlobalImportances.of(self.importances))

    def __repr__(self) -> str:
        """Tell in a line what it explains, and by which features most of all."""
        told = repr(self._described).replace(type(self._described).__name__, type(self).__name__)
        if len(self) == 0:
            return told
        largest = self.get_feature_importance_dict(3).items()
        return f"{told[:-1]}; {', '.join(f'{name} {value:.3g}' for name, value in largest)}>"

    def _repr_html_(self) -> str | None:
        """Draw the largest importances, where a notebook or page shows this."""
        return draw_global(self.overall) if len(self) else None

    def __len__(self) -> int:
        """Return the number of rows that were averaged."""
        return self.overall.n_rows

    @property
    def _local(self) -> LocalImportances:
        return require(self.importances, "local importances", NOT_KEPT)

    @property
    def _described(self) -> LocalImportances | GlobalImportances:
        return self.overall if self.importances is None else self.importances

    @property
    def standard_errors(self) -> list[Any] | None:
        """Standard errors of the local importances; of the global ones where there are no local."""
        return self.global_standard_errors if self.importances is None else super().standard_errors

    @property
    def global_standard_errors(self) -> list[float] | None:
        """Standard errors of the global importances, ``[feature]``.

        Over rows, which are taken as drawn by chance, and of sampling together; None of one row.
        """
        return listed(self.overall.standard_errors)

    @property
    def per_class_standard_errors(self) -> list[list[float]] | None:
        """Standard errors of the importances per class, ``[class][feature]``."""
        return listed(self.overall.per_class_standard_errors)

    @property
    def noise_floor(self) -> list[float] | None:
        """What a feature without influence would show, ``[feature]``; None from exact methods."""
        return listed(self.overall.noise_floor)

    @property
    def per_class_values(self) -> list[list[float]]:
        """Global importances per class, ``[class][feature]``; one list for regressors."""
        return self._per_class.tolist()

    @property
    def global_importance_values(self) -> list[float]:
        """Global importances, ``[feature]``."""
        return self.overall.values.tolist()

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
        return [self.features[i] for i in rank_features(self.overall.values, top_k)]

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
        return self.overall.values[rank_features(self.overall.values, top_k)].tolist()

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
        return names[rank_features(self._per_class, top_k)].tolist()

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
        return np.take_along_axis(
            self._per_class, rank_features(self._per_class, top_k), axis=-1
        ).tolist()

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
    def global_importance_rank(self) -> list[int]:
        """Positions of features in the order of :meth:`get_ranked_global_names`."""
        return rank_features(self.overall.values, None).tolist()

    @property
    def per_class_rank(self) -> list[list[int]]:
        """Positions of features in the order of :meth:`get_ranked_per_class_names`."""
        return rank_features(self._per_class, None).tolist()

    @property
    def _per_class(self) -> NDArray[np.float64]:
        return require(self.overall.per_class, "per_class_values", NO_CLASSES)

    def global_frame(self) -> pd.DataFrame:
        """Return the global importances as a table, a row for each feature, the largest first.

        Returns
        -------
        DataFrame
            ``importance``, and where they are known ``standard_error``, ``noise_floor``,
            ``below_noise`` (which tells what may be nothing) and ``importance of …`` for each class
            or target.
        """
        return global_frame(self.overall)

    def plot_global(self, top_k: int = 15) -> Any:
        """Draw the largest global importances as bars, with their standard errors.

        Parameters
        ----------
        top_k : int, default 15
            How many.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            Where matplotlib is not installed.
        ValueError
            When `top_k` is not positive.
        """
        return plot_global(self.overall, top_k)

    def visualize(self) -> Any:
        """Draw the largest importances, as :meth:`plot_global` does."""
        return self.plot_global()

    def get_raw_feature_importances(self, feature_maps: Sequence[Any]) -> list[float]:
        """Return the global importances of the columns before transformations.

        As in :meth:`LocalExplanation.get_raw_feature_importances`: the mean magnitudes of the local
        sums, never sums of global ones.
        """
        return self.get_raw_explanation(feature_maps).global_importance_values

    @property
    def _addable(self) -> LocalImportances:
        if self.importances is None:
            raise ValueError(
                "Raw importances are sums of local ones, and this explanation has none: sums of "
                "global importances would count what cancels out. Explain with include_local=True."
            )
        return self.importances
