"""Global importances as arrays: what is left of many rows.

They are computed once and stored: the last bit of a mean depends on the order in which memory holds
the numbers, so that computing it anew may give another one.

Next: :mod:`service.explanations.frames`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances

# The mean of |x| of a normal x without a mean of its own, in standard deviations.
MEAN_MAGNITUDE = float(np.sqrt(2 / np.pi))


@dataclass(frozen=True, eq=False, repr=False)
class GlobalImportances:
    """Importances of a model as a whole, with what is needed to read them.

    Attributes
    ----------
    values : ndarray of shape (n_features,)
    features : list of str
    n_rows : int
        Of how many rows they tell.
    method : str
        As in :class:`service.scoring.LocalImportances`, or what else they come of.
    output : str
        The scale of the importances.
    classes : list or None
        Names along a classifier's first axis; None for regressors.
    expected_values : ndarray of shape (n_classes,) or (), or None
        The model's mean output over the background; None where nothing adds up.
    per_class : ndarray of shape (n_outputs, n_features), or None
        Of each class or target; one row for a regressor with one. None where there are none.
    standard_errors : ndarray of shape (n_features,), or None
        One standard error of each value.
    per_class_standard_errors : ndarray of the shape of `per_class`, or None
    noise_floor : ndarray of shape (n_features,), or None
        What a feature without any influence would show, since a mean of magnitudes is never
        negative; None where nothing was sampled.
    """

    values: NDArray[np.float64]
    features: list[str]
    n_rows: int
    method: str
    output: str
    classes: list[Any] | None = None
    expected_values: NDArray[np.float64] | None = None
    per_class: NDArray[np.float64] | None = None
    standard_errors: NDArray[np.float64] | None = None
    per_class_standard_errors: NDArray[np.float64] | None = None
    noise_floor: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        """Tell in a line what they are."""
        made = f"method={self.method!r}, output={self.output!r}"
        counts = f"{len(self.features)} features over {self.n_rows} rows"
        return f"<{type(self).__name__} of {counts}: {made}>"

    @classmethod
    def of(cls, importances: LocalImportances) -> GlobalImportances:
        """Average the magnitudes of local importances, per class and then over classes.

        Standard errors are those over rows, sd(|φ|)/√n, and of sampling together. The errors of a
        sampled engine may go together from row to row, so that those of their mean are at most the
        mean of them, which is what is taken.
        """
        values = with_output_axis(np.abs(importances.values))
        per_class = _mean_over_rows(values)
        sampled = _mean_errors(importances)
        return cls(
            values=per_class.mean(axis=0),
            features=importances.features,
            n_rows=len(importances),
            method=importances.method,
            output=importances.output,
            classes=importances.classes,
            expected_values=importances.expected_values,
            per_class=per_class,
            standard_errors=_errors(values.mean(axis=0), _over_classes(sampled)),
            per_class_standard_errors=_errors(values, sampled),
            noise_floor=None if sampled is None else MEAN_MAGNITUDE * sampled.mean(axis=0),
        )


def with_output_axis(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of shape (n_outputs, n_rows, n_features), a regressor's with one output."""
    return values if values.ndim == 3 else values[None]


def _mean_over_rows(magnitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over rows; without any there is no mean."""
    n_outputs, n_rows, n_features = magnitudes.shape
    return magnitudes.mean(axis=1) if n_rows else np.full((n_outputs, n_features), np.nan)


def _mean_errors(importances: LocalImportances) -> NDArray[np.float64] | None:
    """Average the standard errors over rows, shape (n_outputs, n_features)."""
    errors = importances.standard_errors
    if errors is None or len(importances) == 0:
        return None
    return with_output_axis(errors).mean(axis=1)


def _over_classes(errors: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if errors is None else errors.mean(axis=0)


def _errors(
    magnitudes: NDArray[np.float64], sampled: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Return the standard errors over rows and of sampling; one row says nothing of others."""
    n_rows = magnitudes.shape[-2]
    if n_rows < 2:
        return None
    over_rows = magnitudes.std(axis=-2, ddof=1) / np.sqrt(n_rows)
    return over_rows if sampled is None else np.hypot(over_rows, sampled)
