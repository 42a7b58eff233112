from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from service.shapley import kernels
from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.survey import Population
from service.shapley.trees import Forest, SampledTreeGame, Tree, TreeGame
from service.shapley.trees import sampled as sampled_trees
from service.shapley.trees.cutting import cut
from service.shapley.trees.traversal import sum_of_leaves
from service.structures.sklearn_trees import read_forest


def forest_of(model, output="prediction"):
    grouping = Grouping.identity(model.n_features_in_)
    return Forest.of(read_forest(model, output).trees, grouping)


def reached(forest, rows):
    """How many rows reach each leaf, counted one leaf after another."""
    counts = []
    for leaf in np.eye(len(forest.value)):
        alone = forest.with_values(leaf[:, None])
        counts.append(sum_of_leaves(alone, rows).sum())
    return np.array(counts).astype(int)


@pytest.fixture(scope="module", params=[RandomForestRegressor, RandomForestClassifier])
def fitted(request):
    """A forest with missing values, of one output or three, and how many rows reach its leaves."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    filled = np.nan_to_num(X)
    target, output = filled[:, 0] * filled[:, 1] + filled[:, 2], "prediction"
    if request.param is RandomForestClassifier:
        target, output = np.digitize(target, [-0.5, 0.5]), "probability"
    forest = forest_of(request.param(4, random_state=0).fit(X, target), output)
    return SimpleNamespace(X=X, forest=forest, counts=reached(forest, X))


@pytest.mark.parametrize("most_numbers", [0, 40, 500, 10**9])
def test_the_parts_of_a_cut_forest_add_up(fitted, most_numbers):
    """Outputs, and importances against each row, to 1e-12; tables are no larger than asked for."""
    forest, X = fitted.forest, fitted.X
    parts = cut(forest, fitted.counts, 10**6, most_numbers)
    sums = sum_of_leaves(parts.above, X) + sum_of_leaves(parts.rest, X)
    np.testing.assert_allclose(sums, sum_of_leaves(forest, X), rtol=0, atol=1e-12)
    by_part = []
    for one in (forest, parts.above, parts.rest):
        by_part.append(kernels.current.path_values(one.splits, X[0], X[1:40], 5))
    np.testing.assert_allclose(by_part[1] + by_part[2], by_part[0], rtol=0, atol=1e-12)
    n_slots = parts.above.n_slots.astype(float)
    assert n_slots @ 2**n_slots <= most_numbers
    assert (len(parts.above.value) == forest.n_trees) == (most_numbers == 0)
    if most_numbers == 10**9:
        np.testing.assert_allclose(parts.rest.value, 0, rtol=0, atol=1e-12)


def test_a_cut_leaves_the_mean_of_the_examples_below(fitted):
    """So what is left over is 0 on average of all, but for what leaves count that none reaches."""
    parts = cut(fitted.forest, fitted.counts, 12, 10**9)
    assert len(parts.above.value) == 12
    rest = sum_of_leaves(parts.rest, fitted.X)
    np.testing.assert_allclose(rest.mean(axis=0), 0, rtol=0, atol=1e-7)


def test_leaves_that_no_example_reaches_and_paths_of_any_width():
    """A chain that asks for 200 features, cut by a single example: both parts add up to it."""
    X = np.vstack([np.eye(200), np.zeros((1, 200))])
    model = DecisionTreeRegressor(random_state=0).fit(X, np.arange(201.0))
    forest = forest_of(model)
    parts = cut(forest, reached(forest, X[:1]), 10**6, 1_000)
    sums = sum_of_leaves(parts.above, X) + sum_of_leaves(parts.rest, X)
    np.testing.assert_allclose(sums[:, 0], model.predict(X), rtol=0, atol=1e-9)
    assert parts.above.has_narrow_paths


def test_splits_by_category_are_cut_like_others():
    """Codes go left by a table of their own, of which only that of the splits above is left."""
    categories = np.zeros((5, 3), dtype=bool)
    categories[0, 1] = categories[1, [0, 2]] = True
    tree = Tree(
        left=np.array([1, 2, -1, -1, -1]),
        right=np.array([4, 3, -1, -1, -1]),
        missing_left=np.zeros(5, dtype=bool),
        feature=np.array([0, 1, 0, 0, 0]),
        threshold=np.full(5, np.nan),
        value=np.array([[0.0], [0.0], [1.0], [2.0], [7.0]]),
        categories=categories,
    )
    forest = Forest.of([tree], Grouping.identity(2))
    rows = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [np.nan, 2.0]])
    parts = cut(forest, reached(forest, rows), 2, 10**6)
    np.testing.assert_allclose(sum_of_leaves(parts.above, rows)[:, 0], [1.5, 1.5, 7, 7], atol=1e-5)
    sums = sum_of_leaves(parts.above, rows) + sum_of_leaves(parts.rest, rows)
    np.testing.assert_allclose(sums[:, 0], [1, 2, 7, 7], rtol=0, atol=1e-12)


def test_trees_cut_at_their_roots_are_still_explained(fitted, monkeypatch):
    """Where examples are too many to be met by anything: all of it is sampled, and adds up."""
    monkeypatch.setattr(sampled_trees, "MOST_MET", 0)
    forest, X = fitted.forest, fitted.X
    outputs = sum_of_leaves(forest, X)
    game = SampledTreeGame(
        forest,
        np.zeros(outputs.shape[1]),
        population=Population(X.astype(float), outputs),
        n_rows=64,
        seed=0,
        input_dtype=np.float32,
        grouping=Grouping.identity(5),
    )
    values, errors = game.estimate(X[0])
    total = outputs[0] - outputs.mean(axis=0)
    np.testing.assert_allclose(values.sum(axis=1), total, rtol=0, atol=1e-12)
    exact = TreeGame(forest, np.zeros(len(total)), Background.uniform(X), np.float32, 5)
    assert np.mean(np.abs(values - exact.shapley_values(X[0])) < 3 * errors) > 0.9


def test_a_sample_is_as_large_as_what_is_left_over_asks_for(monkeypatch):
    """Cut trees leave so little that 64 rows do what 192 do for whole ones, and no less exactly."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(600, 6))
    y = X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * rng.normal(size=600)
    model = RandomForestRegressor(10, random_state=0).fit(X, y)
    forest, outputs = forest_of(model), model.predict(X)[:, None]
    sizes, errors = [], []
    for most_numbers in (0, 20_000):
        monkeypatch.setattr(sampled_trees, "MOST_NUMBERS", most_numbers)
        game = SampledTreeGame(
            forest,
            np.zeros(1),
            population=Population(X, outputs),
            n_rows=192,
            seed=0,
            input_dtype=np.float32,
            grouping=Grouping.identity(6),
        )
        sizes.append(len(game.rows))
        errors.append(np.square(game.estimate(X[5])[1]).mean())
    assert sizes == [192, 64]
    assert errors[1] < errors[0]
