"""The engines: ways from rows to importances, behind one small interface.

An engine is made once (:mod:`service.scoring.choice`) and read-only from then on, so all threads share it. Engines that
know the inside of a model work on encoded rows: `encode` turns the schema's matrix into the columns that the model's
last step sees, all rows at once. Next: :mod:`service.shapley.kernel`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.scoring.encoders import Encoder
from service.scoring.schema import Schema
from service.shapley.background import Background
from service.shapley.exact import linear_shapley
from service.shapley.games import Game
from service.shapley.grouping import Grouping
from service.shapley.kernel import Sampling, kernel_shapley
from service.shapley.products import ProductKernel, product_shapley
from service.shapley.trees import TreeGame

Progress = Callable[[Iterable[Any]], Iterable[Any]]


def no_progress(rows: Iterable[Any]) -> Iterable[Any]:
    """Show nothing."""
    return rows


@dataclass(frozen=True)
class Importances:
    """What an engine answers.

    Attributes
    ----------
    values : ndarray of shape (n_outputs, n_rows, n_features)
    standard_errors : ndarray of the same shape, or None
        None from engines that sample nothing.
    """

    values: NDArray[np.float64]
    standard_errors: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Encode:
    """From the schema's matrix to the columns that a model's last step sees."""

    schema: Schema
    encoder: Encoder

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Encode rows, (n_rows, n_features) to (n_rows, n_columns)."""
        return self.encoder(self.schema.model_rows(rows))


class Engine(Protocol):
    """What every engine offers.

    Attributes
    ----------
    method : str
    background : Background
        In the engine's own columns.
    expected_values : ndarray of shape (n_outputs,)
        The model's mean output over the background.
    """

    method: str
    background: Background
    expected_values: NDArray[np.float64]

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances of the rows of a matrix, (n_rows, n_features)."""


class LinearEngine:
    """Exact importances of a linear model from its coefficients.

    Parameters
    ----------
    encode : Encode
    grouping : Grouping
    coefficients : ndarray of shape (n_outputs, n_columns)
    intercepts : ndarray of shape (n_outputs,)
    background : Background
    """

    method = "linear"

    def __init__(
        self,
        encode: Encode,
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
        # Only the mean matters: the rows need not be carried along.
        self.background = replace(background, rows=background.rows[:0], weights=background.weights[:0])

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances of all rows at once."""
        parts = linear_shapley(self.coefficients, self.encode(rows), self.mean)  # (n_outputs, n_rows, n_columns)
        return Importances(self.grouping.add_up(parts[..., None])[..., 0])


class TreeEngine:
    """Exact importances of a sum of trees."""

    method = "tree"

    def __init__(self, encode: Encode, game: TreeGame, background: Background) -> None:
        self.encode = encode
        self.game = game
        self.background = background
        self.expected_values = game.empty_value

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row."""
        return Importances(np.stack([self.game.shapley_values(row) for row in progress(self.encode(rows))], axis=1))


class ProductEngine:
    """Exact importances of a kernel machine with a product kernel."""

    method = "product"

    def __init__(self, encode: Encode, kernel: ProductKernel, background: Background) -> None:
        self.encode = encode
        self.kernel = kernel
        self.background = background
        self.expected_values = background.weights @ kernel.margins(background.rows)

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row."""
        values = [product_shapley(self.kernel, row, self.background) for row in progress(self.encode(rows))]
        return Importances(np.stack(values, axis=1))


class KernelEngine:
    """Kernel SHAP: exact where every coalition meets every background row, estimated with standard errors otherwise.

    Parameters
    ----------
    encode : callable
        From the schema's matrix to the rows of the game.
    game : Game
    nsamples : "auto" or int
        Largest number of coalitions a row.
    n_draws : int
        Background rows that each pair of coalitions meets.
    random_state : int
    method : str
        "kernel" where the model is called; "kernel/…" where a structured evaluator takes its place.
    """

    def __init__(
        self,
        encode: Callable[[NDArray[Any]], NDArray[Any]],
        game: Game,
        *,
        nsamples: str | int,
        n_draws: int,
        random_state: int,
        method: str,
    ) -> None:
        self.encode = encode
        self.game = game
        self.sampling = Sampling(None if nsamples == "auto" else _checked_budget(nsamples), n_draws, random_state)
        self.method = method
        self.background = game.background
        self.expected_values = game.empty_value

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row."""
        estimates = [kernel_shapley(self.game, row, self.sampling) for row in progress(self.encode(rows))]
        return Importances(
            np.stack([estimate.values for estimate in estimates], axis=1),
            np.stack([estimate.standard_errors for estimate in estimates], axis=1),
        )

    def with_sampling(self, nsamples: str | int, random_state: int) -> KernelEngine:
        """Return the same engine with another number of coalitions and seed."""
        return KernelEngine(
            self.encode,
            self.game,
            nsamples=nsamples,
            n_draws=self.sampling.n_draws,
            random_state=random_state,
            method=self.method,
        )


def unchanged(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as they are: the encoding of a model that is only called."""
    return rows


def _checked_budget(nsamples: Any) -> int:
    if isinstance(nsamples, bool) or not isinstance(nsamples, int) or nsamples < 2:
        raise ValueError(f"nsamples: expected 'auto' or a number of coalitions of at least 2, got {nsamples!r}.")
    return nsamples
