"""Transformations in all their spellings, and models behind them, against the definition."""

import numpy as np
import pandas as pd
from shapley_by_definition import shapley_by_definition
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeRegressor

from service.explainers import TabularExplainer


def make_frame(n=24):
    """Texts, numbers with missing values, and integers."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "town": rng.choice(["Bern", "Chur", "Genf", "Zug"], n, p=[0.4, 0.3, 0.2, 0.1]),
            "sex": rng.choice(["f", "m"], n),
            "age": rng.normal(40, 10, n),
            "income": rng.lognormal(1, 0.5, n),
            "rooms": rng.integers(1, 6, n),
        }
    )
    frame.loc[::5, "income"] = np.nan
    return frame


FRAME = make_frame()
TARGET = (
    FRAME["age"] / 10 + FRAME["rooms"] * (FRAME["town"] == "Bern") + FRAME["income"].fillna(2)
).to_numpy()
TEXTS = ["town", "sex"]


def filled():
    return make_pipeline(SimpleImputer(), StandardScaler())


def columns(*blocks, **options):
    return make_column_transformer(*blocks, **options)


def one_hot(**options):
    return columns((OneHotEncoder(**options), TEXTS), (filled(), ["age", "income"]))


SPELLINGS = {
    "names": columns((OneHotEncoder(), ["town"]), (filled(), ["age", "income"])),
    "positions": columns((OneHotEncoder(), [0, 1]), (StandardScaler(), [2, 4])),
    "negative positions": columns((OneHotEncoder(), [-5]), (StandardScaler(), [-1, -3])),
    "slice of positions": columns((OneHotEncoder(), slice(0, 2)), (filled(), slice(2, None))),
    "slice of names": columns((OneHotEncoder(), slice("town", "sex")), (filled(), ["income"])),
    "mask": columns(
        (OneHotEncoder(), [True, False, False, False, False]),
        (StandardScaler(), [False, False, True, False, True]),
    ),
    "callable": columns(
        (OneHotEncoder(), make_column_selector(dtype_exclude=np.number)),
        (filled(), make_column_selector(dtype_include=np.number)),
    ),
    "index": columns((OneHotEncoder(), pd.Index(TEXTS)), (filled(), pd.Index(["age"]))),
    "rest passes": columns(
        (OneHotEncoder(), TEXTS), (filled(), ["income"]), remainder="passthrough"
    ),
    "rest is filled": columns((OneHotEncoder(), TEXTS), remainder=filled()),
    "drop and passthrough": columns(
        ("drop", ["sex"]), ("passthrough", ["rooms"]), (OneHotEncoder(), ["town"])
    ),
    "drop first": one_hot(drop="first"),
    "drop if binary": one_hot(drop="if_binary"),
    "drop chosen": one_hot(drop=np.array(["Chur", "m"], dtype=object)),
    "infrequent": one_hot(min_frequency=5, handle_unknown="infrequent_if_exist"),
    "few categories": one_hot(max_categories=2),
    "dense": one_hot(sparse_output=False),
    "ordinal": columns((OrdinalEncoder(), TEXTS), (filled(), ["rooms"])),
    "target": columns((TargetEncoder(), TEXTS), (filled(), ["age"])),
    "column twice": columns((filled(), ["age", "rooms"]), (KBinsDiscretizer(3), ["rooms", "age"])),
    "indicators": columns((SimpleImputer(add_indicator=True), ["age", "income"])),
    "polynomials": columns((PolynomialFeatures(2), ["age", "rooms"]), (OneHotEncoder(), ["town"])),
    "components": make_pipeline(
        columns((OneHotEncoder(sparse_output=False), ["town"]), (filled(), ["age", "income"])),
        PCA(3),
    ),
    "function": columns((FunctionTransformer(np.cbrt), ["age", "rooms"])),
    "nested": columns(
        (columns((OneHotEncoder(), ["sex"]), remainder=OrdinalEncoder()), TEXTS), (filled(), [3])
    ),
    "union": make_union(
        columns((OneHotEncoder(), TEXTS)), columns((filled(), ["age", "income", "rooms"]))
    ),
    "weighted union": FeatureUnion(
        [("a", columns((OneHotEncoder(), ["town"]))), ("b", columns((filled(), ["age"])))],
        transformer_weights={"a": 2.0},
    ),
    "frames": one_hot(sparse_output=False).set_output(transform="pandas"),
    "text of one column": columns((TfidfVectorizer(), "town"), (filled(), ["rooms"])),
    "steps": make_pipeline(one_hot(), StandardScaler(with_mean=False)),
}
MODELS = {
    "linear": Ridge(),
    "tree": DecisionTreeRegressor(max_depth=4, random_state=0),
    "boosting": GradientBoostingRegressor(n_estimators=5, random_state=0),
    "kernel": KNeighborsRegressor(3),
}
ROW = 3


def by_definition(transformer, model, frame=FRAME, row=ROW):
    """Average over all coalitions, through the user's own objects."""

    def predict(hybrids):
        rows = pd.DataFrame(hybrids, columns=frame.columns).astype(frame.dtypes)
        return model.predict(transformer.transform(rows))

    matrix = frame.to_numpy(dtype=object)
    return shapley_by_definition(predict, matrix[row], matrix, np.ones(len(matrix)))[0]


def check_spelling(spelling, name):
    transformer = SPELLINGS[spelling].fit(FRAME, TARGET)
    made = transformer.transform(FRAME)
    model = MODELS[name].fit(made, TARGET)
    explainer = TabularExplainer(model, FRAME, transformations=transformer, background="whole")
    local = explainer.explain_local(FRAME[ROW : ROW + 1], engineered=name == "linear")
    (values,) = local.local_importance_values
    expected = by_definition(transformer, model)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9, err_msg=name)
    predicted = model.predict(made[ROW : ROW + 1])[0]
    np.testing.assert_allclose(local.expected_values + sum(values), predicted, atol=1e-9)
    if name == "linear":
        engineered = local.engineered
        assert len(engineered.features) == made.shape[1]
        np.testing.assert_allclose(engineered.expected_values, local.expected_values)
        total = sum(engineered.local_importance_values[0])
        np.testing.assert_allclose(total, sum(values), rtol=0, atol=1e-9)
