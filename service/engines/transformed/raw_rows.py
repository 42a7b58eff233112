"""Rows as they are before transformations, told from what these make of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.errors import PayloadError
from service.structures.encoders import TransformedModel


def count_engineered(model: Any, rows: Any) -> int | None:
    """Return how many columns transformations make of raw rows; None of a model without them."""
    if not isinstance(model, TransformedModel):
        return None
    return int(np.shape(model.transform_rows(rows))[-1])


def check_are_raw(rows: Any, n_raw: int, n_engineered: int | None) -> None:
    """Refuse rows that have as many columns as transformations make, where they make others.

    Parameters
    ----------
    rows : DataFrame, array, or a list of records or lists
    n_raw, n_engineered : int
        How many columns go into the transformations and come out; None where there are none.

    Raises
    ------
    PayloadError
        Saying both numbers.
    """
    if n_engineered in (None, n_raw) or _count_columns(rows) != n_engineered:
        return
    raise PayloadError(
        f"Rows: expected raw rows of {n_raw} columns, got {n_engineered} columns, as many as the "
        "transformations make of them; give the rows as they are before these."
    )


def _count_columns(rows: Any) -> int:
    """Return how many columns rows have; −1 where nothing says so."""
    shape = getattr(rows, "shape", ())
    if len(shape) > 0:
        return int(shape[-1])
    is_list = isinstance(rows, list | tuple) and len(rows) > 0
    return len(rows[0]) if is_list and hasattr(rows[0], "__len__") else -1
