"""Why a model is not looked into, in words, and what would help.

:func:`service.structures.reading.read_model` says only that it has nothing for a model. Here the
model is walked through once more, for the step that stands in the way. Next:
:mod:`service.engines.called.note`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, filterfalse
from typing import Any

from service.structures.class_names import sklearn_name
from service.structures.encoders import blocks_of, branches_of, is_looked_through, steps_of

# By class name of what stands in the way.
WHAT_HELPS = {
    "BaggingRegressor": "One whose models see all columns, and are looked into by themselves, is.",
    "CatBoostClassifier": "The trees of LightGBM and XGBoost are read.",
    "CatBoostRegressor": "The trees of LightGBM and XGBoost are read.",
    "ColumnTransformer": "Name its columns as the rows name theirs.",
    "FunctionTransformer": "A ColumnTransformer that gives it one column alone is looked through.",
    "GaussianProcessClassifier": "One whose kernel is a single function of a distance is.",
    "IterativeImputer": "SimpleImputer is looked through.",
    "KNNImputer": "SimpleImputer is looked through.",
    "PCA": "Linear models, networks and polynomial kernels behind it are looked into.",
    "PolynomialFeatures": "A linear model behind it is looked into, except for probabilities.",
    "StackingClassifier": "One with a linear last model or trees is, where each of its models is.",
    "StackingRegressor": "One with a linear last model or trees is, where each of its models is.",
    "VotingClassifier": "Soft votes of models that are looked into by themselves are.",
    "VotingRegressor": "One of models that are looked into by themselves is.",
}


def explain_gap(model: Any, scale: str) -> str:
    """Say why a model is merely called.

    Parameters
    ----------
    model : object
        One that :func:`service.structures.reading.read_model` has nothing for.
    scale : {"probability", "margin", "prediction"}

    Returns
    -------
    str
        A sentence or two.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> explain_gap(make_pipeline(PCA(), Ridge()), "prediction").split(".")[0]
    'PCA in it is not looked through'
    """
    if not (hasattr(model, "predict") or hasattr(model, "predict_proba")):
        return "A function can only be called."
    *steps, estimator = steps_of(model)
    parts = chain.from_iterable(map(_parts_of, steps))
    closed = next(filterfalse(is_looked_through, parts), None)
    if closed is not None:
        return _sentence(closed, "in it is not looked through")
    return _sentence(estimator, f"is not looked into for its {scale}")


def _sentence(part: Any, gap: str) -> str:
    name = type(part).__name__
    helps = WHAT_HELPS.get(name, "")
    return f"{name} {gap}. {helps}".strip()


def _parts_of(step: Any) -> Iterator[Any]:
    """Walk through the transformers inside a step; those of scikit-learn's own tell theirs."""
    inside = _INSIDE.get(sklearn_name(step))
    if inside is None:
        yield step
        return
    for inner in inside(step):
        yield from chain.from_iterable(map(_parts_of, steps_of(inner)))


def _wide_blocks(transformer: Any) -> Iterator[Any]:
    """Walk through the blocks of several columns: what is made of one belongs to it."""
    for _, inner, columns in blocks_of(transformer):
        if len(columns) > 1:
            yield inner


_INSIDE: dict[str, Callable[[Any], Iterable[Any]]] = {
    "ColumnTransformer": _wide_blocks,
    "FeatureUnion": branches_of,
}
