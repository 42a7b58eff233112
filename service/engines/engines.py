"""The engines: ways from rows to importances, behind one small interface.

An engine is made once (:mod:`service.engines.choice`) and read-only from then on, so all threads
share it. Engines that know the inside of a model work on encoded rows: `encode` turns the schema's
matrix into the columns that the model's last step sees, all rows at once. Next:
:mod:`service.shapley.kernel`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from tqdm import tqdm

from service.engines.threads import one_blas_thread
from service.rows.schema import Schema
from service.shapley.background import Background, BackgroundSummary, spread_out
from service.shapley.coalitions import default_budget, smallest_budget
from service.shapley.games import Function, Game
from service.shapley.grouping import Grouping
from service.shapley.kernel import Sampling, Stopping, refined_shapley
from service.shapley.linear import linear_shapley
from service.shapley.polynomials import PolynomialKernel, polynomial_shapley
from service.shapley.products import EnumeratedProducts, ProductKernel, product_shapley
from service.shapley.trees import TreeGame
from service.structures.encoders import Encoder

CHUNKS_PER_JOB = (
    4  # enough for a bar and an even load; few, because a process makes its tables anew for each
)
N_TRIAL_ROWS = 4
AFFORDABLE_DESIGN = (
    10_000_000  # coalitions × features of a design: some 8 bytes each, a few times over
)
Progress = Callable[[Iterable[Any]], Iterable[Any]]
Begin = Callable[[str], None]  # says which step begins
Encoding = Callable[
    [NDArray[Any]], NDArray[Any]
]  # from the schema's matrix to the rows that an engine works on


def no_progress(rows: Iterable[Any]) -> Iterable[Any]:
    """Show nothing."""
    return rows


def progress_bar(parts: Iterable[Any]) -> Iterable[Any]:
    """Show a bar once the work takes longer than a second, and only on a terminal."""
    return tqdm(parts, desc="Explaining", delay=1, disable=None)


@contextmanager
def steps_shown(doing: str) -> Iterator[Begin]:
    """Name the step that is at work, only on a terminal; the line goes away in the end."""
    with tqdm(
        bar_format=f"{doing}: {{desc}} ({{elapsed}} so far)", leave=False, disable=None
    ) as line:
        yield line.set_description_str


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
    """From the schema's matrix to the columns that a model's last step sees, by the fitted steps
    themselves.
    """

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
    background : BackgroundSummary
    expected_values : ndarray of shape (n_outputs,)
        The model's mean output over the background.
    """

    method: str
    background: BackgroundSummary
    expected_values: NDArray[np.float64]

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances of the rows of a matrix, (n_rows, n_features)."""


class LinearEngine:
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
        parts = linear_shapley(
            self.coefficients, self.encode(rows), self.mean
        )  # (n_outputs, n_rows, n_columns)
        return Importances(self.grouping.add_up(parts[..., None])[..., 0])


class TreeEngine:
    """Exact importances of a sum of trees."""

    method = "tree"

    def __init__(self, encode: Encoding, game: TreeGame, background: BackgroundSummary) -> None:
        self.encode = encode
        self.game = game
        self.background = background
        self.expected_values = game.empty_value

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row."""
        return Importances(
            np.stack([self.game.shapley_values(row) for row in progress(self.encode(rows))], axis=1)
        )


class ProductEngine:
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

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row."""
        values = [self._importances(row) for row in progress(self.encode(rows))]
        return Importances(np.stack(values, axis=1))

    def _importances(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.enumerated is None:
            return product_shapley(self.kernel, row, self.rows)
        # Rounding would leave something of a feature that does not vary.
        return self.enumerated.shapley_values(row) * self.grouping.varying(self.rows, row)


class PolynomialEngine:
    """Exact importances of a kernel machine with a polynomial kernel."""

    method = "polynomial"

    def __init__(self, encode: Encoding, kernel: PolynomialKernel, background: Background) -> None:
        self.encode = encode
        self.kernel = kernel
        self.rows = background
        self.background = background.summary
        self.expected_values = background.mean(kernel.margins)

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row."""
        values = [
            polynomial_shapley(self.kernel, row, self.rows) for row in progress(self.encode(rows))
        ]
        return Importances(np.stack(values, axis=1))


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
    most_evaluations : int or None
        What the game's tables can hold.
    """

    evaluations_each: int | None
    spread: int = 1
    most_evaluations: int | None = None

    def sampling(self, nsamples: str | int, n_features: int, seed: int) -> Sampling:
        """Return what is evaluated for a row; "auto" is 2 · n_features + 2048, as in shap."""
        if not isinstance(nsamples, str):
            count = nsamples
        elif nsamples == "auto":
            count = default_budget(n_features)
        else:
            raise ValueError(
                f"nsamples: expected 'auto' or a number of coalitions, got {nsamples!r}."
            )
        if self.evaluations_each is None:
            return Sampling(count, None, seed)
        evaluations = min(count * self.evaluations_each, self.most_evaluations or sys.maxsize)
        coalitions = min(
            count * self.spread, evaluations // 2, max(count, AFFORDABLE_DESIGN // n_features)
        )
        return Sampling(max(coalitions, smallest_budget(n_features)), evaluations, seed)


class KernelEngine:
    """Kernel SHAP: exact where every coalition meets every background row, estimated with standard
    errors otherwise.

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
    """

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

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row."""
        estimates = [
            refined_shapley(self.game, row, self.sampling, self.stopping)
            for row in progress(self.encode(rows))
        ]
        return Importances(
            np.stack([estimate.values for estimate in estimates], axis=1),
            np.stack([estimate.standard_errors for estimate in estimates], axis=1),
        )

    @one_blas_thread()
    def relative_error(self) -> float:
        """Return the mean standard error over a few background rows, as a share of the mean
        absolute importance.
        """
        few = spread_out(self.game.background.rows, N_TRIAL_ROWS)
        estimates = [refined_shapley(self.game, row, self.sampling, self.stopping) for row in few]
        size = np.mean([np.abs(estimate.values).mean() for estimate in estimates])
        return (
            float(np.mean([estimate.standard_errors.mean() for estimate in estimates]) / size)
            if size
            else 0.0
        )

    def with_sampling(self, nsamples: str | int, random_state: int) -> KernelEngine:
        """Return the same engine with another number of coalitions and seed."""
        return self._with(
            self.effort.sampling(nsamples, self.game.n_features, random_state), self.stopping
        )

    def on_whole_background(self, coalitions: int) -> KernelEngine:
        """Return the same engine with so many coalitions, each on the whole background."""
        return self._with(Sampling(coalitions, None, self.sampling.seed), Stopping())

    def in_one_round(self) -> KernelEngine:
        """Return the same engine without a stopping rule: what it does for a row depends on no
        clock.
        """
        return self._with(self.sampling, Stopping())

    def with_game(self, game: Game) -> KernelEngine:
        """Return the same engine on another form of its game."""
        other = copy(self)
        other.game = game
        return other

    @property
    def precision(self) -> str:
        """In what the sampled part is computed, "single" or "double"; see
        :mod:`service.engines.precision`.
        """
        return "single" if getattr(self.game, "precision", np.float64) == np.float32 else "double"

    def _with(self, sampling: Sampling, stopping: Stopping) -> KernelEngine:
        other = copy(self)
        other.sampling, other.stopping = sampling, stopping
        return other


class ShapEngine:
    """``shap.KernelExplainer`` as it is, for those who want the original; scoring with it needs
    shap.

    It samples with numpy's global generator, so its numbers change from call to call where it
    cannot enumerate, and it cannot be shared by threads: each call makes its own.
    """

    method = "shap"

    def __init__(self, function: Function, background: Background, nsamples: str | int) -> None:
        self.function = function
        self.rows = background
        self.nsamples = nsamples
        self.background = background.summary
        self.expected_values = background.weights @ function(background.rows)

    def with_sampling(self, nsamples: str | int, random_state: int) -> ShapEngine:
        """Return the same engine with another number of coalitions."""
        return ShapEngine(self.function, self.rows, nsamples)

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances row by row."""
        import shap  # heavy, and needed by this engine alone

        data = shap.utils._legacy.DenseData(
            self.rows.rows, [str(i) for i in range(rows.shape[1])], None, self.rows.weights
        )
        explainer = shap.KernelExplainer(self.function, data)
        values = [
            explainer.shap_values(row, nsamples=self.nsamples, silent=True)
            for row in progress(rows)
        ]
        return Importances(
            np.moveaxis(np.stack(values), 2, 0)
        )  # from (n_rows, n_features, n_outputs)


@one_blas_thread()
def importances_of(
    engine: Engine, rows: NDArray[Any], progress: Progress = no_progress
) -> Importances:
    """Compute the local importances of rows, the same bytes whatever number of BLAS threads is
    set.
    """
    return engine.importances(rows, progress)


def in_parallel(
    engine: Engine, rows: NDArray[Any], progress: Progress, n_jobs: int | None
) -> Importances:
    """Compute the local importances in joblib jobs, on whatever backend is configured; the numbers
    are the same.
    """
    n_chunks = min(len(rows), CHUNKS_PER_JOB * effective_n_jobs(n_jobs))
    chunks = np.array_split(rows, n_chunks)
    parts = Parallel(n_jobs=n_jobs)(
        delayed(importances_of)(engine, chunk) for chunk in progress(chunks)
    )
    errors = [part.standard_errors for part in parts if part.standard_errors is not None]
    return Importances(
        np.concatenate([part.values for part in parts], axis=1),
        np.concatenate(errors, axis=1) if errors else None,
    )


def unchanged(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as they are: the encoding of a model that is only called."""
    return rows
