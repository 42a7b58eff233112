"""How trees are divided into twigs, parts whose leaves are met together.

Two twigs become one where the table of both together is no larger than those of their leaves: then
a row looks into one table instead of two, and finds what it looks for in one place.

Next: :mod:`service.shapley.trees.patterns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.kernels.twigs import Firsts, Twigs, firsts
from service.shapley.kernels.walks import MOST_BITS
from service.shapley.trees.forest import Forest, places_in


@dataclass
class _Below:
    """What lies below the nodes of a level; arrays of shape (n_nodes,).

    Attributes
    ----------
    size : ndarray
        The numbers in the tables of all leaves; infinite where a leaf has none.
    n_splits, n_new : ndarray of int
        How many splits there are, and how many of them test a feature for the first time.
    is_whole : ndarray of bool
        Whether all of it may be one twig.
    """

    size: NDArray[np.float64]
    n_splits: NDArray[np.int64]
    n_new: NDArray[np.int64]
    is_whole: NDArray[np.bool_]

    @classmethod
    def of_leaves(cls, n_nodes: int) -> _Below:
        """Return what lies below nodes that are all leaves."""
        n_splits, n_new = np.zeros((2, n_nodes), dtype=np.int64)
        return cls(np.zeros(n_nodes), n_splits, n_new, np.ones(n_nodes, dtype=bool))


def divide(forest: Forest, is_tabulated: NDArray[np.bool_], n_features: int) -> Twigs:
    """Divide the trees of a forest into twigs.

    Parameters
    ----------
    forest : Forest
        Whose paths are narrow.
    is_tabulated : ndarray of bool, shape (n_leaves,)
        Which leaves may have a table. Each of the others is a twig of its own.
    n_features : int

    Returns
    -------
    Twigs
    """
    return _Division(forest, is_tabulated, n_features).twigs()


class _Division:
    """One division: twigs are found from the leaves up, and numbered from the roots down.

    Splits and leaves are those of the forest, level by level, until they are put in order.
    """

    def __init__(self, forest: Forest, is_tabulated: NDArray[np.bool_], n_features: int) -> None:
        self.forest = forest
        self.is_tabulated = is_tabulated
        self.n_features = n_features
        self.below = self._look_up()
        n_splits, most = len(forest.column), max(1, int(forest.n_slots.max()))
        self.child = np.zeros((n_splits, 2), dtype=np.int64)  # −1 − twig, or what comes later
        self.twig = np.full(n_splits, -1)
        self.bit = np.zeros(n_splits, dtype=np.int64)
        self.twig_of_leaf = np.zeros(len(forest.value), dtype=np.int64)
        self.flip = np.zeros(len(forest.value), dtype=np.int64)
        self.mask = np.zeros((len(forest.value), most), dtype=np.int64)
        self.tree_of_twig: list[NDArray[np.int64]] = []
        self.n_bits: list[NDArray[np.int64]] = []
        self._look_down()

    def _look_up(self) -> list[_Below]:
        """Find on every level what may be a twig, from the lowest level up."""
        forest, n_leaves = self.forest, len(self.forest.value)
        below = _Below.of_leaves(0)
        found = []
        for level, n_slots in zip(forest.levels[::-1], self._path_lengths()[::-1], strict=True):
            n_nodes = len(level.leaves) + len(level.inner)
            here = _Below.of_leaves(n_nodes)
            leaves = slice(n_leaves - len(level.leaves), n_leaves)
            n_leaves = leaves.start
            of_leaf = n_slots[level.leaves]
            has_table = self.is_tabulated[leaves]
            here.size[level.leaves] = np.where(has_table, of_leaf * 2.0**of_leaf, np.inf)
            at, k = level.inner, n_slots[level.inner]
            here.size[at] = below.size.reshape(2, -1).sum(axis=0)
            here.n_splits[at] = 1 + below.n_splits.reshape(2, -1).sum(axis=0)
            here.n_new[at] = (level.slot == k) + below.n_new.reshape(2, -1).sum(axis=0)
            n_bits = np.minimum(k + here.n_splits[at], MOST_BITS)  # 2^1024 overflows
            together = (k + here.n_new[at]) * np.exp2(n_bits, dtype=float)
            is_smaller = (together <= here.size[at]) & np.isfinite(here.size[at])
            here.is_whole[at] = is_smaller & below.is_whole.reshape(2, -1).all(axis=0)
            found.append(here)
            below = here
        return found[::-1]

    def _path_lengths(self) -> list[NDArray[np.int64]]:
        """Return how many features the paths to the nodes of each level test."""
        here, lengths = np.zeros(self.forest.n_trees, dtype=np.int64), []
        for level in self.forest.levels:
            lengths.append(here)
            here = np.tile(np.maximum(here[level.inner], level.slot + 1), 2)
        return lengths

    def _look_down(self) -> None:
        """Give numbers to the twigs, and to the bits of their states, from the roots down."""
        forest = self.forest
        lengths, tree = self._path_lengths(), np.arange(forest.n_trees)
        twig, next_bit = np.full(forest.n_trees, -1), np.zeros(forest.n_trees, dtype=np.int64)
        flip = np.zeros(forest.n_trees, dtype=np.int64)
        mask = np.zeros((forest.n_trees, self.mask.shape[1]), dtype=np.int64)
        n_twigs = n_leaves = 0
        slots = np.arange(self.mask.shape[1])
        for number, level in enumerate(forest.levels):
            below, n_slots = self.below[number], lengths[number]
            begins = np.flatnonzero((twig < 0) & below.is_whole)
            twig[begins] = n_twigs + np.arange(len(begins))
            n_twigs += len(begins)
            next_bit[begins] = n_slots[begins]
            mask[begins] = np.where(slots < n_slots[begins, None], 1 << slots, 0)
            self.tree_of_twig.append(tree[begins])
            self.n_bits.append(n_slots[begins] + below.n_splits[begins])
            self._name(number, twig)

            leaves = slice(n_leaves, n_leaves + len(level.leaves))
            n_leaves = leaves.stop
            self.twig_of_leaf[leaves] = twig[level.leaves]
            self.flip[leaves], self.mask[leaves] = flip[level.leaves], mask[level.leaves]

            at, slot = level.inner, level.slot.astype(np.int64)
            is_within = twig[at] >= 0
            bit = 1 << np.where(is_within, next_bit[at], slot)
            self.twig[level.splits], self.bit[level.splits] = twig[at], bit
            of_split = np.where(is_within, bit, 0)
            child_mask = mask[at]
            child_mask[np.arange(len(at)), slot] |= of_split
            on = next_bit[at] + 1
            if number + 1 < len(forest.levels):
                n_left = self.below[number + 1].n_splits[: len(at)]
                next_bit = np.concatenate([on, on + n_left])
            flip = np.concatenate([flip[at] | of_split, flip[at]])
            mask = np.concatenate([child_mask, child_mask])
            twig, tree = np.tile(twig[at], 2), np.tile(tree[at], 2)

    def _name(self, number: int, twig: NDArray[np.int64]) -> None:
        """Tell the splits above a level's nodes where a row goes on."""
        level = self.forest.levels[number]
        node = -1 - twig
        is_above = twig[level.inner] < 0
        node[level.inner] = np.where(
            is_above, level.splits.start + np.arange(len(level.inner)), node[level.inner]
        )
        if number:
            above = self.forest.levels[number - 1].splits
            self.child[above] = node.reshape(2, -1).T

    def twigs(self) -> Twigs:
        """Put everything in order: one tree after another, and in each one twig after another."""
        forest = self.forest
        split_order, leaf_order = forest.tree_by_tree
        tree_of_twig, n_bits = np.concatenate(self.tree_of_twig), np.concatenate(self.n_bits)
        twig_order = np.argsort(tree_of_twig, kind="stable")
        n_twigs = len(twig_order)
        twig_of = np.append(places_in(twig_order), -1)  # the last one is that above the twigs
        # What the splits and the twigs are in the order; twigs are counted down from −1.
        moved = np.concatenate([places_in(split_order), -1 - twig_of[n_twigs - 1 :: -1]])
        of_split, _ = forest.trees()

        moved_leaf, twig_of_leaf = places_in(leaf_order), twig_of[self.twig_of_leaf]
        of_twigs = np.lexsort((moved_leaf, twig_of_leaf))
        twig_of_leaf = twig_of_leaf[of_twigs]
        has_table = np.zeros(n_twigs, dtype=bool)
        has_table[twig_of_leaf] = self.is_tabulated[of_twigs]
        n_bits = n_bits[twig_order]
        leaf, slot = np.nonzero(self.mask[of_twigs])
        twig, feature = twig_of_leaf[leaf], forest.features[of_twigs[leaf], slot]
        place, first_feature, feature = _ranked(
            twig, np.where(has_table[twig], feature, slot), feature, n_twigs
        )
        with_value, output = np.nonzero(forest.value[of_twigs])
        _, first_output, output = _ranked(twig_of_leaf[with_value], output, output, n_twigs)
        target, first_target = _targets(
            feature, first_feature, output, first_output, self.n_features
        )
        first_state = firsts(np.where(has_table, 1 << n_bits, 0))
        return Twigs(
            below=moved[self.child[split_order]].astype(np.int32),
            twig=twig_of[self.twig[split_order]].astype(np.int32),
            bit=self.bit[split_order],
            first_split=firsts(np.bincount(of_split, minlength=forest.n_trees)),
            first_twig=firsts(np.bincount(tree_of_twig, minlength=forest.n_trees)),
            n_bits=n_bits,
            first_state=first_state,
            leaf=moved_leaf[of_twigs].astype(np.int32),
            flip=self.flip[of_twigs],
            first_leaf=firsts(np.bincount(twig_of_leaf, minlength=n_twigs)),
            first_slot=firsts(np.bincount(leaf, minlength=len(of_twigs))),
            mask=self.mask[of_twigs[leaf], slot],
            place=place.astype(np.int32),
            feature=feature.astype(np.int32),
            output=output.astype(np.int32),
            first_feature=first_feature,
            first_output=first_output,
            target=target,
            first_target=first_target,
            first_number=firsts(np.diff(first_state) * np.diff(first_target)),
        )


def _ranked(
    twig: NDArray[np.intp], rank: NDArray[Any], number: NDArray[Any], n_twigs: int
) -> tuple[NDArray[np.intp], Firsts, NDArray[Any]]:
    """List the different numbers of each twig, by their ranks.

    Return the place of each among those of its twig, where each twig's begin, and the numbers.
    """
    most = int(rank.max(initial=0)) + 1
    key, found, place = np.unique(twig * most + rank, return_index=True, return_inverse=True)
    first = firsts(np.bincount(key // most, minlength=n_twigs))
    return place - first[twig], first, number[found]


def _targets(
    feature: NDArray[np.integer[Any]],
    first_feature: Firsts,
    output: NDArray[np.integer[Any]],
    first_output: Firsts,
    n_features: int,
) -> tuple[NDArray[np.int32], Firsts]:
    """Pair the outputs of each twig with its features: places among (n_outputs, n_features)."""
    n_of_twig = np.diff(first_feature)
    first = firsts(np.diff(first_output) * n_of_twig)
    twig = np.repeat(np.arange(len(n_of_twig)), np.diff(first))
    of_twig, one = np.divmod(np.arange(len(twig)) - first[twig], n_of_twig[twig])
    target = output[first_output[twig] + of_twig] * n_features + feature[first_feature[twig] + one]
    return target.astype(np.int32), first
