"""Plain functions as models: they are asked for predictions like everything with ``predict``.

Next: :mod:`service.scoring.request`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


def with_predict(model: Any) -> Any:
    """Return a model that has ``predict`` of rows: the model itself, or one around it.

    A function, and a bare ``xgboost.Booster``, are put into a model.

    Parameters
    ----------
    model : object

    Raises
    ------
    TypeError
        When it neither has ``predict`` nor can be called.

    Examples
    --------
    >>> with_predict(abs).predict(-3)
    3
    """
    if hasattr(model, "predict"):
        return asked_with_rows(model)
    if not callable(model):
        raise TypeError(
            "original_model: expected an estimator with predict, or a function of rows, got "
            f"{type(model).__name__}."
        )
    return FunctionModel(model)
