"""Gauss–Legendre quadrature on the unit interval, for the polynomials behind Owen's (1972)
integral.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache
def unit_interval(degree: int) -> list[tuple[float, float]]:
    """Return nodes in (0, 1) and their weights, as few as integrate polynomials of this degree
    exactly.
    """
    nodes, weights = np.polynomial.legendre.leggauss(max(1, degree // 2 + 1))
    return list(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))
