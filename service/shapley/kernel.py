"""Kernel SHAP with pairs, joint draws of the background, control variates and standard errors.

There is no hidden feature selection: every feature that varies gets its own coefficient. On a complete plan the result
is exact; otherwise it is an estimate of the game on the whole background, with the standard error of each importance.
Next: :mod:`service.scoring.engines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.coalitions import default_budget
from service.shapley.games import Game
from service.shapley.plan import Plan, make_plan


@dataclass(frozen=True)
class Estimate:
    """Shapley values of one row.

    Attributes
    ----------
    values : ndarray of shape (n_outputs, n_features)
    standard_errors : ndarray of shape (n_outputs, n_features)
        Zero where nothing was sampled.
    """

    values: NDArray[np.float64]
    standard_errors: NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """How much is evaluated for a row.

    Attributes
    ----------
    budget : int or None
        Largest number of coalitions; None for :func:`~service.shapley.coalitions.default_budget`.
    n_draws : int
        Background rows that each pair of coalitions meets.
    seed : int
    """

    budget: int | None = None
    n_draws: int = 10
    seed: int = 0

    def plan(self, game: Game, n_players: int) -> Plan:
        """Lay out the evaluations for that many varying features."""
        budget = self.budget if self.budget is not None else default_budget(n_players)
        return make_plan(game.background, n_players, budget, self.n_draws, self.seed)


def kernel_shapley(game: Game, row: NDArray[Any], sampling: Sampling) -> Estimate:
    """Compute the Shapley values of one row.

    Exact when all coalitions of its varying features fit the budget and the whole background fits the draws, estimated
    otherwise. The result depends on nothing but the arguments: not on other rows, threads or earlier calls.

    Parameters
    ----------
    game : Game
    row : ndarray of shape (n_features,)
    sampling : Sampling

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        When the budget is too small for the number of varying features.
    """
    players = np.flatnonzero(game.varying(row))
    total = game.full_value(row) - game.empty_value  # (n_outputs,)
    values, errors = np.zeros((2, len(total), game.n_features))
    if len(players) == 1:
        values[:, players[0]] = total
    elif len(players) > 1:
        plan = sampling.plan(game, len(players))
        outputs, controls = game.differences(row, players, plan)
        known = game.control_values(row)[:, players]  # (n_controls, n_players)
        values[:, players], errors[:, players] = _regress(plan, total, outputs, controls, known)
    return Estimate(values, errors)


def _regress(
    plan: Plan,
    total: NDArray[np.float64],
    outputs: NDArray[np.float64],
    controls: NDArray[np.float64],
    known: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve for what the controls leave over, and add their known Shapley values; both (n_outputs, n_players)."""
    scale = _best_scale(plan, outputs.mean(axis=1), controls.mean(axis=1))  # (n_controls, n_outputs)
    left = outputs - controls @ scale  # (n_pairs, n_draws, n_outputs)
    solved = plan.solver.solve(left.mean(axis=1), total - known.sum(axis=1) @ scale)
    values = solved + known.T @ scale  # (n_players, n_outputs)
    return values.T, _standard_errors(plan, left, solved).T


def _best_scale(plan: Plan, outputs: NDArray[np.float64], controls: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit the multiple of the controls that leaves the smallest weighted residual of the regression."""
    if controls.shape[1] == 0:
        return np.zeros((0, outputs.shape[1]))
    weight = np.sqrt(plan.pairs.weights)[:, None]
    zero = np.zeros(1)
    x, y = (
        weight * (part - plan.solver.signs @ plan.solver.solve(part, zero.repeat(part.shape[1])))
        for part in (controls, outputs)
    )
    return np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float64)


def _standard_errors(plan: Plan, left: NDArray[np.float64], solved: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the standard error of each Shapley value from the residuals, pair by pair; (n_players, n_outputs).

    A pair errs because other coalitions of its size were not drawn (its residual, corrected for its leverage and for
    the share of its size that was taken) and because other background rows were not drawn (the spread over its draws).
    """
    residual = (left.mean(axis=1) - plan.solver.signs @ solved) / np.maximum(1 - plan.solver.leverage, 0.1)[:, None]
    unseen = plan.pairs.unseen[:, None]
    variance = unseen * residual**2
    if plan.draws is not None and left.shape[1] > 1:
        variance = variance + (1 - unseen) * plan.draw_noise[:, None] * left.var(axis=1, ddof=1)
    return np.sqrt(plan.solver.projection**2 @ variance)
