"""What an explanation knows beside its numbers: of which model it is, and of which rows.

Next: :mod:`service.explanations.moments`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def tell_nothing(_: str) -> None:
    """Answer for a model that is not there."""


def _make_id() -> str:
    return str(uuid4())


def unless_none(function: Callable[..., Any], value: Any, *others: Any) -> Any:
    """Return what a function makes of a value, None of None: what is not known stays so.

    Examples
    --------
    >>> unless_none(len, None), unless_none(max, 2, 3)
    (None, 3)
    """
    return None if value is None else function(value, *others)


@dataclass(frozen=True, eq=False)
class ExplanationContext:
    """What is known of an explanation beside its importances; whatever is not known is None.

    Attributes
    ----------
    id : str
        By which explanations are told apart; every one has its own.
    model_task : {"classification", "regression", "unknown"}
    model_type : str
        The class of the model; "" where it is not known.
    class_labels : sequence or None
        What a classifier predicts for each of its classes, in their order.
    is_raw : bool
        Whether the players are the columns before transformations.
    is_engineered : bool
        Whether the players are the columns that transformations made.
    is_one_row : bool
        Whether a single row came, without an axis of rows; what is answered has none either.
    row_labels : Index or None
        What the rows are called: the index of the DataFrame that was explained, or the name of the
        Series.
    eval_data : table or None
        The rows that were explained, as they came.
    init_data : table or None
        The initialization examples, as they came.
    true_labels : array-like of shape (n_rows,), or None
        What was to be predicted.
    eval_y_predicted : ndarray of shape (n_rows,), or None
        What the model predicted for the rows.
    eval_y_predicted_proba : ndarray of shape (n_rows, n_classes), or None
    ask : callable
        Asks the model for both, by the name of its method, when they are first wanted: explaining
        is no slower for them. What is pickled or saved has the answers, and never the model.
    residuals : ndarray of shape (n_classes, n_rows) or (n_rows,), or None
        What is missing from expected value + Σ importances to the output of another model that the
        explained one stands for.
    other : ndarray of shape (n_classes, n_rows) or (n_rows,), or None
        The sum of the importances of features that were cut; see
        :func:`service.explanations.top_features.top`.
    n_explained : int or None
        How many features there were before.
    fidelity : mapping or None
        How well a surrogate follows the model that it stands for.
    engineered : explanation or None
        The same rows, with the columns that transformations made as players.
    feature_maps : sequence of matrices of shape (n_columns, n_more_columns), or None
        Which columns were made of which, transformation after transformation.
    raw_features : sequence of str or None
        The names along the first axis of the first feature map.

    Examples
    --------
    >>> context = ExplanationContext(model_task="regression", row_labels=pd.Index(["a", "b"]))
    >>> context.is_raw, list(context.take_rows([1]).row_labels)
    (False, ['b'])
    """

    id: str = field(default_factory=_make_id)
    model_task: str = "unknown"
    model_type: str = ""
    class_labels: Sequence[Any] | None = None
    is_raw: bool = False
    is_engineered: bool = False
    is_one_row: bool = False
    row_labels: pd.Index[Any] | None = None
    eval_data: Any = None
    init_data: Any = None
    true_labels: Any = None
    eval_y_predicted: NDArray[Any] | None = None
    eval_y_predicted_proba: NDArray[Any] | None = None
    ask: Callable[[str], NDArray[Any] | None] = tell_nothing
    residuals: NDArray[np.float64] | None = None
    other: NDArray[np.float64] | None = None
    n_explained: int | None = None
    fidelity: Mapping[str, float] | None = None
    engineered: Any = None
    feature_maps: Sequence[Any] | None = None
    raw_features: Sequence[str] | None = None

    def predicted(self) -> NDArray[Any] | None:
        """Return what the model predicted for the rows, or predicts now; None if nobody knows."""
        return self._answer(self.eval_y_predicted, "predict")

    def predicted_proba(self) -> NDArray[Any] | None:
        """Return the probabilities that the model predicted, or predicts now."""
        return self._answer(self.eval_y_predicted_proba, "predict_proba")

    def _answer(self, known: NDArray[Any] | None, method: str) -> NDArray[Any] | None:
        return self.ask(method) if known is None else known

    def settled(self) -> ExplanationContext:
        """Return the same context with the model's predictions, and without the model."""
        predicted, probabilities = self.predicted(), self.predicted_proba()
        return replace(
            self, ask=tell_nothing, eval_y_predicted=predicted, eval_y_predicted_proba=probabilities
        )

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the predictions in place of the model."""
        return dict(self.settled().__dict__)

    def take_rows(self, rows: Any) -> ExplanationContext:
        """Return the context of some of the rows, with an id of its own.

        Parameters
        ----------
        rows : sequence of int
            Their positions.
        """
        taken = {name: _take(getattr(self, name), rows) for name in OF_ROWS}
        taken["ask"] = partial(_ask_of_rows, self.ask, rows)
        if self.is_one_row:
            taken["eval_data"] = self.eval_data  # which has no axis of rows
        taken["residuals"] = _take_last(self.residuals, rows)
        taken["other"] = _take_last(self.other, rows)
        if self.engineered is not None:
            taken["engineered"] = self.engineered[rows]
        return replace(self, id=_make_id(), **taken)

    def of_raw_columns(self, eval_data: Any) -> ExplanationContext:
        """Return the context of the same rows with raw columns, and an id of its own.

        Parameters
        ----------
        eval_data : table or None
            The raw rows.
        """
        return replace(
            self,
            id=_make_id(),
            is_raw=True,
            is_engineered=False,
            eval_data=eval_data,
            init_data=None,
            feature_maps=None,
            raw_features=None,
        )


# The fields that have a row for each row explained.
OF_ROWS = ("row_labels", "eval_data", "true_labels", "eval_y_predicted", "eval_y_predicted_proba")


def _ask_of_rows(
    ask: Callable[[str], NDArray[Any] | None], rows: Any, method: str
) -> NDArray[Any] | None:
    """Ask the model for all rows, and return the answers for some of them."""
    answers = ask(method)
    return None if answers is None else answers[rows]


def _take_last(values: NDArray[Any] | None, rows: Any) -> NDArray[Any] | None:
    """Take some rows of an array whose last axis has them; nothing of None."""
    return None if values is None else values[..., rows]


def _take(values: Any, rows: Any) -> Any:
    """Take some rows of a table, an array or a list; nothing of None."""
    if values is None or isinstance(values, list | tuple):
        return values and list(map(values.__getitem__, rows))
    if isinstance(values, pd.DataFrame | pd.Series):
        return values.iloc[rows]
    return (values.tocsr() if hasattr(values, "tocsr") else values)[rows]


def label_rows(rows: Any) -> pd.Index[Any] | None:
    """Return what rows are called: a DataFrame's index, a Series' name; None of all others.

    >>> label_rows(pd.Series({"age": 49}, name="r5"))
    Index(['r5'], dtype='str')
    """
    if isinstance(rows, pd.Series) and rows.name is not None:
        return pd.Index([rows.name])
    return rows.index if isinstance(rows, pd.DataFrame) else None


def count_rows(table: Any) -> int:
    """Return the number of rows of a table, an array or a list."""
    return int(table.shape[0]) if hasattr(table, "shape") else len(table)


def require(value: Any, name: str, why: str) -> Any:
    """Return a value that is there.

    Raises
    ------
    AttributeError
        Where it is None, saying why it is absent.
    """
    if value is None:
        raise AttributeError(f"{name}: this explanation has none; {why}.")
    return value


def listed(array: NDArray[Any] | None) -> Any:
    """Return an array as nested lists, None of None."""
    return None if array is None else array.tolist()


class KnowsContext:
    """The accessors of an explanation that come out of its context."""

    context: ExplanationContext

    @property
    def id(self) -> str:
        """By which explanations are told apart."""
        return self.context.id

    @property
    def model_task(self) -> str:
        """What the model is for: "classification", "regression" or "unknown"."""
        return self.context.model_task

    @property
    def model_type(self) -> str:
        """The class of the model; "" where it is not known."""
        return self.context.model_type

    @property
    def is_raw(self) -> bool:
        """Whether the players are the columns before transformations."""
        return self.context.is_raw

    @property
    def is_engineered(self) -> bool:
        """Whether the players are the columns that transformations made."""
        return self.context.is_engineered

    @property
    def row_labels(self) -> list[Any]:
        """What the rows are called, a list also of one row.

        The index of the DataFrame explained, the name of the Series, else 0, 1, ….
        """
        return self._row_index.tolist()

    @property
    def _row_index(self) -> pd.Index[Any]:
        labels = self.context.row_labels
        return pd.RangeIndex(len(self)) if labels is None else labels

    def __len__(self) -> int:
        """Return the number of rows."""
        raise NotImplementedError

    @property
    def eval_data(self) -> Any:
        """The rows that were explained, as they came."""
        return require(self.context.eval_data, "eval_data", "the rows were not kept")

    @property
    def init_data(self) -> Any:
        """The initialization examples, as they came."""
        return require(self.context.init_data, "init_data", "the examples were not kept")

    @property
    def true_labels(self) -> Any:
        """What was to be predicted for the rows."""
        return require(self.context.true_labels, "true_labels", "none were given")

    @property
    def eval_y_predicted(self) -> Any:
        """What the model predicted for the rows; of a row without an axis of rows one value."""
        predicted = require(self.context.predicted(), "eval_y_predicted", NOT_ASKED)
        return self._list_rows(predicted, 0)

    @property
    def predictions(self) -> Any:
        """What the model predicted for the rows, as :attr:`eval_y_predicted`."""
        return self.eval_y_predicted

    @property
    def eval_y_predicted_proba(self) -> list[Any]:
        """The probabilities that the model predicted, ``[row][class]``.

        Of a row that came without an axis of rows ``[class]``.
        """
        predicted = self.context.predicted_proba()
        probabilities = require(predicted, "eval_y_predicted_proba", NOT_ASKED)
        return self._list_rows(probabilities, 0)

    @property
    def residuals(self) -> Any:
        """What is missing from expected value + Σ importances to the teacher's output.

        ``[class][row]``, or ``[class]`` of a row that came without an axis of rows.
        """
        why = "only a surrogate of a teacher's probability leaves residuals"
        residuals = require(self.context.residuals, "residuals", why)
        return self._list_rows(residuals, -1)

    @property
    def other(self) -> Any:
        """The sum of the importances of features that were cut, ``[class][row]``, or ``[row]``.

        Expected value + Σ importances + this is the model's output.
        """
        other = require(self.context.other, "other", "none of its local importances were cut")
        return self._list_rows(other, -1)

    @property
    def n_features(self) -> int:
        """How many features were explained, those included that were cut."""
        return self.context.n_explained or self.num_features

    @property
    def num_features(self) -> int:
        """Number of features that are there."""
        raise NotImplementedError

    def _list_rows(self, of_rows: NDArray[Any], axis: int) -> Any:
        """Write an array, without its axis of rows where a single row came without one."""
        if self.context.is_one_row:
            return np.moveaxis(of_rows, axis, 0).tolist()[0]
        return of_rows.tolist()

    @property
    def fidelity(self) -> dict[str, float]:
        """How well a surrogate follows the model that it stands for."""
        why = "no surrogate stands for the model"
        return dict(require(self.context.fidelity, "fidelity", why))

    @property
    def engineered(self) -> Any:
        """The same rows, with the columns that transformations made as players."""
        why = "ask explain_local for it by engineered=True, of an explainer with transformations"
        return require(self.context.engineered, "engineered", why)


NOT_ASKED = "the rows were not kept, or the model does not predict it"
