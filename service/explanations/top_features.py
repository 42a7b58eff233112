"""The most important features of an explanation: everything cut to them alike.

What is cut is added up in the order of its ranks, the least important first, so that cutting twice
gives the same bits as cutting once, and so does reading no more than is kept. Means are taken
column by column: the last bit of a mean over an array depends on what lies beside it in memory.

Next: :mod:`service.explanations.files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.engines.local_importances import LocalImportances
from service.engines.sparse.importances import SparseImportances
from service.explanations.context import ExplanationContext, unless_none
from service.explanations.global_importances import GlobalImportances, with_output_axis
from service.explanations.local_explanation import LocalExplanation
from service.explanations.ranks import check_count

E = TypeVar("E", bound=LocalExplanation)
TILE = 1024  # rows that are looked at together, so that they stay in the cache
OF_FEATURES = ("values", "per_class", "standard_errors", "per_class_standard_errors", "noise_floor")


def top(explanation: E, k: int) -> E:
    """Keep the features of the largest global importance, and of everything what is of them.

    Names, global values, local values and errors stay in column order and keep every bit; so do
    rows that have one column for each feature. What was cut is kept as its sum, `other`, with which
    expected value + Σ importances is still the model's output, and `n_features` says how many
    there were. Feature maps are dropped: sums over some of a raw column's columns would mislead.

    Parameters
    ----------
    explanation : LocalExplanation or GlobalExplanation
    k : int
        How many; more than there are keeps all.

    Returns
    -------
    LocalExplanation or GlobalExplanation
        With the same id.

    Raises
    ------
    ValueError
        When `k` is not a positive whole number.

    Examples
    --------
    >>> local = LocalExplanation.from_values([[1.0, -2.0, 0.5]], expected_values=5.0)
    >>> cut = top(local, 1)
    >>> cut.features, cut.local_importance_values, cut.other, cut.n_features
    (['1'], [[-2.0]], [1.5], 3)
    """
    check_count(k)
    context = explanation.context
    if context.engineered is not None:
        context = replace(context, engineered=top(context.engineered, k))
        explanation = replace(explanation, context=context)
    if k >= explanation.num_features:
        return explanation
    order = rank_all(explanation)
    other = _add_up(explanation, order[k:])
    cut = keep_features(explanation, np.sort(order[:k]))
    return replace(cut, context=replace(cut.context, other=other))


def rank_all(explanation: LocalExplanation) -> NDArray[np.intp]:
    """Return the positions of all features by falling global importance.

    Equal ones keep their column order. Of a local explanation it is the mean magnitude, per class
    and then over classes, of each column by itself.
    """
    overall = getattr(explanation, "overall", None)
    values = overall.values if overall is not None else _mean_magnitudes(explanation.importances)
    return np.argsort(-values, kind="stable")


def keep_features(explanation: E, kept: NDArray[np.intp]) -> E:
    """Return an explanation with some of its features, and nothing of the others.

    Parameters
    ----------
    explanation : LocalExplanation or GlobalExplanation
    kept : ndarray of int
        Their positions, rising.
    """
    context = cut_context(explanation.context, kept, explanation.num_features)
    local = unless_none(_cut_local, explanation.importances, kept)
    whole: Any = explanation
    if not hasattr(whole, "overall"):
        return replace(whole, context=context, importances=local)
    overall = cut_global(whole.overall, kept)
    return replace(whole, context=context, importances=local, overall=overall)


def cut_context(
    context: ExplanationContext, kept: NDArray[np.intp], n_features: int
) -> ExplanationContext:
    """Return what is known beside importances of some features; the id stays.

    Parameters
    ----------
    context : ExplanationContext
    kept : ndarray of int
    n_features : int
        How many features there are before.
    """
    return replace(
        context,
        n_explained=context.n_explained or n_features,
        eval_data=_cut_table(context.eval_data, kept, n_features),
        init_data=_cut_table(context.init_data, kept, n_features),
        feature_maps=None,
        raw_features=None,
    )


def cut_global(overall: GlobalImportances, kept: NDArray[np.intp]) -> GlobalImportances:
    """Return the global importances of some features."""
    parts: dict[str, Any] = {"features": _take_names(overall.features, kept)}
    for name in OF_FEATURES:
        parts[name] = unless_none(_take_last, getattr(overall, name), kept)
    return replace(overall, **parts)


def _take_last(values: NDArray[Any], kept: NDArray[np.intp]) -> NDArray[Any]:
    return values[..., kept]


def _take_names(names: list[str], kept: NDArray[np.intp]) -> list[str]:
    return list(map(names.__getitem__, kept))


def _cut_local(importances: LocalImportances, kept: NDArray[np.intp]) -> LocalImportances:
    features = _take_names(importances.features, kept)
    if isinstance(importances, SparseImportances):
        sparse = importances.sparse.take_columns(kept.tolist())
        described = {**importances.described, "features": features}
        return SparseImportances(sparse, importances.has_output_axis, **described)
    return replace(
        importances,
        values=_take_last(importances.values, kept),
        features=features,
        standard_errors=unless_none(_take_last, importances.standard_errors, kept),
    )


def _cut_table(table: Any, kept: NDArray[np.intp], n_features: int) -> Any:
    """Return the columns of a table that has one for each feature; another as it is."""
    shape: tuple[int, ...] = getattr(table, "shape", ())
    if shape[1:] != (n_features,):
        return table
    if isinstance(table, pd.DataFrame):
        return table.iloc[:, kept]
    return (table.tocsr() if hasattr(table, "tocsr") else table)[:, kept]


def tiles(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut values of shape (n_outputs, n_rows, n_features) into views of few rows of one output."""
    for of_output in values:
        for first in range(0, len(of_output), TILE):
            yield of_output[first : first + TILE]


def _mean_magnitudes(importances: LocalImportances) -> NDArray[np.float64]:
    """Average magnitudes over rows, and then over outputs, each column by itself."""
    n_rows, n_features = importances.shape[-2:]
    if n_rows == 0:
        return np.zeros(n_features)
    columns = np.moveaxis(with_output_axis(importances.values), -1, 0)
    return np.array(list(map(_mean_magnitude, columns)))


def _mean_magnitude(column: NDArray[np.float64]) -> float:
    """Average a column, of shape (n_outputs, n_rows), as it would be alone in memory."""
    return float(np.abs(np.ascontiguousarray(column)).mean(axis=-1).mean())


def _add_up(explanation: LocalExplanation, cut: NDArray[np.intp]) -> NDArray[np.float64] | None:
    """Add the values of features to what was cut before, the last of them first."""
    if explanation.importances is None:
        return None
    total = _begin(explanation)
    parts = tiles(with_output_axis(explanation.importances.values))
    for part, sums in zip(parts, tiles(np.atleast_2d(total)[..., None]), strict=True):
        add_ranks(sums[:, 0], part.T[cut])
    return total


def _begin(explanation: LocalExplanation) -> NDArray[np.float64]:
    """Return the sum so far. It begins at +0, and so never is −0, whatever is added."""
    before = explanation.context.other
    return np.zeros(explanation.importances.shape[:-1]) if before is None else before.copy()


def add_ranks(sums: NDArray[np.float64], columns: NDArray[np.float64]) -> None:
    """Add columns to sums in place, the last first, one by one.

    Parameters
    ----------
    sums : ndarray of shape (..., n_rows)
    columns : ndarray of shape (n_columns, ..., n_rows)
        By falling importance.
    """
    for column in columns[::-1]:
        sums += column
