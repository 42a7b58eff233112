"""The splits of decision trees as a walk meets them: one record each, one tree after another.

A walk that goes down a tree reads a few hundred splits; lying next to each other, what it reads of
a split is one piece of memory, and a tree stays in the processor's cache.

Next: :mod:`service.shapley.kernels.walks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The children are splits; one below 0 is leaf −1 − child. The kind says where a missing value goes:
# 0 to the right, 1 to the left; 2 and more is a split by category, whose codes are in a table.
SPLIT = np.dtype(
    [
        ("threshold", np.float64),
        ("column", np.int32),
        ("left", np.int32),
        ("right", np.int32),
        ("kind", np.int32),
    ]
)
MISSING_LEFT, BY_CATEGORY = 1, 2


@dataclass(frozen=True)
class Splits:
    """All trees of a model.

    Attributes
    ----------
    records : ndarray of SPLIT, shape (n_splits,)
    roots : ndarray of int, shape (n_trees,)
        The first split of each tree, or its only leaf.
    value : ndarray of shape (n_leaves, n_outputs)
    owner : ndarray of int, shape (n_columns,)
        The feature of each column.
    slot : ndarray of int, shape (n_splits,)
        The place of each split's feature on the paths through it.
    weights : ndarray of shape (most + 1, most + 1)
        What a feature is given of a leaf; see :mod:`service.shapley.kernels.shapley_weights`.
    code_goes_left : ndarray of bool, shape (n_categorical, n_codes + 1)
        Where each code goes, and after the codes a missing one.
    """

    records: NDArray[Any]
    roots: NDArray[np.int32]
    value: NDArray[np.float64]
    owner: NDArray[np.int32]
    slot: NDArray[np.int16]
    weights: NDArray[np.float64]
    code_goes_left: NDArray[np.bool_]

    def goes_left(
        self, split: NDArray[np.integer[Any]], x: NDArray[np.floating[Any]]
    ) -> NDArray[np.bool_]:
        """Decide some splits, each for a value of its own; both of shape (n,)."""
        record = self.records[split]
        kind = record["kind"]
        goes_left = x <= record["threshold"]
        goes_left |= (kind == MISSING_LEFT) & np.isnan(x)
        by_code = np.flatnonzero(kind >= BY_CATEGORY)
        if len(by_code):
            code = code_of(x[by_code], self.code_goes_left.shape[1] - 1)
            goes_left[by_code] = self.code_goes_left[kind[by_code] - BY_CATEGORY, code]
        return goes_left

    def child(
        self, split: NDArray[np.integer[Any]], goes_left: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        """Return where walks go on."""
        child: NDArray[np.int32] = np.where(
            goes_left, self.records["left"][split], self.records["right"][split]
        )
        return child


def reached_leaves(splits: Splits, rows: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
    """Return the leaf of each tree that each row reaches, shape (n_rows, n_trees)."""
    node = np.tile(splits.roots, (len(rows), 1))
    walk = np.nonzero(node >= 0)  # row by row, tree by tree
    while len(walk[0]):
        split = node[walk]
        column = splits.records["column"][split]
        node[walk] = splits.child(split, splits.goes_left(split, rows[walk[0], column]))
        is_on = node[walk] >= 0
        walk = walk[0][is_on], walk[1][is_on]
    return -1 - node


def code_of(x: NDArray[np.floating[Any]], n_codes: int) -> NDArray[np.intp]:
    """Return the place of values among the codes; what is no code has that of a missing one.

    As in LightGBM, what comes behind the point does not count, so that −0.5 is code 0.
    """
    is_code = (x > -1) & (x < n_codes)
    return np.where(is_code, x, n_codes).astype(np.intp)
