"""Quadratic discriminant analysis: the margin of a class is a sum of squares of scalar products.

So it is a kernel machine with a polynomial kernel of degree 2, whose support vectors are the scaled
axes of the class: its Shapley values are exact, and the probabilities are the softmax of the
margins. Next: :mod:`service.structures.trees`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from service.structures.family import Family
from service.structures.kernel_machines import PolynomialStructure
from service.structures.links import logistic, multinomial


def read_quadratic(estimator: Any, scale: str) -> PolynomialStructure:
    """Read QuadraticDiscriminantAnalysis: the difference of two classes, or one margin for each."""
    supports, offsets, weights, intercepts = [], [], [], []
    for mean, rotation, variances, prior in zip(
        estimator.means_,
        estimator.rotations_,
        estimator.scalings_,
        estimator.priors_,
        strict=True,
    ):
        axes = (rotation / np.sqrt(variances)).T
        supports.append(axes)
        offsets.append(-axes @ mean)
        weights.append(np.full((1, len(axes)), -0.5))
        intercepts.append(np.log(prior) - np.log(variances).sum() / 2)
    margins = PolynomialStructure(
        intercepts=np.array(intercepts),
        support=np.concatenate(supports),
        dual=block_diag(*weights),
        offset=np.concatenate(offsets),
        degree=2,
    )
    return _on_scale(margins, scale)


def _on_scale(margins: PolynomialStructure, scale: str) -> PolynomialStructure:
    link = multinomial
    if len(margins.intercepts) == 2:
        margins, link = margins.mapped(np.array([[-1.0, 1.0]])), logistic
    return replace(margins, link={"probability": link}.get(scale))


FAMILY = Family(library="sklearn", readers={"QuadraticDiscriminantAnalysis": read_quadratic})
