"""Kernel machines: margins that are a weighted sum of kernels with the support vectors.

| kernel     | of                                    | structure                              |
|------------|---------------------------------------|----------------------------------------|
| linear     | support vector machines, kernel ridge | linear                                 |
| RBF        | the same                              | product                                |
| Laplacian  | kernel ridge                          | product                                |
| polynomial | support vector machines, kernel ridge | polynomial                             |
| sigmoid    | support vector machines, kernel ridge | network, whose hidden units are the    |
|            |                                       | support vectors                        |

A machine without any support vector is a constant, and read as a linear one. Next:
:mod:`service.structures.networks`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from operator import attrgetter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from service.shapley.games import Link
from service.shapley.grouping import Grouping
from service.shapley.kernels.distances import Distances
from service.structures.family import Family
from service.structures.linear import LinearStructure
from service.structures.links import Floats, OneVersusRest, PairwisePlatt
from service.structures.networks import NetworkStructure
from service.structures.structure import (
    Combinable,
    Structure,
    as_floats,
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
        kernels = {part.kernel for part in parts}
        if len(kernels) > 1:
            return None
        return replace(
            parts[0],
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

    def log_factors(self, grouping: Grouping) -> Distances:
        """Return what takes rows to the logarithm of each feature's factor of the kernel."""
        return Distances(self.support, self.rate, self.power, grouping)

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
    """A kernel machine with the kernel (⟨x, s⟩ + offset_s)^degree, behind an optional link.

    Attributes
    ----------
    intercepts : ndarray of shape (n_margins,)
    support : ndarray of shape (n_support, n_columns)
        Support vectors, times γ.
    dual : ndarray of shape (n_margins, n_support)
    offset : ndarray of shape (n_support,)
    degree : int
    link : callable or None
    """

    offset: Floats
    degree: int

    @property
    def kernel(self) -> tuple[float, ...]:
        """The degree; offsets may differ from one support vector to another."""
        return (self.degree,)

    def of_mapped_rows(self, matrix: Floats, shift: Floats) -> PolynomialStructure:
        """Return the same margins of rows that are mapped first; see :class:`Structure`."""
        offset = self.offset + self.support @ shift
        return replace(self, support=self.support @ matrix.T, offset=offset)

    @classmethod
    def _joined(cls, parts: Sequence[Self]) -> Self | None:
        """Give each support vector its offset."""
        joined = super()._joined(parts)
        if joined is None:
            return None
        return replace(joined, offset=np.concatenate(list(map(attrgetter("offset"), parts))))

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
    """Read SVC, NuSVC, SVR, NuSVR and OneClassSVM; not those that were fitted on sparse rows."""
    if estimator._sparse:
        return None
    machine = _read_kernel(
        estimator,
        support=as_floats(estimator.support_vectors_),
        dual=_dual_coefficients(estimator),
        intercepts=np.atleast_1d(as_floats(estimator.intercept_)),
        gamma=estimator._gamma,
    )
    if machine is None:
        return None
    return replace(machine, link=_libsvm_link(estimator, scale))


def read_outlier_machine(estimator: Any, scale: str) -> Structure | None:
    """Read OneClassSVM; its predictions are only the signs of its margin."""
    if scale == "prediction":
        return None
    return read_support_vector_machine(estimator, scale)


def _count_classes(estimator: Any) -> int:
    """Count the classes of a classifier; 0 for other machines."""
    return len(getattr(estimator, "classes_", ()))


def _libsvm_link(estimator: Any, scale: str) -> Link | None:
    """Return what libsvm, or scikit-learn after it, makes of its margins."""
    if scale == "probability":
        return _platt(estimator)
    n_classes = _count_classes(estimator)
    if n_classes > 2 and estimator.decision_function_shape == "ovr":
        return OneVersusRest(n_classes)
    return None


def _platt(estimator: Any) -> PairwisePlatt:
    """Read libsvm's sigmoids.

    scikit-learn turns the sign of the margin of two classes around, and leaves theirs.
    """
    n_classes = _count_classes(estimator)
    sign = 1.0
    if n_classes == 2:
        sign = -1.0
    return PairwisePlatt(
        slopes=sign * estimator._probA,
        offsets=np.array(estimator._probB),
        n_classes=n_classes,
    )


def _dual_coefficients(estimator: Any) -> Floats:
    """Return the dual coefficients of each margin; (n_margins, n_support)."""
    if _count_classes(estimator) > 2:
        return _one_versus_one(estimator)
    return as_floats(estimator.dual_coef_)


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
    support = as_floats(estimator.X_fit_)
    dual = np.atleast_2d(as_floats(estimator.dual_coef_).T)
    gamma = estimator.gamma
    if gamma is None:
        gamma = 1.0 / support.shape[1]
    return _read_kernel(estimator, support, dual, np.zeros(len(dual)), gamma)


def _read_kernel(
    estimator: Any, support: Floats, dual: Floats, intercepts: Floats, gamma: float
) -> Structure | None:
    """Read a machine by its kernel; None for functions as kernels and those not in the table."""
    if not isinstance(estimator.kernel, str):
        return None
    machine = FittedMachine(
        support=support,
        dual=dual,
        intercepts=intercepts,
        gamma=gamma,
        coef0=estimator.coef0,
        degree=estimator.degree,
    )
    if not dual.size:  # no support vector, as of targets within epsilon: a constant
        return _linear(machine)
    read = _KERNELS.get(estimator.kernel)
    if read is None:
        return None
    return read(machine)


def _linear(machine: FittedMachine) -> LinearStructure:
    return LinearStructure(machine.intercepts, machine.dual @ machine.support)


def _rbf(machine: FittedMachine) -> ProductStructure:
    return ProductStructure(
        intercepts=machine.intercepts,
        support=machine.support,
        dual=machine.dual,
        rate=np.array([[machine.gamma]]),
        power=2,
    )


def _laplacian(machine: FittedMachine) -> ProductStructure:
    return replace(_rbf(machine), power=1)


def _polynomial(machine: FittedMachine) -> PolynomialStructure | None:
    """Read a polynomial kernel of a whole degree."""
    if machine.degree < 1 or not float(machine.degree).is_integer():
        return None
    return PolynomialStructure(
        intercepts=machine.intercepts,
        support=machine.gamma * machine.support,
        dual=machine.dual,
        offset=np.full(len(machine.support), float(machine.coef0)),
        degree=int(machine.degree),
    )


def _sigmoid(machine: FittedMachine) -> NetworkStructure:
    """Read tanh(γ ⟨x, s⟩ + coef0): each support vector is a hidden unit of a network."""
    hidden_biases = np.full(len(machine.support), float(machine.coef0))
    return NetworkStructure(
        weights=[machine.gamma * machine.support.T, machine.dual.T],
        biases=[hidden_biases, machine.intercepts],
        activation="tanh",
        output_activation="identity",
    )


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
        "KernelRidge": read_kernel_ridge,
        "NuSVC": read_support_vector_machine,
        "NuSVR": read_support_vector_machine,
        "OneClassSVM": read_outlier_machine,
        "SVC": read_support_vector_machine,
        "SVR": read_support_vector_machine,
    },
)
