"""Hybrid rows: the rows on which Shapley values evaluate a model, and a surrogate must follow it.

Next: :mod:`service.explainers.mimic.fidelity`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def make_hybrids(rows: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Mix pairs of rows, each column from one or the other; every coalition size equally often.

    A value stands in its own column only, so categories stay categories.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
    count : int
        How many hybrids are made.
    rng : numpy Generator

    Returns
    -------
    ndarray of shape (count, n_features)
    """
    first, second = rng.integers(len(rows), size=(2, count))
    share = rng.random((count, 1))
    return np.where(rng.random((count, rows.shape[1])) < share, rows[first], rows[second])
