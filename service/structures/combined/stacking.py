"""Voting and stacking: means of models, and a last model that takes what they answer.

| model              | is                                                                          |
|--------------------|-----------------------------------------------------------------------------|
| VotingRegressor    | a weighted mean                                                             |
| VotingClassifier   | the same of probabilities, by soft votes                                    |
| StackingRegressor  | a weighted sum, where the last model is linear; else trees of predictions   |
| StackingClassifier | what the last model's link makes of margins that are linear in              |
|                    | probabilities or margins, or its trees of them                              |

With ``passthrough`` the last model takes the columns too: they are one more part. Next:
:mod:`service.structures.combined.boosted_votes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import repeat
from operator import attrgetter
from typing import Any, TypeGuard, cast

import numpy as np

from service.shapley.games import Link
from service.shapley.grouping import Grouping
from service.shapley.trees import Forest
from service.shapley.trees.traversal import sum_of_leaves
from service.structures.combined.parts import Part, added_up, read_parts, stacked
from service.structures.family import Read
from service.structures.linear import LinearStructure, is_linear
from service.structures.links import (
    Floats,
    LinearMap,
    chained,
    mirrored,
    second_of_two,
)
from service.structures.structure import Combinable, Structure, as_floats, join, n_columns_of
from service.structures.trees import TreeStructure, is_sum_of_trees

# The scale of what each method of a model inside answers.
SCALES = {"predict_proba": "probability", "decision_function": "margin", "predict": "prediction"}
# What voting takes the mean of, and on which scale.
MEANS = {("regression", "prediction"), ("soft", "probability")}
# What comes behind the last model, by the scale and the number of classes.
_LINKS_OF_CLASSES: dict[tuple[str, int], Link] = {("margin", 2): mirrored}


def read_voting(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Average the predictions of a voting model's models, with its weights.

    Of a classifier they are probabilities, where it takes the mean of these.
    """
    asked = getattr(estimator, "voting", "regression"), scale
    if asked not in MEANS:
        return None
    models = estimator.estimators_
    parts = read_parts(estimator, models, [scale] * len(models), read)
    shares = _shares_of_votes(estimator)
    joined = _mean_of_bare(parts, shares)
    if joined is not None:
        return joined
    return added_up(parts, shares, n_columns_of(estimator))


def _shares_of_votes(estimator: Any) -> Floats:
    """Return what each model that was not dropped counts, which adds up to 1."""
    weights = estimator._weights_not_none
    if weights is None:
        weights = np.ones(len(estimator.estimators_))
    return np.array(weights) / np.sum(weights)


def _mean_of_bare(parts: Sequence[Part], shares: Floats) -> Structure | None:
    """Average models in one structure; None also where one has preprocessing of its own."""
    if any(map(attrgetter("encoder.steps"), parts)):
        return None
    return mean_of(list(map(attrgetter("structure"), parts)), shares)


def mean_of(parts: Sequence[Structure], shares: Floats) -> Structure | None:
    """Average outputs; None unless all are linear, all trees, or kernel machines of one kind.

    Parameters
    ----------
    parts : sequence of Structure
    shares : ndarray of shape (n_parts,)
        They add up to 1.
    """
    if any(map(attrgetter("link"), parts)):
        return None
    if {*map(type, parts)} == {TreeStructure}:
        return TreeStructure.added(cast("Sequence[TreeStructure]", parts), shares)
    margins = join(parts)
    if not isinstance(margins, Combinable):
        return None
    n_targets = len(margins.intercepts) // len(parts)
    return margins.mapped(as_floats(np.kron(shares, np.eye(n_targets))))


def weighted_sum(
    estimator: Any, models: Sequence[Any], weights: Floats, read: Read, scale: str
) -> Structure | None:
    """Add up what the models inside of another predict; None where one cannot be read."""
    parts = read_parts(estimator, models, [scale] * len(models), read)
    return added_up(parts, weights, n_columns_of(estimator))


def read_stacking(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Read the models inside and the last one, which takes their predictions.

    A regressor's linear last model adds them up; any other is behind all of them.
    """
    parts = _read_predictions(estimator, read)
    last = read(estimator.final_estimator_, scale)
    if not parts or not isinstance(last, LinearStructure | TreeStructure):
        return None
    if scale == "prediction" and _has_one_linear_output(last):
        return _sum_of_predictions(estimator, parts, last)
    return _behind_last(estimator, parts, last, scale)


def _read_predictions(estimator: Any, read: Read) -> list[Part]:
    """Read the models inside, each with the outputs that the last one takes."""
    scales = [SCALES.get(method, "") for method in estimator.stack_method_]
    parts = read_parts(estimator, estimator.estimators_, scales, read)
    return list(map(without_first_of_two, parts, scales, repeat(_n_classes(estimator))))


def _n_classes(estimator: Any) -> int:
    """Count the classes; a regressor has none."""
    return len(getattr(estimator, "classes_", ()))


def without_first_of_two(part: Part, scale: str, n_classes: int) -> Part:
    """Leave the probability of the first of two classes out, as stacking does."""
    if (scale, n_classes) != ("probability", 2):
        return part
    if is_sum_of_trees(part.structure):
        return replace(part, structure=part.structure.placed(np.eye(2)[:, 1:]))
    return part.behind(second_of_two)


def _has_one_linear_output(last: Structure) -> TypeGuard[LinearStructure]:
    return is_linear(last) and len(last.intercepts) == 1


def _sum_of_predictions(
    estimator: Any, parts: Sequence[Part], last: LinearStructure
) -> Structure | None:
    """Weigh predictions as a linear last model does, and columns where it takes them too."""
    weights, of_columns = np.split(last.coefficients[0], [len(parts)])
    if estimator.passthrough:
        parts = [*parts, _linear_part(of_columns[None])]
        weights = np.append(weights, 1.0)
    return added_up(parts, weights, n_columns_of(estimator), float(last.intercepts[0]))


def _behind_last(
    estimator: Any, parts: Sequence[Part], last: LinearStructure | TreeStructure, scale: str
) -> Structure:
    """Put the last model behind all predictions, and behind the columns that it takes too."""
    margins = _READERS_OF_LAST[type(last)](last)
    of_classes = _LINKS_OF_CLASSES.get((scale, _n_classes(estimator)))
    link = reduce(chained, filter(None, (last.link, of_classes)), margins)
    if estimator.passthrough:
        parts = [*parts, _linear_part(np.eye(n_columns_of(estimator)))]
    return stacked(parts, link)


def _linear_part(coefficients: Floats) -> Part:
    """Return margins that are linear in the columns, as one more part; (n_margins, n_columns)."""
    n_margins, n_columns = coefficients.shape
    return Part.bare(LinearStructure(np.zeros(n_margins), coefficients), n_columns)


@dataclass(frozen=True)
class SummedTrees:
    """Trees of what other models predict.

    Attributes
    ----------
    forest : Forest
    offset : ndarray of shape (n_margins,)
    input_dtype : type
        What the trees round predictions to.
    """

    forest: Forest
    offset: Floats
    input_dtype: type[np.floating]

    def __call__(self, outputs: Floats) -> Floats:
        """Add up the leaves that predictions reach."""
        rows = np.ascontiguousarray(outputs, dtype=self.input_dtype)
        return self.offset + sum_of_leaves(self.forest, rows)


def _linear_map(last: LinearStructure) -> Link:
    return LinearMap(last.coefficients, last.intercepts)


def _summed_trees(last: TreeStructure) -> Link:
    features = np.concatenate(list(map(attrgetter("feature"), last.trees)))
    n_inputs = 1 + int(features.max(initial=0))
    forest = Forest.of(last.trees, Grouping.identity(n_inputs))
    return SummedTrees(forest, last.offset, last.input_dtype)


# The margins that the last model of a stack makes of the predictions of the others.
_READERS_OF_LAST: dict[type[Structure], Callable[[Any], Link]] = {
    LinearStructure: _linear_map,
    TreeStructure: _summed_trees,
}
