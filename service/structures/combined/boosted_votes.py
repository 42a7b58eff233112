"""AdaBoost: votes of boosted trees with a weight for each.

| model              | is                                                                          |
|--------------------|-----------------------------------------------------------------------------|
| AdaBoostClassifier | margins that are weighted sums of votes; each leaf of a tree votes for one  |
|                    | class, so that a vote is a tree by itself                                   |
| AdaBoostRegressor  | the weighted median of what the trees predict                               |

Next: :mod:`service.structures.combined.side_by_side`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from service.structures.family import Read
from service.structures.links import Floats
from service.structures.structure import Structure, as_floats
from service.structures.trees import TreeStructure


def read_votes(estimator: Any, scale: str, read: Read) -> TreeStructure | None:
    """Read AdaBoostClassifier of trees."""
    n_classes = len(estimator.classes_)
    trees = _read_single_trees(estimator, "probability", read)
    if not trees or n_classes == 1:
        return None
    # A vote for a class is one against each of the others too, so that all add up to 0.
    votes = (n_classes * np.eye(n_classes) - 1) / (n_classes - 1)
    seen = map(np.searchsorted, repeat(estimator.classes_), map(_classes_of, estimator.estimators_))
    voting = list(map(_voting, trees, map(votes.__getitem__, seen)))
    weights = _weights_of_trees(estimator)
    margins = cast("TreeStructure", TreeStructure.added(voting, weights / weights.sum()))
    return _ON_SCALE[scale](margins)


def _classes_of(model: Any) -> NDArray[Any]:
    return np.asarray(model.classes_)


def _voting(part: TreeStructure, votes: Floats) -> TreeStructure:
    """Let each leaf vote for the class of which it has the largest share."""
    (tree,) = part.trees
    voted = votes[np.argmax(tree.value, axis=1)]
    return replace(part, trees=[replace(tree, value=voted)], offset=np.zeros(votes.shape[1]))


def _decision(margins: TreeStructure) -> TreeStructure:
    """Return a margin for each class, and of two the difference of both."""
    if len(margins.offset) > 2:
        return margins
    return margins.placed(np.array([[-1.0], [1.0]]))


def _probabilities(margins: TreeStructure) -> TreeStructure:
    """Put the softmax behind margins, which count as much less as there are more classes."""
    scaled = margins.scaled(1 / (len(margins.offset) - 1))
    return _decision(scaled).as_probabilities()


_ON_SCALE = {"margin": _decision, "probability": _probabilities}


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
    if not trees:
        return None
    side_by_side = cast("TreeStructure", TreeStructure.joined(trees))
    return replace(side_by_side, link=WeightedMedian(_weights_of_trees(estimator)))


def _read_single_trees(estimator: Any, scale: str, read: Read) -> list[Any]:
    """Read what was boosted; nothing unless each is a single tree."""
    found = list(map(read, estimator.estimators_, repeat(scale)))
    return found if all(map(_is_single_tree, found)) else []


def _is_single_tree(part: Structure | None) -> bool:
    return len(getattr(part, "trees", ())) == 1


def _weights_of_trees(estimator: Any) -> Floats:
    """Return the weights of the trees that were boosted."""
    return as_floats(estimator.estimator_weights_)[: len(estimator.estimators_)]
