"""The engines that are exact: linear, tree, product, both kinds of polynomial, and sums.

Each knows the inside of a model and calls it for nothing; a sum is exact where its parts are.
Next:
:mod:`service.engines.sampled_engines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.blas_threads import one_blas_thread
from service.engines.compiled_encoding import CompiledEncoder
from service.engines.engine import ByRow, Encoding, Engine, Importances, unchanged
from service.engines.progress import Progress, no_progress
from service.shapley.background import Background, BackgroundSummary
from service.shapley.grouping import Grouping
from service.shapley.linear import PolynomialSum, linear_shapley, sum_against_each
from service.shapley.polynomials import PolynomialKernel, polynomial_shapley
from service.shapley.products import EnumeratedProducts, ProductKernel, product_shapley
from service.shapley.survey import against_each
from service.shapley.trees import TraversedTreeGame, TreeGame

ROWS_AT_ONCE = 1024  # that go down trees together


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

    def explain_against(self, rows: NDArray[Any]) -> ByRow:
        """Return what explains a row against each of some encoded rows."""
        return partial(self._against_each, rows)

    def _against_each(self, rows: NDArray[Any], row: NDArray[Any]) -> NDArray[np.float64]:
        parts = self.coefficients * (row - rows)[:, None]  # (n_rows, n_outputs, n_columns)
        return self.grouping.add_up(parts[..., None])[..., 0]

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
    has_idle_features = True

    def __init__(
        self, encode: Encoding, game: TreeGame | TraversedTreeGame, background: BackgroundSummary
    ) -> None:
        self.encode = encode
        self.game = game
        self.background = background
        self.expected_values = game.empty_value

    @property
    def uses_blas(self) -> bool:
        """Whether fitted steps encode rows, or numpy explains them."""
        return self.game.uses_blas or not isinstance(self.encode, CompiledEncoder)

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances of the rows of a matrix, many of them at once."""
        encoded = self.encode(rows)
        if len(encoded) == 1:  # what follows would take as long as the row
            return Importances(self.game.values_of_rows(encoded).swapaxes(0, 1))
        starts = range(0, max(1, len(encoded)), ROWS_AT_ONCE)
        blocks = [
            self.game.values_of_rows(encoded[start : start + ROWS_AT_ONCE])
            for start in progress(starts)
        ]
        return Importances(np.concatenate(blocks).swapaxes(0, 1))

    def explain_against(self, rows: NDArray[Any]) -> ByRow:
        """Return what explains a row against each of some encoded rows."""
        return self.game.traversal_of(rows).shapley_values

    def looks_at(self, n_features: int) -> NDArray[np.bool_]:
        """Tell which features there is a split by."""
        forest = self.game.traversal_of(np.zeros((1, n_features))).forest
        return np.isin(np.arange(n_features), forest.feature)

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Add up the trees, shape (n_rows, n_outputs)."""
        return self.game.outputs(self.encode(rows))


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

    def explain_against(self, rows: NDArray[Any]) -> ByRow:
        """Return what explains a row against each of some encoded rows."""
        return partial(against_each, partial(product_shapley, self.kernel), rows)

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

    def explain_against(self, rows: NDArray[Any]) -> ByRow:
        """Return what explains a row against each of some encoded rows."""
        return partial(against_each, partial(polynomial_shapley, self.kernel), rows)

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

    def explain_against(self, rows: NDArray[Any]) -> ByRow:
        """Return what explains a row against each of some encoded rows."""
        return partial(sum_against_each, self.polynomial, rows)

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the polynomial, shape (n_rows, n_outputs)."""
        return self.polynomial.margins(self.encode(rows))


class SumEngine(Engine):
    """Importances of a weighted sum of models, from those of each.

    Parameters
    ----------
    parts : sequence of Engine
        All of the same outputs and on the same background; some may estimate.
    weights : ndarray of shape (n_parts,)
    intercept : float
    rows : ndarray of shape (n_rows, n_features)
        A few examples, by which the error of estimating parts is told.
    """

    n_checked_rows = 2

    def __init__(
        self,
        parts: Sequence[Engine],
        weights: NDArray[np.float64],
        intercept: float,
        rows: NDArray[Any],
    ) -> None:
        self.encode = unchanged
        self.parts = list(parts)
        self.weights = weights
        self.intercept = intercept
        self.rows = rows
        self.method = "sum" if self.is_exact else "sum/sampled"
        # Of sparse examples a linear part meets all, and trees a sample.
        self.background = min((part.background for part in parts), key=attrgetter("n_rows"))
        self.expected_values = intercept + self._add_up([part.expected_values for part in parts])

    @property
    def is_exact(self) -> bool:
        """Whether no part estimates."""
        return all(part.is_exact for part in self.parts)

    @property
    def precision(self) -> str | None:
        """In what the parts are estimated, where some are."""
        return next(filter(None, (part.precision for part in self.parts)), None)

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Add up the local importances of all parts.

        Parts are estimated with the same coalitions, so that their errors may point the same way:
        the error of the sum is at most the sum of their errors.
        """
        parts = [part.importances(rows) for part in progress(self.parts)]
        values = self._add_up(list(map(attrgetter("values"), parts)))
        if self.is_exact:
            return Importances(values)
        errors = np.array(list(map(attrgetter("errors"), parts)))
        return Importances(values, np.tensordot(np.abs(self.weights), errors, axes=1))

    def looks_at(self, n_features: int) -> NDArray[np.bool_]:
        """Tell which features any part looks at."""
        return np.any([part.looks_at(n_features) for part in self.parts], axis=0)

    def explain_against(self, rows: NDArray[Any]) -> ByRow | None:
        """Return what explains a row against each of some rows, where all parts can."""
        of_parts = [part.explain_against(part.encode(rows)) for part in self.parts]
        known = list(filter(None, of_parts))
        return partial(self._against_each, known) if len(known) == len(of_parts) else None

    def _against_each(self, of_parts: Sequence[ByRow], row: NDArray[Any]) -> NDArray[np.float64]:
        encoded = [part.encode(row[None])[0] for part in self.parts]
        return self._add_up([by_row(one) for by_row, one in zip(of_parts, encoded, strict=True)])

    def error_said_before(self) -> float | None:
        """Return the relative standard error where that of a part may be large."""
        said = [part.error_said_before() for part in self.parts]
        return self.relative_standard_error() if any(said) else None

    @one_blas_thread()
    def relative_standard_error(self) -> float | None:
        """Return the mean standard error over a few rows, as a share of the mean |importance|."""
        return None if self.is_exact else self.importances(self.rows).relative_error

    def with_sampling(self, nsamples: str | int, random_state: int) -> SumEngine:
        """Return the same sum with another number of coalitions and seed in each part."""
        return self._with([part.with_sampling(nsamples, random_state) for part in self.parts])

    def on_whole_background(self, coalitions: int) -> SumEngine:
        """Return the same sum with so many coalitions, each on the whole background."""
        return self._with([part.on_whole_background(coalitions) for part in self.parts])

    def in_one_round(self) -> SumEngine:
        """Return the same sum without a stopping rule."""
        return self._with([part.in_one_round() for part in self.parts])

    def _with(self, parts: Sequence[Engine]) -> SumEngine:
        other = copy(self)
        other.parts = list(parts)
        return other

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Add up what the parts are, shape (n_rows, n_outputs)."""
        values = [part.game_values(rows) for part in self.parts]
        if len(set(map(len, values))) > 1:  # not all parts play a game
            return super().game_values(rows)
        return self.intercept + self._add_up(values)

    def _add_up(self, of_parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.tensordot(self.weights, np.array(of_parts), axes=1)
