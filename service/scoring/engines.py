"""The engines: three ways from rows to importances, behind one small interface.

An engine is made once (:mod:`service.scoring.choice`) and read-only from then on, so all threads share it. Next:
:mod:`service.shapley.kernel`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.exact import linear_shapley
from service.shapley.games import BlackBoxGame
from service.shapley.kernel import kernel_shapley
from service.shapley.trees import TreeGame

Progress = Callable[[Iterable[Any]], Iterable[Any]]


def no_progress(rows: Iterable[Any]) -> Iterable[Any]:
    """Show nothing."""
    return rows


class Engine(Protocol):
    """What every engine offers.

    Attributes
    ----------
    method : str
        "linear", "tree" or "kernel".
    background : Background
    expected_values : ndarray of shape (n_outputs,)
        The model's mean output over the background.
    """

    method: str
    background: Background
    expected_values: NDArray[np.float64]

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> NDArray[np.float64]:
        """Compute the local importances, shape (n_outputs, n_rows, n_features)."""


class LinearEngine:
    """Exact importances of a linear model from its coefficients.

    Parameters
    ----------
    coefficients : ndarray of shape (n_outputs, n_features)
    intercepts : ndarray of shape (n_outputs,)
    background : Background
    """

    method = "linear"

    def __init__(
        self, coefficients: NDArray[np.float64], intercepts: NDArray[np.float64], background: Background
    ) -> None:
        self.coefficients = coefficients
        self.background = background
        self.mean = background.weights @ background.rows  # (n_features,)
        self.expected_values = coefficients @ self.mean + intercepts

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> NDArray[np.float64]:
        """Compute the local importances, shape (n_outputs, n_rows, n_features)."""
        return linear_shapley(self.coefficients, rows, self.mean)


class TreeEngine:
    """Exact importances of a sum of trees."""

    method = "tree"

    def __init__(self, game: TreeGame, background: Background) -> None:
        self.game = game
        self.background = background
        self.expected_values = game.empty_value

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> NDArray[np.float64]:
        """Compute the local importances, shape (n_outputs, n_rows, n_features)."""
        return np.stack([self.game.shapley_values(row) for row in progress(rows)], axis=1)


class KernelEngine:
    """Kernel SHAP on a model that can only be called.

    Parameters
    ----------
    game : BlackBoxGame
    nsamples : "auto" or int
        Largest number of coalitions a row.
    random_state : int
    """

    method = "kernel"

    def __init__(self, game: BlackBoxGame, nsamples: str | int, random_state: int) -> None:
        self.game = game
        self.budget = None if nsamples == "auto" else _checked_budget(nsamples)
        self.random_state = random_state
        self.background = game.background
        self.expected_values = game.empty_value

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> NDArray[np.float64]:
        """Compute the local importances, shape (n_outputs, n_rows, n_features)."""
        per_row = [kernel_shapley(self.game, row, self.budget, self.random_state) for row in progress(rows)]
        return np.stack(per_row, axis=1)


def _checked_budget(nsamples: Any) -> int:
    if isinstance(nsamples, bool) or not isinstance(nsamples, int) or nsamples < 2:
        raise ValueError(f"nsamples: expected 'auto' or a number of coalitions of at least 2, got {nsamples!r}.")
    return nsamples
