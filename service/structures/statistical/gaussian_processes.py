"""Gaussian processes: means of kernels, and probabilities of the mean and the variance of a margin.

A regressor's mean is a sum of one kernel machine for each term of the kernel
(:mod:`service.structures.statistical.process_kernels`): exact for those of products and of scalar
products, sampled for other functions of a distance.

A classifier's latent mean is such a machine too; its variance is a square form of the kernels with
the rows that were fitted. The probability is the mean of a sigmoid over the latent margin, which is
approximated by five error functions as scikit-learn does (Williams and Barber, "Bayesian
Classification with Gaussian Processes", 1998, appendix A). Read are kernels of one term; of several
classes one-versus-rest. Next: :mod:`service.structures.statistical.discriminants`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
from scipy.linalg import block_diag, solve_triangular
from scipy.special import erf

from service.shapley.additive import AdditiveModel
from service.shapley.grouping import Grouping
from service.shapley.kernels.distances import Distances
from service.shapley.plan import Numbers
from service.structures.combined.parts import Part, added_up
from service.structures.combined.stacking import mean_of
from service.structures.family import Family
from service.structures.kernel_machines import PolynomialStructure, ProductStructure
from service.structures.linear import LinearStructure
from service.structures.links import Floats, shares_of
from service.structures.statistical.process_kernels import Profile, Term, read_terms
from service.structures.structure import Structure, as_floats

# Of scikit-learn's approximation of the sigmoid.
SLOPES = np.array([0.41, 0.4, 0.37, 0.44, 0.39])
SHARES = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])


@dataclass(frozen=True)
class RadialStructure(Structure):
    """Margins that are weighted sums of a function of the distance from each support vector.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    support : ndarray of shape (n_support, n_columns)
    dual : ndarray of shape (n_margins, n_support)
    rate : ndarray of shape (n_columns, 1)
    profile : callable
        From −Σ rate · d² to kernels; it may overwrite its argument.
    link : callable or None
    """

    intercepts: Floats
    support: Floats
    dual: Floats
    rate: Floats
    profile: Profile

    @property
    def has_closed_form(self) -> bool:
        """Never: how much a feature matters hangs on all others."""
        return False

    def additive(self, grouping: Grouping) -> AdditiveModel:
        """Return the parts of the model: its hidden units are distances."""
        contributions = Distances(self.support, self.rate, 2, grouping)
        bias = np.zeros(len(self.support))
        return AdditiveModel(contributions, bias, self.readout, self.link, is_linear=False)

    def readout(self, hidden: Numbers) -> Numbers:
        """Evaluate the margins; overwrites its argument."""
        kernels = self.profile(hidden)
        margins = kernels @ self.dual.T.astype(hidden.dtype, copy=False)
        return margins + self.intercepts.astype(hidden.dtype, copy=False)


@dataclass(frozen=True)
class ProcessStructure(Structure):
    """Means and variances of latent margins, behind a link.

    Attributes
    ----------
    support : ndarray of shape (n_support, n_columns)
        The rows that were fitted, once for each margin.
    rate : ndarray of shape (n_columns, n_support)
    profile : callable
        From −Σ rate · d² to kernels; it may overwrite its argument.
    dual : ndarray of shape (n_margins, n_support)
        Of the means.
    factors : tuple of ndarray of shape (n_rows, n_rows)
        For each margin: the squares of kernels times it add up to what the rows take of the
        variance.
    link : callable
        From means and then those sums of squares, (n, 2 · n_margins), to probabilities.
    """

    support: Floats
    rate: Floats
    profile: Profile
    dual: Floats
    factors: tuple[Floats, ...]

    def log_factors(self, grouping: Grouping) -> Distances:
        """Return what takes rows to the logarithm of each feature's factor of the kernel."""
        return Distances(self.support, self.rate, 2, grouping)

    def additive(self, grouping: Grouping) -> AdditiveModel:
        """Return the parts of the model: its hidden units are the logarithms of kernels."""
        bias = np.zeros(len(self.support))
        contributions = self.log_factors(grouping)
        return AdditiveModel(contributions, bias, self.readout, self.link, is_linear=False)

    def readout(self, hidden: Numbers) -> Numbers:
        """Evaluate means and sums of squares; overwrites its argument."""
        kernels = self.profile(hidden)
        means = kernels @ self.dual.T.astype(hidden.dtype, copy=False)
        squares = []
        for of_margin, factor in zip(
            np.split(kernels, len(self.factors), axis=1), self.factors, strict=True
        ):
            taken = of_margin @ factor.astype(hidden.dtype, copy=False)
            squares.append(np.einsum("nk,nk->n", taken, taken))
        return np.concatenate([means, np.stack(squares, axis=1)], axis=1)


@dataclass(frozen=True)
class MeanSigmoid:
    """The mean of a sigmoid over latent margins: the probability of each class.

    Attributes
    ----------
    variances : ndarray of shape (n_margins,)
        Those far from all rows that were fitted.
    """

    variances: Floats

    def __call__(self, margins: Floats) -> Floats:
        """Return probabilities, from means and what the rows take of the variances."""
        means, taken = np.split(margins, 2, axis=1)
        variances = (self.variances - taken)[:, :, None]
        scaled = SLOPES * means[:, :, None] / np.sqrt(1 + 2 * variances * SLOPES**2)
        positive: Floats = (erf(scaled) @ SHARES + SHARES.sum()) / 2
        if positive.shape[1] == 1:
            return np.hstack([1 - positive, positive])
        return shares_of(positive, total_of_none=0.0)


def read_process_classifier(estimator: Any, scale: str) -> ProcessStructure | None:
    """Read GaussianProcessClassifier."""
    base = estimator.base_estimator_
    processes = getattr(base, "estimators_", [base])
    if scale != "probability" or estimator.multi_class != "one_vs_rest":
        return None
    supports, rates, duals, factors, variances = [], [], [], [], []
    terms = list(map(_read_single_term, processes))
    profile, *others = {getattr(term, "profile", None) for term in terms}
    if profile is None or others:  # as of classes with exponents of their own
        return None
    for process, term in zip(processes, terms, strict=True):
        amplitude = term.amplitude
        support = as_floats(process.X_train_)
        rate = np.broadcast_to(term.rate, support.shape[1])
        supports.append(support)
        rates.append(np.repeat(rate[:, None], len(support), axis=1))
        duals.append(amplitude * (process.y_train_ - process.pi_)[None])
        root = solve_triangular(process.L_, np.diag(process.W_sr_), lower=True)
        factors.append(amplitude * root.T)
        variances.append(process.kernel_.diag(support[:1])[0])
    return ProcessStructure(
        support=np.concatenate(supports),
        rate=np.concatenate(rates, axis=1),
        profile=profile,
        dual=block_diag(*duals),
        factors=tuple(factors),
        link=MeanSigmoid(np.array(variances)),
    )


def _read_single_term(process: Any) -> Any:
    """Read a kernel that is a single function of a distance; None for any other."""
    terms = read_terms(getattr(process, "kernel_", None)) or [Term(degree=1)]
    return None if len(terms) > 1 or terms[0].degree else terms[0]


def read_process_regressor(estimator: Any, scale: str) -> Structure | None:
    """Read the posterior mean: a machine for each term of the kernel, and what is constant."""
    terms = read_terms(getattr(estimator, "kernel_", None))
    if terms is None:
        return None
    support = as_floats(estimator.X_train_)
    weights = (as_floats(estimator.alpha_).reshape(len(support), -1) * estimator._y_train_std).T
    intercepts = np.broadcast_to(as_floats(estimator._y_train_mean), len(weights)).copy()
    machines: list[Any] = []
    for term in terms:
        if term.is_constant:
            intercepts += term.amplitude * weights.sum(axis=1)
        else:
            machines.append(_machine_of(term, support, term.amplitude * weights))
    if not machines:
        return LinearStructure(intercepts, np.zeros((len(weights), support.shape[1])))
    first, *others = machines
    machines = [replace(first, intercepts=first.intercepts + intercepts), *others]
    return _sum_of(machines, support.shape[1])


def _machine_of(term: Term, support: Floats, dual: Floats) -> Structure:
    """Return the machine of one term, without an intercept."""
    nothing, rate = np.zeros(len(dual)), term.rate[:, None]
    offset = np.full(len(support), term.offset)
    if term.degree == 1:
        return LinearStructure(dual @ offset, dual @ support)
    if term.degree:
        return PolynomialStructure(nothing, support, dual, offset=offset, degree=term.degree)
    if term.is_exponential:
        return ProductStructure(nothing, support, dual, rate=rate, power=2)
    return RadialStructure(nothing, support, dual, rate, term.profile)


def _sum_of(machines: Sequence[Structure], n_columns: int) -> Structure | None:
    """Add up machines: those of one kind become one."""
    if len(machines) == 1:
        return machines[0]
    weights = np.ones(len(machines))
    joined = mean_of(machines, weights)
    if joined is not None:
        return joined
    return added_up(list(map(Part.bare, machines, repeat(n_columns))), weights, n_columns)


FAMILY = Family(
    library="sklearn",
    readers={
        "GaussianProcessClassifier": read_process_classifier,
        "GaussianProcessRegressor": read_process_regressor,
    },
)
