"""From margins to outputs: the functions that stand behind a linear model or a kernel machine.

Each takes margins of shape (n, n_margins) and returns outputs of shape (n, n_outputs); all are picklable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.utils.multiclass import _ovr_decision_function

Margins = NDArray[np.float64]
Link = Callable[[Margins], Margins]


def logistic(margins: Margins) -> Margins:
    """Turn one margin into the probabilities of two classes."""
    positive = expit(margins)
    return np.hstack([1 - positive, positive])


def multinomial(margins: Margins) -> Margins:
    """Turn one margin per class into probabilities by softmax."""
    return softmax(margins, axis=1)


@dataclass(frozen=True)
class OneVersusRest:
    """Votes and confidences of one-versus-one margins, as ``SVC(decision_function_shape="ovr")`` counts them."""

    n_classes: int

    def __call__(self, margins: Margins) -> Margins:
        """Return one decision value per class."""
        return _ovr_decision_function(margins < 0, -margins, self.n_classes)


@dataclass(frozen=True)
class Chained:
    """One link after another."""

    first: Link
    second: Link

    def __call__(self, margins: Margins) -> Margins:
        """Return what the second makes of the first's outputs."""
        return self.second(self.first(margins))


@dataclass(frozen=True)
class Calibrated:
    """The mean of calibrated probabilities, as ``CalibratedClassifierCV`` computes them.

    Attributes
    ----------
    calibrators : tuple of tuples
        For each fitted classifier, its calibrators: one for two classes, one per class for more.
    """

    calibrators: tuple[tuple[Any, ...], ...]

    def __call__(self, margins: Margins) -> Margins:
        """Return probabilities; each classifier has its own margins, side by side."""
        n_margins = len(self.calibrators[0])
        groups = [margins[:, i * n_margins : (i + 1) * n_margins] for i in range(len(self.calibrators))]
        probabilities = [self._one(of_group, group) for of_group, group in zip(self.calibrators, groups, strict=True)]
        return np.mean(probabilities, axis=0)

    @staticmethod
    def _one(calibrators: tuple[Any, ...], margins: Margins) -> Margins:
        positive = np.stack([c.predict(margin) for c, margin in zip(calibrators, margins.T, strict=True)], axis=1)
        if len(calibrators) == 1:
            return np.hstack([1 - positive, positive])
        total = positive.sum(axis=1, keepdims=True)
        return np.divide(positive, total, out=np.full_like(positive, 1 / len(calibrators)), where=total != 0)
