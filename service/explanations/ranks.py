"""The order of importances, from the highest to the lowest.

Next: :mod:`service.explanations.context`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rank_features(values: NDArray[np.float64], top_k: int | None) -> NDArray[np.intp]:
    """Order the last axis from highest to lowest; equal values keep their column order.

    Parameters
    ----------
    values : ndarray of shape (..., n_features)
    top_k : int or None
        How many to keep; None for all.

    Returns
    -------
    ndarray of shape (..., n_features or top_k)
        Positions of features.

    Raises
    ------
    ValueError
        When `top_k` is not positive.

    Examples
    --------
    >>> rank_features(np.array([0.1, 0.5, -2.0]), 2).tolist()
    [1, 0]
    """
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: expected a positive number, got {top_k}.")
    return np.argsort(-values, axis=-1, kind="stable")[..., :top_k]
