"""Kernel SHAP: Shapley values as the solution of a constrained weighted least squares.

The Shapley values minimise Σ_S w(S) (v(S) − v(∅) − Σ_{j∈S} φ_j)² subject to Σ_j φ_j = v(N) − v(∅), where w is the
Shapley kernel (Charnes et al. 1988; Lundberg and Lee 2017). The solution is linear in v: for a given design of
coalitions it is one matrix, factorised once and shared by all rows and outputs. On a complete design it is exact.

There is no hidden feature selection: every feature that varies gets its own coefficient. Next:
:mod:`service.scoring.engines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from service.shapley.coalitions import Coalitions, choose_coalitions, default_budget
from service.shapley.games import BlackBoxGame


@dataclass(frozen=True)
class KernelSolver:
    """The least squares of one design, solved for every possible value function.

    Attributes
    ----------
    coalitions : Coalitions
    projection : ndarray of shape (n_players, n_coalitions)
        Applied to v(S) − v(∅).
    share : ndarray of shape (n_players,)
        Each player's share of v(N) − v(∅) that the constraint adds; sums to 1.
    """

    coalitions: Coalitions
    projection: NDArray[np.float64]
    share: NDArray[np.float64]

    @classmethod
    def factorise(cls, coalitions: Coalitions) -> KernelSolver:
        """Solve the normal equations Zᵀ W Z of a design with a Lagrange multiplier for the constraint."""
        z = coalitions.members.astype(np.float64)  # (n_coalitions, n_players)
        weighted = z * (coalitions.weights / coalitions.weights.sum())[:, None]
        factor = cho_factor(weighted.T @ z)
        unconstrained = cho_solve(factor, weighted.T)  # (n_players, n_coalitions)
        ones = cho_solve(factor, np.ones(z.shape[1]))
        share = ones / ones.sum()
        return cls(coalitions, unconstrained - np.outer(share, unconstrained.sum(axis=0)), share)

    def solve(self, gains: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn coalition values into Shapley values.

        Parameters
        ----------
        gains : ndarray of shape (n_coalitions, n_outputs)
            v(S) − v(∅).
        total : ndarray of shape (n_outputs,)
            v(N) − v(∅).

        Returns
        -------
        ndarray of shape (n_players, n_outputs)
        """
        return self.projection @ gains + np.outer(self.share, total)


@lru_cache(maxsize=64)
def solver_for(n_players: int, budget: int, seed: int) -> KernelSolver:
    """Return the factorised solver of :func:`~service.shapley.coalitions.choose_coalitions`, made once per design."""
    return KernelSolver.factorise(choose_coalitions(n_players, budget, seed))


def kernel_shapley(game: BlackBoxGame, row: NDArray[Any], budget: int | None, seed: int) -> NDArray[np.float64]:
    """Compute the Shapley values of one row.

    Exact when all 2^m − 2 coalitions of its m varying features fit the budget, estimated otherwise. The result depends
    on nothing but the arguments: not on other rows, threads or earlier calls.

    Parameters
    ----------
    game : BlackBoxGame
    row : ndarray of shape (n_features,)
    budget : int or None
        Largest number of coalitions; None for :func:`~service.shapley.coalitions.default_budget`.
    seed : int

    Returns
    -------
    ndarray of shape (n_outputs, n_features)

    Raises
    ------
    ValueError
        When the budget is too small for the number of varying features.
    """
    varying = np.flatnonzero(game.background.varying(row))
    total = game.full_value(row) - game.empty_value  # (n_outputs,)
    importances = np.zeros((len(total), len(row)))
    if len(varying) == 1:
        importances[:, varying[0]] = total
    elif len(varying) > 1:
        solver = solver_for(len(varying), budget if budget is not None else default_budget(len(varying)), seed)
        members = np.zeros((len(solver.coalitions.members), len(row)), dtype=bool)
        members[:, varying] = solver.coalitions.members
        importances[:, varying] = solver.solve(game.values(row, members) - game.empty_value, total).T
    return importances
