"""Kernel SHAP with pairs, joint draws of the background, control variates and standard errors.

There is no hidden feature selection: every feature that varies gets its own coefficient. On a
complete plan the result is exact; otherwise it is an estimate of the game on the whole background,
with the standard error of each importance.

Next: :mod:`service.shapley.controls`.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley import kernels
from service.shapley.coalitions import default_budget, smallest_budget
from service.shapley.controls import best_multiples
from service.shapley.games import Game
from service.shapley.kernels.regression import Combination, beside
from service.shapley.plan import Numbers, Plan, make_plan
from service.shapley.stages import Stages, make_stages

MOST_ROUNDS = 64
# Unless said otherwise: the mean standard error, as a share of the mean |importance|.
ENOUGH = 0.1
# Less than this a part of the work cannot tell: it may have met nothing of what is rare, and then
# says that nothing varies.
TOO_LITTLE = 0.002
COALITIONS_ROW_BY_ROW = 128  # at least
# By bytes a number, relative; outputs that differ by no more say the same.
ROUNDING = {
    8: 1e-12,
    4: 1e-6,
}
ROUND_STRIDE = (
    1_000_003  # between the seeds of the rounds, so that those of neighbouring seeds do not meet
)


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

    @property
    def relative_error(self) -> float:
        """The mean standard error as a share of the mean |importance|; 0 where both are 0."""
        error, size = self.standard_errors.sum(), np.abs(self.values).sum()
        with np.errstate(divide="ignore"):
            return float(error / size) if error else 0.0


@dataclass(frozen=True)
class Sampling:
    """How much is evaluated for a row.

    Attributes
    ----------
    coalitions : int or None
        Largest number of coalitions; None for as many as two background rows each leave room for.
    evaluations : int or None
        About how many hybrid rows are evaluated; None for every coalition on the whole background,
        with :func:`~service.shapley.coalitions.default_budget` coalitions unless said otherwise.
    seed : int
    in_stages : bool
        Whether a row may do with a part of it, where that is close enough.
    """

    coalitions: int | None = None
    evaluations: int | None = None
    seed: int = 0
    in_stages: bool = False

    def is_exact(self, n_background: int, n_players: int) -> bool:
        """Tell whether all coalitions of that many features meet that many background rows."""
        every = 2**n_players - 2
        if every <= 0:
            return True
        has_all = self._coalitions(n_players) >= every
        return has_all and (self.evaluations is None or every * n_background <= self.evaluations)

    def count_evaluations(self, n_background: int, n_players: int) -> int:
        """Count the hybrid rows that are evaluated for a row, at most."""
        every = (2**n_players - 2) * n_background
        if self.evaluations is None:
            return min(every, self._coalitions(n_players) * n_background)
        return min(every, self.evaluations)

    def stages(self, game: Game, n_players: int) -> Stages:
        """Lay out the evaluations for that many varying features."""
        coalitions = self._coalitions(n_players)
        arguments = game.background, n_players, coalitions, self.evaluations, self.seed
        if self.in_stages:
            return make_stages(*arguments)
        return Stages.single(make_plan(*arguments))

    def _coalitions(self, n_players: int) -> int:
        if self.coalitions is not None:
            return self.coalitions
        if self.evaluations is None:
            return default_budget(n_players)
        return max(smallest_budget(n_players), self.evaluations // 2)


def kernel_shapley(
    game: Game, row: NDArray[Any], sampling: Sampling, enough: float = ENOUGH
) -> Estimate:
    """Compute the Shapley values of one row.

    Exact when all coalitions of its varying features on the whole background fit the sampling,
    estimated otherwise. The result depends on nothing but the arguments: not on other rows, threads
    or earlier calls.

    Parameters
    ----------
    game : Game
    row : ndarray of shape (n_features,)
    sampling : Sampling
    enough : float
        Where the sampling is in stages, no further one is begun when the mean standard error is at
        most this share of the mean absolute importance.

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
        stages = sampling.stages(game, len(players))
        game = game.for_row(row)
        known = game.control_values(row, stages.so_far[-1])
        regression = _Regression(game, players, total, *(part[:, players] for part in known))
        found = _sample(regression, row, stages, enough)
        values[:, players], errors[:, players] = found.values, found.standard_errors
    return Estimate(values, errors)


class RowByRow:
    """Shapley values against each background row, roughly: all rows meet the same few coalitions.

    They tell how much the values vary from one background row to the next.

    Parameters
    ----------
    game : Game
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self.coalitions = max(COALITIONS_ROW_BY_ROW, smallest_budget(game.n_features))
        self.outputs = np.stack(list(map(game.full_value, game.background.rows)))

    def shapley_values(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the values of one row, shape (n_background, n_outputs, n_features)."""
        players = np.flatnonzero(self.game.varying(row))
        totals = self.game.full_value(row) - self.outputs  # (n_background, n_outputs)
        values = np.zeros((*totals.shape, self.game.n_features))
        if len(players) == 1:
            values[..., players[0]] = totals
        elif len(players) > 1:
            plan = Plan.row_by_row(self.game.background, len(players), self.coalitions)
            outputs, _ = self.game.differences(row, players, plan)
            of_pairs = np.tensordot(outputs, plan.solver.projection, axes=(0, 1))
            values[..., players] = of_pairs + totals[..., None] * plan.solver.share
        return values


@dataclass(frozen=True)
class Stopping:
    """When an estimate is good enough.

    Attributes
    ----------
    tolerance : float or None
        The mean standard error to reach, as a share of the mean absolute importance.
    time_budget : float or None
        Seconds after which no further round is begun for a row. What is reached by then depends on
        the machine.
    """

    tolerance: float | None = None
    time_budget: float | None = None

    def is_met(self, estimate: Estimate, seconds: float) -> bool:
        """Tell whether to stop; without a tolerance or a time budget, always."""
        if not self.asks_for_more or not estimate.standard_errors.any():
            return True
        is_over = self.time_budget is not None and seconds >= self.time_budget
        is_close = self.tolerance is not None and estimate.relative_error <= self.tolerance
        return is_over or is_close

    @property
    def asks_for_more(self) -> bool:
        """Whether there is a tolerance or a time budget, so that one round may not be enough."""
        return self.tolerance is not None or self.time_budget is not None

    def first_round(self, sampling: Sampling) -> tuple[Sampling, float]:
        """Return how the first round samples, and what is enough there.

        A time budget alone is filled, so that no part of a round would do.
        """
        if self.tolerance is None:
            return replace(
                sampling, in_stages=sampling.in_stages and not self.asks_for_more
            ), ENOUGH
        return sampling, self.tolerance


def refined_shapley(
    game: Game, row: NDArray[Any], sampling: Sampling, stopping: Stopping
) -> Estimate:
    """Compute the Shapley values of one row, in as many rounds as the stopping rule asks.

    Parameters
    ----------
    game : Game
    row : ndarray of shape (n_features,)
    sampling : Sampling
        What one round evaluates.
    stopping : Stopping
        A time budget ends the rounds, however many they are. Without one at most 64 are made; a
        warning says that they were not enough for the tolerance.

    Returns
    -------
    Estimate
        The mean of the rounds, each with coalitions and background rows of its own.
    """
    start = monotonic()
    mean = kernel_shapley(game, row, *stopping.first_round(sampling))
    values, variances = mean.values, mean.standard_errors**2  # sums over the rounds
    n_rounds = 1
    while not stopping.is_met(mean, monotonic() - start):
        if n_rounds == MOST_ROUNDS and stopping.time_budget is None:
            warnings.warn(
                f"tolerance: {stopping.tolerance} was not reached in {MOST_ROUNDS} times the work "
                "of a row; its standard errors say what was.",
                stacklevel=2,
            )
            break
        seed = sampling.seed + ROUND_STRIDE * n_rounds
        estimate = kernel_shapley(game, row, replace(sampling, seed=seed, in_stages=False))
        values, variances = values + estimate.values, variances + estimate.standard_errors**2
        n_rounds += 1
        mean = Estimate(values / n_rounds, np.sqrt(variances / n_rounds / n_rounds))
    return mean


@dataclass(frozen=True)
class _Regression:
    """What is known of a row before anything is evaluated; players alone.

    Attributes
    ----------
    game : Game
    players : ndarray of int, shape (n_players,)
    total : ndarray of shape (n_outputs,)
    known, uncertain : ndarray of shape (n_controls, n_players)
        The controls' Shapley values and their standard errors.
    """

    game: Game
    players: NDArray[np.intp]
    total: NDArray[np.float64]
    known: NDArray[np.float64]
    uncertain: NDArray[np.float64]

    def estimate(self, plan: Plan, outputs: Numbers, controls: Numbers) -> Estimate:
        """Solve for what the controls leave over of a plan's differences, and add what they are."""
        if not _are_mirrored(outputs, self.total):
            return Estimate(*self._solve(plan, self.total, outputs, controls))
        values, errors = self._solve(plan, self.total[:1], outputs[:, :, :1], controls)
        return Estimate(np.concatenate([values, -values]), np.concatenate([errors, errors]))

    def _solve(
        self, plan: Plan, total: NDArray[np.float64], outputs: Numbers, controls: Numbers
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return Shapley values and their standard errors, both (n_outputs, n_players)."""
        drawn = self.game.draw_marks.controls(self.players, plan)
        design, loops = plan.design(outputs.dtype), kernels.current
        both = beside(outputs, controls)
        totals = np.concatenate([total, self.known.sum(axis=1)])
        squares, explained = loops.error_products(design, drawn, both, totals)
        multiples = best_multiples(squares, explained, len(total), both.itemsize)
        best = Combination(multiples, explained @ multiples)
        solved, variances = loops.solve_combined(design, drawn, both, totals, best)
        scale = -multiples[len(total) :]
        values = solved + self.known.T @ scale  # (n_players, n_outputs)
        sampled = _freedom(plan, len(self.known) + len(explained)) * variances
        return values.T, np.sqrt(sampled + self.uncertain.T**2 @ scale**2).T


def _sample(regression: _Regression, row: NDArray[Any], stages: Stages, enough: float) -> Estimate:
    """Evaluate one stage after another until what there is by then is enough."""
    found, done, stage = [], 0, 1
    while True:
        new = stages.new[done, stage]
        found.append(regression.game.differences(row, regression.players, new))
        outputs, controls = map(np.concatenate, zip(*found, strict=True))
        estimate = regression.estimate(stages.so_far[stage - 1], outputs, controls)
        error = estimate.relative_error
        if TOO_LITTLE <= error <= enough or stage == len(stages.so_far):
            return estimate
        done, stage = stage, stages.next_after(stage, error / enough)


def _are_mirrored(outputs: Numbers, total: NDArray[np.float64]) -> bool:
    """Tell whether there are two outputs, each the other's negative up to rounding.

    So are the two classes of a binary classifier.
    """
    if len(total) != 2:
        return False
    first, second = outputs[:, :, 0], outputs[:, :, 1]
    is_mirrored = np.abs(first + second).max() <= ROUNDING[outputs.itemsize] * np.abs(first).max()
    return bool(is_mirrored and abs(total.sum()) <= ROUNDING[total.itemsize] * np.abs(total).max())


def _freedom(plan: Plan, n_controls: int) -> float:
    """Return how much larger the variance is than residuals show that controls were fitted to.

    Each takes a degree of freedom. What is fitted errs too, by as much again, which counts where
    pairs are few: in the parts of a plan.
    """
    counts = [len(plan.pairs.unseen)]
    if plan.is_part:
        counts.append(int(np.count_nonzero(plan.pairs.unseen)))
    return math.prod(count / max(1, count - n_controls) for count in counts)
