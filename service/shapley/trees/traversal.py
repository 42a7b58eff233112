"""Exact Shapley values of a sum of trees by following the paths that hybrid rows can take.

For an explained row and a background row, a walk through a tree meets splits where both rows go the
same way, and splits where they part. Where they part for the first time on a feature, hybrid rows
go both ways: with the explained row where the feature is in the coalition, with the background row
where it is not. Every later split on that feature goes the same way as the first. So a leaf is
reached by u features taken from the explained row and v from the background row; each of the u gets
(u−1)! v! / (u+v)! of the leaf's value, each of the v loses u! (v−1)! / (u+v)!.

All walks go down together, level by level, so a level is a few array operations. Nothing is stored
but the trees themselves, and paths may test any number of features: this serves trees of any depth
and width. The time of a row grows with the number of background rows, which is why smaller forests
are evaluated by :mod:`service.shapley.trees.patterns`.

Source: Lundberg et al., "From local explanations to global understanding with explainable AI for
trees" (2020), algorithm 3.

Next: :mod:`service.shapley.trees.sampled`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.trees.forest import MOST_BITS, Forest, Level
from service.shapley.trees.shapley_weights import shapley_weights

WALKS_AT_ONCE = 2**13  # pairs of a tree and a background row: each takes some hundred steps


class _Walks(NamedTuple):
    """Where walks stand on a level; arrays of one length, sets of slots word by word.

    Attributes
    ----------
    position : ndarray of int, shape (n_walks,)
        The node, by its position on the level.
    row : ndarray of int, shape (n_walks,)
        The background row.
    inside, outside : ndarray of int, shape (n_words, n_walks)
        The slots of the features that were taken from the explained row, and from the background
        row.
    n_inside, n_outside : ndarray of int, shape (n_walks,)
    """

    position: NDArray[np.intp]
    row: NDArray[np.intp]
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    n_inside: NDArray[np.int16]
    n_outside: NDArray[np.int16]


@dataclass(frozen=True)
class _Step:
    """What one level did: who ended at a leaf, who walked on from where, who parted.

    Attributes
    ----------
    n_walks : int
    ended : ndarray of int
        The walks that ended at a leaf.
    leaf : ndarray of int
        The leaves.
    row, n_inside, n_outside : ndarray of int
        Of the walks that ended.
    origin : ndarray of int
        For each walk of the next level the one that it comes from. Those that go on come first,
        those that parted to follow the background row after them.
    parted : ndarray of int
        Of those that go on, who followed the explained row when rows parted.
    parted_row, parted_feature : ndarray of int
        Their background rows, and the features on which rows parted.
    """

    n_walks: int
    ended: NDArray[np.intp]
    leaf: NDArray[np.signedinteger[Any]]
    row: NDArray[np.intp]
    n_inside: NDArray[np.int16]
    n_outside: NDArray[np.int16]
    origin: NDArray[np.intp]
    parted: NDArray[np.intp]
    parted_row: NDArray[np.intp]
    parted_feature: NDArray[np.int32]


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
        self.n_words = -(-int(forest.n_slots.max()) // MOST_BITS)

    def shapley_values(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the Shapley values of one row against each background row.

        Parameters
        ----------
        row : ndarray of shape (n_columns,)

        Returns
        -------
        ndarray of shape (n_background, n_outputs, n_features)
        """
        goes_left = self.forest.goes_left(row[:, None].astype(self.input_dtype))[:, 0]
        at_once = max(1, WALKS_AT_ONCE // self.forest.n_trees)
        parts = []
        for start in range(0, len(self.rows), at_once):
            steps = self._walk_down(goes_left, self.rows[start : start + at_once])
            parts.append(self._add_up(steps, len(self.rows[start : start + at_once])))
        return np.concatenate(parts)

    def count_steps(self, row: NDArray[np.floating]) -> int:
        """Count the steps of all walks for one row, of which its time is a multiple."""
        goes_left = self.forest.goes_left(row[:, None].astype(self.input_dtype))[:, 0]
        return sum(step.n_walks for step in self._walk_down(goes_left, self.rows))

    def _walk_down(
        self, goes_left: NDArray[np.bool_], background: NDArray[np.floating]
    ) -> list[_Step]:
        """Follow every tree for every background row, level by level."""
        n_trees, n_rows = self.forest.n_trees, len(background)
        n_walks = n_trees * n_rows
        none = np.zeros((self.n_words, n_walks), dtype=np.int64)
        zero = np.zeros(n_walks, dtype=np.int16)
        position = np.tile(np.arange(n_trees), n_rows)
        walks = _Walks(position, np.repeat(np.arange(n_rows), n_trees), none, none, zero, zero)
        steps = []
        n_leaves = 0
        for level, places in zip(self.forest.levels, self.forest.places, strict=True):
            step, walks = self._step_down(
                level,
                walks,
                place=places[walks.position],
                first_leaf=n_leaves,
                goes_left=goes_left,
                background=background,
            )
            steps.append(step)
            n_leaves += len(level.leaves)
        return steps

    def _step_down(
        self,
        level: Level,
        walks: _Walks,
        *,
        place: NDArray[np.int32],
        first_leaf: int,
        goes_left: NDArray[np.bool_],
        background: NDArray[np.floating],
    ) -> tuple[_Step, _Walks]:
        """Take one step with every walk that is not at a leaf."""
        forest = self.forest
        ended, on = np.flatnonzero(place < 0), np.flatnonzero(place >= 0)
        inner = place[on]
        split, slot, row = level.splits.start + inner, level.slot[inner], walks.row[on]
        feature = forest.feature[split]
        row_left = goes_left[split]
        background_left = forest.goes_left_at(split, background[row, forest.column[split]])
        word, bit = slot // MOST_BITS, np.int64(1) << (slot % MOST_BITS).astype(np.int64)
        is_inside = (walks.inside[word, on] & bit) != 0
        is_outside = (walks.outside[word, on] & bit) != 0
        parted = np.flatnonzero((row_left != background_left) & ~is_inside & ~is_outside)

        first = np.where(is_outside, background_left, row_left)
        inside, outside = walks.inside[:, on], walks.outside[:, on]
        other_inside, other_outside = inside[:, parted], outside[:, parted]
        inside[word[parted], parted] |= bit[parted]
        other_outside[word[parted], np.arange(len(parted))] |= bit[parted]
        n_inside, n_outside = walks.n_inside[on], walks.n_outside[on]
        other_n_inside, other_n_outside = n_inside[parted], n_outside[parted] + np.int16(1)
        n_inside[parted] += 1

        n_inner = len(level.inner)
        below = _Walks(
            np.concatenate(
                [
                    np.where(first, inner, inner + n_inner),
                    np.where(background_left[parted], inner[parted], inner[parted] + n_inner),
                ]
            ),
            np.concatenate([row, row[parted]]),
            np.concatenate([inside, other_inside], axis=1),
            np.concatenate([outside, other_outside], axis=1),
            np.concatenate([n_inside, other_n_inside]),
            np.concatenate([n_outside, other_n_outside]),
        )
        step = _Step(
            n_walks=len(walks.position),
            ended=ended,
            leaf=first_leaf - 1 - place[ended],
            row=walks.row[ended],
            n_inside=walks.n_inside[ended],
            n_outside=walks.n_outside[ended],
            origin=np.concatenate([on, on[parted]]),
            parted=parted,
            parted_row=row[parted],
            parted_feature=feature[parted],
        )
        return step, below

    def _add_up(self, steps: list[_Step], n_rows: int) -> NDArray[np.float64]:
        """Go back up, and give each feature on which rows parted what lies below."""
        value = self.forest.value.T  # (n_outputs, n_leaves)
        n_outputs = len(value)
        weights = shapley_weights(int(self.forest.n_slots.max()))
        given = np.zeros((n_outputs, n_rows * self.n_features))
        below = np.zeros((2, n_outputs, 0))
        for step in reversed(steps):
            key = step.parted_row * self.n_features + step.parted_feature
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
        return given.reshape(n_outputs, n_rows, self.n_features).transpose(1, 0, 2)


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
    """

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

    def full_value(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for one row, shape (n_outputs,)."""
        return self.outputs(row[None])[0]

    def shapley_values(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the exact Shapley values of one row, shape (n_outputs, n_features)."""
        return np.tensordot(self.weights, self.traversal.shapley_values(row), axes=1)


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
    total = np.zeros((len(rows), forest.value.shape[1]))
    at_once = max(1, WALKS_AT_ONCE // forest.n_trees)
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        leaf = _reached_leaves(forest, part)
        for output, value in enumerate(forest.value.T):
            total[start : start + at_once, output] = value[leaf].sum(axis=1)
    return total


def _reached_leaves(forest: Forest, rows: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the leaf of each tree that each row reaches, shape (n_rows, n_trees)."""
    leaf = np.empty(len(rows) * forest.n_trees, dtype=np.intp)
    walk = np.arange(len(leaf))  # row by row, tree by tree
    position = walk % forest.n_trees
    n_leaves = 0
    for level, places in zip(forest.levels, forest.places, strict=True):
        place = places[position]
        ended = place < 0
        leaf[walk[ended]] = n_leaves - 1 - place[ended]
        walk, inner = walk[~ended], place[~ended]
        split = level.splits.start + inner
        goes_left = forest.goes_left_at(split, rows[walk // forest.n_trees, forest.column[split]])
        position = np.where(goes_left, inner, inner + len(level.inner))
        n_leaves += len(level.leaves)
    return leaf.reshape(len(rows), forest.n_trees)
