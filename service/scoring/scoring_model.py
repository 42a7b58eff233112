"""The core of a scoring service: rows in, predictions and the reasons for them out.

It knows no HTTP. ``score.py`` holds one; the web adapters of every protocol end here. Next:
``score.py``.
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.called.foreign_code import takes_threads
from service.engines.local_importances import LocalImportances
from service.errors import PayloadError, SelfCheckError, TooManyRowsError
from service.rows.json_rows import JsonRows, parse_labelled
from service.rows.schema import Schema
from service.rows.unusual_rows import name_refused_value
from service.rows.values import shown
from service.scoring import artifact
from service.scoring.answer import Answer, array_of, in_order
from service.scoring.explainer import KernelScoringExplainer
from service.scoring.names import by_class, class_position, names_of_predictions
from service.scoring.predictors import with_predict
from service.scoring.request import ScoringRequest
from service.scoring.row_pieces import explain_pieces
from service.strict_json import strict_json

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)

# scikit-learn asks for it three times in each prediction of a classifier's labels, which took a
# tenth of a small request: Python looks for a known one here first (PEP 362).
np.unique.__signature__ = inspect.signature(np.unique)  # type: ignore[attr-defined]


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

    Attributes
    ----------
    example_answer : Answer or None
        What was answered for the recorded example, after :meth:`self_check`.

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
        self.original_model = with_predict(original_model)
        self.scoring_explainer = scoring_explainer
        self.example_answer: Answer | None = None
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

    @cached_property
    def takes_threads(self) -> bool:
        """Whether the rows of one request may be explained in several threads at once.

        See :func:`service.engines.called.foreign_code.takes_threads`.
        """
        return takes_threads(self.scoring_explainer.row_explainer.engine)

    def score(
        self,
        raw_data: JsonRows,
        request: ScoringRequest | None = None,
    ) -> Answer:
        """Answer a request body.

        Parameters
        ----------
        raw_data : str, bytes, dict or list
            JSON text, or parsed JSON, in one of the shapes of :mod:`service.rows.json_rows`.
        request : ScoringRequest, optional
            What is asked for; by default predictions and local importances.

        Returns
        -------
        Answer
            ``predictions`` and, unless they were declined, ``local_importance_values``, first; then
            what was asked for, and where a row has a category that the examples did not have,
            ``new_categories``. A mapping to nested lists, with the arrays as attributes.

        Raises
        ------
        PayloadError
            When the body does not fit the model; the message is safe to show to a client.
        TooManyRowsError
            When there are more rows than the request may have.
        ModelOutputError
            When the model answers NaN or infinity.
        """
        request = request or ScoringRequest()
        rows, labels = parse_labelled(raw_data, self.schema, request.id_columns)
        answer = self.predict_and_explain(rows, request)
        return answer.with_values(**self._beside(answer, request, labels))

    def predict_and_explain(self, rows: NDArray[Any], request: ScoringRequest) -> Answer:
        """Compute what a request asks for.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features)
            A matrix that the schema has checked.
        request : ScoringRequest

        Returns
        -------
        Answer

        Raises
        ------
        TooManyRowsError
            When there are more rows than the request may have.
        PayloadError
            When the model cannot take a value: beyond float32, or so large that importances are no
            numbers any more.
        """
        _check_count(rows, request)
        request.check()
        arrays = self._predicted(rows, request)
        request.check()
        started = time.perf_counter()
        importances = self._explain(rows, request) if request.explain else None
        seconds = time.perf_counter() - started
        if importances is not None:
            arrays |= self._described(importances, arrays["predictions"], request)
        new = self.schema.new_categories(rows)
        return Answer(in_order(arrays), rows, new, importances, seconds)

    def _beside(self, answer: Answer, request: ScoringRequest, labels: list[Any]) -> dict[str, Any]:
        """Return what stands beside the numbers: new categories, and the names asked for."""
        new = answer.new_categories
        beside: dict[str, Any] = {"new_categories": new} if new else {}
        if request.named or request.id_columns:
            beside["row_ids"] = labels
        if not request.named:
            return beside
        explainer = self.scoring_explainer
        if explainer.classes is not None:
            beside |= self._names_of_classes(answer, explainer.classes)
        if answer.importances is not None:
            beside |= {
                "features": explainer.features,
                "output": explainer.output,
                "method": explainer.method,
                "exactness": explainer.exactness,
            }
        return beside

    def _names_of_classes(self, answer: Answer, classes: list[Any]) -> dict[str, Any]:
        names: dict[str, Any] = {"classes": classes}
        predictions = _of_one_target(answer.predictions)
        if predictions.ndim == 1:
            labels = self.scoring_explainer.row_explainer.labels
            names["predicted_classes"] = names_of_predictions(predictions.tolist(), classes, labels)
        if "probabilities" in answer.arrays:
            names["probabilities_by_class"] = by_class(answer.arrays["probabilities"], classes)
        return names

    def _predicted(self, rows: NDArray[Any], request: ScoringRequest) -> dict[str, Any]:
        """Return what a request asks to know of the model, by name."""
        arrays: dict[str, Any] = {"predictions": array_of(self._ask("predict", rows))}
        if request.probabilities:
            arrays["probabilities"] = array_of(self._probabilities(rows))
        if request.expected_values:
            arrays["expected_values"] = self.scoring_explainer.row_explainer.expected_values
        return arrays

    def _described(
        self, importances: LocalImportances, predictions: NDArray[Any], request: ScoringRequest
    ) -> dict[str, Any]:
        """Return what a request asks to know of the importances, by name."""
        described: dict[str, Any] = {"local_importance_values": importances.values}
        if request.standard_errors:
            described["standard_errors"] = importances.standard_errors
        if request.top_k is not None:
            described["top_importances"] = self._largest(predictions, importances, request)
        return described

    def self_check(self) -> None:
        """Score the recorded example as a client sends it, and compare the answer with the model.

        The example goes through JSON text and the parser. The model's output for what comes out is
        compared with its output for the example as it came when the explainer was built, and the
        importances must add up to it.

        Raises
        ------
        SelfCheckError
            When the example is refused, or the answer is not that of this model: the two were not
            made for each other.
        """
        explainer = self.scoring_explainer.row_explainer
        answer = self._score_example()
        self._check_arrays(answer)
        self.example_answer = answer
        # Where a plain function was explained, the model beside it is another way to ask it.
        if not explainer.function.can_ask(self.original_model):
            return
        output = replace(explainer.function, model=self.original_model)(answer.rows)
        if explainer.example_output is not None:
            recorded = explainer.example_output
            self._check_close(recorded, output, "be answered as when the explainer was built")
        if explainer.subset is None and answer.importances is not None:
            importances = answer.importances
            explained = importances.expected_values + importances.values.sum(axis=-1).T
            explained = explained + explainer.example_residual
            self._check_close(explained, output, "have importances that add up to the output")

    def _score_example(self) -> Answer:
        body = strict_json([self.scoring_explainer.example])
        try:
            return self.score(body)
        except PayloadError as error:
            raise SelfCheckError(
                f"self-check: expected the recorded example to be taken as JSON, but: {error}"
            ) from error

    def _check_arrays(self, answer: Answer) -> None:
        predicted = self.original_model.predict(self.schema.model_rows(answer.rows))
        expected, got = array_of(predicted).tolist(), answer.predictions.tolist()
        if expected != got:
            raise SelfCheckError(
                f"self-check: expected {expected} for the recorded example, what the original "
                f"model predicts for a DataFrame, got {got} for an array; fit the model on an "
                "array."
            )

    def _check_close(self, found: NDArray[Any], output: NDArray[Any], to_do: str) -> None:
        """Compare numbers with the output of the model for the example, in units of its spread."""
        found, output = np.ravel(found), np.ravel(output)
        allowed = self.scoring_explainer.row_explainer.tolerance
        is_close = found.shape == output.shape and (np.abs(found - output) <= allowed).all()
        if not is_close:
            raise SelfCheckError(
                f"self-check: expected the recorded example to {to_do} of the original model, "
                f"{output[:3]}, got {found[:3]}; make the scoring explainer from this model."
            )

    def _ask(self, method: str, rows: NDArray[Any]) -> Any:
        """Ask the original model; a value that it does not take is the client's, and named."""

        def ask(schema: Schema, rows: NDArray[Any]) -> Any:
            asked = getattr(self.original_model, method)
            with np.errstate(over="ignore", invalid="ignore"):
                return asked(rows) if self._takes_arrays else schema.answers(rows, asked)

        try:
            return ask(self.schema, rows)
        except Exception:  # every library has its own
            self._refuse_beyond_float32(rows)
            example = self.scoring_explainer.row_explainer.example
            name_refused_value(self.schema, rows, example, ask)
            raise

    def _probabilities(self, rows: NDArray[Any]) -> Any:
        if not hasattr(self.original_model, "predict_proba"):
            raise PayloadError(
                "Option 'probabilities': expected with a model that has predict_proba, got "
                f"{type(self.original_model).__name__}."
            )
        return self._ask("predict_proba", rows)

    def _explain(self, rows: NDArray[Any], request: ScoringRequest) -> LocalImportances:
        try:
            parts = explain_pieces(
                self._explain_piece, rows, request, may_share=lambda: self.takes_threads
            )
        except ValueError:
            self._refuse_beyond_float32(rows)
            raise
        return joined(parts)

    def _explain_piece(self, rows: NDArray[Any]) -> LocalImportances:
        with np.errstate(over="ignore", invalid="ignore"):
            importances = self.scoring_explainer.row_explainer.explain_matrix(rows)
        if not np.isfinite(importances.values).all():
            raise PayloadError(
                "Rows: expected values that the model can explain, got some that are too large for "
                "it."
            )
        return importances

    def _refuse_beyond_float32(self, rows: NDArray[Any]) -> None:
        for column, values in zip(self.schema.columns, rows.T, strict=True):
            if column.matrix_dtype is np.float64:
                beyond = np.flatnonzero(np.abs(values.astype(np.float64)) > LARGEST_FLOAT32)
                if len(beyond):
                    raise PayloadError(
                        f"Column {column.name!r}, row {beyond[0]}: expected a number that the "
                        "model's single precision holds, got "
                        f"{shown(float(values[beyond[0]]))}."
                    ) from None

    def _largest(
        self, predictions: NDArray[Any], importances: LocalImportances, request: ScoringRequest
    ) -> list[Any]:
        """Name the largest importances of each row, as many as are asked for.

        They are those of the class that is asked for, or else of the predicted one, or of each
        target; of each class, where a classifier predicts several things at once.
        """
        values, features, k = importances.values, importances.features, request.top_k
        assert k is not None
        if request.top_class is not None:
            labels = self.scoring_explainer.row_explainer.labels
            chosen = class_position(request.top_class, importances.classes, labels)
            return named_largest(values[chosen], features, k)
        predictions = _of_one_target(predictions)
        if importances.classes is not None and predictions.ndim == 1:
            classes = self._predicted_classes(predictions.tolist(), importances)
            return named_largest(values[classes, np.arange(len(classes))], features, k)
        if values.ndim == 3:
            return [named_largest(of_target, features, k) for of_target in values]
        return named_largest(values, features, k)

    def _predicted_classes(
        self, predictions: list[Any], importances: LocalImportances
    ) -> NDArray[np.intp]:
        """Find the predicted classes by their labels; without labels, by the largest output."""
        labels = self.scoring_explainer.row_explainer.labels
        if labels is not None and all(prediction in labels for prediction in predictions):
            return np.array([labels.index(prediction) for prediction in predictions], dtype=np.intp)
        outputs = importances.expected_values[:, None] + importances.values.sum(axis=2)
        return np.argmax(outputs, axis=0)


_BY_NAME = ("ColumnTransformer", "FunctionTransformer")


def _of_one_target(predictions: NDArray[Any]) -> NDArray[Any]:
    """Return predictions of one target without an axis of targets, which CatBoost gives them."""
    return predictions[:, 0] if predictions.shape[1:] == (1,) else predictions


def joined(parts: Sequence[LocalImportances]) -> LocalImportances:
    """Put the importances of several pieces of rows behind each other."""
    values = [part.values for part in parts]
    errors = [part.standard_errors for part in parts]
    return replace(parts[0], values=_stacked(values), standard_errors=_stacked(errors))


def _stacked(arrays: Sequence[Any]) -> Any:
    """Put arrays behind each other along their rows; None, of exact methods, stays None."""
    is_single = len(arrays) == 1
    return arrays[0] if is_single or arrays[0] is None else np.concatenate(arrays, axis=-2)


def named_largest(
    values: NDArray[np.float64], features: Sequence[str], k: int
) -> list[list[dict[str, Any]]]:
    """Name the k largest of each row of importances, (n_rows, n_features), the largest first."""
    order = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :k]
    named = []
    for row, largest in zip(values, order, strict=True):
        named.append([{"feature": features[i], "importance": float(row[i])} for i in largest])
    return named


def _check_count(rows: NDArray[Any], request: ScoringRequest) -> None:
    if request.max_rows is not None and len(rows) > request.max_rows:
        raise TooManyRowsError(
            f"Rows: expected at most {request.max_rows} in a request, got {len(rows)}; send fewer."
        )


def _takes_arrays(model: Any, schema: Schema) -> bool:
    """Tell whether an array will do for a model that was fitted on a DataFrame.

    It does where columns are read by position: by all of scikit-learn's own estimators, but for
    those that choose columns by name or hand the DataFrame on.
    """
    is_of_floats = schema.as_frame and schema.is_of_floats
    if not is_of_floats or not hasattr(model, "get_params"):
        return False
    parts = [model, *filter(_is_estimator, model.get_params(deep=True).values())]
    return all(map(_reads_by_position, parts))


def _is_estimator(part: Any) -> bool:
    return hasattr(part, "fit")


def _reads_by_position(part: Any) -> bool:
    is_of_sklearn = type(part).__module__.startswith("sklearn.")
    return is_of_sklearn and type(part).__name__ not in _BY_NAME
