"""What a row costs a model that can only be called, measured once when an explainer is built.

One decision hangs on the clock, and only for models far below what anything around them costs: a
*quick* model is evaluated more often instead of being given a surrogate. All else is counted in
rows of the model, so that the same data give the same numbers on any machine. Next:
:mod:`service.engines.called.reasons`.
"""

from __future__ import annotations

from dataclasses import dataclass
from timeit import timeit
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.blas_threads import one_blas_thread
from service.shapley.games import Function

N_FEW_ROWS = 64
N_MORE_ROWS = 256
N_TIMED_ROWS = 4096
N_CALLS = 4  # the quickest counts: others may have been held up
LONG = 0.05  # seconds for a few rows, after which not many more are tried
VERY_LONG = 1.0  # the same, after which no more are tried
ENOUGH = 4 * LONG  # seconds of calls, after which no more are made
# Seconds a row. A surrogate takes eight times as long.
QUICK = 1e-6


@dataclass(frozen=True)
class ModelCost:
    """What a row costs.

    Attributes
    ----------
    seconds_each : float
        Of a row among many in one call.
    """

    seconds_each: float

    @property
    def is_quick(self) -> bool:
        """Whether the model costs next to nothing, such as a few products of arrays."""
        return self.seconds_each < QUICK


@one_blas_thread()
def measure_cost(function: Function, examples: NDArray[Any]) -> ModelCost:
    """Time a model on its examples, over and over.

    Parameters
    ----------
    function : callable
        The model's output.
    examples : ndarray of shape (n_examples, n_features)
    """
    function(examples[:1])  # what a first call imports or starts is not timed
    few = _time_calls(function, examples, N_FEW_ROWS, 2)
    if few <= LONG:
        return ModelCost(_time_calls(function, examples, N_TIMED_ROWS, N_CALLS) / N_TIMED_ROWS)
    if few > VERY_LONG:
        return ModelCost(few / N_FEW_ROWS)
    # What a call costs by itself is no cost of its rows, which come in thousands.
    more = _time_calls(function, examples, N_MORE_ROWS, 2)
    return ModelCost(max(more - few, few / N_MORE_ROWS) / (N_MORE_ROWS - N_FEW_ROWS))


def _time_calls(function: Function, examples: NDArray[Any], n_rows: int, n_calls: int) -> float:
    """Return the seconds of the quickest of several calls, of fewer where they take long."""
    rows = examples[np.arange(n_rows) % len(examples)]
    taken: list[float] = []
    while max(len(taken) / n_calls, sum(taken) / ENOUGH) < 1:
        taken.append(timeit(lambda: function(rows), number=1))
    return min(taken)
