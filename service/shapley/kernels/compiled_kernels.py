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

import numpy as np
from numpy.typing import DTypeLike, NDArray

from service.shapley.background import Background
from service.shapley.kernels.distances import Distances
from service.shapley.kernels.numpy_kernels import NEGLIGIBLE, Numbers, NumpyKernels, Precision
from service.shapley.kernels.quadrature import unit_interval
from service.shapley.kernels.splits import SPLIT, Splits
from service.shapley.kernels.words import Words

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from service.shapley.trees.forest import Forest  # whose package uses these loops

HERE = files("service.shapley.kernels")  # a folder, or a place in a zip file
LIBRARY = "compiled*.so"
LEVELS = ("base", "avx2", "avx512")
FEW = 24  # nodes up to which there is a rule for every number of them
# The arrays that each loop takes, in the order of its declaration in native/.
DTYPES: dict[str, tuple[DTypeLike, ...]] = {
    "product_values": (
        *(np.float64, np.float64, np.float64, np.float64, np.int64, np.int64, np.float64),
        *(np.float64, np.int64, np.float64, np.float64, np.float64),
    ),
    "margins_single": (np.float32, np.float32, np.float32, np.float64),
    "margins_double": (np.float64, np.float64, np.float64, np.float64),
    "hybrid_leaf_sums": (
        *(np.int32, np.int32, np.int32, np.int32, np.float64, np.uint8),
        *(np.uint64, np.uint64, np.float64),
    ),
    "path_values": (
        *(SPLIT, np.int32, np.float64, np.int32, np.float64, np.uint8),
        *(np.float64, np.float64, np.float64),
    ),
    "couple_probabilities": (np.float64, np.float64),
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

    def __init__(self, library: ctypes.CDLL, level: int) -> None:
        highest = library.highest_level()
        if not 0 <= level <= highest:
            raise ValueError(f"level: expected 0 to {highest} on this processor, got {level}.")
        self.library = library
        self.level = LEVELS[level]
        self.name = f"compiled ({self.level})"

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

    def hybrid_margins(self, logarithms: Numbers, table: Numbers, dual: Numbers) -> Numbers:
        """Evaluate the margins of hybrid rows; see :class:`NumpyKernels`."""
        n_pairs, n_draws, n_support = table.shape
        margins = np.empty((n_pairs, n_draws, len(dual)))
        name = "margins_single" if table.dtype == np.float32 else "margins_double"
        self._call(name, logarithms, table, dual, margins, n_pairs, n_draws, n_support, len(dual))
        return margins

    def hybrid_leaf_sums(
        self, forest: Forest, at_row: NDArray[np.bool_], at_background: Words, inside: Words
    ) -> NDArray[np.float64]:
        """Add up the leaves that hybrid rows reach; see :class:`NumpyKernels`."""
        children, roots = forest.children
        n_words, n_outputs = at_background.shape[1], forest.value.shape[1]
        sums = np.zeros((64 * n_words, n_outputs))
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
        return sums

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
            *rows.shape,
            n_features,
            n_outputs,
            len(splits.weights),
            splits.code_goes_left.shape[1],
        )
        return values.transpose(0, 2, 1)

    def couple_probabilities(
        self, first: NDArray[np.float64], n_classes: int
    ) -> NDArray[np.float64]:
        """Couple probabilities of pairs of classes; see :class:`NumpyKernels`."""
        probabilities = np.empty((len(first), n_classes))
        self._call("couple_probabilities", first, probabilities, len(first), n_classes)
        return probabilities

    def _call(self, name: str, *arguments: NDArray[Any] | float) -> None:
        function: Callable[..., None] = getattr(self.library, f"{name}_{self.level}")
        dtypes = DTYPES[name]
        # An address says nothing of a type: each array becomes what is read there.
        arrays = [
            np.ascontiguousarray(array, dtype=dtype)
            for array, dtype in zip(arguments, dtypes, strict=False)
        ]
        numbers = arguments[len(dtypes) :]
        function(*map(_argument, [*arrays, *numbers]))


def _argument(one: NDArray[Any] | float) -> Any:
    """Hand over an array by its address, and a number by its value."""
    if isinstance(one, np.ndarray):
        return ctypes.c_void_p(one.ctypes.data)
    if isinstance(one, float):
        return ctypes.c_double(one)
    return ctypes.c_int64(one)


@lru_cache
def _rules(exact: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return how many nodes each rule has, and the nodes and weights, one rule after another."""
    counts = [*range(1, min(exact, FEW) + 1)]
    while counts[-1] < exact:
        counts.append(min(exact, counts[-1] * 5 // 4))
    rules = [np.array(unit_interval(2 * count - 1)) for count in counts]
    nodes, weights = np.concatenate(rules).T
    return np.array(counts), np.ascontiguousarray(nodes), np.ascontiguousarray(weights)
