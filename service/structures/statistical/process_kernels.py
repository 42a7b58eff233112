"""The kernels of Gaussian processes, as sums of terms.

| kernel                     | the term                                                          |
|----------------------------|-------------------------------------------------------------------|
| RBF, Matern of infinite ν  | the exponential of −Σ rate · d²                                   |
| Matern of ν = ½, 1½, 2½;   | another function of that sum                                      |
| RationalQuadratic          |                                                                   |
| DotProduct                 | a scalar product plus a number, to the power 1                    |
| a constant                 | an exponential whose rate is 0                                    |
| white noise                | none: it is nothing at other rows than those that were fitted     |
| sums                       | the terms of both                                                 |
| products, powers           | those of constants and exponentials, and constants times any;     |
|                            | whole powers of scalar products                                   |

Next: :mod:`service.structures.statistical.gaussian_processes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product, starmap
from typing import Any

import numpy as np

from service.shapley.plan import Numbers
from service.structures.links import Floats

Profile = Callable[[Numbers], Numbers]
NO_RATE = np.zeros(1)


def exponential(halves: Numbers) -> Numbers:
    """Return the exponential; overwrites its argument."""
    return np.exp(halves, out=halves)


@dataclass(frozen=True)
class Matern:
    """The Matérn kernel of a squared distance, halved and negative, as the logarithm of RBF's is.

    Attributes
    ----------
    coefficients : tuple of float
        Of the polynomial before the exponential, in the scaled distance.
    scale : float
        √(2ν).
    """

    coefficients: tuple[float, ...]
    scale: float

    def __call__(self, halves: Numbers) -> Numbers:
        """Return kernels; overwrites its argument."""
        distance = np.sqrt(np.maximum(halves * -2, 0, out=halves), out=halves)
        distance *= self.scale
        factor = np.full_like(distance, self.coefficients[-1])
        for coefficient in self.coefficients[-2::-1]:
            factor *= distance
            factor += coefficient
        return np.multiply(factor, np.exp(np.negative(distance, out=distance)), out=factor)


@dataclass(frozen=True)
class RationalQuadratic:
    """The rational quadratic kernel of the same.

    Attributes
    ----------
    alpha : float
    """

    alpha: float

    def __call__(self, halves: Numbers) -> Numbers:
        """Return kernels; overwrites its argument."""
        halves /= -self.alpha
        halves += 1
        return np.power(halves, -self.alpha, out=halves)


# The polynomials of Matérn kernels, by ν.
_MATERN: dict[float, Profile] = {
    math.inf: exponential,
    0.5: Matern((1.0,), 1.0),
    1.5: Matern((1.0, 1.0), math.sqrt(3)),
    2.5: Matern((1.0, 1.0, 1 / 3), math.sqrt(5)),
}


@dataclass(frozen=True)
class Term:
    """A part of a kernel: amplitude · profile(−Σ rate · d²) · (⟨x, s⟩ + offset)^degree.

    Attributes
    ----------
    amplitude : float
    rate : ndarray of shape (n_columns or 1,)
    profile : callable
        It may overwrite its argument. Another one than the exponential stands alone.
    offset : float
    degree : int
        0 where there is no scalar product; more where there is no distance.
    """

    amplitude: float = 1.0
    rate: Floats = field(default_factory=NO_RATE.copy)
    profile: Profile = exponential
    offset: float = 0.0
    degree: int = 0

    @property
    def is_exponential(self) -> bool:
        """Whether products of it with others of its kind are known; constants are."""
        return self.profile is exponential and self.degree == 0

    @property
    def is_constant(self) -> bool:
        """Whether it says the same of all rows."""
        return self.is_exponential and not self.rate.any()


Terms = list[Term] | None


def read_terms(kernel: Any) -> Terms:
    """Read a kernel as a sum of terms; None where it is no such sum.

    Examples
    --------
    >>> from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    >>> (term,) = read_terms(2.0 * RBF(0.5) + WhiteKernel())
    >>> term.amplitude, term.rate.tolist()
    (2.0, [2.0])
    """
    read = _READERS.get(type(kernel).__name__)
    return None if read is None else read(kernel)


def _read_constant(kernel: Any) -> Terms:
    return [Term(float(kernel.constant_value))]


def _read_noise(_: Any) -> Terms:
    return []


def _read_rbf(kernel: Any) -> Terms:
    return [Term(rate=_rate(kernel))]


def _rate(kernel: Any) -> Floats:
    return np.atleast_1d(0.5 / np.square(kernel.length_scale))


def _read_matern(kernel: Any) -> Terms:
    profile = _MATERN.get(kernel.nu)
    return None if profile is None else [Term(rate=_rate(kernel), profile=profile)]


def _read_rational(kernel: Any) -> Terms:
    return [Term(rate=_rate(kernel), profile=RationalQuadratic(float(kernel.alpha)))]


def _read_scalar_product(kernel: Any) -> Terms:
    return [Term(offset=float(kernel.sigma_0) ** 2, degree=1)]


def _read_sum(kernel: Any) -> Terms:
    first, second = read_terms(kernel.k1), read_terms(kernel.k2)
    return None if first is None or second is None else first + second


def _read_product(kernel: Any) -> Terms:
    """Multiply each term of one kernel with each of the other."""
    first, second = read_terms(kernel.k1), read_terms(kernel.k2)
    if first is None or second is None:
        return None
    products = list(filter(None, starmap(_times, product(first, second))))
    return products if len(products) == len(first) * len(second) else None


def _times(first: Term, second: Term) -> Term | None:
    """Multiply terms; None unless both are exponentials, or one of them is a constant."""
    amplitude = first.amplitude * second.amplitude
    if second.is_constant:
        return replace(first, amplitude=amplitude)
    if first.is_constant:
        return replace(second, amplitude=amplitude)
    if first.is_exponential and second.is_exponential:
        return Term(amplitude, first.rate + second.rate)
    return None


def _read_power(kernel: Any) -> Terms:
    """Raise a single term to a power; None for others, and broken powers of scalar products."""
    terms, power = read_terms(kernel.kernel), float(kernel.exponent)
    if terms is None or len(terms) != 1:
        return None
    (term,) = terms
    amplitude = term.amplitude**power
    if term.is_exponential:
        return [Term(amplitude, power * term.rate)]
    if term.degree and power.is_integer():
        return [replace(term, amplitude=amplitude, degree=int(power) * term.degree)]
    return None


_READERS: dict[str, Callable[[Any], Terms]] = {
    "ConstantKernel": _read_constant,
    "DotProduct": _read_scalar_product,
    "Exponentiation": _read_power,
    "Matern": _read_matern,
    "Product": _read_product,
    "RBF": _read_rbf,
    "RationalQuadratic": _read_rational,
    "Sum": _read_sum,
    "WhiteKernel": _read_noise,
}
