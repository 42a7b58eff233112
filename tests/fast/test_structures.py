"""Every model whose inside is known, against the definition: the engines must not only be
consistent, but right.
"""

import pickle

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from shapley_by_definition import shapley_by_definition
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification, make_regression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics.pairwise import linear_kernel
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, NuSVR, OneClassSVM
from sklearn.utils import all_estimators

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer
from service.shapley.products import product_shapley
from service.structures import xgboost_trees
from service.structures.foreign_networks import read_networks
from service.structures.reading import FAMILIES, family_of, read_model

N_FEATURES, N_BACKGROUND = 6, 25
X_REGRESSION, Y_REGRESSION = make_regression(120, N_FEATURES, random_state=0)
Y_REGRESSION = Y_REGRESSION / Y_REGRESSION.std() + np.sin(X_REGRESSION[:, 0] * X_REGRESSION[:, 1])
COUNTS = np.abs(Y_REGRESSION).round()
TARGETS = np.stack([Y_REGRESSION, X_REGRESSION[:, 2] ** 2], axis=1)


def classification(n_classes):
    return make_classification(
        150, N_FEATURES, n_informative=5, n_redundant=0, n_classes=n_classes, random_state=1
    )


def calibrated(model, **options):
    return CalibratedClassifierCV(model, **{"ensemble": False, "cv": 3, **options})


GAUSSIAN = ConstantKernel(2.0) * RBF([1.0, 2.0, 1.5, 1.0, 3.0, 1.0]) + WhiteKernel(0.1)
REGRESSORS = [
    (LinearRegression(), Y_REGRESSION, "linear"),
    (Ridge(), TARGETS, "linear"),
    (SVR(C=10), Y_REGRESSION, "product"),
    (NuSVR(C=10), Y_REGRESSION, "product"),
    (SVR(kernel="linear"), Y_REGRESSION, "linear"),
    (SVR(kernel="poly"), Y_REGRESSION, "polynomial"),
    (SVR(kernel="poly", degree=5, coef0=0.5), Y_REGRESSION, "polynomial"),
    (NuSVR(kernel="poly", degree=2, coef0=1), Y_REGRESSION, "polynomial"),
    (SVR(kernel="poly", degree=1), Y_REGRESSION, "polynomial"),
    (SVR(kernel="sigmoid"), Y_REGRESSION, "kernel/network"),
    (KernelRidge(kernel="rbf", gamma=0.2), Y_REGRESSION, "product"),
    (KernelRidge(kernel="rbf"), TARGETS, "product"),
    (KernelRidge(kernel="laplacian", gamma=0.2), Y_REGRESSION, "product"),
    (KernelRidge(kernel="linear"), Y_REGRESSION, "linear"),
    (KernelRidge(kernel="poly", alpha=10), Y_REGRESSION, "polynomial"),
    (KernelRidge(kernel="polynomial", degree=4.0, gamma=0.1, coef0=0.3), TARGETS, "polynomial"),
    (KernelRidge(kernel="sigmoid", alpha=10), TARGETS, "kernel/network"),
    (KernelRidge(kernel="cosine"), Y_REGRESSION, "kernel"),
    (GaussianProcessRegressor(GAUSSIAN, normalize_y=True, optimizer=None), Y_REGRESSION, "product"),
    (GaussianProcessRegressor(Matern(), optimizer=None), Y_REGRESSION, "kernel/process"),
    (
        MLPRegressor(hidden_layer_sizes=(9, 5), max_iter=300, random_state=0, alpha=10),
        Y_REGRESSION,
        "kernel/network",
    ),
    (
        MLPRegressor(loss="poisson", hidden_layer_sizes=(7,), max_iter=300, random_state=0),
        COUNTS,
        "kernel/network",
    ),
    (
        MLPRegressor(hidden_layer_sizes=(7,), activation="tanh", max_iter=300, random_state=0),
        TARGETS,
        "kernel/network",
    ),
]
CLASSIFIERS = [
    (LogisticRegression(), "margin", "linear"),
    (LogisticRegression(), "probability", "kernel/linear"),
    (LinearDiscriminantAnalysis(), "probability", "kernel/linear"),
    (SGDClassifier("log_loss", random_state=0), "probability", "kernel/linear"),
    (SVC(kernel="linear"), "margin", {2: "linear", 3: "kernel/linear"}),
    (SVC(), "margin", {2: "product", 3: "kernel/product"}),
    (NuSVC(nu=0.3), "margin", {2: "product", 3: "kernel/product"}),
    (SVC(kernel="poly"), "margin", {2: "polynomial", 3: "kernel/polynomial"}),
    (SVC(kernel="poly", degree=2), "margin", {2: "polynomial", 3: "kernel/polynomial"}),
    (SVC(kernel="sigmoid", gamma=0.1), "margin", "kernel/network"),
    (calibrated(SVC(C=10)), "probability", "kernel/product"),
    (calibrated(SVC(kernel="poly")), "probability", "kernel/polynomial"),
    (calibrated(SVC(kernel="sigmoid")), "probability", "kernel/network"),
    (calibrated(SVC(C=10), method="isotonic"), "probability", "kernel/product"),
    (calibrated(LinearSVC()), "probability", "kernel/linear"),
    (calibrated(LinearSVC(), ensemble=True), "probability", "kernel/linear"),
    (calibrated(make_pipeline(StandardScaler(), SVC())), "probability", "kernel/product"),
    (calibrated(SVC(), ensemble=True), "probability", "kernel/product"),
    (
        calibrated(SVC(kernel="poly"), ensemble=True, method="isotonic"),
        "probability",
        "kernel/polynomial",
    ),
    (calibrated(SVC(kernel="sigmoid"), ensemble=True), "probability", "kernel/stacked"),
    (calibrated(SVC(kernel="linear"), ensemble=True), "probability", "kernel/linear"),
    (
        calibrated(make_pipeline(StandardScaler(), SVC()), ensemble=True),
        "probability",
        "kernel/stacked",
    ),
    (calibrated(RandomForestClassifier(5, random_state=0)), "probability", "kernel/tree"),
    (MLPClassifier((8,), max_iter=300, random_state=0), "probability", "kernel/network"),
    (
        MLPClassifier((6, 4), activation="logistic", max_iter=300, random_state=0),
        "probability",
        "kernel/network",
    ),
]


def named(cases):
    return [pytest.param(*case, id=f"{type(case[0]).__name__}-{i}") for i, case in enumerate(cases)]


def check(explainer, function, rows, background, method):
    """Compare two rows with the definition on the whole background, for every output."""
    assert explainer.method == method
    result = explainer.explain_rows(rows)
    values = result.values if result.values.ndim == 3 else result.values[None]
    for i in range(2):
        expected = shapley_by_definition(function, rows[i], background, np.ones(len(background)))
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(
            values[:, i], expected, rtol=0, atol=1e-9 * max(1, np.abs(expected).max())
        )
    if method.startswith("kernel"):
        assert (result.standard_errors == 0).all()
    else:
        assert result.standard_errors is None


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # small networks need not have converged
@pytest.mark.parametrize(("model", "y", "method"), named(REGRESSORS))
def test_regressors_get_the_shapley_values_of_the_definition(model, y, method):
    """On the whole background, to 1e-9, by the engine that the table names."""
    model.fit(X_REGRESSION, y)
    background = X_REGRESSION[:N_BACKGROUND]
    explainer = KernelScoringExplainer(TabularExplainer(model, background))
    check(explainer, model.predict, X_REGRESSION[60:62], background, method)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("model", "output", "method"), named(CLASSIFIERS))
def test_classifiers_get_the_shapley_values_of_the_definition(model, output, method, n_classes):
    """For every class, two and more of them, behind every link."""
    X, y = classification(n_classes)
    model.fit(X, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, X[:N_BACKGROUND], output=output))
    function = model.predict_proba if output == "probability" else model.decision_function

    def per_class(rows):
        outputs = function(rows)
        return outputs if outputs.ndim == 2 else np.stack([-outputs, outputs], axis=1)

    method = method if isinstance(method, str) else method[n_classes]
    check(explainer, per_class, X[60:62], X[:N_BACKGROUND], method)


@pytest.mark.parametrize(("kernel", "method"), [("rbf", "product"), ("poly", "polynomial")])
def test_an_outlier_detector_is_explained_by_its_margin(kernel, method):
    """OneClassSVM: one output, the decision function."""
    model = OneClassSVM(nu=0.2, kernel=kernel).fit(X_REGRESSION)
    explainer = KernelScoringExplainer(TabularExplainer(model, X_REGRESSION[:N_BACKGROUND]))
    assert explainer.output == "margin"
    check(
        explainer, model.decision_function, X_REGRESSION[60:62], X_REGRESSION[:N_BACKGROUND], method
    )


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize(
    ("model", "method"),
    [
        (SVC(probability=True, random_state=0), "kernel/product"),
        (NuSVC(nu=0.2, probability=True, kernel="poly", random_state=0), "kernel/polynomial"),
        (SVC(probability=True, kernel="linear", random_state=0), "kernel/linear"),
        (SVC(probability=True, kernel="sigmoid", gamma=0.1, random_state=0), "kernel/network"),
    ],
    ids=["rbf", "poly", "linear", "sigmoid"],
)
def test_libsvms_own_probabilities_are_those_of_the_definition(model, method, n_classes):
    """Pairwise sigmoids and their coupling, as far as libsvm iterates it, without a call of the
    model.
    """
    X, y = classification(n_classes)
    with pytest.warns(FutureWarning, match="probability"):
        model.fit(X, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, X[:N_BACKGROUND]))
    assert explainer.output == "probability"
    check(explainer, model.predict_proba, X[60:62], X[:N_BACKGROUND], method)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (Ridge(), "linear"),
        (SVR(C=10), "product"),
        (SVR(kernel="poly", coef0=1), "polynomial"),
        (MLPRegressor(hidden_layer_sizes=(8,), max_iter=300, random_state=0), "kernel/network"),
        (HistGradientBoostingRegressor(max_iter=10), "tree"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else value,
)
def test_pipelines_are_looked_through_with_raw_columns_as_features(estimator, method):
    """Scaled numbers and one-hot text: one importance per raw column, as by definition on the
    pipeline itself.
    """
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "colour": rng.choice(["red", "green", "blue"], 150),
            "size": rng.normal(size=150),
            "shape": rng.choice(["round", "square"], 150),
            "weight": rng.normal(3.0, 2.0, size=150),
        }
    )
    y = (frame["colour"] == "red") * frame["size"] * frame["weight"] + (
        frame["shape"] == "round"
    ) * 2.0
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["colour", "shape"]),
        (StandardScaler(), ["weight", "size"]),
    )
    model = make_pipeline(columns, estimator).fit(frame, y)
    explainer = KernelScoringExplainer(TabularExplainer(model, frame[:N_BACKGROUND]))
    assert explainer.method == method
    predict = lambda rows: model.predict(  # noqa: E731
        pd.DataFrame(rows, columns=frame.columns).astype(frame.dtypes)
    )
    background = frame[:N_BACKGROUND].to_numpy(dtype=object)
    values = explainer.explain_rows(frame[60:62]).values
    for row, importances in zip(frame[60:62].to_numpy(dtype=object), values, strict=True):
        expected = shapley_by_definition(predict, row, background, np.ones(N_BACKGROUND))[0]
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(
            importances, expected, rtol=0, atol=1e-9 * max(1, np.abs(expected).max())
        )


def test_far_values_do_not_underflow():
    """On unscaled data single kernel factors are below the smallest number; the importances are
    right all the same.
    """
    X = X_REGRESSION * 40
    model = KernelRidge(kernel="rbf", gamma=0.01).fit(X, Y_REGRESSION)
    near = X[:1] + 0.5
    explainer = KernelScoringExplainer(TabularExplainer(model, X[:N_BACKGROUND]))
    expected = shapley_by_definition(
        model.predict, near[0], X[:N_BACKGROUND], np.ones(N_BACKGROUND)
    )[0]
    assert np.exp(-0.01 * np.abs(X[:, None] - X[None]).max() ** 2) < 1e-100
    np.testing.assert_allclose(explainer.explain_rows(near).values[0], expected, rtol=0, atol=1e-12)
    engine = TabularExplainer(model, X[:N_BACKGROUND]).row_explainer.engine
    np.testing.assert_allclose(
        product_shapley(engine.kernel, near[0], engine.rows)[0], expected, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("output", ["margin", "probability"])
def test_a_structured_game_agrees_with_calling_the_model(output):
    """Thirty features, sampled: within four standard errors of an estimate that calls the model,
    and additive.
    """
    X, y = make_classification(300, 30, n_informative=10, random_state=0)
    model = calibrated(SVC(C=10)).fit(X, y) if output == "probability" else SVC(C=10).fit(X, y)
    structured = KernelScoringExplainer(TabularExplainer(model, X[:200])).explain_rows(X[250:253])
    called = KernelScoringExplainer(
        TabularExplainer(model, X[:200], engine="kernel", random_state=5)
    )
    called = called.explain_rows(X[250:253])
    assert (structured.method, called.method) == (
        "product" if output == "margin" else "kernel/product",
        "kernel",
    )
    error = np.hypot(
        called.standard_errors, 0 if output == "margin" else structured.standard_errors
    )
    assert (np.abs(structured.values - called.values) < 4 * error).all()
    assert np.abs(structured.values).max() > 10 * error.mean()
    np.testing.assert_allclose(
        structured.values.sum(axis=2), called.values.sum(axis=2), rtol=0, atol=1e-9
    )


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("constant", [0.5, 0.9], ids=["equal", "different"])
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        calibrated(SVC()),
        calibrated(SVC(kernel="poly")),
        MLPClassifier((8,), max_iter=300, random_state=0),
    ],
    ids=["LogisticRegression", "rbf", "poly", "MLPClassifier"],
)
def test_a_column_that_is_constant_in_the_background_plays_only_where_a_row_differs(
    model, constant
):
    """Exactly 0 where the row has the background's value, and the definition's value where it has
    another.
    """
    X, y = classification(2)
    model.fit(X, y)
    background = X[:N_BACKGROUND].copy()
    background[:, 2] = 0.5
    row = X[60:61].copy()
    row[0, 2] = constant
    explainer = KernelScoringExplainer(TabularExplainer(model, background, output="probability"))
    values = explainer.explain_rows(row).values[:, 0]
    expected = shapley_by_definition(model.predict_proba, row[0], background, np.ones(N_BACKGROUND))
    assert (values[:, 2] == 0).all() == (constant == 0.5)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


def test_a_structured_engine_gives_the_same_bytes_after_loading_and_in_any_batch():
    """Tables are left out of the pickle and made again: nothing changes, alone or among others."""
    X, y = make_classification(300, 20, n_informative=8, random_state=0)
    for model in (
        calibrated(SVC()),
        MLPClassifier((8,), max_iter=2000, random_state=0),
        LogisticRegression(),
    ):
        model.fit(X, y)
        explainer = KernelScoringExplainer(TabularExplainer(model, X[:200], output="probability"))
        batch = explainer.explain_rows(X[200:216])
        content = pickle.dumps(explainer)
        assert len(content) < 400_000
        alone = pickle.loads(content).explain_rows(X[203:204])
        assert alone.values[:, 0].tobytes() == batch.values[:, 3].tobytes()
        assert alone.standard_errors[:, 0].tobytes() == batch.standard_errors[:, 3].tobytes()


def test_enumeration_and_quadrature_agree():
    """Two routes to the margin of the same kernel machine, on a real background: the same numbers
    to 1e-12.
    """
    model = SVR(C=10).fit(X_REGRESSION, Y_REGRESSION)
    engine = TabularExplainer(model, X_REGRESSION[:90]).row_explainer.engine
    assert engine.enumerated is not None
    for row in X_REGRESSION[100:104]:
        by_quadrature = product_shapley(engine.kernel, row, engine.rows)
        assert np.ptp(by_quadrature) > 1e-3
        np.testing.assert_allclose(
            engine.enumerated.shapley_values(row), by_quadrature, rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("kernel", ["rbf", "poly", "linear", "sigmoid"])
def test_a_machine_without_support_vectors_is_explained_as_the_constant_that_it_is(kernel):
    """Targets within SVR's epsilon of 0.1: every importance is 0 and the expected value is what is
    predicted.
    """
    X = np.random.default_rng(0).normal(size=(40, 5))
    model = SVR(kernel=kernel).fit(X, 0.01 * X[:, 0] + 3)
    assert len(model.support_) == 0
    explainer = KernelScoringExplainer(TabularExplainer(model, X))
    result = explainer.explain_rows(X[:3])
    assert (explainer.method, explainer.to_dict()["note"]) == ("linear", "")
    assert (result.values == 0).all()
    np.testing.assert_allclose(result.expected_values, model.predict(X[:3]), rtol=1e-12)


def test_a_machine_with_a_kernel_of_its_own_is_called():
    """A function as kernel keeps its support vectors to itself: the model is called, as by
    definition.
    """
    X = np.random.default_rng(0).normal(size=(40, 5))
    model = SVR(kernel=linear_kernel).fit(X, X[:, 0] - X[:, 1])
    assert (len(model.support_) > 0, len(model.support_vectors_)) == (True, 0)
    explainer = TabularExplainer(model, X[:20])
    assert explainer.method == "kernel"
    values = KernelScoringExplainer(explainer).explain_rows(X[30:31]).values
    expected = shapley_by_definition(
        lambda rows: model.predict(rows)[:, None], X[30], X[:20], np.ones(20)
    )
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("columns", [["a", "b"], ["a", "b", "c", "d", "e", "f"]])
@pytest.mark.parametrize("model", [Ridge(), SVR(), RandomForestClassifier(3)])
def test_examples_that_do_not_fit_the_model_are_refused_in_its_own_words(model, columns):
    """Too few or too many columns, as an array and as a DataFrame: the model says which it
    expects.
    """
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 6)), columns=list("abcdef"))
    fitted, y = X[list("abcde")], (X["a"] > 0).astype(int)
    with pytest.raises(ValueError, match="feature names should match"):
        TabularExplainer(model.fit(fitted, y), X[columns])
    with pytest.raises(ValueError, match=f"X has {len(columns)} features, but .* is expecting 5"):
        TabularExplainer(model.fit(fitted.to_numpy(), y), X[columns].to_numpy())


def test_every_class_of_the_tables_exists_and_is_of_one_family():
    """A name that is misspelt would never be found, and of two families only the first would."""
    existing = {
        "sklearn": dict(all_estimators()).keys(),
        "lightgbm": vars(lightgbm).keys(),
        "xgboost": vars(xgboost).keys(),
        "service": vars(xgboost_trees).keys() | vars(read_networks).keys(),
    }
    seen = set()
    for family in FAMILIES:
        names = {(family.library, name) for name in family.readers}
        assert not seen & names
        assert family.readers.keys() <= existing[family.library]
        seen |= names


def test_a_class_of_somebody_else_is_not_read_by_its_name_or_its_parent():
    """It may predict anything: the model is called."""

    class Ridge(LinearRegression):
        pass

    model = Ridge().fit(X_REGRESSION, Y_REGRESSION)
    names = [f"x{i}" for i in range(N_FEATURES)]
    assert (family_of(model), read_model(model, "prediction", names)) == (None, None)
    assert TabularExplainer(model, X_REGRESSION[:N_BACKGROUND]).method == "kernel"
