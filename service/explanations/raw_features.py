"""From the columns that transformations made back to those that they were made of, by maps.

A *feature map* has a row for each column before a transformation and a column for each after it,
and tells what was made of what.

Next: :mod:`service.explanations.local_explanation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from service.engines.local_importances import LocalImportances
from service.engines.options import check_different
from service.errors import expect


def to_raw(
    importances: LocalImportances,
    feature_maps: Sequence[Any],
    raw_features: Sequence[str] | None,
) -> LocalImportances:
    """Add up the local importances of all columns that were made of a raw one.

    What was made of several is shared among them by the weights of the map, so that the sum of a
    row stays what it is. Standard errors are added up as well: what they come to at most.

    Parameters
    ----------
    importances : LocalImportances
    feature_maps : sequence of matrices of shape (n_columns, n_more_columns), or such a matrix
        Dense or sparse, transformation after transformation.
    raw_features : sequence of str or None
        Names of the raw columns; by default "0", "1", ….

    Raises
    ------
    ValueError
        When shapes do not fit, or a column was made of nothing.
    """
    n_columns = importances.values.shape[-1]
    shares = _share_out(feature_maps, n_columns)  # (n_raw, n_columns)
    names = list(map(str, raw_features or range(len(shares))))
    expect(
        len(names) == len(shares),
        f"raw_feature_names: expected {len(shares)}, one for each row of the first feature map, "
        f"got {len(names)}.",
        ValueError,
    )
    check_different("raw_feature_names", names)
    errors = importances.standard_errors
    return LocalImportances(
        values=importances.values @ shares.T,
        expected_values=importances.expected_values,
        features=names,
        classes=importances.classes,
        method=importances.method,
        output=importances.output,
        standard_errors=None if errors is None else errors @ shares.T,
    )


def _in_list(feature_maps: Any) -> Sequence[Any]:
    """Return a matrix that is in no list in one."""
    is_matrix = getattr(feature_maps, "ndim", 0) == 2  # also a sparse one, and a DataFrame
    if is_matrix or np.ndim(feature_maps[0]) == 1:
        return [feature_maps]
    return list(feature_maps)


def _share_out(feature_maps: Sequence[Any], n_columns: int) -> NDArray[np.float64]:
    """Return the share of each raw column in each made one, shape (n_raw, n_columns)."""
    if not hasattr(feature_maps, "shape") and len(feature_maps) == 0:
        raise ValueError("feature_maps: expected at least one, got none.")
    maps = [csr_array(each, dtype=np.float64) for each in _in_list(feature_maps)]
    try:
        combined: NDArray[np.float64] = reduce(lambda a, b: a @ b, maps).toarray()
    except ValueError:
        shapes = [each.shape for each in maps]
        raise ValueError(
            f"feature_maps: expected each to begin with as many columns as the last one makes, got "
            f"shapes {shapes}."
        ) from None
    expect(
        combined.shape[1] == n_columns,
        f"feature_maps: expected maps to the {n_columns} features explained, got one to "
        f"{combined.shape[1]}.",
        ValueError,
    )
    sums = combined.sum(axis=0)
    nothing = np.flatnonzero((sums == 0) | (combined < 0).any(axis=0) | ~np.isfinite(sums))
    if len(nothing):
        raise ValueError(
            "feature_maps: expected every column to be made of a raw one, with weights of 0 and "
            f"above, got none for column {nothing[0]}."
        )
    return combined / sums
