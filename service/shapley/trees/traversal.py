"""Exact Shapley values of a sum of trees by following the paths that hybrid rows can take.

For an explained row and a background row, a walk through a tree meets splits where both rows go the
same way, and splits where they part. Where they part for the first time on a feature, hybrid rows
go both ways: with the explained row where the feature is in the coalition, with the background row
where it is not. Every later split on that feature goes the same way as the first. So a leaf is
reached by u features taken from the explained row and v from the background row; each of the u gets
(u−1)! v! / (u+v)! of the leaf's value, each of the v loses u! (v−1)! / (u+v)!.

Nothing is stored but the trees themselves, and paths may test any number of features: this serves
trees of any depth and width. The time of a row grows with the number of background rows, which is
why smaller forests are evaluated by :mod:`service.shapley.trees.patterns`. The walk itself is in
:mod:`service.shapley.kernels`.

Source: Lundberg et al., "From local explanations to global understanding with explainable AI for
trees" (2020), algorithm 3.

Next: :mod:`service.shapley.trees.cutting`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.shapley import kernels
from service.shapley.background import Background
from service.shapley.kernels.walks import walk_down
from service.shapley.trees.forest import Forest


class TreeTraversal:
    """Shapley values of a sum of trees for each background row by itself.

    Parameters
    ----------
    forest : Forest
    rows : ndarray of shape (n_background, n_columns)
        Background rows.
    input_dtype : numpy dtype
        The model rounds its rows to this before it compares them (float32 in scikit-learn's trees).
    n_features : int
    """

    def __init__(
        self,
        forest: Forest,
        rows: NDArray[np.floating],
        input_dtype: type[np.floating],
        n_features: int,
    ) -> None:
        self.forest = forest
        self.rows = rows.astype(input_dtype)
        self.input_dtype = input_dtype
        self.n_features = n_features

    def shapley_values(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the Shapley values of one row against each background row.

        Parameters
        ----------
        row : ndarray of shape (n_columns,)

        Returns
        -------
        ndarray of shape (n_background, n_outputs, n_features)
        """
        row = row.astype(self.input_dtype)
        return kernels.current.path_values(self.forest.splits, row, self.rows, self.n_features)

    def count_steps(self, row: NDArray[np.floating]) -> int:
        """Count the steps of all walks for one row, of which its time is a multiple."""
        steps = walk_down(self.forest.splits, row.astype(self.input_dtype), self.rows)
        return sum(step.n_walks for step in steps)


class TraversedTreeGame:
    """A sum of trees on a background, ready to give exact Shapley values.

    Parameters
    ----------
    forest : Forest
    offset : ndarray of shape (n_outputs,)
        Added to the sum of the trees.
    background : Background
    input_dtype : numpy dtype
        The model rounds its rows to this before it compares them.
    n_features : int

    Attributes
    ----------
    uses_blas : bool
        Whether rows are explained by products of matrices.
    """

    uses_blas = True

    def __init__(
        self,
        forest: Forest,
        offset: NDArray[np.float64],
        background: Background,
        input_dtype: type[np.floating],
        n_features: int,
    ) -> None:
        self.traversal = TreeTraversal(forest, background.rows, input_dtype, n_features)
        self.offset = offset
        self.weights = background.weights
        self.empty_value = background.weights @ self.outputs(background.rows)

    def traversal_of(self, rows: NDArray[np.floating]) -> TreeTraversal:
        """Return the same trees on other background rows, each by itself."""
        own = self.traversal
        return TreeTraversal(own.forest, rows, own.input_dtype, own.n_features)

    def outputs(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for some rows, shape (n_rows, n_outputs)."""
        traversal = self.traversal
        return self.offset + sum_of_leaves(traversal.forest, rows.astype(traversal.input_dtype))

    def shapley_values(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the exact Shapley values of one row, shape (n_outputs, n_features)."""
        return np.tensordot(self.weights, self.traversal.shapley_values(row), axes=1)

    def values_of_rows(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the exact Shapley values of some rows, (n_rows, n_outputs, n_features)."""
        values = np.zeros((len(rows), len(self.offset), self.traversal.n_features))
        for place, row in enumerate(rows):
            values[place] = self.shapley_values(row)
        return values


def sum_of_leaves(forest: Forest, rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Add up the leaves that rows reach.

    Parameters
    ----------
    forest : Forest
    rows : ndarray of shape (n_rows, n_columns)
        Rounded as the model rounds them.

    Returns
    -------
    ndarray of shape (n_rows, n_outputs)
    """
    return kernels.current.leaf_sums(forest.splits, rows)
