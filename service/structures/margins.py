"""Margins in plain arrays: what linear models, kernel machines and neural networks compute from
encoded columns.

Linear and kernel machines can be put side by side, mapped linearly and given more columns, which is
all that calibration, averaging and one-versus-rest ask of them. Next:
:mod:`service.structures.reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.special import expit

from service.shapley.additive import AdditiveModel
from service.shapley.plan import Numbers
from service.structures.links import Link

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LinearStructure:
    """Margins that are linear in the columns, behind an optional link.

    Attributes
    ----------
    coefficients : ndarray of shape (n_margins, n_columns)
    intercepts : ndarray of shape (n_margins,)
    link : callable or None
    """

    coefficients: Floats
    intercepts: Floats
    link: Link | None = None

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to each margin, shape (n_rows, n_columns, n_margins)."""
        return rows[:, :, None] * self.coefficients.T

    @property
    def additive(self) -> AdditiveModel:
        """The parts of the model: its hidden units are the margins."""
        return AdditiveModel(self.contributions, self.intercepts, unchanged, self.link)

    def mapped(self, matrix: Floats, shift: Floats | float = 0.0) -> LinearStructure:
        """Return the margins matrix · margins + shift."""
        return replace(
            self,
            coefficients=matrix @ self.coefficients,
            intercepts=matrix @ self.intercepts + shift,
        )

    def spread(self, columns: NDArray[np.intp], n_columns: int) -> LinearStructure:
        """Return the same margins of rows that have more columns; `columns` are the places of these
        ones.
        """
        return replace(self, coefficients=_placed(self.coefficients, columns, n_columns))

    @staticmethod
    def joined(parts: Sequence[LinearStructure]) -> LinearStructure:
        """Put the margins side by side, without links."""
        return LinearStructure(
            np.concatenate([part.coefficients for part in parts]), _intercepts(parts)
        )


@dataclass(frozen=True)
class ProductStructure:
    """A kernel machine with a product kernel, behind an optional link.

    Attributes
    ----------
    support : ndarray of shape (n_support, n_columns)
    rate : ndarray of shape (n_columns or 1, n_support or 1)
        γ of exp(−γ d²), or of exp(−γ |d|).
    power : {1, 2}
        2 for RBF kernels, 1 for Laplacian ones.
    dual : ndarray of shape (n_margins, n_support)
    intercepts : ndarray of shape (n_margins,)
    link : callable or None
    """

    support: Floats
    rate: Floats
    power: int
    dual: Floats
    intercepts: Floats
    link: Link | None = None

    def log_factors(self, rows: Floats) -> Floats:
        """Return the logarithm of each column's factor of the kernel, shape (n_rows, n_columns,
        n_support).
        """
        distance = rows[:, :, None] - self.support.T
        raised = (
            np.square(distance, out=distance) if self.power == 2 else np.abs(distance, out=distance)
        )
        return np.multiply(raised, -self.rate, out=raised)

    def mapped(self, matrix: Floats, shift: Floats | float = 0.0) -> ProductStructure:
        """Return the margins matrix · margins + shift."""
        return replace(self, dual=matrix @ self.dual, intercepts=matrix @ self.intercepts + shift)

    def spread(self, columns: NDArray[np.intp], n_columns: int) -> ProductStructure:
        """Return the same margins of rows that have more columns; `columns` are the places of these
        ones.
        """
        rate = np.zeros((n_columns, self.rate.shape[1]))
        rate[columns] = self.rate
        return replace(self, support=_placed(self.support, columns, n_columns), rate=rate)

    @staticmethod
    def joined(parts: Sequence[ProductStructure]) -> ProductStructure | None:
        """Put the margins side by side, without links; None when the kernels are of two kinds."""
        if len({part.power for part in parts}) > 1:
            return None
        rates = [np.broadcast_to(part.rate, part.support.T.shape) for part in parts]
        support, dual = _joined_machines(parts)
        return ProductStructure(
            support, np.concatenate(rates, axis=1), parts[0].power, dual, _intercepts(parts)
        )


@dataclass(frozen=True)
class PolynomialStructure:
    """A kernel machine with the kernel (⟨x, s⟩ + offset)^degree, behind an optional link.

    Attributes
    ----------
    support : ndarray of shape (n_support, n_columns)
        Support vectors, times γ.
    offset : float
    degree : int
    dual : ndarray of shape (n_margins, n_support)
    intercepts : ndarray of shape (n_margins,)
    link : callable or None
    """

    support: Floats
    offset: float
    degree: int
    dual: Floats
    intercepts: Floats
    link: Link | None = None

    def mapped(self, matrix: Floats, shift: Floats | float = 0.0) -> PolynomialStructure:
        """Return the margins matrix · margins + shift."""
        return replace(self, dual=matrix @ self.dual, intercepts=matrix @ self.intercepts + shift)

    def spread(self, columns: NDArray[np.intp], n_columns: int) -> PolynomialStructure:
        """Return the same margins of rows that have more columns; `columns` are the places of these
        ones.
        """
        return replace(self, support=_placed(self.support, columns, n_columns))

    @staticmethod
    def joined(parts: Sequence[PolynomialStructure]) -> PolynomialStructure | None:
        """Put the margins side by side, without links; None when the kernels are of two kinds."""
        kinds = {(part.degree, part.offset) for part in parts}
        if len(kinds) > 1:
            return None
        support, dual = _joined_machines(parts)
        return PolynomialStructure(
            support, parts[0].offset, parts[0].degree, dual, _intercepts(parts)
        )


@dataclass(frozen=True)
class NetworkStructure:
    """A multilayer perceptron, behind an optional link.

    Attributes
    ----------
    weights, biases : sequence of ndarrays
        Of each layer, the first one included.
    activation, output_activation : str
        As scikit-learn names them.
    link : callable or None
    """

    weights: Sequence[Floats]
    biases: Sequence[Floats]
    activation: str
    output_activation: str
    link: Link | None = None

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to each unit of the first layer, shape (n_rows, n_columns,
        n_hidden).
        """
        return rows[:, :, None] * self.weights[0]

    @property
    def additive(self) -> AdditiveModel:
        """The parts of the model: its hidden units are those of the first layer."""
        return AdditiveModel(self.contributions, self.biases[0], self.readout, self.outputs)

    def readout(self, hidden: Numbers) -> Numbers:
        """Evaluate the other layers, all but the last bias; overwrites its argument."""
        activate = ACTIVATIONS[self.activation]
        for layer in range(1, len(self.weights)):
            hidden = activate(hidden) @ self.weights[layer].astype(hidden.dtype, copy=False)
            if layer < len(self.weights) - 1:
                hidden += self.biases[layer].astype(hidden.dtype, copy=False)
        return hidden

    def outputs(self, margins: Floats) -> Floats:
        """Add the last bias, and go through the output's activation and the link."""
        last = self.biases[-1] if len(self.biases) > 1 else 0.0  # a single one is there already
        outputs = OUTPUT_ACTIVATIONS[self.output_activation](margins + last)
        return outputs if self.link is None else self.link(outputs)


Margins = LinearStructure | ProductStructure | PolynomialStructure


def unchanged(margins: Numbers) -> Numbers:
    """Return margins as they are: no rest of a model, or no link."""
    return margins


def _softmax(scores: Floats) -> Floats:
    """Turn scores into probabilities, column by column: reductions along a short axis are slow."""
    columns = np.ascontiguousarray(scores.T)
    columns -= columns.max(axis=0)
    np.exp(columns, out=columns)
    columns /= columns.sum(axis=0)
    return columns.T


def _two_classes(scores: Floats) -> Floats:
    positive = expit(scores)
    return np.hstack([1 - positive, positive])


ACTIVATIONS: dict[str, Callable[[Numbers], Numbers]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0, out=x),
    "tanh": lambda x: np.tanh(x, out=x),
    "logistic": lambda x: expit(x, out=x),
}
OUTPUT_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "identity": lambda x: x,
    "logistic": lambda x: _two_classes(x) if x.shape[1] == 1 else expit(x),
    "exp": np.exp,
    "softmax": _softmax,
}


def side_by_side(parts: Sequence[object]) -> Margins | NetworkStructure | None:
    """Put the margins of several models of the same columns side by side, without their links.

    Parameters
    ----------
    parts : sequence of structures

    Returns
    -------
    LinearStructure, ProductStructure, PolynomialStructure, NetworkStructure or None
        None unless there is a single one, or all are linear, or all are kernel machines with the
        same kind of kernel.
    """
    first = parts[0]
    if len(parts) == 1 and isinstance(first, Margins | NetworkStructure):
        return replace(first, link=None)
    for kind in (LinearStructure, ProductStructure, PolynomialStructure):
        if all(isinstance(part, kind) for part in parts):
            joined: Margins | None = kind.joined(parts)  # type: ignore[arg-type]
            return joined
    return None


def _joined_machines(
    parts: Sequence[ProductStructure] | Sequence[PolynomialStructure],
) -> tuple[Floats, Floats]:
    """Return all support vectors, and the dual coefficients with which each margin sees its own."""
    return np.concatenate([part.support for part in parts]), block_diag(
        *[part.dual for part in parts]
    )


def _intercepts(parts: Sequence[Margins]) -> Floats:
    return np.concatenate([part.intercepts for part in parts])


def _placed(matrix: Floats, columns: NDArray[np.intp], n_columns: int) -> Floats:
    """Put the columns of a matrix in their places among more columns, of zeros."""
    placed = np.zeros((len(matrix), n_columns))
    placed[:, columns] = matrix
    return placed
