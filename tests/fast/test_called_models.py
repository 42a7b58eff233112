"""Models that can only be called: the cheapest way that is exact, and nothing done for nothing."""

import numpy as np
import pandas as pd
import pytest
from shapley_by_definition import shapley_by_definition
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from service.engines import builders
from service.engines.called import note
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(324, 7))
Y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int)
WEIGHTS = RNG.normal(size=(7, 2))


def net(rows):
    """A small numpy network."""
    scores = np.exp(np.tanh(rows @ WEIGHTS))
    return scores / scores.sum(axis=1, keepdims=True)


def refuse(*_):
    raise AssertionError("expected no surrogate")


SMALL = {
    "network": (net, net, X),
    "naive-bayes": (GaussianNB().fit(X, Y), GaussianNB().fit(X, Y).predict_proba, X),
    "neighbours": (
        KNeighborsClassifier().fit(X, Y),
        KNeighborsClassifier().fit(X, Y).predict_proba,
        X[:200],
    ),
    "three-features": (lambda x: x[:, 0] * x[:, 1], lambda x: x[:, 0] * x[:, 1], X[:20, :3]),
    "one-feature": (lambda x: np.exp(x[:, 0]), lambda x: np.exp(x[:, 0]), X[:50, :1]),
}


@pytest.mark.parametrize("case", SMALL)
def test_small_problems_are_enumerated_without_a_surrogate(case, monkeypatch):
    """Where all coalitions on all rows cost about what a sample does, the answer is exact."""
    monkeypatch.setattr(builders, "with_surrogate", refuse)
    model, function, examples = SMALL[case]
    explainer = TabularExplainer(model, examples)
    local = explainer.row_explainer.explain(examples[:1])
    assert not local.standard_errors.any()
    weights = np.full(len(examples), 1 / len(examples))
    expected = shapley_by_definition(function, examples[0], examples, weights)
    np.testing.assert_allclose(np.atleast_3d(local.values.T).T[:, 0], expected, atol=1e-12)


def test_a_large_background_is_sampled():
    """Enumeration would cost ten times as much."""
    many = RNG.normal(size=(8000, 7))
    local = TabularExplainer(net, many).explain_local(many[:1])
    assert np.all(local.standard_errors)


def test_what_is_exact_is_not_explained_to_say_so():
    """The manifest's standard error of an enumeration is 0 without a call of the model."""
    calls = []

    def model(rows):
        calls.append(len(rows))
        return rows[:, 0] * rows[:, 1]

    scoring = KernelScoringExplainer(TabularExplainer(model, X[:, :4]))
    calls.clear()
    assert scoring.to_dict()["relative_standard_error"] == 0.0
    assert not calls


def test_changing_the_work_decides_anew():
    """Fewer coalitions are sampled, the default is exact."""
    explainer = TabularExplainer(net, X)
    assert explainer.row_explainer.engine.is_exact
    few = KernelScoringExplainer(explainer, nsamples=40)
    assert few.to_dict()["relative_standard_error"] > 0


def test_frames_with_text_are_enumerated_too():
    """What is counted are rows of the model, whatever is in them."""
    frame = pd.DataFrame({"a": ["x", "y"] * 30, "b": np.arange(60.0), "c": ["u", "v", "w"] * 20})

    def model(rows):
        return (rows["a"] == "x") * rows["b"] + (rows["c"] == "u") * 3.0

    local = TabularExplainer(model, frame).explain_local(frame[:2])
    assert not np.any(local.standard_errors)
    distance = KNeighborsRegressor().fit(X, Y)
    assert not np.any(TabularExplainer(distance, X[:40, :]).explain_local(X[:1]).standard_errors)


class Chances:
    """What has probabilities and no predictions."""

    def predict_proba(self, rows):
        chances = 1 / (1 + np.exp(-net(rows)))
        return np.column_stack([1 - chances, chances])


NOTED = {
    "function": (net, "A function can only be called."),
    "probabilities": (Chances(), "Chances is not looked into for its probability."),
    "estimator": (
        NearestCentroid(),
        "NearestCentroid is not looked into for its probability.",
    ),
    "step": (make_pipeline(KNNImputer(), Ridge()), "KNNImputer in it is not looked through."),
    "column": (
        make_pipeline(make_column_transformer((PCA(2), [0, 1, 2])), Ridge()),
        "PCA in it is not looked through.",
    ),
    "own-function": (
        make_pipeline(FunctionTransformer(np.nan_to_num), Ridge()),
        "FunctionTransformer in it is not looked through.",
    ),
}


@pytest.mark.parametrize("case", NOTED)
def test_the_build_says_why_a_model_is_called_and_what_a_row_costs(case, capsys):
    """Printed, and in the manifest: the part that stands in the way, the rows, the seconds."""
    model, reason = NOTED[case]
    if hasattr(model, "fit"):
        model.fit(X, Y)
    said = KernelScoringExplainer(TabularExplainer(model, X)).to_dict()["note"]
    assert said.startswith(reason)
    assert "asks the model for 40,824 rows: about 0." in said
    assert said in capsys.readouterr().err


def test_a_long_row_comes_with_what_would_take_less(monkeypatch):
    """Above a second the note says how to make it less."""
    monkeypatch.setattr(note, "LONG", 0.0)
    said = TabularExplainer(net, X).row_explainer.note
    assert said.endswith("Fewer features, fewer examples or a smaller nsamples take less.")


def test_a_model_that_is_looked_into_or_called_by_name_has_no_note():
    """There is nothing to say of them."""
    model = Ridge().fit(X, Y)
    assert TabularExplainer(model, X).row_explainer.note == ""
    assert TabularExplainer(model, X, engine="kernel").row_explainer.note == ""
