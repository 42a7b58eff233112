"""How well a surrogate follows its teacher, in the unit that is explained.

Next: :mod:`service.explainers.mimic.surrogate_fit`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FAITHFUL = 0.9


@dataclass(frozen=True)
class Followed:
    """What a teacher and its surrogate answer for the same rows, none of which were fitted.

    Attributes
    ----------
    teacher, surrogate : ndarray of shape (n_rows, n_outputs)
    """

    teacher: NDArray[np.float64]
    surrogate: NDArray[np.float64]

    @property
    def r2(self) -> float:
        """The share of the teacher's variance that is explained, of all outputs together."""
        residual = float(((self.teacher - self.surrogate) ** 2).sum())
        spread = float(((self.teacher - self.teacher.mean(axis=0)) ** 2).sum())
        largest = float((self.teacher**2).sum())
        if spread <= 1e-24 * largest:  # a constant is followed or it is not
            return float(residual <= 1e-12 * largest)
        return 1.0 - residual / spread

    @property
    def agreement(self) -> float:
        """The share of the rows in which both find the same class likeliest."""
        same = self.teacher.argmax(axis=1) == self.surrogate.argmax(axis=1)
        return float(same.mean())

    @property
    def mean_absolute_error(self) -> float:
        """How far the surrogate is off, on average over rows and outputs."""
        return float(np.abs(self.teacher - self.surrogate).mean())


def describe_fidelity(real: Followed, hybrids: Followed, task: str) -> dict[str, float | None]:
    """Return the figures of a surrogate by name; without rows that were not fitted some are None.

    Parameters
    ----------
    real : Followed
        On examples.
    hybrids : Followed
        On fresh hybrids of examples.
    task : {"classification", "regression"}
    """
    n_rows = len(real.teacher)
    if n_rows == 0:
        absent: dict[str, float | None] = {"r2": None, "agreement": None}
        return {**absent, "r2_hybrids": hybrids.r2, "mean_absolute_error": None, "rows": 0}
    return {
        "r2": real.r2,
        "r2_hybrids": hybrids.r2,
        "agreement": real.agreement if task == "classification" else None,
        "mean_absolute_error": real.mean_absolute_error,
        "rows": n_rows,
    }


def warn_of_infidelity(description: Mapping[str, Any], most_augmentations: int) -> None:
    """Say that a surrogate does not follow its teacher where importances are computed.

    Parameters
    ----------
    description : mapping
        Of the surrogate, with its ``model``, ``augmentations`` and ``fidelity``.
    most_augmentations : int
        How many blocks of hybrids were tried.
    """
    r2_hybrids = description["fidelity"]["r2_hybrids"]
    if r2_hybrids >= FAITHFUL:
        return
    warnings.warn(
        f"MimicExplainer: {description['model']} follows the model with R² {r2_hybrids:.2f} on "
        f"hybrid rows, on which importances are computed; below {FAITHFUL} they may be far from "
        f"the model's. {_advise(description['augmentations'], most_augmentations)}take another "
        "surrogate, more examples, or TabularExplainer.",
        UserWarning,
        stacklevel=4,
    )


def _advise(used: int, most: int) -> str:
    """Say whether more hybrids may help: where all that might be tried are the best, or none."""
    if most == 0:
        return "Let hybrids be fitted (augment_data, max_num_of_augmentations), or "
    if used == most:
        return f"Let max_num_of_augmentations be more than {most}, or "
    return f"Up to {most} blocks of hybrids were tried and more do not help: "
