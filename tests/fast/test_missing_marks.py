"""None, NaN and pd.NA mean the same to a reader and different things to a model."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel, load, save

COLUMNS = {
    "booleans": [True, None, False, True],
    "text": ["x", None, "y", "x"],
    "text with NaN": ["x", np.nan, "y", "x"],
    "integers": [1, None, 2, 1],
    "numbers": [1.5, None, 2.5, 1.5],
}


def frame_with(values):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=80)})
    frame["owner"] = pd.Series(values * 20, dtype=object)
    return frame, frame["a"] + 3 * frame["owner"].isna()


def check_explained_and_served(model, frame):
    """Sums of importances, and predictions from JSON, are the model's own for the given rows."""
    expected = model.predict(frame[:4])
    scoring = KernelScoringExplainer(TabularExplainer(model, frame))
    result = scoring.explain_rows(frame[:4])
    sums = result.values.sum(axis=1) + result.expected_values
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-9)
    body = frame[:4].to_json(orient="records", double_precision=15)
    served = ScoringModel(model, scoring).score(body)["predictions"]
    np.testing.assert_allclose(served, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(handle_unknown="ignore"), TargetEncoder(cv=KFold(5))]
)
def test_a_model_that_tells_marks_apart_sees_its_own(column, encoder):
    """In every kind of object column, looked through or called."""
    frame, y = frame_with(COLUMNS[column])
    encode = make_column_transformer((encoder, ["owner"]), remainder="passthrough")
    check_explained_and_served(make_pipeline(encode, LinearRegression()).fit(frame, y), frame)


@pytest.mark.parametrize("last", [LinearRegression(), KNeighborsRegressor()])
def test_none_is_a_category_of_an_ordinal_encoder(last):
    """It is the last of the sorted categories there, where NaN would be refused."""
    frame, y = frame_with(["x", None, "y", "x"])
    encode = make_column_transformer((OrdinalEncoder(), ["owner"]), remainder="passthrough")
    check_explained_and_served(make_pipeline(encode, last).fit(frame, y), frame)


def test_an_imputer_of_none_and_a_function_that_asks_for_none():
    """``missing_values=None``, and ``is None`` in a function of the user's own."""
    frame, y = frame_with(["x", None, "y", "x"])
    impute = SimpleImputer(missing_values=None, strategy="constant", fill_value="none")
    encode = make_column_transformer(
        (make_pipeline(impute, OneHotEncoder()), ["owner"]), remainder="passthrough"
    )
    check_explained_and_served(make_pipeline(encode, LinearRegression()).fit(frame, y), frame)

    def asks(rows):
        return np.array([2.0 if value is None else 1.0 for value in rows["owner"]])

    result = TabularExplainer(asks, frame).explain_local(frame[:4])
    sums = np.sum(result.local_importance_values, axis=1) + result.expected_values
    np.testing.assert_allclose(sums, [1, 2, 1, 1], rtol=0, atol=1e-9)


def test_pandas_own_mark_reaches_the_model():
    """``pd.NA`` in a column of objects."""
    frame, _ = frame_with(["x", pd.NA, "y", "x"])

    def asks(rows):
        return np.array([2.0 if value is pd.NA else 1.0 for value in rows["owner"]])

    result = TabularExplainer(asks, frame).explain_local(frame[:4])
    sums = np.sum(result.local_importance_values, axis=1) + result.expected_values
    np.testing.assert_allclose(sums, [1, 2, 1, 1], rtol=0, atol=1e-9)


def test_arrays_and_lists_of_objects_keep_their_mark():
    """A model that was fitted on an array of objects is asked with one."""
    rng = np.random.default_rng(0)
    rows = np.empty((80, 2), dtype=object)
    rows[:, 0], rows[:, 1] = rng.normal(size=80), ["x", None, "y", "x"] * 20
    y = np.array([3.0 * (value is None) for value in rows[:, 1]])
    encode = make_column_transformer((OneHotEncoder(), [1]), remainder="passthrough")
    model = make_pipeline(encode, LinearRegression()).fit(rows, y)
    for examples in (rows, rows.tolist()):
        scoring = KernelScoringExplainer(TabularExplainer(model, examples))
        served = ScoringModel(model, scoring).score(json.dumps(rows[:4].tolist()))
        np.testing.assert_allclose(served["predictions"], y[:4], rtol=0, atol=1e-9)


def test_two_marks_in_one_column_are_refused_by_name():
    """A row from JSON could have only one of them."""
    frame, _ = frame_with([None, np.nan, "x", "y"])
    with pytest.raises(ValueError, match=r"column 'owner': expected one mark .* NaN and None"):
        TabularExplainer(lambda rows: rows["a"].to_numpy(), frame)


def test_the_mark_is_saved(tmp_path):
    """It stands in the manifest, and a loaded explainer gives it to the model."""
    frame, y = frame_with([True, None, False, True])
    encode = make_column_transformer((OneHotEncoder(), ["owner"]), remainder="passthrough")
    model = make_pipeline(encode, KNeighborsRegressor()).fit(frame, y)
    path = save(
        KernelScoringExplainer(TabularExplainer(model, frame)),
        tmp_path / "saved",
        original_model=model,
    )
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert [column["missing_mark"] for column in manifest["columns"]] == ["NaN", "None"]
    result = load(tmp_path / "saved").explain_rows(frame[:4])
    sums = result.values.sum(axis=1) + result.expected_values
    np.testing.assert_allclose(sums, model.predict(frame[:4]), rtol=0, atol=1e-9)


def test_a_model_that_sees_other_rows_than_it_was_given_is_refused():
    """Whatever is lost between the examples and what is read of them: the build says so."""
    frame = pd.DataFrame({"a": np.arange(40.0)})
    rng = np.random.default_rng(0)

    def at_random(rows):
        return rows["a"].to_numpy() + rng.normal(size=len(rows))

    with pytest.raises(ValueError, match=r"answers differ .* or the model answers at random"):
        TabularExplainer(at_random, frame)
