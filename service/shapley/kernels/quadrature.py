"""Gauss–Legendre quadrature on the unit interval, for Owen's (1972) integral.

Next: :mod:`service.shapley.kernels.shapley_weights`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache
def unit_interval(degree: int) -> list[tuple[float, float]]:
    """Return the fewest nodes in (0, 1), with weights, that are exact for a degree."""
    nodes, weights = np.polynomial.legendre.leggauss(max(1, degree // 2 + 1))
    return list(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))
