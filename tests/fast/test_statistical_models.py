"""Nearest neighbours and naive Bayes: what is read of them, against the definition."""

import pickle

import numpy as np
import pandas as pd
import pytest
from shapley_by_definition import shapley_by_definition
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer
from service.structures.reading import read_structure

N_BACKGROUND = 20
RNG = np.random.default_rng(0)
X_REGRESSION = RNG.normal(size=(150, 5))
Y = X_REGRESSION[:, 0] * X_REGRESSION[:, 1] + X_REGRESSION[:, 2]
TARGETS = np.stack([Y, np.abs(X_REGRESSION[:, 3])], axis=1)


def data(n_classes):
    return make_classification(
        150, 5, n_informative=4, n_redundant=0, n_classes=n_classes, random_state=3
    )


def check(model, function, rows, background, method="kernel/neighbours"):
    """Compare two rows with the definition on all coalitions."""
    explainer = TabularExplainer(model, background)
    assert explainer.method == method
    result = KernelScoringExplainer(explainer).explain_rows(rows)
    values = result.values if result.values.ndim == 3 else result.values[None]
    for i, row in enumerate(rows):
        expected = shapley_by_definition(function, row, background, np.ones(len(background)))
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(values[:, i], expected, rtol=0, atol=1e-9)
    assert not np.any(result.standard_errors)


NEIGHBOURS = {
    "by default": {},
    "by a tree": {"algorithm": "kd_tree", "leaf_size": 5},
    "one by one": {"algorithm": "brute"},
    "by distance": {"weights": "distance"},
    "Manhattan": {"metric": "manhattan", "weights": "distance"},
    "no p": {"metric": "euclidean", "p": None},
    "p of 1": {"p": 1, "n_neighbors": 1},
    "p of 3": {"p": 3, "weights": "distance"},
    "weighted columns": {
        "p": 2,
        "metric_params": {"w": np.array([1.0, 3.0, 0.5, 2.0, 0.1])},
        "algorithm": "brute",
        "weights": "distance",
    },
    "many": {"n_neighbors": 60},
    # A tree, by which a row is at no distance from itself; with products of rows it may be at some.
    "all": {"n_neighbors": 150, "weights": "distance", "algorithm": "kd_tree"},
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbours_classify_as_by_the_definition(name, n_classes):
    """Every metric and weight that is read, two and more classes."""
    X, y = data(n_classes)
    model = KNeighborsClassifier(**NEIGHBOURS[name]).fit(X, np.array(["a", "b", "c"])[y])
    check(model, model.predict_proba, X[60:62], X[:N_BACKGROUND])


@pytest.mark.parametrize("y", [Y, TARGETS], ids=["one", "two"])
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbours_regress_as_by_the_definition(name, y):
    """One target and several; rows that were fitted have a neighbour at no distance."""
    model = KNeighborsRegressor(**NEIGHBOURS[name]).fit(X_REGRESSION, y)
    check(model, model.predict, X_REGRESSION[[60, 3]], X_REGRESSION[:N_BACKGROUND])


def test_neighbours_among_very_many_points_are_called():
    """The model finds them sooner; the values are those of the definition all the same."""
    X = np.random.default_rng(0).normal(size=(9_000, 3))
    model = KNeighborsRegressor().fit(X, X[:, 0] * X[:, 1])
    explainer = TabularExplainer(model, X[:N_BACKGROUND])
    assert explainer.method == "kernel"
    assert explainer.row_explainer.note.startswith(
        "Nearest neighbours among 9,000 points of 3 columns: the model itself is faster."
    )
    (values,) = explainer.explain_local(X[60:61]).local_importance_values
    background = X[:N_BACKGROUND], np.ones(N_BACKGROUND)
    (expected,) = shapley_by_definition(model.predict, X[60], *background)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


def test_several_targets_of_a_classifier_stand_one_after_another():
    """The probabilities of the first, and then those of the second."""
    X, y = data(2)
    both = np.stack([y, np.arange(len(y)) % 3], axis=1)
    model = KNeighborsClassifier(7).fit(X, both)
    check(model, lambda rows: np.hstack(model.predict_proba(rows)), X[60:62], X[:N_BACKGROUND])


def mixed():
    X, y = data(2)
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["town"] = np.array(["Ghent", "Oslo", "Turin"])[np.arange(len(X)) % 3]
    frame.loc[::7, "a"] = np.nan
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town"]), (numbers, list("abcde"))
    )
    return frame, make_pipeline(encode, KNeighborsClassifier(weights="distance")), y


def test_neighbours_behind_preprocessing_and_in_a_search():
    """Texts and missing values as well, with the same numbers as when the model is called."""
    frame, model, y = mixed()
    found = GridSearchCV(model, {"kneighborsclassifier__n_neighbors": [3, 9]}, cv=2).fit(frame, y)
    explainer = TabularExplainer(found, frame[:15])
    assert explainer.method == "kernel/neighbours"
    rows = frame[60:64]
    local = explainer.explain_local(rows)
    called = TabularExplainer(found, frame[:15], engine="kernel", nsamples=62)
    values = np.array(local.local_importance_values)
    expected = called.explain_local(rows).local_importance_values
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)
    again = pickle.loads(pickle.dumps(KernelScoringExplainer(explainer))).explain_rows(rows)
    assert again.values.tobytes() == values.tobytes()
    alone = explainer.explain_local(rows[2:3]).local_importance_values
    assert np.array(alone).tobytes() == values[:, 2:3].tobytes()


def test_errors_of_neighbours_are_those_that_they_have():
    """Of eleven features: the truth is the model on all coalitions."""
    X, y = make_classification(80, 11, n_informative=6, random_state=0)
    model = KNeighborsClassifier().fit(X, y)
    explainer = TabularExplainer(model, X[:40], nsamples=200)
    assert explainer.method == "kernel/neighbours"
    local = explainer.row_explainer.explain(X[40:44])
    expected = []
    for row in X[40:44]:
        expected.append(shapley_by_definition(model.predict_proba, row, X[:40], np.ones(40)))
    off = np.abs(local.values - np.stack(expected, axis=1))
    assert 0 < local.standard_errors.mean() < 0.5 * np.abs(local.values).mean()
    assert np.sqrt(np.square(off / local.standard_errors).mean()) < 1.4


def count_alike(weights):
    return np.ones_like(weights)


CALLED = {
    "another metric": ({"metric": "chebyshev"}, "with metric 'chebyshev' is only called"),
    "an angle": ({"metric": "cosine"}, "with metric 'cosine' is only called"),
    "no power": ({"p": np.inf}, "with metric 'minkowski' is only called"),
    "weights by a function": ({"weights": count_alike}, "with weights by a function"),
}


@pytest.mark.parametrize("name", CALLED)
def test_what_is_not_read_of_neighbours_is_called_and_says_why(name):
    """Distances that are no sums over columns, and weights that nobody can look into."""
    options, why = CALLED[name]
    model = KNeighborsRegressor(**options).fit(X_REGRESSION, Y)
    explainer = TabularExplainer(model, X_REGRESSION[:40])
    assert explainer.method == "kernel"
    assert why in explainer.row_explainer.note


def test_neighbours_that_are_equally_far_are_never_taken_for_others():
    """Of whole numbers many are: where the model takes others than the first, it is called."""
    whole = RNG.integers(3, size=(120, 4)).astype(float)
    y = RNG.normal(size=120)
    for algorithm in ("brute", "kd_tree"):
        model = KNeighborsRegressor(algorithm=algorithm).fit(whole, y)
        explainer = TabularExplainer(model, whole[:20])
        result = KernelScoringExplainer(explainer).explain_rows(whole[:2])
        expected = shapley_by_definition(model.predict, whole[0], whole[:20], np.ones(20))
        np.testing.assert_allclose(result.values[0], expected[0], rtol=0, atol=1e-9)


BAYES = {
    "parabolas": (GaussianNB(), lambda X: X, "kernel/additive"),
    "thresholds": (BernoulliNB(binarize=0.2), lambda X: X, "kernel/additive"),
    "counts": (MultinomialNB(), np.abs, "kernel/linear"),
    "complements": (ComplementNB(norm=True), np.abs, "kernel/linear"),
    "scaled": (make_pipeline(StandardScaler(), GaussianNB()), lambda X: X, "kernel/additive"),
    "far from zero": (GaussianNB(), lambda X: X + 1e4, "kernel/additive"),
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", BAYES)
def test_naive_bayes_classifies_as_by_the_definition(name, n_classes):
    """Softmax of one term a column."""
    X, y = data(n_classes)
    model, prepare, method = BAYES[name]
    X = prepare(X)
    model.fit(X, y)
    check(model, model.predict_proba, X[60:62], X[:N_BACKGROUND], method)


@pytest.mark.filterwarnings("ignore:The importances of engine")
def test_naive_bayes_of_very_many_features_is_sampled_along_orders():
    """As all that adds up over columns."""
    X = RNG.normal(size=(80, 220))
    model = GaussianNB(var_smoothing=3.0).fit(X, X[:, 0] > 0)
    explainer = TabularExplainer(model, X)
    local = explainer.explain_local(X[:2])
    assert explainer.method == "permutation/additive"
    sums = np.sum(local.local_importance_values, axis=2).T + local.expected_values
    np.testing.assert_allclose(sums, model.predict_proba(X[:2]), rtol=0, atol=1e-9)


PROCESSES = {
    "of one length": RBF(2.0),
    "of a length a column": 2.0 * RBF([1.0, 2.0, 3.0, 2.0, 1.5]),
    "with noise": 1.5 * RBF(2.0) + WhiteKernel(0.2),
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", PROCESSES)
def test_processes_classify_as_by_the_definition(name, n_classes):
    """By the mean and the variance of the latent margin."""
    X, y = data(n_classes)
    model = make_pipeline(
        StandardScaler(), GaussianProcessClassifier(PROCESSES[name], optimizer=None)
    ).fit(X[:80], y[:80])
    check(model, model.predict_proba, X[90:92], X[:N_BACKGROUND], "kernel/process")


def test_errors_of_processes_are_those_that_they_have():
    """Of eleven features; saved and loaded, the same bytes."""
    X, y = make_classification(80, 11, n_informative=6, random_state=0)
    model = GaussianProcessClassifier(RBF(3.0), optimizer=None).fit(X, y)
    explainer = TabularExplainer(model, X[:40], nsamples=200)
    assert explainer.method == "kernel/process"
    local = explainer.row_explainer.explain(X[40:44])
    expected = []
    for row in X[40:44]:
        expected.append(shapley_by_definition(model.predict_proba, row, X[:40], np.ones(40)))
    off = np.abs(local.values - np.stack(expected, axis=1))
    assert 0 < local.standard_errors.mean() < 0.2 * np.abs(local.values).mean()
    assert np.sqrt(np.square(off / local.standard_errors).mean()) < 1.4
    again = pickle.loads(pickle.dumps(KernelScoringExplainer(explainer))).explain_rows(X[40:44])
    assert again.values.tobytes() == local.values.tobytes()


KERNELS = {
    "Matern of a half": (Matern(2.0, nu=0.5), "kernel/process"),
    "Matern of one and a half": (2.0 * Matern(2.0) + WhiteKernel(0.1), "kernel/process"),
    "Matern of two and a half": (Matern([2.0, 3.0, 1.0, 2.0, 4.0], nu=2.5), "kernel/process"),
    "smooth Matern": (Matern(2.0, nu=np.inf), "product"),
    "rational": (RationalQuadratic(2.0, 0.7), "kernel/process"),
    "two lengths": (1.5 * RBF(1.0) + 0.5 * RBF(4.0) + WhiteKernel(0.1), "product"),
    "a product": (RBF(2.0) * (RBF(3.0) + 1.0), "product"),
    "a power": ((2.0 * RBF(2.0)) ** 2, "product"),
    "lines": (DotProduct(0.5) + WhiteKernel(0.1), "linear"),
    "squares": (0.1 * DotProduct(1.0) ** 2 + 2.0, "polynomial"),
    "lines and bumps": (0.5 * DotProduct(1.0) + RBF(2.0), "sum"),
    "rough and smooth": (Matern(2.0) + RBF(4.0), "sum"),
    "periods": (ExpSineSquared(3.0) + WhiteKernel(9.0), "kernel"),
    "a product of both": (Matern(2.0) * RBF(2.0), "kernel"),
    "another power": (DotProduct() ** 1.5, "kernel"),
    "powers of sums": ((RBF(2.0) + RBF(1.0)) ** 2, "kernel"),
}


@pytest.mark.parametrize("targets", [Y, TARGETS], ids=["one", "several"])
@pytest.mark.parametrize("name", KERNELS)
def test_processes_predict_as_by_the_definition(name, targets):
    """Exact for products and scalar products, sampled for functions of a distance."""
    kernel, method = KERNELS[name]
    model = GaussianProcessRegressor(kernel, alpha=0.1, optimizer=None, normalize_y=True)
    model.fit(np.abs(X_REGRESSION[:60]), targets[:60])
    rows = np.abs(X_REGRESSION[80:82])
    check(model, model.predict, rows, np.abs(X_REGRESSION[:N_BACKGROUND]), method)


def test_a_process_of_a_constant_is_one():
    """It says the same of every row."""
    model = GaussianProcessRegressor(ConstantKernel(0.7), alpha=0.1, optimizer=None)
    structure = read_structure(model.fit(X_REGRESSION[:60], Y[:60]), "prediction")
    assert not np.any(structure.coefficients)
    np.testing.assert_allclose(structure.intercepts, model.predict(X_REGRESSION[:1]), rtol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kernel", [2.0 * Matern(2.0), RationalQuadratic(2.0)], ids=str)
def test_processes_of_distances_classify_as_by_the_definition(kernel, n_classes):
    """Their means are not known exactly, and nothing is called."""
    X, y = data(n_classes)
    model = GaussianProcessClassifier(kernel, optimizer=None).fit(X[:60], y[:60])
    check(model, model.predict_proba, X[90:92], X[:N_BACKGROUND], "kernel/process")


@pytest.mark.parametrize("kernel", [2.0 * Matern(3.0), 2.0 * RBF(3.0)], ids=str)
def test_errors_of_few_coalitions_cover_the_truth(kernel):
    """Of nine features and 60 coalitions about 95% are within 1.96 standard errors."""
    X, y = make_classification(120, 9, n_informative=6, n_redundant=0, random_state=3)
    model = GaussianProcessClassifier(kernel, optimizer=None).fit(X[:60], y[:60])
    engine = TabularExplainer(model, X[:30]).row_explainer.engine
    rows = engine.encode(X[90:93])
    truth = engine.on_whole_background(2**9 - 2).importances(rows).values
    covered = []
    for seed in range(40):
        found = engine.with_sampling(60, seed).importances(rows)
        covered.append(np.abs(found.values - truth) < 1.96 * found.errors)
    assert 0.92 < np.mean(covered) < 0.98


def test_classes_with_sums_of_kernels_are_called():
    """And the note says which kernels are read."""
    X, y = data(2)
    model = GaussianProcessClassifier(RBF(2.0) + RBF(1.0), optimizer=None).fit(X, y)
    explainer = TabularExplainer(model, X[:20])
    assert explainer.method == "kernel"
    assert "One whose kernel is a single function of a distance is" in explainer.row_explainer.note


@pytest.mark.parametrize("output", ["margin", "probability"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_quadratic_discriminants_are_sums_of_squares(n_classes, output):
    """Exact margins; probabilities of few features too."""
    X, y = data(n_classes)
    model = make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis(reg_param=0.1)).fit(X, y)
    explainer = TabularExplainer(model, X[:N_BACKGROUND], output=output)
    assert explainer.method == {"margin": "polynomial"}.get(output, "kernel/polynomial")
    functions = {"margin": model.decision_function, "probability": model.predict_proba}
    values = explainer.row_explainer.explain(X[90:92]).values
    for i, row in enumerate(X[90:92]):
        expected = shapley_by_definition(
            functions[output], row, X[:N_BACKGROUND], np.ones(N_BACKGROUND)
        )
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(values[-len(expected) :, i], expected, rtol=0, atol=1e-9)
