"""The core of a scoring service: an original model with its scoring explainer; rows in, predictions
and reasons out.

It knows no HTTP. ``score.py`` holds one; the web adapters of every protocol end here. Next:
``score.py``.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.engines.row_explainer import plain_values
from service.errors import PayloadError, SelfCheckError, TooManyRowsError
from service.rows import json_rows as payload
from service.rows.columns import shown
from service.rows.schema import Schema
from service.scoring import artifact
from service.scoring.explainer import KernelScoringExplainer
from service.scoring.request import ScoringRequest

SECONDS_A_PIECE = 0.05  # a piece of rows doubles as long as it takes less
AGREEMENT = 1e-6
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Scored:
    """What was computed for the rows of one request.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, n_features)
        The schema's matrix.
    predictions : list
    importances : LocalImportances or None
    probabilities : list or None
        ``[row][class]``.
    seconds_explaining : float
    """

    rows: NDArray[Any]
    predictions: list[Any]
    importances: LocalImportances | None
    probabilities: list[Any] | None
    seconds_explaining: float


class ScoringModel:
    """Answers rows with predictions and their local importances. Read-only, shared by all threads.

    A model of scikit-learn's that was fitted on a DataFrame of numbers is asked with the bare array
    where it answers the same: half of the time of a small request would go into that DataFrame. The
    library's warning about missing feature names is switched off then, once for the process.

    Parameters
    ----------
    original_model : object
        A fitted estimator, or whatever has ``predict``.
    scoring_explainer : KernelScoringExplainer
        Made from an explainer of that model.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from service.explainers import TabularExplainer
    >>> from service.scoring import KernelScoringExplainer, ScoringModel
    >>> rows = pd.DataFrame({"size": [0.0, 1.0, 0.0, 1.0], "age": [0.0, 0.0, 1.0, 1.0]})
    >>> model = LinearRegression().fit(rows, 2 * rows["size"] - rows["age"])
    >>> scoring_explainer = KernelScoringExplainer(TabularExplainer(model, rows))
    >>> answer = ScoringModel(model, scoring_explainer).score('[{"age": 1.0, "size": 1.0}]')
    >>> round(answer["predictions"][0], 3)
    1.0
    >>> [round(value, 3) for value in answer["local_importance_values"][0]]
    [1.0, -0.5]
    """

    def __init__(self, original_model: Any, scoring_explainer: KernelScoringExplainer) -> None:
        self.original_model = original_model
        self.scoring_explainer = scoring_explainer
        self._takes_arrays = _takes_arrays(original_model, scoring_explainer.schema)
        if self._takes_arrays:
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)

    @classmethod
    def load(cls, folder: str | Path) -> ScoringModel:
        """Load ``original_model.pkl`` and ``scoring_explainer.pkl`` from a folder, digests first.

        Raises
        ------
        ArtifactError
            When one is not there or is not what its manifest says; see
            :func:`service.scoring.load`.
        """
        return cls(artifact.load_original_model(folder), artifact.load(folder))

    @property
    def schema(self) -> Schema:
        """The columns that rows must have."""
        return self.scoring_explainer.schema

    def score(
        self,
        raw_data: str | bytes | Mapping[str, Any] | list[Any],
        request: ScoringRequest | None = None,
    ) -> dict[str, Any]:
        """Answer a request body.

        Parameters
        ----------
        raw_data : str, bytes, dict or list
            JSON text, or parsed JSON, in one of the shapes of :mod:`service.rows.json_rows`.
        request : ScoringRequest, optional
            What is asked for; by default predictions and local importances.

        Returns
        -------
        dict
            ``predictions`` and, unless they were declined, ``local_importance_values``, first; then what was asked for.

        Raises
        ------
        PayloadError
            When the body does not fit the model; the message is safe to show to a client.
        """
        request = request or ScoringRequest()
        scored = self.predict_and_explain(payload.parse(raw_data, self.schema), request)
        request.observe(scored)
        return self._answer(scored, request)

    def predict_and_explain(self, rows: NDArray[Any], request: ScoringRequest) -> Scored:
        """Compute what a request asks for.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features)
            A matrix that the schema has checked.
        request : ScoringRequest

        Raises
        ------
        TooManyRowsError
            When there are more rows than the request may have.
        PayloadError
            When the model cannot take a value: beyond float32, or so large that importances are no
            numbers any more.
        """
        if request.max_rows is not None and len(rows) > request.max_rows:
            raise TooManyRowsError(
                f"Rows: expected at most {request.max_rows} in a request, got {len(rows)}; send fewer."
            )
        request.check()
        predictions = _listed(self._ask("predict", rows))
        probabilities = _listed(self._probabilities(rows)) if request.probabilities else None
        request.check()
        started = time.perf_counter()
        importances = self._explain(rows, request) if request.explain else None
        return Scored(rows, predictions, importances, probabilities, time.perf_counter() - started)

    def self_check(self) -> None:
        """Score the recorded example and compare its explanation with the model.

        Raises
        ------
        SelfCheckError
            When the importances do not add up to the output of this model: the two were not made
            for each other.
        """
        explainer = self.scoring_explainer.row_explainer
        scored = self.predict_and_explain(explainer.example, ScoringRequest())
        self._check_arrays(scored)
        if scored.importances is None or not hasattr(
            self.original_model, _METHODS[explainer.function.scale]
        ):
            return  # a plain function was explained, and the model beside it is another way to ask it
        explained = np.atleast_1d(
            scored.importances.expected_values + scored.importances.values.sum(axis=-1).T
        )
        output = replace(explainer.function, model=self.original_model)(explainer.example)
        if explainer.subset is None and not np.allclose(
            explained.ravel(), output.ravel(), rtol=AGREEMENT, atol=AGREEMENT
        ):
            raise SelfCheckError(
                "self-check: expected the importances of the recorded example to add up to the output of the original "
                f"model, {output.ravel()[:3]}, got {explained.ravel()[:3]}; make the scoring explainer from this model."
            )

    def _check_arrays(self, scored: Scored) -> None:
        predicted = _listed(self.original_model.predict(self.schema.model_rows(scored.rows)))
        if predicted != scored.predictions:
            raise SelfCheckError(
                f"self-check: expected {predicted} for the recorded example, what the original model predicts for a "
                f"DataFrame, got {scored.predictions} for an array; fit the model on an array."
            )

    def _ask(self, method: str, rows: NDArray[Any]) -> Any:
        """Ask the original model; a value that it cannot hold is the client's to mend, and
        named.
        """
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                return getattr(self.original_model, method)(
                    rows if self._takes_arrays else self.schema.model_rows(rows)
                )
        except ValueError:
            self._refuse_beyond_float32(rows)
            raise

    def _probabilities(self, rows: NDArray[Any]) -> Any:
        if not hasattr(self.original_model, "predict_proba"):
            raise PayloadError(
                "Option 'probabilities': expected with a model that has predict_proba, got "
                f"{type(self.original_model).__name__}."
            )
        return self._ask("predict_proba", rows)

    def _explain(self, rows: NDArray[Any], request: ScoringRequest) -> LocalImportances:
        """Explain piece by piece: each row is computed by itself, so the pieces change no byte."""
        try:
            parts = [self._explain_piece(piece) for piece in _pieces(rows, request)]
        except ValueError:
            self._refuse_beyond_float32(rows)
            raise
        return joined(parts)

    def _explain_piece(self, rows: NDArray[Any]) -> LocalImportances:
        with np.errstate(over="ignore", invalid="ignore"):
            importances = self.scoring_explainer.row_explainer.explain_matrix(rows)
        if not np.isfinite(importances.values).all():
            raise PayloadError(
                "Rows: expected values that the model can explain, got some that are too large for it."
            )
        return importances

    def _refuse_beyond_float32(self, rows: NDArray[Any]) -> None:
        for column, values in zip(self.schema.columns, rows.T, strict=True):
            if column.matrix_dtype is np.float64:
                beyond = np.flatnonzero(np.abs(values.astype(np.float64)) > LARGEST_FLOAT32)
                if len(beyond):
                    raise PayloadError(
                        f"Column {column.name!r}, row {beyond[0]}: expected a number that the model's single precision "
                        f"holds, got {shown(float(values[beyond[0]]))}."
                    ) from None

    def _answer(self, scored: Scored, request: ScoringRequest) -> dict[str, Any]:
        answer: dict[str, Any] = {"predictions": scored.predictions}
        found = scored.importances
        if found is not None:
            answer["local_importance_values"] = found.to_lists()
        if request.probabilities:
            answer["probabilities"] = scored.probabilities
        if request.standard_errors and found is not None:
            answer["standard_errors"] = (
                None if found.standard_errors is None else found.standard_errors.tolist()
            )
        if request.expected_values:
            answer["expected_values"] = self.scoring_explainer.expected_values
        if request.top_k is not None and found is not None:
            answer["top_importances"] = self._largest(scored.predictions, found, request.top_k)
        return answer

    def _largest(self, predictions: Sequence[Any], found: LocalImportances, k: int) -> list[Any]:
        """Name the k largest importances of each row: those of the predicted class, or of each
        target.
        """
        if found.classes is not None:
            classes = self._predicted_classes(predictions, found)
            return named(found.values[classes, np.arange(len(predictions))], found.features, k)
        if found.values.ndim == 3:
            return [named(of_target, found.features, k) for of_target in found.values]
        return named(found.values, found.features, k)

    def _predicted_classes(
        self, predictions: Sequence[Any], found: LocalImportances
    ) -> NDArray[np.intp]:
        """Find the predicted classes by their labels; without labels, by the largest output."""
        labels = self.scoring_explainer.row_explainer.labels
        if labels is not None and all(prediction in labels for prediction in predictions):
            return np.array([labels.index(prediction) for prediction in predictions], dtype=np.intp)
        return np.argmax(found.expected_values[:, None] + found.values.sum(axis=2), axis=0)


_BY_NAME = ("ColumnTransformer", "FunctionTransformer")
_METHODS = {"probability": "predict_proba", "margin": "decision_function", "prediction": "predict"}


def joined(parts: Sequence[LocalImportances]) -> LocalImportances:
    """Put the importances of several pieces of rows behind each other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    errors = [part.standard_errors for part in parts if part.standard_errors is not None]
    return replace(
        first,
        values=np.concatenate([part.values for part in parts], axis=-2),
        standard_errors=np.concatenate(errors, axis=-2) if errors else None,
    )


def named(
    values: NDArray[np.float64], features: Sequence[str], k: int
) -> list[list[dict[str, Any]]]:
    """Name the k largest of each row of importances, (n_rows, n_features), the largest first."""
    order = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :k]
    return [
        [{"feature": features[i], "importance": float(row[i])} for i in largest]
        for row, largest in zip(values, order, strict=True)
    ]


def _takes_arrays(model: Any, schema: Schema) -> bool:
    """Tell whether a model that was fitted on a DataFrame reads its columns by position, so that an
    array will do.

    All of scikit-learn's own estimators do, but for those that choose columns by name or hand the
    DataFrame on.
    """
    is_of_floats = schema.as_frame and all(column.dtype == "float64" for column in schema.columns)
    if not is_of_floats or not hasattr(model, "get_params"):
        return False
    parts = [
        model,
        *(part for part in model.get_params(deep=True).values() if hasattr(part, "fit")),
    ]
    return all(
        type(part).__module__.startswith("sklearn.") and type(part).__name__ not in _BY_NAME
        for part in parts
    )


def _pieces(rows: NDArray[Any], request: ScoringRequest) -> Iterator[NDArray[Any]]:
    """Cut rows into pieces of about the same time, and ask between them whether the answer is still
    wanted.
    """
    start, size = 0, 1
    while start < len(rows):
        request.check()
        began = time.perf_counter()
        yield rows[start : start + size]
        start += size
        took = time.perf_counter() - began
        size = (
            size * 2
            if took < SECONDS_A_PIECE
            else max(1, size // 2 if took > 2 * SECONDS_A_PIECE else size)
        )


def _listed(answer: Any) -> list[Any]:
    listed = answer.tolist() if hasattr(answer, "tolist") else answer
    return plain_values(listed)
