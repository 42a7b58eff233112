"""The trees of scikit-learn: single trees, forests, gradient boosting, histogram boosting.

What each reads is in the table of :mod:`service.structures.trees`. Next:
:mod:`service.structures.lightgbm_trees`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import UnsupportedStructureError
from service.shapley.trees import Tree
from service.structures.encoders import Encoder
from service.structures.family import Family
from service.structures.links import Floats
from service.structures.structure import as_floats
from service.structures.trees import MOST_CODES, TreeStructure


def read_forest(estimator: Any, scale: str) -> TreeStructure | None:
    """Read the mean of trees, or a single one: shares of the classes, or the values of the targets.

    The classes of several targets stand one after another.
    """
    if scale == "margin":
        return None
    fitted = getattr(estimator, "estimators_", [estimator])
    trees = []
    for tree in fitted:
        value = _VALUES_OF_NODES[scale](tree)
        trees.append(_binary_tree(tree.tree_, value / len(fitted)))
    return TreeStructure(trees, np.zeros(trees[0].value.shape[1]), np.float32)


def _shares_of_nodes(tree: Any) -> Floats:
    """Return the shares of the classes at each node, target after target; (n_nodes, n_outputs)."""
    n_classes = np.atleast_1d(tree.n_classes_)
    shares = []
    for target, n in enumerate(n_classes):
        of_classes = tree.tree_.value[:, target, :n]
        shares.append(of_classes / of_classes.sum(axis=1, keepdims=True))
    return np.hstack(shares)


def _targets_of_nodes(tree: Any) -> Floats:
    """Return the value of each target at each node; (n_nodes, n_outputs)."""
    return tree.tree_.value[:, :, 0]


_VALUES_OF_NODES: dict[str, Callable[[Any], Floats]] = {
    "prediction": _targets_of_nodes,
    "probability": _shares_of_nodes,
}


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
    _check_initial(estimator)
    outputs = np.eye(estimator.estimators_.shape[1])
    trees = []
    for stage in estimator.estimators_:
        for tree, output in zip(stage, outputs, strict=True):
            value = estimator.learning_rate * tree.tree_.value[:, 0, 0, None] * output
            trees.append(_binary_tree(tree.tree_, value))
    any_row = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    offset = as_floats(estimator._raw_predict_init(any_row)[0])
    margins = TreeStructure(trees, offset, np.float32)
    if scale != "probability":
        return margins
    if estimator.loss == "exponential":  # its margin is half the logarithm of the odds
        margins = margins.scaled(2.0)
    return margins.as_probabilities()


def _check_initial(estimator: Any) -> None:
    """Refuse a boosting that starts from anything but zeros ("zero", a text) or a constant."""
    initial = type(estimator.init_).__name__
    if initial not in ("str", "DummyClassifier", "DummyRegressor"):
        raise UnsupportedStructureError(
            f"{type(estimator).__name__}: init={initial} is a model by itself, and not read."
        )


def read_histogram_boosting(estimator: Any, scale: str) -> TreeStructure:
    """Read histogram boosting; with categories, its columns are those behind its own preprocessing.

    See :func:`open_histogram_boosting`.
    """
    outputs = np.eye(estimator.n_trees_per_iteration_)
    trees = []
    for iteration in estimator._predictors:
        for predictor, output in zip(iteration, outputs, strict=True):
            trees.append(_histogram_tree(predictor, output))
    offset = as_floats(estimator._baseline_prediction).reshape(len(outputs))
    margins = TreeStructure(trees, offset, np.float64)
    if scale == "probability":
        return margins.as_probabilities()
    if estimator.loss in ("poisson", "gamma"):
        return replace(margins, link=np.exp)
    return margins


def _histogram_tree(predictor: Any, output: Floats) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    is_categorical = nodes["is_categorical"].astype(bool)
    return Tree(
        left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        feature=nodes["feature_idx"],
        threshold=np.where(is_categorical, np.nan, nodes["num_threshold"]),
        value=nodes["value"][:, None] * output,
        categories=_read_categories(predictor, is_categorical),
    )


def _read_categories(predictor: Any, is_categorical: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Return which codes each split sends to the left; None when no split is by category."""
    if not is_categorical.any():
        return None
    bitsets = np.ascontiguousarray(predictor.raw_left_cat_bitsets).astype("<u4").view(np.uint8)
    left_codes = np.unpackbits(bitsets, axis=1, bitorder="little").astype(bool)
    categories = np.zeros((len(is_categorical), MOST_CODES), dtype=bool)
    categories[is_categorical] = left_codes[predictor.nodes["bitset_idx"][is_categorical]]
    return categories


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
