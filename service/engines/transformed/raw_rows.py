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
    rows : object
        A DataFrame, or an array; of everything else the schema says what is wrong with it.
    n_raw, n_engineered : int
        How many columns go into the transformations and come out; None where there are none.

    Raises
    ------
    PayloadError
        Saying both numbers.
    """
    n_columns = getattr(rows, "shape", (0,))[-1]
    if n_columns == n_engineered != n_raw:
        raise PayloadError(
            f"Rows: expected raw rows of {n_raw} columns, got {n_engineered} columns, as many as "
            "the transformations make of them; give the rows as they are before these."
        )
