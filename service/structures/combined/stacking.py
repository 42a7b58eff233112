"""Voting and stacking: means of models, and a last model that takes what they answer.

| model              | is                                                                          |
|--------------------|-----------------------------------------------------------------------------|
| VotingRegressor    | a weighted mean                                                             |
| VotingClassifier   | the same of probabilities, by soft votes                                    |
| StackingRegressor  | a weighted sum, where the last model is linear; else trees of predictions   |
| StackingClassifier | what the last model's link makes of margins that are linear in              |
|                    | probabilities or margins, or its trees of them                              |

With ``passthrough`` the last model takes the columns too: they are one more part. Next:
:mod:`service.structures.wrappers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, cast

import numpy as np

from service.shapley.games import Link
from service.shapley.grouping import Grouping
from service.shapley.trees import Forest
from service.shapley.trees.traversal import sum_of_leaves
from service.structures.combined.parts import Part, added_up, behind, read_parts, stacked
from service.structures.encoders import Encoder
from service.structures.family import Read
from service.structures.linear import LinearStructure, is_linear
from service.structures.links import (
    Floats,
    LinearMap,
    chained,
    mirrored,
    second_of_two,
)
from service.structures.structure import Combinable, Structure, join
from service.structures.trees import TreeStructure

# The scale of what each method of a model inside answers.
SCALES = {"predict_proba": "probability", "decision_function": "margin", "predict": "prediction"}


def read_voting(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Average the predictions of a voting model's models, with its weights.

    Of a classifier they are probabilities, where it takes the mean of these.
    """
    models, weights = estimator.estimators_, estimator._weights_not_none
    if weights is None:
        weights = np.ones(len(models))
    asked = getattr(estimator, "voting", "regression"), scale
    if asked not in (("regression", "prediction"), ("soft", "probability")):
        return None
    parts = read_parts(estimator, models, [scale] * len(models), read)
    if not parts:
        return None
    if not any(part.encoder.steps for part in parts):
        joined = mean_of([part.structure for part in parts], np.array(weights))
        if joined is not None:
            return joined
    return added_up(parts, np.array(weights) / np.sum(weights), estimator.n_features_in_)


def mean_of(parts: Sequence[Structure], weights: Floats) -> Structure | None:
    """Average outputs; None unless all are linear, all trees, or kernel machines of one kind."""
    if any(map(attrgetter("link"), parts)):
        return None
    if {*map(type, parts)} == {TreeStructure}:
        return TreeStructure.added(cast("Sequence[TreeStructure]", parts), weights / weights.sum())
    margins = join(parts)
    if not isinstance(margins, Combinable):
        return None
    n_targets = len(margins.intercepts) // len(parts)
    return margins.mapped(np.kron(weights / weights.sum(), np.eye(n_targets)))


def weighted_sum(
    estimator: Any, models: Sequence[Any], weights: Floats, read: Read, scale: str
) -> Structure | None:
    """Add up what the models inside of another predict; None where one cannot be read."""
    parts = read_parts(estimator, models, [scale] * len(models), read)
    if not parts:
        return None
    return added_up(parts, weights, estimator.n_features_in_)


def read_stacking(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Read the models inside and the last one, which takes their predictions.

    A regressor's linear last model adds them up; any other is behind all of them.
    """
    scales = [SCALES.get(method, "") for method in estimator.stack_method_]
    parts = read_parts(estimator, estimator.estimators_, scales, read)
    last = read(estimator.final_estimator_, scale)
    if not parts or not isinstance(last, LinearStructure | TreeStructure):
        return None
    if len(getattr(estimator, "classes_", ())) == 2:
        parts = list(map(_of_second_class, parts, scales))
    if scale == "prediction" and is_linear(last) and len(last.intercepts) == 1:
        return _sum_of_predictions(estimator, parts, last)
    link = _READERS_OF_LAST[type(last)](last)
    if estimator.passthrough:
        n_columns = estimator.n_features_in_
        columns = LinearStructure(np.zeros(n_columns), np.eye(n_columns))
        parts.append(Part(Encoder((), np.arange(n_columns)), columns))
    if scale == "margin" and len(estimator.classes_) == 2:
        link = chained(link, mirrored)
    return stacked(parts, link)


def _sum_of_predictions(estimator: Any, parts: Sequence[Part], last: LinearStructure) -> Structure:
    """Weigh predictions as a linear last model does, and columns where it takes them too."""
    weights, of_columns = np.split(last.coefficients[0], [len(parts)])
    parts, n_columns = list(parts), estimator.n_features_in_
    if estimator.passthrough:
        columns = LinearStructure(np.zeros(1), of_columns[None])
        parts.append(Part(Encoder((), np.arange(n_columns)), columns))
        weights = np.append(weights, 1.0)
    return added_up(parts, weights, n_columns, float(last.intercepts[0]))


def _of_second_class(part: Part, scale: str) -> Part:
    """Leave the probability of the first of two classes out, as stacking does."""
    if scale != "probability":
        return part
    structure = part.structure
    if isinstance(structure, TreeStructure) and structure.link is None:
        return replace(part, structure=structure.placed(np.eye(2)[:, 1:]))
    return replace(part, structure=behind(structure, second_of_two))


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


def _behind_linear(last: LinearStructure) -> Link:
    linear = LinearMap(last.coefficients, last.intercepts)
    return linear if last.link is None else chained(linear, last.link)


def _behind_trees(last: TreeStructure) -> Link:
    n_inputs = 1 + max(int(tree.feature.max(initial=0)) for tree in last.trees)
    forest = Forest.of(last.trees, Grouping.identity(n_inputs))
    trees = SummedTrees(forest, last.offset, last.input_dtype)
    return trees if last.link is None else chained(trees, last.link)


# What the last model of a stack makes of the predictions of the others.
_READERS_OF_LAST: dict[type[Structure], Callable[[Any], Link]] = {
    LinearStructure: _behind_linear,
    TreeStructure: _behind_trees,
}
