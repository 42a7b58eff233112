"""The cases: a fitted model, the function that is explained, a background, rows to explain, and the
way to the truth.

Peers and truths see one matrix of floats (`function`); our explainer is given the model itself, and
the rows in the form that the model was fitted on (`native`). Next: :mod:`benchmarks.truth`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR

from benchmarks import truth
from benchmarks.truth import Background

WHOLE = "auto"  # the option that our explainer is given where it uses every example
# Rows of the sample that peers get where all examples are too many, as shap's own notebooks do.
N_SAMPLE = 100


def unchanged(X):
    """Give our explainer the matrix itself."""
    return X


@dataclass(frozen=True)
class Case:
    """One thing to explain.

    Attributes
    ----------
    name, title : str
    model : object
        What our explainer is given: a fitted estimator, or a plain function.
    output : str
        The scale: "probability", "margin" or "prediction".
    function : callable
        (n, n_features) to (n, n_outputs): what is explained.
    full : Background
        All examples; the truth that a user believes to get.
    tests : ndarray of shape (n_rows, n_features)
        Rows on which accuracy is measured.
    route : callable
        From function, background and rows to the truth.
    summary : Background or None
        What peers are given instead of all examples.
    ours : str
        The ``background`` option of our explainer: "whole", or "kmeans" where all are to use the
        centres.
    native : callable
        From the matrix to the form that the model was fitted on.
    """

    name: str
    title: str
    model: Any
    output: str
    function: Callable
    full: Background
    tests: np.ndarray
    route: truth.Route
    summary: Background | None = None
    ours: str = WHOLE
    native: Callable = unchanged

    @property
    def peers_background(self):
        """The background that peers are given."""
        return self.summary or self.full

    @property
    def our_background(self):
        """The background that our explainer uses."""
        return self.full if self.ours == WHOLE else self.peers_background

    @cached_property
    def n_outputs(self):
        """The number of outputs of the function."""
        return self.function(self.tests[:1]).shape[1]

    def truth(self, background):
        """Importances of the test rows on a background."""
        return truth.cached(
            self.route, self.function, background, self.tests, self.route.__qualname__
        )

    def rows(self, n):
        """Make `n` different rows for timing: the test rows, then examples with a tenth of the
        values exchanged.
        """
        rng = np.random.default_rng(0)
        first, second = (
            self.full.rows[rng.integers(len(self.full.rows), size=n)] for _ in range(2)
        )
        made = np.where(rng.random(first.shape) < 0.1, second, first)
        made[: len(self.tests)] = self.tests[:n]
        return made


CASES = {}


def case(build):
    """Register a function that makes a case, under its own name."""
    CASES[build.__name__] = cache(build)
    return CASES[build.__name__]


def probability(model):
    """Explain ``predict_proba``, looked up at each call, so that its rows can be counted."""

    def function(X):
        return model.predict_proba(X)

    return function


def column(values):
    """Give one-dimensional model outputs a second axis."""
    return values[:, None]


def sample(rows):
    """Draw the sample that peers are given."""
    chosen = np.random.default_rng(0).choice(len(rows), N_SAMPLE, replace=False)
    return Background.of(rows[np.sort(chosen)])


def centres(rows):
    """Ten weighted k-means centres, made by shap."""
    import shap

    summary = shap.kmeans(rows, 10)
    return Background.of(summary.data, summary.weights)


@cache
def cancer():
    """Breast cancer, split as in the documents' example: x_train, x_test, y_train."""
    data = load_breast_cancer()
    x_train, x_test, y_train, _ = train_test_split(
        data.data, data.target, test_size=0.2, random_state=0
    )
    return x_train, x_test, y_train


class RbfMargin:
    """The decision function of an RBF support vector machine as one matrix product and one exp."""

    def __init__(self, machine):
        self.machine, self.gamma = machine, machine._gamma
        self.support, self.coefficients = machine.support_vectors_, machine.dual_coef_[0]

    def __call__(self, X):
        # Both are centred, so that the squares cancel without loss.
        centre = self.support.mean(axis=0)
        X, S = X - centre, self.support - centre
        margins = np.empty(len(X))
        for start in range(0, len(X), 512):  # within the cache
            part = X[start : start + 512]
            exponent = (part @ S.T) * 2
            exponent -= (S**2).sum(axis=1)
            exponent -= (part**2).sum(axis=1)[:, None]
            exponent *= self.gamma
            margins[start : start + 512] = np.exp(exponent, out=exponent) @ self.coefficients
        return margins + self.machine.intercept_[0]


@cache
def calibrated_svc():
    x_train, _, y_train = cancer()
    return CalibratedClassifierCV(SVC(gamma=0.001, C=100), ensemble=False).fit(x_train, y_train)


def svc_probability(name, title, **options):
    x_train, x_test, _ = cancer()
    model = calibrated_svc()
    inner = model.calibrated_classifiers_[0]
    margin, sigmoid = RbfMargin(inner.estimator), inner.calibrators[0]

    def game(X):
        positive = expit(-(sigmoid.a_ * margin(X) + sigmoid.b_))
        return np.stack([1 - positive, positive], axis=1)

    route = truth.permutations(100_000, game=game)
    full = Background.of(x_train)
    return Case(
        name, title, model, "probability", probability(model), full, x_test[:4], route, **options
    )


def svc_margin(name, title, **options):
    x_train, x_test, y_train = cancer()
    model = SVC(gamma=0.001, C=100).fit(x_train, y_train)
    route = truth.rbf_sum(model.support_vectors_, model.dual_coef_[0], 0.001)
    full = Background.of(x_train)

    def function(X):
        return column(model.decision_function(X))

    return Case(name, title, model, "margin", function, full, x_test[:8], route, **options)


@case
def svc_probability_centres():
    options = {"summary": centres(cancer()[0]), "ours": "kmeans"}
    return svc_probability(
        "svc_probability_centres", "SVC probability, 10 centres, M=30", **options
    )


@case
def svc_probability_whole():
    return svc_probability("svc_probability_whole", "SVC probability, all 455 rows, M=30")


@case
def svc_margin_centres():
    options = {"summary": centres(cancer()[0]), "ours": "kmeans"}
    return svc_margin("svc_margin_centres", "SVC margin, 10 centres, M=30", **options)


@case
def svc_margin_whole():
    return svc_margin("svc_margin_whole", "SVC margin, all 455 rows, M=30")


def multilayer(network):
    """A fitted MLPClassifier as matrix products, probabilities of all classes."""

    def game(Z):
        for weights, bias in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
            Z = np.maximum(Z @ weights + bias, 0)
        scores = Z @ network.coefs_[-1] + network.intercepts_[-1]
        if scores.shape[1] > 1:
            return softmax(scores, axis=1)
        return np.hstack([expit(-scores), expit(scores)])

    return game


@case
def mlp():
    x_train, x_test, y_train = cancer()
    model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=500, random_state=0)).fit(
        x_train, y_train
    )
    route = truth.permutations(50_000, transform=model[0].transform, game=multilayer(model[-1]))
    return Case(
        "mlp",
        "MLP pipeline, 455 rows, M=30",
        model,
        "probability",
        probability(model),
        Background.of(x_train),
        x_test[:4],
        route,
        summary=sample(x_train),
    )


@case
def forest():
    x_train, x_test, y_train = cancer()
    model = RandomForestClassifier(random_state=0).fit(x_train, y_train)
    boxes = []
    for tree in (estimator.tree_ for estimator in model.estimators_):
        value = tree.value[:, 0, :] / len(model.estimators_)
        boxes += truth.tree_boxes(
            tree.children_left, tree.children_right, tree.feature, tree.threshold, value
        )
    return Case(
        "forest",
        "Random forest, 455 rows, M=30",
        model,
        "probability",
        probability(model),
        Background.of(x_train),
        x_test[:8],
        truth.leaves(boxes, np.float32),
        summary=sample(x_train),
    )


LEVELS = [list("abcdef")[: 3 + j % 4] for j in range(8)]  # of the eight categorical columns
N_NUMBERS = 12


def mixed_frame(X):
    """Turn numbers and codes into a DataFrame with numbers and words."""
    columns = {f"number_{j}": X[:, j] for j in range(N_NUMBERS)}
    for j, levels in enumerate(LEVELS):
        columns[f"word_{j}"] = np.array(levels)[X[:, N_NUMBERS + j].astype(int)]
    return pd.DataFrame(columns)


@cache
def mixed():
    """1,000 rows of 12 numbers and 8 words, a fitted pipeline, and 8 test rows."""
    rng = np.random.default_rng(0)
    numbers = (
        rng.standard_normal((1008, N_NUMBERS)) @ rng.standard_normal((N_NUMBERS, N_NUMBERS)) / 3
    )
    codes = np.stack([rng.integers(len(levels), size=1008) for levels in LEVELS], axis=1)
    X = np.hstack([numbers, codes])
    score = numbers @ rng.standard_normal(N_NUMBERS) + rng.standard_normal((8, 6))[
        np.arange(8), codes
    ].sum(axis=1)
    y = score + rng.logistic(size=1008) > 0
    frame = mixed_frame(X)
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), list(frame)[:N_NUMBERS]),
            ("words", OneHotEncoder(), list(frame)[N_NUMBERS:]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame[:1000], y[:1000])
    return X[:1000], model, X[1000:]


def logistic(name, title, output):
    x_train, model, x_test = mixed()
    reference = x_train[:1]

    def margin(X):
        return model.decision_function(mixed_frame(X))

    def contributions(X):
        """Each column's part of the margin, by swapping it into one fixed row."""
        parts = np.empty(X.shape)
        for j in range(X.shape[1]):
            swapped = np.repeat(reference, len(X), axis=0)
            swapped[:, j] = X[:, j]
            parts[:, j] = margin(swapped) - margin(reference)
        return parts

    def game(parts):
        positive = expit(parts.sum(axis=1) + margin(reference))
        return np.stack([1 - positive, positive], axis=1)

    def probabilities(X):
        return model.predict_proba(mixed_frame(X))

    def margins(X):
        return column(margin(X))

    route = (
        truth.additive if output == "margin" else truth.permutations(50_000, contributions, game)
    )
    function = margins if output == "margin" else probabilities
    full = Background.of(x_train)
    summary = sample(x_train)
    return Case(
        name,
        title,
        model,
        output,
        function,
        full,
        x_test,
        route,
        summary=summary,
        native=mixed_frame,
    )


@case
def logistic_probability():
    title = "Logistic pipeline, probability, 1,000 mixed rows, M=20"
    return logistic("logistic_probability", title, "probability")


@case
def logistic_margin():
    return logistic(
        "logistic_margin", "Logistic pipeline, margin, 1,000 mixed rows, M=20", "margin"
    )


def diabetes(name, title, model):
    X, y = load_diabetes(return_X_y=True)
    x_train, x_test, y_train, _ = train_test_split(X, y, test_size=0.2, random_state=0)
    model.fit(x_train, y_train)

    def function(X):
        return column(model.predict(X))

    full = Background.of(x_train)
    summary = sample(x_train)
    return Case(
        name,
        title,
        model,
        "prediction",
        function,
        full,
        x_test[:8],
        truth.enumerated,
        summary=summary,
    )


@case
def diabetes_svr():
    return diabetes("diabetes_svr", "SVR (RBF), 353 rows, M=10", SVR(C=100))


@case
def diabetes_ridge():
    model = KernelRidge(kernel="rbf", gamma=5.0, alpha=0.1)
    return diabetes("diabetes_ridge", "Kernel ridge (RBF), 353 rows, M=10", model)


@case
def digits():
    X, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, _ = train_test_split(X, y, test_size=0.2, random_state=0)
    model = MLPClassifier(hidden_layer_sizes=(64,), random_state=0).fit(x_train, y_train)
    return Case(
        "digits",
        "Digits MLP, 10 classes, 1,437 rows, M=64",
        model,
        "probability",
        probability(model),
        Background.of(x_train),
        x_test[:4],
        truth.permutations(60_000, game=multilayer(model)),
        summary=sample(x_train),
    )


@case
def boosting():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_008, 50))
    y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) * X[:, 3] + X[:, 4:20] @ rng.standard_normal(16) / 4
    model = HistGradientBoostingRegressor(random_state=0).fit(
        X[:-8], y[:-8] + 0.1 * rng.standard_normal(20_000)
    )
    boxes = []
    for nodes in (predictor.nodes for (predictor,) in model._predictors):
        left = np.where(nodes["is_leaf"], 0, nodes["left"])
        right = np.where(nodes["is_leaf"], 0, nodes["right"])
        boxes += truth.tree_boxes(
            left, right, nodes["feature_idx"], nodes["num_threshold"], nodes["value"]
        )

    def function(X):
        return column(model.predict(X))

    return Case(
        "boosting",
        "Histogram boosting, 20,000 rows, M=50",
        model,
        "prediction",
        function,
        Background.of(X[:-8]),
        X[-8:],
        truth.leaves(boxes, np.float64),
        summary=sample(X[:-8]),
    )


def _step(X):
    return np.where(X[:, 0] + X[:, 1] > 0, X[:, 2] * X[:, 3], np.abs(X[:, 2]))


def _wave(X):
    return np.sin(2 * X[:, 0] * X[:, 1] + X[:, 2]) + 0.3 * X[:, 3]


def _bell(X):
    return 2 * np.exp(-(X**2).mean(axis=1)) * X[:, 0]


def _triple(X):
    return np.tanh(X[:, 0] * X[:, 1] * X[:, 2]) + np.maximum(X[:, 1], X[:, 3])


class Opaque:
    """A plain function with interactions of order three and more: terms of four neighbouring
    columns, added up.

    With `bent`, the sum goes through one more curve, so that every feature interacts with every
    other.
    """

    def __init__(self, n_features, bent):
        shapes = [_step, _wave, _bell, _triple]
        self.bent = bent
        self.parts = []
        for t, start in enumerate(range(0, n_features, 3)):  # neighbouring terms share a column
            columns = (start + np.arange(4)) % n_features
            self.parts.append((columns, Term(shapes[t % 4], 1 / np.sqrt(1 + t / 2))))

    def __call__(self, X):
        total = sum(term(X[:, columns]) for columns, term in self.parts)
        return np.tanh(total / 2) + 0.1 * total if self.bent else total


@dataclass(frozen=True)
class Term:
    """One term of an opaque function: its shape and its size."""

    shape: Callable
    size: float

    def __call__(self, X):
        return self.size * self.shape(X)


def opaque(n_features, n_background, bent):
    rng = np.random.default_rng(n_features)
    mixing = np.eye(n_features) + 0.3 * rng.standard_normal((n_features, n_features)) / np.sqrt(
        n_features
    )
    X = rng.standard_normal((n_background + 8, n_features)) @ mixing
    model = Opaque(n_features, bent)

    def function(X):
        return column(model(X))

    return Case(
        f"opaque_{n_features}_{n_background}",
        f"Opaque function, {n_background} rows, M={n_features}",
        model,
        "prediction",
        function,
        Background.of(X[:-8]),
        X[-8:],
        truth.enumerated if bent else truth.terms(model.parts),
    )


@case
def opaque_12_100():
    return opaque(12, 100, bent=True)


@case
def opaque_12_500():
    return opaque(12, 500, bent=True)


@case
def opaque_60_100():
    return opaque(60, 100, bent=False)


@case
def opaque_60_500():
    return opaque(60, 500, bent=False)
