"""Metrics by any name: which one is meant, whether more of it is better, and what it is asked with.

Next: :mod:`service.explainers.pfi.asked_models`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import sklearn.metrics
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from service.errors import ModelOutputError, expect

# Takes a model, rows and labels; the more, the better.
Scorer = Callable[..., float]
# By the task of a model.
DEFAULTS = {"classification": "accuracy_score", "regression": "mean_absolute_error"}
# scikit-learn names its functions so; True where less is better.
_ENDINGS = {"_score": False, "_error": True, "_loss": True, "_deviance": True}
_OTHERS = {"matthews_corrcoef": False}
# What it calls their first argument: true labels, or two sides that count alike.
_FIRST = ("y_true", "y1", "labels_true")
# Of a function of one's own, by whether it wants probabilities.
_METHODS = {False: "predict", True: "predict_proba"}
# What the second argument of a metric of scikit-learn's is called, and what it is then given.
_RESPONSES: dict[str, Any] = {
    "y_proba": "predict_proba",
    "y_score": ("predict_proba", "decision_function"),
    "pred_decision": "decision_function",
}


@dataclass(frozen=True)
class MetricRequest:
    """What a user says of the metric.

    Attributes
    ----------
    metric : str, callable or None
    arguments : mapping
        Of the metric.
    is_error : bool
        Whether a callable is an error: less of it is better.
    use_probabilities : bool
        Whether a callable is given probabilities in place of predictions.
    """

    metric: Any
    arguments: Mapping[str, Any]
    is_error: bool
    use_probabilities: bool


@dataclass(frozen=True)
class Metric:
    """A metric that can be asked of a model.

    Attributes
    ----------
    name : str
    scorer : callable
        From a model, rows and labels to a number; the more, the better.
    """

    name: str
    scorer: Scorer

    def __call__(self, model: Any, rows: Any, labels: Any, **weights: Any) -> float:
        """Score a model.

        Raises
        ------
        ValueError
            When the metric cannot be computed, or is no finite number.
        ModelOutputError
            When the model does not take the rows, or answers what it should not.
        """
        try:
            score = float(self.scorer(model, rows, labels, **weights))
        except ModelOutputError:
            raise
        except Exception as error:  # every library has its own
            ask_for_labels(model, rows)
            raise ValueError(
                f"metric: expected one that can be computed of these rows and labels, got "
                f"{self.name}, which says: {error}; choose another, or give it metric_args."
            ) from error
        expect(
            bool(np.isfinite(score)),
            f"metric: expected a finite number from {self.name}, got {score}; choose another "
            "metric, or more rows.",
            ValueError,
        )
        return score


def ask_for_labels(model: Any, rows: Any) -> Any:
    """Ask a model for labels of rows, and refuse rows that the model does not take.

    Raises
    ------
    ModelOutputError
        Saying what the model says.
    """
    try:
        return model.predict(rows)
    except ModelOutputError:
        raise
    except Exception as error:  # every library has its own
        raise ModelOutputError(
            f"model: expected one that takes these rows, got {type(model).__name__}, which says: "
            f"{error}"
        ) from error


@dataclass(frozen=True)
class FunctionScorer:
    """A function of labels and answers as a scorer.

    Attributes
    ----------
    function : callable
    sign : int
        −1 for an error.
    method : str
        What the model is asked by.
    arguments : mapping
    """

    function: Callable[..., Any]
    sign: int
    method: str
    arguments: Mapping[str, Any]

    def __call__(self, model: Any, rows: Any, labels: Any, **weights: Any) -> float:
        """Return how good the model's answers are, the more the better."""
        answers = np.asarray(getattr(model, self.method)(rows))
        if answers.shape == (len(labels), 1):  # or it would meet every label
            answers = answers[:, 0]
        return self.sign * float(self.function(labels, answers, **self.arguments, **weights))


def resolve_metric(request: MetricRequest, task: str, classes: Any = None) -> Metric:
    """Find the metric that is meant.

    Parameters
    ----------
    request : MetricRequest
        A name of a function of ``sklearn.metrics`` or of a scorer, such a function, a scorer, or
        any function of labels and answers; None for the default of the task.
    task : {"classification", "regression"}
    classes : array-like, optional
        What the model predicts; given to metrics of probabilities that ask for all labels.

    Returns
    -------
    Metric

    Raises
    ------
    ValueError
        When there is no such metric, or it is said to be an error and is none, or the other way
        round.
    """
    metric = DEFAULTS[task] if request.metric is None else request.metric
    if isinstance(metric, str):
        return _by_name(metric, request, classes)
    if not callable(metric):
        raise ValueError(
            "metric: expected the name of a metric, a scorer, or a function of true labels and "
            f"predictions, got {type(metric).__name__}."
        )
    if _is_scorer(metric):
        _refuse_for_scorer(str(metric), request)
        _check_sign(metric)
        return Metric(str(metric), metric)
    return _of_function(metric, request, classes)


def _by_name(name: str, request: MetricRequest, classes: Any) -> Metric:
    function = getattr(sklearn.metrics, name, None)
    if inspect.isfunction(function) and _direction(function) is not None:
        if request.is_error:
            _check_direction(function, is_error=True)
        return _known(function, request, classes)
    if name in get_scorer_names():
        _refuse_for_scorer(name, request)
        return Metric(name, get_scorer(name))
    raise ValueError(
        "metric: expected the name of a scorer or of a function of sklearn.metrics that returns "
        f"one number, got {name!r}{_suggest(name)}."
    )


def _suggest(name: str) -> str:
    known = [*get_scorer_names(), *filter(_is_known_name, dir(sklearn.metrics))]
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _is_known_name(name: str) -> bool:
    function = getattr(sklearn.metrics, name)
    return inspect.isfunction(function) and _direction(function) is not None


def _is_scorer(metric: Callable[..., Any]) -> bool:
    """Tell whether a callable takes a model first, and no labels."""
    if hasattr(metric, "_score_func"):
        return True
    return next(iter(_parameters(metric)), "") in ("estimator", "model")


def _refuse_for_scorer(name: str, request: MetricRequest) -> None:
    """Refuse what only a function takes: of a scorer, more is always better."""
    given = {"is_error_metric": request.is_error, "metric_args": request.arguments}
    for option, value in given.items():
        if value:
            raise ValueError(
                f"{option}: expected with a metric function only, got {value!r} with the scorer "
                f"{name}, of which more is always better; name the function instead."
            )


def _check_sign(scorer: Any) -> None:
    """Refuse a scorer of scikit-learn's errors of which less would be better, or of scores."""
    function, sign = getattr(scorer, "_score_func", None), getattr(scorer, "_sign", 1)
    is_error = _direction(function)
    expect(
        is_error in (None, sign < 0),
        f"metric: expected a scorer of which more is better, got {scorer}; make it with "
        f"greater_is_better={not is_error}, or the ranking would be reversed.",
        ValueError,
    )


def _of_function(function: Callable[..., Any], request: MetricRequest, classes: Any) -> Metric:
    """Take a function: scikit-learn's own is known, of another the user says what it is."""
    plain = getattr(function, "func", function)  # behind functools.partial
    if _direction(plain) is not None:
        _check_direction(plain, request.is_error)
        bound = getattr(function, "keywords", {})
        return _known(plain, replace(request, arguments={**bound, **request.arguments}), classes)
    method = _METHODS[request.use_probabilities]
    name = getattr(plain, "__name__", type(plain).__name__)
    sign = 1 - 2 * request.is_error
    return Metric(name, FunctionScorer(function, sign, method, dict(request.arguments)))


def _direction(function: Any) -> bool | None:
    """Tell whether a function of sklearn.metrics is an error, None where that is not known."""
    if not getattr(function, "__module__", "").startswith("sklearn.metrics"):
        return None
    name = getattr(function, "__name__", "")
    if next(iter(_parameters(function)), "") not in _FIRST:
        return None
    for ending, is_error in {**_ENDINGS, **_OTHERS}.items():
        if name.endswith(ending):
            return is_error
    return None


def _check_direction(function: Callable[..., Any], is_error: bool) -> None:
    known = _direction(function)
    if known is not is_error:
        kind = "an error, of which less is better" if known else "a score, of which more is better"
        raise ValueError(
            f"is_error_metric: expected {known} for {function.__name__}, which is {kind}, got "
            f"{is_error}; the ranking would be reversed."
        )


def _known(function: Callable[..., Any], request: MetricRequest, classes: Any) -> Metric:
    """Take a function of scikit-learn's, with what it wants to be given."""
    parameters = _parameters(function)
    response = _RESPONSES.get(parameters[1], "predict")
    arguments = dict(request.arguments)
    _check_arguments(function, arguments, parameters)
    if response != "predict" and "labels" in parameters and classes is not None:
        arguments.setdefault("labels", np.asarray(classes))
    scorer = make_scorer(
        function,
        response_method=response,
        greater_is_better=not _direction(function),
        **arguments,
    )
    return Metric(function.__name__, scorer)


def _check_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], parameters: list[str]
) -> None:
    unknown = sorted(set(arguments) - set(parameters[2:]))
    expect(
        not unknown,
        f"metric_args: expected arguments of {function.__name__}, {', '.join(parameters[2:])}, got "
        f"{', '.join(unknown)}.",
        ValueError,
    )


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some builtins have none
        return []
