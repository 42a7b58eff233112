"""Read fitted trees of scikit-learn, LightGBM and XGBoost into plain arrays: one explicit table, by
class name.

Every reader says when it cannot read a model, by raising :class:`UnsupportedStructureError`, and
what it reads is checked against the model on hybrid rows before it is used
(:mod:`service.engines.choice`).

| model                               | rows in | goes left    | adds up in | not read                              |
|-------------------------------------|---------|--------------|------------|---------------------------------------|
| single trees, forests               | float32 | x ≤ t        | float64    | classifiers of several targets        |
| GradientBoosting…                   | float32 | x ≤ t        | float64    | an ``init`` that is a model by itself |
| HistGradientBoosting…               | float64 | x ≤ t, codes | float64    |                                       |
| LGBMClassifier, LGBMRegressor       | float64 | x ≤ t, codes | float64    | linear leaves, zero as missing,       |
|                                     |         |              |            | pandas' categories                    |
| XGBClassifier, XGBRegressor         | float32 | x < t        | float32    | categories, a ``missing`` other than  |
|                                     |         |              |            | NaN, several targets, other boosters  |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from service.errors import UnsupportedStructureError
from service.shapley.trees import Tree
from service.structures import links

Floats = NDArray[np.float64]
MOST_CODES = 256  # categories of a column; histogram boosting knows no more
# XGBoost adds up in float32: its margins differ from the exact sum of its own trees by some 1e-7 of
# the largest.
FLOAT32_AGREEMENT = 1e-6


@dataclass(frozen=True)
class TreeStructure:
    """A sum of decision trees, behind an optional link.

    Attributes
    ----------
    trees : list of Tree
    offset : ndarray of shape (n_outputs,)
    input_dtype : type
        What the model rounds its rows to.
    link : callable or None
    agreement : float or None
        How far the model's own arithmetic is from double precision, relative to its largest output;
        None where it computes in double precision itself.
    """

    trees: list[Tree]
    offset: Floats
    input_dtype: type[np.floating]
    link: links.Link | None = None
    agreement: float | None = None

    def scaled(self, factor: float) -> TreeStructure:
        """Multiply the sum by a number."""
        trees = [replace(tree, value=factor * tree.value) for tree in self.trees]
        return replace(self, trees=trees, offset=factor * self.offset)


def read_trees(estimator: Any, scale: str) -> TreeStructure | None:
    """Read the trees behind an output.

    Parameters
    ----------
    estimator : object
        A fitted forest or boosting of the table.
    scale : {"probability", "margin", "prediction"}

    Returns
    -------
    TreeStructure or None
        None when the output is no function of the sum of the trees.

    Raises
    ------
    UnsupportedStructureError
        When the inside cannot be read.
    """
    name = type(estimator).__name__
    return _READERS[name](estimator, scale)


def _forest(estimator: Any, scale: str) -> TreeStructure | None:
    """Read single trees and means of trees."""
    if scale == "margin":
        return None
    of_trees = [tree.tree_ for tree in getattr(estimator, "estimators_", [estimator])]
    if scale == "probability" and estimator.n_outputs_ > 1:
        raise UnsupportedStructureError(
            f"{type(estimator).__name__}: a classifier of several targets is not read."
        )
    trees = []
    for tree in of_trees:
        value = tree.value[:, 0, :] if scale == "probability" else tree.value[:, :, 0]
        if scale == "probability":
            value = value / value.sum(axis=1, keepdims=True)
        trees.append(_sklearn_tree(tree, value / len(of_trees)))
    return TreeStructure(trees, np.zeros(trees[0].value.shape[1]), np.float32)


def _sklearn_tree(tree: Any, value: Floats) -> Tree:
    return Tree(
        left=tree.children_left,
        right=tree.children_right,
        missing_left=tree.missing_go_to_left.astype(bool),
        feature=tree.feature,
        threshold=tree.threshold,
        value=value,
    )


def _gradient_boosting(estimator: Any, scale: str) -> TreeStructure | None:
    """Read gradient boosting: one regression tree for each stage and output, on top of a
    constant.
    """
    if estimator.init_ != "zero" and type(estimator.init_).__name__ not in (
        "DummyClassifier",
        "DummyRegressor",
    ):
        raise UnsupportedStructureError(
            f"{type(estimator).__name__}: init={type(estimator.init_).__name__} is a model by itself, and not read."
        )
    n_outputs = estimator.estimators_.shape[1]
    trees = [
        _sklearn_tree(
            tree.tree_,
            estimator.learning_rate * tree.tree_.value[:, 0, 0, None] * np.eye(n_outputs)[k],
        )
        for stage in estimator.estimators_
        for k, tree in enumerate(stage)
    ]
    offset = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))[
        0
    ]
    margins = TreeStructure(trees, np.asarray(offset, dtype=np.float64), np.float32)
    is_exponential = estimator.loss == "exponential"
    return _linked(
        margins.scaled(2.0) if scale == "probability" and is_exponential else margins,
        scale,
        n_outputs,
    )


def _histogram_boosting(estimator: Any, scale: str) -> TreeStructure | None:
    """Read histogram boosting; with categories, the columns are those behind its own
    preprocessing.
    """
    n_outputs = estimator.n_trees_per_iteration_
    trees = [
        _histogram_tree(predictor, np.eye(n_outputs)[k])
        for iteration in estimator._predictors
        for k, predictor in enumerate(iteration)
    ]
    offset = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(n_outputs)
    link = np.exp if getattr(estimator, "loss", "") in ("poisson", "gamma") else None
    return _linked(TreeStructure(trees, offset, np.float64, link), scale, n_outputs)


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


def _linked(margins: TreeStructure, scale: str, n_outputs: int) -> TreeStructure:
    """Put the usual link of classifiers behind their margins, where probabilities are asked for."""
    if scale != "probability":
        return margins
    return replace(margins, link=links.logistic if n_outputs == 1 else links.multinomial)


def _lightgbm(estimator: Any, scale: str) -> TreeStructure | None:
    model = estimator.booster_.dump_model()
    if model["pandas_categorical"]:
        raise UnsupportedStructureError("LightGBM: columns of pandas categories are not read.")
    n_outputs = model["num_tree_per_iteration"]
    trees = [
        _lightgbm_tree(one["tree_structure"], np.eye(n_outputs)[k % n_outputs])
        for k, one in enumerate(model["tree_info"])
    ]
    margins = TreeStructure(trees, np.zeros(n_outputs), np.float64)
    if model["average_output"] and scale != "margin":  # a raw score is the sum all the same
        margins = margins.scaled(n_outputs / len(trees))
    objective, *options = model.get("objective", "custom").split()
    if scale == "prediction":
        return _of_objective(margins, objective, _LIGHTGBM_LINKS)
    if scale == "probability" and objective not in ("binary", "multiclass"):
        return None
    sigmoid = dict(option.split(":") for option in options if ":" in option).get("sigmoid", 1.0)
    return _linked(
        margins.scaled(float(sigmoid)) if scale == "probability" else margins, scale, n_outputs
    )


def _lightgbm_tree(root: dict[str, Any], output: Floats) -> Tree:
    """Turn one tree, a nested dictionary, into arrays, in the order of a walk."""
    nodes = list(_walk(root))
    position = {id(node): i for i, node in enumerate(nodes)}
    inner = ["split_index" in node for node in nodes]
    if any("leaf_coeff" in node for node in nodes):
        raise UnsupportedStructureError(
            "LightGBM: trees with linear models in their leaves are not read."
        )
    return Tree(
        left=np.array(
            [
                position[id(node["left_child"])] if i else -1
                for i, node in zip(inner, nodes, strict=True)
            ]
        ),
        right=np.array(
            [
                position[id(node["right_child"])] if i else -1
                for i, node in zip(inner, nodes, strict=True)
            ]
        ),
        missing_left=np.array(
            [i and _missing_goes_left(node) for i, node in zip(inner, nodes, strict=True)]
        ),
        feature=np.array([node.get("split_feature", 0) for node in nodes]),
        threshold=np.array([_number(node.get("threshold", 0.0)) for node in nodes]),
        value=np.array([node.get("leaf_value", 0.0) for node in nodes])[:, None] * output,
        categories=_lightgbm_categories(nodes),
    )


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in ("left_child", "right_child"):
        if child in node:
            yield from _walk(node[child])


def _number(threshold: float | str) -> float:
    """Return a threshold; that of a split by categories, which is a text, plays no part."""
    return np.nan if isinstance(threshold, str) else threshold


def _missing_goes_left(node: dict[str, Any]) -> bool:
    if node["missing_type"] == "Zero":
        raise UnsupportedStructureError("LightGBM: zero_as_missing=True is not read.")
    if node["decision_type"] == "==":  # what is no category goes right
        return False
    if node["missing_type"] == "None":  # none was seen when it was fitted: then it counts as 0
        return bool(node["threshold"] >= 0)
    return bool(node["default_left"])


def _lightgbm_categories(nodes: list[dict[str, Any]]) -> NDArray[np.bool_] | None:
    """Read splits like "0||3||5"; None when there are none."""
    codes = {
        i: [int(code) for code in node["threshold"].split("||")]
        for i, node in enumerate(nodes)
        if node.get("decision_type") == "=="
    }
    if not codes:
        return None
    if (largest := max(max(of_node) for of_node in codes.values())) >= MOST_CODES:
        raise UnsupportedStructureError(
            f"LightGBM: categories up to {MOST_CODES - 1} are read, got {largest}."
        )
    categories = np.zeros((len(nodes), MOST_CODES), dtype=bool)
    for i, of_node in codes.items():
        categories[i, of_node] = True
    return categories


def _xgboost(estimator: Any, scale: str) -> TreeStructure | None:
    if estimator.missing is not None and not np.isnan(estimator.missing):
        raise UnsupportedStructureError(
            f"XGBoost: missing={estimator.missing} is not read, only NaN."
        )
    booster = estimator.get_booster()
    learner = json.loads(booster.save_raw("json"))["learner"]
    if learner["gradient_booster"]["name"] != "gbtree":
        raise UnsupportedStructureError(
            f"XGBoost: booster {learner['gradient_booster']['name']!r} is not read."
        )
    model = learner["gradient_booster"]["model"]
    parameters = learner["learner_model_param"]
    n_outputs = max(1, int(parameters["num_class"]), int(parameters["num_target"]))
    last = model["iteration_indptr"][_n_iterations(estimator, booster)]
    trees = [
        _xgboost_tree(tree, np.eye(n_outputs)[output])
        for tree, output in list(zip(model["trees"], model["tree_info"], strict=True))[:last]
    ]
    objective = learner["objective"]["name"]
    offset = _xgboost_offset(parameters["base_score"], objective, n_outputs)
    margins = TreeStructure(trees, offset, np.float32, agreement=FLOAT32_AGREEMENT)
    if scale == "prediction":
        return _of_objective(margins, objective, _XGBOOST_LINKS)
    if scale == "probability" and objective not in (
        "binary:logistic",
        "multi:softprob",
        "multi:softmax",
    ):
        return None
    if scale == "probability" and int(parameters["num_target"]) > 1:
        return replace(margins, link=expit)  # several labels at once, each by itself
    return _linked(margins, scale, n_outputs)


def _n_iterations(estimator: Any, booster: Any) -> int:
    """Count the iterations that predict uses: up to the best one after early stopping."""
    best = getattr(estimator, "best_iteration", None)
    return int(booster.num_boosted_rounds() if best is None else best + 1)


def _xgboost_offset(base_score: str, objective: str, n_outputs: int) -> Floats:
    """Turn the base score, one number or one for each output, into margins."""
    scores = np.array(json.loads(base_score), dtype=np.float32).astype(np.float64)
    if objective in ("binary:logistic", "reg:logistic"):
        scores = logit(scores)
    elif _XGBOOST_LINKS.get(objective) is np.exp:
        scores = np.log(scores)
    return np.broadcast_to(scores, n_outputs).copy()


def _xgboost_tree(tree: dict[str, Any], output: Floats) -> Tree:
    if tree["categories"] or int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise UnsupportedStructureError(
            "XGBoost: splits by category, and leaves of several targets, are not read."
        )
    conditions = np.array(tree["split_conditions"], dtype=np.float32)
    return Tree(
        left=np.array(tree["left_children"]),
        right=np.array(tree["right_children"]),
        missing_left=np.array(tree["default_left"], dtype=bool),
        feature=np.array(tree["split_indices"]),
        # Less than a threshold is at most the number below it.
        threshold=np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64),
        value=conditions.astype(np.float64)[:, None] * output,  # at a leaf, its value
    )


def _of_objective(
    margins: TreeStructure, objective: str, known: dict[str, Callable[[Floats], Floats] | None]
) -> TreeStructure:
    """Put the link of a regression's objective behind its margins."""
    if objective not in known:
        raise UnsupportedStructureError(
            f"Boosting with objective {objective!r}: how it predicts is not known."
        )
    return replace(margins, link=known[objective])


_LIGHTGBM_LINKS: dict[str, Callable[[Floats], Floats] | None] = {
    "regression": None,
    "regression_l1": None,
    "huber": None,
    "fair": None,
    "quantile": None,
    "mape": None,
    "poisson": np.exp,
    "gamma": np.exp,
    "tweedie": np.exp,
}
_XGBOOST_LINKS: dict[str, Callable[[Floats], Floats] | None] = {
    "reg:squarederror": None,
    "reg:squaredlogerror": None,
    "reg:absoluteerror": None,
    "reg:pseudohubererror": None,
    "reg:quantileerror": None,
    "reg:logistic": expit,
    "count:poisson": np.exp,
    "reg:gamma": np.exp,
    "reg:tweedie": np.exp,
}
_READERS: dict[str, Callable[[Any, str], TreeStructure | None]] = {
    "DecisionTreeClassifier": _forest,
    "DecisionTreeRegressor": _forest,
    "ExtraTreeClassifier": _forest,
    "ExtraTreeRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "GradientBoostingClassifier": _gradient_boosting,
    "GradientBoostingRegressor": _gradient_boosting,
    "HistGradientBoostingClassifier": _histogram_boosting,
    "HistGradientBoostingRegressor": _histogram_boosting,
    "LGBMClassifier": _lightgbm,
    "LGBMRegressor": _lightgbm,
    "XGBClassifier": _xgboost,
    "XGBRegressor": _xgboost,
}
