"""Linear models: margins that add up over columns, or over products of powers of them.

Linear regressors and classifiers; support vector machines and kernel ridge with a linear kernel
become one too (:mod:`service.structures.kernel_machines`). Next:
:mod:`service.structures.behind`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from service.shapley.additive import AdditiveModel
from service.shapley.grouping import Grouped, Grouping
from service.shapley.plan import Numbers
from service.structures.family import Family
from service.structures.links import Floats, OnePerClass, binary_or_multinomial, logistic
from service.structures.structure import (
    Combinable,
    Structure,
    as_floats,
    joined_intercepts,
    placed_columns,
)


@dataclass(frozen=True)
class LinearStructure(Combinable):
    """Margins that are linear in the columns, behind an optional link.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    coefficients : ndarray of shape (n_margins, n_columns)
    link : callable or None
    """

    coefficients: Floats

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to each margin, shape (n_rows, n_columns, n_margins)."""
        return rows[:, :, None] * self.coefficients.T

    @property
    def additive(self) -> AdditiveModel:
        """The parts of the model: its hidden units are the margins."""
        return AdditiveModel(self.contributions, self.intercepts, identity_readout, self.link)

    def mapped(self, matrix: Floats, shift: Floats | float = 0.0) -> LinearStructure:
        """Return the margins matrix · margins + shift."""
        return replace(
            self,
            coefficients=matrix @ self.coefficients,
            intercepts=matrix @ self.intercepts + shift,
        )

    def spread(self, columns: NDArray[np.intp], n_columns: int) -> LinearStructure:
        """Return the same margins of rows that have more columns."""
        return replace(self, coefficients=placed_columns(self.coefficients, columns, n_columns))

    def of_mapped_rows(self, matrix: Floats, shift: Floats) -> LinearStructure:
        """Return the same margins of rows that are mapped first; see :class:`Structure`."""
        return replace(
            self,
            coefficients=self.coefficients @ matrix.T,
            intercepts=self.intercepts + self.coefficients @ shift,
        )

    @classmethod
    def _joined(cls, parts: Sequence[Self]) -> Self:
        coefficients = np.concatenate([part.coefficients for part in parts])
        return cls(joined_intercepts(parts), coefficients)


@dataclass(frozen=True)
class LogLinearStructure(Structure):
    """The exponential of a linear margin, plus a number: a product of one factor a column.

    That is a kernel machine of one support vector, so it is exact where other links are sampled.

    Attributes
    ----------
    coefficients : ndarray of shape (1, n_columns)
    log_scale : float
        The margin's intercept.
    intercepts : ndarray of shape (1,)
        Added to the exponential.
    """

    coefficients: Floats
    log_scale: float
    intercepts: Floats

    @property
    def dual(self) -> Floats:
        """The weight of the only support vector."""
        return np.ones((1, 1))

    def log_factors(self, grouping: Grouping) -> Grouped:
        """Return what takes rows to the logarithm of each feature's factor."""
        return Grouped(self.log_factors_of_columns, grouping)

    def log_factors_of_columns(self, rows: Floats) -> Floats:
        """Return the logarithm of each column's factor, shape (n_rows, n_columns, 1).

        The first column has the intercept's, so that the product is as large as the outputs.
        """
        logs = rows * self.coefficients
        logs[:, 0] += self.log_scale
        return logs[:, :, None]


@dataclass(frozen=True)
class PolynomialSumStructure(Structure):
    """Margins that are linear in products of powers of columns.

    Attributes
    ----------
    powers : ndarray of int, shape (n_terms, n_columns)
    coefficients : ndarray of shape (n_margins, n_terms)
    intercepts : ndarray of shape (n_margins,)
    """

    powers: NDArray[np.intp]
    coefficients: Floats
    intercepts: Floats


def is_linear(structure: Structure | None) -> TypeGuard[LinearStructure]:
    """Tell whether a structure is linear margins without a link."""
    return isinstance(structure, LinearStructure) and structure.link is None


def exponential_of(margins: LinearStructure, plus: float = 0.0) -> LogLinearStructure:
    """Return the exponential of a single margin, plus a number."""
    return LogLinearStructure(
        coefficients=margins.coefficients,
        log_scale=float(margins.intercepts[0]),
        intercepts=np.array([plus]),
    )


def identity_readout(margins: Numbers) -> Numbers:
    """Return margins as they are: nothing follows on the first layer of a linear model."""
    return margins


def read_linear(estimator: Any, scale: str) -> LinearStructure | None:
    """Read a linear model that has no probabilities, or none that its margins give."""
    if scale == "probability":
        return None
    return _margins(estimator)


def read_latent(estimator: Any, scale: str) -> LinearStructure:
    """Read a regression on latent variables: linear in columns that are centred first."""
    margins = _margins(estimator)
    shift = margins.coefficients @ as_floats(estimator._x_mean)
    return replace(margins, intercepts=margins.intercepts - shift)


def read_logistic(estimator: Any, scale: str) -> LinearStructure:
    """Read a linear classifier whose probabilities are the softmax of its margins."""
    margins = _margins(estimator)
    if scale != "probability":
        return margins
    return replace(margins, link=binary_or_multinomial(len(margins.intercepts)))


def read_stochastic(estimator: Any, scale: str) -> LinearStructure | None:
    """Read a linear classifier that has probabilities by its logistic loss alone, one per class."""
    if (scale, estimator.loss) != ("probability", "log_loss"):
        return read_linear(estimator, scale)
    margins = _margins(estimator)
    n_margins = len(margins.intercepts)
    one_per_class = OnePerClass((logistic,) * n_margins)
    return replace(margins, link={1: logistic}.get(n_margins, one_per_class))


def read_generalised(estimator: Any, scale: str) -> Structure:
    """Read a generalised linear model, whose link is the logarithm or none."""
    behind_link = _GENERALISED[type(estimator._base_loss.link).__name__]
    return behind_link(_margins(estimator))


def _margins(estimator: Any) -> LinearStructure:
    coefficients = np.atleast_2d(as_floats(estimator.coef_))
    intercepts = np.broadcast_to(as_floats(estimator.intercept_), len(coefficients))
    return LinearStructure(intercepts.copy(), coefficients)


def _as_it_is(margins: LinearStructure) -> LinearStructure:
    return margins


# By the name of scikit-learn's link.
_GENERALISED: dict[str, Callable[[LinearStructure], Structure]] = {
    "IdentityLink": _as_it_is,
    "LogLink": exponential_of,
}

FAMILY = Family(
    library="sklearn",
    prefers_margin=True,
    readers={
        "ARDRegression": read_linear,
        "BayesianRidge": read_linear,
        "CCA": read_latent,
        "ElasticNet": read_linear,
        "ElasticNetCV": read_linear,
        "GammaRegressor": read_generalised,
        "HuberRegressor": read_linear,
        "Lars": read_linear,
        "LarsCV": read_linear,
        "Lasso": read_linear,
        "LassoCV": read_linear,
        "LassoLars": read_linear,
        "LassoLarsCV": read_linear,
        "LassoLarsIC": read_linear,
        "LinearDiscriminantAnalysis": read_logistic,
        "LinearRegression": read_linear,
        "LinearSVC": read_linear,
        "LinearSVR": read_linear,
        "LogisticRegression": read_logistic,
        "LogisticRegressionCV": read_logistic,
        "MultiTaskElasticNet": read_linear,
        "MultiTaskElasticNetCV": read_linear,
        "MultiTaskLasso": read_linear,
        "MultiTaskLassoCV": read_linear,
        "OrthogonalMatchingPursuit": read_linear,
        "OrthogonalMatchingPursuitCV": read_linear,
        "PLSCanonical": read_latent,
        "PLSRegression": read_latent,
        "PassiveAggressiveClassifier": read_linear,
        "PassiveAggressiveRegressor": read_linear,
        "Perceptron": read_linear,
        "PoissonRegressor": read_generalised,
        "QuantileRegressor": read_linear,
        "Ridge": read_linear,
        "RidgeCV": read_linear,
        "RidgeClassifier": read_linear,
        "RidgeClassifierCV": read_linear,
        "SGDClassifier": read_stochastic,
        "SGDRegressor": read_linear,
        "TheilSenRegressor": read_linear,
        "TweedieRegressor": read_generalised,
    },
)
