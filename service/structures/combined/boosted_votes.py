"""AdaBoost: votes of boosted trees with a weight for each.

| model              | is                                                                          |
|--------------------|-----------------------------------------------------------------------------|
| AdaBoostClassifier | margins that are weighted sums of votes; each leaf of a tree votes for one  |
|                    | class, so that a vote is a tree by itself                                   |
| AdaBoostRegressor  | the weighted median of what the trees predict                               |

Next: :mod:`service.structures.wrappers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from service.structures.family import Read
from service.structures.links import Floats
from service.structures.structure import Structure, as_floats
from service.structures.trees import TreeStructure, is_sum_of_trees


def read_votes(estimator: Any, scale: str, read: Read) -> TreeStructure | None:
    """Read AdaBoostClassifier of trees."""
    classes = estimator.classes_
    trees = _read_single_trees(estimator, "probability", read)
    if not trees or len(classes) == 1:
        return None
    # A vote for a class is one against each of the others too, so that all add up to 0.
    votes = (len(classes) * np.eye(len(classes)) - 1) / (len(classes) - 1)
    weights = _weights_of_trees(estimator)
    weights = weights / weights.sum()
    voting = []
    for part, model, weight in zip(trees, estimator.estimators_, weights, strict=True):
        seen = np.searchsorted(classes, model.classes_)
        voting.append(_voting(part, weight * votes[seen]))
    margins = TreeStructure.added(voting, np.ones(len(voting)))
    return None if margins is None else _on_scale(margins, scale)


def _voting(part: TreeStructure, votes: Floats) -> TreeStructure:
    """Let each leaf vote for the class of which it has the largest share."""
    (tree,) = part.trees
    voted = votes[np.argmax(tree.value, axis=1)]
    return replace(part, trees=[replace(tree, value=voted)], offset=np.zeros(votes.shape[1]))


def _on_scale(margins: TreeStructure, scale: str) -> TreeStructure:
    """Put the softmax behind margins; those of two classes are one, the difference of both."""
    n_classes = len(margins.offset)
    if n_classes == 2:
        margins = margins.placed(np.array([[-1.0], [1.0]]))
    if scale != "probability":
        return margins
    return margins.scaled(1 / (n_classes - 1)).as_probabilities()


@dataclass(frozen=True)
class WeightedMedian:
    """The weighted median of what several trees predict.

    Attributes
    ----------
    weights : ndarray of shape (n_trees,)
    """

    weights: Floats

    def __call__(self, predictions: Floats) -> Floats:
        """Return the smallest prediction up to which there is half of the weight.

        >>> WeightedMedian(np.array([0.2, 0.2, 0.6]))(np.array([[1.0, 3.0, 2.0]])).tolist()
        [[2.0]]
        """
        order = np.argsort(predictions, axis=1)
        so_far = np.cumsum(self.weights[order], axis=1)
        place = np.argmax(so_far >= 0.5 * so_far[:, -1:], axis=1)
        row = np.arange(len(predictions))
        return predictions[row, order[row, place]][:, None]


def read_median(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Read AdaBoostRegressor of trees: the predictions of all, side by side, and their median."""
    trees = _read_single_trees(estimator, "prediction", read)
    side_by_side = TreeStructure.joined(trees) if trees else None
    if side_by_side is None:
        return None
    return replace(side_by_side, link=WeightedMedian(_weights_of_trees(estimator)))


def _read_single_trees(estimator: Any, scale: str, read: Read) -> Sequence[TreeStructure]:
    """Read what was boosted; nothing unless each is a single tree."""
    trees = []
    for model in estimator.estimators_:
        part = read(model, scale)
        if part is None or not is_sum_of_trees(part) or len(part.trees) > 1:
            return []
        trees.append(part)
    return trees


def _weights_of_trees(estimator: Any) -> Floats:
    """Return the weights of the trees that were boosted."""
    return as_floats(estimator.estimator_weights_)[: len(estimator.estimators_)]
