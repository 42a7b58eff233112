"""Infinities where the model takes them: a ratio with a zero below the line."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from service.errors import PayloadError
from service.explainers import TabularExplainer
from service.rows.csv_rows import rows_of_csv
from service.rows.json_rows import parse
from service.rows.schema import Schema
from service.scoring import KernelScoringExplainer, ScoringModel, load, save
from service.web.protocols.openapi import _cell
from tests.shapley_by_definition import shapley_by_definition

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
X[::10, 1] = np.inf
X[5::10, 1] = -np.inf
Y = X[:, 0] + np.clip(X[:, 1], -2, 2)
FRAME = pd.DataFrame(X, columns=["a", "ratio", "c"])


def clipped(rows):
    return np.clip(rows, -2, 2)


def add_up(rows):
    """A plain function that takes them."""
    return np.clip(np.asarray(rows, dtype=float), -2, 2).sum(axis=1) ** 2


MODELS = [
    (LGBMRegressor(n_estimators=10, verbose=-1), "tree"),
    (LGBMClassifier(n_estimators=10, verbose=-1), "tree"),
    (HistGradientBoostingRegressor(max_iter=10), "tree"),
    (make_pipeline(FunctionTransformer(clipped), KNeighborsRegressor()), "kernel"),
    (make_pipeline(FunctionTransformer(clipped), Ridge()), "kernel"),
    (add_up, "kernel"),
]


@pytest.mark.parametrize("rows", [X, FRAME, FRAME.astype("float32")], ids=["array", "f64", "f32"])
@pytest.mark.parametrize(("model", "method"), MODELS, ids=lambda value: type(value).__name__)
def test_rows_with_infinities_are_explained_and_served(model, method, rows):
    """By definition on the rows as they are; over JSON they come as text."""
    if hasattr(model, "fit"):
        model.fit(rows, Y > 0 if isinstance(model, LGBMClassifier) else Y)
    explainer = TabularExplainer(model, rows[:12])
    assert explainer.method == method
    matrix = np.asarray(rows, dtype=np.float64)

    def ask(hybrids):
        taken = hybrids
        if isinstance(rows, pd.DataFrame):
            taken = pd.DataFrame(hybrids, columns=rows.columns).astype(rows.dtypes)
        if isinstance(model, LGBMClassifier):
            margins = model.predict(taken, raw_score=True)
            return np.stack([-margins, margins], axis=1)
        return model.predict(taken) if hasattr(model, "predict") else model(taken)

    values = explainer.row_explainer.explain(rows[20:21]).values
    expected = shapley_by_definition(ask, matrix[20], matrix[:12], np.ones(12))
    np.testing.assert_allclose(values.reshape(expected.shape), expected, rtol=0, atol=1e-6)
    served = ScoringModel(model, KernelScoringExplainer(explainer))
    served.self_check()
    names = served.schema.names
    record = {names[0]: matrix[20, 0], names[1]: "Infinity", names[2]: matrix[20, 2]}
    answer = served.score(json.dumps([record]))
    got = np.array(answer["local_importance_values"]).reshape(expected.shape)
    np.testing.assert_allclose(got, values.reshape(expected.shape), rtol=0, atol=1e-12)


def test_infinities_are_refused_where_the_examples_had_none():
    """By column and row, with what is expected there."""
    model = LGBMRegressor(n_estimators=5, verbose=-1).fit(FRAME, Y)
    served = ScoringModel(model, KernelScoringExplainer(TabularExplainer(model, FRAME)))
    for word in ("Infinity", "-Infinity", "1e999", "-1e999"):
        with pytest.raises(PayloadError, match=r"Column 'a', row 1: expected a number, got -?inf"):
            served.score(f"[[0.0, 1.0, 0.0], [{word}, 1.0, 0.0]]")
    for word in ("Infinity", "-Infinity"):
        with pytest.raises(PayloadError, match=r"Column 'a', row 0: expected a number, got"):
            served.score([{"a": word, "ratio": 1.0, "c": 0.0}])
    with pytest.raises(
        PayloadError, match=r"'ratio', row 0: expected a number, \"Infinity\", \"-Infinity\", got"
    ):
        served.score([{"a": 1.0, "ratio": "much", "c": 0.0}])


@pytest.mark.parametrize("dtype", ["float64", "float32", "Float64", "object"])
def test_every_form_of_an_infinity_is_read_alike(dtype):
    """JSON text, a number beyond doubles, CSV, a frame and an array."""
    frame = FRAME.astype({"ratio": dtype})
    schema = Schema.of(frame, None, None)
    expected = np.array([[1.0, np.inf, 2.0], [1.0, -np.inf, 2.0]])
    records = [{"a": 1.0, "ratio": word, "c": 2.0} for word in ("Infinity", "-Infinity")]
    huge = json.loads("[[1.0, 1e999, 2.0], [1.0, -1e999, 2.0]]")
    tokens = parse("[[1.0, Infinity, 2.0], [1.0, -Infinity, 2.0]]", schema)
    for rows in (records, huge, tokens, expected, pd.DataFrame(expected, columns=frame.columns)):
        np.testing.assert_array_equal(np.asarray(schema.matrix(rows), dtype=float), expected)
    for text in ("a,ratio,c\n1,inf,2\n1,-inf,2\n", "a,ratio,c\n1,Infinity,2\n1,-Infinity,2\n"):
        read = parse(rows_of_csv(text, schema), schema)
        np.testing.assert_array_equal(np.asarray(read, dtype=float), expected)
    assert schema.records(schema.matrix(expected))[0]["ratio"] == "Infinity"
    assert _cell(schema.columns[1]) == {"type": ["number", "string"]}
    assert _cell(schema.columns[0]) == {"type": ["number"]}


def test_the_manifest_has_the_example_in_words(tmp_path):
    """JSON has no number for it."""
    model = LGBMRegressor(n_estimators=5, verbose=-1).fit(FRAME, Y)
    save(
        KernelScoringExplainer(TabularExplainer(model, FRAME)),
        tmp_path / "saved",
        original_model=model,
    )
    manifest = json.loads((tmp_path / "saved" / "scoring_explainer.json").read_text())
    assert manifest["example"]["rows"][0]["ratio"] == "Infinity"
    assert [column["takes_infinity"] for column in manifest["columns"]] == [False, True, False]
    ScoringModel.load(tmp_path / "saved").self_check()
    assert load(tmp_path / "saved").schema.columns[1].takes_infinity


@pytest.mark.filterwarnings("ignore:invalid value")  # of scikit-learn's own look at the rows
def test_a_model_that_takes_none_says_so_itself():
    """scikit-learn's own message, when the explainer is built."""
    model = Ridge().fit(clipped(X), Y)
    with pytest.raises(ValueError, match="infinity"):
        TabularExplainer(model, X)


ROWS = FRAME[["a", "c"]]
LINEAR = Ridge().fit(ROWS, Y)


@pytest.mark.parametrize(
    "row", [ROWS.iloc[3], ROWS.to_numpy()[3], ROWS.iloc[3][["c", "a"]], ROWS.loc[3]]
)
def test_a_row_is_a_table_of_one_row(row):
    """A Series, matched by its names in any order, and an array of one axis.

    Only what is told row by row loses the axis of rows.
    """
    explainer = TabularExplainer(LINEAR, ROWS)
    expected = explainer.explain_local(ROWS[3:4]).local_importance_values
    assert [explainer.explain_local(row).local_importance_values] == expected
    assert KernelScoringExplainer(explainer).explain(row) == expected
    assert explainer.explain_global(row).num_examples == 1


def test_a_row_of_several_types_is_a_table_too():
    """Numbers, text and dates of a Series of objects keep their kinds."""
    frame = pd.DataFrame(
        {
            "n": [1, 2, 3],
            "text": ["x", "y", "z"],
            "day": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-05"]),
            "flag": [True, False, True],
        }
    )

    def function(rows):
        return rows["n"] + (rows["text"] == "y") + rows["day"].dt.day * rows["flag"]

    explainer = TabularExplainer(function, frame)
    expected = explainer.explain_local(frame[1:2]).local_importance_values
    assert [explainer.explain_local(frame.iloc[1]).local_importance_values] == expected


def test_a_row_that_does_not_fit_is_refused_like_a_table():
    """Too few numbers, or other names."""
    explainer = TabularExplainer(LINEAR, ROWS)
    with pytest.raises(PayloadError, match=r"expected an array of shape \(n, 2\), got \(1, 3\)"):
        explainer.explain_local(np.zeros(3))
    with pytest.raises(PayloadError, match="missing column 'c'"):
        explainer.explain_local(pd.Series({"a": 1.0, "b": 2.0}))


def test_a_table_with_infinities_is_written_and_read_as_parquet_holds_it():
    """A column of doubles has them as numbers."""
    buffer = io.BytesIO()
    FRAME.to_parquet(buffer)
    read = pd.read_parquet(buffer)
    np.testing.assert_array_equal(Schema.of(FRAME, None, None).matrix(read), X)
