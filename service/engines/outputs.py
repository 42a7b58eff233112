"""Which output of a model is explained: one function from rows to numbers, with its scale and its
classes.

| model                          | output "auto" stands for                                          |
|--------------------------------|-------------------------------------------------------------------|
| regressor                      | "prediction": ``predict``                                         |
| linear or boosted classifier   | "margin": ``decision_function``, where the model is a plain sum   |
| any other classifier           | "probability": ``predict_proba``; "margin" where it has none      |
| LightGBM, XGBoost classifier   | "margin": ``predict`` with the option that asks for it            |
| outlier detector               | "margin": ``decision_function``, one number; low is an outlier    |
| plain function                 | "prediction": whatever it returns; several columns are classes    |

A binary margin is given for both classes, −m and m, so that every classifier has one output per
class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ModelOutputError
from service.rows.schema import Schema
from service.structures.reading import margin_option

OUTPUTS = ("probability", "margin", "prediction")
TASKS = ("classification", "regression")
_METHODS = {"probability": "predict_proba", "margin": "decision_function", "prediction": "predict"}


@dataclass(frozen=True)
class ModelName:
    """What is kept of a model that is not asked any more: its name in messages, its type and its
    labels.
    """

    name: str
    type_name: str
    labels: Any


@dataclass(frozen=True)
class ModelOutput:
    """The function that is explained, picklable: a model, the method asked, and the rows' schema.

    Attributes
    ----------
    model : object
        A fitted estimator, a plain function of rows, or a :class:`ModelName` in place of either.
    scale : {"probability", "margin", "prediction"}
    task : {"classification", "regression"}
    schema : Schema
    """

    model: Any
    scale: str
    task: str
    schema: Schema

    def __call__(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the model.

        Parameters
        ----------
        matrix : ndarray of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_outputs)

        Raises
        ------
        ModelOutputError
            When the model answers something else than one finite number per row and output.
        """
        answer = self._method(self.schema.model_rows(matrix))
        if isinstance(answer, list):
            raise ModelOutputError(
                f"{self.name}: expected one array of outputs, got a list; models with several targets at once "
                "cannot be explained."
            )
        outputs = np.asarray(answer, dtype=np.float64)
        outputs = outputs[:, None] if outputs.ndim == 1 else outputs
        if outputs.ndim != 2 or len(outputs) != len(matrix):
            raise ModelOutputError(
                f"{self.name}: expected shape ({len(matrix)}, n_outputs), got {outputs.shape}."
            )
        if not np.isfinite(outputs).all():
            raise ModelOutputError(
                f"{self.name}: expected finite numbers, got NaN or infinity; it cannot be explained."
            )
        return np.hstack([-outputs, outputs]) if self._is_binary_margin(outputs) else outputs

    @property
    def name(self) -> str:
        """The model and method in words, for messages."""
        if isinstance(self.model, ModelName):
            return self.model.name
        if self._is_function:
            return getattr(self.model, "__qualname__", type(self.model).__name__)
        return f"{type(self.model).__name__}.{_method_name(self.model, self.scale)}"

    @property
    def type_name(self) -> str:
        """The model's type with its module."""
        if isinstance(self.model, ModelName):
            return self.model.type_name
        return f"{type(self.model).__module__}.{type(self.model).__qualname__}"

    @property
    def labels(self) -> Any:
        """What a classifier predicts for each of its classes (``classes_``), None where the model
        does not say.
        """
        return (
            self.model.labels
            if isinstance(self.model, ModelName)
            else getattr(self.model, "classes_", None)
        )

    def without_model(self) -> ModelOutput:
        """Return the same output by name only."""
        return replace(self, model=ModelName(self.name, self.type_name, self.labels))

    @property
    def _is_function(self) -> bool:
        return not hasattr(self.model, "predict")

    @property
    def _method(self) -> Callable[[Any], Any]:
        if self._is_function:
            return self.model
        option = margin_option(self.model) if self.scale == "margin" else None
        return (
            getattr(self.model, _METHODS[self.scale])
            if option is None
            else partial(self.model.predict, **{option: True})
        )

    def _is_binary_margin(self, outputs: NDArray[np.float64]) -> bool:
        return self.task == "classification" and self.scale == "margin" and outputs.shape[1] == 1


def model_output(
    model: Any, schema: Schema, probe: NDArray[Any], *, output: str, task: str, prefers_margin: bool
) -> ModelOutput:
    """Decide which output of `model` is explained.

    Parameters
    ----------
    model : object
        A fitted estimator with ``predict`` (and ``predict_proba`` or ``decision_function``), or a
        function of rows.
    schema : Schema
    probe : ndarray of shape (n, n_features)
        Rows on which a plain function is tried to see how many columns it returns.
    output : {"auto", "probability", "margin", "prediction"}
    task : {"unknown", "classification", "regression"}
        "unknown" asks the model.
    prefers_margin : bool
        True for model kinds that have a closed form on the margin.

    Raises
    ------
    TypeError, ValueError
        When the model is no model, or has no such output.
    """
    _check_choice("output", output, ("auto", *OUTPUTS))
    _check_choice("model_task", task, ("unknown", *TASKS))
    if not hasattr(model, "predict"):
        return _function_output(model, schema, probe, output, task)
    _check_fitted(model)
    found = task if task != "unknown" else task_of(model)
    known = _scales(model, found, prefers_margin)
    available = [
        scale for scale in known if hasattr(model, _method_name(model, scale).split("(")[0])
    ]
    if not available or output not in ("auto", *available):
        raise ValueError(
            f"{type(model).__name__}: expected a {found} model with "
            f"{' or '.join(_method_name(model, scale) for scale in known)}"
            f"{'' if output == 'auto' else f' and output one of {available}'}, got output={output!r}."
        )
    return ModelOutput(model, available[0] if output == "auto" else output, found, schema)


def task_of(model: Any) -> str:
    """Tell whether a model with ``predict`` is for "classification" or "regression", like outlier
    detectors.
    """
    from sklearn.base import (
        is_classifier,
    )  # asked when an explainer is built, never when one scores

    is_one = hasattr(model, "predict_proba") or (_has_tags(model) and is_classifier(model))
    return "classification" if is_one else "regression"


def _scales(model: Any, task: str, prefers_margin: bool) -> Sequence[str]:
    """List the outputs that a task knows, the default first."""
    from sklearn.base import is_outlier_detector

    if task == "regression":
        return (
            ("margin", "prediction")
            if _has_tags(model) and is_outlier_detector(model)
            else ("prediction",)
        )
    return ("margin", "probability") if prefers_margin else ("probability", "margin")


def _method_name(model: Any, scale: str) -> str:
    """Name the method that answers on a scale."""
    option = margin_option(model) if scale == "margin" else None
    return _METHODS[scale] if option is None else f"predict({option}=True)"


def _has_tags(model: Any) -> bool:
    """Tell whether scikit-learn can be asked about the model; it fails on models that it does not
    know.
    """
    return hasattr(model, "__sklearn_tags__")


def _check_fitted(model: Any) -> None:
    """Refuse an unfitted model of scikit-learn's own; of other models nothing is known."""
    from sklearn.exceptions import NotFittedError
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    last = model
    while isinstance(last, Pipeline):  # it is fitted when its last step is
        last = last.steps[-1][1]
    if not type(last).__module__.startswith("sklearn."):
        return
    try:
        check_is_fitted(last)
    except NotFittedError:
        raise ValueError(
            f"model: expected a fitted {type(model).__name__}; call its fit(X, y) first."
        ) from None


def _function_output(
    model: Any, schema: Schema, probe: NDArray[Any], output: str, task: str
) -> ModelOutput:
    if not callable(model):
        raise TypeError(
            f"model: expected an estimator with predict, or a function of rows, got {type(model).__name__}."
        )
    if output not in ("auto", "prediction"):
        raise ValueError(f"output: a plain function has only its own 'prediction', got {output!r}.")
    n_outputs = ModelOutput(model, "prediction", "regression", schema)(probe[:1]).shape[1]
    if task == "classification" and n_outputs == 1:
        raise ValueError(
            "model: expected a classification function to return one column per class, got one column."
        )
    found = task if task != "unknown" else ("classification" if n_outputs > 1 else "regression")
    return ModelOutput(model, "prediction", found, schema)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}.")
