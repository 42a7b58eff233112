"""Kernel machines with a product kernel.

Exact Shapley values of the margin, and a fast game for outputs behind a link.

The margin is f(x) = Σ_s α_s Π_j k_j(x_j, s_j) + c (RBF and Laplacian kernels). With p_j = k_j(x_j,
s_j) and q_j = k_j(b_j, s_j) the Shapley value of the product game Π_{j∈S} p_j Π_{j∉S} q_j is φ_j =
∫₀¹ (p_j − q_j) Π_{l≠j} (t·p_l + (1−t)·q_l) dt, a polynomial of degree M − 1 in t: Gauss–Legendre
quadrature with ⌈M/2⌉ nodes is exact. The multilinear extension behind the integral is Owen's
(1972); the same integral with another value function is used by "Computing Exact Shapley Values in
Polynomial Time for Product-Kernel Methods" (2025).

Factors are divided by max(p_j, q_j), in the log domain: on unscaled data single factors underflow
to 0. Terms too small to change the result are left out.

Next: :mod:`service.shapley.polynomials`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley import kernels
from service.shapley.background import Background
from service.shapley.background_tables import SideTables, Table
from service.shapley.coalitions import choose_pairs
from service.shapley.controls import DrawMarks
from service.shapley.games import Known, Link, LinkedGame
from service.shapley.grouping import Grouping
from service.shapley.kernels.distances import Distances
from service.shapley.kernels.numpy_kernels import NEGLIGIBLE, add_kernels, integrate_products
from service.shapley.plan import Numbers, Plan, Precision, Solver
from service.shapley.survey import ExactGame, SampledGame

ROWS_AT_ONCE = 2**20  # numbers per array while whole rows are evaluated
# A logarithm so small that its factor is 0 whatever the others are; −∞ times 0 would be none.
LEAST = -1e4
# As NEGLIGIBLE, for what only serves as a control, by the bytes of a number.
ROUGHLY = {8: 1e-10, 4: 1e-6}
# A background row's part of a kernel that counts for nothing: rounding adds as much to all kernels.
NOTHING = {8: 1e-16, 4: 1e-8}


@dataclass(frozen=True)
class ProductKernel:
    """A kernel machine in logarithms.

    Attributes
    ----------
    log_factors : callable
        Takes rows (n_rows, n_columns), returns log k_j(x_j, s_j), shape (n_rows, n_features,
        n_support).
    dual : ndarray of shape (n_margins, n_support)
    intercept : ndarray of shape (n_margins,)
    """

    log_factors: Callable[[NDArray[Any]], NDArray[np.float64]]
    dual: NDArray[np.float64]
    intercept: NDArray[np.float64]

    @property
    def falls(self) -> bool:
        """Whether no factor is above 1, so that a small part of a kernel makes a small kernel."""
        return isinstance(self.log_factors, Distances)

    def with_neighbours_together(self) -> ProductKernel:
        """Return the same with its support vectors in another order, where that helps."""
        if not isinstance(self.log_factors, Distances):
            return self
        order = self.log_factors.neighbours()
        return replace(self, log_factors=self.log_factors.taken(order), dual=self.dual[:, order])

    def margins(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the margins, shape (n_rows, n_margins)."""
        step = max(1, ROWS_AT_ONCE // (rows.shape[1] * self.dual.shape[1]))
        parts = [
            self.log_factors(rows[i : i + step]).sum(axis=1) for i in range(0, len(rows), step)
        ]
        return np.exp(np.concatenate(parts)) @ self.dual.T + self.intercept


def product_shapley(
    kernel: ProductKernel,
    row: NDArray[Any],
    background: Background,
    negligible: float = NEGLIGIBLE,
    *,
    precision: Precision = np.float64,
) -> NDArray[np.float64]:
    """Compute the exact Shapley values of the margins of one row.

    Parameters
    ----------
    kernel : ProductKernel
    row : ndarray of shape (n_features,)
    background : Background
    negligible : float, default 1e-14
        What may be left out, of the largest possible margin.
    precision : numpy.float64 or numpy.float32
        In what the integrals may be computed.

    Returns
    -------
    ndarray of shape (n_margins, n_features)
    """
    factors, dual = kernel.log_factors, kernel.dual
    if isinstance(factors, Distances):
        arguments = factors, dual, row, background, negligible
        return kernels.current.product_values(*arguments, precision=precision)
    return integrate_products(factors, dual, row, background, negligible)


class EnumeratedProducts:
    """Exact Shapley values of the margins by enumeration, for few features.

    The margin is linear in the kernel, so v(S) needs the background's part of each coalition's
    kernels only in the mean. Those means are tabulated; a row costs 2^n_features · n_support
    exponentials, whatever the background's size.

    Parameters
    ----------
    kernel : ProductKernel
    background : Background
    n_features : int
        At least 2.
    """

    def __init__(self, kernel: ProductKernel, background: Background, n_features: int) -> None:
        self.kernel = kernel
        self.pairs = choose_pairs(n_features, 2**n_features - 2, seed=0)
        self.solver = Solver.factorise(self.pairs)
        self.empty_value = background.mean(kernel.margins)
        sides = (~self.pairs.members).astype(np.float64), self.pairs.members.astype(np.float64)
        # Two of shape (n_pairs, n_support)
        self.means = tuple(self._mean(side, background) for side in sides)

    def _mean(self, side: NDArray[np.float64], background: Background) -> NDArray[np.float64]:
        mean = np.zeros((len(side), self.kernel.dual.shape[1]))
        for row, weight in zip(background.rows, background.weights, strict=True):
            mean += weight * np.exp(side @ self.kernel.log_factors(row[None])[0])
        return mean

    def shapley_values(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Compute the Shapley values of one row, shape (n_margins, n_features)."""
        at_row = self.kernel.log_factors(row[None])[0]  # (n_features, n_support)
        members = self.pairs.members
        first, second = (
            (np.exp(side @ at_row) * mean) @ self.kernel.dual.T
            for side, mean in zip((members, ~members), self.means, strict=True)
        )
        total = self.kernel.margins(row[None])[0] - self.empty_value
        return self.solver.solve(first - second, total).T


class ProductGame(LinkedGame):
    """The game of a kernel machine behind a link, with its margins as controls.

    The kernel between a hybrid row and a support vector is the product of a part from the row and a
    part from the background row. The background's part is the same for every explained row, so it
    is tabulated once.

    Parameters
    ----------
    kernel : ProductKernel
    link : callable
        From margins (n, n_margins) to outputs (n, n_outputs).
    known : ExactGame or SampledGame
        The margins' Shapley values, by :func:`product_shapley`.
    background : Background
    grouping : Grouping
    """

    def __init__(
        self,
        kernel: ProductKernel,
        link: Link,
        known: ExactGame | SampledGame,
        background: Background,
        grouping: Grouping,
    ) -> None:
        self.kernel = kernel = kernel.with_neighbours_together()
        self.known = known
        self.link = link
        self.background = background
        self.grouping = grouping
        self.n_features = grouping.n_features
        outputs = background.outputs(lambda rows: link(kernel.margins(rows)))
        self.empty_value = background.weights @ outputs
        self.draw_marks = DrawMarks(background, grouping, outputs)
        self.tables = SideTables(kernel.log_factors, background, grouping, activation=np.exp)
        self.precision: Precision = np.float64

    def in_single_precision(self) -> ProductGame:
        """Return the same game with its kernels in single precision, where something is sampled."""
        other = copy(self)
        other.precision = np.float32
        other.draw_marks = self.draw_marks.in_single_precision()
        return other

    def on(self, background: Background) -> ProductGame:
        """Return the same game on another background, with what is known on this one."""
        return ProductGame(self.kernel, self.link, self.known, background, self.grouping)

    def differences(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[Numbers, Numbers]:
        """Evaluate a plan's pairs; see :class:`service.shapley.games.Game`.

        The model is not called.
        """
        outputs, controls = super().differences(row, players, plan)
        precision = self._precision_for(plan)
        return outputs.astype(precision, copy=False), controls.astype(precision, copy=False)

    @property
    def known_margins(self) -> slice:
        """All margins are controls."""
        return slice(None)

    def sides(
        self, row: NDArray[Any], players: NDArray[np.intp], plan: Plan
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the margins; see :class:`service.shapley.games.LinkedGame`."""
        precision, kernel = self._precision_for(plan), self.kernel
        at_row = np.maximum(kernel.log_factors(row[None])[0][players], LEAST).astype(precision)
        negligible = NOTHING[at_row.itemsize] if kernel.falls else 0.0
        tables = self.tables.sides(players, plan, precision, negligible)
        members = plan.pairs.members
        first = self._margins(members, at_row, tables.off)
        return first, self._margins(~members, at_row, tables.off_complement)

    def margins_of(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the margins of whole rows, shape (n_rows, n_margins)."""
        return self.kernel.margins(rows)

    def _precision_for(self, plan: Plan) -> Precision:
        return np.float64 if plan.is_exact else self.precision

    def _margins(
        self, inside: NDArray[np.bool_], at_row: Numbers, table: Table
    ) -> NDArray[np.float64]:
        dual = self.kernel.dual.astype(at_row.dtype, copy=False)
        if self.kernel.falls:
            margins = kernels.current.hybrid_margins(inside, at_row, table, dual)
        else:
            margins = add_kernels(inside, at_row, table.numbers, dual)
        return np.add(margins, self.kernel.intercept, out=margins)

    def control_values(self, row: NDArray[Any], plan: Plan) -> Known:
        """Return the Shapley values of the margins, shape (n_margins, n_features).

        Where coalitions are sampled, what is left out of them is far below the standard errors.
        """
        if plan.is_exact:
            return self.known.estimate(row)
        negligible = ROUGHLY[np.dtype(self.precision).itemsize]
        roughly = partial(
            product_shapley, self.kernel, negligible=negligible, precision=self.precision
        )
        return replace(self.known, shapley=roughly).estimate(row)
