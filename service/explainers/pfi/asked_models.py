"""A model in the form in which metrics ask it: an estimator of scikit-learn's, or like one.

Next: :mod:`service.explainers.pfi.labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from service.engines.outputs import task_of

NO_PROBABILITIES = "Classes is specified but model does not define predict_proba, only predict."
TASKS = ("unknown", "classification", "regression")


class AskedRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A function of rows as a regressor.

    Parameters
    ----------
    ask : callable
    """

    def __init__(self, ask: Callable[[Any], Any]) -> None:
        self.ask = ask

    def fit(self, X: Any, y: Any = None) -> AskedRegressor:
        """Do nothing: it is fitted."""
        return self

    def count_columns(self, rows: Any) -> int:
        """Tell how many numbers it answers for each row."""
        return np.asarray(self.ask(rows)).reshape(rows.shape[0], -1).shape[1]

    def predict(self, X: Any) -> NDArray[Any]:
        """Return a number for each row, or one for each target."""
        answer = np.asarray(self.ask(X))
        return answer[:, 0] if answer.shape[1:] == (1,) else answer


class AskedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A function of rows as a classifier: it answers labels, or a column for each class.

    One column of numbers that are no labels is the probability of the second of two classes.

    Parameters
    ----------
    ask : callable
    classes : sequence, optional
        What the columns stand for; 0, 1, … by default.
    ask_probabilities : callable, optional
        Where another function answers them.
    """

    def __init__(
        self,
        ask: Callable[[Any], Any],
        classes: Sequence[Any] | None = None,
        ask_probabilities: Callable[[Any], Any] | None = None,
    ) -> None:
        self.ask = ask
        self.classes = classes
        self.ask_probabilities = ask_probabilities

    def fit(self, X: Any, y: Any = None) -> AskedClassifier:
        """Do nothing: it is fitted."""
        return self

    @property
    def classes_(self) -> NDArray[Any]:
        """What it predicts, where that is known."""
        if self.classes is None:
            raise AttributeError("a model that answers labels alone has no probabilities")
        return np.asarray(self.classes)

    def count_columns(self, rows: Any) -> int:
        """Tell for how many classes it answers a column; 1 where it answers labels."""
        return _columns(self.ask(rows)).reshape(rows.shape[0], -1).shape[1]

    def predict(self, X: Any) -> NDArray[Any]:
        """Return a label for each row."""
        answer = _columns(self.ask(X))
        if answer.ndim == 1:
            return answer
        likeliest = answer.argmax(axis=1)
        return likeliest if self.classes is None else self.classes_[likeliest]

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return a probability for each class."""
        return _columns((self.ask_probabilities or self.ask)(X))


def _columns(answer: Any) -> NDArray[Any]:
    """Return labels with one axis, and probabilities with a column for each class."""
    answers = np.asarray(answer)
    if answers.ndim == 2 and answers.shape[1] > 1:
        return answers
    single = answers.reshape(len(answers))
    is_share = single.dtype.kind == "f" and bool((single % 1 != 0).any())
    return np.column_stack([1 - single, single]) if is_share else single


def as_asked(model: Any, task: str, is_function: bool, classes: Sequence[Any] | None) -> Any:
    """Return a model as an estimator: itself where scikit-learn knows it.

    Parameters
    ----------
    model : object
        An estimator, or a function of rows.
    task : {"unknown", "classification", "regression"}
    is_function : bool
    classes : sequence or None

    Raises
    ------
    TypeError
        When it has no ``predict`` and cannot be called.
    ValueError
        When classes are named for a model without probabilities.
    """
    if is_function or not hasattr(model, "predict"):
        return _function_as_asked(model, task, classes)
    _check_probabilities(model, classes)
    own_task = task_of(model)
    asked_task = {"unknown": own_task}.get(task, task)
    is_known = hasattr(model, "__sklearn_tags__") and hasattr(model, "fit")
    if is_known and asked_task == own_task:
        return model
    return _estimator_as_asked(model, asked_task, classes)


def _check_probabilities(model: Any, classes: Sequence[Any] | None) -> None:
    if classes is not None and not hasattr(model, "predict_proba"):
        raise ValueError(NO_PROBABILITIES)


def _estimator_as_asked(model: Any, task: str, classes: Sequence[Any] | None) -> Any:
    """Return a model that scikit-learn does not know, or knows as something else."""
    if task == "regression":
        return AskedRegressor(model.predict)
    known = getattr(model, "classes_", classes)
    return AskedClassifier(model.predict, known, getattr(model, "predict_proba", None))


def _function_as_asked(model: Any, task: str, classes: Sequence[Any] | None) -> Any:
    if not callable(model):
        raise TypeError(
            "model: expected an estimator with predict, or a function of rows, got "
            f"{type(model).__name__}."
        )
    if task == "classification" or classes is not None:
        return AskedClassifier(model, classes)
    return AskedRegressor(model)


def settled(asked: Any, task: str, rows: Any) -> Any:
    """Count the columns that a function answers.

    Several are classes, unless its task is said to be another.
    """
    if task == "regression" or not hasattr(asked, "count_columns"):
        return asked
    n_columns = asked.count_columns(rows)
    if n_columns == 1 or getattr(asked, "classes", None) is not None:
        return asked
    return AskedClassifier(asked.ask, range(n_columns))
