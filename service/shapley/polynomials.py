"""Kernel machines with a polynomial kernel: exact Shapley values of the margin in closed form.

The margin is f(x) = Σ_s α_s (⟨x, s⟩ + c₀)^d + c. For one support vector and one background row the
game is a power of an additive game, v(S) = A_S^d with A_S = c₀ + Σ_j q_j + Σ_{j∈S} δ_j: q_j is what
feature j adds for the background row, q_j + δ_j what it adds for the explained one. Owen's (1972)
integral φ_j = ∫₀¹ ∂F/∂t_j dt along the diagonal of the multilinear extension F can be read off the
moment generating function of A_S when S takes each feature with probability t:

    E e^{zA} = e^{z(c₀ + Σq)} Π_l (1 − t + t e^{zδ_l}),
    ∂/∂t_j E e^{zA} = E e^{zA} · ∂/∂t log(1 − t + t e^{zδ_j}) = E e^{zA} · Σ_r κ_r'(t) (zδ_j)^r / r!

with the cumulants κ_r(t) of a Bernoulli variable. The coefficient of z^d is

    φ_j = Σ_{r=1}^d C(d, r) δ_j^r ∫₀¹ κ_r'(t) m_{d−r}(t) dt,

where the moments m_n(t) = E A^n follow from the cumulants κ_r(t) Σ_l δ_l^r of A. The integrand is a
polynomial of degree d − 1 in t: Gauss–Legendre quadrature with ⌈d/2⌉ nodes is exact. The cost is
linear in background rows, support vectors and features.

Next: :mod:`service.shapley.kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.kernels.quadrature import unit_interval

CHUNK = 2**15  # numbers per array in the inner loop: what stays in the processor's cache
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PolynomialKernel:
    """A kernel machine with the kernel (⟨x, s⟩ + offset_s)^degree.

    Attributes
    ----------
    support : ndarray of shape (n_support, n_columns)
        Support vectors, times γ.
    offset : ndarray of shape (n_support,)
    degree : int
    dual : ndarray of shape (n_margins, n_support)
    intercept : ndarray of shape (n_margins,)
    grouping : Grouping
        Which feature each column belongs to.
    """

    support: Floats
    offset: Floats
    degree: int
    dual: Floats
    intercept: Floats
    grouping: Grouping

    def contributions(self, rows: Floats) -> Floats:
        """Return what each feature adds to each scalar product, (n_rows, n_features, n_support)."""
        return self.grouping.add_up(rows[:, :, None] * self.support.T)

    def readout(self, shifted: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Turn scalar products plus the offset into margins without intercept.

        From (n, n_support) to (n, n_margins).
        """
        return shifted**self.degree @ self.dual.T.astype(shifted.dtype, copy=False)

    def margins(self, rows: Floats) -> Floats:
        """Evaluate the margins, shape (n_rows, n_margins)."""
        margins: Floats = self.readout(rows @ self.support.T + self.offset) + self.intercept
        return margins


def polynomial_shapley(kernel: PolynomialKernel, row: Floats, background: Background) -> Floats:
    """Compute the exact Shapley values of the margins of one row.

    Parameters
    ----------
    kernel : PolynomialKernel
    row : ndarray of shape (n_columns,)
    background : Background

    Returns
    -------
    ndarray of shape (n_margins, n_features)
    """
    at_row = kernel.support @ row + kernel.offset  # A of all features together
    values = np.zeros((kernel.grouping.n_features, len(kernel.support)))
    changes = _ColumnChanges if kernel.grouping.is_identity else _FeatureChanges
    step = max(1, CHUNK // (len(kernel.support) if kernel.grouping.is_identity else values.size))
    for start in range(0, len(background.rows), step):
        part = slice(start, start + step)
        change = changes(kernel, row - background.rows[part])
        sums = [change.summed(r) for r in range(1, kernel.degree + 1)]
        for r, factor in enumerate(_factors(sums, at_row), start=1):
            values += change.averaged(r, factor * background.weights[part, None])
    return kernel.dual @ values.T


class _ColumnChanges:
    """Powers of δ where every feature is one column: all sums are matrix products."""

    def __init__(self, kernel: PolynomialKernel, difference: Floats) -> None:
        self.of_rows = _powers(difference, kernel.degree)  # each (n_rows, n_features)
        self.of_support = _powers(kernel.support, kernel.degree)  # each (n_support, n_features)

    def summed(self, r: int) -> Floats:
        """Return Σ_l δ_l^r, shape (n_rows, n_support)."""
        return self.of_rows[r - 1] @ self.of_support[r - 1].T

    def averaged(self, r: int, factor: Floats) -> Floats:
        """Return the sum of factor · δ^r over the rows, shape (n_features, n_support)."""
        return (self.of_rows[r - 1].T @ factor) * self.of_support[r - 1].T


class _FeatureChanges:
    """Powers of δ where features have several columns."""

    def __init__(self, kernel: PolynomialKernel, difference: Floats) -> None:
        # Each (n_rows, n_features, n_support)
        self.powers = _powers(kernel.contributions(difference), kernel.degree)

    def summed(self, r: int) -> Floats:
        """Return Σ_l δ_l^r, shape (n_rows, n_support)."""
        return self.powers[r - 1].sum(axis=1)

    def averaged(self, r: int, factor: Floats) -> Floats:
        """Return the sum of factor · δ^r over the rows, shape (n_features, n_support)."""
        return (self.powers[r - 1] * factor[:, None]).sum(axis=0)


def _powers(x: Floats, degree: int) -> list[Floats]:
    """Return x, x², …, x^degree."""
    powers = [x]
    while len(powers) < degree:
        powers.append(powers[-1] * x)
    return powers


def _factors(sums: list[Floats], at_row: Floats) -> list[Floats]:
    """Return C(d, r) ∫ κ_r'(t) m_{d−r}(t) dt for r = 1, …, d, each (n_rows, n_support)."""
    degree = len(sums)
    cumulants = _bernoulli_cumulants(degree)
    factors = [np.zeros_like(sums[0]) for _ in sums]
    for t, weight in unit_interval(degree - 1):
        of_sum = [at_row + (t - 1) * sums[0]]
        of_sum += [kappa(t) * power for kappa, power in zip(cumulants[1:], sums[1:], strict=True)]
        moments = _moments(of_sum[: degree - 1], np.ones_like(sums[0]))
        for r in range(1, degree + 1):
            factors[r - 1] += (
                weight * comb(degree, r) * cumulants[r - 1].deriv()(t) * moments[degree - r]
            )
    return factors


def _moments(cumulants: list[Floats], one: Floats) -> list[Floats]:
    """Return the moments m_0, …, m_n of a variable with these cumulants.

    m_n = Σ_k C(n−1, k−1) κ_k m_{n−k}.
    """
    moments = [one]
    for n in range(1, len(cumulants) + 1):
        terms = [comb(n - 1, k - 1) * cumulants[k - 1] * moments[n - k] for k in range(1, n + 1)]
        moments.append(np.sum(terms, axis=0))
    return moments


@lru_cache
def _bernoulli_cumulants(count: int) -> list[Polynomial]:
    """Return κ_1, …, κ_count as polynomials in the probability t.

    κ_1 = t, and κ_{r+1} = t (1 − t) κ_r'.
    """
    cumulants: list[Any] = [Polynomial([0, 1])]
    while len(cumulants) < count:
        cumulants.append(Polynomial([0, 1, -1]) * cumulants[-1].deriv())
    return cumulants
