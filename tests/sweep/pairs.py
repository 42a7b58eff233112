"""Pairs of rows and a model, as users bring them: kinds of data × models of scikit-learn, LightGBM,
XGBoost and CatBoost.

Few features and few rows: the enumeration over all coalitions is then the truth within a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn import (
    calibration,
    compose,
    cross_decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    gaussian_process,
    impute,
    kernel_ridge,
    linear_model,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from xgboost import XGBClassifier, XGBRegressor

FITTED = 160  # rows that a model is fitted on
EXAMPLES = 24  # of them stand for "unknown"
PREPARE = preprocessing.StandardScaler


@dataclass(frozen=True)
class Pair:
    """A model, not yet fitted, with its rows and its target."""

    rows: str
    target: str
    model: str
    make: Callable[[], Any]

    def __str__(self):
        return f"{self.rows}-{self.target}-{self.model}"

    def fitted(self):
        """The fitted model and its rows."""
        rows = ROWS[self.rows]()
        return self.make().fit(rows, TARGETS[self.target]()), rows


def numbers():
    random = np.random.default_rng(0)
    return pd.DataFrame(random.normal(size=(FITTED, 4)).round(3), columns=["a", "b", "c", "d"])


def whole():
    """Integers of several widths and a truth value, beside what numbers() has."""
    rows = numbers()
    return pd.DataFrame(
        {
            "a": (rows["a"] * 3).round().astype("int64"),
            "b": (rows["b"] * 2).round().astype("int8"),
            "c": rows["c"] > 0,
            "d": rows["d"].astype("float32"),
        }
    )


def gaps():
    rows = numbers()
    return rows.mask(np.random.default_rng(1).random(rows.shape) < 0.15)


def nullable():
    rows = gaps()
    return rows.assign(a=(rows["a"] * 3).round()).astype({"a": "Int64", "b": "Float64"})


def codes():
    """Categories that are numbers, with gaps, beside numbers."""
    rows = numbers()
    level = (rows["a"] * 2).round().clip(-2, 2).astype("int64") + 2
    return rows.assign(a=pd.Categorical(level.mask(rows["b"] > 1.2).astype("Int64")))


def categories():
    """Categories that are words, one of them ordered, beside numbers."""
    rows = numbers()
    words = pd.cut(rows["a"], [-9, -0.5, 0.5, 9], labels=["low", "mid", "high"])
    places = np.array(["rome", "oslo", "bonn"])[(rows["b"] > 0).astype(int) + (rows["c"] > 0)]
    return rows.assign(a=words, b=pd.Categorical(places))


def words():
    """Text, with None where it is missing, beside numbers."""
    rows = categories()
    towns = rows["b"].astype(object).where(rows["d"] < 1, None)
    return rows.assign(a=rows["a"].astype(str), b=pd.Series(list(towns), dtype=object))


def dates():
    rows = numbers()
    days = pd.to_timedelta((rows["a"] * 100).round(), unit="D")
    return rows.assign(a=pd.Timestamp("2024-05-01") + days)


ROWS = {
    "numbers": numbers,
    "array": lambda: numbers().to_numpy(),
    "single": lambda: numbers().astype("float32"),
    "whole": whole,
    "gaps": gaps,
    "nullable": nullable,
    "codes": codes,
    "categories": categories,
    "words": words,
    "dates": dates,
}


def signal():
    rows = numbers().to_numpy()
    noise = np.random.default_rng(2).normal(size=FITTED) / 10
    return rows[:, 0] + rows[:, 1] * rows[:, 2] - np.maximum(rows[:, 3], 0) + noise


TARGETS = {
    "value": signal,
    "tiny": lambda: signal() * 1e-7,
    "huge": lambda: signal() * 1e9,
    "count": lambda: np.round(np.exp(signal() / 2)),
    "positive": lambda: np.exp(signal() / 2),
    "two": lambda: np.column_stack([signal(), np.roll(signal(), 1) + signal()]),
    "flag": lambda: (signal() > 0).astype(int),
    "yes": lambda: np.where(signal() > 0, "yes", "no"),
    "three": lambda: np.digitize(signal(), [-0.5, 0.5]),
    "names": lambda: np.array(["cold", "warm", "hot"])[np.digitize(signal(), [-0.5, 0.5])],
}

CAT = {"iterations": 12, "depth": 3, "verbose": False, "allow_writing_files": False}
LGBM = {"n_estimators": 8, "num_leaves": 5, "min_child_samples": 5, "n_jobs": 1, "verbose": -1}
XGB = {"n_estimators": 8, "max_depth": 3, "n_jobs": 1}
FOREST = {"n_estimators": 8, "random_state": 0}


def behind_scaling(model):
    return pipeline.make_pipeline(PREPARE(), model)


def parts():
    """What a vote, a stack or a chain is made of."""
    return [
        ("line", linear_model.Ridge()),
        ("tree", tree.DecisionTreeRegressor(max_depth=3)),
    ]


def class_parts():
    return [
        ("line", linear_model.LogisticRegression()),
        ("tree", tree.DecisionTreeClassifier(max_depth=3)),
    ]


REGRESSORS = {
    "LinearRegression": linear_model.LinearRegression,
    "Ridge": linear_model.Ridge,
    "Lasso": lambda: linear_model.Lasso(0.1),
    "Huber": lambda: linear_model.HuberRegressor(max_iter=1000),
    "BayesianRidge": linear_model.BayesianRidge,
    "PLS": cross_decomposition.PLSRegression,
    "ScaledSVR": lambda: behind_scaling(svm.SVR()),
    "LinearSVR": svm.LinearSVR,
    "NuSVR": svm.NuSVR,
    "PolySVR": lambda: svm.SVR(kernel="poly", degree=2, coef0=1),
    "KernelRidge": lambda: kernel_ridge.KernelRidge(kernel="rbf"),
    "KNN": neighbors.KNeighborsRegressor,
    "Tree": tree.DecisionTreeRegressor,
    "Forest": lambda: ensemble.RandomForestRegressor(**FOREST),
    "ExtraTrees": lambda: ensemble.ExtraTreesRegressor(**FOREST),
    "GradientBoosting": lambda: ensemble.GradientBoostingRegressor(**FOREST),
    "HistGradientBoosting": lambda: ensemble.HistGradientBoostingRegressor(max_iter=8),
    "AdaBoost": lambda: ensemble.AdaBoostRegressor(**FOREST),
    "Bagging": lambda: ensemble.BaggingRegressor(**FOREST),
    "MLP": lambda: behind_scaling(
        neural_network.MLPRegressor(
            hidden_layer_sizes=(8,), solver="lbfgs", max_iter=5000, random_state=0
        )
    ),
    "GaussianProcess": lambda: gaussian_process.GaussianProcessRegressor(alpha=0.1),
    "Polynomial": lambda: pipeline.make_pipeline(
        preprocessing.PolynomialFeatures(), linear_model.Ridge()
    ),
    "LogTarget": lambda: compose.TransformedTargetRegressor(
        linear_model.Ridge(), func=np.arcsinh, inverse_func=np.sinh
    ),
    "Voting": lambda: ensemble.VotingRegressor(parts()),
    "Stacking": lambda: ensemble.StackingRegressor(parts(), linear_model.Ridge()),
    "Search": lambda: model_selection.GridSearchCV(
        behind_scaling(linear_model.Ridge()), {"ridge__alpha": [0.1, 1]}, cv=2
    ),
    "Dummy": dummy.DummyRegressor,
    "LGBM": lambda: LGBMRegressor(**LGBM),
    "XGB": lambda: XGBRegressor(**XGB),
    "CatBoost": lambda: CatBoostRegressor(**CAT),
}
COUNTS = {
    "Poisson": linear_model.PoissonRegressor,
    "Tweedie": lambda: linear_model.TweedieRegressor(power=1.5, link="log"),
    "HistPoisson": lambda: ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=8),
    "LGBMPoisson": lambda: LGBMRegressor(objective="poisson", **LGBM),
    "XGBPoisson": lambda: XGBRegressor(objective="count:poisson", **XGB),
}
SEVERAL = {
    "LinearRegression": linear_model.LinearRegression,
    "Forest": lambda: ensemble.RandomForestRegressor(**FOREST),
    "MultiOutput": lambda: multioutput.MultiOutputRegressor(linear_model.Ridge()),
    "Chain": lambda: multioutput.RegressorChain(linear_model.Ridge()),
}
CLASSIFIERS = {
    "Logistic": linear_model.LogisticRegression,
    "LDA": discriminant_analysis.LinearDiscriminantAnalysis,
    "QDA": discriminant_analysis.QuadraticDiscriminantAnalysis,
    "NaiveBayes": naive_bayes.GaussianNB,
    "KNN": neighbors.KNeighborsClassifier,
    "ScaledSVC": lambda: behind_scaling(svm.SVC()),
    "LinearSVC": svm.LinearSVC,
    "NuSVC": lambda: svm.NuSVC(nu=0.3),
    "CalibratedSVC": lambda: calibration.CalibratedClassifierCV(svm.SVC(), ensemble=False, cv=3),
    "Tree": tree.DecisionTreeClassifier,
    "Forest": lambda: ensemble.RandomForestClassifier(**FOREST),
    "ExtraTrees": lambda: ensemble.ExtraTreesClassifier(**FOREST),
    "GradientBoosting": lambda: ensemble.GradientBoostingClassifier(**FOREST),
    "HistGradientBoosting": lambda: ensemble.HistGradientBoostingClassifier(max_iter=8),
    "AdaBoost": lambda: ensemble.AdaBoostClassifier(**FOREST),
    "Bagging": lambda: ensemble.BaggingClassifier(**FOREST),
    "MLP": lambda: behind_scaling(
        neural_network.MLPClassifier(
            hidden_layer_sizes=(8,), solver="lbfgs", max_iter=5000, random_state=0
        )
    ),
    "SGD": lambda: linear_model.SGDClassifier(random_state=0),
    "RidgeClassifier": linear_model.RidgeClassifier,
    "GaussianProcess": gaussian_process.GaussianProcessClassifier,
    "Voting": lambda: ensemble.VotingClassifier(class_parts(), voting="soft"),
    "Stacking": lambda: ensemble.StackingClassifier(
        class_parts(), linear_model.LogisticRegression(), cv=3
    ),
    "OneVsRest": lambda: multiclass.OneVsRestClassifier(linear_model.LogisticRegression()),
    "Search": lambda: model_selection.GridSearchCV(
        LGBMClassifier(**LGBM), {"n_estimators": [4, 8]}, cv=2
    ),
    "Dummy": dummy.DummyClassifier,
    "LGBM": lambda: LGBMClassifier(**LGBM),
    "XGB": lambda: XGBClassifier(**XGB),
    "CatBoost": lambda: CatBoostClassifier(**CAT),
}
# XGBoost takes only numbers as classes.
ONLY_NUMBERED = ("XGB",)
THRESHOLD = {
    "Threshold": lambda: model_selection.FixedThresholdClassifier(
        LGBMClassifier(**LGBM), threshold=0.3
    ),
}
WITH_GAPS = {
    "value": {
        "ImputedRidge": lambda: pipeline.make_pipeline(
            impute.SimpleImputer(), linear_model.Ridge()
        ),
        "IndicatedRidge": lambda: pipeline.make_pipeline(
            impute.SimpleImputer(add_indicator=True), linear_model.Ridge()
        ),
        "NeighboursRidge": lambda: pipeline.make_pipeline(
            impute.KNNImputer(), linear_model.Ridge()
        ),
        "Tree": lambda: tree.DecisionTreeRegressor(max_depth=4),
        "Forest": lambda: ensemble.RandomForestRegressor(**FOREST),
        "HistGradientBoosting": lambda: ensemble.HistGradientBoostingRegressor(max_iter=8),
        "LGBM": lambda: LGBMRegressor(**LGBM),
        "XGB": lambda: XGBRegressor(**XGB),
        "CatBoost": lambda: CatBoostRegressor(**CAT),
    },
    "three": {
        "ImputedLogistic": lambda: pipeline.make_pipeline(
            impute.SimpleImputer(strategy="median"), linear_model.LogisticRegression()
        ),
        "HistGradientBoosting": lambda: ensemble.HistGradientBoostingClassifier(max_iter=8),
        "LGBM": lambda: LGBMClassifier(**LGBM),
        "XGB": lambda: XGBClassifier(**XGB),
    },
}


def with_encoded(encoder, model, columns=("a", "b")):
    return pipeline.make_pipeline(
        compose.ColumnTransformer([("words", encoder, list(columns))], remainder="passthrough"),
        model,
    )


def one_hot():
    return preprocessing.OneHotEncoder(sparse_output=False, handle_unknown="ignore")


def ordinal():
    return preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def target_means():
    return preprocessing.TargetEncoder(cv=model_selection.KFold(3))


ENCODED = {
    "value": {
        "OneHotRidge": lambda: with_encoded(one_hot(), linear_model.Ridge()),
        "OrdinalForest": lambda: with_encoded(ordinal(), ensemble.RandomForestRegressor(**FOREST)),
        "TargetRidge": lambda: with_encoded(target_means(), linear_model.Ridge()),
        "OneHotSVR": lambda: with_encoded(one_hot(), svm.SVR()),
    },
    "names": {
        "OneHotLogistic": lambda: with_encoded(one_hot(), linear_model.LogisticRegression()),
        "OrdinalLGBM": lambda: with_encoded(ordinal(), LGBMClassifier(**LGBM)),
        "OneHotForest": lambda: with_encoded(one_hot(), ensemble.RandomForestClassifier(**FOREST)),
    },
    "yes": {"OneHotSVC": lambda: with_encoded(one_hot(), svm.SVC())},
}


# Boosters that take the categories of a frame as they are; XGBoost and CatBoost only words.
HIST = {"max_iter": 8, "categorical_features": "from_dtype"}
OF_CODES = {
    "value": {
        "LGBM": lambda: LGBMRegressor(**LGBM),
        "HistGradientBoosting": lambda: ensemble.HistGradientBoostingRegressor(**HIST),
    },
    "flag": {
        "LGBM": lambda: LGBMClassifier(**LGBM),
        "HistGradientBoosting": lambda: ensemble.HistGradientBoostingClassifier(**HIST),
    },
}
OF_WORDS = {
    "value": OF_CODES["value"]
    | {
        "XGB": lambda: XGBRegressor(enable_categorical=True, **XGB),
        "CatBoost": lambda: CatBoostRegressor(cat_features=["a", "b"], **CAT),
    },
    "flag": OF_CODES["flag"] | {"XGB": lambda: XGBClassifier(enable_categorical=True, **XGB)},
    "yes": {"CatBoost": lambda: CatBoostClassifier(cat_features=["a", "b"], **CAT)},
}


def seconds(frame):
    return frame.astype("datetime64[s]").astype("int64")


def with_dates(model):
    numbers_of_dates = preprocessing.FunctionTransformer(seconds, feature_names_out="one-to-one")
    return with_encoded(pipeline.make_pipeline(numbers_of_dates, PREPARE()), model, ("a",))


DATED = {
    "value": {
        "Ridge": lambda: with_dates(linear_model.Ridge()),
        "Forest": lambda: with_dates(ensemble.RandomForestRegressor(**FOREST)),
    },
    "flag": {"LGBM": lambda: with_dates(LGBMClassifier(**LGBM))},
}


def pairs_of(rows, models_of_target):
    pairs = []
    for target, models in models_of_target.items():
        pairs += [Pair(rows, target, name, make) for name, make in models.items()]
    return pairs


def turns(models, rows):
    """Give each model one of the kinds of rows in turn."""
    dealt = {kind: {} for kind in rows}
    for place, (name, make) in enumerate(models.items()):
        dealt[rows[place % len(rows)]][name] = make
    return dealt


def every_pair():
    pairs = pairs_of("numbers", {"value": REGRESSORS, "count": COUNTS, "two": SEVERAL})
    pairs += pairs_of("numbers", {"flag": CLASSIFIERS | THRESHOLD, "three": CLASSIFIERS})
    for kind, models in turns(REGRESSORS, ["array", "single", "whole"]).items():
        pairs += pairs_of(kind, {"value": models})
    for kind, models in turns(CLASSIFIERS, ["single", "whole", "array"]).items():
        named = {name: make for name, make in models.items() if name not in ONLY_NUMBERED}
        pairs += pairs_of(kind, {"names": named})
    for kind, models in turns(REGRESSORS, ["tiny", "huge"]).items():
        pairs += pairs_of("numbers", {kind: models})
    for kind in ("gaps", "nullable"):
        pairs += pairs_of(kind, WITH_GAPS)
    pairs += pairs_of("words", ENCODED)
    pairs += pairs_of("categories", OF_WORDS) + pairs_of("codes", OF_CODES)
    return pairs + pairs_of("dates", DATED)


PAIRS = every_pair()
