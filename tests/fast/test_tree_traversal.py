from dataclasses import replace

import numpy as np
import pytest
from shapley_by_definition import shapley_by_definition
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeRegressor

from service.explainers import TabularExplainer
from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.kernels.shapley_weights import shapley_weights
from service.shapley.survey import Population
from service.shapley.trees import (
    Forest,
    SampledTreeGame,
    TraversedTreeGame,
    Tree,
    TreeGame,
    patterns,
)
from service.shapley.trees import sampled as sampled_trees
from service.shapley.trees.traversal import sum_of_leaves


def forest_of(model, value=lambda tree: tree.value[:, 0, :], owner=None):
    """Put a scikit-learn ensemble's trees side by side, averaged."""
    estimators = getattr(model, "estimators_", [model])
    trees = []
    for estimator in estimators:
        tree = estimator.tree_
        values = value(tree) / len(estimators)
        trees.append(
            Tree(
                left=tree.children_left,
                right=tree.children_right,
                missing_left=tree.missing_go_to_left.astype(bool),
                feature=tree.feature,
                threshold=tree.threshold,
                value=values,
            )
        )
    n_columns = model.n_features_in_
    owner = np.arange(n_columns) if owner is None else owner
    return Forest.of(trees, Grouping(owner, int(owner.max()) + 1))


def traversed(forest, rows, n_features):
    offset = np.zeros(forest.value.shape[1])
    return TraversedTreeGame(forest, offset, Background.uniform(rows), np.float32, n_features)


@pytest.fixture(scope="module")
def regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 7))
    X[rng.random(X.shape) < 0.05] = np.nan
    filled = np.nan_to_num(X)
    y = filled[:, 0] * filled[:, 1] + np.sin(filled[:, 2]) + 0.2 * filled[:, 3]
    return X, RandomForestRegressor(12, random_state=0).fit(X, y)


def test_paths_that_are_followed_give_the_values_of_the_definition(regression):
    """With missing values, to 1e-12."""
    X, model = regression
    game = traversed(forest_of(model), X[:30], 7)
    for row in X[100:103]:
        expected = shapley_by_definition(model.predict, row, X[:30], np.ones(30))[0]
        np.testing.assert_allclose(game.shapley_values(row)[0], expected, rtol=0, atol=1e-12)
    assert game.empty_value[0] == pytest.approx(model.predict(X[:30]).mean(), abs=1e-12)


def test_columns_of_one_feature_move_together(regression):
    """Seven columns of four features: as in the game of patterns, to 1e-13."""
    X, model = regression
    owner = np.array([0, 1, 1, 2, 3, 3, 3])
    forest = forest_of(model, owner=owner)
    background = Background.uniform(X[:40])
    followed = TraversedTreeGame(forest, np.zeros(1), background, np.float32, 4)
    merged = TreeGame(forest, np.zeros(1), background, np.float32, 4)
    for row in X[200:204]:
        np.testing.assert_allclose(
            followed.shapley_values(row), merged.shapley_values(row), rtol=0, atol=1e-13
        )


def test_several_outputs_and_weights(regression):
    """Three classes on a weighted background: as in the game of patterns, to 1e-13."""
    X, _ = regression
    X = np.nan_to_num(X)
    y = np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-0.5, 0.5])
    model = ExtraTreesClassifier(10, random_state=0).fit(X, y)
    forest = forest_of(model)
    weights = np.random.default_rng(1).random(50)
    background = Background.weighted(X[:50], weights, "given", 50)
    followed = TraversedTreeGame(forest, np.zeros(3), background, np.float32, 7)
    merged = TreeGame(forest, np.zeros(3), background, np.float32, 7)
    np.testing.assert_allclose(followed.empty_value, merged.empty_value, rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        followed.shapley_values(X[99]), merged.shapley_values(X[99]), rtol=0, atol=1e-13
    )
    outputs = sum_of_leaves(forest, X.astype(np.float32))
    np.testing.assert_allclose(outputs, model.predict_proba(X), rtol=0, atol=1e-14)


def chain(n_features):
    """One path that asks for every feature: the first that is set decides."""
    X = np.vstack([np.eye(n_features), np.zeros((1, n_features))])
    y = np.append(np.arange(1.0, n_features + 1), 0.0)
    return X, DecisionTreeRegressor(random_state=0).fit(X, y)


@pytest.mark.parametrize("n_features", [2, 31, 32, 33, 62, 63, 64, 128, 300])
def test_paths_of_any_width_are_exact(n_features):
    """Values for the game in which the first set feature decides, known in closed form.

    The row sets features 1 and 2 alone, the background none: f is 1 with feature 1, 2 with feature
    2 alone, so feature 1 gets (1 + (1 − 2)) / 2 = 0 and feature 2 gets (2 + 0) / 2 = 1, whatever
    order the tree asks in.
    """
    X, model = chain(n_features)
    row = X[0] + X[1]
    answers = model.predict([X[-1], X[0], X[1], row])
    first = (answers[1] - answers[0] + answers[3] - answers[2]) / 2
    second = (answers[2] - answers[0] + answers[3] - answers[1]) / 2
    forest = forest_of(model)
    values = traversed(forest, X[-1:], n_features).shapley_values(row)[0]
    np.testing.assert_allclose(values[:2], [first, second], rtol=0, atol=1e-12)
    assert not values[2:].any()
    whole = traversed(forest, X, n_features)
    total = model.predict(row[None])[0] - model.predict(X).mean()
    assert whole.shapley_values(row).sum() == pytest.approx(total, abs=1e-10)


@pytest.mark.parametrize("n_features", [31, 32, 33, 40, 62])
def test_patterns_of_every_width_agree_with_paths_that_are_followed(n_features):
    """Whole numbers of 32 and of 64 bits hold them: 1e-12 between the two ways."""
    X, model = chain(n_features)
    forest = forest_of(model)
    background = Background.uniform(X)
    merged = TreeGame(forest, np.zeros(1), background, np.float32, n_features)
    followed = traversed(forest, X, n_features)
    row = X[0] + X[3] + X[-2]
    np.testing.assert_allclose(
        merged.shapley_values(row), followed.shapley_values(row), rtol=0, atol=1e-12
    )


def test_weights_of_long_paths_are_exact():
    """Against the factorials, up to 200 features."""
    from fractions import Fraction
    from math import factorial

    weights = shapley_weights(200)
    for u, v in [(1, 0), (3, 4), (1, 199), (100, 100), (200, 0), (62, 1)]:
        exact = Fraction(factorial(u - 1) * factorial(v), factorial(u + v))
        assert weights[u, v] == float(exact)


def test_deep_trees_walk_with_few_rows_and_boosted_ones_keep_what_these_have_in_common(monkeypatch):
    """Either way the importances are the same; an unrestricted forest keeps nothing of the rows."""
    monkeypatch.setattr(patterns, "MAX_TABLE", 100_000)  # as if the forest were large
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1500, 20))
    y = X[:, 0] * X[:, 1] + X[:, 2] + rng.normal(size=1500)
    forest = ExtraTreesRegressor(25, random_state=0).fit(X, y)
    boosting = GradientBoostingRegressor(random_state=0).fit(X, y)
    games = [
        TabularExplainer(model, X[:50]).row_explainer.engine.game for model in (forest, boosting)
    ]
    assert [type(game) for game in games] == [TraversedTreeGame, TreeGame]
    for game in games:
        arguments = game.offset, Background.uniform(X[:50]), np.float32, 20
        trees = game.traversal_of(X[:1]).forest
        merged, walked = (kind(trees, *arguments) for kind in (TreeGame, TraversedTreeGame))
        for row in X[60:62]:
            np.testing.assert_allclose(
                merged.shapley_values(row), walked.shapley_values(row), rtol=0, atol=1e-12
            )


@pytest.fixture(autouse=True)
def small_tables(monkeypatch):
    """Cut small trees as if they were large."""
    monkeypatch.setattr(sampled_trees, "MOST_NUMBERS", 3_000)


@pytest.fixture(scope="module")
def sampled_forest():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, 6))
    y = X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * rng.normal(size=1200)
    model = RandomForestRegressor(15, random_state=0).fit(X, y)
    forest = forest_of(model)
    rows = X[[3, 77, 500]]
    exact = [traversed(forest, X, 6).shapley_values(row) for row in rows]
    return X, model, forest, rows, np.array(exact)


def estimating(forest, population, n_rows, seed):
    """Estimate values on all examples from a sample; each column is a feature."""
    grouping = Grouping.identity(population.rows.shape[1])
    return SampledTreeGame(
        forest,
        np.zeros(1),
        population=population,
        n_rows=n_rows,
        seed=seed,
        input_dtype=np.float32,
        grouping=grouping,
    )


def sampled(sampled_forest, n_rows, seed):
    X, model, forest, _, _ = sampled_forest
    return estimating(forest, Population(X, model.predict(X)[:, None]), n_rows, seed)


def test_a_sample_estimates_the_values_on_all_examples(sampled_forest):
    """Over 40 samples of 64: unbiased within noise, additive, standard errors cover 90–99%.

    And the error is less than three quarters of that of the plain mean of the same rows.
    """
    X, model, forest, rows, exact = sampled_forest
    covered, errors, plain, estimates = [], [], [], []
    for seed in range(40):
        game = sampled(sampled_forest, 64, seed)
        for row, truth in zip(rows, exact, strict=True):
            values, standard_errors = game.estimate(row)
            total = model.predict(row[None])[0] - model.predict(X).mean()
            assert values.sum() == pytest.approx(total, abs=1e-10)
            covered.append(np.abs(values - truth) < 1.96 * standard_errors)
            errors.append(values - truth)
            by_row = traversed(forest, game.rows, 6).traversal.shapley_values(row)
            plain.append(by_row.mean(axis=0) - truth)
            estimates.append(values)
    assert 0.90 < np.mean(covered) < 0.99
    root_mean_square = np.sqrt(np.mean(np.square(errors)))
    assert root_mean_square < 0.75 * np.sqrt(np.mean(np.square(plain)))
    of_samples = np.reshape(errors, (40, -1))
    noise = of_samples.std(axis=0, ddof=1) / np.sqrt(40)
    assert (np.abs(of_samples.mean(axis=0)) < 4 * noise + 1e-12).all()


def test_a_sample_of_all_examples_is_exact(sampled_forest):
    """Nothing is unseen: standard errors are 0, and the values are those of all examples."""
    _, _, _, rows, exact = sampled_forest
    values, standard_errors = sampled(sampled_forest, 1200, 0).estimate(rows[0])
    np.testing.assert_allclose(values, exact[0], rtol=0, atol=1e-12)
    assert not standard_errors.any()


@pytest.mark.parametrize("scale", [1e-12, 1e10, 1e15])
def test_the_unit_of_the_outputs_changes_nothing(sampled_forest, scale):
    """Estimates and standard errors scale with the outputs, to 1e-9 of the largest."""
    X, model, forest, rows, _ = sampled_forest
    grouping = Grouping(np.arange(6), 6)
    estimates = []
    for factor in (1.0, scale):
        game = SampledTreeGame(
            replace(forest, value=factor * forest.value),
            np.zeros(1),
            population=Population(X, factor * model.predict(X)[:, None]),
            n_rows=64,
            seed=0,
            input_dtype=np.float32,
            grouping=grouping,
        )
        estimates.append(np.array(game.estimate(rows[0])) / factor)
    largest = np.abs(estimates[0]).max()
    np.testing.assert_allclose(estimates[1], estimates[0], rtol=0, atol=1e-9 * largest)


def test_outputs_that_do_not_vary_in_the_sample_are_no_control(sampled_forest):
    """Three rare rows have all of the target, and the sample none of them: still unbiased."""
    X = sampled_forest[0][:400]
    y = np.zeros(400)
    y[:3] = 1e5
    model = ExtraTreesRegressor(20, random_state=0).fit(X, y)
    forest = forest_of(model)
    exact = traversed(forest, X, 6).shapley_values(X[0])
    population = Population(X, model.predict(X)[:, None])
    errors = []
    for seed in range(30):
        game = estimating(forest, population, 64, seed)
        values, standard_errors = game.estimate(X[0])
        errors.append((values - exact) / np.maximum(standard_errors, 1e-9 * 1e5))
    assert np.sqrt(np.mean(np.square(errors))) < 2


def _single_words(forest, words):
    """Rows of one word each, with their values on all examples."""
    whole = traversed(forest, words, words.shape[1])
    return [(row, whole.shapley_values(row)) for row in np.eye(words.shape[1])[::6]]


def test_a_word_that_the_sample_lacks_is_no_control():
    """Its column is the same in all sampled rows, but for rounding: no slope may be fitted to that.

    Where the explained row alone has the word, what it adds is still known from every other row.
    """
    rng = np.random.default_rng(0)
    words = (rng.random((900, 30)) < 0.01).astype(float)
    target = words @ np.linspace(1, 3, 30) + words[:, 0] * words[:, 1]
    model = RandomForestRegressor(20, random_state=0).fit(words, target)
    forest = forest_of(model)
    population = Population(words, model.predict(words)[:, None])
    off = []
    for seed in range(6):
        game = estimating(forest, population, 64, seed)
        off += [game.estimate(word)[0] - exact for word, exact in _single_words(forest, words)]
    assert np.abs(off).max() < 0.3
