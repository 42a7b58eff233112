"""Rows of every kind of column, and models that were fitted on them: a classifier of three classes
and a regression.
"""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

N = 120


def mixed_frame():
    """Numbers with missing values, integers, booleans, text, categories and dates; index labels out
    of order.
    """
    random = np.random.default_rng(0)
    age = random.uniform(18, 80, N).round(1)
    age[::7] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "children": random.integers(0, 5, N),
            "member": random.random(N) < 0.5,
            "zip": random.choice(["02139", "94105", "10001"], N),
            "grade": pd.Categorical(
                random.choice(["low", "mid", "high"], N), ["low", "mid", "high"], ordered=True
            ),
            "joined": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(random.integers(0, 400, N), unit="D"),
        },
        index=random.permutation(N),
    )


def _preprocessing():
    seconds = FunctionTransformer(
        pd.DataFrame.astype, kw_args={"dtype": "int64"}, feature_names_out="one-to-one"
    )
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "children"]),
            ("flags", "passthrough", ["member"]),
            (
                "words",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                ["zip", "grade"],
            ),
            ("dates", make_pipeline(seconds, StandardScaler()), ["joined"]),
        ]
    )


def mixed_target(frame):
    return (
        frame["age"].fillna(40) / 10
        + frame["children"] * frame["member"]
        + (frame["zip"] == "02139") * 2
    )


def mixed_classifier(frame):
    """Predicts words, so that an answer cannot be taken for a class index."""
    labels = pd.cut(
        mixed_target(frame), [-np.inf, 5, 8, np.inf], labels=["cold", "warm", "hot"]
    ).astype(str)
    return make_pipeline(
        _preprocessing(), RandomForestClassifier(5, max_depth=4, random_state=0)
    ).fit(frame, labels)


def mixed_regressor(frame):
    return make_pipeline(_preprocessing(), Ridge()).fit(frame, mixed_target(frame))
