"""Wrappers: models that make their answer of the answers of fitted models inside.

| wrapper                    | what it makes of the models inside                                  |
|----------------------------|---------------------------------------------------------------------|
| CalibratedClassifierCV     | calibrated probabilities of the margin, or of the probabilities of  |
|                            | what has none; their mean over the folds                            |
| BaggingRegressor           | a mean, of models that may see some of the columns each             |
| BaggingClassifier          | the same of probabilities                                           |
| RegressorChain             | linear models, each of the columns and the predictions before it    |
| TransformedTargetRegressor | its predictions scaled back, by a transformer or a function         |

The models inside a chain must be linear; those of calibration and bagging may be of any kinds, each
behind preprocessing of its own. Votes, stacks, AdaBoost, and one model for each class or target are
read in :mod:`service.structures.combined`, and are in the table of readers here too. A pipeline
that stands alone inside a calibration or under a scaled target is taken apart, so that its
preprocessing comes first (:func:`open_wrapper`). Models that hand everything on are in
:mod:`service.structures.searches`. Next:
:mod:`service.structures.reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any, Protocol, TypeGuard

import numpy as np

from service.shapley.games import Link
from service.structures.class_names import sklearn_name
from service.structures.combined.boosted_votes import read_median, read_votes
from service.structures.combined.parts import Part, added_up, behind, read_parts, stacked
from service.structures.combined.side_by_side import (
    count_margins,
    read_one_versus_rest,
    read_several_targets,
)
from service.structures.combined.stacking import (
    mean_of,
    read_stacking,
    read_voting,
    weighted_sum,
)
from service.structures.encoders import AFFINE, Encoder, split_model
from service.structures.family import Family, Read
from service.structures.linear import LinearStructure, exponential_of, is_linear
from service.structures.links import (
    Calibrated,
    Elementwise,
    Sigmoid,
    Temperature,
    WeightedSum,
    averaged,
    chained,
    second_of_two,
)
from service.structures.searches import look_through
from service.structures.structure import Combinable, Structure, join, n_columns_of
from service.structures.trees import TreeStructure


class WrapperReader(Protocol):
    """What reads a wrapper, with what reads the models inside."""

    def __call__(self, estimator: Any, scale: str, read: Read) -> Structure | None:
        """Return the structure of an output, None where it has none that is known."""


# What is added to the exponential in functions that scale a logarithm back; by identity, since not
# every function can be a key.
_EXPONENTIALS = {id(np.exp): 0.0, id(np.expm1): -1.0}
# Transformers of a target whose inverses are affine.
# A FunctionTransformer without an inverse function leaves targets as they are.
AFFINE_TRANSFORMERS = ("FunctionTransformer", *AFFINE)


def read_calibrated(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Put the calibration behind the margins of the classifiers inside, of one or one a fold."""
    fitted = estimator.calibrated_classifiers_
    if scale != "probability" or not all(map(_has_calibrator_for_each, fitted)):
        return None
    classifiers = [calibrated.estimator for calibrated in fitted]
    parts = _read_each(classifiers, _calibrated_scale(classifiers[0]), read)
    calibrations = list(map(_read_calibration, fitted))
    margins = join(parts)
    if margins is None:
        return _mean_of_folds(estimator, calibrations, read)
    links = []
    for part, calibration in zip(parts, calibrations, strict=True):
        links.append(chained(part.link, calibration))
    return replace(margins, link=averaged(links))


def _mean_of_folds(estimator: Any, calibrations: Sequence[Link], read: Read) -> Structure | None:
    """Average calibrated models of different kinds, or with preprocessing of their own."""
    models = [calibrated.estimator for calibrated in estimator.calibrated_classifiers_]
    scales = list(map(_calibrated_scale, models))
    parts = []
    for part, calibration in zip(
        read_parts(estimator, models, scales, read), calibrations, strict=False
    ):
        parts.append(part.behind(calibration))
    if not parts:
        return None
    return stacked(parts, WeightedSum(np.full(len(parts), 1 / len(parts))))


def _calibrated_scale(classifier: Any) -> str:
    """Name the output that is calibrated: the margin, or the probabilities of what has none."""
    return "margin" if hasattr(classifier, "decision_function") else "probability"


def _has_calibrator_for_each(calibrated: Any) -> bool:
    """Tell whether each class (or the second of two) has a calibrator."""
    if calibrated.method not in ("sigmoid", "isotonic", "temperature"):
        return False
    return len(calibrated.estimator.classes_) == len(calibrated.classes)


def _read_calibration(calibrated: Any) -> Link:
    """Read what calibrates margins, or probabilities: of two classes only those of the second."""
    if calibrated.method == "temperature":
        (fitted,) = calibrated.calibrators
        scale = _calibrated_scale(calibrated.estimator)
        return Temperature(float(fitted.beta_), of_probabilities=scale == "probability")
    calibration = Calibrated(tuple(map(_read_calibrator, calibrated.calibrators)))
    asked = _calibrated_scale(calibrated.estimator), len(calibrated.classes)
    return chained({("probability", 2): second_of_two}.get(asked), calibration)


def _read_calibrator(fitted: Any) -> Any:
    """Read a sigmoid; an isotonic calibration is taken as it is."""
    if not hasattr(fitted, "a_"):
        return fitted
    return Sigmoid(fitted.a_, fitted.b_)


def _read_each(models: Sequence[Any], scale: str, read: Read) -> list[Structure]:
    """Read the models inside; none of them when there is one that cannot be read."""
    parts = []
    for model in models:
        part = read(model, scale)
        if part is None:
            return []
        parts.append(part)
    return parts


def read_bagging(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Average what the models of bagging predict, regressors or classifiers.

    They may see some of the columns each, but only trees one of them twice, and with preprocessing
    of their own all of them.
    """
    chosen, n_columns = estimator.estimators_features_, n_columns_of(estimator)
    shares = np.full(len(chosen), 1 / len(chosen))
    found: list[Any] = list(map(read, estimator.estimators_, repeat(scale)))
    if not all(map(_can_be_spread, found, chosen)):
        sees_all = np.array_equal(chosen, [range(n_columns)] * len(chosen))
        models = estimator.estimators_
        return weighted_sum(estimator, models, shares, read, scale) if sees_all else None
    parts = []
    for part, model, columns in zip(found, estimator.estimators_, chosen, strict=True):
        parts.append(_among_all_classes(part.spread(columns, n_columns), model, estimator))
    joined = mean_of(parts, shares)
    if joined is not None:
        return joined
    return added_up(list(map(Part.bare, parts, repeat(n_columns))), shares, n_columns)


def _among_all_classes(part: Structure, model: Any, estimator: Any) -> Structure:
    """Place the probabilities of the classes that a bagged model saw among those of all."""
    seen = np.asarray(getattr(model, "classes_", ()))  # their numbers, as bagging gives them
    if not isinstance(part, TreeStructure) or len(part.offset) != len(seen):
        return part
    return part.placed(np.eye(estimator.n_classes_)[seen.astype(np.intp)])


def _can_be_spread(part: Structure | None, columns: Sequence[int]) -> bool:
    """Tell whether a model of some columns can be written as one of all."""
    is_clear = all([isinstance(part, Combinable), not _has_duplicates(columns)])
    return any([isinstance(part, TreeStructure), is_clear])


def _has_duplicates(columns: Sequence[int]) -> bool:
    return len(np.unique(columns)) < len(columns)


def read_chain(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Put the linear models of a RegressorChain into each other.

    Each sees the columns and then the predictions of those before it.
    """
    parts: list[Any] = _read_each(estimator.estimators_, scale, read)
    if set(map(is_linear, parts)) != {True}:  # none of them, where one cannot be read
        return None
    n_columns = n_columns_of(estimator)
    coefficients, intercepts = np.zeros((0, n_columns)), np.zeros(0)
    for part in parts:
        own, of_others = part.coefficients[:, :n_columns], part.coefficients[:, n_columns:]
        coefficients = np.vstack([coefficients, own + of_others @ coefficients])
        intercepts = np.append(intercepts, part.intercepts + of_others @ intercepts)
    order = np.argsort(estimator.order_)
    return LinearStructure(intercepts[order], coefficients[order])


def read_transformed_target(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Scale the predictions back, by an affine transformer or by a function of each."""
    part = read(estimator.regressor_, scale)
    transformer = look_through(estimator.transformer_)
    if part is None or not sklearn_name(transformer):
        return None
    if _has_inverse_function(transformer):
        return _behind_function(part, transformer)
    if type(transformer).__name__ in AFFINE_TRANSFORMERS and _can_be_mapped(part):
        return _scaled_back(part, transformer)
    return behind(part, Elementwise(transformer.inverse_transform, {}))


def _can_be_mapped(part: Structure) -> TypeGuard[Combinable | TreeStructure]:
    return isinstance(part, (Combinable, TreeStructure)) and part.link is None


def _scaled_back(part: Combinable | TreeStructure, transformer: Any) -> Structure:
    """Undo an affine transformer, which has a factor and a shift for each margin."""
    ends = np.repeat([[0.0], [1.0]], count_margins(part), axis=1)
    shift, at_one = transformer.inverse_transform(ends)
    return part.mapped(np.diag(at_one - shift), shift)


def _has_inverse_function(transformer: Any) -> bool:
    return getattr(transformer, "inverse_func", None) is not None


def _behind_function(part: Structure, transformer: Any) -> Structure:
    """Put a function behind predictions; the exponential of a linear one has a closed form."""
    plus = _EXPONENTIALS.get(id(transformer.inverse_func))
    if plus is not None and _has_one_linear_margin(part):
        return exponential_of(part, plus)
    return behind(part, Elementwise(transformer.inverse_func, dict(transformer.inv_kw_args or {})))


def _has_one_linear_margin(part: Structure) -> TypeGuard[LinearStructure]:
    return is_linear(part) and len(part.intercepts) == 1


def open_wrapper(wrapper: Any, names: Sequence[str]) -> tuple[Encoder, Any] | None:
    """Take the preprocessing of a single pipeline out of its wrapper.

    Parameters
    ----------
    wrapper : object
        Any estimator.
    names : sequence of str
        The columns that it is given.

    Returns
    -------
    (Encoder, object) or None
        The pipeline's preprocessing, and the wrapper around its last step alone, as a copy. None
        when the estimator is no such wrapper, or holds no preprocessing that can be looked through.
    """
    parts = _SINGLE_MODELS.get(sklearn_name(wrapper))
    if parts is None:
        return None
    get_model, put_model = parts
    split = split_model(get_model(wrapper), len(names), names)
    if split is None:
        return None
    preprocessing, last = split
    if not preprocessing.steps:
        return None
    return preprocessing, put_model(wrapper, last)


def _get_regressor(wrapper: Any) -> Any:
    return wrapper.regressor_


def _put_regressor(wrapper: Any, regressor: Any) -> Any:
    """Return a copy of a TransformedTargetRegressor with another regressor."""
    other = copy(wrapper)
    other.regressor_ = regressor
    return other


def _get_classifier(wrapper: Any) -> Any | None:
    """Return the only classifier of a calibration, None where there is one for each fold."""
    if len(wrapper.calibrated_classifiers_) > 1:
        return None
    return wrapper.calibrated_classifiers_[0].estimator


def _put_classifier(wrapper: Any, classifier: Any) -> Any:
    """Return a copy of a CalibratedClassifierCV with another classifier."""
    other = copy(wrapper)
    (fitted,) = wrapper.calibrated_classifiers_
    other.calibrated_classifiers_ = [
        type(fitted)(classifier, fitted.calibrators, classes=fitted.classes, method=fitted.method)
    ]
    return other


# By class name of the wrapper: what returns the model inside, None where there are several, and
# what returns the wrapper with another one in its place.
_SINGLE_MODELS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "CalibratedClassifierCV": (_get_classifier, _put_classifier),
    "TransformedTargetRegressor": (_get_regressor, _put_regressor),
}

_READERS: dict[str, WrapperReader] = {
    "AdaBoostClassifier": read_votes,
    "AdaBoostRegressor": read_median,
    "BaggingClassifier": read_bagging,
    "BaggingRegressor": read_bagging,
    "CalibratedClassifierCV": read_calibrated,
    "MultiOutputClassifier": read_several_targets,
    "MultiOutputRegressor": read_several_targets,
    "OneVsRestClassifier": read_one_versus_rest,
    "RegressorChain": read_chain,
    "StackingClassifier": read_stacking,
    "StackingRegressor": read_stacking,
    "TransformedTargetRegressor": read_transformed_target,
    "VotingClassifier": read_voting,
    "VotingRegressor": read_voting,
}


def family(read: Read) -> Family:
    """Return the family of all wrappers.

    Parameters
    ----------
    read : callable
        How the models inside are read, wrappers among them.
    """
    readers = {name: partial(reader, read=read) for name, reader in _READERS.items()}
    return Family(library="sklearn", readers=readers, open_estimator=open_wrapper)
