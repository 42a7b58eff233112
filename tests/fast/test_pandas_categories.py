"""LightGBM and XGBoost trained on a frame's categorical columns, against the definition."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from shapley_by_definition import shapley_by_definition
from sklearn.ensemble import VotingRegressor
from sklearn.model_selection import GridSearchCV
from xgboost import XGBClassifier, XGBRegressor

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer

LIGHT = {"n_estimators": 12, "verbose": -1, "n_jobs": 1, "min_data_per_group": 5, "cat_smooth": 1}
EXTREME = {"n_estimators": 12, "n_jobs": 1, "enable_categorical": True}
N_EXAMPLES = 25
KINDS = {
    "texts": ["ash", "beech", "cedar", "fir"],
    "other letters": ["ahorn", "birke", "fährte", "日本"],
    "numbers": [7, 30, 4, 11],
    "decimals": [0.5, 2.25, 1.0, -3.0],
}


def data(values=KINDS["texts"], n_categories=30):
    """Numbers, a category of four values with some missing, and one of many."""
    rng = np.random.default_rng(0)
    n = 500
    codes, places = rng.integers(0, 4, n), rng.integers(0, n_categories, n)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "kind": pd.Categorical.from_codes(codes, values),
            "age": rng.integers(1, 90, n),
            "place": pd.Categorical.from_codes(places, [f"p{i}" for i in range(n_categories)]),
        }
    )
    frame.loc[rng.random(n) < 0.1, "kind"] = np.nan
    y = frame["size"] * (codes == 2) + 2 * (codes == 1) + places % 5 + 0.01 * frame["age"]
    return frame, y


def check(model, frame, ask, tolerance=1e-9):
    """The explainer looks into the model, and two rows agree with the definition."""
    examples = frame[:N_EXAMPLES]
    original = TabularExplainer(model, examples)
    assert (original.method, original.row_explainer.note) == ("tree", "")
    schema = original.row_explainer.schema
    values = KernelScoringExplainer(original).explain_rows(frame[100:102]).values
    weights = np.full(N_EXAMPLES, 1 / N_EXAMPLES)
    for i, row in enumerate(schema.matrix(frame[100:102])):
        expected = shapley_by_definition(
            lambda rows: ask(schema.model_rows(rows)), row, schema.matrix(examples), weights
        )
        np.testing.assert_allclose(
            values[..., i, :].reshape(-1, 4)[-1], expected[0], rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("kind", KINDS)
def test_lightgbms_categories_are_read(kind):
    """Whatever the categories are."""
    frame, y = data(KINDS[kind])
    model = LGBMRegressor(**LIGHT).fit(frame, y)
    check(model, frame, model.predict)


@pytest.mark.parametrize("options", [{}, {"max_cat_to_onehot": 1}], ids=["sets", "partitions"])
@pytest.mark.parametrize("kind", ["texts", "numbers"])
def test_xgboosts_categories_are_read(kind, options):
    """Whatever the categories are; by sets of them and one against the others."""
    frame, y = data(KINDS[kind])
    model = XGBRegressor(**EXTREME, **options).fit(frame, y)
    check(model, frame, model.predict, tolerance=1e-5)


@pytest.mark.parametrize("make", [LGBMRegressor, XGBRegressor])
def test_categories_of_the_examples_may_stand_in_another_order(make):
    """What a frame calls its categories is the frame's: the booster knows its own."""
    frame, y = data()
    model = make(**(LIGHT if make is LGBMRegressor else EXTREME)).fit(frame, y)
    turned = frame.assign(kind=frame["kind"].cat.reorder_categories(KINDS["texts"][::-1]))
    check(model, turned, model.predict, tolerance=1e-5)


@pytest.mark.parametrize("make", [LGBMRegressor, XGBRegressor])
def test_examples_may_have_fewer_categories(make):
    """Examples in which some categories do not occur and are not named."""
    frame, y = data()
    model = make(**(LIGHT if make is LGBMRegressor else EXTREME)).fit(frame, y)
    fewer = frame[frame["kind"] != "ash"]
    fewer = fewer.assign(kind=fewer["kind"].cat.remove_unused_categories())
    check(model, fewer, model.predict, tolerance=1e-5)


def test_classifiers_in_a_search_are_read():
    """A search around a classifier, on its margin."""
    frame, y = data()
    labels = (y > y.mean()).astype(int)
    light = GridSearchCV(LGBMClassifier(**LIGHT), {"num_leaves": [4, 8]}, cv=2).fit(frame, labels)
    check(light, frame, lambda rows: light.best_estimator_.predict(rows, raw_score=True))
    extreme = XGBClassifier(**EXTREME).fit(frame, labels)
    check(extreme, frame, lambda rows: extreme.predict(rows, output_margin=True), tolerance=1e-5)


def test_bare_codes_of_xgboost_are_called():
    """XGBoost told by an option which columns hold codes reads others than we do: its answer
    counts.
    """
    frame, y = data()
    coded = frame[["size", "age"]].assign(place=frame["place"].cat.codes.astype(float))
    model = XGBRegressor(**EXTREME, feature_types=["q", "q", "c"]).fit(coded, y)
    original = TabularExplainer(model, coded[:N_EXAMPLES])
    assert original.method == "kernel"
    assert "of bare codes are not read" in original.row_explainer.note
    result = original.explain_local(coded[:3].assign(place=[-1.0, 1.5, 77.0]))
    sums = np.sum(result.local_importance_values, axis=-1) + result.expected_values
    rows = coded[:3].assign(place=[-1.0, 1.5, 77.0])
    np.testing.assert_allclose(sums, model.predict(rows), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kinds", [["é", "ü", "a", "µg"], ["größe", "maß", "日本", ""]])
def test_other_letters_of_xgboost_are_read_as_it_reads_them(kinds):
    """It keeps pieces of such categories, some of them alike, and confuses those: so do we."""
    frame, y = data(kinds)
    model = XGBRegressor(**EXTREME).fit(frame, y)
    check(model, frame, model.predict, tolerance=1e-5)


def test_other_letters_among_which_xgboost_takes_new_ones_for_old_are_called():
    """What it answers for a new one depends on the other rows of the call: its answer counts."""
    frame, y = data(KINDS["other letters"])
    model = XGBRegressor(**EXTREME).fit(frame, y)
    original = TabularExplainer(model, frame[:N_EXAMPLES])
    assert original.method == "kernel"
    assert "the model is called instead" in original.row_explainer.note


@pytest.mark.parametrize("booster", [LGBMRegressor(**LIGHT), XGBRegressor(**EXTREME)])
def test_inside_of_another_model_they_are_called(booster):
    """A mean of such boosters is called, and the note says why."""
    frame, y = data()
    booster.fit(frame, y)
    model = VotingRegressor([("one", booster)])
    model.estimators_ = [booster]
    original = TabularExplainer(model, frame[:N_EXAMPLES])
    assert original.method == "kernel"
    assert "with categorical columns is not read inside" in original.row_explainer.note


def test_more_categories_than_a_split_can_name_are_called():
    """Beyond the categories that a table has room for, the model is called."""
    frame, _ = data(n_categories=300)
    model = XGBRegressor(**EXTREME, max_cat_to_onehot=1).fit(frame, frame["place"].cat.codes)
    original = TabularExplainer(model, frame[:N_EXAMPLES])
    assert original.method == "kernel"
    assert "categories up to 255 are read" in original.row_explainer.note
