"""Polynomial terms before a linear model: margins that are linear in products of powers of columns.

Next: :mod:`service.structures.behind.pipeline`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from service.errors import UnsupportedStructureError, expect
from service.structures import linear
from service.structures.behind.maps import answers
from service.structures.structure import Structure

MOST_TERMS = 50_000


def read_behind_terms(steps: Sequence[Any], estimator: Any, scale: str) -> Structure | None:
    """Read a linear model behind polynomial terms, which may be scaled in between.

    Parameters
    ----------
    steps : sequence of object
        PolynomialFeatures, and scalers.
    estimator : object
    scale : {"probability", "margin", "prediction"}

    Returns
    -------
    Structure or None
        None unless that output of the estimator is linear.

    Raises
    ------
    UnsupportedStructureError
        When there are too many terms to look at each.
    """
    if not linear.FAMILY.has(estimator):
        return None
    margins = linear.FAMILY.read(estimator, scale)
    if not linear.is_linear(margins):
        return None
    terms, *scalers = steps
    expect(
        terms.n_output_features_ <= MOST_TERMS,
        f"PolynomialFeatures makes {terms.n_output_features_:,} terms, and at most "
        f"{MOST_TERMS:,} are looked at one by one.",
        UnsupportedStructureError,
    )
    coefficients, intercepts = margins.coefficients, margins.intercepts
    for scaler in reversed(scalers):
        at_zero, at_one = answers(scaler, np.repeat([[0.0], [1.0]], scaler.n_features_in_, axis=1))
        intercepts = intercepts + coefficients @ at_zero
        coefficients = coefficients * (at_one - at_zero)
    return linear.PolynomialSumStructure(terms.powers_, coefficients, intercepts)
