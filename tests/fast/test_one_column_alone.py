"""Transformers that a ColumnTransformer gives one column: whatever they do is that column's."""

import numpy as np
import pandas as pd
import pytest
from shapley_by_definition import shapley_by_definition
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer

N_EXAMPLES = 30
WORDS = ["slow", "fast", "broken", "fine", "cheap"]


def date_parts(frame):
    """Month, weekday and hour of a column of dates."""
    day = frame.iloc[:, 0].dt
    return np.column_stack([day.month, day.day_of_week, day.hour])


def data():
    """A date, a text, two numbers and a category."""
    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame(
        {
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 9000, n), "h"),
            "review": [" ".join(rng.choice(WORDS, 3)) for _ in range(n)],
            "price": rng.lognormal(size=n),
            "size": rng.normal(size=n),
            "shop": rng.choice(["a", "b", "c"], n),
        }
    )
    y = frame["day"].dt.month + 5 * frame["review"].str.contains("broken") + frame["price"]
    return frame, y + rng.normal(size=n)


def columns():
    return make_column_transformer(
        (make_pipeline(FunctionTransformer(date_parts), StandardScaler()), ["day"]),
        (make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0)), "review"),
        (make_pipeline(PolynomialFeatures(3), SplineTransformer()), ["price"]),
        (FunctionTransformer(np.tanh), [3]),
        (OneHotEncoder(), ["shop"]),
    )


BOOSTING = GradientBoostingRegressor(n_estimators=9)
MODELS = {
    "linear": (make_pipeline(columns(), Ridge()), "linear", "predict"),
    "trees": (make_pipeline(columns(), BOOSTING), "tree", "predict"),
    "margin": (make_pipeline(columns(), LogisticRegression()), "linear", "decision_function"),
    "text": (
        make_pipeline(
            make_column_transformer((CountVectorizer(), "review"), ("passthrough", ["size"])),
            Ridge(),
        ),
        "linear",
        "predict",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_one_column_becomes_is_looked_through(name):
    """Parts of dates, words, splines and functions: exact, as by the definition."""
    model, method, answer = MODELS[name]
    frame, y = data()
    if name == "text":
        frame = frame[["review", "size"]]
    model.fit(frame, y > 10 if name == "margin" else y)
    examples, rows = frame[:N_EXAMPLES], frame[100:102]
    original = TabularExplainer(model, examples)
    assert (original.method, original.row_explainer.note) == (method, "")
    values = KernelScoringExplainer(original).explain_rows(rows).values
    schema = original.row_explainer.schema
    background, weights = schema.matrix(examples), np.full(N_EXAMPLES, 1 / N_EXAMPLES)
    for i, row in enumerate(schema.matrix(rows)):
        expected = shapley_by_definition(
            lambda hybrids: getattr(model, answer)(schema.model_rows(hybrids)),
            row,
            background,
            weights,
        )
        found = values[..., i, :].reshape(-1, len(row))[-1]
        np.testing.assert_allclose(found, expected[0], rtol=0, atol=1e-9)
