from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import shap
from catboost import CatBoostRegressor
from lightgbm import LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import GradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC, OneClassSVM

from service.engines.options import EngineOptions
from service.explainers import PFIExplainer, TabularExplainer
from service.explanations import LocalExplanation
from service.scoring import KernelScoringExplainer, ModelOutputError

WINE = load_wine()
CANCER = load_breast_cancer()
DIABETES = load_diabetes()
X_WINE = StandardScaler().fit_transform(WINE.data)
X_CANCER = StandardScaler().fit_transform(CANCER.data)[:, :8]


def fitted(model, n_classes):
    X, y = (X_CANCER, CANCER.target) if n_classes == 2 else (X_WINE, WINE.target)
    return model.fit(X, y), X


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("model", "method", "output"),
    [
        (RandomForestClassifier(10, random_state=0), "tree", "probability"),
        (LogisticRegression(), "linear", "margin"),
        (RidgeClassifier(), "linear", "margin"),
        (LinearSVC(), "linear", "margin"),
        (GaussianNB(), "kernel/additive", "probability"),
        (MLPClassifier((8,), max_iter=1000, random_state=0), "kernel/network", "probability"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else value,
)
def test_every_kind_of_classifier_has_its_engine_scale_and_one_output_per_class(
    model, method, output, n_classes
):
    """The choice table holds; every class is additive on the named scale, binary classifiers have
    two classes.
    """
    model, X = fitted(model, n_classes)
    explanation = TabularExplainer(model, X).explain_local(X[:3])
    assert (explanation.method, explanation.output) == (method, output)
    assert explanation.num_classes == n_classes
    assert explanation.classes == list(range(n_classes))
    outputs = (
        model.predict_proba(X[:3]) if output == "probability" else model.decision_function(X[:3])
    )
    outputs = np.stack([-outputs, outputs], axis=1) if outputs.ndim == 1 else outputs
    values = np.array(explanation.local_importance_values)
    assert values.shape == (n_classes, 3, X.shape[1])
    assert np.ptp(values) > 0.01
    np.testing.assert_allclose(
        values.sum(axis=2).T + explanation.expected_values, outputs, rtol=0, atol=1e-9
    )


def test_a_regressor_that_has_classes_is_a_regressor():
    """CatBoost's have an empty list of them."""
    rows = np.random.default_rng(0).normal(size=(60, 3))
    model = CatBoostRegressor(iterations=5, verbose=False, allow_writing_files=False)
    explainer = TabularExplainer(model.fit(rows, rows[:, 0]), rows[:20])
    assert (explainer.output, explainer.classes) == ("prediction", None)


def test_a_binary_gradient_boosting_is_a_classifier():
    """It has one raw output inside, and two classes outside."""
    model, X = fitted(GradientBoostingClassifier(n_estimators=10, random_state=0), 2)
    explanation = TabularExplainer(model, X, classes=["malignant", "benign"]).explain_local(X[:2])
    assert (explanation.method, explanation.num_classes) == ("tree", 2)
    values = np.array(explanation.local_importance_values)
    np.testing.assert_array_equal(values[0], -values[1])


def test_the_output_can_be_chosen_and_the_engine_follows():
    """A logistic regression's probability has no closed form; a forest has no margin; Kernel SHAP
    serves any model.
    """
    model, X = fitted(LogisticRegression(), 2)
    probability = TabularExplainer(model, X[:30], output="probability").explain_local(X[40:42])
    assert (probability.method, probability.output) == ("kernel/linear", "probability")
    sums = np.array(probability.local_importance_values).sum(axis=2).T + probability.expected_values
    np.testing.assert_allclose(sums, model.predict_proba(X[40:42]), rtol=0, atol=1e-9)
    forest, X = fitted(RandomForestClassifier(5, random_state=0), 2)
    assert TabularExplainer(forest, X, engine="kernel").method == "kernel"
    with pytest.raises(ValueError, match="RandomForestClassifier: expected a classification model"):
        TabularExplainer(forest, X, output="margin")


def test_the_engines_agree_on_the_same_game():
    """Kernel SHAP, enumerating on the whole background, gives the closed forms' numbers to 1e-9."""
    for unfitted in (RandomForestClassifier(10, random_state=0), LogisticRegression()):
        model, X = fitted(unfitted, 2)
        exact = TabularExplainer(model, X[:80])
        kernel = TabularExplainer(model, X[:80], engine="kernel", background="whole")
        assert (exact.method != "kernel", kernel.method) == (True, "kernel")
        ours, theirs = (
            np.array(e.explain_local(X[100:103]).local_importance_values) for e in (exact, kernel)
        )
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_linear_importances_agree_with_shaps_linear_explainer():
    """An independent route for the closed form."""
    model = Ridge().fit(DIABETES.data, DIABETES.target)
    ours = TabularExplainer(model, DIABETES.data).explain_local(DIABETES.data[:5])
    masker = shap.maskers.Independent(DIABETES.data, max_samples=len(DIABETES.data))
    theirs = shap.LinearExplainer(model, masker).shap_values(DIABETES.data[:5])
    assert ours.method == "linear"
    np.testing.assert_allclose(ours.local_importance_values, theirs, rtol=0, atol=1e-9)


def test_a_structured_engine_that_misses_the_model_gives_way_and_says_so():
    """LightGBM's reg_sqrt squares the sum of its trees: Kernel SHAP explains it, and the manifest
    says why.
    """
    model = LGBMRegressor(n_estimators=10, reg_sqrt=True, verbose=-1, n_jobs=1).fit(
        DIABETES.data, DIABETES.target
    )
    explainer = TabularExplainer(model, DIABETES.data)
    assert explainer.method == "kernel"
    assert "tree engine differs" in KernelScoringExplainer(explainer).to_dict()["note"]


def test_mixed_columns_are_explained_through_a_pipeline():
    """Strings and numbers, a ColumnTransformer by name: importances for the raw columns,
    additive.
    """
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"colour": rng.choice(["red", "blue"], 200), "size": rng.normal(size=200), "n": range(200)}
    )
    target = (frame["colour"] == "red") ^ (frame["size"] > 0)
    columns = make_column_transformer(
        (OneHotEncoder(), ["colour"]), (StandardScaler(), ["size", "n"])
    )
    model = make_pipeline(columns, RandomForestClassifier(10, random_state=0)).fit(frame, target)
    explanation = TabularExplainer(model, frame, background="whole").explain_local(frame[:3])
    assert explanation.features == ["colour", "size", "n"]
    values = np.array(explanation.local_importance_values)
    assert np.abs(values[1, :, 0]).min() > 0.01
    sums = values.sum(axis=2).T + explanation.expected_values
    np.testing.assert_allclose(sums, model.predict_proba(frame[:3]), rtol=0, atol=1e-9)


def test_plain_functions_are_models_too():
    """One number per row is a regression, several columns are classes."""
    regression = TabularExplainer(lambda x: x[:, 0] * x[:, 1], DIABETES.data[:50]).explain_local(
        DIABETES.data[60:62]
    )
    assert np.shape(regression.local_importance_values) == (2, 10)
    assert isinstance(regression.expected_values, float)
    assert (regression.output, regression.num_classes, regression.classes) == (
        "prediction",
        1,
        None,
    )
    two = TabularExplainer(
        lambda x: np.stack([x[:, 0], x[:, 1] ** 2], axis=1), DIABETES.data[:50], classes=["a", "b"]
    )
    assert np.shape(two.explain_local(DIABETES.data[60:62]).local_importance_values) == (2, 2, 10)


def test_a_subset_reports_the_same_numbers_for_fewer_features():
    """By name or position, locally, globally and in the scoring explainer."""
    model, X = fitted(RandomForestClassifier(5, random_state=0), 2)
    names = [f"f{i}" for i in range(8)]
    whole = TabularExplainer(model, X, features=names)
    subset = TabularExplainer(model, X, features=names, explain_subset=["f3", 1])
    expected = np.array(whole.explain_local(X[:2]).local_importance_values)[:, :, [3, 1]]
    np.testing.assert_array_equal(subset.explain_local(X[:2]).local_importance_values, expected)
    assert subset.explain_global(X[:9]).features == ["f3", "f1"]
    scoring = KernelScoringExplainer(subset)
    assert scoring.features == ["f3", "f1"]
    np.testing.assert_array_equal(scoring.explain(X[:2]), expected)
    positions = TabularExplainer(model, X, explain_subset=np.array([3, 1]))
    np.testing.assert_array_equal(positions.explain_local(X[:2]).local_importance_values, expected)
    for wrong in (["nobody"], [8], [-1], [], [1, 1], [True], [1.0], "01"):
        with pytest.raises(
            ValueError, match="explain_subset: expected different column names or positions"
        ):
            TabularExplainer(model, X, explain_subset=wrong)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"engine": "fast"}, "engine: expected one of auto, tree, linear, network, kernel"),
        ({"output": "odds"}, "output: expected one of auto, probability"),
        ({"model_task": "ranking"}, "model_task: expected one of unknown"),
        ({"classes": ["only one"]}, "classes: expected 2 names"),
        (
            {"background_size": 5},
            "background_size: expected with background='sample' or 'kmeans' only",
        ),
        (
            {"background": "sample", "background_size": 2.5},
            "background_size: expected a positive number of rows",
        ),
        ({"tolerance": 0}, "tolerance: expected a positive number, got 0"),
        ({"tolerance": float("nan")}, "tolerance: expected a positive number, got nan"),
        ({"time_budget": "long"}, "time_budget: expected a positive number, got 'long'"),
        ({"surrogate": "no"}, "surrogate: expected True or False, got 'no'"),
        ({"features": ["too", "few"]}, "features: expected 8 different names"),
        ({"background": "half"}, "background: expected one of"),
        ({"engine": "kernel", "nsamples": 1}, "nsamples: expected 'auto' or a number"),
        ({"engine": "kernel", "nsamples": "many"}, "nsamples: expected 'auto' or a number"),
        ({"nsamples": 2.5}, "nsamples: expected 'auto' or a number"),
        ({"nsamples": True}, "nsamples: expected 'auto' or a number"),
        ({"nsamples": None}, "nsamples: expected 'auto' or a number"),
        ({"random_state": -1}, "random_state: expected a whole number of at least 0, got -1"),
        ({"random_state": 0.5}, "random_state: expected a whole number"),
        ({"random_state": False}, "random_state: expected a whole number"),
        ({"random_state": None}, "random_state: expected a whole number"),
    ],
)
def test_options_out_of_range_are_refused_when_the_explainer_is_built(options, reason):
    """Each message names the option, what was expected and what came."""
    model, X = fitted(LogisticRegression(), 2)
    with pytest.raises(ValueError, match=reason):
        TabularExplainer(model, X, **options)


def test_options_check_themselves_whenever_they_are_changed():
    """A changed copy is refused like a new one; numpy's integers become Python's own."""
    options = EngineOptions(nsamples=np.int64(300), random_state=np.int32(7))
    assert (type(options.nsamples), type(options.random_state)) == (int, int)
    with pytest.raises(ValueError, match="nsamples: expected 'auto' or a number of coalitions"):
        replace(options, nsamples=1)


class Halves:
    """A model of nobody's library: no scikit-learn tags."""

    def predict(self, x):
        return x[:, 0] / 2


class Coin(Halves):
    def predict_proba(self, x):
        heads = 1 / (1 + np.exp(-x[:, 0]))
        return np.stack([heads, 1 - heads], axis=1)


def test_a_model_needs_no_scikit_learn():
    """predict alone is a regression, predict_proba makes a classifier."""
    assert TabularExplainer(Halves(), X_CANCER[:50]).output == "prediction"
    explanation = TabularExplainer(Coin(), X_CANCER[:50]).explain_local(X_CANCER[60:62])
    assert (explanation.output, explanation.classes) == ("probability", [0, 1])


@pytest.mark.parametrize("model", [OneClassSVM(), IsolationForest(n_estimators=5, random_state=0)])
def test_an_outlier_detector_is_explained_on_its_margin(model):
    """One number a row, how far inside it is; the two labels only when they are asked for."""
    model.fit(X_CANCER)
    explanation = TabularExplainer(model, X_CANCER[:50]).explain_local(X_CANCER[60:63])
    assert (explanation.output, explanation.classes) == ("margin", None)
    sums = np.sum(explanation.local_importance_values, axis=1) + explanation.expected_values
    np.testing.assert_allclose(sums, model.decision_function(X_CANCER[60:63]), rtol=0, atol=1e-9)
    assert TabularExplainer(model, X_CANCER[:50], output="prediction").output == "prediction"


def test_several_targets_come_first():
    """A regressor with two targets: [target][row][feature] and one expected value for each."""
    model = Ridge().fit(DIABETES.data, np.stack([DIABETES.target, -DIABETES.target], axis=1))
    explanation = TabularExplainer(model, DIABETES.data).explain_local(DIABETES.data[:3])
    values = np.array(explanation.local_importance_values)
    assert (values.shape, explanation.classes) == ((2, 3, 10), None)
    sums = values.sum(axis=2).T + explanation.expected_values
    np.testing.assert_allclose(sums, model.predict(DIABETES.data[:3]), rtol=0, atol=1e-9)


def test_booleans_and_integers_of_object_columns_reach_the_model_as_they_were():
    """A function of a DataFrame sees True and 2, never 1.0 and 2.0."""
    frame = pd.DataFrame({"member": [True, False], "rooms": [2, 3], "size": [0.5, 1.5]})
    frame = frame.astype({"member": object, "rooms": object})
    seen = set()

    def size(rows):
        seen.update(type(value) for column in ("member", "rooms") for value in rows[column])
        return rows["size"].to_numpy(dtype=float)

    TabularExplainer(size, frame).explain_local(frame)
    assert seen == {bool, int}


def test_examples_as_lists_of_mixed_values_are_a_table():
    """Numbers stay numbers beside text."""
    explanation = TabularExplainer(
        lambda x: np.array([row[0] * len(row[1]) for row in x]), [[1, "x"], [2, "yy"]]
    )
    assert np.sum(explanation.explain_local([[2, "yy"]]).local_importance_values) == pytest.approx(
        4 - 2.5
    )


def test_classes_are_for_classifiers():
    """Names that would be ignored are refused."""
    model = Ridge().fit(DIABETES.data, DIABETES.target)
    with pytest.raises(
        ValueError, match=r"classes: expected none for Ridge.predict, a regression, got \['low'\]"
    ):
        TabularExplainer(model, DIABETES.data, classes=["low"])


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(),
        LogisticRegression(),
        Ridge(),
        make_pipeline(StandardScaler(), LinearSVC()),
    ],
)
def test_an_unfitted_model_is_refused(model):
    """One sentence, whatever the engine would have been."""
    with pytest.raises(ValueError, match=r"model: expected a fitted .*; call its fit"):
        TabularExplainer(model, X_CANCER)


def test_models_that_cannot_be_explained_say_why():
    """No model, one column for several classes, or NaN answers."""
    X = X_CANCER
    with pytest.raises(
        TypeError, match="expected an estimator with predict, or a function of rows, got str"
    ):
        TabularExplainer("model", X)
    search = GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=2, refit=False).fit(X, CANCER.target)
    with pytest.raises(TypeError, match="got GridSearchCV; with refit=False it keeps no model"):
        TabularExplainer(search, X)
    with pytest.raises(
        ValueError, match=r"one column per class, or the prob.* numbers from -1\.68 to 2"
    ):
        TabularExplainer(lambda x: x[:, 0], X, model_task="classification")
    with pytest.raises(ModelOutputError, match="expected finite numbers"):
        TabularExplainer(lambda x: x[:, 0] * np.nan, X)


@pytest.mark.parametrize(
    "model", [LogisticRegression(), GradientBoostingClassifier(n_estimators=5, random_state=0)]
)
def test_a_scaler_in_front_changes_neither_scale_nor_engine(model):
    """The default output is that of the pipeline's last step."""
    bare, X = fitted(model, 2)
    alone = TabularExplainer(bare, X)
    piped = TabularExplainer(make_pipeline(StandardScaler(), model).fit(X, CANCER.target), X)
    assert (piped.output, piped.method) == (alone.output, alone.method) == ("margin", alone.method)


def test_a_calibrated_pipeline_is_looked_into_whatever_it_was_fitted_on():
    """Arrays or a DataFrame: the same engine."""
    for X in (X_CANCER, pd.DataFrame(X_CANCER, columns=list("abcdefgh"))):
        model = CalibratedClassifierCV(make_pipeline(StandardScaler(), SVC()), ensemble=False).fit(
            X, CANCER.target
        )
        assert TabularExplainer(model, X[:50]).method == "kernel/product"


@pytest.mark.parametrize("option", ["features", "classes"])
@pytest.mark.parametrize("names", [5, "abc", b"abc", True, {"a": 1, "b": 2, "c": 3}])
def test_names_that_are_no_list_are_refused(option, names):
    """A text of as many letters as there are columns is no list of names, here and elsewhere."""
    rows = np.random.default_rng(0).normal(size=(30, 3))
    model = LogisticRegression().fit(rows, np.arange(30) % 3)
    refusal = pytest.raises(ValueError, match=f"{option}: expected a list of names, got ")
    with refusal:
        TabularExplainer(model, rows, **{option: names})
    with refusal:
        PFIExplainer(model, **{option: names})
    with refusal:
        LocalExplanation.from_values(np.zeros((2, 3)), expected_values=0.0, **{option: names})


@pytest.mark.parametrize("names", [("a", "b", "c"), np.array(["a", "b", "c"]), iter("abc")])
def test_names_may_come_in_any_collection(names):
    """A tuple, an array, what can be read once."""
    rows = np.random.default_rng(0).normal(size=(30, 3))
    model = LinearRegression().fit(rows, rows.sum(axis=1))
    assert TabularExplainer(model, rows, features=names).features == ["a", "b", "c"]
