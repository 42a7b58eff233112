"""What background rows get by following the paths that hybrid rows can take, in numpy.

All walks go down together, a split at a time, so a step is a few array operations; what they found
at the leaves is added up on the way back. See :mod:`service.shapley.trees.traversal`.

Next: :mod:`service.shapley.kernels.twigs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.shapley.kernels.splits import Splits

MOST_BITS = 62  # of a whole number that stands for a set of slots


class _Walks(NamedTuple):
    """Where walks stand; arrays of one length, sets of slots word by word.

    Attributes
    ----------
    node : ndarray of int, shape (n_walks,)
        A split, or below 0 a leaf.
    row : ndarray of int, shape (n_walks,)
        The background row.
    inside, outside : ndarray of int, shape (n_words, n_walks)
        The slots of the features that were taken from the explained row, and from the background
        row.
    n_inside, n_outside : ndarray of int, shape (n_walks,)
    """

    node: NDArray[np.int32]
    row: NDArray[np.intp]
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    n_inside: NDArray[np.int16]
    n_outside: NDArray[np.int16]


@dataclass(frozen=True)
class Step:
    """What all walks did at once: who ended at a leaf, who walked on from where, who parted.

    Attributes
    ----------
    n_walks : int
    ended : ndarray of int
        The walks that ended at a leaf.
    leaf : ndarray of int
        The leaves.
    n_inside, n_outside : ndarray of int
        Of the walks that ended.
    origin : ndarray of int
        For each walk of the next step the one that it comes from. Those that go on come first,
        those that parted to follow the background row after them.
    parted : ndarray of int
        Of those that go on, who followed the explained row when rows parted.
    parted_row, parted_feature : ndarray of int
        Their background rows, and the features on which rows parted.
    """

    n_walks: int
    ended: NDArray[np.intp]
    leaf: NDArray[np.signedinteger[Any]]
    n_inside: NDArray[np.int16]
    n_outside: NDArray[np.int16]
    origin: NDArray[np.intp]
    parted: NDArray[np.intp]
    parted_row: NDArray[np.intp]
    parted_feature: NDArray[np.int32]


def walk_down(
    splits: Splits, row: NDArray[np.floating[Any]], rows: NDArray[np.floating[Any]]
) -> list[Step]:
    """Follow every tree for every background row.

    Parameters
    ----------
    splits : Splits
    row : ndarray of shape (n_columns,)
    rows : ndarray of shape (n_rows, n_columns)
    """
    n_trees, n_rows = len(splits.roots), len(rows)
    n_words = -(-(len(splits.weights) - 1) // MOST_BITS)
    none = np.zeros((n_words, n_trees * n_rows), dtype=np.int64)
    zero = np.zeros(n_trees * n_rows, dtype=np.int16)
    tree_of_row = np.repeat(np.arange(n_rows), n_trees)
    walks = _Walks(np.tile(splits.roots, n_rows), tree_of_row, none, none, zero, zero)
    steps = []
    while len(walks.node):
        step, walks = _step_down(splits, walks, row, rows)
        steps.append(step)
    return steps


def _step_down(
    splits: Splits,
    walks: _Walks,
    row: NDArray[np.floating[Any]],
    rows: NDArray[np.floating[Any]],
) -> tuple[Step, _Walks]:
    """Take one step with every walk that is not at a leaf."""
    ended, on = np.flatnonzero(walks.node < 0), np.flatnonzero(walks.node >= 0)
    split, of_row = walks.node[on], walks.row[on]
    column, slot = splits.records["column"][split], splits.slot[split]
    row_left = splits.goes_left(split, row[column])
    background_left = splits.goes_left(split, rows[of_row, column])
    word, bit = slot // MOST_BITS, np.int64(1) << (slot % MOST_BITS).astype(np.int64)
    is_inside = (walks.inside[word, on] & bit) != 0
    is_outside = (walks.outside[word, on] & bit) != 0
    parted = np.flatnonzero((row_left != background_left) & ~is_inside & ~is_outside)

    first = splits.child(split, np.where(is_outside, background_left, row_left))
    second = splits.child(split[parted], background_left[parted])
    inside, outside = walks.inside[:, on], walks.outside[:, on]
    other_inside, other_outside = inside[:, parted], outside[:, parted]
    inside[word[parted], parted] |= bit[parted]
    other_outside[word[parted], np.arange(len(parted))] |= bit[parted]
    n_inside, n_outside = walks.n_inside[on], walks.n_outside[on]
    other_n_inside, other_n_outside = n_inside[parted], n_outside[parted] + np.int16(1)
    n_inside[parted] += 1
    below = _Walks(
        np.concatenate([first, second]),
        np.concatenate([of_row, of_row[parted]]),
        np.concatenate([inside, other_inside], axis=1),
        np.concatenate([outside, other_outside], axis=1),
        np.concatenate([n_inside, other_n_inside]),
        np.concatenate([n_outside, other_n_outside]),
    )
    step = Step(
        n_walks=len(walks.node),
        ended=ended,
        leaf=-1 - walks.node[ended],
        n_inside=walks.n_inside[ended],
        n_outside=walks.n_outside[ended],
        origin=np.concatenate([on, on[parted]]),
        parted=parted,
        parted_row=of_row[parted],
        parted_feature=splits.owner[column[parted]],
    )
    return step, below


def add_up(splits: Splits, steps: list[Step], n_rows: int, n_features: int) -> NDArray[np.float64]:
    """Go back up, and give each feature on which rows parted what lies below.

    Parameters
    ----------
    splits : Splits
    steps : list of Step
    n_rows, n_features : int

    Returns
    -------
    ndarray of shape (n_rows, n_outputs, n_features)
    """
    value, weights = splits.value.T, splits.weights
    n_outputs = len(value)
    given = np.zeros((n_outputs, n_rows * n_features))
    below = np.zeros((2, n_outputs, 0))
    for step in reversed(steps):
        key = step.parted_row * n_features + step.parted_feature
        here = np.empty((2, n_outputs, step.n_walks))
        n_on = below.shape[2] - len(step.parted)
        for output in range(n_outputs):
            gained, lost = below[0, output], below[1, output]
            given[output] += np.bincount(key, gained[step.parted], minlength=given.shape[1])
            given[output] -= np.bincount(key, lost[n_on:], minlength=given.shape[1])
            here[0, output] = np.bincount(step.origin, gained, minlength=step.n_walks)
            here[1, output] = np.bincount(step.origin, lost, minlength=step.n_walks)
        of_leaf = value[:, step.leaf]
        here[0][:, step.ended] = of_leaf * weights[step.n_inside, step.n_outside]
        here[1][:, step.ended] = of_leaf * weights[step.n_outside, step.n_inside]
        below = here
    return given.reshape(n_outputs, n_rows, n_features).transpose(1, 0, 2)
