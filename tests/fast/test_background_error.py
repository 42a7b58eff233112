"""The error of a background in the manifest, against errors that are known by another route."""

import json
from functools import cache

import numpy as np
import pytest
import shap
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVC, SVR

from service.engines.background_error import N_EXPLAINED_ROWS
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save
from service.shapley.background import spread_out

# What a build says of such backgrounds; see test_sampled_backgrounds.py.
pytestmark = pytest.mark.filterwarnings("ignore:The importances of engine:UserWarning")

X, Y = load_diabetes(return_X_y=True)
X = X / X.std(axis=0)
CANCER = load_breast_cancer()
X_CANCER = (CANCER.data - CANCER.data.mean(axis=0)) / CANCER.data.std(axis=0)
MACHINE = SVC(C=10)
CENTRES = {"background": "kmeans", "background_size": 4}


def error_of(explainer):
    return KernelScoringExplainer(explainer).to_dict()["background"]["relative_error"]


def importances(explainer, rows):
    return np.array(explainer.explain_local(rows).local_importance_values)


def difference(values, expected):
    """What the error is an estimate of."""
    return np.sqrt(np.square(values - expected).mean()) / np.abs(expected).mean()


@pytest.mark.parametrize("size", [20, 100, 300])
def test_the_error_of_a_sample_is_that_of_its_mean(size):
    """A linear model on a sample errs by the standard error of the sample's mean, which a formula
    knows.
    """
    model = LinearRegression().fit(X, Y)
    estimate = error_of(TabularExplainer(model, X, background="sample", background_size=size))
    squared = model.coef_**2 * X.var(axis=0, ddof=1) * (1 / size - 1 / len(X))
    exact = model.coef_ * (spread_out(X, N_EXPLAINED_ROWS) - X.mean(axis=0))
    assert estimate == pytest.approx(np.sqrt(squared.mean()) / np.abs(exact).mean(), rel=0.3)


@pytest.mark.parametrize(
    "model", [SVR(C=10), SVR(kernel="poly", coef0=1)], ids=["product", "polynomial"]
)
def test_the_error_of_a_sample_is_what_samples_have_on_average(model):
    """Ten samples, each compared with all examples."""
    model.fit(X[:, :6], Y)
    rows = spread_out(X[:, :6], 8)
    expected = importances(TabularExplainer(model, X[:, :6], background="whole"), rows)
    samples = [
        TabularExplainer(
            model, X[:, :6], background="sample", background_size=60, random_state=seed
        )
        for seed in range(10)
    ]
    true = np.array([difference(importances(sample, rows), expected) for sample in samples])
    estimated = np.array([error_of(sample) for sample in samples])
    assert np.sqrt(np.mean(estimated**2)) == pytest.approx(np.sqrt(np.mean(true**2)), rel=0.35)


@cache
def true_error_of_centres(model, output):
    """Fit a model; say how far its importances on the centres are from those on all examples."""
    model.fit(X_CANCER, CANCER.target)
    rows = spread_out(X_CANCER, N_EXPLAINED_ROWS)
    centres = TabularExplainer(model, X_CANCER, output=output, **CENTRES)
    whole = TabularExplainer(model, X_CANCER, output=output)
    return difference(importances(centres, rows), importances(whole, rows))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (MACHINE, {"output": "margin"}),
        (MACHINE, {"output": "margin", "engine": "kernel", "nsamples": 400}),
        (RandomForestClassifier(20, random_state=0), {}),
        (LogisticRegression(), {"output": "probability"}),
    ],
    ids=["product", "called", "trees", "sampled"],
)
def test_the_error_of_centres_is_their_difference_from_all_examples(model, options):
    """Four centres, where the difference is plain; exact engines, sampled ones and called models
    alike.
    """
    true = true_error_of_centres(model, options.get("output", "auto"))
    assert true > 0.1
    assert error_of(TabularExplainer(model, X_CANCER, **CENTRES, **options)) == pytest.approx(
        true, rel=0.4
    )


def test_all_examples_have_no_error():
    """Nothing was left out, so nothing is estimated."""
    assert error_of(TabularExplainer(SVR().fit(X, Y), X)) == 0
    assert error_of(TabularExplainer(lambda x: x[:, 0], X[:20])) == 0
    assert (
        error_of(
            TabularExplainer(
                LinearRegression().fit(X, Y), X, background="sample", background_size=1000
            )
        )
        == 0
    )


def test_what_cannot_be_known_is_none():
    """A background that was brought along, too few examples, too many sampled features, and shap's
    own engine.
    """
    model = SVR().fit(X, Y)
    assert error_of(shap.KernelExplainer(model.predict, X[:10])) is None
    assert error_of(TabularExplainer(model, X[:7], background="kmeans", background_size=2)) is None
    wide = np.random.default_rng(0).normal(size=(30, 65))
    assert (
        error_of(
            TabularExplainer(lambda x: x.sum(axis=1), wide, background="sample", background_size=5)
        )
        is None
    )
    assert error_of(TabularExplainer(model, X, engine="shap", background="kmeans")) is None


def test_it_is_the_same_each_time_and_stays_with_the_explainer(tmp_path):
    """Seeded; in the manifest; not lost when the sampling is changed; measured anew for other
    examples.
    """
    model = LogisticRegression().fit(X_CANCER, CANCER.target)
    first, second = (
        TabularExplainer(
            model, X_CANCER, output="probability", background="sample", background_size=50
        )
        for _ in range(2)
    )
    assert error_of(first) == error_of(second) > 0
    scoring = KernelScoringExplainer(first, nsamples=500, random_state=3)
    assert scoring.to_dict()["background"]["relative_error"] == error_of(first)
    save(scoring, tmp_path / "models")
    manifest = json.loads((tmp_path / "models" / "scoring_explainer.json").read_text())
    assert manifest["background"] == {
        **scoring.to_dict()["background"],
        "relative_error": error_of(first),
    }
    other = KernelScoringExplainer(first, X_CANCER[:200])
    assert 0 < other.to_dict()["background"]["relative_error"] != error_of(first)
