"""Interventional TreeSHAP in double precision: the exact Shapley values of a sum of decision trees.

A leaf is reached when every feature on its path lies in that path's interval, so the indicator of a leaf is a product
game of 0/1 factors. For a row x and a background row b let U be the path's features that only x satisfies and V those
that only b satisfies. If some feature is satisfied by neither, the leaf is never reached; otherwise a feature of U has
the Shapley value (|U|−1)! |V|! / (|U|+|V|)! and one of V has −|U|! (|V|−1)! / (|U|+|V|)!. Background rows that
satisfy the same features of a leaf are alike to it: they are merged once, when the game is built, so the cost of a row
grows with the number of different patterns and not with the number of background rows.

Source of the game: Lundberg et al., "From local explanations to global understanding with explainable AI for trees"
(2020), algorithm 3. shap 0.51 computes it with thresholds and leaf values rounded to float32: a row whose value lies
close to a threshold can go the wrong way (seen: 0.77 on a margin of 7), which is why the evaluation is our own.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, fields
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.grouping import Grouping

MAX_PATTERNS = 10_000_000  # 16 bytes each
PATTERNS_AT_ONCE = 2_000_000  # while a game is built
MAX_PATH_FEATURES = 62  # a leaf's pattern is one bit per feature of its path, in an int64


@dataclass(frozen=True)
class Tree:
    """One decision tree: a row goes left where its value is at most the threshold.

    Attributes
    ----------
    left, right : ndarray of int, shape (n_nodes,)
        Children; negative at a leaf.
    default : ndarray of int, shape (n_nodes,)
        Child taken by a missing value.
    feature : ndarray of int, shape (n_nodes,)
    threshold : ndarray of shape (n_nodes,)
    value : ndarray of shape (n_nodes, n_outputs)
    """

    left: NDArray[np.int_]
    right: NDArray[np.int_]
    default: NDArray[np.int_]
    feature: NDArray[np.int_]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True)
class Condition:
    """What a path asks of one feature: lower < x ≤ upper, or x missing where that is let through."""

    lower: float = -np.inf
    upper: float = np.inf
    missing: bool = True


@dataclass(frozen=True)
class Leaves:
    """The leaves of all trees as a table; paths shorter than the longest end in conditions that always hold.

    Attributes
    ----------
    column : ndarray of int, shape (n_leaves, n_conditions)
        The encoded column that each condition looks at.
    slot : ndarray of int, shape (n_leaves, n_conditions)
        The feature's place on the leaf's own list; conditions on columns of one feature share it.
    feature : ndarray of int, shape (n_leaves, n_conditions)
        The features on the leaf's list, by slot.
    lower, upper : ndarray of shape (n_leaves, n_conditions)
    missing : ndarray of bool, shape (n_leaves, n_conditions)
    value : ndarray of shape (n_leaves, n_outputs)
    """

    column: NDArray[np.int_]
    slot: NDArray[np.int_]
    feature: NDArray[np.int_]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    missing: NDArray[np.bool_]
    value: NDArray[np.float64]

    @classmethod
    def of(cls, trees: list[Tree], grouping: Grouping) -> Leaves:
        """Collect the leaves of `trees`.

        Raises
        ------
        ValueError
            When a path tests more than 62 different columns.
        """
        paths = [leaf for tree in trees for leaf in _paths(tree)]
        n_conditions = max(1, *(len(path) for path, _ in paths))
        if n_conditions > MAX_PATH_FEATURES:
            raise ValueError(f"TreeGame: expected at most {MAX_PATH_FEATURES} columns on a path, got {n_conditions}.")
        conditions = [[*path.values(), *[Condition()] * (n_conditions - len(path))] for path, _ in paths]
        column, slot, feature = np.zeros((3, len(paths), n_conditions), dtype=np.int64)
        for leaf, (path, _) in enumerate(paths):
            columns = list(path)
            features, slots = np.unique(grouping.owner[columns], return_inverse=True)
            column[leaf, : len(path)], slot[leaf, : len(path)] = columns, slots
            feature[leaf, : len(features)] = features
        return cls(
            column=_small(column),
            slot=_small(slot),
            feature=_small(feature),
            lower=np.array([[condition.lower for condition in leaf] for leaf in conditions]),
            upper=np.array([[condition.upper for condition in leaf] for leaf in conditions]),
            missing=np.array([[condition.missing for condition in leaf] for leaf in conditions]),
            value=np.array([value for _, value in paths], dtype=np.float64),
        )

    def patterns(self, row: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return, for each leaf, the bits of the slots whose conditions `row` all satisfies, shape (n_leaves,)."""
        x = row[self.column]  # (n_leaves, n_conditions)
        holds = ((x > self.lower) & (x <= self.upper)) | (self.missing & np.isnan(x))
        broken = np.bitwise_or.reduce(np.where(holds, 0, np.int64(1) << self.slot.astype(np.int64)), axis=1)
        return self.all_hold & ~broken

    def part(self, which: slice) -> Leaves:
        """Return some of the leaves."""
        return Leaves(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    @property
    def pattern_dtype(self) -> np.dtype[Any]:
        """The smallest integer type that holds a pattern."""
        return np.min_scalar_type(self.all_hold)

    @property
    def all_hold(self) -> int:
        """The pattern of a row that reaches the leaf."""
        return (1 << self.slot.shape[1]) - 1


class TreeGame:
    """A sum of trees on a background, ready to give exact Shapley values.

    Parameters
    ----------
    leaves : Leaves
    offset : ndarray of shape (n_outputs,)
        Added to the sum of the trees.
    background : Background
    input_dtype : numpy dtype
        The model rounds its rows to this before it compares them (float32 in scikit-learn's trees).
    n_features : int
    """

    def __init__(
        self,
        leaves: Leaves,
        offset: NDArray[np.float64],
        background: Background,
        input_dtype: type[np.floating],
        n_features: int,
    ) -> None:
        self.leaves = leaves
        self.n_features = n_features
        self.offset = offset
        self.input_dtype = input_dtype
        self.leaf, self.pattern, self.weight = self._merged_patterns(background)  # three of shape (n_patterns,)
        reached = self.weight * (self.pattern == leaves.all_hold)
        self.empty_value = offset + np.bincount(self.leaf, reached, minlength=len(leaves.value)) @ leaves.value
        self._only_row, self._only_background = _shapley_weights(leaves.slot.shape[1])

    def _merged_patterns(self, background: Background) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[np.float64]]:
        """Merge the background rows that satisfy the same conditions of a leaf, and add up their weights."""
        rows = background.rows.astype(self.input_dtype)
        at_once = max(1, PATTERNS_AT_ONCE // len(rows))
        parts = [
            _merged(self.leaves.part(slice(start, start + at_once)), rows, background.weights, start)
            for start in range(0, len(self.leaves.value), at_once)
        ]
        leaf, pattern, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        return leaf.astype(np.int32), pattern.astype(self.leaves.pattern_dtype), weight

    def full_value(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for one row, shape (n_outputs,)."""
        reached = self.leaves.patterns(row.astype(self.input_dtype)) == self.leaves.all_hold
        return self.offset + reached @ self.leaves.value

    def shapley_values(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the exact Shapley values of one row.

        Parameters
        ----------
        row : ndarray of shape (n_columns,)

        Returns
        -------
        ndarray of shape (n_outputs, n_features)
        """
        at_row = self.leaves.patterns(row.astype(self.input_dtype)).astype(self.pattern.dtype)  # (n_leaves,)
        possible = np.flatnonzero((at_row[self.leaf] | self.pattern) == self.leaves.all_hold)
        leaf, pattern, weight = self.leaf[possible], self.pattern[possible], self.weight[possible]
        only_row, only_background = at_row[leaf] & ~pattern, pattern & ~at_row[leaf]
        sizes = np.bitwise_count(only_row), np.bitwise_count(only_background)
        gain, loss = weight * self._only_row[sizes], weight * self._only_background[sizes]
        importances = np.zeros((self.leaves.value.shape[1], self.n_features))
        for slot in range(self.leaves.feature.shape[1]):
            gains, losses = (np.flatnonzero(side & (1 << slot)) for side in (only_row, only_background))
            gained = np.bincount(leaf[gains], gain[gains], minlength=len(at_row))
            per_leaf = gained - np.bincount(leaf[losses], loss[losses], minlength=len(at_row))
            for output, value in enumerate(self.leaves.value.T):
                feature = self.leaves.feature[:, slot]
                importances[output] += np.bincount(feature, per_leaf * value, minlength=self.n_features)
        return importances


def _small(indices: NDArray[np.int64]) -> NDArray[Any]:
    """Return the same numbers in the smallest integer type that holds them."""
    return indices.astype(np.min_scalar_type(int(indices.max(initial=0))))


def affordable_rows(leaves: Leaves) -> int:
    """Return how many background rows a game on these leaves takes without more patterns than it can hold."""
    n_slots = leaves.slot.max(axis=1).astype(np.int64) + 1
    most = np.minimum(2.0**n_slots, 2.0**62)
    return bisect_right(range(1, 10**7), MAX_PATTERNS, key=lambda n_rows: int(np.minimum(most, n_rows).sum()))


def _merged(
    leaves: Leaves, rows: NDArray[np.floating], weights: NDArray[np.float64], first_leaf: int
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float64]]:
    """Return leaf, pattern and weight of the different patterns of some leaves."""
    patterns = np.stack([leaves.patterns(row) for row in rows], axis=1)  # (n_leaves, n_background)
    order = np.argsort(patterns, axis=1, kind="stable")
    patterns = np.take_along_axis(patterns, order, axis=1)
    is_new = np.ones(patterns.shape, dtype=bool)
    is_new[:, 1:] = patterns[:, 1:] != patterns[:, :-1]
    weight = np.add.reduceat(weights[order].ravel(), np.flatnonzero(is_new))
    return first_leaf + np.nonzero(is_new)[0], patterns[is_new], weight


def _paths(tree: Tree) -> list[tuple[dict[int, Condition], NDArray[np.float64]]]:
    """List the leaves of one tree, each with its path's condition per feature and its value."""
    leaves = []
    stack: list[tuple[int, dict[int, Condition]]] = [(0, {})]
    while stack:
        node, path = stack.pop()
        if tree.left[node] < 0:
            leaves.append((path, tree.value[node]))
            continue
        feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
        old = path.get(feature, Condition())
        missing_goes_left = bool(tree.default[node] == tree.left[node])
        left = Condition(old.lower, min(old.upper, threshold), old.missing and missing_goes_left)
        right = Condition(max(old.lower, threshold), old.upper, old.missing and not missing_goes_left)
        stack += [(tree.left[node], {**path, feature: left}), (tree.right[node], {**path, feature: right})]
    return leaves


def _shapley_weights(n_conditions: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tabulate (u−1)! v! / (u+v)! and u! (v−1)! / (u+v)! for u, v up to `n_conditions`."""
    only_row = np.zeros((n_conditions + 1, n_conditions + 1))
    for u in range(1, n_conditions + 1):
        for v in range(n_conditions + 1 - u):
            only_row[u, v] = factorial(u - 1) * factorial(v) / factorial(u + v)
    return only_row, only_row.T.copy()
