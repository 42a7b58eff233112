"""Tree ensembles: sums of decision trees in plain arrays, and how libraries' trees become one.

Every reader says when it cannot read a model, by raising :class:`UnsupportedStructureError`, and
what it reads is checked against the model on hybrid rows before it is used
(:mod:`service.engines.choice`).

| model                 | rows in | goes left    | adds up in | not read                          |
|-----------------------|---------|--------------|------------|-----------------------------------|
| single trees, forests | float32 | x ≤ t        | float64    |                                   |
| GradientBoosting…     | float32 | x ≤ t        | float64    | an ``init`` that is a model by    |
|                       |         |              |            | itself                            |
| HistGradientBoosting… | float64 | x ≤ t, codes | float64    |                                   |
| LGBM…                 | float64 | x ≤ t, codes | float64    | linear leaves, zero as missing    |
| XGB…                  | float32 | x < t, codes | float32    | a ``missing`` other than NaN,     |
|                       |         |              |            | leaves of several targets, DART,  |
|                       |         |              |            | linear boosters, categories of    |
|                       |         |              |            | bare codes                        |

Next: :mod:`service.structures.sklearn_trees`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from typing import Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from service.errors import UnsupportedStructureError
from service.shapley.games import Link
from service.shapley.trees import Tree
from service.structures.links import Floats, binary_or_multinomial
from service.structures.structure import Structure

# Categories of a column that splits can tell apart; histogram boosting knows no more.
MOST_CODES = 256


@dataclass(frozen=True)
class TreeStructure(Structure):
    """A sum of decision trees, behind an optional link.

    Attributes
    ----------
    trees : list of Tree
    offset : ndarray of shape (n_outputs,)
    input_dtype : type
        What the model rounds its rows to.
    link : callable or None
    rounding : float
    """

    trees: list[Tree]
    offset: Floats
    input_dtype: type[np.floating]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self | None:
        """Put the sums side by side; None where the models round their rows differently."""
        if len(set(map(attrgetter("input_dtype"), parts))) > 1:
            return None
        offsets = list(map(attrgetter("offset"), parts))
        ends = np.cumsum(list(map(len, offsets)))
        places = np.split(np.eye(ends[-1]), ends[:-1])
        return replace(
            parts[0],
            trees=list(chain.from_iterable(map(_placed_trees, parts, places))),
            offset=np.concatenate(offsets),
            link=None,
            rounding=max(map(attrgetter("rounding"), parts)),
        )

    @classmethod
    def added(cls, parts: Sequence[TreeStructure], weights: Floats) -> TreeStructure | None:
        """Add up weighted sums; None where the models round their rows differently.

        Parameters
        ----------
        parts : sequence of TreeStructure
            Of the same outputs, without links.
        weights : ndarray of shape (n_parts,)
        """
        side_by_side = cls.joined(parts)
        if side_by_side is None:
            return None
        scaled = list(map(TreeStructure.scaled, parts, weights))
        return replace(
            side_by_side,
            trees=list(chain.from_iterable(map(attrgetter("trees"), scaled))),
            offset=np.sum(list(map(attrgetter("offset"), scaled)), axis=0),
        )

    def spread(self, columns: NDArray[np.intp], _: int) -> TreeStructure:
        """Return the same trees of rows that have more columns; `columns` are theirs."""
        trees = []
        for tree in self.trees:
            feature = np.where(tree.feature >= 0, columns[tree.feature], tree.feature)
            trees.append(replace(tree, feature=feature))
        return replace(self, trees=trees)

    def placed(self, place: Floats) -> TreeStructure:
        """Return the same outputs among more; `place` is (n_outputs, n_all_outputs)."""
        return replace(self, trees=_placed_trees(self, place), offset=self.offset @ place)

    def scaled(self, factor: float) -> TreeStructure:
        """Multiply the sum by a number."""
        trees = [replace(tree, value=factor * tree.value) for tree in self.trees]
        return replace(self, trees=trees, offset=factor * self.offset)

    def mapped(self, matrix: Floats, shift: Floats) -> TreeStructure:
        """Return matrix · outputs + shift, as :meth:`Combinable.mapped` does of margins."""
        placed = self.placed(matrix.T)
        return replace(placed, offset=placed.offset + shift)

    def as_probabilities(self) -> TreeStructure:
        """Put the usual link of classifiers behind the margins: logistic, or softmax."""
        return replace(self, link=binary_or_multinomial(len(self.offset)))


def is_sum_of_trees(structure: Structure) -> TypeGuard[TreeStructure]:
    """Tell whether a structure is a sum of trees without a link."""
    return isinstance(structure, TreeStructure) and structure.link is None


def _placed_trees(part: TreeStructure, place: Floats) -> list[Tree]:
    """Return the trees with their outputs among more; `place` is (n_outputs, n_all_outputs)."""
    return [replace(tree, value=tree.value @ place) for tree in part.trees]


def behind_objective(
    margins: TreeStructure, objective: str, links: Mapping[str, Link | None]
) -> TreeStructure:
    """Put the link of a regression's objective behind its margins.

    Parameters
    ----------
    margins : TreeStructure
    objective : str
        As the library names it.
    links : mapping of str to callable or None
        The link of each objective whose predictions are known.

    Raises
    ------
    UnsupportedStructureError
        When the objective is not among them.
    """
    if objective not in links:
        raise UnsupportedStructureError(
            f"Boosting with objective {objective!r}: how it predicts is not known."
        )
    return replace(margins, link=links[objective])
