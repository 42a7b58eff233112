"""Linear maps of all columns before a model: a part of its first layer, or only called."""

import numpy as np
import pandas as pd
import pytest
from shapley_by_definition import shapley_by_definition, third_order_interaction
from sklearn.cross_decomposition import CCA, PLSRegression
from sklearn.decomposition import PCA, FactorAnalysis, FastICA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    MultiTaskLasso,
    PoissonRegressor,
    RANSACRegressor,
    Ridge,
)
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeRegressor

from service.explainers import TabularExplainer

RNG = np.random.default_rng(5)
X = RNG.normal(size=(120, 5)) @ RNG.normal(size=(5, 5)) + 3.0
Y = X[:, 0] * X[:, 1] / 5 + X[:, 2]
LABELS = (np.median(Y) < Y).astype(int)
THREE = np.digitize(Y, np.quantile(Y, [0.3, 0.6]))
BACKGROUND = X[:20]


def check(model, function, method, **options):
    """Compare two rows with the definition on all coalitions."""
    explainer = TabularExplainer(model, BACKGROUND, **options)
    assert explainer.method == method
    local = explainer.row_explainer.explain(X[60:62])
    assert not np.any(local.standard_errors)
    values = np.atleast_3d(local.values.T).T  # (n_outputs, n_rows, n_features)
    for i, row in enumerate(X[60:62]):
        expected = shapley_by_definition(function, row, BACKGROUND, np.ones(20))
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(values[-len(expected) :, i], expected, rtol=0, atol=1e-9)


MAPS = {
    "components": PCA(3),
    "white": PCA(whiten=True),
    "singular": TruncatedSVD(3),
    "independent": FastICA(3, random_state=0),
    "factors": FactorAnalysis(2),
    "projection": GaussianRandomProjection(4, random_state=0),
}


@pytest.mark.parametrize("name", MAPS)
def test_linear_maps_before_a_linear_model_are_exact(name):
    """Between scalers too, which come before or after them."""
    model = make_pipeline(StandardScaler(), MAPS[name], StandardScaler(), Ridge()).fit(X, Y)
    check(model, model.predict, "linear")


ENDS = {
    "margin": (LogisticRegression(), LABELS, "decision_function", "linear", {}),
    "probability": (
        LogisticRegression(),
        LABELS,
        "predict_proba",
        "kernel/linear",
        {"output": "probability"},
    ),
    "polynomial kernel": (
        SVR(kernel="poly", degree=3, coef0=0.5, gamma=0.1),
        Y,
        "predict",
        "polynomial",
        {},
    ),
    "polynomial margins": (
        SVC(kernel="poly", coef0=1.0, gamma=0.1),
        LABELS,
        "decision_function",
        "polynomial",
        {},
    ),
    "network": (
        MLPRegressor(hidden_layer_sizes=(6,), solver="lbfgs", max_iter=3000, random_state=0),
        Y,
        "predict",
        "kernel/network",
        {},
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_begins_with_scalar_products_is_read_behind_maps(name):
    """Their first layer takes the map in."""
    last, target, function, method, options = ENDS[name]
    model = make_pipeline(StandardScaler(), PCA(4), last).fit(X, target)
    check(model, getattr(model, function), method, **options)


def test_interactions_of_a_machine_behind_a_map_are_of_order_three():
    """A wrong weight of a coalition's size would show."""
    model = make_pipeline(PCA(4), SVR(kernel="poly", degree=3, coef0=0.5, gamma=0.1)).fit(X, Y)
    assert abs(third_order_interaction(model.predict, X[60], X[3])) > 1e-3


def test_columns_of_a_frame_reach_the_map_by_name_and_in_any_order():
    """The map was fitted on named columns, and rows come in the order of the schema."""
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = make_pipeline(PCA(3), Ridge()).fit(frame, Y)
    explainer = TabularExplainer(model, frame[:20])
    assert explainer.method == "linear"
    values = np.array(explainer.explain_local(frame[60:61]).local_importance_values)[0]
    expected = shapley_by_definition(
        lambda rows: model.predict(pd.DataFrame(rows, columns=list("abcde"))),
        X[60],
        BACKGROUND,
        np.ones(20),
    )
    np.testing.assert_allclose(values, expected[0], rtol=0, atol=1e-9)


def test_what_looks_at_mapped_columns_one_by_one_is_called():
    """And the note names the map."""
    model = make_pipeline(PCA(3), DecisionTreeRegressor(max_depth=3)).fit(X, Y)
    explainer = TabularExplainer(model, BACKGROUND)
    assert explainer.method == "kernel"
    assert "PCA in it is not looked through" in explainer.row_explainer.note


LINEAR = {
    "latent": (PLSRegression(2), Y, "predict", "linear"),
    "latent targets": (CCA(1), np.stack([Y, X[:, 3] + Y], axis=1), "predict", "linear"),
    "several targets": (MultiTaskLasso(0.1), np.stack([Y, X[:, 3]], axis=1), "predict", "linear"),
    "consensus": (RANSACRegressor(random_state=0), Y, "predict", "linear"),
    "discriminant": (LinearDiscriminantAnalysis(), THREE, "decision_function", "linear"),
    "self-taught": (
        SelfTrainingClassifier(LogisticRegression()),
        np.where(np.arange(120) % 3, LABELS, -1),
        "decision_function",
        "linear",
    ),
    "counts": (
        make_pipeline(PCA(2), PoissonRegressor(alpha=1.0)),
        np.round(np.exp(Y / 8)),
        "predict",
        "kernel",
    ),
}


@pytest.mark.parametrize("name", LINEAR)
def test_all_that_is_linear_is_explained_as_such(name):
    """Whatever it was fitted by; the exponential of a linear map is called."""
    model, target, function, method = LINEAR[name]
    model = model.fit(X, target)
    check(model, getattr(model, function), method)
