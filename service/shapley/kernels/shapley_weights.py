"""The Shapley value of a feature in the game of one leaf, and the potential of that game.

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


@lru_cache
def potential_weights(most: int) -> NDArray[np.float64]:
    """Tabulate the potential of a leaf, by how many features either row breaks.

    It is (u−1)! v! / (u+v)!, the Shapley value of each of the u that the background row breaks. For
    u = 0 that of the v is −1/v, so the potential is −(1 + 1/2 + … + 1/v), plus a constant that
    makes it positive: nothing else is 0 but what no hybrid row reaches.

    Parameters
    ----------
    most : int
        The largest number of features that a leaf's path tests.

    Returns
    -------
    ndarray of shape (most + 1, most + 1)
    """
    weights = shapley_weights(most).copy()
    harmonic = np.cumsum([0.0, *(1 / np.arange(1, most + 1))])
    weights[0] = 1 + harmonic[-1] - harmonic
    return weights
