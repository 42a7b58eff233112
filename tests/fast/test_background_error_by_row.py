"""The standard errors of a sampled background are those of the row that is explained."""

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    VotingRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeRegressor

from service.engines import builders
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, load, save

pytestmark = pytest.mark.filterwarnings("ignore:The importances of engine:UserWarning")

RNG = np.random.default_rng(0)
# A few rows lie far out: importances that stem from a product are a hundred times larger there.
X = RNG.normal(size=(150, 4)) * np.where(np.arange(150) % 50, 1.0, 10.0)[:, None]
TARGET = X[:, 0] * X[:, 1] + X[:, 2]
ROWS = np.vstack([X[[50, 100]], X[[3, 77, 121]]])

EXACT = {
    "trees": DecisionTreeRegressor(max_depth=5, random_state=0),
    "product": SVR(C=10, gamma=0.05),
    "polynomial": KernelRidge(kernel="poly", degree=2, coef0=1),
    "terms": make_pipeline(PolynomialFeatures(3), Ridge()),
    "sum": VotingRegressor(
        [
            ("linear", make_pipeline(StandardScaler(), Ridge())),
            ("polynomial", KernelRidge(kernel="poly", degree=2, coef0=1)),
        ]
    ),
    "linear behind a link": LogisticRegression(),
    "trees behind a link": GradientBoostingClassifier(n_estimators=5, random_state=0),
    "network": MLPRegressor(hidden_layer_sizes=(4,), max_iter=100, random_state=0),
    "product behind a link": SVC(probability=True, random_state=0),
}
LINKS = [case for case in EXACT if case.endswith("link")]


@pytest.mark.filterwarnings("ignore:.*probability.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("case", EXACT)
def test_each_row_has_the_error_that_samples_have_for_it(case):
    """What samples are off by on average follows from how all examples differ, one by one."""
    model, is_link = EXACT[case], case in LINKS
    model.fit(X, TARGET > 0 if is_link else TARGET)
    output = "probability" if is_link else "auto"
    whole = TabularExplainer(model, X, background="whole", output=output)
    engine = whole.row_explainer.engine
    by_row = engine.explain_against(engine.encode(X))
    against_all = np.stack(list(map(by_row, engine.encode(ROWS))), axis=2)[:, 0]
    np.testing.assert_allclose(against_all.mean(axis=0), engine.importances(ROWS).values[0])
    off = np.sqrt(against_all.var(axis=0) * (1 / 20 - 1 / 150))
    options = {"background": "sample", "background_size": 20, "output": output}
    local = TabularExplainer(model, X, **options).row_explainer.explain(ROWS)
    said = np.reshape(local.standard_errors, (-1, *off.shape))[0]
    if case in (
        "polynomial",
        "terms",
        "sum",
    ):  # one error for all rows would say nothing of either kind
        assert np.mean(said[:2], axis=1).min() > np.mean(said[2:], axis=1).max()
    np.testing.assert_allclose(np.mean(said, axis=1), np.mean(off, axis=1), rtol=0.3)


FLAG = np.where(np.arange(600) % 200, 0.0, 1.0)  # three of six hundred
PLAIN = RNG.normal(size=(600, 4))
FAR = RNG.standard_t(1.5, size=600)
# What few examples have: a flag, a number far out, a category, two values together, nothing at all.
RARE = {
    "flag": (np.c_[PLAIN, FLAG], PLAIN[:, 0] + 20 * FLAG),
    "far": (np.c_[PLAIN, FAR], PLAIN[:, 0] + FAR),
    "code": (
        np.c_[PLAIN, np.where(FLAG, 3.0, np.arange(600) % 7 // 3 * 6.0 + np.arange(600) % 3)],
        PLAIN[:, 0] + 20 * FLAG,
    ),
    "missing": (np.c_[PLAIN, np.where(FLAG, np.nan, 1.0)], PLAIN[:, 0] + 20 * FLAG),
    "together": (
        PLAIN,
        PLAIN[:, 0] + 30 * (PLAIN[:, 1] > 1.7) * (PLAIN[:, 2] > 1.2),
    ),
}


def meeting_sixty(forced, monkeypatch):
    """Let trees meet sixty of the examples; return the options that ask for them by name."""
    if forced == "by name":
        return {"background": "sample", "background_size": 60}
    monkeypatch.setattr(builders, "affordable_rows", lambda forest: 0)
    monkeypatch.setattr(builders, "AFFORDABLE_STEPS", 0)
    monkeypatch.setattr(builders, "N_SAMPLED_ROWS", 60)
    monkeypatch.setattr("service.shapley.trees.sampled.MOST_NUMBERS", 0)  # nothing is exact
    return {}


@pytest.mark.parametrize("forced", ["by name", "estimated"])
@pytest.mark.parametrize("case", RARE)
def test_what_few_examples_have_is_in_the_errors_of_every_sample(case, forced, monkeypatch):
    """Over seeds, importances are off by what is said, feature by feature, and never in silence."""
    rows, target = RARE[case]
    model = DecisionTreeRegressor(max_depth=7, random_state=0).fit(rows, target)
    truth = TabularExplainer(model, rows, background="whole").row_explainer.explain(rows[1::60])
    options = meeting_sixty(forced, monkeypatch)
    off, said = [], []
    for seed in range(12):
        sampled = TabularExplainer(model, rows, random_state=seed, **options)
        local = sampled.row_explainer.explain(rows[1::60])
        off.append(np.abs(local.values - truth.values))
        said.append(local.standard_errors)
    off, said = np.array(off), np.array(said)
    matters = off > 1e-9 * np.abs(truth.values).mean()
    assert said[matters].min() > 0
    assert np.mean(off[matters] < 10 * said[matters]) > 0.99
    assert np.mean(off[matters] < 1.96 * said[matters]) > 0.9
    of_features = np.sqrt([np.square(parts).mean(axis=(0, 1)) for parts in (said, off)])
    counts = of_features[1] > 1e-9
    assert (of_features[0] > 0.6 * of_features[1])[counts].all()


WORDS = (RNG.random((600, 40)) < 0.01).astype(float)


@pytest.mark.parametrize("forced", ["by name", "estimated"])
def test_many_rare_words_are_in_the_errors(forced, monkeypatch):
    """Each of forty words is in some six of 600 examples, and in no drawn one in every second
    sample: what it may add is then taken to be typical, and not nothing.
    """
    target = WORDS @ np.random.default_rng(1).normal(size=40)
    model = GradientBoostingRegressor(n_estimators=60, random_state=0).fit(WORDS, target)
    rows = WORDS[1::20]
    truth = TabularExplainer(model, WORDS, background="whole").row_explainer.explain(rows).values
    options = meeting_sixty(forced, monkeypatch)
    off, said = [], []
    for seed in range(8):
        sampled = TabularExplainer(model, WORDS, random_state=seed, **options)
        local = sampled.row_explainer.explain(rows)
        off.append(np.abs(local.values - truth))
        said.append(local.standard_errors)
    off, said = np.array(off), np.array(said)
    matters = off > 1e-9 * np.abs(truth).mean()
    assert 0.93 < np.mean(off[matters] < 1.96 * said[matters]) < 0.995
    assert np.mean(off[matters] < 6 * said[matters]) > 0.98
    assert 0.7 < np.sqrt(np.mean(said[matters] ** 2) / np.mean(off[matters] ** 2)) < 1.5


def test_a_feature_that_counts_by_itself_has_the_error_of_all_examples():
    """The variance of a linear model's parts is known, however few examples a part comes from."""
    rows = np.c_[PLAIN, FLAG]
    model = LinearRegression().fit(rows, PLAIN[:, 0] + 20 * FLAG)
    sampled = TabularExplainer(model, rows, background="sample", background_size=50)
    expected = np.abs(model.coef_) * rows.std(axis=0) * np.sqrt(1 / 50 - 1 / 600)
    errors = sampled.row_explainer.explain(rows[:2]).standard_errors
    np.testing.assert_allclose(errors, [expected, expected])


def test_a_feature_at_which_the_model_does_not_look_is_certain():
    """Its importance and the error of it are exactly 0."""
    model = DecisionTreeRegressor(max_depth=5, random_state=0).fit(PLAIN[:, :3], PLAIN[:, 0])
    blind = DecisionTreeRegressor(max_depth=5, random_state=0)
    blind.fit(np.c_[PLAIN[:, :3], np.zeros(600)], model.predict(PLAIN[:, :3]))
    options = {"background": "sample", "background_size": 60}
    local = TabularExplainer(blind, PLAIN, **options).row_explainer.explain(PLAIN[:9])
    assert not np.any(local.values[:, 3])
    assert not np.any(local.standard_errors[:, 3])
    assert np.min(local.standard_errors[:, 0]) > 0


def test_they_are_saved_and_the_same_alone_and_in_a_batch(tmp_path):
    """The artifact holds what they are computed from."""
    model = EXACT["trees"].fit(X, TARGET)
    explainer = TabularExplainer(model, X, background="sample", background_size=40)
    expected = explainer.row_explainer.explain(ROWS).standard_errors
    save(KernelScoringExplainer(explainer), tmp_path / "models", original_model=model)
    loaded = load(tmp_path / "models").row_explainer
    for row, errors in zip(ROWS, expected, strict=True):
        assert np.array_equal(loaded.explain(row[None]).standard_errors[0], errors)


def test_a_link_over_many_features_has_errors_of_its_sample_too():
    """What a sample leaves open is told where 70 features are sampled as well."""
    wide = np.random.default_rng(1).normal(size=(200, 70))
    model = LogisticRegression().fit(wide, wide[:, :9].sum(axis=1) > 0)
    options = {"background": "sample", "background_size": 20, "output": "probability"}
    summary = KernelScoringExplainer(TabularExplainer(model, wide, **options)).to_dict()
    assert 0 < summary["background"]["relative_error"] < 1


def test_a_word_that_few_examples_have_has_the_error_of_the_row_that_has_it():
    """One error for each feature would be that of rows without the word."""
    words = (np.random.default_rng(2).random((400, 30)) < 0.05).astype(float)
    model = LogisticRegression(C=50).fit(words, words[:, :8].sum(axis=1) + FLAG[:400] > 0.5)
    options = {"background": "sample", "background_size": 40, "output": "probability"}
    rows = words[words[:, 0] == 1][:4]
    whole = TabularExplainer(model, words, background="whole", output="probability")
    truth = whole.row_explainer.explain(rows).values[1, :, :8]
    off, said = [], []
    for seed in range(10):
        sampled = TabularExplainer(model, words, random_state=seed, **options)
        local = sampled.row_explainer.explain(rows)
        off.append(local.values[1, :, :8] - truth)
        said.append(local.standard_errors[1, :, :8])
    assert np.min(said) > 0
    ratio = np.sqrt(np.mean(np.square(said)) / np.mean(np.square(off)))
    assert 0.6 < ratio < 1.6


def test_what_is_told_of_a_link_is_saved(tmp_path):
    """The loaded explainer says the same errors."""
    model = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(X, TARGET > 0)
    options = {"background": "sample", "background_size": 10, "output": "probability"}
    explainer = TabularExplainer(model, X, **options)
    save(KernelScoringExplainer(explainer), tmp_path / "models")
    expected = explainer.row_explainer.explain(ROWS).standard_errors
    loaded = load(tmp_path / "models").row_explainer
    assert np.array_equal(loaded.explain(ROWS).standard_errors, expected)
