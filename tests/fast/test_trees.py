from itertools import combinations

import numpy as np
import pytest
import shap
from shapley_by_definition import shapley_by_definition, third_order_interaction
from sklearn.datasets import load_diabetes, make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer
from service.shapley.trees import forest, patterns

REGRESSORS = [
    DecisionTreeRegressor(max_depth=5),
    RandomForestRegressor(20),
    GradientBoostingRegressor(n_estimators=30),
    HistGradientBoostingRegressor(max_iter=20),
]
CLASSIFIERS = [
    DecisionTreeClassifier(max_depth=6),
    RandomForestClassifier(20),
    ExtraTreesClassifier(20),
    GradientBoostingClassifier(n_estimators=30),
    HistGradientBoostingClassifier(max_iter=20),
]


def named(models):
    return [
        pytest.param(model.set_params(random_state=0), id=type(model).__name__) for model in models
    ]


def check_against_definition(explainer, function, rows, background):
    """Compare two rows with the definition, after making sure that the numbers say something."""
    last_output = lambda x: function(x).reshape(len(x), -1)[:, -1]  # noqa: E731
    assert any(
        abs(third_order_interaction(last_output, rows[0], other, triple)) > 1e-3
        for other in background
        for triple in combinations(range(rows.shape[1]), 3)
    )
    values = explainer.explain_rows(rows[:2]).values
    for row, importances in zip(rows, values[-1] if values.ndim == 3 else values, strict=False):
        expected = shapley_by_definition(last_output, row, background, np.ones(len(background)))[0]
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(importances, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", named(REGRESSORS))
def test_regression_trees_get_the_shapley_values_of_the_definition(model):
    """Every kind of tree regressor, on the whole background: exact to 1e-10."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X = X[:, :7]
    model.fit(X, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, X[:60]))
    assert explainer.method == "tree"
    check_against_definition(explainer, model.predict, X[200:], X[:60])


@pytest.mark.parametrize("model", named(CLASSIFIERS))
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classification_trees_get_the_shapley_values_of_the_definition(model, n_classes):
    """Every kind of tree classifier, on its default scale, exact to 1e-10 and additive for every
    class.
    """
    X, y = make_classification(
        300, 7, n_informative=6, n_redundant=0, n_classes=n_classes, random_state=0
    )
    model.fit(X, y)
    original = TabularExplainer(model, X[:60])
    is_boosting = "Boosting" in type(model).__name__
    assert original.output == ("margin" if is_boosting else "probability")
    assert original.method == "tree"
    function = model.decision_function if is_boosting else model.predict_proba
    explainer = KernelScoringExplainer(original)
    check_against_definition(explainer, function, X[200:], X[:60])
    result = explainer.explain_rows(X[200:210])
    assert result.values.shape == (n_classes, 10, 7)
    outputs = function(X[200:210])
    outputs = outputs if outputs.ndim == 2 else np.stack([-outputs, outputs], axis=1)
    np.testing.assert_allclose(
        result.values.sum(axis=2).T + result.expected_values, outputs, rtol=0, atol=1e-11
    )


def test_values_close_to_a_threshold_go_the_way_the_model_sends_them():
    """Where shap rounds thresholds to float32 and takes the wrong branch, importances still add up
    to the model.
    """
    rng = np.random.default_rng(0)
    X = (
        1000.0 + rng.integers(0, 50, size=(400, 3)) * 1e-6
    )  # neighbours differ by less than float32 can tell
    y = np.sin(1e5 * X[:, 0]) + X[:, 1] * 1e4 * (X[:, 2] > X[:, 2].mean())
    model = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(X, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, X))
    assert explainer.method == "tree"
    result = explainer.explain_rows(X[:50])
    assert np.ptp(model.predict(X[:50])) > 1e-3
    np.testing.assert_allclose(
        result.values.sum(axis=1) + result.expected_values, model.predict(X[:50]), rtol=1e-12
    )


def test_missing_values_take_the_side_that_the_model_learned():
    """Rows and background with missing values: as by definition."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 5))
    X[rng.random(X.shape) < 0.2] = np.nan
    y = np.where(np.isnan(X[:, 0]), 3.0, X[:, 1]) * np.nan_to_num(X[:, 2], nan=2.0)
    y = np.nan_to_num(y)
    for model in (HistGradientBoostingRegressor(max_iter=20), RandomForestRegressor(10)):
        model.set_params(random_state=0).fit(X, y)
        explainer = KernelScoringExplainer(TabularExplainer(model, X[:40]))
        rows = X[np.isnan(X).any(axis=1)][100:]
        check_against_definition(explainer, model.predict, rows, X[:40])


def test_it_agrees_with_shaps_own_tree_explainer_where_that_is_exact():
    """Interventional TreeSHAP of shap on the same background: to float32 precision, on values that
    float32 holds.
    """
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X = X.round()
    model = RandomForestRegressor(20, random_state=0).fit(X, y)
    masker = shap.maskers.Independent(X[:100], max_samples=100)
    theirs = shap.TreeExplainer(model, masker, feature_perturbation="interventional").shap_values(
        X[200:210]
    )
    ours = KernelScoringExplainer(TabularExplainer(model, X[:100])).explain_rows(X[200:210])
    assert ours.method == "tree"
    np.testing.assert_allclose(ours.values, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.filterwarnings("ignore:The importances of engine:UserWarning")
@pytest.mark.parametrize("background", ["whole", "kmeans"])
def test_both_kinds_of_leaves_give_the_same_importances(monkeypatch, background):
    """Tabulated for every pattern of a row, merged by the background's patterns, and some of each:
    equal to 1e-12.
    """
    X, y = make_classification(300, 12, n_informative=8, random_state=0)
    model = RandomForestClassifier(10, random_state=0).fit(X, y)
    found = []
    for most, share in ((patterns.MAX_TABLE, {True}), (300, {True, False}), (0, {False})):
        monkeypatch.setattr(patterns, "MAX_TABLE", most)
        engine = TabularExplainer(model, X[:200], background=background).row_explainer.engine
        assert set(np.diff(engine.game.twigs.first_state) > 0) == share
        found.append(engine.importances(X[200:220]).values)
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[2], found[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("most", [patterns.MAX_TABLE, 100])
def test_a_feature_that_does_not_vary_gets_exactly_nothing(monkeypatch, most):
    """Not only nearly nothing, in both kinds of leaves; and a row gets the same bytes alone and
    among others.
    """
    monkeypatch.setattr(patterns, "MAX_TABLE", most)
    X, y = make_classification(300, 8, n_informative=6, random_state=0)
    model = RandomForestClassifier(20, random_state=0).fit(X, y)
    constant = X.copy()
    constant[:, [1, 4]] = X[7, [1, 4]]
    engine = TabularExplainer(model, constant[:100]).row_explainer.engine
    values = engine.importances(constant[200:210]).values
    assert (model.feature_importances_[[1, 4]] > 0).all()
    assert (values[:, :, [1, 4]] == 0).all()
    assert (values[:, :, [0, 2, 3]] != 0).any(axis=(0, 1)).all()
    assert engine.importances(constant[203:204]).values[:, 0].tobytes() == values[:, 3].tobytes()


def test_a_path_of_more_features_than_a_number_has_bits_is_exact():
    """Sixty-four features one after another, of which the first that is set decides."""
    X = np.vstack([np.eye(64), np.zeros((1, 64))])
    y = np.append(np.arange(64.0), -1.0)
    model = DecisionTreeRegressor(random_state=0).fit(X, y)
    assert model.get_depth() > forest.MOST_BITS
    original = TabularExplainer(model, X[:10])
    assert (original.method, original.row_explainer.note) == ("tree", "")
    local = original.explain_local(X[20:23])
    sums = local.expected_values + np.sum(local.local_importance_values, axis=1)
    np.testing.assert_allclose(sums, model.predict(X[20:23]), rtol=0, atol=1e-10)


def test_a_tree_of_more_splits_than_a_number_has_powers_of_two_is_exact():
    """Two thousand splits in one tree, as unrestricted forests have, are counted without a warning
    of numpy's; of two features each gets the mean of what it changes first and last.
    """
    X = np.random.default_rng(0).normal(size=(2100, 2))
    y = X[:, 0] * X[:, 1]
    model = DecisionTreeRegressor(random_state=0).fit(X, y)
    assert model.get_n_leaves() > 2000
    local = TabularExplainer(model, X[:30]).explain_local(X[100:103])
    assert local.method == "tree"
    for row, values in zip(X[100:103], local.local_importance_values, strict=True):
        expected = shapley_by_definition(model.predict, row, X[:30], np.ones(30))[0]
        assert np.ptp(expected) > 1e-2
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)


def test_trees_of_a_single_leaf_have_nothing_to_explain():
    """A constant target: every importance is 0."""
    X = np.random.default_rng(0).normal(size=(30, 3))
    model = RandomForestRegressor(3).fit(X, np.full(30, 5.0))
    result = KernelScoringExplainer(TabularExplainer(model, X)).explain_rows(X[:4])
    assert (result.method, float(result.expected_values)) == ("tree", 5.0)
    assert (result.values == 0).all()
