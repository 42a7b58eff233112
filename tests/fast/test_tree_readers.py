"""Boosted trees of every library, and probabilities behind them, against the definition."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from shapley_by_definition import shapley_by_definition
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier, XGBRFRegressor

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer

ROOT = Path(__file__).parents[2]
N_BACKGROUND = 20
LIGHT = {"n_estimators": 15, "verbose": -1, "n_jobs": 1, "random_state": 0}
EXTREME = {"n_estimators": 15, "n_jobs": 1, "random_state": 0}


def data(n_classes):
    """Six numbers a row, a tenth of them missing."""
    X, y = make_classification(
        400, 6, n_informative=5, n_redundant=0, n_classes=n_classes, random_state=0
    )
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    return X, y


X_REGRESSION = data(2)[0]
Y_REGRESSION = 0.1 + np.abs(
    np.nan_to_num(X_REGRESSION[:, 0]) + np.nan_to_num(X_REGRESSION[:, 1] * X_REGRESSION[:, 2])
)


def explain(model, X, method, **options):
    """Explain two rows on a small background; returns the importances of all outputs, and the
    result.
    """
    original = TabularExplainer(model, X[:N_BACKGROUND], **options)
    assert (original.method, original.row_explainer.note) == (method, "")
    result = KernelScoringExplainer(original).explain_rows(X[100:102])
    return (result.values if result.values.ndim == 3 else result.values[None]), result


def check(values, function, X, tolerance=1e-10):
    """Compare the importances of the two rows with the definition; one output of a function may
    stand for two.
    """

    def outputs(rows):
        found = np.asarray(function(rows), dtype=np.float64).reshape(len(rows), -1)
        return found if found.shape[1] == len(values) else np.hstack([-found, found])

    background = np.asarray(X[:N_BACKGROUND])
    for i in range(2):
        expected = shapley_by_definition(
            outputs, np.asarray(X[100 + i]), background, np.ones(N_BACKGROUND)
        )
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(values[:, i], expected, rtol=0, atol=tolerance)


def sum_in_double_precision(model):
    """Add up an XGBoost model's own leaves, found by its own ``apply``, without the base score."""
    table = model.get_booster().trees_to_dataframe()
    leaves = (
        table[table["Feature"] == "Leaf"].set_index(["Tree", "Node"])["Gain"].astype(np.float32)
    )
    n_outputs = 1 if isinstance(model, XGBRegressor) or model.n_classes_ == 2 else model.n_classes_

    def margins(rows):
        found = model.apply(rows).astype(int)  # (n_rows, n_trees)
        parts = np.stack(
            [leaves.loc[t].loc[found[:, t]].to_numpy(np.float64) for t in range(found.shape[1])],
            axis=1,
        )
        return np.stack([parts[:, k::n_outputs].sum(axis=1) for k in range(n_outputs)], axis=1)

    return margins


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "options", [{}, {"boosting_type": "dart"}, {"boosting_type": "rf", "subsample": 0.5}]
)
def test_lightgbm_classifiers_are_explained_exactly(n_classes, options):
    """The margin, its default scale, and the probabilities: as by definition, with missing
    values.
    """
    X, y = data(n_classes)
    model = LGBMClassifier(**LIGHT, subsample_freq=1, **options).fit(X, y)
    values, result = explain(model, X, "tree")
    assert result.output == "margin"
    check(values, lambda rows: model.predict(rows, raw_score=True), X)
    values, _ = explain(model, X, "kernel/tree", output="probability")
    check(values, model.predict_proba, X)


@pytest.mark.parametrize(
    ("objective", "method"),
    [
        ("regression", "tree"),
        ("quantile", "tree"),
        ("poisson", "kernel/tree"),
        ("gamma", "kernel/tree"),
    ],
)
def test_lightgbm_regressors_are_explained_exactly(objective, method):
    """What they predict, behind the link of their objective."""
    model = LGBMRegressor(objective=objective, **LIGHT).fit(X_REGRESSION, Y_REGRESSION)
    check(explain(model, X_REGRESSION, method)[0], model.predict, X_REGRESSION)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_xgboost_classifiers_are_explained_exactly(n_classes):
    """The margin is that of its leaves in double precision; it adds up to what XGBoost serves in
    float32.
    """
    X, y = data(n_classes)
    model = XGBClassifier(**EXTREME).fit(X, y)
    values, result = explain(model, X, "tree")
    assert result.output == "margin"
    check(values, sum_in_double_precision(model), X)
    served = model.predict(X[100:102], output_margin=True).reshape(2, -1)
    explained = values.sum(axis=2).T + result.expected_values
    np.testing.assert_allclose(
        explained[:, -1], served[:, -1], rtol=0, atol=1e-6 * np.abs(served).max()
    )
    values, result = explain(model, X, "kernel/tree", output="probability")
    check(values, model.predict_proba, X, tolerance=1e-6)
    np.testing.assert_allclose(
        values.sum(axis=2).T + result.expected_values, model.predict_proba(X[100:102]), atol=1e-6
    )


@pytest.mark.parametrize(
    ("objective", "method"),
    [
        ("reg:squarederror", "tree"),
        ("reg:absoluteerror", "tree"),
        ("count:poisson", "kernel/tree"),
        ("reg:tweedie", "kernel/tree"),
        ("reg:logistic", "kernel/tree"),
    ],
)
def test_xgboost_regressors_are_explained(objective, method):
    """What they predict, behind the link of their objective, to float32."""
    y = Y_REGRESSION / Y_REGRESSION.max()
    model = XGBRegressor(objective=objective, **EXTREME).fit(X_REGRESSION, y)
    check(explain(model, X_REGRESSION, method)[0], model.predict, X_REGRESSION, tolerance=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.8]}]
)
def test_xgboost_with_several_targets_is_explained_target_by_target(options):
    """Two targets, or two quantiles of one, each with trees of its own: what is predicted, to
    float32.
    """
    y = np.stack([Y_REGRESSION, np.sqrt(Y_REGRESSION)], axis=1)
    model = XGBRegressor(**options, **EXTREME).fit(X_REGRESSION, y[:, 0] if options else y)
    values, result = explain(model, X_REGRESSION, "tree")
    check(values, model.predict, X_REGRESSION, tolerance=1e-6)
    added = values.sum(axis=2).T + result.expected_values
    np.testing.assert_allclose(added, model.predict(X_REGRESSION[100:102]), rtol=0, atol=1e-6)


def test_xgboost_with_several_labels_is_explained_label_by_label():
    """Labels that may hold together: margins and probabilities of each by itself, to float32."""
    y = np.stack([Y_REGRESSION > 1, Y_REGRESSION > 2], axis=1).astype(int)
    model = XGBClassifier(**EXTREME).fit(X_REGRESSION, y)
    values, _ = explain(model, X_REGRESSION, "tree")
    check(
        values, lambda rows: model.predict(rows, output_margin=True), X_REGRESSION, tolerance=1e-6
    )
    values, _ = explain(model, X_REGRESSION, "kernel/tree", output="probability")
    check(values, model.predict_proba, X_REGRESSION, tolerance=1e-6)


RANKERS_AND_FORESTS = {
    "LGBMRanker": (LGBMRanker(**LIGHT), {"group": [100] * 4}),
    "XGBRanker": (XGBRanker(**EXTREME), {"group": [100] * 4}),
    "XGBRFRegressor": (XGBRFRegressor(**EXTREME), {}),
    "XGBRFClassifier": (XGBRFClassifier(**EXTREME), {}),
}


@pytest.mark.parametrize("name", RANKERS_AND_FORESTS)
def test_rankers_and_forests_of_boosters_are_explained_exactly(name):
    """Of both libraries: sums of trees like the others."""
    model, options = RANKERS_AND_FORESTS[name]
    X, y = data(2)
    model.fit(X, y, **options)
    values, _ = explain(model, X, "tree")
    if name == "XGBRFClassifier":
        check(values, lambda rows: model.predict(rows, output_margin=True), X, tolerance=1e-6)
    else:
        check(values, model.predict, X, tolerance=1e-6)


def test_values_on_a_threshold_go_right_in_xgboost_and_left_in_lightgbm():
    """Whole numbers, so that many values are thresholds: as by definition in both."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, size=(300, 5)).astype(float)
    y = X[:, 0] * X[:, 1] + (X[:, 2] > 2)
    extreme = XGBRegressor(**EXTREME).fit(X, y)
    thresholds = extreme.get_booster().trees_to_dataframe()["Split"].dropna()
    assert np.isin(thresholds, X).mean() > 0.5
    check(explain(extreme, X, "tree")[0], sum_in_double_precision(extreme), X)
    light = LGBMRegressor(**LIGHT).fit(X, y)
    check(explain(light, X, "tree")[0], light.predict, X)


def test_early_stopping_keeps_the_trees_up_to_the_best():
    """As predict does, in both libraries."""
    X, y = (
        X_REGRESSION,
        np.random.default_rng(0).normal(size=400) + np.nan_to_num(X_REGRESSION[:, 0]),
    )
    extreme = XGBRegressor(**{**EXTREME, "n_estimators": 200}, early_stopping_rounds=5)
    extreme.fit(X[:200], y[:200], eval_set=[(X[200:], y[200:])], verbose=False)
    assert extreme.best_iteration + 1 < extreme.get_booster().num_boosted_rounds()
    check(explain(extreme, X, "tree")[0], extreme.predict, X, tolerance=1e-6)
    light = LGBMRegressor(**{**LIGHT, "n_estimators": 200}, early_stopping_rounds=5)
    light.fit(X[:200], y[:200], eval_X=X[200:], eval_y=y[200:])
    assert 0 < light.best_iteration_ < 200
    check(explain(light, X, "tree")[0], light.predict, X)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (LGBMClassifier(linear_tree=True, **LIGHT), "linear models in their leaves"),
        (LGBMClassifier(zero_as_missing=True, **LIGHT), "zero_as_missing"),
        (XGBClassifier(booster="gblinear", **EXTREME), "'gblinear'"),
        (XGBClassifier(missing=0.5, **EXTREME), "missing=0.5"),
        (XGBRegressor(objective="binary:logitraw", **EXTREME), "'binary:logitraw'"),
        (
            GradientBoostingClassifier(n_estimators=5, init=LogisticRegression()),
            "init=LogisticRegression",
        ),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else value,
)
def test_what_is_not_read_is_called_and_the_note_says_why(model, reason):
    """No guess: the model is called, and its importances add up."""
    X, y = data(2)
    X = np.nan_to_num(X)
    model.fit(X, y)
    original = TabularExplainer(model, X[:N_BACKGROUND])
    assert original.method == "kernel"
    assert reason in original.row_explainer.note
    result = KernelScoringExplainer(original).explain_rows(X[100:102])
    outputs = original.row_explainer.function(X[100:102])
    np.testing.assert_allclose(
        (result.values.sum(axis=-1).T + result.expected_values).reshape(2, -1), outputs, atol=1e-9
    )


@pytest.mark.parametrize(
    ("model", "n_classes"),
    [
        (GradientBoostingClassifier(n_estimators=10, random_state=0), 2),
        (GradientBoostingClassifier(n_estimators=10, random_state=0), 3),
        (GradientBoostingClassifier(n_estimators=10, loss="exponential", random_state=0), 2),
        (HistGradientBoostingClassifier(max_iter=10, random_state=0), 2),
        (HistGradientBoostingClassifier(max_iter=10, random_state=0), 3),
    ],
    ids=["gradient-2", "gradient-3", "exponential-2", "histogram-2", "histogram-3"],
)
def test_boosted_probabilities_are_explained_exactly(model, n_classes):
    """scikit-learn's boosting behind its own link, without a call of the model."""
    X, y = data(n_classes)
    X = np.nan_to_num(X)
    model.fit(X, y)
    values, _ = explain(model, X, "kernel/tree", output="probability")
    check(values, model.predict_proba, X)


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_histogram_boosting_behind_an_exponential_is_explained_exactly(loss):
    """What it predicts is the exponential of a sum of trees."""
    model = HistGradientBoostingRegressor(loss=loss, max_iter=10, random_state=0).fit(
        X_REGRESSION, Y_REGRESSION
    )
    check(explain(model, X_REGRESSION, "kernel/tree")[0], model.predict, X_REGRESSION)


def codes_and_numbers(n_classes):
    """Columns 2 and 4 hold codes, with gaps, and missing ones."""
    X, y = data(n_classes)
    rng = np.random.default_rng(1)
    X[:, 2] = rng.integers(0, 9, len(X))
    X[:, 4] = rng.choice([2.0, 5.0, 7.0, np.nan], len(X))
    return X, (y + (X[:, 2] % 3 == 1) + (X[:, 4] == 5)) % n_classes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_splits_by_category_are_read(n_classes):
    """Codes in histogram boosting and LightGBM, also missing ones: as by definition."""
    X, y = codes_and_numbers(n_classes)
    model = HistGradientBoostingClassifier(
        max_iter=15, categorical_features=[2, 4], random_state=0
    ).fit(X, y)
    assert any(
        predictor.nodes["is_categorical"].any()
        for stage in model._predictors
        for predictor in stage
    )
    check(explain(model, X, "tree")[0], model.decision_function, X)
    model = LGBMClassifier(min_data_per_group=5, cat_smooth=1, **LIGHT).fit(
        X, y, categorical_feature=[2, 4]
    )
    assert any(tree["num_cat"] for tree in model.booster_.dump_model()["tree_info"])
    check(explain(model, X, "tree")[0], lambda rows: model.predict(rows, raw_score=True), X)


def test_text_categories_of_histogram_boosting_are_read():
    """A DataFrame whose text columns the model encodes by itself, in another order than theirs."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=300),
            "colour": pd.Categorical(rng.choice(["red", "green", "blue", "grey"], 300)),
            "weight": rng.normal(size=300),
            "shape": pd.Categorical(rng.choice(["round", "square"], 300)),
        }
    )
    y = (
        frame["size"] * frame["colour"].isin(["red", "grey"])
        + (frame["shape"] == "round") * frame["weight"]
    )
    model = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(frame, y)
    original = TabularExplainer(model, frame[:N_BACKGROUND])
    assert original.method == "tree"
    values = KernelScoringExplainer(original).explain_rows(frame[100:102]).values[None]

    def predict(rows):
        return model.predict(pd.DataFrame(rows, columns=frame.columns).astype(frame.dtypes))

    check(values, predict, frame.to_numpy(dtype=object))


def test_a_pipeline_around_another_librarys_boosting_has_a_margin():
    """It is asked of the last step, and looked through."""
    X, y = data(2)
    for booster in (LGBMClassifier(**LIGHT), XGBClassifier(**EXTREME)):
        model = make_pipeline(StandardScaler().set_output(transform="pandas"), booster).fit(X, y)
        explainer = KernelScoringExplainer(TabularExplainer(model, X[:N_BACKGROUND]))
        assert (explainer.method, explainer.output) == ("tree", "margin")
        option = "raw_score" if isinstance(booster, LGBMClassifier) else "output_margin"
        served = model.predict(X[100:110], **{option: True})
        result = explainer.explain_rows(X[100:110])
        np.testing.assert_allclose(
            result.values[1].sum(axis=1) + result.expected_values[1], served, rtol=0, atol=1e-6
        )


def test_scoring_needs_neither_library(tmp_path):
    """A saved explainer answers where LightGBM, XGBoost and shap cannot be imported."""
    X, y = data(2)
    model = XGBClassifier(**EXTREME).fit(X, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, X[:N_BACKGROUND]))
    (tmp_path / "explainer.pkl").write_bytes(pickle.dumps(explainer))
    np.save(tmp_path / "rows.npy", X[100:102])
    script = (
        "import pickle, sys, numpy as np\n"
        "sys.modules.update(lightgbm=None, xgboost=None, shap=None)\n"
        "explainer = pickle.load(open(sys.argv[1] + '/explainer.pkl', 'rb'))\n"
        "print(explainer.explain_rows(np.load(sys.argv[1] + '/rows.npy')).values.tobytes().hex())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert bytes.fromhex(done.stdout) == explainer.explain_rows(X[100:102]).values.tobytes()


def test_sampled_probabilities_agree_with_calling_the_model():
    """Thirty features: within four standard errors of an estimate that calls the model, additive,
    the same bytes.
    """
    X, y = make_classification(300, 30, n_informative=10, random_state=0)
    model = GradientBoostingClassifier(n_estimators=30, random_state=0).fit(X, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, X[:200], output="probability"))
    structured = explainer.explain_rows(X[250:253])
    called = TabularExplainer(model, X[:200], output="probability", engine="kernel", random_state=5)
    called = KernelScoringExplainer(called).explain_rows(X[250:253])
    assert (structured.method, called.method) == ("kernel/tree", "kernel")
    error = np.hypot(called.standard_errors, structured.standard_errors)
    assert (np.abs(structured.values - called.values) <= 4 * error).all()
    assert np.abs(structured.values).max() > 10 * error.mean()
    outputs = model.predict_proba(X[250:253])
    np.testing.assert_allclose(
        structured.values.sum(axis=2).T + structured.expected_values, outputs, rtol=0, atol=1e-9
    )
    content = pickle.dumps(explainer)
    assert len(content) < 1_000_000
    alone = pickle.loads(content).explain_rows(X[251:252])
    assert alone.values[:, 0].tobytes() == structured.values[:, 1].tobytes()
