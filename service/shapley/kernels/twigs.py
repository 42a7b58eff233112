"""Parts of trees whose leaves are met together, and what they are asked, in numpy.

A *twig* is the part of a tree below one of its nodes, or a single leaf. All that it asks of a row
is the row's *state*, a whole number: one bit for each feature that the path to the twig tests,
whether the row breaks it, and then one for each split of the twig, whether the row goes left there.
Background rows of one state are alike to a twig. A twig with few states has a table of what each
feature takes from all its leaves, for every state of an explained row. A leaf with too many has no
table; it keeps the states of the background rows, which are patterns of broken features.

Next: :mod:`service.shapley.kernels.numpy_kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.kernels.shapley_weights import potential_weights
from service.shapley.kernels.splits import Splits

Firsts = NDArray[np.int64]


@dataclass(frozen=True)
class Twigs:
    """All trees of a model, divided into twigs; see above.

    Where something is listed twig by twig, ``first_…`` says where the part of each twig begins, and
    after the last one where all of them end.

    Attributes
    ----------
    below : ndarray of int, shape (n_splits, 2)
        Where a row goes on, to the left and to the right: a split, or −1 − twig.
    twig : ndarray of int, shape (n_splits,)
        The twig that a split belongs to; −1 above the twigs.
    bit : ndarray of int, shape (n_splits,)
        Above the twigs the bit of the split's feature in states, in a twig that of the split.
    first_split, first_twig : ndarray of int, shape (n_trees + 1,)
        Splits and twigs come one tree after another.
    n_bits : ndarray of int, shape (n_twigs,)
        Of a state.
    first_state : ndarray of int, shape (n_twigs + 1,)
        The states of the twigs that have a table.
    leaf, flip : ndarray of int, shape (n_leaves,)
        The leaves, and for each the bits of the twig's splits that lead to it by going left.
    first_leaf, first_slot : ndarray of int, shape (n_twigs + 1,) and (n_leaves + 1,)
    mask, place : ndarray of int, shape (n_slots,)
        For each leaf and feature of its path the bits of a state, flipped, of which one tells that
        the row breaks the feature; and the feature's place among those of the twig.
    feature, output : ndarray of int
        The features that a twig's leaves test, and the outputs that they have a value for.
    first_feature, first_output : ndarray of int, shape (n_twigs + 1,)
    target : ndarray of int
        Where the numbers that a twig gives, (n_outputs, n_features) of the twig, go among the
        values of a row.
    first_target, first_number : ndarray of int, shape (n_twigs + 1,)
        The twigs' targets, and their tables, (n_states, n_outputs, n_features) of the twig.
    """

    below: NDArray[np.int32]
    twig: NDArray[np.int32]
    bit: NDArray[np.int64]
    first_split: Firsts
    first_twig: Firsts
    n_bits: NDArray[np.int64]
    first_state: Firsts
    leaf: NDArray[np.int32]
    flip: NDArray[np.int64]
    first_leaf: Firsts
    first_slot: Firsts
    mask: NDArray[np.int64]
    place: NDArray[np.int32]
    feature: NDArray[np.int32]
    output: NDArray[np.int32]
    first_feature: Firsts
    first_output: Firsts
    target: NDArray[np.int32]
    first_target: Firsts
    first_number: Firsts

    @property
    def n_potential(self) -> int:
        """The largest number of features of a leaf."""
        return int(np.diff(self.first_slot).max())


@dataclass(frozen=True)
class Counts:
    """The weight of the background rows by state.

    Attributes
    ----------
    weight : ndarray of shape (n_states,)
        For the twigs with tables.
    first_pattern : ndarray of int, shape (n_twigs + 1,)
        For the others the states that there are.
    pattern : ndarray of int, shape (n_patterns,)
    pattern_weight : ndarray of shape (n_patterns,)
    """

    weight: NDArray[np.float64]
    first_pattern: Firsts
    pattern: NDArray[np.int64]
    pattern_weight: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CountedTrees:
    """All that Shapley values are computed of; it is compared and hashed by identity.

    Attributes
    ----------
    splits : Splits
    twigs : Twigs
    counts : Counts
        Of the background.
    numbers : ndarray of shape (n_numbers,)
        The tables of the twigs.
    n_features : int
    """

    splits: Splits
    twigs: Twigs
    counts: Counts
    numbers: NDArray[np.float64]
    n_features: int


def firsts(sizes: NDArray[np.integer[Any]]) -> Firsts:
    """Return where parts of these sizes begin, one after another, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def find_states(splits: Splits, twigs: Twigs, rows: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return the states of rows, (n_rows, n_columns), at all twigs: (n_twigs, n_rows)."""
    n_rows = len(rows)
    x = np.ascontiguousarray(rows.T)[splits.records["column"]]
    every = np.repeat(np.arange(len(splits.records)), n_rows)
    goes_left = splits.goes_left(every, x.ravel()).reshape(x.shape)
    here = np.zeros(x.shape, dtype=np.int64)
    states = np.zeros((len(twigs.n_bits), n_rows), dtype=np.int64)
    at = np.intersect1d(splits.roots, np.flatnonzero(twigs.twig < 0))
    while len(at):
        for side, breaks in enumerate([~goes_left[at], goes_left[at]]):
            below, state = twigs.below[at, side], here[at] | twigs.bit[at, None] * breaks
            states[-1 - below[below < 0]] = state[below < 0]
            here[below[below >= 0]] = state[below >= 0]
        at = twigs.below[at].ravel()
        at = at[at >= 0]
    within = np.flatnonzero(twigs.twig >= 0)
    np.add.at(states, twigs.twig[within], goes_left[within] * twigs.bit[within, None])
    return states


def merge_patterns(
    patterns: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float64]]:
    """Merge equal patterns of some leaves, (n_leaves, n_rows), and add up their weights.

    Return how many patterns each leaf has, (n_leaves,), the patterns and their weights.
    """
    order = np.argsort(patterns, axis=1, kind="stable")
    patterns = np.take_along_axis(patterns, order, axis=1)
    is_new = np.ones(patterns.shape, dtype=bool)
    is_new[:, 1:] = patterns[:, 1:] != patterns[:, :-1]
    weight = np.add.reduceat(weights[order].ravel(), np.flatnonzero(is_new))
    return is_new.sum(axis=1), patterns[is_new], weight


def tables(
    twigs: Twigs, value: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the tables of all twigs that have one, from the background's weight by state.

    A leaf's game has a potential P, of which every feature takes P(all) − P(all others), as in Hart
    and Mas-Colell, "Potential, value, and consistency" (1989).
    """
    numbers = np.zeros(twigs.first_number[-1])
    of_size = potential_weights(twigs.n_potential)
    for twig in np.flatnonzero(np.diff(twigs.first_number)):
        states = slice(*twigs.first_state[twig : twig + 2])
        outputs = twigs.output[slice(*twigs.first_output[twig : twig + 2])]
        n_features = np.diff(twigs.first_feature)[twig]
        table = numbers[slice(*twigs.first_number[twig : twig + 2])]
        table = table.reshape(-1, len(outputs), n_features)
        for i in range(*twigs.first_leaf[twig : twig + 2]):
            slots = slice(*twigs.first_slot[i : i + 2])
            gains = _gains(twigs.flip[i], twigs.mask[slots], weight[states], of_size)
            of_leaf = value[twigs.leaf[i], outputs]
            table[:, :, twigs.place[slots]] += of_leaf[:, None] * gains[:, None]
    return numbers


def _gains(
    flip: np.int64,
    mask: NDArray[np.int64],
    weight: NDArray[np.float64],
    of_size: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return what each feature takes from a leaf of value 1, (n_states, n_slots)."""
    bits = 1 << np.arange(len(mask))
    state = np.arange(len(weight)) ^ flip
    pattern = ((state[:, None] & mask) != 0) @ bits
    of_pattern = np.bincount(pattern, weight, 1 << len(mask)).astype(np.float64)
    whole, without = potentials(of_pattern, of_size)
    gains = whole[pattern, None] - without[pattern[:, None] | bits]
    # Of what some hybrid row reaches.
    return np.where(whole[pattern, None] > 0, gains, 0.0)


def potentials(
    weight: NDArray[np.float64], of_size: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the potential of a leaf's game, and that without a feature that the row breaks.

    Without a feature, the game is that of a row that breaks it and of background rows that keep it.
    So two numbers for each pattern of a row say what each of the features takes.

    Parameters
    ----------
    weight : ndarray of shape (2 ** n_slots,)
        The background rows' weight by pattern.
    of_size : ndarray
        See :func:`service.shapley.kernels.shapley_weights.potential_weights`.

    Returns
    -------
    whole, without : ndarray of shape (2 ** n_slots,)
    """
    size = np.bitwise_count(np.arange(len(weight)))
    whole, without = np.zeros((2, len(weight)))
    for n_broken in range(int(size[-1]) + 1):
        # The weight of the rows that break so many features, and none of those that the explained
        # row breaks.
        sums = np.where(size == n_broken, weight, 0.0)
        for bit in range(int(size[-1])):
            halves = sums.reshape(-1, 2, 1 << bit)
            halves[:, 1] += halves[:, 0]
        disjoint = sums[::-1]
        whole += of_size[n_broken, size] * disjoint
        without[1:] += of_size[n_broken, size[1:] - 1] * disjoint[1:]
    return whole, without


def table_values(
    twigs: Twigs,
    numbers: NDArray[np.float64],
    states: NDArray[np.int64],
    values: NDArray[np.float64],
) -> None:
    """Add what the tables give to rows of given states to their values, (n_rows, n)."""
    for twig in np.flatnonzero(np.diff(twigs.first_number)):
        target = twigs.target[slice(*twigs.first_target[twig : twig + 2])]
        table = numbers[slice(*twigs.first_number[twig : twig + 2])].reshape(-1, len(target))
        # No feature is twice among those of a twig.
        values[:, target] += table[states[twig]]


def pattern_values(
    splits: Splits,
    twigs: Twigs,
    counts: Counts,
    states: NDArray[np.int64],
    values: NDArray[np.float64],
) -> None:
    """Add what the leaves without a table give to rows of given states to their values."""
    weights = splits.weights
    for twig in np.flatnonzero(np.diff(twigs.first_state) == 0):
        part = slice(*counts.first_pattern[twig : twig + 2])
        pattern, weight = counts.pattern[part], counts.pattern_weight[part]
        outputs = twigs.output[slice(*twigs.first_output[twig : twig + 2])]
        value = splits.value[twigs.leaf[twigs.first_leaf[twig]], outputs]
        bits = 1 << np.arange(twigs.n_bits[twig])
        u, is_broken = np.bitwise_count(pattern), (pattern[:, None] & bits) != 0
        target = twigs.target[slice(*twigs.first_target[twig : twig + 2])]
        for row, by_row in enumerate(states[twig]):
            possible = weight * ((pattern & by_row) == 0)
            v = np.bitwise_count(by_row)
            taken = (possible * weights[u, v]) @ is_broken
            taken -= np.where(by_row & bits, possible @ weights[v, u], 0.0)
            values[row, target] += np.outer(value, taken).ravel()
