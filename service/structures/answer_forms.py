"""From what a classifier answers to one number per row and class, where that is something else.

| answer                              | form                                                     |
|-------------------------------------|----------------------------------------------------------|
| margins of pairs of classes         | ``links.OneVersusRest``: one margin per class            |
| one array of probabilities a target | ``SideBySide``: one after another                        |
| one vote of each model inside       | ``VoteShares``: the share of the votes for each class    |
| labels and nothing else             | ``Indicators``: 1 for the class that is predicted        |
| one probability                     | ``SecondOfTwo``: 1 − p and p                             |

All can be pickled. Next: :mod:`service.structures.structure`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ModelOutputError
from service.structures.class_names import sklearn_name
from service.structures.encoders import last_step
from service.structures.links import Floats, OneVersusRest

# Makes one number per row and output of what a model answers.
Form = Callable[[Any], Floats]


@dataclass(frozen=True)
class SideBySide:
    """The probabilities of several targets, one after another."""

    def __call__(self, answer: Sequence[Any]) -> Floats:
        """Join arrays of shape (n_rows, n_classes), one for each target.

        >>> SideBySide()([np.array([[0.25, 0.75]]), np.array([[1.0, 0.0]])]).tolist()
        [[0.25, 0.75, 1.0, 0.0]]
        """
        return np.hstack([np.asarray(of_target, dtype=np.float64) for of_target in answer])


@dataclass(frozen=True)
class VoteShares:
    """The share of the votes that each class gets, as ``VotingClassifier(voting="hard")`` counts.

    Attributes
    ----------
    weights : ndarray of shape (n_models,)
    n_classes : int
    """

    weights: NDArray[np.float64]
    n_classes: int

    def __call__(self, votes: NDArray[Any]) -> Floats:
        """Count votes, positions of classes in an array of shape (n_rows, n_models).

        >>> VoteShares(np.ones(4), 2)(np.array([[0, 1, 1, 1]])).tolist()
        [[0.25, 0.75]]
        """
        of_class = votes[:, :, None] == np.arange(self.n_classes)
        shares = self.weights / self.weights.sum()
        return np.einsum("m,nmc->nc", shares, of_class.astype(np.float64))


@dataclass(frozen=True)
class Indicators:
    """1 for the label that is predicted and 0 for every other, target after target.

    Attributes
    ----------
    labels : tuple of ndarray
        Those of each target.
    """

    labels: tuple[NDArray[Any], ...]

    def __call__(self, predicted: Any) -> Floats:
        """Compare predictions, of shape (n_rows,) or (n_rows, n_targets), with each label.

        >>> Indicators((np.array(["no", "yes"]),))(np.array(["yes", "no"])).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
        """
        columns = np.asarray(predicted).reshape(len(predicted), -1).T
        compared = []
        for column, labels in zip(columns, self.labels, strict=True):
            compared.append(column[:, None] == labels)
        return np.hstack(compared).astype(np.float64)


@dataclass(frozen=True)
class SecondOfTwo:
    """The probability of the second of two classes, behind what is missing to 1."""

    def __call__(self, answer: Any) -> Floats:
        """Return both probabilities, shape (n_rows, 2).

        Parameters
        ----------
        answer : array-like of shape (n_rows,) or (n_rows, 1)

        Raises
        ------
        ModelOutputError
            When a number is not from 0 to 1.

        Examples
        --------
        >>> SecondOfTwo()([[0.25], [1.0]]).tolist()
        [[0.75, 0.25], [0.0, 1.0]]
        """
        second = np.asarray(answer, dtype=np.float64).reshape(len(answer))
        if not are_shares(second):
            raise ModelOutputError(
                "model: expected probabilities of the second of two classes, from 0 to 1, as for "
                f"the examples, got {second[:3]}."
            )
        return np.column_stack([1.0 - second, second])


def are_shares(numbers: NDArray[Any]) -> bool:
    """Tell whether all numbers are from 0 to 1.

    >>> are_shares(np.array([0.0, 0.5])), are_shares(np.array([1.5]))
    (True, False)
    """
    return bool(np.all((numbers >= 0) & (numbers <= 1)))


def tells_pairs(margins: Floats, labels: NDArray[Any], predicted: NDArray[Any]) -> bool:
    """Tell whether margins are of pairs of classes rather than of classes.

    Three classes have as many pairs. Then the votes of the pairs name the predicted class more
    often than the largest margin does.

    Parameters
    ----------
    margins : ndarray of shape (n_rows, n_margins)
    labels : ndarray of shape (n_classes,)
    predicted : ndarray of shape (n_rows,)

    Examples
    --------
    >>> labels = np.array(["a", "b", "c"])
    >>> tells_pairs(np.array([[-1.0, 0.5, 2.0]]), labels, np.array(["b"]))
    True
    >>> tells_pairs(np.array([[-1.0, 0.5, 2.0]]), labels, np.array(["c"]))
    False
    """
    n_classes, n_margins = len(labels), margins.shape[1]
    n_pairs = n_classes * (n_classes - 1) // 2
    if not 3 <= n_margins == n_pairs:
        return False
    by_votes = OneVersusRest(n_classes)(margins).argmax(axis=1)
    by_margin = margins.argmax(axis=1).clip(max=n_classes - 1)
    n_told_by_votes = np.count_nonzero(labels[by_votes] == predicted)
    n_told_by_margin = np.count_nonzero(labels[by_margin] == predicted)
    return bool(n_told_by_votes > n_told_by_margin)


def find_votes(model: Any) -> VoteShares | None:
    """Return what counts the votes that ``transform`` of a hard vote gives; None for the rest."""
    voting = last_step(model)
    kind = sklearn_name(voting), getattr(voting, "voting", "")
    if kind != ("VotingClassifier", "hard"):
        return None
    weights = np.ones(len(voting.estimators_))
    if voting._weights_not_none is not None:
        weights = np.asarray(voting._weights_not_none, dtype=np.float64)
    return VoteShares(weights, len(voting.classes_))


def find_form(model: Any, scale: str, rows: Any, answer: Any) -> Form | None:
    """Find what makes one number per row and output of a classifier's answer.

    Parameters
    ----------
    model : object
        A fitted classifier.
    scale : {"probability", "margin", "prediction"}
    rows : DataFrame or array of shape (n_rows, n_features)
    answer : array or list of arrays
        What the model answers on the scale for these rows.

    Returns
    -------
    callable or None
        None where the answer is that already.

    Raises
    ------
    ModelOutputError
        When the answer is one number a row that is no label.
    """
    return _FORMS[scale](model, rows, answer)


def _form_of_probabilities(model: Any, rows: Any, answer: Any) -> Form | None:
    """Join those of several targets, which come as a list."""
    if isinstance(answer, list):
        return SideBySide()
    return None


def _form_of_margins(model: Any, rows: Any, answer: Any) -> Form | None:
    """Make one margin per class of those of pairs of classes."""
    labels, margins = labels_of_targets(model), np.asarray(answer, dtype=np.float64)
    predicted = np.asarray(model.predict(rows))
    if (len(labels), predicted.ndim, margins.ndim) != (1, 1, 2):
        return None
    (of_one,) = labels
    says_so = getattr(last_step(model), "decision_function_shape", "") == "ovo"
    if says_so or tells_pairs(margins, of_one, predicted):
        return OneVersusRest(len(of_one))
    return None


def _form_of_predictions(model: Any, rows: Any, answer: Any) -> Form | None:
    """Compare with labels, unless there are several columns of numbers."""
    predicted = np.asarray(answer)
    columns = predicted.reshape(len(predicted), -1).T
    labels = labels_of_targets(model)
    if len(labels) != len(columns):
        is_numeric = predicted.dtype.kind in "biuf"
        if is_numeric and len(columns) > 1:  # one for each class
            return None
        if _has_fractions(predicted) and are_shares(predicted):
            return SecondOfTwo()
        labels = tuple(map(np.unique, columns))
    form = Indicators(labels)
    _check_labels(model, predicted, form)
    return form


def _has_fractions(numbers: NDArray[Any]) -> bool:
    return numbers.dtype.kind == "f" and bool(np.any(numbers % 1))


def _check_labels(model: Any, predicted: NDArray[Any], form: Indicators) -> None:
    """Refuse numbers that are no labels, as scores in a single column are."""
    are_known = form(predicted).sum(axis=1) == len(form.labels)
    if _has_fractions(predicted) or not are_known.all():
        raise ModelOutputError(
            f"{type(model).__name__}.predict: expected a label a row, as of a classifier, one "
            f"column per class, or the probability of the second of two, got "
            f"{predicted.ravel()[:3]}; leave model_task to the model, or "
            "explain a function that returns one column per class."
        )


_FORMS: dict[str, Callable[[Any, Any, Any], Form | None]] = {
    "margin": _form_of_margins,
    "prediction": _form_of_predictions,
    "probability": _form_of_probabilities,
}


def name_classes(labels_of_targets: Sequence[Sequence[Any]]) -> list[str]:
    """Name the classes of several targets, one after another.

    >>> name_classes([["no", "yes"], [3, 7]])
    ['0: no', '0: yes', '1: 3', '1: 7']
    """
    names = []
    for target, labels in enumerate(labels_of_targets):
        names += [f"{target}: {label}" for label in labels]
    return names


def labels_of_targets(model: Any) -> tuple[NDArray[Any], ...]:
    """Return the labels of each target that a classifier knows, none where it does not say.

    >>> from sklearn.naive_bayes import GaussianNB
    >>> labels_of_targets(GaussianNB().fit([[0], [1]], ["no", "yes"]))
    (array(['no', 'yes'], dtype='<U3'),)
    >>> labels_of_targets(GaussianNB())
    ()
    """
    labels: Any = getattr(model, "classes_", ())
    if len(labels) == 0:
        return ()
    if np.ndim(labels[0]) == 0:
        return (np.asarray(labels),)
    return tuple(map(np.asarray, labels))
