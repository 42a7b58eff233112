"""Trees whose background is too large to be met whole: a sample of it, with standard errors.

The trees are cut so far that all examples can be met (:mod:`service.shapley.trees.cutting`). Of
what that leaves over, the importances against one background row are exact
(:mod:`service.shapley.trees.traversal`), and those wanted are their mean over all examples
(:mod:`service.shapley.survey`). What is cut off is little, so a small sample tells it.

Next: :mod:`service.shapley.trees.curves`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from service.shapley import kernels
from service.shapley.background import Background, spread_out
from service.shapley.grouping import Grouping
from service.shapley.survey import RARE_IN_ESTIMATES, Population, Survey, SurveyedGame, draw_sample
from service.shapley.trees.cutting import MOST_MET, MOST_NUMBERS, cut
from service.shapley.trees.forest import Forest
from service.shapley.trees.patterns import TreeGame
from service.shapley.trees.traversal import TreeTraversal, sum_of_leaves

MOST_COUNTED = 20_000  # examples by which trees are cut
# Of a sample: rows walk together, and so many take hardly longer than half of them.
FEWEST = 64
N_TRIAL_ROWS = 4  # by which it is found how exact a sample is


class SampledTreeGame(SurveyedGame):
    """A sum of trees on a sample of the examples, for estimates on all of them.

    Parameters
    ----------
    forest : Forest
    offset : ndarray of shape (n_outputs,)
        Added to the sum of the trees.
    population : Population
    n_rows : int
        Of a sample that would be large enough for the whole trees. For what is left over, as many
        rows are taken as give the same error.
    seed : int
        By which it is drawn.
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
        n_rows: int,
        seed: int,
        input_dtype: type[np.floating],
        grouping: Grouping,
    ) -> None:
        rows, n_features = population.rows, grouping.n_features
        counts = _count_leaves(forest, spread_out(rows, MOST_COUNTED).astype(input_dtype))
        parts = cut(forest, counts, MOST_MET // len(rows), MOST_NUMBERS)
        none, background = np.zeros_like(offset), Background.uniform(rows)
        self.above = TreeGame(parts.above, none, background, input_dtype, n_features)
        rest = Population(rows, population.outputs - self.above.outputs(rows))
        used = np.isin(np.arange(n_features), forest.feature)

        def traversed(trees: Forest, given: Population, count: int) -> tuple[Survey, TreeTraversal]:
            sample = draw_sample(rest, grouping, count, seed, RARE_IN_ESTIMATES)
            survey = Survey(given, sample, grouping, used)
            return survey, TreeTraversal(trees, survey.rows, input_dtype, n_features)

        if FEWEST < n_rows < len(rows):
            few = spread_out(rows, N_TRIAL_ROWS)
            of_whole = _mean_variance(*traversed(forest, population, FEWEST), few)
            of_rest = _mean_variance(*traversed(parts.rest, rest, FEWEST), few)
            ratio = of_rest / of_whole if of_whole > 0 else 0.0
            n_rows = _as_exact(n_rows, ratio, len(rows))
        self.survey, self.traversal = traversed(parts.rest, rest, n_rows)
        self.offset = offset

    @property
    def empty_value(self) -> NDArray[np.float64]:
        """The mean output of all examples, shape (n_outputs,)."""
        return self.above.empty_value + self.survey.empty_value

    def full_value(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for one row, shape (n_outputs,)."""
        return self.above.outputs(row[None])[0] + self._rest_of(row)

    def by_row(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what is left over against each sampled row, (n_sampled, n_outputs, n_features)."""
        return self.traversal.shapley_values(row)

    def estimate(
        self, row: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Add what is left over, estimated with its standard errors, to what is exact."""
        values, errors = self.survey.estimate(self.by_row(row), self._rest_of(row))
        return values + self.above.shapley_values(row), errors

    def _rest_of(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what the cut trees leave over of the output for one row."""
        rows = row[None].astype(self.traversal.input_dtype)
        return self.offset + sum_of_leaves(self.traversal.forest, rows)[0]


def _count_leaves(forest: Forest, rows: NDArray[np.floating]) -> NDArray[np.int64]:
    """Count the rows that reach each leaf, in the order of the forest's."""
    counts = np.zeros(len(forest.value), dtype=np.int64)
    _, leaf_order = forest.tree_by_tree
    counts[leaf_order] = kernels.current.count_leaves(forest.splits, rows)
    return counts


def _mean_variance(survey: Survey, traversal: TreeTraversal, rows: NDArray[np.floating]) -> float:
    """Return the mean square of the standard errors that a sample leaves some rows with."""
    errors = []
    for row in rows:
        by_row = traversal.shapley_values(row)
        # What the output is changes values and no errors.
        errors.append(survey.estimate(by_row, survey.empty_value)[1])
    return float(np.mean(np.square(errors)))


def _as_exact(n_rows: int, ratio: float, n_examples: int) -> int:
    """Return how many rows are as exact as others where variances are so many times as large.

    What a sample leaves open is 1/n_rows − 1/n_examples of a variance: nothing, once it is all.
    """
    if ratio <= 0:
        return min(n_rows, FEWEST)
    needed = 1 / (1 / n_examples + (1 / n_rows - 1 / n_examples) / ratio)
    return min(n_rows, math.ceil(needed / FEWEST) * FEWEST)
