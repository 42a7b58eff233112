"""The trees of XGBoost, out of its JSON; the library is not imported.

What is read and what is not stands in the table of :mod:`service.structures.trees`. Next:
:mod:`service.structures.combined`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from service.errors import UnsupportedStructureError
from service.shapley.games import Link
from service.shapley.trees import Tree
from service.structures.class_names import library_name
from service.structures.encoders import CutTexts, Encoder, PandasCodes
from service.structures.family import Family
from service.structures.links import Floats
from service.structures.trees import MOST_CODES, TreeStructure, behind_objective

# XGBoost adds up in float32: its margins differ from the exact sum of its own trees by some 1e-7 of
# the largest.
FLOAT32_ROUNDING = 1e-6
SMALLEST_SCORE = 1e-6  # a probability is as far from 0 and 1, as where one class was seen

# The links of the objectives whose predictions are a number.
_LINKS: dict[str, Link | None] = {
    "reg:squarederror": None,
    "reg:squaredlogerror": None,
    "reg:absoluteerror": None,
    "reg:pseudohubererror": None,
    "reg:quantileerror": None,
    "rank:ndcg": None,
    "rank:map": None,
    "rank:pairwise": None,
    "reg:logistic": expit,
    "count:poisson": np.exp,
    "reg:gamma": np.exp,
    "reg:tweedie": np.exp,
    "binary:logistic": expit,
}


def _margin_of_probability(scores: Floats) -> Floats:
    return logit(np.clip(scores, SMALLEST_SCORE, 1 - SMALLEST_SCORE))


_INVERSES: dict[Link | None, Link] = {expit: _margin_of_probability, np.exp: np.log}


@dataclass(frozen=True)
class BoosterModel:
    """A trained ``xgboost.Booster``, asked with rows, where it wants a matrix of its own.

    Attributes
    ----------
    booster : xgboost.Booster
    """

    booster: Any

    missing = np.nan

    def predict(self, rows: Any, output_margin: bool = False) -> Any:
        """Return what the booster predicts: a number a row, or a column for each class or target.

        Parameters
        ----------
        rows : DataFrame or array of shape (n_rows, n_features)
        output_margin : bool, default False
        """
        import xgboost  # whoever brings a booster has it

        names = self.booster.feature_names
        # Names that differ from its own are the booster's to refuse; where it has none, none count.
        bare = np.asarray(rows) if names is None else rows
        matrix = xgboost.DMatrix(bare, enable_categorical=True)
        return self.booster.predict(matrix, output_margin=output_margin)

    @property
    def feature_names_in_(self) -> Any:
        """The names of the columns that it was trained on, None where it has none."""
        names = self.booster.feature_names
        return None if names is None else np.array(names, dtype=object)

    def get_booster(self) -> Any:
        """Return the booster, as XGBoost's own estimators do."""
        return self.booster


def with_rows(model: Any) -> Any:
    """Return a model that is asked with rows: the model itself, or one around a bare booster."""
    is_booster = library_name(model) == "xgboost" and type(model).__name__ == "Booster"
    return BoosterModel(model) if is_booster else model


def read_booster(model: BoosterModel, scale: str) -> TreeStructure | None:
    """Read the trees of a booster, which predicts as its objective says.

    Raises
    ------
    UnsupportedStructureError
        As :func:`read_xgboost`.
    """
    config = json.loads(model.booster.save_config())
    objective = config["learner"]["objective"]["name"]
    of_probabilities = (objective, scale) == ("multi:softprob", "prediction")
    return read_xgboost(model, "probability" if of_probabilities else scale)


def read_xgboost(estimator: Any, scale: str) -> TreeStructure | None:
    """Read the estimators of XGBoost: classifiers, regressors, rankers, random forests.

    Returns
    -------
    TreeStructure or None
        None for probabilities that are no logistic function or softmax of the margins.

    Raises
    ------
    UnsupportedStructureError
        When the trees cannot be read, or it is not known how the objective predicts.
    """
    _check_missing(estimator)
    booster = estimator.get_booster()
    learner = json.loads(booster.save_raw("json"))["learner"]
    margins = _read_margins(learner, _n_iterations(estimator, booster))
    objective = learner["objective"]["name"]
    if scale == "margin":
        return margins
    if scale == "prediction":
        return behind_objective(margins, objective, _LINKS)
    if objective not in ("binary:logistic", "multi:softprob", "multi:softmax"):
        return None
    if int(learner["learner_model_param"]["num_target"]) > 1:
        return replace(margins, link=expit)  # several labels at once, each by itself
    return margins.as_probabilities()


def _check_missing(estimator: Any) -> None:
    """Refuse another marker of missing values than NaN."""
    if not pd.isna(estimator.missing):
        raise UnsupportedStructureError(
            f"XGBoost: missing={estimator.missing} is not read, only NaN."
        )


def _n_iterations(estimator: Any, booster: Any) -> int:
    """Count the iterations that predict uses: up to the best one after early stopping."""
    best = getattr(estimator, "best_iteration", None)
    if best is None:
        return int(booster.num_boosted_rounds())
    return int(best + 1)


def _read_margins(learner: Mapping[str, Any], n_iterations: int) -> TreeStructure:
    """Read the sum of the trees of the first iterations, on top of the base score."""
    booster, parameters = learner["gradient_booster"], learner["learner_model_param"]
    if booster["name"] != "gbtree":
        raise UnsupportedStructureError(f"XGBoost: booster {booster['name']!r} is not read.")
    n_outputs = max(1, int(parameters["num_class"]), int(parameters["num_target"]))
    outputs = np.eye(n_outputs)
    model = booster["model"]
    trees = []
    for i in range(model["iteration_indptr"][n_iterations]):
        trees.append(_read_tree(model["trees"][i], outputs[model["tree_info"][i]]))
    offset = _offset(parameters["base_score"], learner["objective"]["name"], n_outputs)
    return TreeStructure(trees, offset, np.float32, rounding=FLOAT32_ROUNDING)


def _offset(base_score: str, objective: str, n_outputs: int) -> Floats:
    """Turn the base score, one number or one for each output, into margins."""
    scores = np.array(json.loads(base_score), dtype=np.float32).astype(np.float64)
    to_margins = _INVERSES.get(_LINKS.get(objective), np.asarray)
    return np.broadcast_to(to_margins(scores), n_outputs).copy()


def _read_tree(tree: Mapping[str, Any], output: Floats) -> Tree:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise UnsupportedStructureError("XGBoost: leaves of several targets are not read.")
    conditions = np.array(tree["split_conditions"], dtype=np.float32)
    # Less than a threshold is at most the number below it.
    thresholds = np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64)
    # Here the categories that a split names go right.
    is_by_category = np.array(tree["split_type"], dtype=bool)
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    return Tree(
        left=np.where(is_by_category, right, left),
        right=np.where(is_by_category, left, right),
        missing_left=np.array(tree["default_left"], dtype=bool) ^ is_by_category,
        feature=np.array(tree["split_indices"]),
        threshold=np.where(is_by_category, np.nan, thresholds),
        value=conditions.astype(np.float64)[:, None] * output,  # at a leaf, its value
        categories=_read_categories(tree),
    )


def _read_categories(tree: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    """Return which codes each split names; None when no split is by category."""
    codes = np.array(tree["categories"], dtype=np.intp)
    if not len(codes):
        return None
    if codes.max() >= MOST_CODES:
        raise UnsupportedStructureError(
            f"XGBoost: categories up to {MOST_CODES - 1} are read, got {codes.max()}."
        )
    named = np.zeros((len(tree["left_children"]), MOST_CODES), dtype=bool)
    named[np.repeat(tree["categories_nodes"], tree["categories_sizes"]), codes] = True
    return named


def open_xgboost(estimator: Any, names: Sequence[str]) -> tuple[Encoder, Any] | None:
    """Take out how categorical columns of a frame become the codes that the trees know.

    Raises
    ------
    UnsupportedStructureError
        When XGBoost has no categories to its codes, or does not keep them as they are.
    """
    booster = estimator.get_booster()
    if "c" not in (booster.feature_types or ()):  # told without writing the model out
        return None
    learner = json.loads(booster.save_raw("json"))["learner"]
    model = learner["gradient_booster"].get("model", {})
    if "cats" not in model:
        raise UnsupportedStructureError("XGBoost before 3.1: categorical columns are not read.")
    stored = filter(itemgetter("values"), model["cats"]["enc"])
    categories = list(map(_decode_categories, stored))
    if not categories:  # what is no code counts as another category there, and not as missing
        raise UnsupportedStructureError("XGBoost: categorical columns of bare codes are not read.")
    return Encoder((PandasCodes(categories),), np.arange(len(names))), estimator


def _decode_categories(stored: Mapping[str, Any]) -> list[Any] | CutTexts:
    """Return the categories of a column: numbers, or texts one after another."""
    values: list[Any] = stored["values"]
    if "offsets" not in stored:
        return values
    text = np.array(values, dtype=np.int8).tobytes()
    cut = CutTexts.at(text, stored["offsets"])
    return list(map(bytes.decode, cut.pieces)) if text.isascii() else cut


FAMILY = Family(
    library="xgboost",
    prefers_margin=True,
    margin_option="output_margin",
    open_estimator=open_xgboost,
    readers={
        "XGBClassifier": read_xgboost,
        "XGBRanker": read_xgboost,
        "XGBRegressor": read_xgboost,
        "XGBRFClassifier": read_xgboost,
        "XGBRFRegressor": read_xgboost,
    },
)
BOOSTERS = Family(
    library="service",
    margin_option="output_margin",
    open_estimator=open_xgboost,
    readers={"BoosterModel": read_booster},
)
