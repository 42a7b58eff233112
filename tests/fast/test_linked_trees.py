"""Boosted probabilities of many trees: they are looked into, within a bounded memory."""

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from shapley_by_definition import shapley_by_definition
from sklearn.ensemble import GradientBoostingClassifier

from service.engines import builders
from service.explainers import TabularExplainer
from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.plan import make_plan
from service.shapley.trees import Forest, LinkedTreeGame, TreeGame, linked, patterns
from service.structures.lightgbm_trees import read_lightgbm
from service.structures.links import logistic

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 7))
X[:, 6] = RNG.integers(0, 9, size=400)
Y = (X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + (X[:, 6] % 3) + RNG.normal(size=400) > 1).astype(int)


def check_many_leaves(model, rows, n_leaves):
    """Check that a model of more leaves is looked into, and explained as by the definition."""
    explainer = TabularExplainer(model, rows[:10], output="probability")
    assert explainer.method == "kernel/tree"
    assert len(explainer.row_explainer.engine.game.margins.forest.value) > n_leaves
    found = explainer.row_explainer.explain(rows[60:61])
    weights = np.full(10, 1 / 10)
    expected = shapley_by_definition(model.predict_proba, rows[60], rows[:10], weights)
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=0, atol=1e-9)


def test_a_thousand_trees_are_not_called():
    """25,000 leaves; on seven features all coalitions meet all rows, which is exact."""
    model = LGBMClassifier(
        n_estimators=1000, learning_rate=0.01, min_child_samples=2, n_jobs=1, verbose=-1
    ).fit(X, Y)
    check_many_leaves(model, X, 20_000)


def test_one_tree_of_thousands_of_leaves_is_not_called():
    """A large tree among few is met by few hybrid rows at each of its splits."""
    rows = np.random.default_rng(1).normal(size=(9000, 7))
    targets = np.random.default_rng(2).integers(0, 2, size=9000)
    model = GradientBoostingClassifier(n_estimators=1, max_depth=None, random_state=0)
    check_many_leaves(model.fit(rows, targets), rows, 2000)


def test_more_leaves_are_looked_into_where_trees_are_small(monkeypatch, capsys):
    """Their model takes most steps for each leaf; beyond what there is room for it is called."""
    model = GradientBoostingClassifier(n_estimators=10, max_depth=3, random_state=0).fit(X, Y)

    def method(most, in_small):
        monkeypatch.setattr(builders, "MOST_LINKED_LEAVES", most)
        monkeypatch.setattr(builders, "MOST_IN_SMALL_TREES", in_small)
        return TabularExplainer(model, X[:10], output="probability").method

    assert method(40, 80) == "kernel/tree"
    assert method(80, 40) == "kernel"
    assert "leaves behind a link: beyond 40" in capsys.readouterr().err
    monkeypatch.setattr(builders, "SMALL_TREE", 2)
    assert method(80, 40) == "kernel/tree"


@pytest.mark.parametrize("n_rows", [5, 300])
def test_what_is_decided_in_blocks_is_what_is_decided_at_once(n_rows, monkeypatch):
    """With categories and missing values; few rows have words of their own, many are mixed."""
    rows = X.copy()
    rows[::7, 2] = np.nan
    model = LGBMClassifier(n_estimators=20, min_child_samples=5, n_jobs=1, verbose=-1)
    model.fit(rows, Y, categorical_feature=[6])
    structure, grouping = read_lightgbm(model, "margin"), Grouping.identity(7)
    forest = Forest.of(structure.trees, grouping)
    assert len(forest.categorical)
    background = Background.uniform(rows[:n_rows])
    margins = TreeGame(forest, structure.offset, background, structure.input_dtype, 7)
    plan, players = make_plan(background, 7, 126, 126 * 4, seed=0), np.arange(7)
    assert plan.draws is not None
    found = []
    for chunk in (linked.CHUNK, 40 * n_rows):
        monkeypatch.setattr(linked, "CHUNK", chunk)
        game = LinkedTreeGame(margins, logistic, background, grouping)
        found.append(np.array(game.sides(rows[350], players, plan)))
    np.testing.assert_array_equal(*found)
    members, drawn = plan.pairs.members, rows[:n_rows][plan.draws]
    expected = np.where(members[:, None], rows[350], drawn).reshape(-1, 7)
    raw = model.predict_proba(expected, raw_score=True).reshape(plan.draws.shape)
    np.testing.assert_allclose(found[0][0][..., 0], raw, rtol=0, atol=1e-9)


def test_deep_trees_keep_no_more_patterns_than_there_is_room_for(monkeypatch, capsys):
    """Fewer rows are taken where half of them are enough; where not, the model is called."""
    monkeypatch.setattr(patterns, "MAX_TABLE", 0)  # as if every leaf were at the end of a long path
    model = GradientBoostingClassifier(n_estimators=10, max_depth=None, random_state=0).fit(X, Y)

    def explained(room):
        monkeypatch.setattr(builders, "MOST_LINKED_PATTERNS", room)
        return TabularExplainer(model, X, output="probability")

    whole = explained(10**6)
    n_patterns = whole.row_explainer.engine.game.margins.n_patterns
    with pytest.warns(UserWarning, match="sample, 266 of 400 rows"):
        assert explained(int(n_patterns / 1.5)).method == "kernel/tree"
    assert explained(n_patterns // 3).method == "kernel"
    assert "different patterns of them" in capsys.readouterr().err
