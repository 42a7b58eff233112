"""Naive Bayes: the margin of a class is a sum of one term for each column.

| model                       | the term of a column                                               |
|-----------------------------|--------------------------------------------------------------------|
| GaussianNB                  | a parabola                                                         |
| BernoulliNB                 | one of two numbers, by whether the column exceeds the threshold    |
| MultinomialNB, ComplementNB | linear                                                             |

The probabilities are the softmax of the margins. Next:
:mod:`service.structures.statistical.neighbours`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.shapley.additive import AdditiveModel
from service.structures.family import Family
from service.structures.linear import LinearStructure, identity_readout
from service.structures.links import Floats, multinomial
from service.structures.structure import Structure, as_floats


@dataclass(frozen=True)
class AdditiveStructure(Structure, ABC):
    """Margins that are sums of a term for each column, behind an optional link.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    """

    intercepts: Floats

    @abstractmethod
    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to each margin, shape (n_rows, n_columns, n_margins)."""

    @property
    def additive(self) -> AdditiveModel:
        """The parts of the model: its hidden units are the margins."""
        return AdditiveModel(
            self.contributions, self.intercepts, identity_readout, self.link, is_linear=False
        )


@dataclass(frozen=True)
class ParabolaStructure(AdditiveStructure):
    """Margins that are sums of a parabola for each column.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    centres, curvatures : ndarray of shape (n_margins, n_columns)
        A column adds curvature · (x − centre)².
    link : callable or None
    """

    centres: Floats
    curvatures: Floats

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to each margin, shape (n_rows, n_columns, n_margins)."""
        return np.square(rows[:, :, None] - self.centres.T) * self.curvatures.T


@dataclass(frozen=True)
class ThresholdStructure(AdditiveStructure):
    """Margins that are sums of a number for each column that exceeds a threshold.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    threshold : float
    steps : ndarray of shape (n_margins, n_columns)
    link : callable or None
    """

    threshold: float
    steps: Floats

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to each margin, shape (n_rows, n_columns, n_margins)."""
        return (rows > self.threshold)[:, :, None] * self.steps.T


def read_gaussian(estimator: Any, scale: str) -> ParabolaStructure | None:
    """Read GaussianNB."""
    if scale != "probability":
        return None
    variances = as_floats(estimator.var_)
    logarithms = np.log(2 * np.pi * variances).sum(axis=1)
    return ParabolaStructure(
        intercepts=np.log(estimator.class_prior_) - logarithms / 2,
        centres=as_floats(estimator.theta_),
        curvatures=-0.5 / variances,
        link=multinomial,
    )


def read_multinomial(estimator: Any, scale: str) -> LinearStructure | None:
    """Read MultinomialNB."""
    if scale != "probability":
        return None
    coefficients = as_floats(estimator.feature_log_prob_)
    return LinearStructure(as_floats(estimator.class_log_prior_), coefficients, link=multinomial)


def read_complement(estimator: Any, scale: str) -> LinearStructure | None:
    """Read ComplementNB, which leaves out how frequent classes are."""
    if scale != "probability" or len(estimator.classes_) == 1:
        return None
    coefficients = as_floats(estimator.feature_log_prob_)
    return LinearStructure(np.zeros(len(coefficients)), coefficients, link=multinomial)


def read_bernoulli(estimator: Any, scale: str) -> ThresholdStructure | None:
    """Read BernoulliNB with the threshold by which it tells columns."""
    if scale != "probability" or estimator.binarize is None:
        return None
    present = as_floats(estimator.feature_log_prob_)
    absent = np.log(1 - np.exp(present))
    return ThresholdStructure(
        intercepts=as_floats(estimator.class_log_prior_) + absent.sum(axis=1),
        threshold=float(estimator.binarize),
        steps=present - absent,
        link=multinomial,
    )


FAMILY = Family(
    library="sklearn",
    readers={
        "BernoulliNB": read_bernoulli,
        "ComplementNB": read_complement,
        "GaussianNB": read_gaussian,
        "MultinomialNB": read_multinomial,
    },
)
