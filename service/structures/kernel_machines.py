"""Kernel machines: margins that are a weighted sum of kernels with the support vectors.

| kernel             | of                                       | structure                               |
|--------------------|------------------------------------------|-----------------------------------------|
| linear             | support vector machines, kernel ridge    | linear                                  |
| RBF                | these, and the Gaussian process          | product                                 |
| Laplacian          | kernel ridge                             | product                                 |
| polynomial         | support vector machines, kernel ridge    | polynomial                              |
| sigmoid            | support vector machines, kernel ridge    | network: support vectors are its hidden |
|                    |                                          | units                                   |

A machine without any support vector is a constant, and read as a linear one. Next:
:mod:`service.structures.networks`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from service.structures.family import Family
from service.structures.linear import LinearStructure
from service.structures.links import Floats, OneVersusRest, PairwisePlatt
from service.structures.networks import NetworkStructure
from service.structures.structure import (
    Combinable,
    Structure,
    joined_intercepts,
    placed_columns,
)


@dataclass(frozen=True)
class KernelMachineStructure(Combinable):
    """Margins dual · k(row, support vectors) + intercepts, behind an optional link.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    support : ndarray of shape (n_support, n_columns)
    dual : ndarray of shape (n_margins, n_support)
    link : callable or None
    """

    support: Floats
    dual: Floats

    def mapped(self, matrix: Floats, shift: Floats | float = 0.0) -> Self:
        """Return the margins matrix · margins + shift."""
        return replace(self, dual=matrix @ self.dual, intercepts=matrix @ self.intercepts + shift)

    @property
    @abstractmethod
    def kernel(self) -> tuple[float, ...]:
        """What two machines must have in common to be joined."""

    @classmethod
    def _joined(cls, parts: Sequence[Self]) -> Self | None:
        """Let each margin see its own support vectors; None when the kernels are of two kinds."""
        first = parts[0]
        if any(part.kernel != first.kernel for part in parts):
            return None
        return replace(
            first,
            intercepts=joined_intercepts(parts),
            support=np.concatenate([part.support for part in parts]),
            dual=block_diag(*[part.dual for part in parts]),
            link=None,
        )


@dataclass(frozen=True)
class ProductStructure(KernelMachineStructure):
    """A kernel machine with a product kernel, behind an optional link.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    support : ndarray of shape (n_support, n_columns)
    dual : ndarray of shape (n_margins, n_support)
    rate : ndarray of shape (n_columns or 1, n_support or 1)
        γ of exp(−γ d²), or of exp(−γ |d|).
    power : {1, 2}
        2 for RBF kernels, 1 for Laplacian ones.
    link : callable or None
    """

    rate: Floats
    power: int

    @property
    def kernel(self) -> tuple[float, ...]:
        """The power; rates may differ from one support vector to another."""
        return (self.power,)

    def log_factors(self, rows: Floats) -> Floats:
        """Return the logarithm of each column's factor of the kernel.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, n_columns, n_support)
        """
        distance = rows[:, :, None] - self.support.T
        if self.power == 2:
            raised = np.square(distance, out=distance)
        else:
            raised = np.abs(distance, out=distance)
        return np.multiply(raised, -self.rate, out=raised)

    def spread(self, columns: NDArray[np.intp], n_columns: int) -> ProductStructure:
        """Return the same margins of rows that have more columns."""
        rate = np.zeros((n_columns, self.rate.shape[1]))
        rate[columns] = self.rate
        return replace(self, support=placed_columns(self.support, columns, n_columns), rate=rate)

    @classmethod
    def _joined(cls, parts: Sequence[Self]) -> Self | None:
        """Give each support vector its rates, so that machines of different rates fit together."""
        joined = super()._joined(parts)
        if joined is None:
            return None
        rates = [np.broadcast_to(part.rate, part.support.T.shape) for part in parts]
        return replace(joined, rate=np.concatenate(rates, axis=1))


@dataclass(frozen=True)
class PolynomialStructure(KernelMachineStructure):
    """A kernel machine with the kernel (⟨x, s⟩ + offset)^degree, behind an optional link.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    support : ndarray of shape (n_support, n_columns)
        Support vectors, times γ.
    dual : ndarray of shape (n_margins, n_support)
    offset : float
    degree : int
    link : callable or None
    """

    offset: float
    degree: int

    @property
    def kernel(self) -> tuple[float, ...]:
        """Degree and offset."""
        return self.degree, self.offset

    def spread(self, columns: NDArray[np.intp], n_columns: int) -> PolynomialStructure:
        """Return the same margins of rows that have more columns."""
        return replace(self, support=placed_columns(self.support, columns, n_columns))


@dataclass(frozen=True)
class FittedMachine:
    """What the readers by kernel need of a fitted machine.

    Attributes
    ----------
    support : ndarray of shape (n_support, n_columns)
    dual : ndarray of shape (n_margins, n_support)
    intercepts : ndarray of shape (n_margins,)
    gamma, coef0, degree : float
        Parameters of its kernel, as scikit-learn names them.
    """

    support: Floats
    dual: Floats
    intercepts: Floats
    gamma: float
    coef0: float
    degree: float


def read_support_vector_machine(estimator: Any, scale: str) -> Structure | None:
    """Read SVC, NuSVC, SVR, NuSVR and OneClassSVM; libsvm's machines on sparse rows are not read."""
    if estimator._sparse:
        return None
    n_classes = len(getattr(estimator, "classes_", ()))
    if n_classes > 2:
        dual = _one_versus_one(estimator)
    else:
        dual = np.asarray(estimator.dual_coef_, dtype=np.float64)
    support = np.asarray(estimator.support_vectors_, dtype=np.float64)
    intercepts = np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64))
    machine = _read_kernel(estimator, support, dual, intercepts, estimator._gamma)
    if machine is None:
        return None
    if scale == "probability":
        return replace(machine, link=_platt(estimator))
    if n_classes > 2 and estimator.decision_function_shape == "ovr":
        return replace(machine, link=OneVersusRest(n_classes))
    return machine


def read_outlier_machine(estimator: Any, scale: str) -> Structure | None:
    """Read OneClassSVM; its predictions are only the signs of its margin."""
    return None if scale == "prediction" else read_support_vector_machine(estimator, scale)


def _platt(estimator: Any) -> PairwisePlatt:
    """Read libsvm's sigmoids.

    scikit-learn turns the sign of the margin of two classes around, and leaves theirs.
    """
    n_classes = len(estimator.classes_)
    sign = -1.0 if n_classes == 2 else 1.0
    return PairwisePlatt(sign * estimator._probA, np.array(estimator._probB), n_classes)


def _one_versus_one(estimator: Any) -> Floats:
    """Spread libsvm's compact dual coefficients over the pairs of classes; (n_pairs, n_support)."""
    ends = np.cumsum(estimator.n_support_)
    starts = ends - estimator.n_support_
    pairs = list(combinations(range(len(ends)), 2))
    dual = np.zeros((len(pairs), ends[-1]))
    for pair, (first, second) in enumerate(pairs):
        of_first = slice(starts[first], ends[first])
        of_second = slice(starts[second], ends[second])
        dual[pair, of_first] = estimator.dual_coef_[second - 1, of_first]
        dual[pair, of_second] = estimator.dual_coef_[first, of_second]
    return dual


def read_kernel_ridge(estimator: Any, scale: str) -> Structure | None:
    """Read KernelRidge, whose support vectors are all rows that it was fitted on."""
    support = np.asarray(estimator.X_fit_, dtype=np.float64)
    gamma = 1.0 / support.shape[1] if estimator.gamma is None else estimator.gamma
    dual = np.atleast_2d(np.asarray(estimator.dual_coef_, dtype=np.float64).T)
    return _read_kernel(estimator, support, dual, np.zeros(len(dual)), gamma)


def read_gaussian_process(estimator: Any, scale: str) -> ProductStructure | None:
    """Read the posterior mean for a kernel that is a constant times an RBF, plus white noise."""
    amplitude, length_scale = _scaled_rbf(getattr(estimator, "kernel_", None))
    if length_scale is None:
        return None
    support = np.asarray(estimator.X_train_, dtype=np.float64)
    alpha = np.asarray(estimator.alpha_, dtype=np.float64).reshape(len(support), -1)
    dual = (amplitude * alpha * estimator._y_train_std).T
    mean = np.asarray(estimator._y_train_mean, dtype=np.float64)
    return ProductStructure(
        intercepts=np.broadcast_to(mean, len(dual)).copy(),
        support=support,
        dual=dual,
        rate=np.atleast_1d(0.5 / np.square(length_scale))[:, None],
        power=2,
    )


def _scaled_rbf(kernel: Any) -> tuple[float, Any]:
    """Return amplitude and length scale of an RBF kernel; no length scale for any other kernel."""
    name = type(kernel).__name__
    if name == "RBF":
        return 1.0, kernel.length_scale
    if name == "Sum" and type(kernel.k2).__name__ == "WhiteKernel":
        return _scaled_rbf(kernel.k1)
    if name == "Product" and type(kernel.k1).__name__ == "ConstantKernel":
        amplitude, length_scale = _scaled_rbf(kernel.k2)
        return amplitude * kernel.k1.constant_value, length_scale
    return 1.0, None


def _read_kernel(
    estimator: Any, support: Floats, dual: Floats, intercepts: Floats, gamma: float
) -> Structure | None:
    """Read a machine by its kernel; None for functions as kernels and those not in the table."""
    if not isinstance(estimator.kernel, str):
        return None
    machine = FittedMachine(support, dual, intercepts, gamma, estimator.coef0, estimator.degree)
    if not dual.size:  # no support vector, as of targets within epsilon: a constant
        return _linear(machine)
    read = _KERNELS.get(estimator.kernel)
    return None if read is None else read(machine)


def _linear(machine: FittedMachine) -> LinearStructure:
    return LinearStructure(machine.intercepts, machine.dual @ machine.support)


def _rbf(machine: FittedMachine) -> ProductStructure:
    rate = np.array([[machine.gamma]])
    return ProductStructure(machine.intercepts, machine.support, machine.dual, rate, power=2)


def _laplacian(machine: FittedMachine) -> ProductStructure:
    return replace(_rbf(machine), power=1)


def _polynomial(machine: FittedMachine) -> PolynomialStructure | None:
    """Read a polynomial kernel of a whole degree."""
    if machine.degree < 1 or not float(machine.degree).is_integer():
        return None
    return PolynomialStructure(
        machine.intercepts,
        machine.gamma * machine.support,
        machine.dual,
        offset=float(machine.coef0),
        degree=int(machine.degree),
    )


def _sigmoid(machine: FittedMachine) -> NetworkStructure:
    """Read tanh(γ ⟨x, s⟩ + coef0): each support vector is a hidden unit of a network."""
    weights = [machine.gamma * machine.support.T, machine.dual.T]
    biases = [np.full(len(machine.support), float(machine.coef0)), machine.intercepts]
    return NetworkStructure(weights, biases, "tanh", "identity")


_KERNELS: dict[str, Callable[[FittedMachine], Structure | None]] = {
    "linear": _linear,
    "rbf": _rbf,
    "laplacian": _laplacian,
    "poly": _polynomial,
    "polynomial": _polynomial,
    "sigmoid": _sigmoid,
}

FAMILY = Family(
    library="sklearn",
    readers={
        "GaussianProcessRegressor": read_gaussian_process,
        "KernelRidge": read_kernel_ridge,
        "NuSVC": read_support_vector_machine,
        "NuSVR": read_support_vector_machine,
        "OneClassSVM": read_outlier_machine,
        "SVC": read_support_vector_machine,
        "SVR": read_support_vector_machine,
    },
)
