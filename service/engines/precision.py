"""Single precision in what is sampled, where its rounding cannot be told from double precision.

A sampled importance is off by its standard error, some per cent of a typical importance; hidden
units and kernels in single precision add a millionth to that and take half of the time. Not always:
large outputs that hardly vary, or dual coefficients that cancel, leave little of seven digits. So
both precisions are tried on the same coalitions when an engine is built. What is known exactly
stays in double precision: f(x), the expected value, controls' Shapley values, the least squares,
and every plan that samples nothing. Next: :mod:`service.engines.called`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.engine import Engine
from service.shapley.background import spread_out

N_TRIAL_ROWS = 4
NEGLIGIBLE = 0.001  # of the standard error: a tenth of it where a hundred times as much is sampled


def in_good_precision(engine: Engine, examples: NDArray[Any]) -> Engine:
    """Return an engine in single precision where that makes no difference, or the engine itself.

    Parameters
    ----------
    engine : Engine
    examples : ndarray of shape (n_examples, n_features)
        The schema's matrix; a few of its rows are explained in both precisions.

    Returns
    -------
    Engine
    """
    single = engine.in_single_precision()
    if single is None:
        return engine
    few = spread_out(examples, N_TRIAL_ROWS)
    # An overflow shows in the difference. One round is enough: more would take longer and be no
    # other comparison.
    with np.errstate(over="ignore", invalid="ignore"):
        exact = engine.in_one_round().importances(few)
        rounded = single.in_one_round().importances(few)
    assert exact.standard_errors is not None
    off, noise = _size(rounded.values - exact.values), _size(exact.standard_errors)
    return single if (noise > 0).any() and (off <= NEGLIGIBLE * noise).all() else engine


def _size(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean square over rows and features, shape (n_outputs,)."""
    size: NDArray[np.float64] = np.sqrt(np.square(values).mean(axis=(1, 2)))
    return size
