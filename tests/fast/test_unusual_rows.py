"""Rows with what training did not have: the model is asked whether it takes them."""

import json

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder
from xgboost import XGBRegressor

from service.batch import ROWS_IN_A_CHUNK, score_file
from service.errors import BatchError
from service.explainers import TabularExplainer
from service.rows.schema import Schema
from service.scoring import KernelScoringExplainer, PayloadError, ScoringModel, load, save
from service.web.metrics import Metrics

RNG = np.random.default_rng(0)
N = 120
SHOPS = {
    "text": RNG.choice(["a", "b", "c"], N),
    "integers": RNG.choice([3, 5, 9], N),
    "numbers": RNG.choice([0.5, 1.5, 2.5], N),
    "days": pd.to_datetime(RNG.choice(["2024-01-05", "2024-01-06", "2024-01-09"], N)),
}
NEW = {
    "text": "opened yesterday",
    "integers": 7,
    "numbers": 7.25,
    "days": pd.Timestamp("2025-01-01"),
}


def frame_of(kind):
    return pd.DataFrame({"v": RNG.normal(size=N), "shop": pd.Categorical(SHOPS[kind])})


def target_of(frame):
    return frame["v"] + 2.0 * (frame["shop"] == frame["shop"].cat.categories[0])


def encoded(encoder, last):
    encode = make_column_transformer((encoder, ["shop"]), remainder="passthrough")
    return make_pipeline(encode, last)


def serve(model, frame, **options):
    return ScoringModel(model, KernelScoringExplainer(TabularExplainer(model, frame, **options)))


def check_explained(served, records, expected):
    """Predictions are the model's own, and the importances add up to them."""
    answer = served.score(json.dumps(records))
    np.testing.assert_allclose(answer["predictions"], expected, rtol=0, atol=1e-9)
    importances = answer.importances
    sums = importances.expected_values + importances.values.sum(axis=1)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-9)


UNKNOWN_AS_CODE = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
TAKING = {
    "histogram boosting": HistGradientBoostingRegressor(max_iter=10),
    "LightGBM": LGBMRegressor(n_estimators=10, verbose=-1, n_jobs=1),
    "one-hot, linear": encoded(OneHotEncoder(handle_unknown="ignore"), LinearRegression()),
    "one-hot, neighbours": encoded(OneHotEncoder(handle_unknown="ignore"), KNeighborsRegressor()),
    "codes": encoded(UNKNOWN_AS_CODE, KNeighborsRegressor()),
    "targets": encoded(TargetEncoder(), LinearRegression()),
}


@pytest.mark.parametrize("name", TAKING)
@pytest.mark.parametrize("kind", SHOPS)
def test_a_new_category_is_explained_where_the_model_takes_it(name, kind):
    """Alone and beside a known one; as a DataFrame and as JSON; in the model's own answer."""
    if name == "LightGBM" and kind == "days":
        pytest.skip("LightGBM does not take categories that are dates")
    frame = frame_of(kind)
    model = TAKING[name].fit(frame, target_of(frame))
    new = pd.DataFrame({"v": [0.5], "shop": pd.Categorical([NEW[kind]])})
    served = serve(model, frame)
    (column,) = served.schema.columns[1:]
    assert column.takes_new
    records = [{"v": 0.5, "shop": column.plain(NEW[kind])}]
    check_explained(served, records, model.predict(new))
    known = {"v": -1.0, "shop": column.plain(frame["shop"][0])}
    both = np.concatenate([model.predict(new), model.predict(frame[:1].assign(v=-1.0))])
    check_explained(served, [*records, known], both)
    local = served.scoring_explainer.explain_rows(new)
    sums = local.expected_values + local.values.sum(axis=1)
    np.testing.assert_allclose(sums, model.predict(new), rtol=0, atol=1e-9)


@pytest.mark.parametrize("is_category", [True, False])
def test_the_answer_names_the_columns_of_new_categories(is_category):
    """Those of each row, of categories and of texts that repeat; not where all are known, nor of
    missing values.
    """
    frame = frame_of("text")
    target = target_of(frame)
    if not is_category:
        frame = frame.assign(shop=np.asarray(SHOPS["text"]))
    model = TAKING["one-hot, linear"].fit(frame, target)
    served = serve(model, frame, nullable=["shop"])
    rows = frame[:3].assign(shop=["a", "misspelt", None])
    answer = served.score(rows.to_json(orient="records"))
    assert answer["new_categories"] == [[], ["shop"], []]
    assert list(answer)[:2] == ["predictions", "local_importance_values"]
    assert "new_categories" not in served.score(frame[:3].to_json(orient="records"))
    metrics = Metrics("model", served)
    metrics.scored(answer)
    assert b'scoring_new_categories_total{feature="shop"} 1.0' in metrics.text()


def test_texts_that_do_not_repeat_are_no_categories():
    """As those that people write, of which the next is always another."""
    told = pd.DataFrame({"told": [f"case {i}" for i in range(40)]})
    assert Schema.of(told, None, None).new_categories(np.array([["case 41"]], dtype=object)) == []


@pytest.mark.parametrize("kind", SHOPS)
def test_a_value_of_another_type_is_no_new_category(kind):
    """Lists, truth values and text for numbers are refused where new categories are taken."""
    frame = frame_of(kind)
    served = serve(TAKING["codes"].fit(frame, target_of(frame)), frame)
    for value in ([1], True, {"left": 0, "right": 1}, {"text": 5}.get(kind, "much")):
        with pytest.raises(PayloadError, match=r"row 0: expected one of .* or a new one like them"):
            served.score(json.dumps([{"v": 0.5, "shop": value}]))


@pytest.mark.parametrize("last", [LinearRegression(), KNeighborsRegressor()])
def test_a_new_category_that_the_model_refuses_is_named(last):
    """In a column of categories, and in one of text or numbers, where only the model knows."""
    frame = frame_of("text")
    refusing = encoded(OneHotEncoder(), last)
    served = serve(refusing.fit(frame, target_of(frame)), frame)
    assert not served.schema.columns[1].takes_new
    with pytest.raises(PayloadError, match=r"'shop', row 0: expected one of 'a', 'b', 'c', got"):
        served.score('[{"v": 0.5, "shop": "opened yesterday"}]')
    for kind in ("text", "integers", "numbers"):
        plain = frame.assign(shop=np.asarray(SHOPS[kind]))
        served = serve(encoded(OneHotEncoder(), last).fit(plain, target_of(frame)), plain)
        records = json.loads(plain[:9].to_json(orient="records"))
        records[4]["shop"] = records[7]["shop"] = NEW[kind]
        named = rf"Column 'shop', row 4: expected a value that the model knows, got '?{NEW[kind]}"
        with pytest.raises(PayloadError, match=named):
            served.score(json.dumps(records))
        with pytest.raises(PayloadError, match=named):
            served.scoring_explainer.explain(records)


def test_a_refused_value_in_a_file_is_named_by_its_row_there(tmp_path):
    """Beyond the first of the chunks in which files are read."""
    frame = frame_of("text").assign(shop=SHOPS["text"])
    model = encoded(OneHotEncoder(), LinearRegression()).fit(frame, frame["v"])
    served = serve(model, frame)
    rows = pd.concat([frame] * 3, ignore_index=True)
    rows.loc[ROWS_IN_A_CHUNK + 7, "shop"] = "opened yesterday"
    rows.to_csv(tmp_path / "rows.csv", index=False)
    named = rf"Column 'shop', row {ROWS_IN_A_CHUNK + 7}: .* got 'opened yesterday'"
    with pytest.raises(BatchError, match=named):
        score_file(served, tmp_path / "rows.csv", tmp_path / "scored.csv")


def test_a_model_that_fails_on_every_row_is_not_the_clients_fault():
    """Its own error stays what it is."""
    frame = frame_of("text")
    model = encoded(OneHotEncoder(), LinearRegression()).fit(frame, target_of(frame))
    served = serve(model, frame)
    model.steps[-1][1].coef_ = np.zeros(17)
    with pytest.raises(ValueError, match="matmul") as raised:
        served.score('[{"v": 0.5, "shop": "a"}]')
    assert not isinstance(raised.value, PayloadError)


def test_what_xgboost_refuses_is_refused():
    """It knows the categories of its training alone."""
    frame = frame_of("text")
    model = XGBRegressor(n_estimators=5, n_jobs=1, enable_categorical=True)
    model.fit(frame, target_of(frame))
    served = serve(model, frame)
    with pytest.raises(PayloadError, match="'shop', row 0: expected one of 'a', 'b', 'c'"):
        served.score('[{"v": 0.5, "shop": "opened yesterday"}]')


def test_what_was_asked_is_saved(tmp_path):
    """A loaded explainer takes the same rows, and the manifest says which."""
    frame = frame_of("text")
    model = TAKING["histogram boosting"].fit(frame, target_of(frame))
    scoring = KernelScoringExplainer(TabularExplainer(model, frame, nullable=["v"]))
    path = save(scoring, tmp_path / "saved", original_model=model)
    columns = json.loads(path.with_suffix(".json").read_text())["columns"]
    assert [column["takes_new"] for column in columns] == [False, True]
    assert [column["nullable"] for column in columns] == [True, False]
    assert columns[1]["categories"] == ["a", "b", "c"]
    served = ScoringModel.load(tmp_path / "saved")
    served.self_check()
    new = pd.DataFrame({"v": [np.nan], "shop": pd.Categorical(["new"])})
    check_explained(served, [{"v": None, "shop": "new"}], model.predict(new))
    assert load(tmp_path / "saved").schema.columns[1].takes_new


COLUMNS = {
    "numbers": RNG.normal(size=N),
    "integers": RNG.integers(0, 5, N),
    "flags": RNG.random(N) < 0.5,
    "own integers": pd.array(RNG.integers(0, 5, N), dtype="Int64"),
    "single": RNG.normal(size=N).astype(np.float32),
}
IMPUTED = {
    "imputed, linear": make_pipeline(SimpleImputer(), LinearRegression()),
    "imputed, neighbours": make_pipeline(SimpleImputer(), KNeighborsRegressor()),
    "histogram boosting": HistGradientBoostingRegressor(max_iter=10),
    "LightGBM": LGBMRegressor(n_estimators=10, verbose=-1, n_jobs=1),
    "XGBoost": XGBRegressor(n_estimators=10, n_jobs=1),
}


@pytest.mark.parametrize("name", IMPUTED)
@pytest.mark.parametrize("kind", COLUMNS)
def test_a_missing_value_is_taken_where_the_builder_says_so(name, kind):
    """Where training had none: the model's own answer for a row without it."""
    frame = pd.DataFrame({"v": RNG.normal(size=N), "k": COLUMNS[kind]})
    numbers = frame.astype(np.float64)
    model = IMPUTED[name].fit(frame, numbers["v"] + numbers["k"] ** 2)
    refused = "'k', row 0: expected .* got a missing value, .* built with nullable=\\['k'\\]"
    body = [{"v": 0.5, "k": None}]
    with pytest.raises(PayloadError, match=refused):
        serve(model, frame).score(json.dumps(body))
    rows = pd.DataFrame({"v": [0.5], "k": [np.nan]})
    for nullable in (["k"], "k", True):
        answer = serve(model, frame, nullable=nullable).score(json.dumps(body))
        np.testing.assert_allclose(answer["predictions"], model.predict(rows), rtol=0, atol=1e-6)
        sums = answer.importances.expected_values + answer.importances.values.sum(axis=1)
        np.testing.assert_allclose(sums, model.predict(rows), rtol=0, atol=1e-5)


def test_missing_text_and_categories_are_taken_too():
    """Behind an imputer of text, and an encoder that ignores what it does not know."""
    frame = pd.DataFrame({"v": RNG.normal(size=N), "shop": np.asarray(SHOPS["text"], dtype=object)})
    impute = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    model = encoded(impute, LinearRegression()).fit(frame, frame["v"] + (frame["shop"] == "a"))
    rows = pd.DataFrame({"v": [0.5], "shop": pd.Series([np.nan], dtype=object)})
    served = serve(model, frame, nullable=["shop"])
    check_explained(served, [{"v": 0.5, "shop": None}], model.predict(rows))
    categories = frame.astype({"shop": "category"})
    model = TAKING["histogram boosting"].fit(categories, target_of(categories))
    rows = pd.DataFrame({"v": [0.5], "shop": pd.Categorical([None], ["a", "b", "c"])})
    served = serve(model, categories, nullable=True)
    check_explained(served, [{"v": 0.5, "shop": None}], model.predict(rows))


def test_true_means_the_columns_in_which_the_model_takes_a_missing_value():
    """An imputer of one column lets nothing into the other; names are held against the model."""
    frame = pd.DataFrame({"v": RNG.normal(size=N), "k": RNG.normal(size=N)})
    impute = make_column_transformer((SimpleImputer(), ["k"]), remainder="passthrough")
    model = make_pipeline(impute, LinearRegression()).fit(frame, frame["v"])
    explainer = TabularExplainer(model, frame, nullable=True)
    nullable = [column.nullable for column in explainer.row_explainer.schema.columns]
    assert nullable == [False, True]
    with pytest.raises(ValueError, match="takes a missing value, but it refuses one in 'v'; put"):
        TabularExplainer(model, frame, nullable=["v", "k"])
    with pytest.raises(ValueError, match=r"nullable: expected names of columns or True, got \['w'"):
        TabularExplainer(model, frame, nullable=["w"])
    with pytest.raises(ValueError, match="takes a missing value, but it refuses one in 'v', 'k'"):
        TabularExplainer(LinearRegression().fit(frame, frame["v"]), frame, nullable=True)
    assert TabularExplainer(model, frame, nullable=False).method == "linear"
