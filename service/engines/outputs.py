"""Which output of a model is explained: a function from rows to numbers, its scale and classes.

| model                        | output "auto" stands for                                        |
|------------------------------|-----------------------------------------------------------------|
| regressor                    | "prediction": ``predict``                                       |
| linear or boosted classifier | "margin": ``decision_function``, where the model is a plain sum |
| any other classifier         | "probability": ``predict_proba``; "margin" where it has none    |
| LightGBM, XGBoost classifier | "margin": ``predict`` with the option that asks for it          |
| outlier detector             | "margin": ``decision_function``, one number; low is an outlier  |
| classifier with neither      | "prediction": the share of the votes for each class where it is |
|                              | a hard vote, else 1 for the class that is predicted             |
| plain function               | "prediction": whatever it returns; several columns are classes, |
|                              | and of a classification one is the probability of the second    |

A binary margin is given for both classes, −m and m, so that every classifier has one output per
class. Margins of pairs of classes are turned into one per class, and the probabilities of several
targets stand one after another (:mod:`service.structures.answer_forms`). Next:
:mod:`service.engines.options`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import sparray, spmatrix
from sklearn.base import is_classifier, is_outlier_detector, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from service.engines.options import check_choice
from service.errors import ModelOutputError
from service.rows.columns import Column
from service.rows.schema import Schema
from service.shapley.background import spread_out
from service.structures.answer_forms import (
    Form,
    Indicators,
    SecondOfTwo,
    are_shares,
    find_form,
    find_votes,
    labels_of_targets,
    name_classes,
)
from service.structures.encoders import model_itself
from service.structures.reading import margin_option, predict_margin, prefers_margin

OUTPUTS = ("probability", "margin", "prediction")
TASKS = ("classification", "regression")
N_COMPARED_ROWS = 64
N_ASKED_ALONE = 4
SAME = 1e-6  # of the spread of the outputs
# What sums of many numbers lose, in units of the precision; and of thousands of them in double.
ROUNDING = 64
LEAST_ROUNDING = 1e-12
EPSILON = float(np.finfo(np.float64).eps)
NARROW_EPSILONS = {
    "float16": float(np.finfo(np.float16).eps),
    "halffloat[pyarrow]": float(np.finfo(np.float16).eps),
    "float32": float(np.finfo(np.float32).eps),
    "float[pyarrow]": float(np.finfo(np.float32).eps),
}
# Of the spread of the outputs, in units of the precision of narrow columns: scalers cancel digits.
NARROW_ROUNDING = 1_000
MOST_NARROW = 0.1
# Who names the classes of a function says what it is for.
_TASKS_OF_NAMED = {("unknown", True): "classification"}
_METHODS = {"probability": "predict_proba", "margin": "decision_function", "prediction": "predict"}


@dataclass(frozen=True)
class ModelName:
    """What is kept of a model that is not asked any more.

    Attributes
    ----------
    name : str
        What messages call it.
    type_name : str
    labels_of_targets : tuple of list
        What a classifier predicts for the classes of each target; empty where it does not say.
    """

    name: str
    type_name: str
    labels_of_targets: tuple[list[Any], ...] = ()


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
    form : callable or None
        What makes one number per row and output of an answer that is something else.
    method : str
        The method that is asked; by default that of the scale.
    epsilon : float
        The precision in which the model answers.
    """

    model: Any
    scale: str
    task: str
    schema: Schema
    form: Form | None = None
    method: str = ""
    epsilon: float = EPSILON

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
        return np.asarray(self.schema.answers(matrix, self.outputs_of))

    def ask(self, schema: Schema, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Evaluate the model on rows of another schema of the same columns."""
        return replace(self, schema=schema)(matrix)

    def outputs_of(self, rows: Any) -> NDArray[np.float64]:
        """Evaluate the model on rows as it takes them, shape (n_rows, n_outputs)."""
        outputs = self._checked(self._formed(self._ask(rows)), rows.shape[0])
        if (self.task, self.scale, outputs.shape[1]) == ("classification", "margin", 1):
            return np.hstack([-outputs, outputs])
        return outputs

    def _formed(self, answer: Any) -> Any:
        """Make one number per row and output of an answer that is something else."""
        return answer if self.form is None else self.form(answer)

    def settled(self, matrix: NDArray[Any]) -> ModelOutput:
        """Return the same output with its form and precision, which a few rows tell.

        Parameters
        ----------
        matrix : ndarray of shape (n_rows, n_features)
        """
        rows = self.schema.model_rows(spread_out(matrix, N_COMPARED_ROWS))
        answer = self._ask(rows)
        epsilon = NARROW_EPSILONS.get(str(getattr(answer, "dtype", "")), EPSILON)
        told = replace(self, epsilon=epsilon)
        if self.task != "classification" or self.form is not None:
            return told
        votes = find_votes(self.model)
        if votes is not None:
            return replace(told, form=votes, method="transform")
        return replace(told, form=find_form(self.model, self.scale, rows, answer))

    def tolerance(
        self, outputs: NDArray[np.float64], share: float, rounding: float = 0.0
    ) -> NDArray[np.float64]:
        """Return how far numbers may be from the model's own to count as the same.

        Classes have one scale, targets have each their own.

        Parameters
        ----------
        outputs : ndarray of shape (n_rows, n_outputs)
            What the model answers.
        share : float
            Of the spread of the outputs.
        rounding : float
            Of the largest output, where it is more than the precision of the answers.

        Returns
        -------
        ndarray of shape (n_outputs,)
        """
        spread, largest = np.ptp(outputs, axis=0), np.abs(outputs).max(axis=0)
        if self.task == "classification":
            spread[:], largest[:] = spread.max(), largest.max()
        return share * spread + max(rounding, ROUNDING * self.epsilon, LEAST_ROUNDING) * largest

    @property
    def narrow_share(self) -> float:
        """What the narrowest type of the columns loses, of the spread of the outputs; or 0."""
        epsilons = map(_epsilon_of_column, self.schema.columns)
        return min(MOST_NARROW, NARROW_ROUNDING * max(epsilons))

    def in_double_precision(self) -> ModelOutput:
        """Return the same output of rows whose narrow columns are as wide as double precision."""
        schema = replace(self.schema, columns=tuple(map(_widened, self.schema.columns)))
        return replace(self, schema=schema, epsilon=EPSILON)

    def _checked(self, answer: Any, n_rows: int) -> NDArray[np.float64]:
        """Refuse an answer that cannot be explained, and give it a column for each output."""
        outputs = _as_numbers(self.name, answer)
        if outputs.ndim == 1:
            outputs = outputs[:, None]
        if outputs.ndim != 2 or len(outputs) != n_rows or outputs.shape[1] == 0:
            raise ModelOutputError(
                f"{self.name}: expected shape ({n_rows}, n_outputs), got {outputs.shape}."
            )
        if not np.isfinite(outputs).all():
            raise ModelOutputError(
                f"{self.name}: expected finite numbers, got NaN or infinity; it cannot be "
                "explained."
            )
        return outputs

    @property
    def name(self) -> str:
        """The model and method in words, for messages."""
        return self._model_name.name

    @property
    def type_name(self) -> str:
        """The model's type with its module."""
        return self._model_name.type_name

    def labels(self, n_outputs: int) -> list[Any] | None:
        """Return what a classifier predicts for each of its outputs.

        None where the model does not say, or says something else: it may have seen a single class,
        or give several labels at once.
        """
        of_targets = self._model_name.labels_of_targets
        if len(of_targets) != 1 or len(of_targets[0]) != n_outputs:
            return None
        return list(of_targets[0])

    def output_names(self, n_outputs: int) -> list[Any]:
        """Name the outputs of a classifier: its labels, those of each target, or 0, 1, …."""
        names = self.labels(n_outputs) or name_classes(self._model_name.labels_of_targets)
        if len(names) != n_outputs:
            return list(range(n_outputs))
        return names

    @property
    def read_scale(self) -> str:
        """The scale on which the model itself answers: a surrogate predicts whatever it is."""
        return "prediction" if self.method == "predict" else self.scale

    def without_model(self) -> ModelOutput:
        """Return the same output by name only."""
        return replace(self, model=self._model_name)

    @property
    def _model_name(self) -> ModelName:
        model = self.model
        if isinstance(model, ModelName):
            return model
        kind = type(model_itself(model))
        if self._is_function:
            name = getattr(model_itself(model), "__qualname__", kind.__name__)
        else:
            asked = self.method or _method_name(model, self.scale)
            name = f"{kind.__name__}.{asked}"
        type_name = f"{kind.__module__}.{kind.__qualname__}"
        labels = labels_of_targets(model)
        if isinstance(self.form, Indicators):
            labels = self.form.labels
        return ModelName(name, type_name, tuple(map(plain_values, labels)))

    def can_ask(self, model: Any) -> bool:
        """Tell whether another model has the method that is asked."""
        if self.method:
            return hasattr(model, self.method)
        return _has_output(model, self.scale)

    @property
    def _is_function(self) -> bool:
        return not _is_estimator(self.model)

    @property
    def _ask(self) -> Callable[[Any], Any]:
        if self._is_function:
            return self.model
        if self.method:
            return getattr(self.model, self.method)
        option = _margin_option(self.model, self.scale)
        if option is not None:
            return partial(predict_margin, self.model, option=option)
        return getattr(self.model, _METHODS[self.scale])


def _as_numbers(name: str, answer: Any) -> NDArray[np.float64]:
    """Turn an answer into numbers, where it has no more to it than these."""
    given = np.asanyarray(answer)
    is_plain = given.dtype.kind in "biufO" and not np.ma.isMaskedArray(given)
    try:
        if is_plain:
            return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    raise ModelOutputError(
        f"{name}: expected an array of real numbers, got {type(answer).__name__} of "
        f"{given.dtype.name}."
    )


def _epsilon_of_column(column: Column) -> float:
    """Return the precision of a column of a narrow type, 0 of all others."""
    return NARROW_EPSILONS.get(column.dtype.lower(), 0.0)


def _widened(column: Column) -> Column:
    """Return a column in double precision where it is of a narrow type."""
    if _epsilon_of_column(column) == 0.0:
        return column
    return replace(column, pandas_dtype=np.dtype(np.float64))


def choose_output(
    model: Any,
    schema: Schema,
    probe: NDArray[Any],
    *,
    output: str,
    task: str,
    has_names: bool = False,
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
    has_names : bool
        Whether the user has named the classes: a model that does not say what it is for is a
        classifier then.

    Raises
    ------
    TypeError, ValueError
        When the model is no model, or has no such output.
    """
    output = check_choice("output", output, ("auto", *OUTPUTS))
    task = check_choice("model_task", task, ("unknown", *TASKS))
    if not _is_estimator(model):
        task = _TASKS_OF_NAMED.get((task, has_names), task)
        return _choose_function_output(model, schema, probe, output, task)
    _check_fitted(model)
    if task == "unknown":
        task = task_of(model)
        tells_little = not hasattr(model, "__sklearn_tags__") and task == "regression"
        # A booster's objective says what it answers, so its shares are predictions like others.
        has_objective = _has_output(model, "margin")
        if tells_little and (
            has_names or (not has_objective and _answers_shares(model, schema, probe))
        ):
            task = "classification"
    return _choose_estimator_output(model, schema, output, task).settled(probe)


def _is_estimator(model: Any) -> bool:
    return hasattr(model, "predict") or hasattr(model, "predict_proba")


def choose_checked_output(
    model: Any,
    schema: Schema,
    given: Any,
    matrix: NDArray[Any],
    *,
    output: str,
    task: str,
    has_names: bool,
) -> tuple[ModelOutput, NDArray[np.float64], NDArray[np.float64] | None]:
    """Decide which output is explained, and check that it is one of rows as they are read.

    Parameters
    ----------
    model, schema, output, task, has_names
        As in :func:`choose_output`.
    given : DataFrame, array or sparse matrix of shape (n_examples, n_features)
        The examples in the form in which they came.
    matrix : ndarray of shape (n_examples, n_features)
        As the schema reads them.

    Returns
    -------
    function : ModelOutput
    answers : ndarray of shape (n, n_outputs)
        What the model answers for up to 64 of them, spread out.
    example_output : ndarray of shape (1, n_outputs), or None
        What it answers for the first in the form in which it came; None where that is not the
        model's own form.

    Raises
    ------
    TypeError, ValueError
        As :func:`choose_output`, :func:`check_examples` and :func:`check_rows_alone` do.
    """
    function = choose_output(model, schema, matrix, output=output, task=task, has_names=has_names)
    answers = function(spread_out(matrix, N_COMPARED_ROWS))
    _warn_of_scores(function, answers)
    check_examples(function, given, matrix, answers)
    check_rows_alone(function, matrix, answers)
    return function, answers, _ask_as_given(function, given, [0])


def _warn_of_scores(function: ModelOutput, answers: NDArray[np.float64]) -> None:
    """Warn where a model answers something else as probabilities.

    LightGBM answers raw scores, where it was fitted with an objective of the user's own.
    """
    off = np.abs(answers - answers.clip(0.0, 1.0)).max()
    if (function.scale, off > SAME) == ("probability", True):
        warnings.warn(
            f"{function.name} answers numbers from {answers.min():.3g} to {answers.max():.3g}, "
            "which are no probabilities; these numbers are explained, whatever they are.",
            UserWarning,
            stacklevel=2,
        )


def check_examples(
    function: ModelOutput, examples: Any, matrix: NDArray[Any], answers: NDArray[np.float64]
) -> None:
    """Hold the model's answer for examples as they came against that for the rows read from them.

    What a row is read into must be the same row to the model; a mark or a type that is lost on the
    way would go unnoticed and be explained as another row.

    Parameters
    ----------
    function : ModelOutput
    examples : DataFrame or array of shape (n_examples, n_features)
    matrix : ndarray of shape (n_examples, n_features)
        As the schema reads the examples.
    answers : ndarray of shape (n, n_outputs)
        What the model answers for up to 64 of them, spread out.

    Raises
    ------
    ValueError
        When an answer differs by more than a millionth of the spread of all answers.
    """
    few = spread_out(np.arange(len(matrix)), N_COMPARED_ROWS)
    expected = _ask_as_given(function, examples, few)
    if expected is None or answers.shape != expected.shape:
        return
    difference = np.abs(answers - expected)
    if (difference > function.tolerance(expected, SAME)).any():
        row = int(few[difference.max(axis=1).argmax()])
        raise ValueError(
            f"initialization_examples: expected {function.name} to answer row {row} alike as it "
            f"came and as it is read from JSON, but the answers differ by {difference.max():.2g}; "
            "a column holds values that JSON has no word for, or the model answers at random."
        )


def _ask_as_given(
    function: ModelOutput, examples: Any, positions: Sequence[int] | NDArray[np.intp]
) -> NDArray[np.float64] | None:
    """Ask the model for some examples as they came, where that is the model's own form."""
    forms: Any = (pd.DataFrame,) if function.schema.as_frame else (np.ndarray, sparray, spmatrix)
    if not isinstance(examples, forms):
        return None
    try:
        return function.outputs_of(getattr(examples, "iloc", examples)[positions])
    except Exception:  # a model that does not take them so cannot be compared
        return None


def check_rows_alone(
    function: ModelOutput, matrix: NDArray[Any], together: NDArray[np.float64]
) -> None:
    """Hold the model's answer for a row among others against that for the row alone.

    What is explained are answers to mixtures of rows, asked for in large calls. A model that ranks
    or centres the rows of a call answers something else in each.

    Parameters
    ----------
    function : ModelOutput
    matrix : ndarray of shape (n_examples, n_features)
    together : ndarray of shape (n, n_outputs)
        What it answers for up to 64 of them, spread out, in one call.

    Raises
    ------
    ValueError
        When an answer differs by more than a millionth of the spread of all answers.
    """
    rows = spread_out(matrix, N_COMPARED_ROWS)
    alone = spread_out(np.arange(len(rows)), N_ASKED_ALONE)
    singly = np.concatenate([function(rows[i : i + 1]) for i in alone])
    allowed = function.tolerance(together, max(SAME, function.narrow_share))
    off = np.abs(singly - together[alone])
    if (off > allowed).any():
        raise ValueError(
            f"model: expected {function.name} to answer a row alike alone and among others, but "
            f"the answers differ by {off.max():.2g}: it looks at the other rows of a call (ranks, "
            "centres or counts them), or answers at random."
        )


def _choose_estimator_output(model: Any, schema: Schema, output: str, task: str) -> ModelOutput:
    """Take the output that was asked for, or the first that the model has."""
    known = _scales(model, task)
    for scale in known:
        if output in ("auto", scale) and _has_output(model, scale):
            return ModelOutput(model, scale, task, schema)
    raise ValueError(_refusal(model, output, task, known))


def _refusal(model: Any, output: str, task: str, known: Sequence[str]) -> str:
    methods = " or ".join(_method_name(model, scale) for scale in known)
    choices = ""
    if output != "auto":
        available = [scale for scale in known if _has_output(model, scale)]
        choices = f" and output one of {available}"
    return (
        f"{type(model_itself(model)).__name__}: expected a {task} model with {methods}{choices}, "
        f"got output={output!r}."
    )


def task_of(model: Any) -> str:
    """Tell what a model with ``predict`` is for, "classification" or "regression".

    An outlier detector counts as a regression. What says that it is a regressor is one, whatever
    else it has: CatBoost's have classes too, none.
    """
    if _is_known_as(is_regressor, model):
        return "regression"
    knows_classes = hasattr(model, "predict_proba") or hasattr(model, "classes_")
    if knows_classes or _is_known_as(is_classifier, model):
        return "classification"
    return "regression"


def _answers_shares(model: Any, schema: Schema, probe: NDArray[Any]) -> bool:
    """Tell whether each answer is several shares of 1, as of a network that ends in a softmax."""
    answer = ModelOutput(model, "prediction", "regression", schema)(probe[:N_COMPARED_ROWS])
    sums = answer.sum(axis=1)
    return answer.shape[1] > 1 and bool(np.all(answer >= 0) and np.all(np.abs(sums - 1) < 1e-5))


def _scales(model: Any, task: str) -> Sequence[str]:
    """List the outputs that a task knows, the default first."""
    if task == "classification":
        known = ("margin", "probability") if prefers_margin(model) else ("probability", "margin")
        has_one = any(_has_output(model, scale) for scale in known)
        if not has_one:
            return ("prediction",)
        return known
    if _is_known_as(is_outlier_detector, model):
        return ("margin", "prediction")
    return ("prediction",)


def _has_output(model: Any, scale: str) -> bool:
    return _margin_option(model, scale) is not None or hasattr(model, _METHODS[scale])


def _method_name(model: Any, scale: str) -> str:
    """Name the method that answers on a scale."""
    option = _margin_option(model, scale)
    return _METHODS[scale] if option is None else f"predict({option}=True)"


def _margin_option(model: Any, scale: str) -> str | None:
    """Return the option of ``predict`` that asks for the scale, None where a method answers."""
    return margin_option(model) if scale == "margin" else None


def _is_known_as(kind: Callable[[Any], bool], model: Any) -> bool:
    """Ask scikit-learn about a model.

    It fails on models that it does not know: they are nothing to it.
    """
    return hasattr(model, "__sklearn_tags__") and kind(model)


def _check_fitted(model: Any) -> None:
    """Refuse an unfitted model of scikit-learn's own; of other models nothing is known."""
    last = model_itself(model)
    while isinstance(last, Pipeline):  # it is fitted when its last step is
        last = last.steps[-1][1]
    if not type(last).__module__.startswith("sklearn."):
        return
    try:
        check_is_fitted(last)
    except NotFittedError:
        raise ValueError(
            f"model: expected a fitted {type(model_itself(model)).__name__}; call its fit(X, y) "
            "first."
        ) from None


def plain_values(values: Iterable[Any]) -> list[Any]:
    """Return a list without numpy scalars, which JSON does not know."""
    return list(map(_plain_value, values))


def _plain_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _choose_function_output(
    model: Any, schema: Schema, probe: NDArray[Any], output: str, task: str
) -> ModelOutput:
    if not callable(model_itself(model)):
        keeps_none = getattr(model_itself(model), "refit", None) is False
        cure = "; with refit=False it keeps no model, so fit it with refit=True" * keeps_none
        raise TypeError(
            "model: expected an estimator with predict, or a function of rows, got "
            f"{type(model_itself(model)).__name__}{cure}."
        )
    if output not in ("auto", "prediction"):
        raise ValueError(f"output: a plain function has only its own 'prediction', got {output!r}.")
    answers = ModelOutput(model, "prediction", "regression", schema)(probe[:N_COMPARED_ROWS])
    n_outputs = answers.shape[1]
    if task == "unknown":
        task = "classification" if n_outputs > 1 else "regression"
    form = None
    if (task, n_outputs) == ("classification", 1):
        _check_is_probability(answers)
        form = SecondOfTwo()
    return ModelOutput(model, "prediction", task, schema, form=form).settled(probe)


def _check_is_probability(answers: NDArray[np.float64]) -> None:
    """Refuse a single column that is no probability of the second of two classes."""
    if not are_shares(answers):
        raise ValueError(
            "model: expected a classification function to return one column per class, or the "
            f"probability of the second of two, got one column with numbers from "
            f"{answers.min():.3g} to {answers.max():.3g}."
        )
