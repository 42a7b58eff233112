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
    task : {"classification", "regression"}
    """

    teacher: NDArray[np.float64]
    surrogate: NDArray[np.float64]
    task: str

    @property
    def r2(self) -> float:
        """The share of the teacher's variance that is explained.

        Of all classes together, which have one unit; of several targets that of the one that is
        followed worst, since each has a unit of its own and the largest would hide the others.
        """
        if self.task == "classification":
            return _explained_share(self.teacher, self.surrogate)
        return min(map(_explained_share, self.teacher.T, self.surrogate.T))

    @property
    def agreement(self) -> float:
        """The share of the rows in which both find the same class likeliest."""
        same = self.teacher.argmax(axis=1) == self.surrogate.argmax(axis=1)
        return float(same.mean())

    @property
    def mean_absolute_error(self) -> float:
        """How far the surrogate is off, on average over rows and outputs."""
        return float(np.abs(self.teacher - self.surrogate).mean())


def _explained_share(teacher: NDArray[np.float64], surrogate: NDArray[np.float64]) -> float:
    """Return R² of answers with an axis of rows first, of all columns together."""
    unit = float(np.abs(teacher).max()) or 1.0  # squares of answers could overflow
    teacher, surrogate = teacher / unit, surrogate / unit
    residual = float(((teacher - surrogate) ** 2).sum())
    spread = float(((teacher - teacher.mean(axis=0)) ** 2).sum())
    largest = float((teacher**2).sum())
    if spread <= 1e-24 * largest:  # a constant is followed or it is not
        return float(residual <= 1e-12 * largest)
    return 1.0 - residual / spread


def describe_fidelity(real: Followed, hybrids: Followed) -> dict[str, float | None]:
    """Return the figures of a surrogate by name; without rows that were not fitted some are None.

    Parameters
    ----------
    real : Followed
        On examples.
    hybrids : Followed
        On fresh hybrids of examples.
    """
    n_rows = len(real.teacher)
    if n_rows == 0:
        absent: dict[str, float | None] = {"r2": None, "agreement": None}
        return {**absent, "r2_hybrids": hybrids.r2, "mean_absolute_error": None, "rows": 0}
    return {
        "r2": real.r2,
        "r2_hybrids": hybrids.r2,
        "agreement": real.agreement if real.task == "classification" else None,
        "mean_absolute_error": real.mean_absolute_error,
        "rows": n_rows,
    }


def warn_of_infidelity(description: Mapping[str, Any], most_augmentations: int) -> None:
    """Say that a surrogate does not follow its teacher where importances are computed.

    Parameters
    ----------
    description : mapping
        Of the surrogate, with its ``model``, ``augmentations``, ``r2_fitted`` and ``fidelity``.
    most_augmentations : int
        How many blocks of hybrids were tried.
    """
    r2_hybrids = description["fidelity"]["r2_hybrids"]
    if r2_hybrids >= FAITHFUL:
        return
    warnings.warn(
        f"MimicExplainer: {description['model']} follows the model with R² {r2_hybrids:.2f} on "
        f"hybrid rows, on which importances are computed; below {FAITHFUL} they may be far from "
        f"the model's. {_advise(description, most_augmentations)}",
        UserWarning,
        stacklevel=3,
    )


def warn_of_screening(description: Mapping[str, Any]) -> None:
    """Say that a surrogate was fitted on few of very many columns.

    Parameters
    ----------
    description : mapping
        Of the surrogate, with its ``model``, ``columns`` and ``fitted_columns``.
    """
    n_columns, n_fitted = description["columns"], description["fitted_columns"]
    if n_fitted == n_columns:
        return
    warnings.warn(
        f"MimicExplainer: {description['model']} is fitted on {n_fitted:,} of {n_columns:,} "
        "columns, those that go most with the model's output one by one; all others have an "
        "importance of 0.",
        UserWarning,
        stacklevel=3,
    )


def _advise(description: Mapping[str, Any], most: int) -> str:
    """Say what may help: no more rows where not even those that were fitted are followed."""
    r2_fitted = description["r2_fitted"]
    if r2_fitted < FAITHFUL:
        return (
            f"Those that it was fitted on are followed with R² {r2_fitted:.2f}, so more of them do "
            "not help: take another surrogate, or TabularExplainer."
        )
    others = "take another surrogate, more examples, or TabularExplainer."
    if most == 0:
        return f"Let hybrids be fitted (augment_data, max_num_of_augmentations), or {others}"
    if description["augmentations"] == most:
        return f"Let max_num_of_augmentations be more than {most}, or {others}"
    return f"Up to {most} blocks of hybrids were tried and more do not help: {others}"
