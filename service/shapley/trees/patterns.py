"""Exact Shapley values of a sum of trees from what background rows have in common.

All that a leaf asks of a row is its *pattern*: which features of its path the row breaks, one bit
for each. Background rows of the same pattern are alike to a leaf and merged when the game is built.
A leaf with few features (nearly all leaves of boosted trees) goes further, and tabulates its answer
to each of the 2^k patterns of a row: the cost of a row is then one look into a table for each
feature of each leaf, however large the background is.

Next: :mod:`service.shapley.trees.traversal`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.kernels.shapley_weights import shapley_weights
from service.shapley.trees.forest import Forest
from service.shapley.trees.traversal import TreeTraversal

MAX_TABLE = 4_000_000  # patterns of rows whose answers are tabulated: 16 bytes each
# Patterns of background rows, of the leaves without a table: about as many bytes each.
MAX_PATTERNS = 10_000_000
# Leaves times rows, which meet each other while a game is built: some 20 ns each.
MOST_MET = 1_500_000_000
AT_ONCE = 2_000_000  # patterns, while a game is built
TABLE_CHUNK = 2**15  # of them, while a table is made: what stays in the processor's cache


def patterns_of(forest: Forest, rows: NDArray[np.floating]) -> NDArray[Any]:
    """Return the features that rows break on the way to each leaf, as bits.

    Parameters
    ----------
    forest : Forest
    rows : ndarray of shape (n_rows, n_columns)

    Returns
    -------
    ndarray of int, shape (n_leaves, n_rows)
    """
    goes_left = forest.goes_left(np.ascontiguousarray(rows.T))
    here = np.zeros((forest.n_trees, len(rows)), dtype=forest.bits[0].dtype)
    at_leaves = []
    for level, bits in zip(forest.levels, forest.bits, strict=True):
        at_leaves.append(here[level.leaves])
        above, left = here[level.inner], goes_left[level.splits]
        here = np.concatenate([above | bits * ~left, above | bits * left])
    return np.concatenate(at_leaves)


def tabulated_leaves(forest: Forest) -> NDArray[np.bool_]:
    """Tell which leaves have few enough features for a table; shape (n_leaves,).

    They are the smallest, as many as fit.
    """
    of_size = np.bincount(forest.n_slots) * 2.0 ** np.arange(forest.n_slots.max() + 1)
    return forest.n_slots < np.searchsorted(np.cumsum(of_size), MAX_TABLE, side="right")


class Gains(NamedTuple):
    """What each feature of each leaf takes from the leaf; three arrays of one length."""

    leaf: NDArray[np.intp]
    feature: NDArray[np.signedinteger[Any]]
    gain: NDArray[np.float64]


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
        is_tabulated = tabulated_leaves(forest)
        small, large = np.flatnonzero(is_tabulated), np.flatnonzero(~is_tabulated)
        counts, patterns = _Counts(forest.n_slots[small]), []
        reach = np.zeros(len(forest.value))
        at_once = max(1, AT_ONCE // len(forest.value))
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            of_part = patterns_of(forest, rows[part])  # (n_leaves, n_rows)
            reach += (of_part == 0) @ weights[part]
            counts.add(of_part[small], weights[part])
            patterns.append(of_part[large])
        self.empty_value = offset + reach @ forest.value
        self.leaves: list[TabulatedLeaves | MergedLeaves] = [
            TabulatedLeaves.of(forest, small, counts)
        ]
        if len(large):
            self.leaves.append(
                MergedLeaves.of(forest, large, np.concatenate(patterns, axis=1), weights)
            )

    def traversal_of(self, rows: NDArray[np.floating]) -> TreeTraversal:
        """Return the same trees on other background rows, each by itself."""
        return TreeTraversal(self.forest, rows, self.input_dtype, self.n_features)

    def full_value(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for one row, shape (n_outputs,)."""
        reached = patterns_of(self.forest, row[None].astype(self.input_dtype))[:, 0] == 0
        return self.offset + self.forest.value[reached].sum(axis=0)

    def shapley_values(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the exact Shapley values of one row.

        Parameters
        ----------
        row : ndarray of shape (n_columns,)

        Returns
        -------
        ndarray of shape (n_outputs, n_features)
        """
        patterns = patterns_of(self.forest, row[None].astype(self.input_dtype))[:, 0]
        importances = np.zeros((self.forest.value.shape[1], self.n_features))
        for leaves in self.leaves:
            gains = leaves.gains(patterns)
            for output, value in enumerate(self.forest.value.T):
                parts = gains.gain * value[gains.leaf]
                importances[output] += np.bincount(gains.feature, parts, minlength=self.n_features)
        return importances


def affordable_rows(forest: Forest) -> int:
    """Return how many background rows a game on these trees has room, and its builder time, for."""
    most = 2.0 ** forest.n_slots[~tabulated_leaves(forest)]
    n_stored = bisect_right(
        range(1, 10**7), MAX_PATTERNS, key=lambda n_rows: int(np.minimum(most, n_rows).sum())
    )
    return min(n_stored, MOST_MET // len(forest.value))


class _Counts:
    """The background's weight by pattern, for some leaves.

    The patterns of a leaf follow each other.

    Parameters
    ----------
    n_slots : ndarray of int, shape (n_leaves,)
    """

    def __init__(self, n_slots: NDArray[np.signedinteger[Any]]) -> None:
        self.n_slots = n_slots = n_slots.astype(np.int64)
        self.first = np.cumsum(1 << n_slots) - (1 << n_slots)  # where each leaf's patterns begin
        self.weight = np.zeros(int((1 << n_slots).sum()))

    def add(self, patterns: NDArray[Any], weights: NDArray[np.float64]) -> None:
        """Count some rows; patterns have shape (n_leaves, n_rows)."""
        place = (self.first[:, None] + patterns).ravel()
        self.weight += np.bincount(
            place, np.tile(weights, len(patterns)), minlength=len(self.weight)
        )


@dataclass(frozen=True)
class TabulatedLeaves:
    """Leaves whose answer to every pattern of a row is tabulated.

    A leaf's game has a potential P, of which every feature takes P(all) − P(all others), as in Hart
    and Mas-Colell, "Potential, value, and consistency" (1989). Without a feature, the game is that
    of a row that breaks it and of background rows that keep it. So two numbers for each pattern of
    a row say what each of the features takes.

    Attributes
    ----------
    leaf, first : ndarray of int, shape (n_leaves,)
        The leaves, and where the patterns of each begin.
    whole, without : ndarray of shape (n_patterns,)
        The potential of all features for a row of this pattern, and that of all but one feature of
        the pattern.
    of_leaf, bit, feature : ndarray of int, shape (n_pairs,)
        The features of the leaves: the leaf's position among those here, its bit, and the feature.
    """

    leaf: NDArray[np.intp]
    first: NDArray[np.intp]
    whole: NDArray[np.float64]
    without: NDArray[np.float64]
    of_leaf: NDArray[np.intp]
    bit: NDArray[np.int64]
    feature: NDArray[np.signedinteger[Any]]

    @classmethod
    def of(cls, forest: Forest, leaf: NDArray[np.intp], counts: _Counts) -> TabulatedLeaves:
        """Tabulate some leaves."""
        whole, without = np.zeros((2, len(counts.weight)))
        for n_slots in np.unique(counts.n_slots).tolist():
            first = counts.first[counts.n_slots == n_slots]
            step = max(1, TABLE_CHUNK >> n_slots)
            for start in range(0, len(first), step):
                # (2 ** n_slots, n_leaves)
                places = first[start : start + step] + np.arange(1 << n_slots)[:, None]
                whole[places], without[places] = _potentials(counts.weight[places], n_slots)
        of_leaf, slot = np.nonzero(forest.features[leaf] >= 0)
        return cls(
            leaf,
            counts.first,
            whole,
            without,
            of_leaf,
            1 << slot,
            forest.features[leaf[of_leaf], slot],
        )

    def gains(self, patterns: NDArray[Any]) -> Gains:
        """Return what the features take, for the patterns of one row at all leaves."""
        pattern = self.first + patterns[self.leaf]
        whole = self.whole[pattern]
        # Of the leaves that some hybrid row reaches.
        pairs = np.flatnonzero((whole > 0)[self.of_leaf])
        of_leaf = self.of_leaf[pairs]
        broken = self.first[of_leaf] + (patterns[self.leaf[of_leaf]] | self.bit[pairs])
        return Gains(self.leaf[of_leaf], self.feature[pairs], whole[of_leaf] - self.without[broken])


def _potentials(
    weight: NDArray[np.float64], n_slots: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the potentials of :class:`TabulatedLeaves`.

    Parameters
    ----------
    weight : ndarray of shape (2 ** n_slots, n_leaves)
        The background rows' weight by pattern.
    n_slots : int

    Returns
    -------
    whole, without : ndarray of shape (2 ** n_slots, n_leaves)
    """
    of_size = _potential_weights(n_slots)
    size = np.bitwise_count(np.arange(len(weight)))
    whole, without = np.zeros((2, *weight.shape))
    for n_broken in range(n_slots + 1):
        # The weight of the rows that break so many features, and none of those that the explained
        # row breaks.
        sums = np.where((size == n_broken)[:, None], weight, 0.0)
        for bit in range(n_slots):
            halves = sums.reshape(-1, 2, weight.shape[1] << bit)
            halves[:, 1] += halves[:, 0]
        disjoint = sums[::-1]
        whole += of_size[n_broken, size, None] * disjoint
        without[1:] += of_size[n_broken, size[1:] - 1, None] * disjoint[1:]
    return whole, without


@lru_cache
def _potential_weights(n_slots: int) -> NDArray[np.float64]:
    """Tabulate the potential of a leaf.

    It depends on how many features the background row breaks, and how many the row does.

    It is (u−1)! v! / (u+v)!, the Shapley value of each of the u. For u = 0 that of the v is −1/v,
    so the potential is −(1 + 1/2 + … + 1/v), plus a constant that makes it positive: nothing else
    is 0 but what no hybrid row reaches.
    """
    weights = shapley_weights(n_slots).copy()
    harmonic = np.cumsum([0.0, *(1 / np.arange(1, n_slots + 1))])
    weights[0] = 1 + harmonic[-1] - harmonic
    return weights


@dataclass(frozen=True)
class MergedLeaves:
    """Leaves with many features: the different patterns of the background rows, and their weights.

    Attributes
    ----------
    leaf : ndarray of int, shape (n_leaves,)
    features : ndarray of int, shape (n_leaves, most)
    n_patterns : ndarray of int, shape (n_leaves,)
    of_leaf : ndarray of int, shape (n_patterns,)
        The leaf's position among those here.
    pattern : ndarray of int, shape (n_patterns,)
    weight : ndarray of shape (n_patterns,)
    """

    leaf: NDArray[np.intp]
    features: NDArray[np.signedinteger[Any]]
    n_patterns: NDArray[np.intp]
    of_leaf: NDArray[np.int32]
    pattern: NDArray[Any]
    weight: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        forest: Forest,
        leaf: NDArray[np.intp],
        patterns: NDArray[Any],
        weights: NDArray[np.float64],
    ) -> MergedLeaves:
        """Merge the background rows' patterns, (n_leaves, n_rows), leaf by leaf."""
        step = max(1, AT_ONCE // patterns.shape[1])
        parts = [
            _merged(patterns[start : start + step], weights) for start in range(0, len(leaf), step)
        ]
        n_patterns, pattern, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        of_leaf = np.repeat(np.arange(len(leaf), dtype=np.int32), n_patterns)
        return cls(leaf, forest.features[leaf], n_patterns, of_leaf, pattern, weight)

    def gains(self, patterns: NDArray[Any]) -> Gains:
        """Return what the features take, for the patterns of one row at all leaves."""
        by_row = patterns[self.leaf]
        possible = np.flatnonzero((np.repeat(by_row, self.n_patterns) & self.pattern) == 0)
        of_leaf, by_background, weight = (
            self.of_leaf[possible],
            self.pattern[possible],
            self.weight[possible],
        )
        u, v = np.bitwise_count(by_background), np.bitwise_count(by_row)[of_leaf]
        most = self.features.shape[1]
        gain, loss = weight * shapley_weights(most)[u, v], weight * shapley_weights(most)[v, u]
        # By each feature that the row breaks.
        lost = np.bincount(of_leaf, loss, minlength=len(by_row))
        taken = np.empty((most, len(by_row)))
        for bit in range(most):
            pairs = np.flatnonzero((by_background & (1 << bit)) != 0)
            gained = np.bincount(of_leaf[pairs], gain[pairs], minlength=len(by_row))
            taken[bit] = gained - np.where(by_row & (1 << bit), lost, 0.0)
        slot, leaf = np.nonzero(taken)
        return Gains(self.leaf[leaf], self.features[leaf, slot], taken[slot, leaf])


def _merged(
    patterns: NDArray[Any], weights: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[Any], NDArray[np.float64]]:
    """Merge equal patterns of some leaves, and add up their weights.

    Return how many patterns each leaf has, (n_leaves,), the patterns and their weights.
    """
    order = np.argsort(patterns, axis=1, kind="stable")
    patterns = np.take_along_axis(patterns, order, axis=1)
    is_new = np.ones(patterns.shape, dtype=bool)
    is_new[:, 1:] = patterns[:, 1:] != patterns[:, :-1]
    weight = np.add.reduceat(weights[order].ravel(), np.flatnonzero(is_new))
    return is_new.sum(axis=1), patterns[is_new], weight
