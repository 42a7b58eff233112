"""The engines that estimate: Kernel SHAP on any game, models on a sample, and shap's own.

``KernelEngine`` samples coalitions around whatever evaluates them: the model itself, or what is
known of its inside. ``SampledBackgroundEngine`` samples background rows only. ``ShapEngine`` hands
everything over to the shap library. Next:
:mod:`service.engines.precision`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.blas_threads import one_blas_thread
from service.engines.engine import EXACT_ON, ByRow, Encoding, Engine, Importances
from service.engines.progress import Progress, no_progress
from service.shapley.background import Background, BackgroundSummary, spread_out
from service.shapley.coalitions import default_budget, smallest_budget
from service.shapley.games import Function, Game
from service.shapley.kernel import Estimate, RowByRow, Sampling, Stopping, refined_shapley
from service.shapley.survey import SurveyedGame

N_TRIAL_ROWS = 4
# Coalitions × features of a design: some 8 bytes each, a few times over.
AFFORDABLE_DESIGN = 10_000_000


@dataclass(frozen=True)
class Effort:
    """How `nsamples`, the work for a row counted in coalitions, becomes a sampling.

    Attributes
    ----------
    evaluations_each : int or None
        Hybrid rows evaluated for each coalition of `nsamples`; None where each coalition meets the
        whole background.
    spread : int, default 1
        How many coalitions share these evaluations: more of them with fewer background rows each
        tell more, where another coalition costs little.
    most_evaluations : int, by default no limit
        What the game's tables can hold.
    n_background : int, by default too many
        Rows of the background. Every coalition meets all of them where that takes no more than
        `patience` times the evaluations of a sample.
    patience : int, default 1
    """

    evaluations_each: int | None
    spread: int = 1
    most_evaluations: int = sys.maxsize
    n_background: int = sys.maxsize
    patience: int = 1

    def sampling(self, nsamples: str | int, n_features: int, seed: int) -> Sampling:
        """Return what is evaluated for a row.

        "auto" is at most 2 · n_features + 2048 coalitions, as in shap, in stages.

        Raises
        ------
        ValueError
            When a row whose features all vary could not be explained with so few coalitions.
        """
        in_stages = isinstance(nsamples, str)
        count = default_budget(n_features) if isinstance(nsamples, str) else nsamples
        needed = smallest_budget(n_features)
        if count < needed:
            raise ValueError(
                f"nsamples: expected at least {needed} coalitions for {n_features} features, got "
                f"{count}."
            )
        if self.evaluations_each is None:
            return Sampling(count, None, seed, in_stages)
        evaluations = min(count * self.evaluations_each, self.most_evaluations)
        every = 2**n_features - 2
        if every * self.n_background <= self.patience * evaluations:
            return Sampling(every, None, seed, in_stages)
        coalitions = min(
            count * self.spread, evaluations // 2, max(count, AFFORDABLE_DESIGN // n_features)
        )
        return Sampling(max(coalitions, needed), evaluations, seed, in_stages)


class KernelEngine(Engine):
    """Kernel SHAP on any game.

    It is exact where every coalition meets every background row, and estimated with standard errors
    otherwise.

    Parameters
    ----------
    encode : callable
        From the schema's matrix to the rows of the game.
    game : Game
    effort : Effort
    nsamples : "auto" or int
    random_state : int
    stopping : Stopping
    method : str
        "kernel" where the model is called; "kernel/…" where a structured evaluator takes its place.

    Raises
    ------
    ValueError
        When `nsamples` is too small for the number of features.
    """

    is_sampled = True
    n_checked_rows = 4

    def __init__(
        self,
        encode: Encoding,
        game: Game,
        *,
        effort: Effort,
        nsamples: str | int,
        random_state: int,
        stopping: Stopping,
        method: str,
    ) -> None:
        self.encode = encode
        self.game = game
        self.effort = effort
        self.sampling = effort.sampling(nsamples, game.n_features, random_state)
        self.stopping = stopping
        self.method = method
        self.background = game.background.summary
        self.expected_values = game.empty_value

    @property
    def calls_model(self) -> bool:
        """Whether the game is the model itself."""
        return self.method == "kernel"

    @property
    def is_exact(self) -> bool:
        """Whether nothing is sampled for any row: each coalition meets the whole background."""
        return self.sampling.is_exact(len(self.game.background.rows), self.game.n_features)

    @property
    def is_in_stages(self) -> bool:
        """Whether a row may do with a part of the evaluations."""
        return self.sampling.in_stages and not self.is_exact

    @property
    def n_evaluations(self) -> int:
        """How many hybrid rows are evaluated for a row, at most."""
        n_background = len(self.game.background.rows)
        return self.sampling.count_evaluations(n_background, self.game.n_features)

    @property
    def precision(self) -> str:
        """In what the sampled part is computed; see :mod:`service.engines.precision`."""
        return "single" if self.game.precision == np.float32 else "double"

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row, with their standard errors."""
        return _gathered(map(self._estimate, progress(self.encode(rows))))

    def explain_against(self, rows: NDArray[Any]) -> ByRow:
        """Return what explains a row against each of some encoded rows, roughly."""
        return RowByRow(self.game.on(Background.uniform(rows, "given"))).shapley_values

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the game of all features together, shape (n_rows, n_outputs)."""
        return np.array([self.game.full_value(row) for row in self.encode(rows)])

    @one_blas_thread()
    def relative_standard_error(self) -> float:
        """Return the mean standard error over a few rows, as a share of the mean |importance|.

        The rows are of the background. 0 where nothing is sampled, or where all importances are 0.
        """
        if self.is_exact:
            return 0.0
        few = spread_out(self.game.background.rows, N_TRIAL_ROWS)
        return _gathered(map(self._estimate, few)).relative_error

    def with_sampling(self, nsamples: str | int, random_state: int) -> KernelEngine:
        """Return the same engine with another number of coalitions and seed.

        Raises
        ------
        ValueError
            When `nsamples` is too small for the number of features.
        """
        sampling = self.effort.sampling(nsamples, self.game.n_features, random_state)
        return self._with(sampling, self.stopping)

    def on_whole_background(self, coalitions: int) -> KernelEngine:
        """Return the same engine with so many coalitions, each on the whole background."""
        return self._with(Sampling(coalitions, None, self.sampling.seed), Stopping())

    def in_one_round(self) -> KernelEngine:
        """Return the same engine without a stopping rule.

        What it does for a row then depends on no clock, and on nothing that it finds.
        """
        return self._with(replace(self.sampling, in_stages=False), Stopping())

    def in_single_precision(self) -> KernelEngine | None:
        """Return the same engine in single precision, None where its game has no such form."""
        game = self.game.in_single_precision()
        return None if game is None else self.with_game(game)

    def with_game(self, game: Game) -> KernelEngine:
        """Return the same engine on another form of its game."""
        other = copy(self)
        other.game = game
        return other

    def _with(self, sampling: Sampling, stopping: Stopping) -> KernelEngine:
        other = copy(self)
        other.sampling, other.stopping = sampling, stopping
        return other

    def _estimate(self, row: NDArray[Any]) -> Estimate:
        return refined_shapley(self.game, row, self.sampling, self.stopping)


def _gathered(estimates: Iterable[Estimate]) -> Importances:
    """Put the estimates of single rows together."""
    values, errors = [], []
    for estimate in estimates:
        values.append(estimate.values)
        errors.append(estimate.standard_errors)
    return Importances(np.stack(values, axis=1), np.stack(errors, axis=1))


class SampledBackgroundEngine(Engine):
    """A model on all examples, estimated from a sample of them with standard errors.

    Importances against each sampled row are exact; what is estimated is their mean over all
    examples. The expected values are those of all examples. The sample is drawn when the engine is
    built, so another number of coalitions or another seed changes nothing.

    Parameters
    ----------
    encode : callable
        From the schema's matrix to encoded rows.
    game : SurveyedGame
    background : BackgroundSummary
        Of all examples.
    method : str
        Such as "tree/sampled".
    """

    is_sampled = True
    n_checked_rows = 2  # a row may take a second or two

    def __init__(
        self,
        encode: Encoding,
        game: SurveyedGame,
        background: BackgroundSummary,
        method: str,
    ) -> None:
        self.encode = encode
        self.method = method
        self.game = game
        self.background = background
        self.expected_values = game.empty_value

    @property
    def exactness(self) -> str:
        """Exact against each sampled row of the background."""
        return EXACT_ON["sample"]

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Estimate the local importances row by row, with their standard errors."""
        return _gathered(map(self._estimate, progress(self.encode(rows))))

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the model's structure, shape (n_rows, n_outputs)."""
        return np.array([self.game.full_value(row) for row in self.encode(rows)])

    def error_said_before(self) -> float:
        """Return the relative standard error: a sample may be small."""
        return self.relative_standard_error()

    @one_blas_thread()
    def relative_standard_error(self) -> float:
        """Return the mean standard error over a few sampled rows, relative to their importances."""
        few = spread_out(self.game.rows, N_TRIAL_ROWS)
        return _gathered(map(self._estimate, few)).relative_error

    def _estimate(self, row: NDArray[Any]) -> Estimate:
        return Estimate(*self.game.estimate(row))


class ShapEngine(Engine):
    """``shap.KernelExplainer`` as it is, for those who want the original.

    Scoring with it needs shap. It samples with numpy's global generator, so its numbers change from
    call to call where it cannot enumerate, and it cannot be shared by threads: each call makes its
    own.

    Parameters
    ----------
    function : callable
        The model's output, from rows (n_rows, n_features) to (n_rows, n_outputs).
    background : Background
    nsamples : "auto" or int
        Passed on as it is.
    """

    method = "shap"
    is_sampled = True

    def __init__(self, function: Function, background: Background, nsamples: str | int) -> None:
        self.function = function
        self.rows = background
        self.nsamples = nsamples
        self.background = background.summary
        self.expected_values = background.weights @ function(background.rows)

    @property
    def calls_model(self) -> bool:
        """Whether the model is called: always."""
        return True

    def with_sampling(self, nsamples: str | int, random_state: int) -> ShapEngine:
        """Return the same engine with another number of coalitions."""
        return ShapEngine(self.function, self.rows, nsamples)

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row."""
        import shap  # heavy, and needed by this engine alone

        names = [str(i) for i in range(rows.shape[1])]
        data = shap.utils._legacy.DenseData(self.rows.rows, names, None, self.rows.weights)
        explainer = shap.KernelExplainer(self.function, data)
        values = [
            explainer.shap_values(row, nsamples=self.nsamples, silent=True)
            for row in progress(rows)
        ]
        # From (n_rows, n_features, n_outputs).
        return Importances(np.moveaxis(np.stack(values), 2, 0))
