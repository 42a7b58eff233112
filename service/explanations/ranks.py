"""The order of importances, from the highest to the lowest.

Next: :mod:`service.explanations.context`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import expect
from service.rows.values import shown


def check_count(k: Any) -> None:
    """Refuse what does not say how many features to keep.

    Raises
    ------
    ValueError
        When it is not a positive whole number.
    """
    is_count = isinstance(k, int | np.integer) and not isinstance(k, bool) and k >= 1
    expect(bool(is_count), f"top_k: expected a positive number, got {shown(k)}.", ValueError)


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
        When `top_k` is not a positive whole number.

    Examples
    --------
    >>> rank_features(np.array([0.1, 0.5, -2.0]), 2).tolist()
    [1, 0]
    """
    if top_k is not None:
        check_count(top_k)
    return np.argsort(-values, axis=-1, kind="stable")[..., :top_k]
