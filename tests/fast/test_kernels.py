"""The compiled kernels against their numpy form, at every level that this processor has."""

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)

from service.shapley.background import Background
from service.shapley.background_tables import Table
from service.shapley.games import BlackBoxGame
from service.shapley.grouping import Grouping
from service.shapley.kernels import CompiledKernels, NumpyKernels
from service.shapley.kernels.compiled_kernels import LEVELS
from service.shapley.kernels.distances import Distances
from service.shapley.kernels.nearest import Hybrids, NearestPoints
from service.shapley.kernels.regression import Combination
from service.shapley.kernels.twigs import CountedTrees
from service.shapley.kernels.waves import Angles
from service.shapley.kernels.words import pack_words, unpack_words
from service.shapley.plan import make_plan
from service.shapley.trees import Forest, Tree, patterns
from service.shapley.trees.division import divide
from service.shapley.trees.traversal import sum_of_leaves
from service.structures.sklearn_trees import read_forest

ROOT = Path(__file__).parents[2]
NUMPY = NumpyKernels()
# `make sanitize` has these tests run on a library that watches its memory.
FOLDER = os.environ.get("KERNELS_FOLDER", ROOT / "service" / "shapley" / "kernels")


@pytest.fixture(scope="module", params=range(len(LEVELS)), ids=LEVELS)
def compiled(request):
    """The library at one level; where there is a compiler, there is a library."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("There is no C++ compiler here: the kernels run in numpy.")
    found = CompiledKernels.load(Path(FOLDER))
    assert found is not None, "expected a compiled library: run `make setup`"
    if request.param > found.library.highest_level():
        pytest.skip(f"This processor does not have {LEVELS[request.param]}.")
    return CompiledKernels(found.library, request.param)


def product_case(seed, n_rows, n_support, owner, *, power=2, rates=1, scale=1.0):
    """A kernel machine, a row and a background; `rates` kinds of support vectors."""
    rng = np.random.default_rng(seed)
    grouping = Grouping(np.asarray(owner), max(owner) + 1)
    support = rng.normal(size=(n_support, len(owner))) * scale
    rate = rng.uniform(0.01, 0.2, size=(len(owner), 1 if rates == 1 else n_support))
    if rates > 1:
        rate = rate[:, np.arange(n_support) % rates]
    weights = rng.uniform(0.1, 1, n_rows)
    rows = rng.normal(size=(n_rows, len(owner))) * scale
    background = Background(rows, weights / weights.sum(), "whole", n_rows)
    distances = Distances(support, rate, power, grouping)
    return distances, rng.normal(size=(2, n_support)), rng.normal(size=len(owner)), background


@pytest.mark.parametrize(
    "case",
    [
        pytest.param({"n_rows": 1, "n_support": 1, "owner": [0]}, id="one"),
        pytest.param({"n_rows": 7, "n_support": 33, "owner": range(5)}, id="odd"),
        pytest.param({"n_rows": 40, "n_support": 64, "owner": range(30)}, id="round"),
        pytest.param({"n_rows": 9, "n_support": 21, "owner": [2, 0, 1, 0, 2, 2]}, id="grouped"),
        pytest.param({"n_rows": 9, "n_support": 21, "owner": range(4), "power": 1}, id="laplacian"),
        pytest.param({"n_rows": 9, "n_support": 21, "owner": range(4), "rates": 3}, id="rates"),
        pytest.param({"n_rows": 9, "n_support": 50, "owner": range(8), "scale": 40.0}, id="far"),
        pytest.param({"n_rows": 5, "n_support": 12, "owner": range(130)}, id="wide"),
    ],
)
def test_product_values_are_those_of_the_numpy_form(compiled, case):
    """Margins' Shapley values agree to 1e-12 of the largest possible margin."""
    distances, dual, row, background = product_case(0, **case)
    expected = NUMPY.product_values(distances, dual, row, background)
    found = compiled.product_values(distances, dual, row, background)
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(dual).sum(axis=1).max()


def flat_case(seed, *, power=2):
    """A machine whose columns have units of their own: most hardly tell support vectors apart."""
    distances, dual, row, background = product_case(seed, 30, 70, range(14), power=power)
    units = np.random.default_rng(seed).permutation(np.logspace(1, -9, 14))
    background = replace(background, rows=background.rows * units)
    return replace(distances, support=distances.support * units), dual, row * units, background


@pytest.mark.parametrize("power", [1, 2])
def test_features_that_hardly_matter_are_integrated_as_well(compiled, power):
    """Features whose factors hardly differ have values of the same relative precision."""
    distances, dual, row, background = flat_case(5, power=power)
    expected = NUMPY.product_values(distances, dual, row, background)
    found = compiled.product_values(distances, dual, row, background)
    largest = np.abs(dual).sum(axis=1).max()
    assert (np.abs(expected).max(axis=0) < 1e-6 * largest).sum() >= 4
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-14 * largest)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("make", [product_case, flat_case])
def test_controls_are_integrated_in_single_precision(compiled, make, power):
    """Margins' Shapley values in single precision are off by a millionth of the largest margin."""
    shape = (30, 70, range(14)) if make is product_case else ()
    distances, dual, row, background = make(6, *shape, power=power)
    expected = NUMPY.product_values(distances, dual, row, background)
    found = compiled.product_values(
        distances, dual, row, background, negligible=1e-7, precision=np.float32
    )
    assert found.dtype == np.float64
    assert 0 < np.abs(found - expected).max() <= 1e-6 * np.abs(dual).sum(axis=1).max()


def test_product_values_add_up_to_the_margin(compiled):
    """f(x) − E f is Σ φ, by the kernel itself and no quadrature."""
    distances, dual, row, background = product_case(1, 20, 45, range(12))

    def margins(rows):
        return np.exp(distances(rows).sum(axis=1)) @ dual.T

    values = compiled.product_values(distances, dual, row, background)
    expected = margins(row[None])[0] - background.weights @ margins(background.rows)
    np.testing.assert_allclose(values.sum(axis=1), expected, rtol=0, atol=1e-12)


def test_arrays_may_lie_anyhow(compiled):
    """Strided, reversed and Fortran-ordered arrays give the same bytes."""
    distances, dual, row, background = product_case(2, 11, 19, range(6))
    expected = compiled.product_values(distances, dual, row, background)
    other = Distances(np.asfortranarray(distances.support), distances.rate, 2, distances.grouping)
    twice = np.repeat(background.rows, 2, axis=0)
    strided = Background(twice[::2], background.weights, "whole", len(background.rows))
    found = compiled.product_values(other, dual[:, ::-1][:, ::-1], row, strided)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("dtype", "least", "allowed"), [(np.float64, -36.8, 5e-16), (np.float32, -18.4, 3e-7)]
)
def test_the_exponential_is_good_to_its_last_places(compiled, dtype, least, allowed):
    """exp(x) for all x of which it counts, against numpy's in double precision."""
    x = np.linspace(least, 0, 20_001).astype(dtype)[:, None]
    inside, one = np.ones((1, 1), dtype=bool), np.ones((1, 1), dtype=dtype)
    table = Table.of(np.ones((1, 1, 1), dtype=dtype))
    margins = [compiled.hybrid_margins(inside, of_row[None], table, one) for of_row in x]
    found = np.concatenate(margins)[:, 0]
    exact = np.exp(x.astype(np.float64))
    assert np.abs(found / exact - 1).max() <= allowed


def hybrid_case(dtype, shape, spread=3.0, *, negligible=0.0):
    """Coalitions, a row's logarithms, a table and dual coefficients."""
    n_pairs, n_draws, n_features, n_support, n_margins = shape
    rng = np.random.default_rng(0)
    inside = rng.random((n_pairs, n_features)) < 0.5
    at_row = -rng.exponential(spread / n_features, size=(n_features, n_support)).astype(dtype)
    numbers = rng.uniform(size=(n_pairs, n_draws, n_support))
    numbers *= np.exp(-rng.exponential(spread, size=(n_pairs, 1, n_support)))
    table = Table.of(numbers.astype(dtype), negligible)
    return inside, at_row, table, rng.normal(size=(n_margins, n_support)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1, 1), (3, 2, 5, 17, 1), (40, 5, 6, 64, 3), (2, 9, 31, 131, 2)]
)
def test_hybrid_margins_are_those_of_the_numpy_form(compiled, dtype, shape):
    """Any number of draws, features, margins and support vectors, in both precisions."""
    arguments = hybrid_case(dtype, shape)
    found = compiled.hybrid_margins(*arguments)
    expected = NUMPY.hybrid_margins(*arguments)
    allowed = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)


@pytest.mark.parametrize(("dtype", "negligible"), [(np.float64, 1e-16), (np.float32, 1e-8)])
def test_hybrid_margins_are_the_same_where_little_of_the_table_counts(compiled, dtype, negligible):
    """Most numbers are negligible, many support vectors are met in several blocks."""
    for spread, shape in ((30.0, (30, 4, 12, 273, 2)), (30.0, (7, 3, 200, 900, 1))):
        inside, at_row, table, dual = hybrid_case(dtype, shape, spread, negligible=negligible)
        counts = table.numbers != 0
        assert 0.1 < counts.mean() < 0.9
        first, last = table.reach[..., 0, None], table.reach[..., 1, None]
        place = np.arange(shape[3])
        assert not counts[(place < first) | (place >= last)].any()
        found = compiled.hybrid_margins(inside, at_row, table, dual)
        expected = NUMPY.hybrid_margins(inside, at_row, table, dual)
        assert np.abs(expected).max() > 1e-5
        allowed = negligible * np.abs(dual).sum()
        np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)


def test_pairs_have_the_same_margins_alone(compiled):
    """A part of a plan gives the bytes of the whole."""
    inside, at_row, table, dual = hybrid_case(np.float32, (21, 4, 12, 99, 2), negligible=1e-8)
    whole = compiled.hybrid_margins(inside, at_row, table, dual)
    part = slice(8, 9)
    alone = compiled.hybrid_margins(inside[part], at_row, table.part(part), dual)
    np.testing.assert_array_equal(alone, whole[part])


def forest_of(model, n_features=9, n_classes=3, n_rows=400):
    """A fitted ensemble's trees side by side."""
    x, y = make_classification(
        n_rows, n_features, n_informative=6, n_classes=n_classes, random_state=0
    )
    structure = read_forest(model.fit(x, y), "probability")
    return Forest.of(structure.trees, Grouping.identity(n_features)), x


@pytest.mark.parametrize("n_hybrids", [1, 63, 64, 65, 4_000])
def test_leaf_sums_are_those_of_the_numpy_form_and_of_the_trees(compiled, n_hybrids):
    """Hybrid rows reach the leaves that they reach as rows."""
    model = RandomForestClassifier(n_estimators=7, max_depth=6, random_state=0)
    forest, x = forest_of(model)
    rng = np.random.default_rng(1)
    rows, inside = x[rng.integers(1, len(x), n_hybrids)], rng.random((n_hybrids, 9)) < 0.5
    goes_left = forest.goes_left(np.ascontiguousarray(rows.T.astype(np.float32)))
    at_row = forest.goes_left(x[:1].T.astype(np.float32))[:, 0]
    arguments = forest, at_row, pack_words(goes_left), pack_words(inside.T)
    found = compiled.hybrid_leaf_sums(*arguments)[:n_hybrids]
    np.testing.assert_allclose(found, NUMPY.hybrid_leaf_sums(*arguments)[:n_hybrids], atol=1e-13)
    hybrids = np.where(inside, x[0], rows)
    np.testing.assert_allclose(found, model.predict_proba(hybrids), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_words", [1, 2, 3, 5, 8, 9, 40])
def test_leaf_sums_of_alike_rows_are_those_of_mixed_ones(compiled, n_words):
    """Where the rows of a word have one background row, in whatever order the words come."""
    forest, x = forest_of(RandomForestClassifier(n_estimators=7, max_depth=6, random_state=0))
    rng = np.random.default_rng(n_words)
    met = np.sort(rng.integers(0, 4, n_words))
    inside = pack_words(rng.random((9, 64 * n_words)) < 0.5)
    goes_left = forest.goes_left(np.ascontiguousarray(x[:5].T.astype(np.float32)))
    at_background = np.ascontiguousarray(goes_left[:, 1:].T)
    by_row = pack_words(np.repeat(at_background[met], 64, axis=0).T)
    expected = compiled.hybrid_leaf_sums(forest, goes_left[:, 0], by_row, inside)
    arguments = forest, goes_left[:, 0], at_background, met, inside
    np.testing.assert_array_equal(compiled.alike_leaf_sums(*arguments), expected)
    np.testing.assert_allclose(NUMPY.alike_leaf_sums(*arguments), expected, rtol=0, atol=1e-13)
    assert np.ptp(expected) > 0.1


def regression_case(n_players, budget, n, dtype):
    """A plan's design with controls of its draws, and differences of several games."""
    rng = np.random.default_rng(n_players)
    background = Background.uniform(rng.normal(size=(40, n_players)))
    plan = make_plan(background, n_players, *budget, n_players)
    n_draws = 1 if plan.draws is None else plan.draws.shape[1]
    shape = len(plan.pairs.members), n_draws
    game = BlackBoxGame(lambda x: x.sum(axis=1, keepdims=True), background)
    marks = game.draw_marks if dtype == np.float64 else game.draw_marks.in_single_precision()
    drawn = marks.controls(np.arange(n_players), plan)
    differences = rng.normal(size=(*shape, n)).astype(dtype)
    return plan.design(differences.dtype), drawn, differences, rng.normal(size=n)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("n_players", "budget", "n"),
    [
        (2, (2, None), 1),
        (5, (30, 90), 3),
        (9, (200, 700), 2),
        (9, (510, 9000), 4),
        (30, (400, 4000), 2),
    ],
)
def test_regressions_are_those_of_the_numpy_form(compiled, dtype, n_players, budget, n):
    """With draws or without, pairs that are sampled or all there, one game or several; and nothing
    is left uncertain where nothing was sampled.
    """
    case = regression_case(n_players, budget, n, dtype)
    n_controls = len(case[1].values)
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    found, expected = compiled.error_products(*case), NUMPY.error_products(*case)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(expected[0]).max())
    rng = np.random.default_rng(n)
    multiples = rng.normal(size=(n, 2))
    combination = Combination(multiples, 0.1 * rng.normal(size=(n_controls, 2)))
    found = compiled.solve_combined(*case, combination)
    expected = NUMPY.solve_combined(*case, combination)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == (n_players, 2)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    assert np.abs(found[0]).min() > 0
    assert found[1].any() == (budget[1] is not None)


@pytest.mark.parametrize("n_waves", [1, 8, 16, 17])
@pytest.mark.parametrize("n_players", [1, 2, 8, 30])
def test_waves_are_those_of_the_numpy_form(compiled, n_players, n_waves):
    """Any number of features, waves and curves; a factor that is 0; drawn rows and all of them."""
    rng = np.random.default_rng(n_players)
    parts = rng.dirichlet(np.ones(n_players + 1), 6)[:, :-1] * np.pi
    parts[0] = np.pi * (np.arange(n_players) == 0)
    angles = Angles(np.pi - parts.sum(axis=1), parts, rng.dirichlet(np.ones(6)))
    for degree in (0, n_players - 1, 2 * n_players):
        found = compiled.wave_values(angles, n_waves, degree)
        expected = NUMPY.wave_values(angles, n_waves, degree)
        assert found.shape == (n_waves, n_players)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    members = rng.random((45, n_players)) < 0.5
    for draws in (rng.integers(0, 6, (45, 3)), None):
        waves = rng.normal(size=(n_waves, 2))
        found = compiled.wave_differences(angles, waves, members, draws)
        expected = NUMPY.wave_differences(angles, waves, members, draws)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * n_waves**2)
        assert np.abs(found).max() > 0.1


def test_a_tree_without_a_split_adds_its_only_leaf(compiled):
    """A constant model, as boosting with nothing to learn makes."""
    x = np.zeros((20, 2))
    model = RandomForestClassifier(n_estimators=3, random_state=0).fit(x, np.arange(20) % 2)
    structure = read_forest(model, "probability")
    forest = Forest.of(structure.trees, Grouping.identity(2))
    nothing = np.zeros(0, dtype=bool), pack_words(np.zeros((0, 70), dtype=bool))
    for form in (compiled, NUMPY):
        assert not form.path_values(forest.splits, x[0], x, 2).any()
    inside = pack_words(np.ones((2, 70), dtype=bool))
    found = compiled.hybrid_leaf_sums(forest, *nothing, inside)
    np.testing.assert_allclose(found[:70], model.predict_proba(np.zeros((70, 2))), atol=1e-15)


@pytest.mark.parametrize("n_rows", [1, 7, 64, 300])
@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_path_values_are_those_of_the_numpy_form(compiled, n_classes, n_rows):
    """One output, two, and any number; missing values on both sides; the last column unused."""
    rng = np.random.default_rng(n_rows)
    x = rng.normal(size=(500, 9)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    target = np.nan_to_num(x[:, 0] * x[:, 1] + x[:, 2] ** 2)
    kind, output = RandomForestRegressor, "prediction"
    if n_classes > 1:
        kind, output = RandomForestClassifier, "probability"
        target = np.digitize(target, np.quantile(target, np.linspace(0, 1, n_classes + 1)[1:-1]))
    model = kind(n_estimators=7, random_state=0).fit(x[:, :8], target)
    forest = Forest.of(read_forest(model, output).trees, Grouping.identity(9))
    arguments = forest.splits, x[0], x[1 : 1 + n_rows], 9
    found = compiled.path_values(*arguments)
    assert found.shape == (n_rows, forest.value.shape[1], 9)
    np.testing.assert_allclose(found, NUMPY.path_values(*arguments), rtol=0, atol=1e-12)
    assert np.abs(found[..., :8]).max() > 1e-3
    assert not found[..., 8].any()


def test_who_walks_together_changes_no_byte(compiled):
    """Of 130 background rows each has what it has alone, and leaves are counted row by row."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 6))
    x[rng.random(x.shape) < 0.1] = np.nan
    target = np.nan_to_num(x[:, 0] * x[:, 1] + x[:, 2])
    model = RandomForestRegressor(n_estimators=5, random_state=0).fit(x, target)
    splits = Forest.of(read_forest(model, "prediction").trees, Grouping.identity(6)).splits
    found = compiled.path_values(splits, x[0], x[1:131], 6)
    for place in (0, 63, 64, 129):
        alone = compiled.path_values(splits, x[0], x[1 + place : 2 + place], 6)
        np.testing.assert_array_equal(found[place], alone[0])
    counts = compiled.count_leaves(splits, x)
    np.testing.assert_array_equal(counts, NUMPY.count_leaves(splits, x))
    assert counts.sum() == 5 * 400
    assert counts @ splits.value[:, 0] == pytest.approx(model.predict(x).sum(), abs=1e-9)


def test_path_values_of_categories_are_those_of_the_numpy_form(compiled):
    """Codes, what comes behind their point, and what is no code and goes the way of a missing one.

    Such trees come from LightGBM, with a table of the codes that go left.
    """
    forest, rows = trees_with_categories()
    arguments = forest.splits, rows[0], rows[1:], 4
    found = compiled.path_values(*arguments)
    np.testing.assert_allclose(found, NUMPY.path_values(*arguments), rtol=0, atol=1e-13)
    reached = sum_of_leaves(forest, rows)
    np.testing.assert_allclose(found.sum(axis=2), reached[0] - reached[1:], rtol=0, atol=1e-12)
    goes_left = forest.goes_left(np.ascontiguousarray(rows.T))
    nothing = pack_words(np.zeros((4, 60), dtype=bool))
    by_words = NUMPY.hybrid_leaf_sums(forest, goes_left[:, 0], pack_words(goes_left), nothing)
    np.testing.assert_allclose(reached, by_words[:60], rtol=0, atol=1e-12)


def trees_with_categories():
    """A forest of two equal trees that split by codes and by numbers, with rows for it."""
    rng = np.random.default_rng(0)
    n_inner, n_codes = 31, 5
    node = np.arange(2 * n_inner + 1)
    is_inner = node < n_inner
    by_code = is_inner & (node % 2 == 0)
    tree = Tree(
        left=np.where(is_inner, 2 * node + 1, -1),
        right=np.where(is_inner, 2 * node + 2, -1),
        missing_left=rng.random(len(node)) < 0.5,
        feature=np.where(by_code, rng.integers(0, 3, len(node)), 3 + node % 3),
        threshold=np.where(by_code, np.nan, rng.normal(size=len(node))),
        value=rng.normal(size=(len(node), 2)),
        categories=by_code[:, None] & (rng.random((len(node), n_codes)) < 0.5),
    )
    tree.categories[by_code, 0] = True
    codes = rng.choice([-0.5, -1, 0, 1, 2.7, 4, 5, 1e300, np.inf, np.nan], size=(60, 3))
    rows = np.hstack([codes, rng.normal(size=(60, 3))])
    return Forest.of([tree, tree], Grouping(np.array([0, 0, 1, 2, 3, 3]), 4)), rows


def trees_with_missing_values(n_classes):
    """A fitted forest of deep trees, with rows for it."""
    rng = np.random.default_rng(n_classes)
    x = rng.normal(size=(700, 9)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    target = np.nan_to_num(x[:, 0] * x[:, 1] + x[:, 2] ** 2)
    kind, output = RandomForestRegressor, "prediction"
    if n_classes > 1:
        kind, output = RandomForestClassifier, "probability"
        target = np.digitize(target, np.quantile(target, np.linspace(0, 1, n_classes + 1)[1:-1]))
    model = kind(n_estimators=5, max_leaf_nodes=60, random_state=0).fit(x[:, :8], target)
    forest = Forest.of(read_forest(model, output).trees, Grouping.identity(9))
    return forest, x


@pytest.mark.parametrize("most", [patterns.MAX_TABLE, 3_000, 0], ids=["tables", "both", "none"])
@pytest.mark.parametrize("kind", ["categories", 1, 3])
def test_twig_values_are_those_of_the_numpy_form_and_of_paths(compiled, monkeypatch, kind, most):
    """Every step of them, with tables for all leaves, for some and for none; and the mean over the
    background of what following the paths gives; the same bytes for a row alone and among others.
    """
    monkeypatch.setattr(patterns, "MAX_TABLE", most)
    categories = kind == "categories"
    forest, rows = trees_with_categories() if categories else trees_with_missing_values(kind)
    n_features, n_background = (4, 37) if categories else (9, 400)
    background = rows[:n_background]
    weights = np.random.default_rng(0).random(n_background)
    twigs = divide(forest, patterns.tabulated_leaves(forest), n_features)
    made = []
    for form in (compiled, NUMPY):
        counts = form.count_states(forest.splits, twigs, background, weights)
        numbers = form.tabulate(twigs, forest.splits.value, counts.weight)
        trees = CountedTrees(forest.splits, twigs, counts, numbers, n_features)
        made.append((counts, numbers, form.twig_values(trees, rows[n_background:])))
        assert form.twig_values(trees, rows[:0]).shape == (0, forest.value.shape[1], n_features)
        alone = [form.twig_values(trees, row[None])[0] for row in rows[n_background:][-20:]]
        np.testing.assert_array_equal(alone, made[-1][2][-20:])
        two = form.twig_values(trees, rows[-2:])
        np.testing.assert_array_equal(two, made[-1][2][-2:])
    (found, found_numbers, values), (counts, numbers, expected) = made
    np.testing.assert_allclose(found.weight, counts.weight, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.first_pattern, counts.first_pattern)
    np.testing.assert_array_equal(found.pattern, counts.pattern)
    np.testing.assert_allclose(found.pattern_weight, counts.pattern_weight, rtol=0, atol=1e-12)
    size = weights.sum() * np.abs(forest.value).max()
    np.testing.assert_allclose(found_numbers, numbers, rtol=0, atol=1e-12 * size)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12 * size)
    assert np.abs(values).max() > 1e-3
    for row, of_row in zip(rows[n_background : n_background + 3], values, strict=False):
        paths = NUMPY.path_values(forest.splits, row, background, n_features)
        followed = np.tensordot(weights, paths, axes=1)
        np.testing.assert_allclose(of_row, followed, rtol=0, atol=1e-12 * size)


def test_twigs_of_trees_without_a_split(compiled):
    """Nothing is given by a tree that is one leaf, beside one that has a split."""
    leaf = Tree(
        *np.full((2, 1), -1), np.zeros(1, bool), np.zeros(1, int), np.zeros(1), np.ones((1, 1))
    )
    split = Tree(
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        missing_left=np.zeros(3, dtype=bool),
        feature=np.array([1, 0, 0]),
        threshold=np.zeros(3),
        value=np.array([[0.0], [1.0], [3.0]]),
    )
    rows, weights = np.array([[0.0, -1.0], [0.0, 1.0]]), np.array([0.25, 0.75])
    for trees, expected in (([leaf, split, leaf], [-1.5, 0.5]), ([leaf], [0.0, 0.0])):
        forest = Forest.of(trees, Grouping.identity(2))
        twigs = divide(forest, patterns.tabulated_leaves(forest), 2)
        for form in (compiled, NUMPY):
            counts = form.count_states(forest.splits, twigs, rows, weights)
            numbers = form.tabulate(twigs, forest.splits.value, counts.weight)
            counted = CountedTrees(forest.splits, twigs, counts, numbers, 2)
            values = form.twig_values(counted, rows)[:, 0]
            np.testing.assert_allclose(values, np.outer(expected, [0, 1]), rtol=0, atol=1e-15)


def test_leaf_sums_of_rows_are_what_the_model_predicts(compiled):
    """With missing values, in both forms."""
    forest, rows = trees_with_missing_values(3)
    expected = NUMPY.leaf_sums(forest.splits, rows)
    np.testing.assert_allclose(
        compiled.leaf_sums(forest.splits, rows), expected, rtol=0, atol=1e-13
    )
    np.testing.assert_allclose(expected.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert np.ptp(expected[:, 0]) > 0.1


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_coupled_probabilities_are_those_of_the_numpy_form(compiled, n_classes):
    """The iteration ends at the same round for every row, extreme ones too."""
    rng = np.random.default_rng(0)
    first = rng.beta(0.3, 0.3, size=(500, n_classes * (n_classes - 1) // 2)).clip(1e-7, 1 - 1e-7)
    found = compiled.couple_probabilities(first, n_classes)
    expected = NUMPY.couple_probabilities(first, n_classes)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_words_keep_every_row():
    """Packing and unpacking gives the truth values back, zeros after them."""
    truths = np.random.default_rng(0).random((5, 131)) < 0.4
    back = unpack_words(pack_words(truths))
    np.testing.assert_array_equal(back[:, :131], truths)
    assert back.shape == (5, 192)
    assert not back[:, 131:].any()


def test_a_level_that_the_processor_has_not_is_refused():
    """It would end the process with an illegal instruction."""

    class Old:
        @staticmethod
        def highest_level():
            return 0

    with pytest.raises(ValueError, match="level: expected 0 to 0 on this processor, got 1"):
        CompiledKernels(Old(), 1)


def test_without_a_library_or_with_one_of_another_machine_numpy_computes(tmp_path):
    """What cannot be loaded is passed over."""
    assert CompiledKernels.load(tmp_path) is None
    (tmp_path / "compiled.so").write_bytes(b"\x7fELF of another machine")
    assert CompiledKernels.load(tmp_path) is None
    assert "g++" in NUMPY.sentence


def test_the_library_is_loaded_out_of_a_zip_file(compiled, tmp_path):
    """From which MLflow imports the package of a registered version."""
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as packed:
        for file in Path(FOLDER).glob("compiled*.so"):
            packed.write(file, f"kernels/{file.name}")
    loaded = CompiledKernels.load(zipfile.Path(packed.filename, "kernels/"))
    assert loaded.library.highest_level() == compiled.library.highest_level()
    assert not Path(loaded.library._name).exists()


def test_without_a_compiler_the_build_says_so(tmp_path):
    """In one sentence, with an exit code."""
    done = subprocess.run(
        [sys.executable, ROOT / "native" / "build.py", tmp_path / "compiled.so"],
        env={**os.environ, "CXX": "no-such-compiler"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "native/build.py: no-such-compiler: no such compiler\n"


def test_a_game_of_boosted_trees_is_the_same_in_both_forms(compiled, monkeypatch):
    """The same importances to 1e-12, with the same standard errors."""
    from service.explainers import TabularExplainer
    from service.shapley import kernels

    x, y = make_classification(300, 8, random_state=0)
    model = GradientBoostingClassifier(n_estimators=30, random_state=0).fit(x, y)
    explainer = TabularExplainer(model, x, output="probability")
    answers = []
    for form in (compiled, NUMPY):
        monkeypatch.setattr(kernels, "current", form)
        answers.append(explainer.explain_local(x[:3]))
    first, second = answers
    np.testing.assert_allclose(
        first.local_importance_values, second.local_importance_values, rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(first.standard_errors, second.standard_errors, rtol=0, atol=1e-12)


def test_a_tree_may_be_as_deep_as_it_has_leaves(compiled):
    """A chain of 60,000 splits, which a recursion would end the process at."""
    n = 60_000
    leaf = np.arange(n + 1, dtype=np.int32)
    chain = SimpleNamespace(
        children=((np.r_[leaf[1:n], -1 - n], -1 - leaf[:n]), np.zeros(1)),
        feature=np.zeros(n),
        value=leaf[:, None] + 1.0,
        n_trees=1,
        levels=[0] * (n + 1),
    )
    goes_left = np.arange(n) != n // 2
    at_background = pack_words(np.stack([goes_left, np.ones(n, dtype=bool)], axis=1))
    nothing = pack_words(np.zeros((1, 2), dtype=bool))
    sums = compiled.hybrid_leaf_sums(chain, np.ones(n, dtype=bool), at_background, nothing)
    assert sums[:2, 0].tolist() == [n // 2 + 1, n + 1]


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.float64])
def test_arrays_may_be_of_any_type(compiled, dtype):
    """They are read as what they are, and not as the doubles that the library expects."""
    distances, _, row, background = product_case(3, 9, 21, range(4))
    dual = np.random.default_rng(0).integers(-3, 4, size=(1, 21))
    found = compiled.product_values(distances, dual.astype(dtype), row, background)
    expected = NUMPY.product_values(distances, dual.astype(np.float64), row, background)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    first = np.array([[0.25], [0.5]])
    np.testing.assert_array_equal(
        compiled.couple_probabilities(first.astype(np.float32), 2),
        compiled.couple_probabilities(first, 2),
    )


@pytest.mark.parametrize("n", [1, 3, 8, 1_001])
def test_the_logistic_is_that_of_the_numpy_form(compiled, n):
    """Far out on both sides, and the same bytes alone and among others."""
    margins = np.random.default_rng(0).normal(scale=200, size=(n, 1))
    found = compiled.logistic(margins)
    np.testing.assert_allclose(found, NUMPY.logistic(margins), rtol=1e-15, atol=1e-300)
    alone = np.concatenate([compiled.logistic(margin[None]) for margin in margins])
    np.testing.assert_array_equal(found, alone)
    ends = np.array([-np.inf, -800.0, 0.0, 800.0, np.inf])
    np.testing.assert_allclose(compiled.logistic(ends), [0, 0, 0.5, 1, 1], atol=1e-300)
    assert np.isnan(compiled.logistic(np.array([np.nan]))).all()


def test_what_is_no_number_stays_none_and_nothing_may_be_left_out(compiled):
    """NaN is no small number; a limit of 0 asks for the exact rule; no support adds up to 0."""
    one = np.ones((1, 1))
    arguments = np.ones((1, 1), dtype=bool), np.array([[np.nan]]), Table.of(one[None]), one
    assert np.isnan(compiled.hybrid_margins(*arguments)).all()
    distances, dual, row, background = product_case(4, 5, 9, range(7))
    arguments = distances, dual, row, background
    found = compiled.product_values(*arguments, negligible=0.0)
    expected = NUMPY.product_values(*arguments)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    empty = replace(distances, support=np.zeros((0, 7)))
    for form in (compiled, NUMPY):
        assert not form.product_values(empty, np.zeros((2, 0)), row, background).any()


@pytest.mark.parametrize("by_distance", [False, True], ids=["alike", "by distance"])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param({"n_points": 1, "n_nearest": 1, "owner": [0]}, id="one"),
        pytest.param({"n_points": 33, "n_nearest": 5, "owner": range(5)}, id="odd"),
        pytest.param({"n_points": 64, "n_nearest": 64, "owner": range(3)}, id="all"),
        pytest.param({"n_points": 100, "n_nearest": 7, "owner": [2, 0, 1, 0, 2]}, id="grouped"),
        pytest.param({"n_points": 90, "n_nearest": 4, "owner": range(3), "whole": True}, id="ties"),
    ],
)
def test_means_of_the_nearest_are_those_of_the_numpy_form(compiled, case, power, by_distance):
    """Also where points are equally far, and where one is the row itself."""
    rng = np.random.default_rng(4)
    owner = np.asarray(case["owner"])
    grouping = Grouping(owner, int(owner.max()) + 1)
    rows = rng.normal(size=(case["n_points"] + 9, len(owner)))
    if "whole" in case:
        rows = np.round(rows)
    points = NearestPoints(
        points=rows[: case["n_points"]],
        targets=rng.normal(size=(case["n_points"], 2)),
        n_nearest=case["n_nearest"],
        power=power,
        scale=rng.integers(1, 4, size=len(owner)).astype(float),
        by_distance=by_distance,
    )
    hybrids = Hybrids(
        row=rows[0],
        rows=rows[-10:],
        drawn=np.sort(rng.integers(10, size=50)),
        inside=rng.random((50, grouping.n_features)) < 0.5,
    )
    expected = NUMPY.hybrid_means(points, grouping, hybrids)
    found = compiled.hybrid_means(points, grouping, hybrids)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
