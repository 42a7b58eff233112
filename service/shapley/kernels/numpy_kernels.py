"""The hot loops in numpy: the specification, and what runs where no compiler was.

Next: :mod:`service.shapley.kernels.compiled_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.kernels.distances import Distances
from service.shapley.kernels.nearest import Hybrids, NearestPoints
from service.shapley.kernels.quadrature import unit_interval
from service.shapley.kernels.regression import (
    Combination,
    Design,
    DrawControls,
    Numbers,
    error_products,
    solve_combined,
)
from service.shapley.kernels.splits import Splits, reached_leaves
from service.shapley.kernels.twigs import (
    CountedTrees,
    Counts,
    Twigs,
    find_states,
    firsts,
    merge_patterns,
    pattern_values,
    table_values,
    tables,
)
from service.shapley.kernels.walks import add_up, walk_down
from service.shapley.kernels.waves import Angles, wave_sums, wave_values
from service.shapley.kernels.words import Words, unpack_words

if TYPE_CHECKING:
    from service.shapley.background_tables import Table
    from service.shapley.trees.forest import Forest  # whose package uses these loops

Precision = type[np.float64] | type[np.float32]
LogFactors = Callable[[NDArray[Any]], NDArray[np.float64]]

NEGLIGIBLE = 1e-14  # of the largest possible margin, all left-out terms together
SIDES_CHUNK = 2**16  # kernels of coalitions evaluated at once: what stays in the processor's cache
ROWS_CHUNK = 2**18  # numbers per array while terms are chosen
WALKS_AT_ONCE = 2**13  # pairs of a tree and a background row: each takes some hundred steps
STATES_AT_ONCE = 2_000_000  # of background rows, while they are counted
WORDS_AT_ONCE = 8  # of hybrid rows that go down the trees together
ALL, NONE = np.uint64(2**64 - 1), np.uint64(0)
TERMS_CHUNK = 2**15  # numbers per array in the inner loop: what stays in the processor's cache


class NumpyKernels:
    """The hot loops, each a pure function on arrays.

    Attributes
    ----------
    name : str
        "numpy", or "compiled" with the level of instructions.
    uses_blas : bool
        Whether the loop over twigs multiplies matrices.
    """

    name = "numpy"
    uses_blas = True

    @property
    def sentence(self) -> str:
        """Say what computes, for who installs or looks after it."""
        return (
            "The kernels were not compiled: importances are computed in numpy, several times "
            "slower. Install g++ and run `make setup` again."
        )

    def product_values(
        self,
        distances: Distances,
        dual: NDArray[np.float64],
        row: NDArray[Any],
        background: Background,
        negligible: float = NEGLIGIBLE,
        *,
        precision: Precision = np.float64,
    ) -> NDArray[np.float64]:
        """Compute exact Shapley values of the margins of a kernel machine with a product kernel.

        Parameters
        ----------
        distances : Distances
        dual : ndarray of shape (n_margins, n_support)
        row : ndarray of shape (n_columns,)
        background : Background
        negligible : float, default 1e-14
            What may be left out, of the largest possible margin.
        precision : numpy.float64 or numpy.float32
            In what a form that is faster so may integrate; this one does not ask.

        Returns
        -------
        ndarray of shape (n_margins, n_features)
        """
        return integrate_products(distances, dual, row, background, negligible)

    def hybrid_margins(
        self, inside: NDArray[np.bool_], at_row: Numbers, table: Table, dual: Numbers
    ) -> NDArray[np.float64]:
        """Evaluate the margins of hybrid rows, without intercepts.

        Parameters
        ----------
        inside : ndarray of bool, shape (n_pairs, n_features)
            Which features are the explained row's.
        at_row : ndarray of shape (n_features, n_support)
            The logarithms of its factors of the kernel with each support vector; ≤ 0.
        table : Table
            What the background rows contribute to the kernels, in the precision of all.
        dual : ndarray of shape (n_margins, n_support)

        Returns
        -------
        ndarray of shape (n_pairs, n_draws, n_margins)
            Where something is compiled, a row's part of a kernel that is below 1e-16, and 1e-8 in
            single precision, is left out.
        """
        return add_kernels(inside, at_row, table.numbers, dual)

    def hybrid_leaf_sums(
        self, forest: Forest, at_row: NDArray[np.bool_], at_background: Words, inside: Words
    ) -> NDArray[np.float64]:
        """Add up the leaves that hybrid rows reach, one of each tree.

        Parameters
        ----------
        forest : Forest
        at_row : ndarray of bool, shape (n_splits,)
            Where the explained row goes left.
        at_background : Words of shape (n_splits, n_words)
            Where each hybrid row's background row does.
        inside : Words of shape (n_features, n_words)
            Where a feature is the explained row's.

        Returns
        -------
        ndarray of shape (64 · n_words, n_outputs)
        """
        sums = np.empty((64 * at_background.shape[1], forest.value.shape[1]))
        takes = np.where(at_row[:, None], ALL, NONE)
        for word in range(0, at_background.shape[1], WORDS_AT_ONCE):
            part = slice(word, word + WORDS_AT_ONCE)
            of_row = inside[forest.feature, part]
            goes_left = (of_row & takes) | (~of_row & at_background[:, part])
            here = np.full((forest.n_trees, goes_left.shape[1]), ALL)
            at_leaves = []
            for level in forest.levels:
                at_leaves.append(here[level.leaves])
                above, left = here[level.inner], goes_left[level.splits]
                here = np.concatenate([above & left, above & ~left])
            reached = unpack_words(np.concatenate(at_leaves))  # (n_leaves, 64 · n_words)
            sums[64 * word : 64 * (word + WORDS_AT_ONCE)] = reached.T @ forest.value
        return sums

    def alike_leaf_sums(
        self,
        forest: Forest,
        at_row: NDArray[np.bool_],
        at_background: NDArray[np.bool_],
        met: NDArray[np.intp],
        inside: Words,
    ) -> NDArray[np.float64]:
        """Add up the leaves that hybrid rows reach, where those of a word meet one background row.

        Parameters
        ----------
        forest : Forest
        at_row : ndarray of bool, shape (n_splits,)
            Where the explained row goes left.
        at_background : ndarray of bool, shape (n_background, n_splits)
            Where each background row does.
        met : ndarray of int, shape (n_words,)
            The background row of each word.
        inside : Words of shape (n_features, n_words)
            Where a feature is the explained row's.

        Returns
        -------
        ndarray of shape (64 · n_words, n_outputs)
        """
        by_word = np.where(at_background[met].T, ALL, NONE)
        return self.hybrid_leaf_sums(forest, at_row, by_word, inside)

    def error_products(
        self,
        design: Design,
        drawn: DrawControls,
        differences: Numbers,
        totals: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Multiply the errors of differences with each other, and with those of controls.

        Parameters
        ----------
        design : Design
        drawn : DrawControls
        differences : ndarray of shape (n_pairs, n_draws, n)
            v(S) − v(complement) of several games; in the design's precision.
        totals : ndarray of shape (n,)
            v(N) − v(∅).

        Returns
        -------
        squares : ndarray of shape (n, n)
            Their sums over all errors of pairs and of draws.
        explained : ndarray of shape (n_controls, n)
            How much of each control of the draws is in the errors.
        """
        return error_products(design, drawn, differences, totals)

    def solve_combined(
        self,
        design: Design,
        drawn: DrawControls,
        differences: Numbers,
        totals: NDArray[np.float64],
        combination: Combination,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Solve for combinations of differences, and estimate the variances of what is solved.

        Parameters
        ----------
        design, drawn, differences, totals
            As in :meth:`error_products`.
        combination : Combination

        Returns
        -------
        solved, variances : ndarray of shape (n_players, n_outputs)
            A pair's difference varies by its residual, as far as others of its size were not drawn,
            and by the spread over its draws.
        """
        return solve_combined(design, drawn, differences, totals, combination)

    def wave_values(self, angles: Angles, n_waves: int, degree: int) -> NDArray[np.float64]:
        """Compute Shapley values of the mean of cosines of multiples of additive games.

        Parameters
        ----------
        angles : Angles
        n_waves : int
            The multiples are 1, 2, … so many.
        degree : int
            For which the integral is exact; it is a polynomial of degree n_players − 1.

        Returns
        -------
        ndarray of shape (n_waves, n_players)
        """
        return wave_values(angles, n_waves, degree)

    def wave_differences(
        self,
        angles: Angles,
        waves: NDArray[np.float64],
        members: NDArray[np.bool_],
        draws: NDArray[np.intp] | None,
    ) -> NDArray[np.float64]:
        """Evaluate sums of cosines of additive games, the complement's taken from a coalition's.

        Parameters
        ----------
        angles : Angles
        waves : ndarray of shape (n_waves, n_curves)
        members : ndarray of bool, shape (n_pairs, n_players)
        draws : ndarray of int, shape (n_pairs, n_draws), or None
            The games that each pair meets; None for all.

        Returns
        -------
        ndarray of shape (n_pairs, n_draws or n_background, n_curves)
        """
        added = members @ angles.parts.T  # (n_pairs, n_background)
        start, total = angles.start, angles.parts.sum(axis=1)
        if draws is not None:
            added = np.take_along_axis(added, draws, axis=1)
            start, total = start[draws], total[draws]
        return wave_sums(start + added, waves) - wave_sums(start + total - added, waves)

    def path_values(
        self,
        splits: Splits,
        row: NDArray[np.floating[Any]],
        rows: NDArray[np.floating[Any]],
        n_features: int,
    ) -> NDArray[np.float64]:
        """Compute exact Shapley values of a sum of trees against each of some background rows.

        Parameters
        ----------
        splits : Splits
        row : ndarray of shape (n_columns,)
        rows : ndarray of shape (n_rows, n_columns)
        n_features : int

        Returns
        -------
        ndarray of shape (n_rows, n_outputs, n_features)
        """
        at_once = max(1, WALKS_AT_ONCE // len(splits.roots))
        parts = []
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            parts.append(add_up(splits, walk_down(splits, row, some), len(some), n_features))
        return np.concatenate(parts)

    def leaf_sums(self, splits: Splits, rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Add up the leaves that rows reach, one of each tree.

        Parameters
        ----------
        splits : Splits
        rows : ndarray of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, n_outputs)
        """
        sums = np.zeros((len(rows), splits.value.shape[1]))
        at_once = max(1, WALKS_AT_ONCE // len(splits.roots))
        for start in range(0, len(rows), at_once):
            leaf = reached_leaves(splits, rows[start : start + at_once])
            for output, value in enumerate(splits.value.T):
                sums[start : start + at_once, output] = value[leaf].sum(axis=1)
        return sums

    def count_leaves(self, splits: Splits, rows: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Count for each leaf the rows that reach it.

        Parameters
        ----------
        splits : Splits
        rows : ndarray of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of int, shape (n_leaves,)
        """
        counts = np.zeros(len(splits.value), dtype=np.int64)
        at_once = max(1, WALKS_AT_ONCE // len(splits.roots))
        for start in range(0, len(rows), at_once):
            leaf = reached_leaves(splits, rows[start : start + at_once])
            counts += np.bincount(leaf.ravel(), minlength=len(counts))
        return counts

    def count_states(
        self,
        splits: Splits,
        twigs: Twigs,
        rows: NDArray[np.floating[Any]],
        weights: NDArray[np.float64],
    ) -> Counts:
        """Add up the weights of background rows by their states at twigs.

        Parameters
        ----------
        splits : Splits
        twigs : Twigs
        rows : ndarray of shape (n_rows, n_columns)
        weights : ndarray of shape (n_rows,)

        Returns
        -------
        Counts
        """
        has_table = np.diff(twigs.first_state) > 0
        weight = np.zeros(twigs.first_state[-1])
        patterns = []
        at_once = max(1, STATES_AT_ONCE // max(len(twigs.bit), len(has_table)))
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            states = find_states(splits, twigs, rows[part])
            place = twigs.first_state[:-1][has_table, None] + states[has_table]
            of_rows = np.tile(weights[part], len(place))
            weight += np.bincount(place.ravel(), of_rows, minlength=len(weight))
            patterns.append(states[~has_table])
        n_patterns = np.zeros(len(has_table), dtype=np.int64)
        merged = merge_patterns(np.concatenate(patterns, axis=1), weights)
        n_patterns[~has_table] = merged[0]
        return Counts(weight, firsts(n_patterns), *merged[1:])

    def tabulate(
        self, twigs: Twigs, value: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Make the tables of what features take, of all twigs that have one.

        Parameters
        ----------
        twigs : Twigs
        value : ndarray of shape (n_leaves, n_outputs)
        weight : ndarray of shape (n_states,)
            The background's, as in :class:`Counts`.

        Returns
        -------
        ndarray of shape (n_numbers,)
        """
        return tables(twigs, value, weight)

    def twig_values(
        self, trees: CountedTrees, rows: NDArray[np.floating[Any]]
    ) -> NDArray[np.float64]:
        """Compute exact Shapley values of a sum of trees on a background that was counted.

        Parameters
        ----------
        trees : CountedTrees
        rows : ndarray of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, n_outputs, n_features)
        """
        shape = len(rows), trees.splits.value.shape[1], trees.n_features
        values = np.zeros(shape).reshape(len(rows), shape[1] * shape[2])
        states = find_states(trees.splits, trees.twigs, rows)
        table_values(trees.twigs, trees.numbers, states, values)
        pattern_values(trees.splits, trees.twigs, trees.counts, states, values)
        return values.reshape(shape)

    def hybrid_means(
        self, points: NearestPoints, grouping: Grouping, hybrids: Hybrids
    ) -> NDArray[np.float64]:
        """Average the targets of the nearest points of hybrid rows.

        Parameters
        ----------
        points : NearestPoints
        grouping : Grouping
        hybrids : Hybrids

        Returns
        -------
        ndarray of shape (n_hybrids, n_outputs)
        """
        at_row = grouping.add_up(points.parts(hybrids.row[None]))[0]  # (n_features, n_points)
        means = []
        for start in range(0, len(hybrids.drawn), points.rows_at_once):
            part = slice(start, start + points.rows_at_once)
            elsewhere = grouping.add_up(points.parts(hybrids.rows[hybrids.drawn[part]]))
            parts = np.where(hybrids.inside[part, :, None], at_row, elsewhere)
            means.append(points.means(parts.sum(axis=1)))
        return np.concatenate(means)

    def logistic(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn margins of two classes into probabilities of the second, 1 / (1 + exp(−margin)).

        Parameters
        ----------
        margins : ndarray of any shape

        Returns
        -------
        ndarray of the same shape
        """
        probabilities: NDArray[np.float64] = expit(margins)
        return probabilities

    def couple_probabilities(
        self, first: NDArray[np.float64], n_classes: int
    ) -> NDArray[np.float64]:
        """Couple probabilities of pairs of classes into distributions, as libsvm does.

        The coupling is method 2 of Wu, Lin and Weng, "Probability Estimates for Multi-class
        Classification by Pairwise Coupling" (2004), iterated until the error is below 0.005 /
        n_classes.

        Parameters
        ----------
        first : ndarray of shape (n, n_pairs)
            The probability of the first class of each pair (0, 1), (0, 2), …, (1, 2), … where it is
            one of the two.
        n_classes : int

        Returns
        -------
        ndarray of shape (n, n_classes)
        """
        pairwise = np.zeros((len(first), n_classes, n_classes))
        upper = np.triu_indices(n_classes, 1)
        pairwise[:, upper[0], upper[1]] = first
        pairwise[:, upper[1], upper[0]] = 1 - first
        return _coupled(pairwise)


def add_kernels(
    inside: NDArray[np.bool_], at_row: Numbers, at_background: Numbers, dual: Numbers
) -> NDArray[np.float64]:
    """Add up kernels that are the product of a row's part and a background row's.

    Parameters
    ----------
    inside : ndarray of bool, shape (n_pairs, n_features)
    at_row : ndarray of shape (n_features, n_support)
    at_background : ndarray of shape (n_pairs, n_draws, n_support)
    dual : ndarray of shape (n_margins, n_support)

    Returns
    -------
    ndarray of shape (n_pairs, n_draws, n_margins)
    """
    step = max(1, SIDES_CHUNK // max(1, dual.size))
    parts = []
    for start in range(0, len(inside), step):
        part = slice(start, start + step)
        kernels = np.exp(inside[part].astype(at_row.dtype) @ at_row)
        parts.append(np.matmul(at_background[part], kernels[:, :, None] * dual.T))
    return np.concatenate(parts, dtype=np.float64)


def integrate_products(
    log_factors: LogFactors,
    dual: NDArray[np.float64],
    row: NDArray[Any],
    background: Background,
    negligible: float = NEGLIGIBLE,
) -> NDArray[np.float64]:
    """Sum Owen's integral over all terms; see :mod:`service.shapley.products`.

    Parameters
    ----------
    log_factors : callable
        Takes rows (n_rows, n_columns), returns log k_j(x_j, s_j), shape (n_rows, n_features,
        n_support).
    dual : ndarray of shape (n_margins, n_support)
    row : ndarray of shape (n_columns,)
    background : Background
    negligible : float, default 1e-14
        What may be left out, of the largest possible margin.

    Returns
    -------
    ndarray of shape (n_margins, n_features)
    """
    at_row = log_factors(row[None])[0]  # (n_features, n_support)
    values = np.zeros((len(dual), len(at_row)))
    rows_at_once = max(1, ROWS_CHUNK // max(1, at_row.size))
    for start in range(0, len(background.rows), rows_at_once):
        part = slice(start, start + rows_at_once)
        at_background = log_factors(background.rows[part])  # (n_rows, n_features, n_support)
        weights = background.weights[part]
        values += _integrate(dual, at_row, at_background, weights, negligible)
    return values


def _integrate(
    dual: NDArray[np.float64],
    at_row: NDArray[np.float64],
    at_background: NDArray[np.float64],
    weights: NDArray[np.float64],
    negligible: float,
) -> NDArray[np.float64]:
    """Sum the integral over the terms that matter; shape (n_margins, n_features).

    A term is a background row with a support vector.
    """
    largest = np.maximum(at_row, at_background)  # (n_rows, n_features, n_support)
    bound = np.exp(largest.sum(axis=1)) * weights[:, None]  # (n_rows, n_support)
    size = np.abs(dual).max(axis=0)
    which, support = np.nonzero(bound * size > negligible * size.sum() / max(1, bound.size))
    values = np.zeros((len(dual), len(at_row)))
    step = max(1, TERMS_CHUNK // len(at_row))
    for start in range(0, len(which), step):
        term = which[start : start + step], support[start : start + step]
        # One of p and q is 1, the other exp(−|difference of the logarithms|).
        ratio = at_row[:, term[1]] - at_background[term[0], :, term[1]].T  # (n_features, n_terms)
        p, q = np.exp(np.minimum(ratio, 0)), np.exp(np.minimum(-ratio, 0))
        values += (dual[:, term[1]] * bound[term]) @ _product_values(p, q).T
    return values


def _product_values(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integrate (p_j − q_j) Π_{l≠j} (t·p_l + (1−t)·q_l) over t, for each term.

    The result has shape (n_features, n_terms).

    The larger of p_j and q_j is 1, so no factor is 0 inside (0, 1) and the product can be divided
    by each of them.
    """
    slope = p - q
    values, factors = np.zeros_like(p), np.empty_like(p)
    for t, weight in unit_interval(len(p) - 1):
        np.multiply(slope, t, out=factors)
        factors += q
        product = weight * factors.prod(axis=0)
        values += np.divide(product, factors, out=factors)
    return values * slope


def _coupled(pairwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find the distributions p that minimise Σ (r_ji p_i − r_ij p_j)², as far as libsvm goes.

    Parameters
    ----------
    pairwise : ndarray of shape (n, n_classes, n_classes)
        r_ij, the probability of class i where it is i or j; zeros on the diagonal.
    """
    n_classes = pairwise.shape[1]
    swapped = pairwise.transpose(0, 2, 1)
    form = -swapped * pairwise
    form[:, range(n_classes), range(n_classes)] = np.square(swapped).sum(axis=2)
    probabilities = np.full((len(pairwise), n_classes), 1 / n_classes)
    going = np.arange(len(pairwise))
    for _ in range(max(100, n_classes)):
        gradient = (form[going] * probabilities[going, None]).sum(axis=2)
        value = (probabilities[going] * gradient).sum(axis=1)
        still = np.abs(gradient - value[:, None]).max(axis=1) >= 0.005 / n_classes
        going = going[still]
        if not len(going):
            break
        probabilities[going] = _one_round(
            form[going], probabilities[going], gradient[still], value[still]
        )
    return probabilities


def _one_round(
    form: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    gradient: NDArray[np.float64],
    value: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Adjust each probability in turn to its optimum given the others, and rescale.

    Overwrites its arguments.
    """
    for t in range(probabilities.shape[1]):
        step = (value - gradient[:, t]) / form[:, t, t]
        total = 1 + step
        value = (value + step * (step * form[:, t, t] + 2 * gradient[:, t])) / total / total
        probabilities[:, t] += step
        probabilities /= total[:, None]
        gradient = (gradient + step[:, None] * form[:, t]) / total[:, None]
    return probabilities
