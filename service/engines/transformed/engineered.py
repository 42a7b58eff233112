"""Explains raw rows by the columns that transformations make of them.

The same rows have other players here: not what comes in, but what the model itself takes.
Next: :mod:`service.engines.transformed.raw_rows`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.engines.progress import Progress, no_progress
from service.engines.row_explainer import RowExplainer
from service.rows.schema import Schema
from service.rows.tables import row_as_table
from service.structures.encoders import make_dense


@dataclass(frozen=True)
class EngineeredExplainer:
    """Explains raw rows by the columns that transformations make of them; read-only.

    Attributes
    ----------
    schema : Schema
        The columns of raw rows.
    transformers : tuple of object
        Fitted, applied in order.
    row_explainer : RowExplainer
        Of the model itself, which takes what comes out of them.
    feature_maps : list of one ndarray of shape (n_raw, n_engineered), or None
        Which raw column each engineered column is made of; None where that is not known.
    """

    schema: Schema
    transformers: tuple[Any, ...]
    row_explainer: RowExplainer
    feature_maps: list[NDArray[np.float64]] | None = None

    @property
    def features(self) -> list[str]:
        """The names of the engineered columns."""
        return self.row_explainer.features

    def explain(
        self, rows: Any, progress: Progress = no_progress, n_jobs: int | None = None
    ) -> LocalImportances:
        """Explain raw rows in any form that :meth:`service.rows.schema.Schema.matrix` takes.

        Raises
        ------
        PayloadError
            When they do not fit the schema, or the model refuses a value.
        """
        matrix = self.schema.matrix(row_as_table(rows))
        made = self.schema.answers(matrix, self.transform)
        return self.row_explainer.explain(made, progress, n_jobs)

    def transform(self, rows: Any) -> NDArray[Any]:
        """Return the engineered columns of rows as the transformations take them."""
        rows = rows.copy()  # a transformer may write into what it gets
        for transformer in self.transformers:
            rows = transformer.transform(rows)
        return np.asarray(make_dense(rows))

    def without_model(self) -> EngineeredExplainer:
        """Leave the model to the engine, as :meth:`RowExplainer.without_model` does."""
        return replace(self, row_explainer=self.row_explainer.without_model())
