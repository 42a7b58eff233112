"""The trees of scikit-learn: single trees, forests, gradient boosting, histogram boosting.

What each reads is in the table of :mod:`service.structures.trees`. Next:
:mod:`service.structures.lightgbm_trees`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from service.errors import UnsupportedStructureError
from service.shapley.trees import Tree
from service.structures.encoders import Encoder
from service.structures.family import Family
from service.structures.links import Floats
from service.structures.trees import MOST_CODES, TreeStructure


def read_forest(estimator: Any, scale: str) -> TreeStructure | None:
    """Read the mean of trees, or a single one: shares of the classes, or the values of the targets.

    Raises
    ------
    UnsupportedStructureError
        For a classifier of several targets.
    """
    if scale == "margin":
        return None
    if scale == "probability" and estimator.n_outputs_ > 1:
        raise UnsupportedStructureError(
            f"{type(estimator).__name__}: a classifier of several targets is not read."
        )
    read_value = _shares_of_classes if scale == "probability" else _values_of_targets
    fitted = [tree.tree_ for tree in getattr(estimator, "estimators_", [estimator])]
    trees = [_binary_tree(tree, read_value(tree) / len(fitted)) for tree in fitted]
    return TreeStructure(trees, np.zeros(trees[0].value.shape[1]), np.float32)


def _shares_of_classes(tree: Any) -> Floats:
    of_classes = tree.value[:, 0, :]
    return of_classes / of_classes.sum(axis=1, keepdims=True)


def _values_of_targets(tree: Any) -> Floats:
    return tree.value[:, :, 0]


def _binary_tree(tree: Any, value: Floats) -> Tree:
    """Read the splits of a tree; its values of shape (n_nodes, n_outputs) are given."""
    return Tree(
        left=tree.children_left,
        right=tree.children_right,
        missing_left=tree.missing_go_to_left.astype(bool),
        feature=tree.feature,
        threshold=tree.threshold,
        value=value,
    )


def read_gradient_boosting(estimator: Any, scale: str) -> TreeStructure:
    """Read gradient boosting: regression trees for each stage and output, on top of a constant.

    Raises
    ------
    UnsupportedStructureError
        When what it starts from is a model by itself.
    """
    initial = "zero" if estimator.init_ == "zero" else type(estimator.init_).__name__
    if initial not in ("zero", "DummyClassifier", "DummyRegressor"):
        raise UnsupportedStructureError(
            f"{type(estimator).__name__}: init={initial} is a model by itself, and not read."
        )
    outputs = np.eye(estimator.estimators_.shape[1])
    trees = []
    for stage in estimator.estimators_:
        for tree, output in zip(stage, outputs, strict=True):
            value = estimator.learning_rate * tree.tree_.value[:, 0, 0, None] * output
            trees.append(_binary_tree(tree.tree_, value))
    any_row = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    offset = np.asarray(estimator._raw_predict_init(any_row)[0], dtype=np.float64)
    margins = TreeStructure(trees, offset, np.float32)
    if scale != "probability":
        return margins
    if estimator.loss == "exponential":  # its margin is half the logarithm of the odds
        margins = margins.scaled(2.0)
    return margins.as_probabilities()


def read_histogram_boosting(estimator: Any, scale: str) -> TreeStructure:
    """Read histogram boosting; with categories, its columns are those behind its own preprocessing.

    See :func:`open_histogram_boosting`.
    """
    outputs = np.eye(estimator.n_trees_per_iteration_)
    trees = []
    for iteration in estimator._predictors:
        for predictor, output in zip(iteration, outputs, strict=True):
            trees.append(_histogram_tree(predictor, output))
    offset = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(len(outputs))
    margins = TreeStructure(trees, offset, np.float64)
    if scale == "probability":
        return margins.as_probabilities()
    is_logarithmic = getattr(estimator, "loss", "") in ("poisson", "gamma")
    return replace(margins, link=np.exp) if is_logarithmic else margins


def _histogram_tree(predictor: Any, output: Floats) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    is_categorical = nodes["is_categorical"].astype(bool)
    categories = np.zeros((len(nodes), MOST_CODES), dtype=bool)
    bitsets = np.ascontiguousarray(predictor.raw_left_cat_bitsets).astype("<u4").view(np.uint8)
    left_codes = np.unpackbits(bitsets, axis=1, bitorder="little").astype(bool)
    categories[is_categorical] = left_codes[nodes["bitset_idx"][is_categorical]]
    return Tree(
        left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        feature=nodes["feature_idx"],
        threshold=np.where(is_categorical, np.nan, nodes["num_threshold"]),
        value=nodes["value"][:, None] * output,
        categories=categories if is_categorical.any() else None,
    )


def open_histogram_boosting(estimator: Any, names: Sequence[str]) -> tuple[Encoder, Any] | None:
    """Take the preprocessing out that a histogram boosting with categories has inside of it.

    It puts the categorical columns, as codes, before the others. The trees are read behind it, so
    the estimator stays what it is.
    """
    preprocessor = getattr(estimator, "_preprocessor", None)
    if preprocessor is None:
        return None
    is_categorical = np.asarray(estimator.is_categorical_)
    order = np.concatenate([np.flatnonzero(is_categorical), np.flatnonzero(~is_categorical)])
    return Encoder((preprocessor,), order), estimator


FORESTS = Family(
    library="sklearn",
    readers={
        "DecisionTreeClassifier": read_forest,
        "DecisionTreeRegressor": read_forest,
        "ExtraTreeClassifier": read_forest,
        "ExtraTreeRegressor": read_forest,
        "ExtraTreesClassifier": read_forest,
        "ExtraTreesRegressor": read_forest,
        "RandomForestClassifier": read_forest,
        "RandomForestRegressor": read_forest,
    },
)
GRADIENT_BOOSTING = Family(
    library="sklearn",
    prefers_margin=True,
    readers={
        "GradientBoostingClassifier": read_gradient_boosting,
        "GradientBoostingRegressor": read_gradient_boosting,
    },
)
HISTOGRAM_BOOSTING = Family(
    library="sklearn",
    prefers_margin=True,
    open_estimator=open_histogram_boosting,
    readers={
        "HistGradientBoostingClassifier": read_histogram_boosting,
        "HistGradientBoostingRegressor": read_histogram_boosting,
    },
)
