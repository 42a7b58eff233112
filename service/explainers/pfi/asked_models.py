"""A model in the form in which metrics ask it: an estimator of scikit-learn's, or like one.

What a function answers (labels, a column for each class, or one probability) is decided once, by
its answer for all rows as they came: :func:`settled`. Next: :mod:`service.explainers.pfi.labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from service.engines.outputs import task_of
from service.engines.row_explainer import asked_with_rows
from service.errors import ModelOutputError, expect
from service.rows.values import shown

NO_PROBABILITIES = (
    "Classes is specified but model does not define predict_proba, only predict. Leave classes "
    "out, or give what it answers as a function: PFIExplainer(model.predict, is_function=True, "
    "classes=…)."
)
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

    def predict(self, X: Any) -> NDArray[Any]:
        """Return a number for each row, or one for each target."""
        return _read(self.ask(X))


class AskedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Functions of rows as a classifier.

    Parameters
    ----------
    ask : callable
        Answers labels; whatever a function answers, before it is :func:`settled`.
    classes : sequence, optional
        What is predicted, and what the columns of probabilities stand for.
    ask_probabilities : callable, optional
        Answers a column for each class.
    """

    def __init__(
        self,
        ask: Callable[[Any], Any],
        classes: Sequence[Any] | NDArray[Any] | None = None,
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
            raise AttributeError("classes_: they are known once there are rows")
        return np.asarray(self.classes)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return a label for each row."""
        return np.asarray(self.ask(X))

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return a probability for each class.

        Raises
        ------
        ValueError
            When there are none, or it is not known which column is which class.
        """
        if self.ask_probabilities is None:
            raise ValueError(
                "a model that answers labels alone has no probabilities, and those of classes "
                "without names tell nothing; give one that answers them, and classes="
            )
        return np.asarray(self.ask_probabilities(X))


@dataclass(frozen=True)
class Shares:
    """A function that answers a column for each class, or the probability of the second of two.

    Attributes
    ----------
    ask : callable
    n_classes : int
    """

    ask: Callable[[Any], Any]
    n_classes: int

    def __call__(self, rows: Any) -> NDArray[Any]:
        """Return a column for each class.

        Raises
        ------
        ModelOutputError
            When the function answers something else than for the rows as they came.
        """
        answers = _read(self.ask(rows))
        if answers.ndim == 1 and self.n_classes == 2 and _are_from_0_to_1(answers):
            return np.column_stack([1 - answers, answers])
        if answers.shape[1:] != (self.n_classes,):
            raise ModelOutputError(
                f"model: expected a column for each of {self.n_classes} classes, or probabilities "
                f"from 0 to 1 of the second of two, got shape {answers.shape}, "
                f"{shown(answers.flat[0])} first; classes= names what the columns stand for."
            )
        return answers


@dataclass(frozen=True)
class Likeliest:
    """The likeliest class of each row.

    Attributes
    ----------
    ask : Shares
    classes : ndarray of shape (n_classes,)
    """

    ask: Shares
    classes: NDArray[Any]

    def __call__(self, rows: Any) -> NDArray[Any]:
        """Return a label for each row."""
        likeliest: NDArray[Any] = self.classes[self.ask(rows).argmax(axis=1)]
        return likeliest


@dataclass(frozen=True)
class Labels:
    """A function that answers labels.

    Attributes
    ----------
    ask : callable
    classes : sequence or None
        All that there are, where they have been named.
    """

    ask: Callable[[Any], Any]
    classes: Sequence[Any] | NDArray[Any] | None

    def __call__(self, rows: Any) -> NDArray[Any]:
        """Return a label for each row.

        Raises
        ------
        ModelOutputError
            When one is none of the classes, or no label at all.
        """
        answers = _read(self.ask(rows))
        if self.classes is None:
            _refuse(answers, "whole", answers.dtype.kind == "f" and answers % 1 != 0)
        else:
            known = ", ".join(map(shown, list(self.classes)[:5]))
            _refuse(answers, known, ~_is_in(answers, self.classes))
        return answers


def _refuse(answers: NDArray[Any], known: str, is_wrong: Any) -> None:
    wrong = answers[np.broadcast_to(is_wrong, answers.shape)]
    if len(wrong):
        raise ModelOutputError(
            f"model: expected labels ({known}), or probabilities from 0 to 1 of the second of two "
            f"classes, got {shown(wrong.tolist()[0])}; classes= names all that it predicts."
        )


def _read(answer: Any) -> NDArray[Any]:
    """Return an answer as an array; with one axis where there is one column."""
    answers = np.asarray(answer)
    if answers.dtype.kind == "O" and answers.ndim == 1:
        answers = pd.Series(answers).infer_objects().to_numpy()
    return answers[:, 0] if answers.shape[1:] == (1,) else answers


def _is_in(answers: NDArray[Any], classes: Any) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pd.Series(answers).isin(np.asarray(classes).tolist()).to_numpy()
    return found


def _are_from_0_to_1(answers: NDArray[Any]) -> bool:
    is_number = answers.dtype.kind in "biuf"
    return is_number and bool(((answers >= 0) & (answers <= 1)).all())


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
    model = asked_with_rows(model)
    if is_function or not hasattr(model, "predict"):
        return _function_as_asked(model, task, classes)
    expect(classes is None or hasattr(model, "predict_proba"), NO_PROBABILITIES, ValueError)
    return _estimator_as_asked(model, task, classes)


def _estimator_as_asked(model: Any, task: str, classes: Sequence[Any] | None) -> Any:
    """Return a model as it is, unless scikit-learn does not know it, or as something else."""
    own_task = task_of(model)
    asked_task = {"unknown": own_task}.get(task, task)
    is_known = hasattr(model, "__sklearn_tags__") and hasattr(model, "fit")
    if is_known and asked_task == own_task:
        return model
    if asked_task == "regression":
        return AskedRegressor(model.predict)
    known = getattr(model, "classes_", classes)
    return AskedClassifier(model.predict, known, getattr(model, "predict_proba", None))


def _function_as_asked(model: Any, task: str, classes: Sequence[Any] | None) -> Any:
    expect(
        callable(model),
        "model: expected an estimator with predict, or a function of rows, got "
        f"{type(model).__name__}; of an estimator give a method, as model.predict.",
        TypeError,
    )
    if task == "classification" or classes is not None:
        return AskedClassifier(model, classes)
    return AskedRegressor(model)


def settled(asked: Any, task: str, rows: Any, labels: NDArray[Any]) -> Any:
    """Decide what a function answers, by its answer for rows and their true labels.

    Several columns are classes, and answers that are no numbers are labels, unless the task is said
    to be another. Floats from 0 to 1 are probabilities of the second of two classes where two are
    named; without names, where one of them is no whole number.

    Parameters
    ----------
    asked : object
        What :func:`as_asked` returned.
    task : {"unknown", "classification", "regression"}
    rows : table of shape (n_rows, n_features)
    labels : ndarray of shape (n_rows,) or (n_rows, n_targets)

    Raises
    ------
    ValueError
        When answers, labels and classes do not belong together.
    """
    if not isinstance(asked, AskedRegressor | AskedClassifier):
        return asked
    answers = _read(asked.ask(rows.copy()))  # it may write into them
    if isinstance(asked, AskedRegressor):
        if task == "regression" or _are_numbers(answers):
            return asked
        asked = AskedClassifier(asked.ask)
    return _settled_classifier(asked, answers, rows, labels)


def _are_numbers(answers: NDArray[Any]) -> bool:
    """Tell whether each answer is a number, and no truth value."""
    return answers.ndim == 1 and answers.dtype.kind in "iuf"


def _settled_classifier(
    asked: AskedClassifier, answers: NDArray[Any], rows: Any, labels: NDArray[Any]
) -> AskedClassifier:
    if answers.ndim == 2:
        return _of_shares(asked, answers.shape[1])
    if _are_shares(asked, answers):
        return _of_shares(asked, 2)
    return _of_labels(asked, answers, rows, labels)


def _are_shares(asked: AskedClassifier, answers: NDArray[Any]) -> bool:
    """Tell whether a single column is the probability of the second of two classes."""
    has_others = asked.ask_probabilities is not None
    if has_others or answers.dtype.kind != "f" or not _are_from_0_to_1(answers):
        return False
    return len(asked.classes) == 2 if asked.classes is not None else bool((answers % 1).any())


def _of_shares(asked: AskedClassifier, n_columns: int) -> AskedClassifier:
    classes = np.arange(n_columns) if asked.classes is None else asked.classes_
    expect(
        len(classes) == n_columns,
        f"classes: expected {n_columns} names, one for each column that the model answers, got "
        f"{len(classes)}.",
        ValueError,
    )
    shares = Shares(asked.ask_probabilities or asked.ask, n_columns)
    return AskedClassifier(Likeliest(shares, classes), classes, shares)


def _of_labels(
    asked: AskedClassifier, answers: NDArray[Any], rows: Any, labels: NDArray[Any]
) -> AskedClassifier:
    ask = Labels(asked.ask, asked.classes)
    ask_probabilities = asked.ask_probabilities
    if asked.classes is not None:
        return AskedClassifier(ask, asked.classes, ask_probabilities)
    classes = _find_classes(answers, labels)
    if ask_probabilities is not None and not _are_in_order(
        classes, answers, np.asarray(ask_probabilities(rows.copy()))
    ):
        ask_probabilities = None
    return AskedClassifier(ask, classes, ask_probabilities)


def _find_classes(answers: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """Return all that is predicted or true, in order.

    Raises
    ------
    ValueError
        When some answers are never true, and some labels never answered: they may mean others.
    """
    if labels.ndim != 1:
        return np.unique(answers)
    unknown, unasked = answers[~_is_in(answers, labels)], labels[~_is_in(labels, answers)]
    if len(unknown) and len(unasked):
        _refuse_strangers(unknown, unasked)
    return np.unique(answers if len(unknown) else labels)


def _refuse_strangers(unknown: NDArray[Any], unasked: NDArray[Any]) -> NoReturn:
    answered, true = shown(unknown.tolist()[0]), shown(unasked.tolist()[0])
    raise ValueError(
        f"true_labels: expected what the model predicts, but it answers {answered}, which no row "
        f"is labelled with, and never {true}; name all that it predicts by classes=."
    )


def _are_in_order(
    classes: NDArray[Any], answers: NDArray[Any], probabilities: NDArray[Any]
) -> bool:
    """Tell whether the columns of probabilities are those classes, by the labels predicted."""
    if probabilities.shape != (len(answers), len(classes)):
        return False
    return bool((classes[probabilities.argmax(axis=1)] == answers).all())
