"""Cosines of additive games in numpy: exact Shapley values by Owen's integral.

The cosine of a sum is the real part of a product, one factor for each feature, and the game of a
product is an integral over one number (:mod:`service.shapley.products`).

Next: :mod:`service.shapley.kernels.words`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.shapley.kernels.quadrature import unit_interval


class Angles(NamedTuple):
    """Additive games, one for each background row, as angles.

    Attributes
    ----------
    start : ndarray of shape (n_background,)
        With no feature.
    parts : ndarray of shape (n_background, n_players)
        What each feature adds.
    weights : ndarray of shape (n_background,)
    """

    start: NDArray[np.float64]
    parts: NDArray[np.float64]
    weights: NDArray[np.float64]


def wave_values(angles: Angles, n_waves: int, degree: int) -> NDArray[np.float64]:
    """Integrate the cosines of 1, 2, … times the angles; see :class:`NumpyKernels`."""
    values = np.zeros((n_waves, angles.parts.shape[1]))
    multiples = 1j * np.arange(1, n_waves + 1)[:, None]
    for start, parts, weight in zip(*angles, strict=True):
        turns = np.exp(multiples * parts)  # (n_waves, n_players)
        others = np.zeros_like(turns)
        for node, share in unit_interval(degree):
            others += share * _products_of_others(1 - node + node * turns)
        values += weight * (np.exp(multiples * start) * (turns - 1) * others).real
    return values


def _products_of_others(factors: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Multiply all factors of each row but one, without a division: one may be 0."""
    before, after = np.ones_like(factors), np.ones_like(factors)
    np.cumprod(factors[:, :-1], axis=1, out=before[:, 1:])
    np.cumprod(factors[:, :0:-1], axis=1, out=after[:, 1:])
    return before * after[:, ::-1]


def wave_sums(angle: NDArray[np.float64], waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up cosines of multiples of angles.

    Parameters
    ----------
    angle : ndarray
        Of any shape.
    waves : ndarray of shape (n_waves, n_curves)
        How much there is of the cosine of 1, 2, … times the angle.

    Returns
    -------
    ndarray of the angles' shape and n_curves
    """
    cosine = np.cos(angle)[..., None]
    twice, later, now = 2 * cosine, np.zeros(1), np.zeros(1)
    for of_wave in waves[::-1]:  # Clenshaw's recurrence
        now, later = of_wave + twice * now - later, now
    return cosine * now - later
