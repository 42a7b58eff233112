"""The trees of LightGBM, out of its own description of a model; the library is not imported.

What is read and what is not stands in the table of :mod:`service.structures.trees`. Next:
:mod:`service.structures.xgboost_trees`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from service.errors import UnsupportedStructureError
from service.shapley.games import Link
from service.shapley.trees import Tree
from service.structures.encoders import Encoder, PandasCodes
from service.structures.family import Family
from service.structures.links import Floats
from service.structures.trees import MOST_CODES, TreeStructure, behind_objective

Node = dict[str, Any]

# The links of the objectives whose predictions are a number.
_LINKS: dict[str, Link | None] = {
    "regression": None,
    "regression_l1": None,
    "huber": None,
    "fair": None,
    "quantile": None,
    "mape": None,
    "lambdarank": None,
    "rank_xendcg": None,
    "poisson": np.exp,
    "gamma": np.exp,
    "tweedie": np.exp,
    "binary": expit,
}
_OF_CLASSES = ("binary", "multiclass")


def names_fitted_on(model: Any) -> list[str]:
    """Return the names of the columns on which any model was fitted; none where it has none.

    Parameters
    ----------
    model : object
        A bare booster of LightGBM has them as well.
    """
    ask_booster = getattr(model, "feature_name", list)
    known = getattr(model, "feature_names_in_", None)
    return list(map(str, ask_booster() if known is None else known))


def as_called(names: Sequence[str], columns: Sequence[Any]) -> list[Any]:
    """Return a model's names as the columns are called, whose blanks LightGBM makes underscores.

    Parameters
    ----------
    names : sequence of str
    columns : sequence

    Examples
    --------
    >>> as_called(["zip", "mean_age"], ["mean age", "zip"])
    ['zip', 'mean age']
    """
    of_lightgbm = map(_without_blanks, columns)
    called = dict(zip([*of_lightgbm, *columns], [*columns, *columns], strict=True))
    return list(map(called.get, names, names))


def _without_blanks(column: Any) -> str:
    return str(column).replace(" ", "_")


def read_lightgbm(estimator: Any, scale: str) -> TreeStructure | None:
    """Read LightGBM's estimators, and a Booster, which predicts as its objective says.

    Returns
    -------
    TreeStructure or None
        None for probabilities that are no logistic function or softmax of the margins.

    Raises
    ------
    UnsupportedStructureError
        When the trees cannot be read, or it is not known how the objective predicts.
    """
    model = _booster_of(estimator).dump_model()
    margins = _read_margins(model)
    if scale == "margin":  # the sum, also where predictions are a mean
        return margins
    if model["average_output"]:
        margins = margins.scaled(len(margins.offset) / len(margins.trees))
    objective, *options = model.get("objective", "custom").split()
    if objective in _OF_CLASSES:
        margins = margins.scaled(_sigmoid(options))
    if scale == "prediction" and objective != "multiclass":
        return behind_objective(margins, objective, _LINKS)
    if objective not in _OF_CLASSES:
        return None
    return margins.as_probabilities()


def open_lightgbm(estimator: Any, names: Sequence[str]) -> tuple[Encoder, Any] | None:
    """Take out how categorical columns of a frame become the codes that the trees know."""
    categories = _booster_of(estimator).pandas_categorical
    if not categories:
        return None
    return Encoder((PandasCodes(categories),), np.arange(len(names))), estimator


def _booster_of(estimator: Any) -> Any:
    return getattr(estimator, "booster_", estimator)


def _read_margins(model: Mapping[str, Any]) -> TreeStructure:
    """Read the sum of all trees; they come in turns, one for each output."""
    n_outputs = model["num_tree_per_iteration"]
    outputs = np.eye(n_outputs)
    trees = []
    for i, tree in enumerate(model["tree_info"]):
        trees.append(_read_tree(tree["tree_structure"], outputs[i % n_outputs]))
    return TreeStructure(trees, np.zeros(n_outputs), np.float64)


def _sigmoid(options: Sequence[str]) -> float:
    """Return what the margin is multiplied by before the logistic function: "sigmoid:2" says 2."""
    for option in options:
        name, _, value = option.partition(":")
        if name == "sigmoid":
            return float(value)
    return 1.0


def _read_tree(root: Node, output: Floats) -> Tree:
    """Turn one tree, a nested dictionary, into arrays, in the order of a walk."""
    nodes = list(_walk(root))
    _check_leaves(nodes)
    position = {id(node): i for i, node in enumerate(nodes)}
    n_nodes = len(nodes)
    left, right = np.full((2, n_nodes), -1)
    feature = np.zeros(n_nodes, dtype=np.int_)
    threshold, value = np.zeros((2, n_nodes))
    missing_left = np.zeros(n_nodes, dtype=bool)
    for i, node in enumerate(nodes):
        if _is_split(node):
            left[i] = position[id(node["left_child"])]
            right[i] = position[id(node["right_child"])]
            feature[i] = node["split_feature"]
            threshold[i] = _threshold(node)
            missing_left[i] = _missing_goes_left(node)
        else:
            value[i] = node["leaf_value"]
    return Tree(
        left=left,
        right=right,
        missing_left=missing_left,
        feature=feature,
        threshold=threshold,
        value=value[:, None] * output,
        categories=_read_categories(nodes),
    )


def _check_leaves(nodes: Sequence[Node]) -> None:
    if any("leaf_coeff" in node for node in nodes):
        raise UnsupportedStructureError(
            "LightGBM: trees with linear models in their leaves are not read."
        )


def _walk(node: Node) -> Iterator[Node]:
    """Go through a node and everything below it, to the left first."""
    yield node
    if _is_split(node):
        yield from _walk(node["left_child"])
        yield from _walk(node["right_child"])


def _is_split(node: Node) -> bool:
    return "split_index" in node


def _is_by_category(node: Node) -> bool:
    return node.get("decision_type") == "=="


def _threshold(node: Node) -> float:
    """Return a threshold; that of a split by categories, which is a text, plays no part."""
    if _is_by_category(node):
        return np.nan
    return float(node["threshold"])


def _missing_goes_left(node: Node) -> bool:
    """Tell where a split sends a missing value."""
    if node["missing_type"] == "Zero":
        raise UnsupportedStructureError("LightGBM: zero_as_missing=True is not read.")
    if _is_by_category(node):  # what is no category goes right
        return False
    if node["missing_type"] == "None":  # none was seen when it was fitted: then it counts as 0
        return bool(node["threshold"] >= 0)
    return bool(node["default_left"])


def _read_categories(nodes: Sequence[Node]) -> NDArray[np.bool_] | None:
    """Return which codes each split sends to the left; None when no split is by category."""
    codes = _read_category_codes(nodes)
    if not codes:
        return None
    largest = max(map(max, codes.values()))
    if largest >= MOST_CODES:
        raise UnsupportedStructureError(
            f"LightGBM: categories up to {MOST_CODES - 1} are read, got {largest}."
        )
    categories = np.zeros((len(nodes), MOST_CODES), dtype=bool)
    for i, of_node in codes.items():
        categories[i, of_node] = True
    return categories


def _read_category_codes(nodes: Sequence[Node]) -> dict[int, list[int]]:
    """Read the splits that say "0||3||5", by their position."""
    codes = {}
    for i, node in enumerate(nodes):
        if _is_by_category(node):
            texts = node["threshold"].split("||")
            codes[i] = list(map(int, texts))
    return codes


FAMILY = Family(
    library="lightgbm",
    prefers_margin=True,
    margin_option="raw_score",
    open_estimator=open_lightgbm,
    readers={
        "Booster": read_lightgbm,
        "LGBMClassifier": read_lightgbm,
        "LGBMRanker": read_lightgbm,
        "LGBMRegressor": read_lightgbm,
    },
)
