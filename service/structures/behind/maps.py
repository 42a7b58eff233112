"""Linear maps of all columns, as PCA, before a model that begins with scalar products.

Such a model takes scalar products of the mapped columns: so they are scalar products of the columns
before the map, and the map becomes a part of the first layer. What looks at the mapped columns one
by one (trees, nearest neighbours, RBF kernels) stays behind the map, and is called. Next:
:mod:`service.structures.behind.terms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from service.structures.family import Read
from service.structures.links import Floats
from service.structures.structure import Structure, as_floats


def read_behind_maps(
    steps: Sequence[Any], estimator: Any, scale: str, read: Read
) -> Structure | None:
    """Read a model behind linear maps.

    Parameters
    ----------
    steps : sequence of object
        The maps, and scalers between them.
    estimator : object
    scale : {"probability", "margin", "prediction"}
    read : callable
        How the estimator is read.

    Returns
    -------
    Structure or None
        None where the estimator has none, or does not begin with scalar products.
    """
    structure = read(estimator, scale)
    if structure is None:
        return None
    n_columns = steps[0].n_features_in_
    ends = np.vstack([np.zeros(n_columns), np.eye(n_columns)])
    for step in steps:
        ends = answers(step, ends)
    shift, at_units = ends[0], ends[1:]
    return structure.of_mapped_rows(at_units - shift, shift)


def answers(step: Any, rows: Floats) -> Floats:
    """Return what a step makes of rows, under the names of what it was fitted on, if any."""
    names = getattr(step, "feature_names_in_", None)
    return as_floats(step.transform(pd.DataFrame(rows, columns=names)))
