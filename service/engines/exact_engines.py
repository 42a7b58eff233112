"""The engines that are exact: linear, tree, product and both kinds of polynomial.

Each knows the inside of a model and calls it for nothing. Next:
:mod:`service.engines.sampled_engines`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.engine import Encoding, Engine, Importances
from service.engines.progress import Progress, no_progress
from service.shapley.background import Background, BackgroundSummary
from service.shapley.grouping import Grouping
from service.shapley.linear import PolynomialSum, linear_shapley
from service.shapley.polynomials import PolynomialKernel, polynomial_shapley
from service.shapley.products import EnumeratedProducts, ProductKernel, product_shapley
from service.shapley.trees import TraversedTreeGame, TreeGame


class LinearEngine(Engine):
    """Exact importances of a linear model from its coefficients.

    Parameters
    ----------
    encode : callable
        From the schema's matrix to encoded rows.
    grouping : Grouping
    coefficients : ndarray of shape (n_outputs, n_columns)
    intercepts : ndarray of shape (n_outputs,)
    background : Background
    """

    method = "linear"
    is_additive = True

    def __init__(
        self,
        encode: Encoding,
        grouping: Grouping,
        coefficients: NDArray[np.float64],
        intercepts: NDArray[np.float64],
        background: Background,
    ) -> None:
        self.encode = encode
        self.grouping = grouping
        self.coefficients = coefficients
        self.mean = background.weights @ background.rows  # (n_columns,)
        self.expected_values = coefficients @ self.mean + intercepts
        self.background = background.summary

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances of all rows at once."""
        encoded = self.encode(rows)
        parts = linear_shapley(self.coefficients, encoded, self.mean)
        # (n_outputs, n_rows, n_columns)
        return Importances(self.grouping.add_up(parts[..., None])[..., 0])


class TreeEngine(Engine):
    """Exact importances of a sum of trees.

    Parameters
    ----------
    encode : callable
        From the schema's matrix to encoded rows.
    game : TreeGame or TraversedTreeGame
    background : BackgroundSummary
    """

    method = "tree"

    def __init__(
        self, encode: Encoding, game: TreeGame | TraversedTreeGame, background: BackgroundSummary
    ) -> None:
        self.encode = encode
        self.game = game
        self.background = background
        self.expected_values = game.empty_value

    def row_importances(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Compute the local importances of one encoded row, shape (n_outputs, n_features)."""
        return self.game.shapley_values(row)

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Add up the trees, shape (n_rows, n_outputs)."""
        return np.array([self.game.full_value(row) for row in self.encode(rows)])


class ProductEngine(Engine):
    """Exact importances of a kernel machine with a product kernel.

    Parameters
    ----------
    encode : callable
        From the schema's matrix to encoded rows.
    grouping : Grouping
    kernel : ProductKernel
    background : Background
    enumerated : EnumeratedProducts or None
        For few features; quadrature otherwise.
    """

    method = "product"
    n_checked_rows = 2  # a row meets every support vector with every background row

    def __init__(
        self,
        encode: Encoding,
        grouping: Grouping,
        kernel: ProductKernel,
        background: Background,
        enumerated: EnumeratedProducts | None,
    ) -> None:
        self.encode = encode
        self.grouping = grouping
        self.enumerated = enumerated
        self.kernel = kernel
        self.rows = background
        self.background = background.summary
        self.expected_values = background.mean(kernel.margins)

    def row_importances(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Compute the local importances of one encoded row, shape (n_outputs, n_features)."""
        if self.enumerated is None:
            return product_shapley(self.kernel, row, self.rows)
        # Rounding would leave something of a feature that does not vary.
        return self.enumerated.shapley_values(row) * self.grouping.varying(self.rows, row)

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the kernel machine, shape (n_rows, n_outputs)."""
        return self.kernel.margins(self.encode(rows))


class PolynomialEngine(Engine):
    """Exact importances of a kernel machine with a polynomial kernel.

    Parameters
    ----------
    encode : callable
        From the schema's matrix to encoded rows.
    kernel : PolynomialKernel
    background : Background
    """

    method = "polynomial"
    n_checked_rows = 2

    def __init__(self, encode: Encoding, kernel: PolynomialKernel, background: Background) -> None:
        self.encode = encode
        self.kernel = kernel
        self.rows = background
        self.background = background.summary
        self.expected_values = background.mean(kernel.margins)

    def row_importances(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Compute the local importances of one encoded row, shape (n_outputs, n_features)."""
        return polynomial_shapley(self.kernel, row, self.rows)

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the kernel machine, shape (n_rows, n_outputs)."""
        return self.kernel.margins(self.encode(rows))


class PolynomialSumEngine(Engine):
    """Exact importances of a linear model behind polynomial terms.

    Parameters
    ----------
    encode : callable
        From the schema's matrix to the columns that the terms are made of.
    polynomial : PolynomialSum
    grouping : Grouping
    background : Background
    """

    method = "polynomial"

    def __init__(
        self,
        encode: Encoding,
        polynomial: PolynomialSum,
        grouping: Grouping,
        background: Background,
    ) -> None:
        self.encode = encode
        self.polynomial = polynomial
        self.grouping = grouping
        self.rows = background
        self.background = background.summary
        self.expected_values = polynomial.empty_value

    def row_importances(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Compute the local importances of one encoded row, shape (n_outputs, n_features)."""
        # Rounding would leave something of a feature that does not vary.
        varying = self.grouping.varying(self.rows, row)
        return self.polynomial.shapley_values(row) * varying

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the polynomial, shape (n_rows, n_outputs)."""
        return self.polynomial.margins(self.encode(rows))
