"""Classifiers by Gaussian processes: a probability of the mean and the variance of a latent margin.

The mean is a kernel machine, so its Shapley values are exact where the kernel is a product; the
variance is a square form of the kernels with the rows that were fitted. The probability is the mean
of a sigmoid over the latent margin, which is approximated by five error functions as scikit-learn
does (Williams and Barber, "Bayesian Classification with Gaussian Processes", 1998, appendix A).

Read is the kernel that is a constant times an RBF, white noise with it or not; of several classes
one-versus-rest. Next: :mod:`service.structures.trees`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import block_diag, solve_triangular
from scipy.special import erf

from service.shapley.additive import AdditiveModel
from service.shapley.grouping import Grouping
from service.shapley.kernels.distances import Distances
from service.shapley.plan import Numbers
from service.structures.family import Family
from service.structures.kernel_machines import read_scaled_rbf
from service.structures.links import Floats, shares_of
from service.structures.structure import Structure, as_floats

# Of scikit-learn's approximation of the sigmoid.
SLOPES = np.array([0.41, 0.4, 0.37, 0.44, 0.39])
SHARES = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])


@dataclass(frozen=True)
class ProcessStructure(Structure):
    """Means and variances of latent margins, behind a link.

    Attributes
    ----------
    support : ndarray of shape (n_support, n_columns)
        The rows that were fitted, once for each margin.
    rate : ndarray of shape (n_columns, n_support)
        γ of exp(−γ d²).
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
        kernels = np.exp(hidden, out=hidden)
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
    for process in processes:
        scaled_rbf = read_scaled_rbf(getattr(process, "kernel_", None))
        if scaled_rbf is None:
            return None
        amplitude, length_scale = scaled_rbf
        support = as_floats(process.X_train_)
        rate = np.broadcast_to(0.5 / np.square(length_scale), support.shape[1])
        supports.append(support)
        rates.append(np.repeat(rate[:, None], len(support), axis=1))
        duals.append(amplitude * (process.y_train_ - process.pi_)[None])
        root = solve_triangular(process.L_, np.diag(process.W_sr_), lower=True)
        factors.append(amplitude * root.T)
        variances.append(process.kernel_.diag(support[:1])[0])
    return ProcessStructure(
        support=np.concatenate(supports),
        rate=np.concatenate(rates, axis=1),
        dual=block_diag(*duals),
        factors=tuple(factors),
        link=MeanSigmoid(np.array(variances)),
    )


FAMILY = Family(library="sklearn", readers={"GaussianProcessClassifier": read_process_classifier})
