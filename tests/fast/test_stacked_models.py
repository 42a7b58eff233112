"""Stacking, calibration by folds and soft votes: several models before one link."""

import pickle

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from shapley_by_definition import shapley_by_definition
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from xgboost import XGBClassifier

from service.engines import builders
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save

N_BACKGROUND = 20
FOREST = RandomForestClassifier(5, max_depth=3, random_state=0)
LIGHT = LGBMClassifier(n_estimators=4, min_child_samples=5, verbose=-1)
EXTREME = XGBClassifier(n_estimators=4)
LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression())
MACHINE = make_pipeline(StandardScaler(), SVC())
FOREST_THEN_LOGISTIC = [("f", FOREST), ("l", LOGISTIC)]


def data(n_classes):
    return make_classification(
        120, 5, n_informative=4, n_redundant=0, n_classes=n_classes, random_state=2
    )


def check(model, function, rows, background, method="kernel/stacked", *, off=1e-9, **options):
    """Compare two rows with the definition on all coalitions, by the engine that is named."""
    explainer = TabularExplainer(model, background, **options)
    assert explainer.method == method
    result = KernelScoringExplainer(explainer).explain_rows(rows)
    values = result.values if result.values.ndim == 3 else result.values[None]
    weights = np.ones(len(background))
    for i, row in enumerate(rows):
        expected = shapley_by_definition(function, row, np.asarray(background), weights)
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(values[:, i], expected, rtol=0, atol=off)
    assert not np.any(result.standard_errors)


CLASSIFIERS = {
    "stacked": StackingClassifier(FOREST_THEN_LOGISTIC, cv=2),
    "passed through": StackingClassifier(FOREST_THEN_LOGISTIC, cv=2, passthrough=True),
    "of margins": StackingClassifier([("m", MACHINE), ("n", LIGHT)], cv=2),
    "one dropped": StackingClassifier([("x", "drop"), *FOREST_THEN_LOGISTIC], cv=2),
    "of labels' margins": StackingClassifier(
        [("r", RidgeClassifier()), ("m", SVC(kernel="poly"))], cv=2
    ),
    "trees at last": StackingClassifier(FOREST_THEN_LOGISTIC, FOREST, cv=2),
    "boosting at last": StackingClassifier(
        FOREST_THEN_LOGISTIC, GradientBoostingClassifier(n_estimators=4), cv=2, passthrough=True
    ),
    "in a search": GridSearchCV(StackingClassifier(FOREST_THEN_LOGISTIC, cv=2), {"cv": [2]}, cv=2),
    "behind a scaler": make_pipeline(
        StandardScaler(), StackingClassifier([("b", GaussianNB()), ("l", LIGHT)], cv=2)
    ),
    "of votes": StackingClassifier(
        [
            ("v", VotingClassifier([("f", FOREST), ("x", LOGISTIC)], voting="soft")),
            ("n", KNeighborsClassifier()),
        ],
        cv=2,
    ),
    "folds of pipelines": CalibratedClassifierCV(make_pipeline(StandardScaler(), FOREST), cv=3),
    "isotonic folds": CalibratedClassifierCV(MACHINE, cv=2, method="isotonic"),
    "calibrated votes": CalibratedClassifierCV(
        VotingClassifier([("f", FOREST), ("n", GaussianNB())], voting="soft"), cv=2
    ),
    "a network in folds": CalibratedClassifierCV(
        MLPClassifier((4,), max_iter=5, random_state=0), cv=2
    ),
    "votes of boosters": VotingClassifier(
        [("l", LIGHT), ("x", EXTREME)], voting="soft", weights=[2, 1]
    ),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_get_the_shapley_values_of_the_definition(name, n_classes):
    """Two and more classes, on the whole background, without a call of the model."""
    X, y = data(n_classes)
    model = CLASSIFIERS[name].fit(X, y)
    off = {"votes of boosters": 1e-7}.get(name, 1e-9)  # XGBoost adds up in single precision
    check(model, model.predict_proba, X[60:62], X[:N_BACKGROUND], off=off, output="probability")


@pytest.mark.parametrize("of", [LogisticRegression(), FOREST, MACHINE], ids=["l", "f", "m"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_temperature_is_a_link(of, n_classes):
    """Behind margins, and behind the logarithms of probabilities."""
    X, y = data(n_classes)
    model = CalibratedClassifierCV(of, method="temperature", cv=2).fit(X, y)
    method = {LogisticRegression: "kernel/linear", RandomForestClassifier: "kernel/tree"}
    expected = method.get(type(of), "kernel/stacked")
    check(model, model.predict_proba, X[60:62], X[:N_BACKGROUND], expected)


def test_the_margin_of_a_stack_is_given_to_both_classes():
    """As of every classifier of two classes."""
    X, y = data(2)
    model = StackingClassifier(FOREST_THEN_LOGISTIC, RidgeClassifier(), cv=2).fit(X, y)

    def margins(rows):
        margin = model.decision_function(rows)
        return np.stack([-margin, margin], axis=1)

    check(model, margins, X[60:62], X[:N_BACKGROUND])


REGRESSORS = {
    "trees at last": (RandomForestRegressor(5, max_depth=3, random_state=0), False),
    "boosting at last": (LGBMRegressor(n_estimators=4, min_child_samples=5, verbose=-1), True),
    "a logarithm at last": (PoissonRegressor(), False),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_get_the_shapley_values_of_the_definition(name):
    """Stacked before trees; what is neither linear nor trees is called."""
    X, _ = data(2)
    last, passthrough = REGRESSORS[name]
    y = np.exp(X[:, 0] * 0.3) + np.abs(X[:, 1])
    inside = [("r", Ridge()), ("f", RandomForestRegressor(5, max_depth=3, random_state=0))]
    model = StackingRegressor(inside, last, cv=2, passthrough=passthrough).fit(X, y)
    method = {PoissonRegressor: "kernel"}.get(type(last), "kernel/stacked")
    check(model, model.predict, X[60:62], X[:N_BACKGROUND], method)


def test_a_linear_last_model_that_takes_the_columns_too_is_a_sum():
    """Exact, since a sum is."""
    X, _ = data(2)
    inside = [("r", Ridge()), ("f", RandomForestRegressor(5, max_depth=3, random_state=0))]
    model = StackingRegressor(inside, Ridge(), cv=2, passthrough=True).fit(X, X[:, 0] * X[:, 1])
    explainer = TabularExplainer(model, X)
    local = explainer.row_explainer.explain(X[:2])
    assert explainer.method == "sum"
    for row, values in zip(X, local.values, strict=False):
        (expected,) = shapley_by_definition(model.predict, row, X, np.ones(len(X)))
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def frame_and_stack():
    X, y = data(2)
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["town"] = np.array(["Ghent", "Oslo", "Turin"])[np.arange(len(X)) % 3]
    frame.loc[::7, "a"] = np.nan
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town"]), remainder="passthrough"
    )
    scaled = make_column_transformer((StandardScaler(), list("bcde")))
    inside = [
        ("f", make_pipeline(encode, RandomForestClassifier(4, max_depth=3, random_state=0))),
        ("l", make_pipeline(scaled, LogisticRegression())),
    ]
    return frame, StackingClassifier(inside, cv=2).fit(frame, y)


def test_every_part_has_preprocessing_of_its_own(tmp_path):
    """Texts, missing values and columns that one part drops; saved and loaded, the same bytes."""
    frame, model = frame_and_stack()
    explainer = TabularExplainer(model, frame[:15])
    assert explainer.method == "kernel/stacked"
    called = TabularExplainer(model, frame[:15], engine="kernel", nsamples=62)
    local, other = explainer.explain_local(frame[60:63]), called.explain_local(frame[60:63])
    values = np.array(local.local_importance_values)
    np.testing.assert_allclose(values, other.local_importance_values, rtol=0, atol=1e-9)
    save(KernelScoringExplainer(explainer), tmp_path / "model", original_model=model)
    again = load(tmp_path / "model").explain_rows(frame[60:63])
    assert again.values.tobytes() == values.tobytes()
    alone = explainer.explain_local(frame[61:62]).local_importance_values
    assert np.array(alone).tobytes() == values[:, 1:2].tobytes()


TOWN_OR_NOT = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["town"]))
QUANTILES = QuantileTransformer(n_quantiles=20)


@pytest.mark.parametrize("step", [TOWN_OR_NOT, QUANTILES])
@pytest.mark.parametrize("last", [LinearSVC(), LogisticRegression()])
def test_calibration_in_folds_of_any_pipelines_is_read(step, last):
    """Steps in them may be more than linear maps: each fold is a part."""
    frame, _ = frame_and_stack()
    rows = frame if step is TOWN_OR_NOT else frame[list("bcde")]
    labels = np.arange(len(rows)) % 5 > 1
    model = CalibratedClassifierCV(make_pipeline(step, last), cv=2).fit(rows, labels)
    explainer = TabularExplainer(model, rows[:15])
    assert explainer.method == "kernel/stacked"
    called = TabularExplainer(model, rows[:15], engine="kernel", nsamples=62)
    values = explainer.explain_local(rows[60:63]).local_importance_values
    expected = called.explain_local(rows[60:63]).local_importance_values
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


class FirstTwo(TransformerMixin, BaseEstimator):
    """A transformer as people write it, without `n_features_in_`."""

    def fit(self, rows, labels=None):
        self.is_fitted_ = True
        return self

    def transform(self, rows):
        return np.asarray(rows)[:, :2]


OWN = make_pipeline(FirstTwo(), LogisticRegression())
HOLDERS = {
    "calibration": CalibratedClassifierCV(OWN, cv=2),
    "votes": VotingClassifier([("o", OWN), ("l", LOGISTIC)], voting="soft"),
    "a stack": StackingClassifier([("o", OWN), ("l", LOGISTIC)], cv=2, passthrough=True),
    "one against the rest": OneVsRestClassifier(OWN),
    "targets": MultiOutputClassifier(OWN),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_transformer_that_tells_no_number_of_columns_is_called(name):
    """Inside of another model: with a sentence instead of an AttributeError."""
    X, y = data(2)
    model = HOLDERS[name].fit(X, np.column_stack([y, 1 - y]) if name == "targets" else y)
    explainer = TabularExplainer(model, X)
    assert explainer.method == "kernel"
    assert "is not looked into" in explainer.row_explainer.note


def test_errors_of_a_stack_are_those_that_it_has():
    """Of eleven features: the truth is the model on all coalitions."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(40, 11))
    model = StackingClassifier(
        [("b", GradientBoostingClassifier(n_estimators=10)), ("l", LogisticRegression())], cv=2
    ).fit(X, X[:, 0] * X[:, 1] + X[:, 2] > 0)
    explainer = TabularExplainer(model, X, nsamples=200)
    assert explainer.method == "kernel/stacked"
    local = explainer.row_explainer.explain(X[:4])
    expected = []
    for row in X[:4]:
        expected.append(shapley_by_definition(model.predict_proba, row, X, np.ones(40)))
    off = np.abs(local.values - np.stack(expected, axis=1))
    assert 0 < local.standard_errors.mean() < 0.3 * np.abs(local.values).mean()
    assert np.sqrt(np.square(off / local.standard_errors).mean()) < 1.4
    assert pickle.loads(pickle.dumps(explainer)).method == "kernel/stacked"


CALLED = {
    "hard votes": (
        VotingClassifier([("f", FOREST), ("l", LOGISTIC)]),
        "VotingClassifier is not looked into for its prediction.",
    ),
    "an unknown part": (
        StackingClassifier([("n", make_pipeline(PolynomialFeatures(), FOREST))], cv=2),
        "StackingClassifier is not looked into for its probability.",
    ),
    "another last one": (
        StackingClassifier(FOREST_THEN_LOGISTIC, KNeighborsClassifier(), cv=2),
        "StackingClassifier is not looked into for its probability.",
    ),
}


@pytest.mark.parametrize("name", CALLED)
def test_what_is_not_read_is_called_and_says_why(name):
    """Nothing is wrong without a word."""
    X, y = data(2)
    model, why = CALLED[name]
    explainer = TabularExplainer(model.fit(X, y), X)
    assert explainer.method == "kernel"
    assert explainer.row_explainer.note.startswith(why)


@pytest.mark.filterwarnings("ignore:The importances of engine")
def test_parts_on_backgrounds_of_different_sizes_meet_on_the_smallest(monkeypatch):
    """Trees that take few rows have the others take the same ones."""
    monkeypatch.setattr(builders, "affordable_rows", lambda _: 30)
    X, y = data(2)
    model = StackingClassifier(FOREST_THEN_LOGISTIC, cv=2).fit(X, y)
    explainer = TabularExplainer(model, X)
    summary = explainer.row_explainer.engine.background
    assert (explainer.method, summary.kind, summary.n_rows) == ("kernel/stacked", "sample", 30)
    local = explainer.explain_local(X[:3])
    sums = np.sum(local.local_importance_values, axis=2).T + local.expected_values
    np.testing.assert_allclose(sums, model.predict_proba(X[:3]), rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore:The importances of engine")
def test_means_of_each_part_are_not_shared():
    """Centres by k-means would be of other columns for every part: the model is called."""
    X, y = data(2)
    model = StackingClassifier(FOREST_THEN_LOGISTIC, cv=2).fit(X, y)
    explainer = TabularExplainer(model, X, background="kmeans", background_size=5)
    assert explainer.method == "kernel"
    assert "centres of their own" in explainer.row_explainer.note


@pytest.mark.filterwarnings("ignore:The importances of engine", "ignore:Stochastic Optimizer")
def test_very_many_features_of_votes_are_sampled_along_orders():
    """Model by model, as each would be by itself."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 210))
    inside = [("l", LogisticRegression()), ("n", MLPClassifier((3,), max_iter=300, random_state=0))]
    model = VotingClassifier(inside, voting="soft").fit(X, X[:, 0] > 0)
    explainer = TabularExplainer(model, X)
    local = explainer.explain_local(X[:2])
    assert explainer.method == "sum/sampled"
    sums = np.sum(local.local_importance_values, axis=2).T + local.expected_values
    np.testing.assert_allclose(sums, model.predict_proba(X[:2]), rtol=0, atol=1e-9)
