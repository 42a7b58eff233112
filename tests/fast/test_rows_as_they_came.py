"""Rows reach a model as it knows them: its own form and types, and no row changes another's."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    TargetEncoder,
)

from service.engines import builders
from service.errors import ModelOutputError
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, ScoringModel
from service.scoring.request import ScoringRequest

CATBOOST = {"iterations": 5, "verbose": 0, "allow_writing_files": False}
N = 60
LEVELS = np.array([0.0, 5.0, -3.0, 1.0, 9.0])


class MeansOfIntegers(RegressorMixin, BaseEstimator):
    """Takes columns of whole numbers for categories, and keeps no names of columns."""

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        self.means_ = {}
        for name in X.columns[X.dtypes.map(lambda dtype: dtype.kind == "i")]:
            self.means_[name] = pd.Series(np.asarray(y)).groupby(X[name].to_numpy()).mean()
        return self

    def predict(self, X):
        X = pd.DataFrame(X)
        total = np.zeros(len(X))
        for name in X:
            is_known = X[name].dtype.kind == "i"
            total += X[name].map(self.means_[name]) if is_known else X[name]
        return total


def serve(model, examples, **options):
    explainer = TabularExplainer(model, examples, **options)
    service = ScoringModel(model, KernelScoringExplainer(explainer))
    service.self_check()
    return explainer, service


def check(model, examples, expected, rows):
    """Served predictions are the model's, and importances add up to them."""
    explainer, service = serve(model, examples)
    answer = service.score(rows)
    np.testing.assert_allclose(answer["predictions"], expected, rtol=0, atol=1e-6)
    sums = (
        np.sum(answer["local_importance_values"], axis=1) + explainer.row_explainer.expected_values
    )
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-5)
    return explainer


def areas():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"zip": rng.integers(1000, 1005, N), "x": rng.normal(size=N)})


def test_a_model_without_names_of_columns_gets_the_frame_that_it_needs():
    """It was fitted on a frame, tells the types of its columns apart, and keeps no names."""
    frame = areas()
    model = MeansOfIntegers().fit(frame, LEVELS[frame["zip"] - 1000] + frame["x"])
    check(model, frame, model.predict(frame[:9]), frame[:9].to_json())


def test_catboost_with_integer_categories():
    """It takes no array of floats; one that was fitted on an array takes no frame."""
    frame = areas()
    model = CatBoostRegressor(cat_features=["zip"], **CATBOOST).fit(frame, frame["x"])
    check(model, frame, model.predict(frame[:9]), frame[:9].to_json())
    bare = CatBoostRegressor(**CATBOOST).fit(frame.to_numpy(), frame["x"])
    check(bare, frame, bare.predict(frame[:9].to_numpy()), frame[:9].to_json())


def test_the_largest_importances_of_a_classifier_that_answers_in_a_column():
    """CatBoost predicts one column of several classes: they are those of the predicted one."""
    frame = areas()
    labels = pd.cut(frame["x"], 3, labels=["low", "middle", "high"]).astype(str)
    model = CatBoostClassifier(**CATBOOST).fit(frame, labels)
    _, service = serve(model, frame)
    answer = service.score(frame[:5].to_json(), ScoringRequest(top_k=1))
    assert np.shape(answer["predictions"]) == (5, 1)
    importances = np.array(answer["local_importance_values"])  # (n_classes, n_rows, n_features)
    for row, predicted in enumerate(np.ravel(answer["predictions"])):
        of_class = importances[list(model.classes_).index(predicted), row]
        (largest,) = answer["top_importances"][row]
        assert abs(largest["importance"]) == np.abs(of_class).max()


def narrow(dtype):
    rng = np.random.default_rng(0)
    tenths = np.round(rng.integers(0, 5, N) * 0.1, 1)
    return pd.DataFrame({"k": tenths, "x": rng.normal(size=N)}).astype(dtype)


NARROW_ENCODERS = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "one-hot that refuses": OneHotEncoder(),
    "codes": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "targets": TargetEncoder(),
    "bins": KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"),
}


@pytest.mark.parametrize("name", NARROW_ENCODERS)
@pytest.mark.parametrize("estimator", [Ridge(1e-3), RandomForestRegressor(9, random_state=0)])
def test_narrow_numbers_are_explained_as_the_model_gets_them(name, estimator):
    """A client writes 0.4, the model gets the float32 next to it, and so does its encoder."""
    frame = narrow(np.float32)
    y = LEVELS[np.round(frame["k"] * 10).astype(int)] + frame["x"]
    columns = make_column_transformer((NARROW_ENCODERS[name], ["k"]), remainder="passthrough")
    model = make_pipeline(columns, estimator).fit(frame, y)
    rows = [{"k": k, "x": 0.5} for k in (0.1, 0.2, 0.3, 0.4)]
    expected = model.predict(pd.DataFrame(rows).astype(np.float32))
    explainer = check(model, frame, expected, json.dumps(rows))
    assert explainer.method in ("linear", "tree")
    assert np.ptp(expected) > 1


def as_texts(frame):
    return frame.astype(str)


def test_a_missing_value_changes_no_other_row():
    """Beside a null, pandas makes floats of integers and truth values: other texts."""
    rng = np.random.default_rng(0)
    frame = areas().assign(zip=lambda x: x["zip"] - 1000, flag=rng.random(N) > 0.5)
    texts = make_pipeline(FunctionTransformer(as_texts), OneHotEncoder(handle_unknown="ignore"))
    columns = make_column_transformer((texts, ["zip"]), (texts, ["flag"]), remainder="passthrough")
    y = LEVELS[frame["zip"]] + 3 * frame["flag"] + frame["x"]
    model = make_pipeline(columns, LinearRegression()).fit(frame, y)
    explainer, service = serve(model, frame, nullable=["zip", "flag"])
    known = frame[:2].to_dict("records")
    lacking = [{**known[0], "zip": None}, {**known[1], "zip": None, "flag": None}]
    alone = service.score(json.dumps(known))["predictions"]
    np.testing.assert_allclose(alone, model.predict(frame[:2]), rtol=0, atol=1e-9)
    order = [known[0], lacking[0], known[1], lacking[1]]
    answer = service.score(json.dumps(order))
    each = [service.score(json.dumps([row]))["predictions"][0] for row in order]
    assert answer["predictions"] == each
    assert answer["predictions"][::2] == alone
    sums = (
        np.sum(answer["local_importance_values"], axis=1) + explainer.row_explainer.expected_values
    )
    np.testing.assert_allclose(sums, each, rtol=0, atol=1e-9)


def centred(rows):
    rows = np.asarray(rows)
    return (rows - rows.mean(axis=0))[:, 0] * rows[:, 1]


RANKS = make_pipeline(
    FunctionTransformer(lambda rows: rows.argsort(axis=0).argsort(axis=0)), Ridge()
)


@pytest.mark.parametrize("model", [centred, RANKS], ids=["centres", "ranks"])
def test_a_model_that_looks_at_the_other_rows_is_refused(model):
    """What it answers to a row is a matter of the call, and of no importances."""
    X = np.random.default_rng(0).normal(size=(N, 3))
    if model is RANKS:
        model.fit(X, X[:, 0])
    with pytest.raises(ValueError, match="it looks at the other rows of a call"):
        TabularExplainer(model, X)


def test_rounding_of_an_output_that_is_constant_is_no_look_at_the_other_rows():
    """Long sums end differently in calls of other sizes, where there is no spread to tell by."""

    def constant(rows):
        return np.full(len(rows), 0.3 + 2e-14 * (len(rows) > 1))

    X = np.random.default_rng(0).normal(size=(N, 3))
    values = TabularExplainer(constant, X).explain_local(X[:2]).local_importance_values
    np.testing.assert_allclose(values, 0.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OneHotEncoder(handle_unknown="ignore")])
def test_a_text_that_polars_lacks_is_none(encoder):
    """A model that was fitted on Polars' table knows None, not NaN."""
    table = pl.DataFrame({"region": ["N", "S", None, "N"] * 15, "x": np.arange(60.0)})
    y = np.array([0.0, 1.0, 10.0, 0.0] * 15)
    columns = make_column_transformer((encoder, ["region"]), remainder="passthrough")
    model = make_pipeline(columns, Ridge()).fit(table, y)
    check(model, table, model.predict(table[:4]), table[:4].write_json())
    check(model, table.to_arrow(), model.predict(table[:4]), table[:4].write_json())


def test_sparse_coefficients_are_read():
    """A linear model that was made sparse, and a kernel machine of sparse rows."""
    X = np.random.default_rng(0).normal(size=(N, 4))
    model = LogisticRegression(C=0.1).fit(X, X[:, 0] > 0)
    dense = TabularExplainer(model, X).explain_local(X[:2]).local_importance_values
    sparse = TabularExplainer(model.sparsify(), X)
    assert sparse.method == "linear"
    np.testing.assert_allclose(sparse.explain_local(X[:2]).local_importance_values, dense)
    rows = csr_array(X * (X > 0))
    machine = KernelRidge(kernel="rbf").fit(rows, X[:, 0])
    assert TabularExplainer(machine, rows).method == "product"


NO_NUMBERS = {
    "complex": lambda rows: rows[:, 0] + 1j,
    "masked": lambda rows: np.ma.masked_array(rows[:, 0], rows[:, 0] > 0),
    "dates": lambda rows: rows[:, 0].astype("datetime64[s]"),
    "texts": lambda rows: list(map(str, rows[:, 0])),
    "nothing": lambda rows: rows[:, :0],
}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_answers_with_more_to_them_than_numbers_are_refused(name):
    """No imaginary part, mask or date is dropped on the way."""
    X = np.random.default_rng(0).normal(size=(N, 3))
    with pytest.raises(ModelOutputError, match="expected"):
        TabularExplainer(NO_NUMBERS[name], X)


@pytest.mark.parametrize(
    "options",
    [{"nullable": 1}, {"explain_subset": 5}, {"background": np.zeros((2, 3))}],
    ids=["nullable", "subset", "background"],
)
def test_options_of_another_type_are_refused_by_name(options):
    """A number or an array where names are expected."""
    X = np.random.default_rng(0).normal(size=(N, 3))
    with pytest.raises(ValueError, match=next(iter(options))):
        TabularExplainer(Ridge().fit(X, X[:, 0]), X, **options)


def test_an_integer_that_would_be_rounded_is_refused_with_the_cure():
    """Order numbers beyond 2^53."""
    frame = areas().assign(order=10**17 + np.arange(N))
    with pytest.raises(ValueError, match=r"beyond 2\^53 and would be rounded; turn such numbers"):
        TabularExplainer(Ridge().fit(frame, frame["x"]), frame)


def test_columns_may_be_called_alike_where_they_are_told_apart_otherwise():
    """1 and True are one key of a dictionary, and two columns."""
    frame = pd.DataFrame({"a": np.arange(6), "b": [True, False] * 3, "c": list("uvwuvw")})
    frame.columns = pd.Index([1, True, "c"], dtype=object)

    def model(rows):
        return rows.iloc[:, 0] * 1.0 + 10.0 * rows.iloc[:, 1]

    local = TabularExplainer(model, frame).explain_local(frame[:2])
    sums = np.sum(local.local_importance_values, axis=1) + local.expected_values
    np.testing.assert_allclose(sums, model(frame[:2]))


def test_a_wide_linear_model_is_explained_from_blocks(monkeypatch):
    """Many encoded columns of many examples are never held at once; the answer is the same."""
    frame = pd.DataFrame({"id": [f"n{i % 30}" for i in range(N)], "x": np.arange(float(N))})
    columns = make_column_transformer((OneHotEncoder(), ["id"]), remainder="passthrough")
    model = make_pipeline(columns, Ridge()).fit(frame, np.arange(N) % 7)
    whole = TabularExplainer(model, frame)
    monkeypatch.setattr(builders, "MOST_ENCODED", 100)
    blocks = TabularExplainer(model, frame)
    assert KernelScoringExplainer(blocks).to_dict() == KernelScoringExplainer(whole).to_dict()
    np.testing.assert_allclose(
        blocks.explain_local(frame[:3]).local_importance_values,
        whole.explain_local(frame[:3]).local_importance_values,
        rtol=0,
        atol=1e-12,
    )
