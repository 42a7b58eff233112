"""The Shapley value of a feature in the game of one leaf.

Next: :mod:`service.shapley.kernels.splits`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache
def shapley_weights(most: int) -> NDArray[np.float64]:
    """Tabulate (u−1)! v! / (u+v)! for u and v up to `most` together.

    Parameters
    ----------
    most : int
        The largest number of features that a leaf's path tests.

    Returns
    -------
    ndarray of shape (most + 1, most + 1)
        By u and v; 0 where u is 0 or both are more than `most`.
    """
    weights = np.zeros((most + 1, most + 1))
    for u in range(1, most + 1):
        inverse = u  # u · C(u + v, u), a whole number of any length
        for v in range(most + 1 - u):
            weights[u, v] = 1 / inverse
            inverse = inverse * (u + v + 1) // (v + 1)
    return weights
