"""Wrappers: models that make their answer of the answers of fitted models inside.

| wrapper                    | what it makes of the models inside                                  |
|----------------------------|---------------------------------------------------------------------|
| CalibratedClassifierCV     | calibrated probabilities of the margin, their mean over the folds   |
| OneVsRestClassifier        | one model per class, side by side; probabilities scaled to sum 1    |
| VotingRegressor            | a weighted mean                                                     |
| BaggingRegressor           | a mean, of models that may see some of the columns each             |
| TransformedTargetRegressor | its predictions scaled back, where the target's transformer is      |
|                            | affine                                                              |

The models inside must be of one class of structure that can be joined: linear models, or kernel
machines with one kind of kernel. A pipeline that stands alone inside a calibration or under a
scaled target is taken apart, so that its preprocessing comes first (:func:`open_wrapper`). Models
that hand everything on are in :mod:`service.structures.searches`. Next:
:mod:`service.structures.reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from service.structures.class_names import sklearn_name
from service.structures.encoders import Encoder, split_model
from service.structures.links import (
    Averaged,
    Calibrated,
    Floats,
    Link,
    OnePerClass,
    Sigmoid,
    chained,
)
from service.structures.searches import look_through
from service.structures.structure import Combinable, Structure, join

# How a model inside is read: takes the model, and the scale of the output that is read.
Read = Callable[[Any, str], Structure | None]
Reader = Callable[[Any, str, Read], Structure | None]

# Transformers of a target whose inverses are affine.
AFFINE_TRANSFORMERS = ("MaxAbsScaler", "MinMaxScaler", "RobustScaler", "StandardScaler")


def read_calibrated(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Put the calibration behind the margins of the classifiers inside, of one or one a fold."""
    fitted = estimator.calibrated_classifiers_
    if scale != "probability" or not all(map(_is_calibrated_margin, fitted)):
        return None
    parts = [read(calibrated.estimator, "margin") for calibrated in fitted]
    margins = join(parts)
    if margins is None:
        return None
    links = []
    for part, calibrated in zip(parts, fitted, strict=True):
        calibration = Calibrated(tuple(map(_read_calibrator, calibrated.calibrators)))
        links.append(chained(_link_of(part), calibration))
    return replace(margins, link=links[0] if len(links) == 1 else Averaged(tuple(links)))


def _is_calibrated_margin(calibrated: Any) -> bool:
    """Tell whether each class (or the second of two) has a calibrator of its decision function."""
    classifier = calibrated.estimator
    if not hasattr(classifier, "decision_function"):
        return False
    has_all = len(classifier.classes_) == len(calibrated.classes)
    return has_all and calibrated.method in ("sigmoid", "isotonic")


def _read_calibrator(fitted: Any) -> Any:
    """Read a sigmoid; an isotonic calibration is taken as it is."""
    return Sigmoid(fitted.a_, fitted.b_) if hasattr(fitted, "a_") else fitted


def _link_of(part: Structure | None) -> Link | None:
    return None if part is None else part.link


def read_one_versus_rest(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Put the binary models of OneVsRestClassifier side by side; for two classes it has one."""
    if estimator.multilabel_:
        return None
    parts = [read(binary, scale) for binary in estimator.estimators_]
    if len(parts) == 1:
        return parts[0]
    margins = join(parts)
    if margins is None or scale == "margin":
        return margins
    links = _links_of_equals(parts)
    return None if links is None else replace(margins, link=OnePerClass(links))


def _links_of_equals(parts: Sequence[Structure | None]) -> tuple[Link, ...] | None:
    """Return the links of models with equally many margins each; None when one has no link."""
    links = []
    numbers_of_margins = set()
    for part in parts:
        if not isinstance(part, Combinable) or part.link is None:
            return None
        links.append(part.link)
        numbers_of_margins.add(len(part.intercepts))
    return tuple(links) if len(numbers_of_margins) == 1 else None


def read_voting(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Average the predictions of VotingRegressor's models, with its weights."""
    parts = [read(model, scale) for model in estimator.estimators_]
    weights = estimator._weights_not_none
    return _mean(parts, np.ones(len(parts)) if weights is None else np.array(weights))


def read_bagging(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Average BaggingRegressor's models, which may see some columns each, but none of them twice."""
    chosen = estimator.estimators_features_
    if any(len(np.unique(columns)) < len(columns) for columns in chosen):
        return None
    parts: list[Structure | None] = []
    for model, columns in zip(estimator.estimators_, chosen, strict=True):
        part = read(model, scale)
        if not isinstance(part, Combinable):
            return None
        parts.append(part.spread(columns, estimator.n_features_in_))
    return _mean(parts, np.ones(len(parts)))


def _mean(parts: Sequence[Structure | None], weights: Floats) -> Structure | None:
    """Average predictions; None unless all are linear, or all kernel machines of one kind."""
    margins = join(parts)
    if not isinstance(margins, Combinable):
        return None
    n_targets = len(margins.intercepts) // len(parts)
    return margins.mapped(np.kron(weights / weights.sum(), np.eye(n_targets)))


def read_transformed_target(estimator: Any, scale: str, read: Read) -> Structure | None:
    """Scale the predictions back, where the target's transformer is affine."""
    part = read(estimator.regressor_, scale)
    transformer = look_through(estimator.transformer_)
    if not isinstance(part, Combinable) or not _is_affine(transformer):
        return None
    ends = np.repeat([[0.0], [1.0]], len(part.intercepts), axis=1)
    shift, at_one = transformer.inverse_transform(ends)
    return part.mapped(np.diag(at_one - shift), shift)


def _is_affine(transformer: Any) -> bool:
    name = type(transformer).__name__
    if name == "FunctionTransformer":
        return transformer.inverse_func is None
    return name in AFFINE_TRANSFORMERS


READERS: dict[str, Reader] = {
    "BaggingRegressor": read_bagging,
    "CalibratedClassifierCV": read_calibrated,
    "OneVsRestClassifier": read_one_versus_rest,
    "TransformedTargetRegressor": read_transformed_target,
    "VotingRegressor": read_voting,
}


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
    inner = _single_model(wrapper)
    split = None if inner is None else split_model(inner, len(names), names)
    if split is None or not split[0].steps:
        return None
    preprocessing, last = split
    return preprocessing, _around(wrapper, last)


def _single_model(wrapper: Any) -> Any | None:
    """Return the model inside of a calibration by one model, or under a transformed target."""
    name = sklearn_name(wrapper)
    if name == "TransformedTargetRegressor":
        return wrapper.regressor_
    if name == "CalibratedClassifierCV" and len(wrapper.calibrated_classifiers_) == 1:
        return wrapper.calibrated_classifiers_[0].estimator
    return None


def _around(wrapper: Any, model: Any) -> Any:
    """Return a copy of the wrapper, with another model in the place of its single one."""
    other = copy(wrapper)
    if sklearn_name(wrapper) == "TransformedTargetRegressor":
        other.regressor_ = model
        return other
    fitted = wrapper.calibrated_classifiers_[0]
    other.calibrated_classifiers_ = [
        type(fitted)(model, fitted.calibrators, classes=fitted.classes, method=fitted.method)
    ]
    return other
