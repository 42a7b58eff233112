"""Closed forms: games whose Shapley values need no coalitions and no call of the model.

Next: :mod:`service.shapley.trees`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def linear_shapley(
    coefficients: NDArray[np.float64], rows: NDArray[np.float64], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the Shapley values of a linear function.

    They are φ_j = w_j (x_j − E b_j): only the background's mean matters.

    Parameters
    ----------
    coefficients : ndarray of shape (n_outputs, n_features)
    rows : ndarray of shape (n_rows, n_features)
    mean : ndarray of shape (n_features,)
        Weighted mean of the background.

    Returns
    -------
    ndarray of shape (n_outputs, n_rows, n_features)
    """
    return coefficients[:, None, :] * (rows - mean)[None]
