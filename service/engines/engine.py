"""The engine: a way from rows to importances, and what callers may ask of any of them.

An engine is made once (:mod:`service.engines.choice`) and read-only from then on, so all threads
share it. The defaults below are those of an engine that is exact; one that samples says otherwise.
No caller asks for an engine's class. Next: :mod:`service.engines.exact_engines`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from numpy.typing import NDArray

from service.engines.blas_threads import one_blas_thread
from service.engines.called.foreign_code import takes_threads
from service.engines.progress import Progress, no_progress
from service.shapley.background import BackgroundSummary
from service.shapley.survey import Sample
from service.threads import map_in_threads

# Enough for a bar and an even load; few, because a process makes its tables anew for each.
CHUNKS_PER_JOB = 4
# Rows that are explained before jobs are started, and the seconds of work that are worth no jobs:
# processes take seconds to start, threads a millisecond. So few rows are not worth a look.
N_TIMED_ROWS = 2
SHORT = 2.0
SHORT_FOR_THREADS = 0.02
FEW_ROWS = 8
# From the schema's matrix to the rows that an engine works on, all rows at once.
Encoding = Callable[[NDArray[Any]], NDArray[Any]]


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

    @property
    def errors(self) -> NDArray[np.float64]:
        """The standard errors, zeros where nothing is sampled."""
        return np.zeros_like(self.values) if self.standard_errors is None else self.standard_errors

    @property
    def relative_error(self) -> float:
        """The mean standard error as a share of the mean |importance|; 0 where all are 0."""
        size = np.abs(self.values).mean()
        return float(self.errors.mean() / size) if size else 0.0

    def with_errors(self, others: NDArray[np.float64]) -> Importances:
        """Return the same with further standard errors, independent of those that are there."""
        return replace(self, standard_errors=np.hypot(self.errors, others))


# Takes an encoded row, returns its importances against each of some background rows, of shape
# (n_background, n_outputs, n_features).
ByRow = Callable[[NDArray[Any]], NDArray[np.float64]]


@dataclass(frozen=True)
class BackgroundErrors:
    """The standard errors that a sampled background leaves in importances.

    Attributes
    ----------
    of_features : ndarray of shape (n_outputs, n_features)
        As a few of the examples tell them, or all where a feature counts by its own value alone.
    by_row : callable or None
        Explains a row against each of some examples, where the engine can: then the errors are
        those of the row itself.
    sample : Sample or None
        These examples.
    may_count : ndarray of bool, shape (n_features,), or True
        Which features vary, and the model may look at them.
    share : float
        What is left of the variance between single background rows: 1 / n_rows − 1 / n_examples.
    """

    of_features: NDArray[np.float64]
    by_row: ByRow | None = None
    sample: Sample | None = None
    share: float = 0.0
    may_count: NDArray[np.bool_] | bool = True

    def of_rows(self, encoded: NDArray[Any]) -> NDArray[np.float64]:
        """Return the errors of encoded rows, shape (n_outputs, n_rows or 1, n_features).

        What the few others cannot tell of a feature, since hardly any of them shows it, is taken to
        be typical of the feature, or of all, whichever is more. So it is never 0.
        """
        of_features = self.of_features[:, None]
        if self.by_row is None or self.sample is None:
            return of_features
        variances = [self.sample.variances(self.by_row(row)) for row in encoded]
        own = self.share * np.stack(variances, axis=1)
        squared = of_features**2
        of_all = squared.mean(axis=2, keepdims=True) * self.may_count
        return np.sqrt(own + np.maximum(squared, of_all) * self.sample.unsure)


# By the kind of the background.
EXACT_ON = {
    "whole": "exact",
    "sample": "exact on a sampled background",
    "kmeans": "exact on a summary of the background",
    "given": "exact on the background given",
}


class Engine:
    """What every engine offers.

    Attributes
    ----------
    method : str
        Its name, as in :class:`service.scoring.LocalImportances`.
    background : BackgroundSummary
    expected_values : ndarray of shape (n_outputs,)
        The model's mean output over the background.
    encode : callable
        From the schema's matrix to the rows that the engine works on.
    is_sampled : bool
        Whether importances are estimated.
    is_additive : bool
        Whether the importance of a feature depends on its own value alone.
    has_idle_features : bool
        Whether most of many features may have no influence at all.
    background_errors : BackgroundErrors or None
        The standard errors that come of a background that is a sample of the examples.
    n_checked_rows : int
        How many rows it explains when it is compared with the model.
    """

    method: str
    background: BackgroundSummary
    expected_values: NDArray[np.float64]
    encode: Encoding
    background_errors: BackgroundErrors | None = None
    is_sampled: ClassVar[bool] = False
    is_additive: ClassVar[bool] = False
    has_idle_features: ClassVar[bool] = False
    n_checked_rows: ClassVar[int] = 16

    @property
    def calls_model(self) -> bool:
        """Whether the model is called for every row that is explained."""
        return False

    @property
    def uses_blas(self) -> bool:
        """Whether rows are encoded or explained by products of matrices."""
        return True

    @property
    def keeps_sparse(self) -> bool:
        """Whether the importances of sparse rows are a constant row and few that differ from it."""
        return self.is_additive or (self.has_idle_features and self.background_errors is None)

    @property
    def is_exact(self) -> bool:
        """Whether nothing is estimated on the background that it has."""
        return not self.is_sampled

    @property
    def exactness(self) -> str:
        """Whether the importances are exact, in words.

        "exact", "sampled", or exact on less than all examples: "exact on a sampled background",
        "exact on a summary of the background", "exact on the background given".
        """
        return EXACT_ON[self.background.kind] if self.is_exact else "sampled"

    @property
    def precision(self) -> str | None:
        """In what the sampled part is computed, "single" or "double"; None without such a part."""
        return None

    def importances(self, rows: NDArray[Any], progress: Progress = no_progress) -> Importances:
        """Compute the local importances of the rows of a matrix, (n_rows, n_features)."""
        values = [self.row_importances(row) for row in progress(self.encode(rows))]
        return Importances(np.stack(values, axis=1))

    def row_importances(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Compute the local importances of one encoded row, shape (n_outputs, n_features)."""
        raise NotImplementedError

    def looks_at(self, n_features: int) -> NDArray[np.bool_]:
        """Tell at which features the model may look."""
        return np.ones(n_features, dtype=bool)

    def explain_against(self, rows: NDArray[Any]) -> ByRow | None:
        """Return what explains a row against each of some encoded rows; None without such a way."""
        return None

    def game_values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the game of all features together, shape (n_rows, n_outputs).

        It is what the engine takes the model's outputs to be. Empty from engines that play no game:
        expected value + Σ importances says it as well.
        """
        return np.zeros((0, len(self.expected_values)))

    def relative_standard_error(self) -> float | None:
        """Return the mean standard error over a few rows, as a share of the mean |importance|."""
        return None

    def error_said_before(self) -> float | None:
        """Return the relative standard error where it is cheap to know and may be large."""
        return None

    def with_sampling(self, nsamples: str | int, random_state: int) -> Engine:
        """Return the same engine with another number of coalitions and seed."""
        return self

    def on_whole_background(self, coalitions: int) -> Engine:
        """Return the same engine with so many coalitions, each on the whole background."""
        return self

    def in_one_round(self) -> Engine:
        """Return the same engine without a stopping rule."""
        return self

    def in_single_precision(self) -> Engine | None:
        """Return the same engine in single precision, None where there is no such form."""
        return None


def unchanged(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as they are: the encoding of a model that is only called."""
    return rows


def explain_rows(
    engine: Engine, rows: NDArray[Any], progress: Progress = no_progress
) -> Importances:
    """Compute importances, the same bytes whatever number of BLAS threads is set."""
    if engine.uses_blas or engine.background_errors is not None:
        return _explain_by_one_blas_thread(engine, rows, progress)
    return engine.importances(rows, progress)


@one_blas_thread()
def _explain_by_one_blas_thread(
    engine: Engine, rows: NDArray[Any], progress: Progress
) -> Importances:
    importances = engine.importances(rows, progress)
    if engine.background_errors is None:
        return importances
    return importances.with_errors(engine.background_errors.of_rows(engine.encode(rows)))


def explain_in_parallel(
    engine: Engine, rows: NDArray[Any], progress: Progress, n_jobs: int | None
) -> Importances:
    """Compute importances in jobs, on whatever backend of joblib is configured; None is one job.

    Where none is configured they are threads, of an engine that is made for them. The numbers are
    those of :func:`explain_rows`. Work that is short stays in this thread.
    """
    if n_jobs in (None, 1):
        return explain_rows(engine, rows, progress)
    backend = _backend_for(engine)  # which looks through all of the engine
    by_threads = _uses_threads(backend)
    in_jobs = partial(_explain_in_jobs, engine, n_jobs=n_jobs, backend=backend)
    if by_threads and 1 < len(rows) <= FEW_ROWS:
        return _joined(in_jobs(rows, progress))
    tried, rest = rows[:N_TIMED_ROWS], rows[N_TIMED_ROWS:]
    parts, seconds_each = _explain_timed(engine, tried)
    if seconds_each * len(rest) > _WORTH_NO_JOBS[by_threads]:
        parts += in_jobs(rest, progress)
    elif len(rest):
        parts.append(explain_rows(engine, rest, progress))
    return _joined(parts)


def works_in_threads(engine: Engine) -> bool:
    """Tell whether joblib jobs of an engine would be threads of this process."""
    return _uses_threads(_backend_for(engine))


def _uses_threads(preferred: str) -> bool:
    backend, _ = get_active_backend(prefer=preferred)
    return bool(getattr(backend, "uses_threads", False))


_WORTH_NO_JOBS = {False: SHORT, True: SHORT_FOR_THREADS}
_BACKENDS = {False: "processes", True: "threads"}


def _backend_for(engine: Engine) -> str:
    return _BACKENDS[takes_threads(engine)]


def _explain_in_jobs(
    engine: Engine, rows: NDArray[Any], progress: Progress, *, n_jobs: int | None, backend: str
) -> list[Importances]:
    n_at_once = effective_n_jobs(n_jobs)
    chunks = progress(np.array_split(rows, min(len(rows), CHUNKS_PER_JOB * n_at_once)))
    if _uses_threads(backend):  # joblib looks every ten milliseconds whether its threads are done
        return list(map_in_threads(partial(explain_rows, engine), chunks, n_at_once))
    jobs = Parallel(n_jobs=n_jobs, prefer=backend)
    return list(jobs(delayed(explain_rows)(engine, chunk) for chunk in chunks))


def _explain_timed(engine: Engine, rows: NDArray[Any]) -> tuple[list[Importances], float]:
    """Explain rows one by one; the quickest counts, since the first one makes tables for all."""
    parts, seconds = [], []
    for row in rows:
        start = perf_counter()
        parts.append(explain_rows(engine, row[None]))
        seconds.append(perf_counter() - start)
    return parts, min(seconds, default=0.0)


def _joined(parts: Sequence[Importances]) -> Importances:
    values = np.concatenate([part.values for part in parts], axis=1)
    if parts[0].standard_errors is None:
        return Importances(values)
    return Importances(values, np.concatenate([part.errors for part in parts], axis=1))
