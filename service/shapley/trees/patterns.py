"""Exact Shapley values of a sum of trees from what background rows have in common.

All that a leaf asks of a row is its *pattern*: which features of its path the row breaks, one bit
for each. Background rows of the same pattern are alike to a leaf and merged when the game is built.
Leaves with few features (nearly all leaves of boosted trees) go further, and tabulate their answers
to all patterns of a row, together for a part of a tree where that is smaller
(:mod:`service.shapley.trees.division`): a row then finds what all features take from that part in
one place, however large the background is.

Next: :mod:`service.shapley.trees.traversal`.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley import kernels
from service.shapley.background import Background
from service.shapley.kernels.twigs import CountedTrees
from service.shapley.trees.division import divide
from service.shapley.trees.forest import Forest
from service.shapley.trees.traversal import TreeTraversal, sum_of_leaves

MAX_TABLE = 32_000_000  # numbers in tables: 8 bytes each
# Patterns of background rows, of the leaves without a table: 16 bytes each, if all are different.
MAX_PATTERNS = 50_000_000
# Leaves times rows, which meet each other while a game is built: some 3 ns each, 20 in numpy.
MOST_MET = 1_500_000_000


def tabulated_leaves(forest: Forest) -> NDArray[np.bool_]:
    """Tell which leaves have few enough features for a table; shape (n_leaves,).

    They are the smallest, as many as fit.
    """
    n_slots = np.arange(forest.n_slots.max() + 1)
    n_outputs = np.count_nonzero(forest.value, axis=1)
    of_size = np.bincount(forest.n_slots, n_outputs) * n_slots * 2.0**n_slots
    return forest.n_slots < np.searchsorted(np.cumsum(of_size), MAX_TABLE, side="right")


class TreeGame:
    """A sum of trees on a background, ready to give exact Shapley values.

    Parameters
    ----------
    forest : Forest
    offset : ndarray of shape (n_outputs,)
        Added to the sum of the trees.
    background : Background
    input_dtype : numpy dtype
        The model rounds its rows to this before it compares them (float32 in scikit-learn's trees).
    n_features : int
    """

    def __init__(
        self,
        forest: Forest,
        offset: NDArray[np.float64],
        background: Background,
        input_dtype: type[np.floating],
        n_features: int,
    ) -> None:
        self.forest = forest
        self.offset = offset
        self.input_dtype = input_dtype
        self.n_features = n_features
        rows, weights = background.rows.astype(input_dtype), background.weights
        self.twigs = divide(forest, tabulated_leaves(forest), n_features)
        self.counts = kernels.current.count_states(forest.splits, self.twigs, rows, weights)
        self.empty_value = offset + weights @ sum_of_leaves(forest, rows)

    @cached_property
    def counted(self) -> CountedTrees:
        """The trees with the tables of what features take, for every state of a row."""
        splits = self.forest.splits
        numbers = kernels.current.tabulate(self.twigs, splits.value, self.counts.weight)
        return CountedTrees(splits, self.twigs, self.counts, numbers, self.n_features)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tables out of pickles: they are large, and made again of the rest."""
        return {name: value for name, value in vars(self).items() if name != "counted"}

    @property
    def n_patterns(self) -> int:
        """How many patterns of background rows are kept."""
        return len(self.counts.pattern)

    @property
    def uses_blas(self) -> bool:
        """Whether rows are explained by products of matrices."""
        return kernels.current.uses_blas

    def traversal_of(self, rows: NDArray[np.floating]) -> TreeTraversal:
        """Return the same trees on other background rows, each by itself."""
        return TreeTraversal(self.forest, rows, self.input_dtype, self.n_features)

    def outputs(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for some rows, shape (n_rows, n_outputs)."""
        return self.offset + sum_of_leaves(self.forest, rows.astype(self.input_dtype))

    def shapley_values(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the exact Shapley values of one row.

        Parameters
        ----------
        row : ndarray of shape (n_columns,)

        Returns
        -------
        ndarray of shape (n_outputs, n_features)
        """
        return self.values_of_rows(row[None])[0]

    def values_of_rows(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the exact Shapley values of some rows, each as if it were alone.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, n_outputs, n_features)
        """
        return kernels.current.twig_values(self.counted, rows.astype(self.input_dtype, copy=False))


def count_patterns(forest: Forest, n_rows: int) -> int:
    """Return how many patterns of background rows a game keeps, at most."""
    return _most_patterns(_most_of_leaves(forest), n_rows)


def affordable_rows(forest: Forest) -> int:
    """Return how many background rows a game on these trees has room, and its builder time, for."""
    of_leaves = _most_of_leaves(forest)
    n_stored = bisect_right(
        range(1, 10**7), MAX_PATTERNS, key=lambda n_rows: _most_patterns(of_leaves, n_rows)
    )
    return min(n_stored, MOST_MET // len(forest.value))


def _most_of_leaves(forest: Forest) -> NDArray[np.float64]:
    """Return how many patterns each leaf has that has no table."""
    return np.exp2(forest.n_slots[~tabulated_leaves(forest)], dtype=np.float64)


def _most_patterns(of_leaves: NDArray[np.float64], n_rows: int) -> int:
    return int(np.minimum(of_leaves, n_rows).sum())
