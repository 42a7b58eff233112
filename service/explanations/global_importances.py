"""Global importances as arrays: what is left of many rows.

They are computed once and stored: the last bit of a mean depends on the order in which memory holds
the numbers, so that computing it anew may give another one.

Next: :mod:`service.explanations.frames`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.engines.sparse.importances import SparseImportances
from service.explanations.moments import Moments


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
        """Average the magnitudes of local importances, per class and then over classes."""
        described: dict[str, Any] = {
            "features": importances.features,
            "n_rows": len(importances),
            "method": importances.method,
            "output": importances.output,
            "classes": importances.classes,
            "expected_values": importances.expected_values,
        }
        if isinstance(importances, SparseImportances):
            return cls.of_moments(Moments.of_sparse(importances.sparse), **described)
        values, errors = with_output_axis(importances.values), importances.standard_errors
        if len(importances) == 0:  # there is no mean
            nothing = np.full((len(values), len(importances.features)), np.nan)
            return cls(values=nothing[0], per_class=nothing, **described)
        moments = Moments.of(values, None if errors is None else with_output_axis(errors))
        # Not the sums that batches are made of: these bytes are those of numpy's own mean.
        per_class = np.ascontiguousarray(np.abs(values)).mean(axis=1)
        overall = cls.of_moments(moments, **described)
        return replace(overall, values=per_class.mean(axis=0), per_class=per_class)

    @classmethod
    def of_moments(cls, moments: Moments, **described: Any) -> GlobalImportances:
        """Make global importances of what is kept of many rows.

        Parameters
        ----------
        moments : Moments
        described : dict
            The names, and how the importances came about.
        """
        errors = moments.standard_errors
        return cls(
            values=moments.means[-1],
            per_class=moments.means[:-1],
            standard_errors=None if errors is None else errors[-1],
            per_class_standard_errors=None if errors is None else errors[:-1],
            noise_floor=moments.noise_floor,
            **described,
        )


def with_output_axis(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of shape (n_outputs, n_rows, n_features), a regressor's with one output."""
    return values if values.ndim == 3 else values[None]
