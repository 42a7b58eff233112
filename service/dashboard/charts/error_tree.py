"""Where the model fails: a small tree of scikit-learn's on the errors; each leaf is a cohort.

Next: :mod:`service.dashboard.model_access`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor

from service.dashboard.charts.importance import measure_importance
from service.dashboard.cohorts import Cohort
from service.dashboard.columns import Column
from service.dashboard.dashboard import Dashboard
from service.dashboard.errors import UnavailableError
from service.dashboard.questions import Question
from service.dashboard.store import NO_ROWS
from service.dashboard.values import in_words

MOST_ROWS = 10_000  # that the tree learns of
MOST_FEATURES = 100  # that it looks at
LEAST_IN_A_LEAF = 5
DEEPEST = 5


@dataclass(frozen=True, eq=False)
class _Feature:
    """A feature as the tree sees it.

    Attributes
    ----------
    position : int
    column : Column
    numbers : ndarray of shape (n,)
        Of the rows that are learnt of; categories by their rank of mean error.
    ranked : list of int, or None
        The codes of categories by that rank.
    """

    position: int
    column: Column
    numbers: NDArray[np.float64]
    ranked: list[int] | None


def answer_error_tree(dashboard: Dashboard, question: Question) -> dict[str, Any]:
    """Answer ``api/errortree``.

    Parameters
    ----------
    dashboard : Dashboard
    question : Question

    Returns
    -------
    dict
        As in docs/dashboard-api.md.

    Raises
    ------
    UnavailableError
        When no rows, true values or predictions are known.
    """
    if not dashboard.store.has_rows:
        raise UnavailableError(NO_ROWS)
    target, errors = _find_errors(dashboard)
    cohort = dashboard.cohorts.read_one(question).within(np.isfinite(errors))
    depth = question.part("depth").count(3, 1, DEEPEST)
    rows = cohort.rows
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))
    nodes = _Nodes(dashboard, cohort, errors)
    features = []
    if len(rows) >= 2 * LEAST_IN_A_LEAF:
        features = _choose_features(dashboard, rows, errors[rows])
    if features:
        nodes.grow(_fit(features, errors[rows], depth), features)
    else:
        nodes.add(None, cohort.mask, {"label": "all", "filters": [], "split": None})
    whole = nodes.listed[0]
    return {
        "target": target,
        "n": cohort.n,
        "value": whole["value"],
        "n_learnt": len(rows),
        "nodes": nodes.listed,
    }


def _find_errors(dashboard: Dashboard) -> tuple[str, NDArray[np.float64]]:
    """Return the error of each row: 1 where a class is wrong, or the absolute error."""
    outcomes = dashboard.outcomes
    if outcomes.classes is None:
        return "abs_error", outcomes.values("abs_error").numbers()
    true, predicted = outcomes.codes("true"), outcomes.codes("predicted")
    is_known = (true >= 0) & (predicted >= 0)
    return "wrong", np.where(is_known, true != predicted, np.nan)


def _choose_features(
    dashboard: Dashboard, rows: NDArray[np.intp], errors: NDArray[np.float64]
) -> list[_Feature]:
    """Return the features that the tree looks at; of many the most important ones."""
    store = dashboard.store
    positions = np.arange(len(store.features))
    if len(positions) > MOST_FEATURES:
        mask = np.zeros(store.n_rows, dtype=bool)
        mask[rows] = True
        means = measure_importance(store, Cohort("", mask)).means[-1]
        positions = np.sort(np.argsort(-means, kind="stable")[:MOST_FEATURES])
    features = []
    for position in positions.tolist():
        column = dashboard.columns.find(f"x{position}")
        if column.values.kind != "text":
            features.append(_read_feature(position, column, rows, errors))
    return features


def _read_feature(
    position: int, column: Column, rows: NDArray[np.intp], errors: NDArray[np.float64]
) -> _Feature:
    values = column.values
    numbers = values.numbers(rows)
    if values.categories is None:
        return _Feature(position, column, np.clip(numbers, -3e38, 3e38), None)
    known = ~np.isnan(numbers)
    codes = numbers[known].astype(np.intp)
    n = np.bincount(codes, minlength=len(values.categories))
    totals = np.bincount(codes, errors[known], len(values.categories))
    ranked = np.argsort(totals / np.maximum(n, 1), kind="stable")
    ranks = np.argsort(ranked, kind="stable")
    by_rank = np.full(len(numbers), np.nan)
    by_rank[known] = ranks[codes]
    return _Feature(position, column, by_rank, ranked.tolist())


def _fit(features: list[_Feature], errors: NDArray[np.float64], depth: int) -> Any:
    matrix = np.column_stack([feature.numbers for feature in features])
    least = max(LEAST_IN_A_LEAF, len(errors) // 100)
    tree = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=least, random_state=0)
    return tree.fit(matrix, errors).tree_


class _Nodes:
    """The nodes of a tree as cohorts: what they count is what their filters keep."""

    def __init__(self, dashboard: Dashboard, cohort: Cohort, errors: NDArray[np.float64]) -> None:
        self._cohorts = dashboard.cohorts
        self._cohort = cohort
        self._errors = errors
        self._total = float(errors[cohort.mask].sum())
        self.listed: list[dict[str, Any]] = []

    def add(self, parent: int | None, mask: NDArray[np.bool_], told: dict[str, Any]) -> int:
        """Add a node; return its number."""
        inside = self._errors[mask & self._cohort.mask]
        total = float(inside.sum())
        number = len(self.listed)
        self.listed.append(
            {
                "id": number,
                "parent": parent,
                "n": len(inside),
                "value": float(inside.mean()) if len(inside) else None,
                "share_of_error": total / self._total if self._total else None,
                "children": [],
                **told,
            }
        )
        if parent is not None:
            self.listed[parent]["children"].append(number)
        return number

    def grow(self, tree: Any, features: list[_Feature]) -> None:
        """Add the nodes of a fitted tree, a parent before its children."""
        waiting: list[tuple[int, int | None, list[Any], str]] = [(0, None, [], "all")]
        while waiting:
            node, parent, filters, label = waiting.pop(0)
            question = Question({"cohort": {"filters": filters}})
            mask = self._cohorts.read_one(question).mask
            is_leaf = tree.children_left[node] < 0
            told = {"label": label, "filters": filters, "split": None}
            number = self.add(parent, mask, told)
            if is_leaf:
                continue
            feature = features[tree.feature[node]]
            told = {"feature": feature.position, "name": feature.column.name}
            self.listed[number]["split"] = told
            for side, child in enumerate((tree.children_left[node], tree.children_right[node])):
                added, words = _filter_of(feature, tree, node, side)
                waiting.append((child, number, [*filters, added], words))


def _filter_of(feature: _Feature, tree: Any, node: int, side: int) -> tuple[Any, str]:
    """Return the filter of a child, and what it is called; side 0 is below the threshold."""
    col, name = feature.column.id, feature.column.name
    threshold = tree.threshold[node]
    takes_missing = bool(tree.missing_go_to_left[node]) == (side == 0)
    takes_missing = takes_missing and bool(np.isnan(feature.numbers).any())
    if feature.ranked is None:
        # Scikit-learn compares single-precision numbers: the largest value below tells the same.
        below = feature.numbers[feature.numbers.astype(np.float32) <= threshold]
        bound = feature.column.values.plain_value(float(below.max()) if len(below) else threshold)
        sign = "≤" if side == 0 else ">"
        kept = {"col": col, "op": "<=" if side == 0 else ">", "value": bound}
        words = f"{name} {sign} {in_words(bound)}"
    else:
        categories: Any = feature.column.values.categories
        ranks = np.arange(len(feature.ranked))
        chosen = ranks[(ranks <= threshold) == (side == 0)]
        named = [categories[feature.ranked[rank]] for rank in chosen]
        kept = {"col": col, "op": "in", "value": named}
        words = f"{name}: {', '.join(map(in_words, named[:3]))}" + " …" * (len(named) > 3)
    if takes_missing:
        either = {"match": "any", "filters": [kept, {"col": col, "op": "missing"}]}
        return either, f"{words} or missing"
    return kept, words
