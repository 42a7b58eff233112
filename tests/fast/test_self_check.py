"""The self-check sends the recorded example as a client would, and compares all answers for it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBRegressor

from service.errors import SelfCheckError
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"a": RNG.normal(size=60), "owner": ["x", None, "y", "x"] * 15})
TARGET = FRAME["a"] + 3 * FRAME["owner"].isna()


def encoded(last):
    encode = make_column_transformer((OneHotEncoder(), ["owner"]), remainder="passthrough")
    return make_pipeline(encode, last)


def scoring_of(model, rows, **options):
    return KernelScoringExplainer(TabularExplainer(model, rows, **options))


def with_changes(scoring, **changes):
    """The same scoring explainer with other fields in its core."""
    other = object.__new__(KernelScoringExplainer)
    other._explainer = replace(scoring.row_explainer, **changes)
    return other


@pytest.mark.parametrize(
    ("model", "output"),
    [
        (encoded(LinearRegression()), "auto"),
        (encoded(LogisticRegression()), "margin"),
        (encoded(LogisticRegression()), "probability"),
        (encoded(KNeighborsClassifier()), "auto"),
    ],
)
def test_a_model_and_its_explainer_pass(model, output):
    """Of every scale, also where another subset is reported."""
    y = TARGET if "regression" in str(model).lower() and output == "auto" else TARGET > 1
    model.fit(FRAME, y)
    ScoringModel(model, scoring_of(model, FRAME, output=output)).self_check()
    part = scoring_of(model, FRAME, output=output, explain_subset=["a"])
    ScoringModel(model, part).self_check()


def test_an_example_that_the_parser_refuses_fails():
    """With the parser's own sentence."""
    model = encoded(LinearRegression()).fit(FRAME, TARGET)
    scoring = scoring_of(model, FRAME)
    example = scoring.row_explainer.example.copy()
    example[0, 0] = np.nan
    with pytest.raises(SelfCheckError, match=r"taken as JSON, but: Column 'a', row 0: expected"):
        ScoringModel(model, with_changes(scoring, example=example)).self_check()


def test_an_answer_other_than_that_for_the_example_as_it_came_fails():
    """A mark that was lost on the way gives another answer, although the importances add up."""
    model = encoded(LinearRegression()).fit(FRAME, TARGET)
    rows = FRAME[1:]  # the first has no owner
    scoring = scoring_of(model, rows)
    assert scoring.row_explainer.example_output == pytest.approx(model.predict(rows[:1])[:, None])
    ScoringModel(model, scoring).self_check()
    lost = scoring.row_explainer.example.copy()
    lost[0, 1] = "x"
    with pytest.raises(SelfCheckError, match="answered as when the explainer was built"):
        ScoringModel(model, with_changes(scoring, example=lost)).self_check()


@pytest.mark.parametrize(("unit", "offset"), [(1.0, 0.0), (1e-9, 0.0), (1e6, 0.0), (1.0, 1e4)])
def test_another_model_fails_whatever_the_unit_of_its_output(unit, offset):
    """Models that differ by a ten-thousandth of the spread of their outputs."""
    x = FRAME[["a"]].assign(b=RNG.normal(size=60))
    y = unit * (x["a"] - x["b"]) + offset
    model = LinearRegression().fit(x, y)
    other = LinearRegression().fit(x, y + 1e-4 * unit)
    scoring = scoring_of(model, x)
    ScoringModel(model, scoring).self_check()
    with pytest.raises(SelfCheckError, match="make the scoring explainer from this model"):
        ScoringModel(other, scoring).self_check()


def test_a_model_in_single_precision_passes_far_from_zero():
    """XGBoost adds up in it: 190 is known to some millionths of itself."""
    x = FRAME[["a"]].assign(b=RNG.normal(size=60))
    model = XGBRegressor(n_estimators=30, n_jobs=1).fit(x, 1e-2 * x["a"] + 1e4)
    ScoringModel(model, scoring_of(model, x)).self_check()
