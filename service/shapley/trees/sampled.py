"""Trees whose background is too large to be met whole: a sample of it, with standard errors.

The importances against one background row are exact (:mod:`service.shapley.trees.traversal`), and
those wanted are their mean over all examples (:mod:`service.shapley.survey`).

Next: :mod:`service.shapley.trees.curves`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.shapley.grouping import Grouping
from service.shapley.survey import Population, Sample, Survey, SurveyedGame
from service.shapley.trees.forest import Forest
from service.shapley.trees.traversal import TreeTraversal, sum_of_leaves


class SampledTreeGame(SurveyedGame):
    """A sum of trees on a sample of the examples, for estimates on all of them.

    Parameters
    ----------
    forest : Forest
    offset : ndarray of shape (n_outputs,)
        Added to the sum of the trees.
    population : Population
    sample : Sample
    input_dtype : numpy dtype
        The model rounds its rows to this before it compares them.
    grouping : Grouping
    """

    def __init__(
        self,
        forest: Forest,
        offset: NDArray[np.float64],
        *,
        population: Population,
        sample: Sample,
        input_dtype: type[np.floating],
        grouping: Grouping,
    ) -> None:
        used = np.isin(np.arange(grouping.n_features), forest.feature)
        self.survey = Survey(population, sample, grouping, used)
        self.traversal = TreeTraversal(forest, self.rows, input_dtype, grouping.n_features)
        self.offset = offset

    def full_value(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for one row, shape (n_outputs,)."""
        rows = row[None].astype(self.traversal.input_dtype)
        return self.offset + sum_of_leaves(self.traversal.forest, rows)[0]

    def by_row(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return importances against each sampled row, (n_sampled, n_outputs, n_features)."""
        return self.traversal.shapley_values(row)
