"""Interventional TreeSHAP in double precision: the exact Shapley values of a sum of decision trees.

A leaf is reached when every feature on its path satisfies all its splits there. For a row x and a
background row b let V be the path's features that x breaks and U those that b breaks. If a feature
is broken by both, no hybrid row reaches the leaf; otherwise a feature of U has the Shapley value
(|U|−1)! |V|! / (|U|+|V|)! and one of V has −|U|! (|V|−1)! / (|U|+|V|)!. So all that a leaf asks of
a row is its *pattern*: one bit for each feature of the path.

Background rows of the same pattern are alike to a leaf and merged when the game is built. A leaf
with few features (nearly all leaves of boosted trees) goes further, and tabulates its answer to
each of the 2^k patterns of a row: the cost of a row is then one look into a table for each feature
of each leaf, however large the background is.

Source of the game: Lundberg et al., "From local explanations to global understanding with
explainable AI for trees" (2020), algorithm 3. shap 0.51 computes it with thresholds and leaf values
rounded to float32: a row whose value lies close to a threshold can go the wrong way (seen: 0.77 on
a margin of 7), which is why the evaluation is our own.

Next: :mod:`service.shapley.linked_trees`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import factorial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.grouping import Grouping

MAX_TABLE = 4_000_000  # patterns of rows whose answers are tabulated: 16 bytes each
# Patterns of background rows, of the leaves without a table: about as many bytes each.
MAX_PATTERNS = 10_000_000
AT_ONCE = 2_000_000  # patterns, while a game is built
TABLE_CHUNK = 2**15  # of them, while a table is made: what stays in the processor's cache
MAX_PATH_FEATURES = 62  # a pattern is an integer


@dataclass(frozen=True)
class Tree:
    """One decision tree: a row goes left where its value is at most the threshold.

    Attributes
    ----------
    left, right : ndarray of int, shape (n_nodes,)
        Children; negative at a leaf.
    missing_left : ndarray of bool, shape (n_nodes,)
        Where a missing value goes left.
    feature : ndarray of int, shape (n_nodes,)
    threshold : ndarray of shape (n_nodes,)
    value : ndarray of shape (n_nodes, n_outputs)
    categories : ndarray of bool, shape (n_nodes, n_codes), or None
        At a node that splits by category, where the threshold is NaN, the codes 0, 1, … that go
        left; every other value is as if missing. All False at other nodes; None when there is no
        such node.
    """

    left: NDArray[np.int_]
    right: NDArray[np.int_]
    missing_left: NDArray[np.bool_]
    feature: NDArray[np.int_]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]
    categories: NDArray[np.bool_] | None = None

    @property
    def code_table(self) -> NDArray[np.bool_]:
        """The codes that go left, shape (n_nodes, n_codes); no columns without categories."""
        none = np.zeros((len(self.left), 0), dtype=bool)
        return none if self.categories is None else self.categories


class Level(NamedTuple):
    """The nodes of one depth, of all trees; children come as all left ones, then all right ones.

    Attributes
    ----------
    leaves, inner : ndarray of int
        The positions of leaves and of other nodes on the level.
    splits : slice
        The level's inner nodes among those of all levels.
    bits : ndarray of shape (n_inner, 1)
        What breaking a child's condition adds to the pattern of the leaves below it.
    """

    leaves: NDArray[np.intp]
    inner: NDArray[np.intp]
    splits: slice
    bits: NDArray[Any]


@dataclass(frozen=True)
class Forest:
    """All trees side by side, level by level: a row's patterns take a few array operations a level.

    Attributes
    ----------
    column : ndarray of int, shape (n_splits,)
        The encoded column that each inner node looks at.
    threshold : ndarray of shape (n_splits, 1)
    missing_left : ndarray of bool, shape (n_splits, 1)
    categorical : ndarray of int, shape (n_categorical,)
        The splits by category among them.
    goes_left : ndarray of bool, shape (n_categorical, n_codes + 1)
        Where each code goes, and after the codes a missing one.
    n_trees : int
    levels : list of Level
    features : ndarray of int, shape (n_leaves, most)
        The features that each leaf's path tests, bit by bit; −1 beyond the last.
    value : ndarray of shape (n_leaves, n_outputs)
    """

    column: NDArray[np.int_]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    categorical: NDArray[np.intp]
    goes_left: NDArray[np.bool_]
    n_trees: int
    levels: list[Level]
    features: NDArray[np.int_]
    value: NDArray[np.float64]

    @classmethod
    def of(cls, trees: list[Tree], grouping: Grouping) -> Forest:
        """Put trees side by side.

        Raises
        ------
        ValueError
            When a path tests more than 62 different features.
        """
        all_nodes = _joined(trees)
        sizes = np.array([len(tree.left) for tree in trees])
        layers = list(_layers(all_nodes, np.cumsum(sizes) - sizes, grouping))
        splits = np.concatenate([layer.nodes[layer.inner] for layer in layers])
        leaves = np.concatenate([layer.nodes[layer.leaves] for layer in layers])
        most = max(layer.path.shape[1] for layer in layers)
        dtype = np.min_scalar_type((1 << most) - 1)
        levels: list[Level] = []
        n_splits = 0
        for layer in layers:
            of_level = slice(n_splits, n_splits + len(layer.inner))
            bits = layer.bits[:, None].astype(dtype)
            levels.append(Level(layer.leaves, layer.inner, of_level, bits))
            n_splits = of_level.stop
        missing_left = all_nodes.missing_left[splits, None]
        codes = all_nodes.code_table[splits]
        categorical = np.flatnonzero(codes.any(axis=1))
        return cls(
            column=all_nodes.feature[splits],
            threshold=all_nodes.threshold[splits, None],
            missing_left=missing_left,
            categorical=categorical,
            goes_left=np.hstack([codes, missing_left])[categorical],
            n_trees=len(trees),
            levels=levels,
            features=np.concatenate([_widened(layer.path[layer.leaves], most) for layer in layers]),
            value=all_nodes.value[leaves],
        )

    def patterns(self, rows: NDArray[np.floating]) -> NDArray[Any]:
        """Return the features that rows break on the way to each leaf, as bits.

        The result has shape (n_leaves, n_rows).
        """
        goes_left = self._goes_left(np.ascontiguousarray(rows.T))
        here = np.zeros((self.n_trees, len(rows)), dtype=self.pattern_dtype)
        at_leaves = []
        for level in self.levels:
            at_leaves.append(here[level.leaves])
            above, left = here[level.inner], goes_left[level.splits]
            here = np.concatenate([above | level.bits * ~left, above | level.bits * left])
        return np.concatenate(at_leaves)

    def _goes_left(self, columns: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Decide every split for some rows; (n_columns, n_rows) to (n_splits, n_rows)."""
        x = columns[self.column]
        goes_left = (x <= self.threshold) | (self.missing_left & np.isnan(x))
        if len(self.categorical):
            x, missing = x[self.categorical], self.goes_left.shape[1] - 1
            is_code = (x >= 0) & (x < missing) & (x == np.floor(x))
            codes = np.where(is_code, x, missing).astype(np.intp)
            goes_left[self.categorical] = np.take_along_axis(self.goes_left, codes, axis=1)
        return goes_left

    @property
    def pattern_dtype(self) -> np.dtype[Any]:
        """The smallest integer type that holds a pattern."""
        return self.levels[0].bits.dtype

    @cached_property
    def n_slots(self) -> NDArray[np.int_]:
        """The number of features on each leaf's path, the bits of its patterns; (n_leaves,)."""
        return (self.features >= 0).sum(axis=1)

    @cached_property
    def is_tabulated(self) -> NDArray[np.bool_]:
        """Tell which leaves have few enough features for a table; shape (n_leaves,).

        They are the smallest, as many as fit.
        """
        of_size = np.bincount(self.n_slots) * 2.0 ** np.arange(self.n_slots.max() + 1)
        return self.n_slots < np.searchsorted(np.cumsum(of_size), MAX_TABLE, side="right")


class _Layer(NamedTuple):
    """A level in the making: its nodes, and the features on the path to each, bit by bit."""

    nodes: NDArray[np.intp]
    leaves: NDArray[np.intp]
    inner: NDArray[np.intp]
    bits: NDArray[np.int64]
    path: NDArray[np.int_]


def _joined(trees: list[Tree]) -> Tree:
    """Make one list of the nodes of all trees."""

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(tree, name) for tree in trees])

    sizes = [len(tree.left) for tree in trees]
    first = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)  # where the tree of each node begins
    left, right = joined("left"), joined("right")
    return Tree(
        left=np.where(left < 0, -1, first + left),
        right=np.where(left < 0, -1, first + right),
        missing_left=joined("missing_left"),
        feature=joined("feature"),
        threshold=joined("threshold"),
        value=joined("value"),
        categories=_joined_categories(trees),
    )


def _joined_categories(trees: list[Tree]) -> NDArray[np.bool_]:
    """Make one table of the codes that go left, as wide as the widest of the trees."""
    tables = [tree.code_table for tree in trees]
    n_codes = max(table.shape[1] for table in tables)
    return np.concatenate(
        [np.pad(table, ((0, 0), (0, n_codes - table.shape[1]))) for table in tables]
    )


def _layers(every: Tree, nodes: NDArray[np.intp], grouping: Grouping) -> Iterator[_Layer]:
    """Walk down from the roots, all trees at once."""
    path = np.full((len(nodes), 0), -1)
    while len(nodes):
        is_leaf = every.left[nodes] < 0
        leaves, inner = np.flatnonzero(is_leaf), np.flatnonzero(~is_leaf)
        feature = grouping.owner[every.feature[nodes[inner]]]
        below, slot = _extended(path[inner], feature)
        if below.shape[1] > MAX_PATH_FEATURES:
            raise ValueError(
                f"Trees: expected at most {MAX_PATH_FEATURES} features on a path, "
                f"got {below.shape[1]}."
            )
        yield _Layer(nodes, leaves, inner, 1 << slot, path)
        nodes = np.concatenate([every.left[nodes[inner]], every.right[nodes[inner]]])
        path = np.concatenate([below, below])


def _extended(
    path: NDArray[np.int_], feature: NDArray[np.intp]
) -> tuple[NDArray[np.int_], NDArray[np.intp]]:
    """Add a feature to each path where it is not on it.

    Return the paths and the feature's place on each.
    """
    path = _widened(path, path.shape[1] + 1)  # so that there is a free place
    slot = ((path == feature[:, None]) | (path < 0)).argmax(axis=1)
    path[np.arange(len(path)), slot] = feature
    return path[:, : int((path >= 0).any(axis=0).sum())], slot


def _widened(path: NDArray[np.int_], width: int) -> NDArray[np.int_]:
    return np.pad(path, ((0, 0), (0, width - path.shape[1])), constant_values=-1)


class Gains(NamedTuple):
    """What each feature of each leaf takes from the leaf; three arrays of one length."""

    leaf: NDArray[np.intp]
    feature: NDArray[np.int_]
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
        small, large = np.flatnonzero(forest.is_tabulated), np.flatnonzero(~forest.is_tabulated)
        counts, patterns = _Counts(forest.n_slots[small]), []
        reach = np.zeros(len(forest.value))
        at_once = max(1, AT_ONCE // len(forest.value))
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            of_part = forest.patterns(rows[part])  # (n_leaves, n_rows)
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

    def full_value(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for one row, shape (n_outputs,)."""
        reached = self.forest.patterns(row[None].astype(self.input_dtype))[:, 0] == 0
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
        patterns = self.forest.patterns(row[None].astype(self.input_dtype))[:, 0]
        importances = np.zeros((self.forest.value.shape[1], self.n_features))
        for leaves in self.leaves:
            gains = leaves.gains(patterns)
            for output, value in enumerate(self.forest.value.T):
                parts = gains.gain * value[gains.leaf]
                importances[output] += np.bincount(gains.feature, parts, minlength=self.n_features)
        return importances


def affordable_rows(forest: Forest) -> int:
    """Return how many background rows a game on these trees has room for."""
    most = 2.0 ** forest.n_slots[~forest.is_tabulated]
    return bisect_right(
        range(1, 10**7), MAX_PATTERNS, key=lambda n_rows: int(np.minimum(most, n_rows).sum())
    )


class _Counts:
    """The background's weight by pattern, for some leaves.

    The patterns of a leaf follow each other.

    Parameters
    ----------
    n_slots : ndarray of int, shape (n_leaves,)
    """

    def __init__(self, n_slots: NDArray[np.int_]) -> None:
        self.n_slots = n_slots
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
    feature: NDArray[np.int_]

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
    weights = _shapley_weights(n_slots).copy()
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
    features: NDArray[np.int_]
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
        gain, loss = weight * _shapley_weights(most)[u, v], weight * _shapley_weights(most)[v, u]
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


@lru_cache
def _shapley_weights(most: int) -> NDArray[np.float64]:
    """Tabulate (u−1)! v! / (u+v)! for u and v up to `most` together."""
    weights = np.zeros((most + 1, most + 1))
    for u in range(1, most + 1):
        for v in range(most + 1 - u):
            weights[u, v] = factorial(u - 1) * factorial(v) / factorial(u + v)
    return weights
