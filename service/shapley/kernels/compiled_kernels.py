"""The hot loops in C++, in a library that knows nothing of Python.

``native/build.py`` makes it; it is looked for beside this module. A call goes through ctypes, which
lets other threads run meanwhile. Each loop is in the library once for each level of instructions,
and the highest level that the processor has is called. Next:
:mod:`service.shapley.additive`.
"""

from __future__ import annotations

import ctypes
import fnmatch
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import DTypeLike, NDArray

from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.kernels.distances import Distances
from service.shapley.kernels.nearest import Hybrids, NearestPoints
from service.shapley.kernels.numpy_kernels import NEGLIGIBLE, NumpyKernels, Precision
from service.shapley.kernels.quadrature import unit_interval
from service.shapley.kernels.regression import Combination, Design, DrawControls, Numbers
from service.shapley.kernels.shapley_weights import potential_weights
from service.shapley.kernels.splits import SPLIT, Splits
from service.shapley.kernels.twigs import CountedTrees, Counts, Twigs, firsts
from service.shapley.kernels.waves import Angles
from service.shapley.kernels.words import Words

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from service.shapley.background_tables import Table
    from service.shapley.trees.forest import Forest  # whose package uses these loops

HERE = files("service.shapley.kernels")  # a folder, or a place in a zip file
LIBRARY = "compiled*.so"
LEVELS = ("base", "avx2", "avx512")
WIDEST = 8  # numbers of double precision in a register of any level
FEW = 24  # nodes up to which there is a rule for every number of them
# Where an array lies: no byte is asked for, so that arrays without numbers have a place too.
_place_of: Callable[[Any], Any] = (ctypes.c_char * 0).from_buffer
# What a split does to states; see native/twigs.cpp.
WAY = np.dtype([("at", np.int32), ("children", np.int32, 2), ("bit", np.int32)])
TABLE = np.dtype([("first_number", np.int64), ("first_target", np.int32), ("width", np.int32)])
# Those that say where rows go in trees that are divided into twigs.
WHERE = (SPLIT, WAY, np.uint8, np.int64, np.int64)
# Those that stand behind the first of twig_values; see Known in native/twigs.cpp.
KNOWN_TREES: tuple[DTypeLike, ...] = (
    *(*WHERE, np.float64, np.int32, TABLE, np.float64, np.int32),
    *(np.int64, np.int32, np.int64, np.int32, np.float64, np.float64),
    *(np.int64, np.int64, np.float64),
)
# The arrays that each loop takes, in the order of its declaration in native/.
DTYPES: dict[str, tuple[DTypeLike, ...]] = {
    "product_values": (
        *(np.float64, np.float64, np.float64, np.float64, np.int64, np.int64, np.float64),
        *(np.float64, np.int64, np.float64, np.float64, np.float64),
    ),
    "margins_single": (np.uint8, np.float32, np.float32, np.int32, np.float32, np.float64),
    "margins_double": (np.uint8, np.float64, np.float64, np.int32, np.float64, np.float64),
    "hybrid_leaf_sums": (
        *(np.int32, np.int32, np.int32, np.int32, np.float64, np.uint8),
        *(np.uint64, np.uint64, np.float64),
    ),
    "alike_leaf_sums": (
        *(np.int32, np.int32, np.int32, np.int32, np.float64, np.uint8, np.uint8),
        *(np.int64, np.uint64, np.float64),
    ),
    "error_products_double": (*(np.float64,) * 4, np.int64, *(np.float64,) * 8),
    "error_products_single": (
        *(np.float32, np.float32, np.float64, np.float32, np.int64, np.float32),
        *(*(np.float32,) * 4, *(np.float64,) * 3),
    ),
    "solve_combined_double": (np.float64,) * 13,
    "solve_combined_single": (
        *(np.float32, np.float64, np.float64, *(np.float32,) * 5, *(np.float64,) * 5),
    ),
    "wave_values": (np.float64,) * 6,
    "wave_differences": (np.float64, np.float64, np.float64, np.uint8, np.int64, np.float64),
    "path_values": (
        *(SPLIT, np.int32, np.float64, np.int32, np.float64, np.uint8),
        *(np.float64, np.float64, np.float64),
    ),
    "count_leaves": (SPLIT, np.int32, np.uint8, np.float64, np.int64),
    "leaf_sums": (SPLIT, np.int32, np.float64, np.uint8, np.float64, np.float64),
    "count_states": (
        *WHERE,
        *(np.float64, np.float64, np.int64, np.int64, np.float64, np.int64, np.int64, np.float64),
    ),
    "tabulate": (
        *(np.int64, np.int64, np.int64, np.int64, np.int64, np.int32, np.int32, np.float64),
        *(np.float64, np.int64, np.int32, np.int64, np.float64, np.int64, np.float64),
    ),
    "logistic": (np.float64, np.float64),
    "twig_values": (np.int64, np.float64, np.float64),
    "couple_probabilities": (np.float64, np.float64),
    "hybrid_means": (
        *(np.float64, np.float64, np.int64, np.float64, np.float64, np.float64),
        *(np.int64, np.uint8, np.float64),
    ),
}


class CompiledKernels(NumpyKernels):
    """The loops that the library has; the others are numpy's.

    Parameters
    ----------
    library : ctypes.CDLL
    level : int
        Of instructions: 0 runs on every processor of the architecture, 1 needs AVX2, 2 AVX-512.

    Raises
    ------
    ValueError
        When the processor does not have the level.
    """

    uses_blas = False

    def __init__(self, library: ctypes.CDLL, level: int) -> None:
        highest = library.highest_level()
        if not 0 <= level <= highest:
            raise ValueError(f"level: expected 0 to {highest} on this processor, got {level}.")
        self.library = library
        self.level = LEVELS[level]
        self.name = f"compiled ({self.level})"
        self.functions: dict[str, Callable[..., None]] = {}
        for name in DTYPES:
            self.functions[name] = getattr(library, f"{name}_{self.level}")
        self.known_trees: WeakKeyDictionary[CountedTrees, _KnownTrees] = WeakKeyDictionary()

    @property
    def sentence(self) -> str:
        """Say what computes, for who installs or looks after it."""
        return f"The kernels are compiled, and run at level {self.level}."

    @classmethod
    def load(cls, folder: Traversable = HERE) -> CompiledKernels | None:
        """Load the library in a folder at the processor's highest level; None without one.

        Out of a zip file, from which the package may be imported, it is copied for this long.
        """
        there = {file.name: file for file in folder.iterdir()}
        for name in sorted(fnmatch.filter(there, LIBRARY)):
            try:
                with as_file(there[name]) as path:
                    library = ctypes.CDLL(str(path))
            except OSError:  # made for another machine
                continue
            return cls(library, library.highest_level())
        return None

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
        """Compute exact Shapley values of the margins; see :class:`NumpyKernels`."""
        grouping = distances.grouping
        order = np.argsort(grouping.owner, kind="stable")
        starts = np.searchsorted(grouping.owner[order], np.arange(grouping.n_features + 1))
        values = np.zeros((len(dual), grouping.n_features))
        n_terms = max(1, len(background.rows) * dual.shape[1])
        least = negligible * float(np.abs(dual).max(axis=0).sum()) / n_terms
        rules = _rules((grouping.n_features - 1) // 2 + 1)
        for which, scale in distances.of_one_rate():
            self._call(
                "product_values",
                row,
                background.rows,
                background.weights,
                distances.support[which],
                order,
                starts,
                scale,
                dual[:, which],
                *rules,
                values,
                least,
                int(precision is np.float32),
                distances.power,
                len(rules[0]),
                len(background.rows),
                len(order),
                grouping.n_features,
                len(distances.support[which]),
                len(dual),
            )
        return values

    def hybrid_margins(
        self, inside: NDArray[np.bool_], at_row: Numbers, table: Table, dual: Numbers
    ) -> NDArray[np.float64]:
        """Evaluate the margins of hybrid rows; see :class:`NumpyKernels`."""
        n_pairs, n_draws, n_support = table.numbers.shape
        margins = np.zeros((n_pairs, n_draws, len(dual)))
        name = f"margins_{_precision_of(table.numbers)}"
        arrays = inside, at_row, table.numbers, table.reach, dual, margins
        self._call(name, *arrays, n_pairs, n_draws, len(at_row), n_support, len(dual))
        return margins

    def hybrid_leaf_sums(
        self, forest: Forest, at_row: NDArray[np.bool_], at_background: Words, inside: Words
    ) -> NDArray[np.float64]:
        """Add up the leaves that hybrid rows reach; see :class:`NumpyKernels`."""
        children, roots = forest.children
        n_words, n_outputs = at_background.shape[1], forest.value.shape[1]
        sums = np.zeros((n_outputs, 64 * n_words))
        self._call(
            "hybrid_leaf_sums",
            forest.feature,
            *children,
            roots,
            forest.value,
            at_row,
            at_background,
            inside,
            sums,
            forest.n_trees,
            n_words,
            n_outputs,
            len(forest.levels),
        )
        return sums.T

    def alike_leaf_sums(
        self,
        forest: Forest,
        at_row: NDArray[np.bool_],
        at_background: NDArray[np.bool_],
        met: NDArray[np.intp],
        inside: Words,
    ) -> NDArray[np.float64]:
        """Add up the leaves that hybrid rows reach; see :class:`NumpyKernels`."""
        children, roots = forest.children
        n_outputs = forest.value.shape[1]
        sums = np.zeros((n_outputs, 64 * len(met)))
        self._call(
            "alike_leaf_sums",
            forest.feature,
            *children,
            roots,
            forest.value,
            at_row,
            at_background,
            met,
            inside,
            sums,
            forest.n_trees,
            len(at_row),
            len(met),
            n_outputs,
            len(forest.levels),
        )
        return sums.T

    def error_products(
        self,
        design: Design,
        drawn: DrawControls,
        differences: Numbers,
        totals: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Multiply the errors of differences; see :class:`NumpyKernels`."""
        n_controls, n = len(drawn.values), len(totals)
        squares, explained = np.zeros((n, n)), np.zeros((n_controls, n))
        self._call(
            f"error_products_{_precision_of(differences)}",
            design.signs,
            design.projection,
            design.share,
            design.of_residuals,
            design.seen,
            design.of_deviations,
            drawn.of_means,
            drawn.of_draws,
            drawn.of_total,
            differences.transpose(2, 0, 1),
            totals,
            squares,
            explained,
            *differences.shape,
            len(design.share),
            len(design.seen),
            n_controls,
        )
        return squares, explained

    def solve_combined(
        self,
        design: Design,
        drawn: DrawControls,
        differences: Numbers,
        totals: NDArray[np.float64],
        combination: Combination,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Solve for combinations of differences; see :class:`NumpyKernels`."""
        multiples, explained = combination
        n_players, n_outputs = len(design.share), multiples.shape[1]
        solved, variances = np.zeros((2, n_players, n_outputs))
        self._call(
            f"solve_combined_{_precision_of(differences)}",
            design.signs,
            design.solution,
            design.share,
            design.stretch,
            design.unseen,
            design.noise,
            drawn.values,
            differences.transpose(2, 0, 1),
            totals @ multiples,
            multiples,
            explained,
            solved,
            variances,
            *differences.shape,
            n_outputs,
            n_players,
            len(drawn.values),
        )
        return solved, variances

    def wave_values(self, angles: Angles, n_waves: int, degree: int) -> NDArray[np.float64]:
        """Compute Shapley values of cosines of additive games; see :class:`NumpyKernels`."""
        nodes, shares = np.transpose(unit_interval(degree))
        n_lanes = -(-n_waves // WIDEST) * WIDEST
        values = np.zeros((angles.parts.shape[1], n_lanes))
        self._call(
            "wave_values",
            angles.start,
            angles.parts,
            angles.weights,
            nodes,
            shares,
            values,
            *angles.parts.shape,
            n_lanes,
            len(nodes),
        )
        return values[:, :n_waves].T

    def wave_differences(
        self,
        angles: Angles,
        waves: NDArray[np.float64],
        members: NDArray[np.bool_],
        draws: NDArray[np.intp] | None,
    ) -> NDArray[np.float64]:
        """Evaluate sums of cosines of additive games; see :class:`NumpyKernels`."""
        met = np.arange(len(angles.start))[None] if draws is None else draws
        differences = np.empty((len(members), met.shape[1], waves.shape[1]))
        self._call(
            "wave_differences",
            angles.start,
            angles.parts,
            waves.T,
            members,
            met,
            differences,
            *angles.parts.shape,
            *waves.shape,
            len(members),
            met.shape[1],
            int(draws is None),
        )
        return differences

    def path_values(
        self,
        splits: Splits,
        row: NDArray[np.floating[Any]],
        rows: NDArray[np.floating[Any]],
        n_features: int,
    ) -> NDArray[np.float64]:
        """Compute exact Shapley values of a sum of trees; see :class:`NumpyKernels`."""
        n_outputs = splits.value.shape[1]
        values = np.zeros((len(rows), n_features, n_outputs))
        self._call(
            "path_values",
            splits.records,
            splits.roots,
            splits.value,
            splits.owner,
            splits.weights,
            splits.code_goes_left,
            row,
            rows,
            values,
            len(splits.roots),
            len(splits.records),
            *rows.shape,
            n_features,
            n_outputs,
            len(splits.weights),
            splits.code_goes_left.shape[1],
        )
        return values.transpose(0, 2, 1)

    def leaf_sums(self, splits: Splits, rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Add up the leaves that rows reach; see :class:`NumpyKernels`."""
        n_outputs = splits.value.shape[1]
        sums = np.zeros((len(rows), n_outputs))
        self._call(
            "leaf_sums",
            splits.records,
            splits.roots,
            splits.value,
            splits.code_goes_left,
            rows,
            sums,
            len(splits.roots),
            *rows.shape,
            n_outputs,
            splits.code_goes_left.shape[1],
        )
        return sums

    def count_leaves(self, splits: Splits, rows: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Count for each leaf the rows that reach it; see :class:`NumpyKernels`."""
        counts = np.zeros(len(splits.value), dtype=np.int64)
        self._call(
            "count_leaves",
            splits.records,
            splits.roots,
            splits.code_goes_left,
            rows,
            counts,
            len(splits.roots),
            *rows.shape,
            splits.code_goes_left.shape[1],
        )
        return counts

    def count_states(
        self,
        splits: Splits,
        twigs: Twigs,
        rows: NDArray[np.floating[Any]],
        weights: NDArray[np.float64],
    ) -> Counts:
        """Add up background rows by their states at twigs; see :class:`NumpyKernels`."""
        weight, n_patterns = np.zeros(twigs.first_state[-1]), np.zeros_like(twigs.n_bits)
        # As many patterns as there can be; a page of memory that is not written takes none.
        has_table = np.diff(twigs.first_state) > 0
        most = int(np.minimum(2.0**twigs.n_bits, len(rows)) @ ~has_table)
        pattern, pattern_weight = np.empty(most, dtype=np.int64), np.empty(most)
        self._call(
            "count_states",
            *_where(splits, twigs),
            rows,
            weights,
            twigs.n_bits,
            twigs.first_state,
            weight,
            n_patterns,
            pattern,
            pattern_weight,
            len(splits.roots),
            splits.code_goes_left.shape[1],
            *rows.shape,
        )
        first = firsts(n_patterns)
        return Counts(
            weight, first, pattern[: first[-1]].copy(), pattern_weight[: first[-1]].copy()
        )

    def tabulate(
        self, twigs: Twigs, value: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Make the tables of what features take; see :class:`NumpyKernels`."""
        potential = potential_weights(twigs.n_potential)
        numbers = np.zeros(twigs.first_number[-1])
        self._call(
            "tabulate",
            twigs.first_state,
            twigs.first_leaf,
            twigs.first_slot,
            twigs.flip,
            twigs.mask,
            twigs.leaf,
            twigs.place,
            value,
            potential,
            twigs.first_output,
            twigs.output,
            twigs.first_feature,
            weight,
            twigs.first_number,
            numbers,
            len(twigs.n_bits),
            value.shape[1],
            len(potential),
        )
        return numbers

    def twig_values(
        self, trees: CountedTrees, rows: NDArray[np.floating[Any]]
    ) -> NDArray[np.float64]:
        """Compute exact Shapley values of a sum of trees; see :class:`NumpyKernels`."""
        values = np.zeros((len(rows), trees.splits.value.shape[1], trees.n_features))
        known = self.known_trees.get(trees)
        if known is None:
            # A row is so quick that the way of twenty arrays to the library would take longer.
            known = self.known_trees[trees] = _KnownTrees(trees)
        self._call("twig_values", known.block, rows, values, *rows.shape)
        return values

    def hybrid_means(
        self, points: NearestPoints, grouping: Grouping, hybrids: Hybrids
    ) -> NDArray[np.float64]:
        """Average the targets of the nearest points; see :class:`NumpyKernels`."""
        n_points, n_columns = points.points.shape
        means = np.empty((len(hybrids.drawn), points.targets.shape[1]))
        self._call(
            "hybrid_means",
            points.columns,
            points.targets,
            grouping.owner,
            points.scale,
            *hybrids,
            means,
            float(points.power),
            n_points,
            points.columns.shape[1],
            n_columns,
            *hybrids.inside.shape[1:],
            *means.shape[1:],
            len(means),
            points.n_nearest,
            int(points.by_distance),
        )
        return means

    def logistic(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn margins of two classes into probabilities; see :class:`NumpyKernels`."""
        probabilities = np.empty(margins.shape)
        self._call("logistic", margins, probabilities, margins.size)
        return probabilities

    def couple_probabilities(
        self, first: NDArray[np.float64], n_classes: int
    ) -> NDArray[np.float64]:
        """Couple probabilities of pairs of classes; see :class:`NumpyKernels`."""
        probabilities = np.empty((len(first), n_classes))
        self._call("couple_probabilities", first, probabilities, len(first), n_classes)
        return probabilities

    def _call(self, name: str, *arguments: NDArray[Any] | float) -> None:
        """Call a loop with arrays, and the numbers behind them."""
        dtypes = DTYPES[name]
        arrays = list(map(_as_read, arguments, dtypes))
        numbers = map(_argument, arguments[len(dtypes) :])
        self.functions[name](*map(_place_of, arrays), *numbers)


def _precision_of(numbers: Numbers) -> str:
    """Return how loops in a precision end."""
    return "single" if numbers.dtype == np.float32 else "double"


def _as_read(array: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array as a loop reads it: an address says nothing of a type.

    What cannot be written to is copied, since ctypes gives no address of it.
    """
    read = np.ascontiguousarray(array, dtype=dtype)
    return read if read.flags.writeable else read.copy()


class _KnownTrees:
    """What the loop over twigs takes of trees, but the rows and their values.

    Attributes
    ----------
    arrays : list of ndarray
    block : ndarray of int
        The addresses of these arrays, and the sizes; see Known in ``native/twigs.cpp``.
    """

    def __init__(self, trees: CountedTrees) -> None:
        self.arrays = list(map(_as_read, _arrays_of(trees), KNOWN_TREES))
        places = map(ctypes.addressof, map(_place_of, self.arrays))
        self.block = np.array([*places, *_sizes_of(trees)])


def _argument(one: Any) -> Any:
    return ctypes.c_double(one) if isinstance(one, float) else ctypes.c_int64(one)


def _arrays_of(trees: CountedTrees) -> list[NDArray[Any]]:
    """Return what is behind the block of known trees, in the order of KNOWN_TREES."""
    twigs, counts, splits = trees.twigs, trees.counts, trees.splits
    return [
        *_where(splits, twigs),
        splits.records["threshold"],
        splits.records["column"],
        _tables(twigs),
        trees.numbers,
        twigs.target,
        twigs.first_output,
        twigs.output,
        twigs.first_leaf,
        twigs.leaf,
        splits.value,
        splits.weights,
        counts.first_pattern,
        counts.pattern,
        counts.pattern_weight,
    ]


def _sizes_of(trees: CountedTrees) -> tuple[int, ...]:
    """Return what stands behind the addresses."""
    splits, n_outputs = trees.splits, trees.splits.value.shape[1]
    n_values = n_outputs * trees.n_features
    return (
        len(splits.roots),
        *splits.code_goes_left.shape,
        n_values,
        n_outputs,
        len(splits.weights),
    )


def _where(splits: Splits, twigs: Twigs) -> tuple[NDArray[Any], ...]:
    """Return the arrays that say where rows go in trees that are divided into twigs."""
    ways = _ways(twigs)
    return splits.records, ways, splits.code_goes_left, twigs.first_split, twigs.first_twig


def _tables(twigs: Twigs) -> NDArray[Any]:
    """Return where the table and the targets of each twig begin, and how many targets it has."""
    tables = np.zeros(len(twigs.n_bits), dtype=TABLE)
    has_table = np.diff(twigs.first_state) > 0
    tables["first_number"] = np.where(has_table, twigs.first_number[:-1], -1)
    tables["first_target"] = twigs.first_target[:-1]
    tables["width"] = np.diff(twigs.first_target)
    return tables


def _ways(twigs: Twigs) -> NDArray[Any]:
    """Return what splits do to the states of their trees, those of twigs before those of splits."""
    n_splits, n_twigs = np.diff(twigs.first_split), np.diff(twigs.first_twig)
    first_twig = np.repeat(twigs.first_twig[:-1], n_splits)
    first_split = np.repeat(twigs.first_split[:-1] - n_twigs, n_splits)
    is_within = twigs.twig >= 0
    ways = np.zeros(len(twigs.bit), dtype=WAY)
    ways["at"] = np.where(is_within, twigs.twig - first_twig, np.arange(len(ways)) - first_split)
    for side in range(2):
        below = twigs.below[:, side]
        child = np.where(below < 0, -1 - below - first_twig, below - first_split)
        ways["children"][:, side] = np.where(is_within, ways["at"], child)
    ways["bit"] = np.bitwise_count(twigs.bit - 1)  # where the one bit is
    return ways


@lru_cache
def _rules(exact: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return how many nodes each rule has, and the nodes and weights, one rule after another."""
    counts = [*range(1, min(exact, FEW) + 1)]
    while counts[-1] < exact:
        counts.append(min(exact, counts[-1] * 5 // 4))
    rules = [np.array(unit_interval(2 * count - 1)) for count in counts]
    nodes, weights = np.concatenate(rules).T
    return np.array(counts), np.ascontiguousarray(nodes), np.ascontiguousarray(weights)
