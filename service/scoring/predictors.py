"""Models without ``predict``: they are asked for predictions like all others.

These are plain functions, and objects with ``predict_proba`` alone.

Next: :mod:`service.scoring.request`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.row_explainer import asked_with_rows


@dataclass(frozen=True)
class FunctionModel:
    """A function of rows, asked by ``predict``.

    Attributes
    ----------
    function : callable
        From rows, a DataFrame or an array, to one number for each, or to one column per class.
    """

    function: Callable[[Any], Any]

    def predict(self, rows: Any) -> Any:
        """Return what the function returns."""
        return self.function(rows)


@dataclass(frozen=True)
class ProbabilityModel:
    """An object with ``predict_proba`` alone: it predicts the most probable class.

    Attributes
    ----------
    model : object
        Its ``classes_``, where it has some, are the labels; else they are 0, 1, ….
    """

    model: Any

    def predict_proba(self, rows: Any) -> Any:
        """Return what the model answers."""
        return self.model.predict_proba(rows)

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the label of the most probable class; of two, where there is one column, too.

        >>> class Coin:
        ...     def predict_proba(self, rows):
        ...         return np.array([[0.25, 0.75], [0.6, 0.4]])
        >>> ProbabilityModel(Coin()).predict([[1], [2]]).tolist()
        [1, 0]
        """
        probabilities = np.asarray(self.predict_proba(rows))
        columns = probabilities.reshape(len(probabilities), -1)
        if columns.shape[1] == 1:
            columns = np.hstack([1 - columns, columns])
        labels = np.asarray(getattr(self.model, "classes_", range(columns.shape[1])))
        return labels[columns.argmax(axis=1)]


def with_predict(model: Any) -> Any:
    """Return a model that has ``predict`` of rows: the model itself, or one around it.

    A function, an object with ``predict_proba`` alone, a bare ``xgboost.Booster`` and a network of
    torch or Keras are put into a model; a network predicts what it answers.

    Parameters
    ----------
    model : object

    Raises
    ------
    TypeError
        When it has neither ``predict`` nor ``predict_proba``, and cannot be called.

    Examples
    --------
    >>> with_predict(abs).predict(-3)
    3
    """
    model = asked_with_rows(model)
    if hasattr(model, "predict"):
        return model
    if hasattr(model, "predict_proba"):
        return ProbabilityModel(model)
    if not callable(model):
        raise TypeError(
            "original_model: expected an estimator with predict, or a function of rows, got "
            f"{type(model).__name__}."
        )
    return FunctionModel(model)
