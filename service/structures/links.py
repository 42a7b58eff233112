"""Links: functions from margins to outputs.

Each takes margins of shape (n, n_margins) and returns outputs of shape (n, n_outputs), for all rows
alike. All can be pickled. (Statistics calls these functions inverse links.) Next:
:mod:`service.structures.answer_forms`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.utils.multiclass import _ovr_decision_function

from service.shapley import kernels
from service.shapley.games import Link

Floats = NDArray[np.float64]
TINY = 1e-12  # what scikit-learn adds to probabilities before it takes their logarithms


def logistic(margins: Floats) -> Floats:
    """Turn one margin into the probabilities of two classes.

    >>> logistic(np.array([[0.0], [np.log(3)]])).round(9).tolist()
    [[0.5, 0.5], [0.25, 0.75]]
    """
    return _of_two_classes(kernels.current.logistic(margins[:, 0]))


def _of_two_classes(positive: Floats) -> Floats:
    """Put the probability of the second class, (n,), beside that of the first."""
    both = np.empty((2, len(positive)))  # a class by itself is then read at once
    np.subtract(1, positive, out=both[0])
    both[1] = positive
    return both.T


def multinomial(margins: Floats) -> Floats:
    """Turn one margin per class into probabilities by softmax.

    >>> multinomial(np.array([[0.0, 0.0, np.log(2)]])).round(9).tolist()
    [[0.25, 0.25, 0.5]]
    """
    return softmax(margins, axis=1)


def binary_or_multinomial(n_margins: int) -> Link:
    """Return the usual link of classifiers: logistic for one margin, softmax for more."""
    if n_margins == 1:
        return logistic
    return multinomial


@dataclass(frozen=True)
class OneVersusRest:
    """Votes and confidences of one-versus-one margins.

    ``SVC(decision_function_shape="ovr")`` counts them so.

    Attributes
    ----------
    n_classes : int
    """

    n_classes: int

    def __call__(self, margins: Floats) -> Floats:
        """Return one decision value per class."""
        return _ovr_decision_function(margins < 0, -margins, self.n_classes)


@dataclass(frozen=True)
class Shifted:
    """A link of margins that come without their intercepts.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    link : callable
    """

    intercepts: NDArray[np.float64]
    link: Link

    def __call__(self, margins: Floats) -> Floats:
        """Return what the link makes of margins plus intercepts."""
        return self.link(margins + self.intercepts)


@dataclass(frozen=True)
class Elementwise:
    """A function of single margins, such as what scales a target back.

    Attributes
    ----------
    function : callable
        From an array to an array of the same shape.
    arguments : dict
        By name.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]

    def __call__(self, margins: Floats) -> Floats:
        """Return the function of each margin."""
        return np.asarray(self.function(margins, **self.arguments), dtype=np.float64)


@dataclass(frozen=True)
class Chained:
    """One link after another."""

    first: Link
    second: Link

    def __call__(self, margins: Floats) -> Floats:
        """Return what the second makes of the first's outputs."""
        return self.second(self.first(margins))


def chained(first: Link | None, second: Link) -> Link:
    """Return one link after another, where there is a first one."""
    if first is None:
        return second
    return Chained(first, second)


@dataclass(frozen=True)
class Sigmoid:
    """A calibration by Platt's sigmoid, in place of scikit-learn's own.

    Attributes
    ----------
    slope, offset : float
        The probability of the class is 1 / (1 + exp(slope · margin + offset)).
    """

    slope: float
    offset: float

    def predict(self, margin: Floats) -> Floats:
        """Return the probability of the class."""
        return kernels.current.logistic(-self.slope * margin - self.offset)


def second_of_two(probabilities: Floats) -> Floats:
    """Return the probability of the second of two classes, as a margin is of the second.

    >>> second_of_two(np.array([[0.25, 0.75]])).tolist()
    [[0.75]]
    """
    return probabilities[:, 1:]


@dataclass(frozen=True)
class Calibrated:
    """Calibrated probabilities of one classifier, as ``CalibratedClassifierCV`` computes them.

    Attributes
    ----------
    calibrators : tuple
        One for two classes, one per class for more; their ``predict`` turns margins (n,) into
        probabilities (n,).
    """

    calibrators: tuple[Any, ...]

    def __call__(self, margins: Floats) -> Floats:
        """Return probabilities."""
        columns = zip(self.calibrators, margins.T, strict=True)
        positive = [calibrator.predict(margin) for calibrator, margin in columns]
        if len(positive) == 1:
            return _of_two_classes(positive[0])
        return shares_of(np.stack(positive, axis=1), total_of_none=1.0)


@dataclass(frozen=True)
class Averaged:
    """The mean outputs of several models with equally many margins each, side by side."""

    links: tuple[Link, ...]

    def __call__(self, margins: Floats) -> Floats:
        """Return the mean of what each link makes of its own margins."""
        return np.mean(_apply_each(self.links, margins), axis=0)


def averaged(links: Sequence[Link]) -> Link:
    """Return the mean of the outputs of several links, or the only link itself."""
    if len(links) == 1:
        return links[0]
    return Averaged(tuple(links))


@dataclass(frozen=True)
class Joined:
    """The outputs of several models side by side, each behind a link of its own.

    Attributes
    ----------
    links : tuple of callable or None
    ends : tuple of int
        Where the margins of each model end; the last end is that of all.
    """

    links: tuple[Link | None, ...]
    ends: tuple[int, ...]

    def __call__(self, margins: Floats) -> Floats:
        """Return the outputs of all models, from their margins side by side."""
        groups = np.split(margins, self.ends[:-1], axis=1)
        outputs = []
        for link, group in zip(self.links, groups, strict=True):
            outputs.append(group if link is None else link(group))
        return np.hstack(outputs)


@dataclass(frozen=True)
class WeightedSum:
    """A weighted sum of the outputs of models that have equally many each, side by side.

    Attributes
    ----------
    weights : ndarray of shape (n_models,)
    intercept : float
    """

    weights: Floats
    intercept: float = 0.0

    def __call__(self, outputs: Floats) -> Floats:
        """Add the models up.

        >>> WeightedSum(np.array([0.5, 2.0]))(np.array([[2.0, 4.0, 1.0, 3.0]])).tolist()
        [[3.0, 8.0]]
        """
        of_models = outputs.reshape(len(outputs), len(self.weights), -1)
        summed: Floats = np.einsum("m,nmk->nk", self.weights, of_models)
        return summed + self.intercept


@dataclass(frozen=True)
class LinearMap:
    """Margins that are linear in the outputs of other models.

    Attributes
    ----------
    coefficients : ndarray of shape (n_margins, n_outputs)
    intercepts : ndarray of shape (n_margins,)
    """

    coefficients: Floats
    intercepts: Floats

    def __call__(self, outputs: Floats) -> Floats:
        """Return the margins."""
        return outputs @ self.coefficients.T + self.intercepts


@dataclass(frozen=True)
class Temperature:
    """A calibration by a temperature, of margins or of the logarithms of probabilities.

    Attributes
    ----------
    inverse : float
        Of the temperature.
    of_probabilities : bool
    """

    inverse: float
    of_probabilities: bool

    def __call__(self, predictions: Floats) -> Floats:
        """Return probabilities; a single margin is that of the second of two classes."""
        if self.of_probabilities:
            logits = np.log(predictions + TINY)
        else:
            logits = predictions if predictions.shape[1] > 1 else mirrored(predictions)
        return multinomial(self.inverse * logits)


def mirrored(margins: Floats) -> Floats:
    """Give the margin of the second of two classes to both.

    >>> mirrored(np.array([[2.0]])).tolist()
    [[-2.0, 2.0]]
    """
    return np.hstack([-margins, margins])


@dataclass(frozen=True)
class OnePerClass:
    """Probabilities of ``OneVsRestClassifier``: of one binary model per class, scaled to sum 1."""

    links: tuple[Link, ...]

    def __call__(self, margins: Floats) -> Floats:
        """Return probabilities; the models have equally many margins, side by side."""
        positive = [outputs[:, 1] for outputs in _apply_each(self.links, margins)]
        return shares_of(np.stack(positive, axis=1), total_of_none=0.0)


def _apply_each(links: Sequence[Link], margins: Floats) -> list[Floats]:
    """Return what each link makes of its own margins; they are equally many, side by side."""
    groups = np.split(margins, len(links), axis=1)
    return [link(group) for link, group in zip(links, groups, strict=True)]


def shares_of(positive: Floats, total_of_none: float) -> Floats:
    """Scale rows to sum 1; rows of zeros get equal shares of `total_of_none`."""
    total = positive.sum(axis=1, keepdims=True)
    shares = np.full_like(positive, total_of_none / positive.shape[1])
    return np.divide(positive, total, out=shares, where=total != 0)


@dataclass(frozen=True)
class PairwisePlatt:
    """libsvm's probabilities: a sigmoid for each pair of classes, coupled into one distribution.

    libsvm iterates the coupling until a small error is left, for two classes too, so its
    probabilities are up to some thousandths off the sigmoid; the iteration is repeated step by
    step.

    Attributes
    ----------
    slopes, offsets : ndarray of shape (n_pairs,)
        Of the pairs (0, 1), (0, 2), …, (1, 2), …; the first class of a pair has the probability
        1 / (1 + exp(slope · margin + offset)).
    n_classes : int
    """

    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]
    n_classes: int

    def __call__(self, margins: Floats) -> Floats:
        """Return probabilities from one-versus-one margins."""
        first = np.clip(expit(-(margins * self.slopes + self.offsets)), 1e-7, 1 - 1e-7)
        return kernels.current.couple_probabilities(first, self.n_classes)
