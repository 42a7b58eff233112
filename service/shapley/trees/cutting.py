"""How trees are cut, so that what is left of them fits into tables, and what that leaves over.

A forest is the sum of its trees cut somewhere, with the mean of what lies below in place of each
cut, and of the same trees with what each leaf is off that mean. The first part is exact on all
examples (:mod:`service.shapley.trees.patterns`) and holds most of what importances differ by from
one background row to another; only the second one is sampled
(:mod:`service.shapley.trees.sampled`).

Next: :mod:`service.shapley.trees.sampled`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.kernels.walks import MOST_BITS
from service.shapley.trees.forest import Forest, Level

Floats = NDArray[np.float64]

MOST_NUMBERS = 8_000_000  # in the tables of the leaves of cut trees, before leaves share one
# Leaves of cut trees times rows that they meet while the game is built: some 4 ns each.
MOST_MET = 120_000_000
ALMOST_NONE = 1e-6  # of an example: what a leaf counts for that none reaches


@dataclass(frozen=True)
class CutForest:
    """A forest as a sum of two.

    Attributes
    ----------
    above : Forest
        The trees down to where they are cut.
    rest : Forest
        The same trees as they were, with what is left over of each leaf.
    """

    above: Forest
    rest: Forest


def cut(
    forest: Forest, counts: NDArray[np.integer[Any]], most_leaves: int, most_numbers: int
) -> CutForest:
    """Cut trees where examples that come together differ least for what a table would cost.

    Parameters
    ----------
    forest : Forest
    counts : ndarray of int, shape (n_leaves,)
        How many examples reach each leaf.
    most_leaves, most_numbers : int
        Of the cut trees, and of the tables of all leaves of them; at least the roots are left.
    """
    means, spreads = _below(forest, counts.astype(np.float64) + ALMOST_NONE)
    told, prices = _priced(forest, spreads)
    least = _least(told, prices, max(0, most_leaves - forest.n_trees), most_numbers)
    is_split = []
    for level, of_level in zip(forest.levels, told, strict=True):
        of_nodes = np.zeros(len(level.leaves) + len(level.inner), dtype=bool)
        of_nodes[level.inner] = of_level > least
        is_split.append(of_nodes)
    return CutForest(_above(forest, means, is_split), _rest(forest, means, is_split))


def _below(forest: Forest, weight: Floats) -> tuple[list[Floats], list[Floats]]:
    """Return of each level's nodes the mean of the leaves below, and the sum of squares about it.

    They have shape (n_nodes, n_outputs) and (n_nodes,).
    """
    value, n_leaves = forest.value, len(forest.value)
    total, mean, spread = np.zeros(0), np.zeros((0, value.shape[1])), np.zeros(0)
    means, spreads = [], []
    for level in reversed(forest.levels):
        of_level = slice(n_leaves - len(level.leaves), n_leaves)
        n_leaves = of_level.start
        sides, side_means = total.reshape(2, -1), mean.reshape(2, -1, value.shape[1])
        both = sides.sum(axis=0)
        apart = np.square(side_means[0] - side_means[1]).sum(axis=1) * sides.prod(axis=0) / both
        together = (sides[..., None] * side_means).sum(axis=0) / both[:, None]
        spread = _of_nodes(
            level, np.zeros(len(level.leaves)), spread.reshape(2, -1).sum(axis=0) + apart
        )
        total = _of_nodes(level, weight[of_level], both)
        mean = _of_nodes(level, value[of_level], together)
        means.append(mean)
        spreads.append(spread)
    return means[::-1], spreads[::-1]


def _of_nodes(level: Level, of_leaves: Floats, of_inner: Floats) -> Floats:
    """Put what leaves and other nodes of a level have in the order of its nodes."""
    joined = np.zeros((len(level.leaves) + len(level.inner), *of_leaves.shape[1:]))
    joined[level.leaves], joined[level.inner] = of_leaves, of_inner
    return joined


def _priced(forest: Forest, spreads: list[Floats]) -> tuple[list[Floats], list[Floats]]:
    """Return what each split of a level tells for what it costs, and by what the tables grow.

    A split tells no more for it than the one above: nothing differs more, and no table is smaller.
    """
    n_slots, bound = np.zeros(forest.n_trees, dtype=np.int64), np.full(forest.n_trees, np.inf)
    told, prices = [], []
    for level, spread in zip(forest.levels, spreads, strict=True):
        above = n_slots[level.inner]
        after = np.maximum(above, level.slot + 1)
        size = _table_size(after)
        here = np.minimum(bound[level.inner], spread[level.inner] / size)
        told.append(here)
        prices.append(2 * size - _table_size(above))
        n_slots, bound = np.tile(after, 2), np.tile(here, 2)
    return told, prices


def _table_size(n_slots: NDArray[np.int64]) -> Floats:
    """Return how many numbers the table of a leaf has."""
    return n_slots.astype(np.float64) * np.exp2(np.minimum(n_slots, MOST_BITS), dtype=np.float64)


def _least(told: list[Floats], prices: list[Floats], most_splits: int, most_numbers: int) -> float:
    """Return what a split has to tell more than, so that all that do are not too many."""
    every = np.concatenate(told)
    order = np.argsort(-every, kind="stable")
    paid = np.cumsum(np.concatenate(prices)[order])
    n_splits = min(most_splits, int(np.searchsorted(paid, most_numbers, side="right")))
    return float(every[order[n_splits]]) if n_splits < len(order) else 0.0


def _above(forest: Forest, means: list[Floats], is_split: list[NDArray[np.bool_]]) -> Forest:
    """Return the trees down to the nodes that are not split."""
    here = np.arange(forest.n_trees)  # the nodes of each level that are left
    levels: list[Level] = []
    values, splits = [], []
    n_splits = 0
    for level, mean, of_nodes in zip(forest.levels, means, is_split, strict=True):
        inner, leaves = np.flatnonzero(of_nodes[here]), np.flatnonzero(~of_nodes[here])
        place = np.searchsorted(level.inner, here[inner])
        of_level = slice(n_splits, n_splits + len(inner))
        n_splits = of_level.stop
        levels.append(Level(leaves, inner, of_level, level.slot[place]))
        values.append(mean[here[leaves]])
        splits.append(level.splits.start + place)
        here = np.concatenate([place, len(level.inner) + place])
        if len(here) == 0:
            break
    chosen = np.concatenate(splits)
    return Forest(
        column=forest.column[chosen],
        feature=forest.feature[chosen],
        threshold=forest.threshold[chosen],
        missing_left=forest.missing_left[chosen],
        categorical=np.flatnonzero(np.isin(chosen, forest.categorical)),
        code_goes_left=forest.code_goes_left[np.isin(forest.categorical, chosen)],
        n_trees=forest.n_trees,
        levels=levels,
        value=np.concatenate(values),
    )


def _rest(forest: Forest, means: list[Floats], is_split: list[NDArray[np.bool_]]) -> Forest:
    """Return the same trees with what each leaf is off the mean where its tree is cut."""
    is_above, mean_there = np.ones(forest.n_trees, dtype=bool), means[0]
    of_leaves = []
    for level, mean, of_nodes in zip(forest.levels, means, is_split, strict=True):
        mean_there = np.where(is_above[:, None], mean, mean_there)
        of_leaves.append(mean_there[level.leaves])
        is_above = np.tile((is_above & of_nodes)[level.inner], 2)
        mean_there = np.tile(mean_there[level.inner], (2, 1))
    return forest.with_values(forest.value - np.concatenate(of_leaves))
