"""Sparse rows of trees, in which most of many features have no influence at all.

Then most importances are those of a row of zeros, and only the others are kept. Next:
:mod:`service.engines.row_explainer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.engine import Importances
from service.engines.progress import Progress
from service.engines.sparse.importances import SparseValues

BLOCK = 2**22  # cells that are dense at once


def explain_in_blocks(
    explain: Callable[[NDArray[Any]], Importances],
    rows: Any,
    read: Callable[[NDArray[Any]], NDArray[Any]],
    progress: Progress,
) -> SparseValues:
    """Compute the importances of sparse rows, of which some are dense at once.

    They are those of the same dense rows, to the last bit.

    Parameters
    ----------
    explain : callable
        From rows as the engine takes them to importances, without standard errors.
    rows : sparse matrix or array of shape (n_rows, n_features)
    read : callable
        From rows as they came to what the engine takes; it checks them.
    progress : callable

    Returns
    -------
    SparseValues
    """
    rows = rows.tocsr()
    n_rows, n_features = rows.shape
    zeros = np.zeros((1, n_features), dtype=rows.dtype)
    constants = explain(read(zeros)).values[:, 0]
    height = max(1, BLOCK // n_features)
    parts = []
    for first in progress(range(0, n_rows, height)):
        values = explain(read(rows[first : first + height].toarray())).values
        parts.append(SparseValues.of(values, constants))
    return SparseValues.joined(parts)
