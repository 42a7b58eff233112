"""The names and words beside the numbers of an answer, for people who did not build the model.

Next: :mod:`service.scoring.explainer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import PayloadError
from service.rows.values import shown


def class_position(name: str, classes: Sequence[Any] | None, labels: Sequence[Any] | None) -> int:
    """Find a class by its name, or else by the label that the model predicts for it.

    Parameters
    ----------
    name : str
    classes : sequence or None
        The names of the classes; None of a regressor.
    labels : sequence or None
        What the model predicts for each, where that is known.

    Raises
    ------
    PayloadError
        When there is no such class.

    Examples
    --------
    >>> class_position("benign", ["malignant", "benign"], [0, 1])
    1
    >>> class_position("1", ["malignant", "benign"], [0, 1])
    1
    """
    if classes is None:
        raise PayloadError("Option 'top_class': expected with a classifier, got a regressor.")
    known = {**_positions(labels or ()), **_positions(classes)}
    if name not in known:
        listed = ", ".join(map(shown, map(str, classes)))
        raise PayloadError(f"Option 'top_class': expected one of {listed}, got {shown(name)}.")
    return known[name]


def _positions(names: Sequence[Any]) -> dict[str, int]:
    return dict(zip(map(str, names), count(), strict=False))


def names_of_predictions(
    predictions: Sequence[Any], classes: Sequence[Any], labels: Sequence[Any] | None
) -> list[str | None]:
    """Name the predicted class of each row; None for a prediction that is no label of a class.

    Examples
    --------
    >>> names_of_predictions([1, 0], ["malignant", "benign"], [0, 1])
    ['benign', 'malignant']
    """
    by_label = dict(zip(labels or (), map(str, classes), strict=False))
    return list(map(by_label.get, predictions))


def by_class(probabilities: NDArray[Any], classes: Sequence[Any]) -> list[dict[str, float]] | None:
    """Write the probabilities of each row by the names of the classes.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_classes), or of objects: such a table a target
    classes : sequence
        As many names as there are columns in all.

    Returns
    -------
    list of dict, or None
        None where there are other names than columns.

    Examples
    --------
    >>> by_class(np.array([[0.25, 0.75]]), ["malignant", "benign"])
    [{'malignant': 0.25, 'benign': 0.75}]
    """
    table = probabilities
    if probabilities.dtype == object:
        table = np.hstack(list(map(_as_table, probabilities)))
    names = list(map(str, classes))
    if table.shape[1:] != (len(names),):
        return None
    return list(map(dict, map(partial(zip, names), table.tolist())))


def _as_table(of_target: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(of_target.tolist(), dtype=np.float64)
