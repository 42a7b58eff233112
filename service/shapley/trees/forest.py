"""All trees of a model side by side, level by level, and the features that their paths test.

A path tests its features in some order; the place of a feature in that order, counted without
repetition, is its *slot*. What a row decides at every split of a level is one array operation.

Next: :mod:`service.shapley.trees.division`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.shapley.grouping import Grouping
from service.shapley.kernels.shapley_weights import shapley_weights
from service.shapley.kernels.splits import BY_CATEGORY, SPLIT, Splits, code_of
from service.shapley.kernels.walks import MOST_BITS


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
        left, with whatever comes behind the point; every other value is as if missing. All False
        at other nodes; None when there is no such node.
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


@dataclass(frozen=True)
class Level:
    """The nodes of one depth, of all trees; children come as all left ones, then all right ones.

    Attributes
    ----------
    leaves, inner : ndarray of int
        The positions of leaves and of other nodes on the level.
    splits : slice
        The level's inner nodes among those of all levels.
    slot : ndarray of int, shape (n_inner,)
        The place of each inner node's feature on the paths through it.
    """

    leaves: NDArray[np.intp]
    inner: NDArray[np.intp]
    splits: slice
    slot: NDArray[np.int16]


@dataclass(frozen=True)
class Forest:
    """All trees side by side.

    Attributes
    ----------
    column : ndarray of int, shape (n_splits,)
        The encoded column that each inner node looks at.
    feature : ndarray of int, shape (n_splits,)
        The feature that this column belongs to.
    threshold : ndarray of shape (n_splits, 1)
    missing_left : ndarray of bool, shape (n_splits, 1)
    categorical : ndarray of int, shape (n_categorical,)
        The splits by category among them.
    code_goes_left : ndarray of bool, shape (n_categorical, n_codes + 1)
        Where each code goes, and after the codes a missing one.
    n_trees : int
    levels : list of Level
    value : ndarray of shape (n_leaves, n_outputs)
    """

    column: NDArray[np.intp]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    categorical: NDArray[np.intp]
    code_goes_left: NDArray[np.bool_]
    n_trees: int
    levels: list[Level]
    value: NDArray[np.float64]

    @classmethod
    def of(cls, trees: list[Tree], grouping: Grouping) -> Forest:
        """Put trees side by side."""
        all_nodes = _joined(trees)
        sizes = np.array([len(tree.left) for tree in trees])
        layers = list(_layers(all_nodes, np.cumsum(sizes) - sizes, grouping))
        splits = np.concatenate([layer.nodes[layer.inner] for layer in layers])
        leaves = np.concatenate([layer.nodes[layer.leaves] for layer in layers])
        levels: list[Level] = []
        n_splits = 0
        for layer in layers:
            of_level = slice(n_splits, n_splits + len(layer.inner))
            levels.append(Level(layer.leaves, layer.inner, of_level, layer.slot))
            n_splits = of_level.stop
        missing_left = all_nodes.missing_left[splits, None]
        codes = all_nodes.code_table[splits]
        categorical = np.flatnonzero(codes.any(axis=1))
        column = all_nodes.feature[splits]
        return cls(
            column=column.astype(np.intp),
            feature=grouping.owner[column].astype(np.int32),
            threshold=all_nodes.threshold[splits, None],
            missing_left=missing_left,
            categorical=categorical,
            code_goes_left=np.hstack([codes, missing_left])[categorical],
            n_trees=len(trees),
            levels=levels,
            value=all_nodes.value[leaves],
        )

    def goes_left(
        self, columns: NDArray[np.floating], splits: slice = slice(None)
    ) -> NDArray[np.bool_]:
        """Decide some splits for some rows; (n_columns, n_rows) to (n_splits, n_rows)."""
        x = columns[self.column[splits]]
        goes_left = x <= self.threshold[splits]
        if np.isnan(columns).any():
            goes_left |= self.missing_left[splits] & np.isnan(x)
        start, stop, _ = splits.indices(len(self.column))
        first, last = np.searchsorted(self.categorical, [start, stop])
        if first < last:
            place = self.categorical[first:last] - start
            code = code_of(x[place], self.code_goes_left.shape[1] - 1)
            of_category = np.take_along_axis(self.code_goes_left[first:last], code, axis=1)
            goes_left[place] = of_category
        return goes_left

    @property
    def has_narrow_paths(self) -> bool:
        """Whether no path tests more features than a whole number has bits."""
        return bool(self.n_slots.max() <= MOST_BITS)

    @cached_property
    def children(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Where a row goes: the two children of every split, left first, and the roots.

        They have shape (2, n_splits) and (n_trees,). A number below 0 is leaf −1 − number.
        """
        nodes: list[NDArray[np.int32]] = []
        n_leaves = 0
        for level in self.levels:
            node = np.empty(len(level.inner) + len(level.leaves), dtype=np.int32)
            node[level.inner] = level.splits.start + np.arange(len(level.inner))
            node[level.leaves] = -1 - n_leaves - np.arange(len(level.leaves))
            nodes.append(node)
            n_leaves += len(level.leaves)
        # The nodes below a level: all left children, then all right ones.
        below = [children.reshape(2, -1) for children in nodes[1:]]
        children = np.hstack([np.zeros((2, 0)), *below]).astype(np.int32)
        return children, nodes[0].astype(np.int32)

    @cached_property
    def splits(self) -> Splits:
        """The same trees as walks meet them, one after another."""
        split_order, leaf_order = self.tree_by_tree
        moved = np.concatenate([places_in(split_order), -1 - places_in(leaf_order)[::-1]])
        children, roots = self.children
        records = np.zeros(len(split_order), dtype=SPLIT)
        records["threshold"] = self.threshold[split_order, 0]
        records["column"] = self.column[split_order]
        records["left"], records["right"] = moved[children[:, split_order]]
        kind = self.missing_left[:, 0].astype(np.int32)
        kind[self.categorical] = BY_CATEGORY + np.arange(len(self.categorical))
        records["kind"] = kind[split_order]
        slot = np.concatenate(list(map(attrgetter("slot"), self.levels)))
        owner = np.zeros(int(self.column.max(initial=-1)) + 1, dtype=np.int32)
        owner[self.column] = self.feature
        return Splits(
            records,
            roots=moved[roots].astype(np.int32),
            value=self.value[leaf_order],
            owner=owner,
            slot=slot[split_order],
            weights=shapley_weights(int(self.n_slots.max())),
            code_goes_left=self.code_goes_left,
        )

    def with_values(self, value: NDArray[np.float64]) -> Forest:
        """Return the same trees with other leaves, (n_leaves, n_outputs), ready if these are."""
        other = replace(self, value=value)
        if "splits" in vars(self):
            _, leaf_order = self.tree_by_tree
            vars(other)["splits"] = replace(self.splits, value=value[leaf_order])
        return other

    @cached_property
    def tree_by_tree(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The order that puts all splits, and all leaves, one tree after another.

        In a tree what is below a split comes right after it, first all that is to the left: a walk
        finds most of what it meets in one piece of memory.
        """
        sizes = self._splits_below()
        of_splits, of_leaves = [], []
        split = np.cumsum(sizes[0]) - sizes[0]
        leaf = split + np.arange(self.n_trees)
        for level, below in zip(self.levels, [*sizes[1:], np.zeros(0, dtype=np.intp)], strict=True):
            of_splits.append(split[level.inner])
            of_leaves.append(leaf[level.leaves])
            first, to_left = of_splits[-1] + 1, below[: len(level.inner)]
            split = np.concatenate([first, first + to_left])
            leaf = np.concatenate([leaf[level.inner], leaf[level.inner] + to_left + 1])
        return places_in(np.concatenate(of_splits)), places_in(np.concatenate(of_leaves))

    def _splits_below(self) -> list[NDArray[np.intp]]:
        """Return for the nodes of each level how many splits they and what is below them have."""
        below, found = np.zeros(0, dtype=np.intp), []
        for level in reversed(self.levels):
            here = np.zeros(len(level.leaves) + len(level.inner), dtype=np.intp)
            here[level.inner] = 1 + below.reshape(2, -1).sum(axis=0)
            found.append(here)
            below = here
        return found[::-1]

    def trees(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the trees of all splits and those of all leaves."""
        here = np.arange(self.n_trees, dtype=np.int32)
        of_splits, of_leaves = [], []
        for level in self.levels:
            of_leaves.append(here[level.leaves])
            of_splits.append(here[level.inner])
            here = np.concatenate([of_splits[-1], of_splits[-1]])
        return np.concatenate(of_splits), np.concatenate(of_leaves)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of pickles what is made again of the rest."""
        state: dict[str, Any] = dict.fromkeys(self.__dataclass_fields__)
        for name in state:
            state[name] = getattr(self, name)
        return state

    @cached_property
    def n_slots(self) -> NDArray[np.int16]:
        """The number of features that each leaf's path tests; shape (n_leaves,)."""
        here, at_leaves = np.zeros(self.n_trees, dtype=np.int16), []
        for level in self.levels:
            at_leaves.append(here[level.leaves])
            below = np.maximum(here[level.inner], level.slot + 1)
            here = np.concatenate([below, below])
        return np.concatenate(at_leaves)

    @cached_property
    def features(self) -> NDArray[np.intp]:
        """The features that each leaf's path tests, by slot; −1 beyond the last.

        The result has shape (n_leaves, largest number of slots).
        """
        here = np.full((self.n_trees, int(self.n_slots.max())), -1)
        at_leaves = []
        for level in self.levels:
            at_leaves.append(here[level.leaves])
            below = here[level.inner]
            below[np.arange(len(below)), level.slot] = self.feature[level.splits]
            here = np.concatenate([below, below])
        return np.concatenate(at_leaves)


def places_in(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return where each of 0, 1, … stands in an order of them."""
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places


class _Layer(NamedTuple):
    """A level in the making: its nodes, and the slot of the feature of each inner node."""

    nodes: NDArray[np.intp]
    leaves: NDArray[np.intp]
    inner: NDArray[np.intp]
    slot: NDArray[np.int16]


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
    path = np.full((len(nodes), 0), -1, dtype=np.int32)  # the features so far, by slot
    while len(nodes):
        is_leaf = every.left[nodes] < 0
        leaves, inner = np.flatnonzero(is_leaf), np.flatnonzero(~is_leaf)
        below, slot = _extended(path[inner], grouping.owner[every.feature[nodes[inner]]])
        yield _Layer(nodes, leaves, inner, slot.astype(np.int16))
        nodes = np.concatenate([every.left[nodes[inner]], every.right[nodes[inner]]])
        path = np.concatenate([below, below])


def _extended(
    path: NDArray[np.int32], feature: NDArray[np.intp]
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Add a feature to each path where it is not on it.

    Return the paths and the feature's slot on each.
    """
    path = np.pad(path, ((0, 0), (0, 1)), constant_values=-1)  # so that there is a free slot
    slot = ((path == feature[:, None]) | (path < 0)).argmax(axis=1)
    path[np.arange(len(path)), slot] = feature
    return path[:, : int((path >= 0).any(axis=0).sum())], slot
