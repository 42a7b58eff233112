"""Single precision in what is sampled: only where it makes no difference, and never in what is
exact.
"""

from copy import copy
from functools import partial

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC

from service.engines.engine import unchanged
from service.engines.precision import NEGLIGIBLE, in_good_precision
from service.engines.sampled_engines import Effort, KernelEngine
from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer
from service.shapley.additive import AdditiveGame
from service.shapley.background import Background
from service.shapley.grouping import Grouping
from service.shapley.kernel import Stopping
from service.shapley.products import ProductGame, ProductKernel, product_shapley
from service.shapley.survey import ExactGame
from service.structures.kernel_machines import ProductStructure
from service.structures.links import logistic
from service.structures.networks import NetworkStructure

RNG = np.random.default_rng(0)
N_FEATURES = 20
X, Y = make_classification(400, N_FEATURES, n_informative=8, n_classes=3, random_state=0)
ROWS = X[200:206]


@pytest.fixture(autouse=True)
def same_draws():
    """Let every test draw the same numbers, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.fixture(scope="module")
def fitted_network():
    return MLPClassifier((30,), max_iter=2000, random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def explained_network(fitted_network):
    return TabularExplainer(fitted_network, X[:200])


def in_double(engine):
    """Return the engine of the same game without single precision."""
    game = copy(engine.game)
    game.precision = np.float64
    return engine.with_game(game)


def sampling(game):
    """Return an engine that samples a game."""
    effort, stopping = Effort(6, spread=2), Stopping()
    return KernelEngine(
        unchanged,
        game,
        effort=effort,
        nsamples=400,
        random_state=0,
        stopping=stopping,
        method="kernel/test",
    )


def network(weights, biases, background):
    structure = NetworkStructure(weights, biases, "relu", "identity")
    return AdditiveGame(
        structure.additive, Background.uniform(background), Grouping.identity(background.shape[1])
    )


def machine(support, dual, background=X[:200]):
    structure = ProductStructure(np.array([0.3]), support, dual, rate=np.array([[0.02]]), power=2)
    grouping = Grouping.identity(N_FEATURES)
    log_factors = structure.log_factors(grouping)
    kernel = ProductKernel(log_factors, structure.dual, structure.intercepts)
    whole = Background.uniform(background)
    known = ExactGame(partial(product_shapley, kernel), whole)
    return ProductGame(kernel, logistic, known, whole, grouping)


@pytest.mark.parametrize(
    ("model", "n_classes", "n_rows"),
    [
        pytest.param(MLPClassifier((30,), max_iter=2000, random_state=0), 2, 200, id="relu-2"),
        pytest.param(
            MLPClassifier((12, 8), activation="tanh", max_iter=2000, random_state=0),
            3,
            200,
            id="tanh-3",
        ),
        pytest.param(CalibratedClassifierCV(SVC(C=100), ensemble=False), 2, 200, id="rbf-2"),
        # Each coalition meets each support vector on each row of the background.
        pytest.param(
            CalibratedClassifierCV(SVC(kernel="poly"), ensemble=False), 2, 60, id="poly-2"
        ),
        pytest.param(LogisticRegression(), 3, 200, id="linear-3"),
    ],
)
def test_single_precision_makes_no_difference_where_it_is_used(model, n_classes, n_rows):
    """On rows it was not tried on: off by less than a thousandth of the standard errors; additive
    to 1e-12.
    """
    model.fit(X[: 2 * n_rows], np.minimum(Y, n_classes - 1)[: 2 * n_rows])
    engine = TabularExplainer(model, X[:n_rows], output="probability").row_explainer.engine
    assert engine.precision == "single"
    rounded, exact = engine.importances(ROWS), in_double(engine).importances(ROWS)
    off = np.sqrt(np.square(rounded.values - exact.values).mean(axis=(1, 2)))
    assert (off > 0).all()
    assert (off < NEGLIGIBLE * np.sqrt(np.square(exact.standard_errors).mean(axis=(1, 2)))).all()
    np.testing.assert_allclose(rounded.standard_errors, exact.standard_errors, rtol=1e-3, atol=1e-9)
    added = rounded.values.sum(axis=2).T + engine.expected_values
    np.testing.assert_allclose(added, model.predict_proba(ROWS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_row_gets_the_same_bytes_alone_in_a_batch_and_in_any_job(
    backend, explained_network, monkeypatch
):
    """Single precision depends on a row's company no more than double does."""
    explainer = KernelScoringExplainer(explained_network)
    assert explainer.to_dict()["precision"] == "single"
    together = explainer.explain_rows(X[200:216]).values
    alone = [explainer.explain_rows(row[None]).values[:, 0] for row in X[200:216]]
    assert together.tobytes() == np.stack(alone, axis=1).tobytes()
    monkeypatch.setattr("service.engines.engine.SHORT", 0.0)
    with parallel_config(backend):
        assert explainer.explain_rows(X[200:216], n_jobs=2).values.tobytes() == together.tobytes()


def test_a_large_offset_of_the_output_costs_no_digits():
    """Targets around a million that vary by one: the last bias is added in double precision, and φ
    is as exact.
    """
    model = MLPRegressor(hidden_layer_sizes=(30,), max_iter=3000, random_state=0).fit(X, Y)
    model.intercepts_[-1] = model.intercepts_[-1] + 1e6
    engine = TabularExplainer(model, X[:200]).row_explainer.engine
    assert engine.precision == "single"
    rounded, exact = engine.importances(ROWS), in_double(engine).importances(ROWS)
    assert np.abs(exact.values).mean() < 1
    assert np.abs(rounded.values - exact.values).max() < NEGLIGIBLE * exact.standard_errors.mean()
    added = rounded.values.sum(axis=2)[0] + engine.expected_values[0]
    np.testing.assert_allclose(added, model.predict(ROWS), rtol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_features_far_from_zero_cost_no_digits(shift):
    """Hidden units are centred first: columns around a million that vary by one are as exact as
    columns around zero.
    """
    weights, bias, last = (
        RNG.normal(size=(N_FEATURES, 15)),
        RNG.normal(size=15),
        RNG.normal(size=(15, 1)),
    )
    moved = bias - shift * weights.sum(axis=0)
    engine = sampling(network([weights, last], [moved, np.zeros(1)], X[:200] + shift))
    rounded = in_good_precision(engine, X[:200] + shift)
    assert rounded.precision == "single"
    off = np.abs(
        rounded.importances(ROWS + shift).values - engine.importances(ROWS + shift).values
    ).max()
    assert off < 1e-4 * engine.importances(ROWS + shift).standard_errors.mean()


def test_weights_that_cancel_keep_double_precision():
    """Two equal hidden units with opposite weights of ten million: seven digits would leave
    noise.
    """
    weights, bias = RNG.normal(size=(N_FEATURES, 15)), RNG.normal(size=15)
    last = RNG.normal(size=(15, 1))
    cancelling = [
        np.hstack([weights, weights]),
        np.concatenate([last + 1e7, np.full((15, 1), -1e7)]),
    ]
    for layers, biases, expected in [
        ([weights, last], [bias, np.zeros(1)], "single"),
        (cancelling, [np.tile(bias, 2), np.zeros(1)], "double"),
    ]:
        engine = sampling(network(layers, biases, X[:200]))
        assert in_good_precision(engine, X[:200]).precision == expected


def test_dual_coefficients_that_cancel_keep_double_precision():
    """Support vectors next to each other with opposite coefficients of a million."""
    near = X[300:340] + 1e-6 * RNG.normal(size=(40, N_FEATURES))
    dual = RNG.normal(size=(1, 40))
    assert in_good_precision(sampling(machine(near, dual)), X[:200]).precision == "single"
    doubled = machine(
        np.concatenate([X[300:340], near]), np.hstack([dual + 1e7, np.full((1, 40), -1e7)])
    )
    assert in_good_precision(sampling(doubled), X[:200]).precision == "double"


def test_the_choice_depends_on_no_clock(fitted_network, explained_network):
    """With a time budget or a tolerance the trial is the same single round, and so is the
    choice.
    """
    expected = explained_network.row_explainer.engine.in_one_round().importances(ROWS).values
    for options in ({"time_budget": 1e-9}, {"time_budget": 0.1}, {"tolerance": 0.1}):
        engine = TabularExplainer(fitted_network, X[:200], **options).row_explainer.engine
        assert (engine.precision, engine.stopping) == ("single", Stopping(**options))
        assert engine.in_one_round().importances(ROWS).values.tobytes() == expected.tobytes()


def test_what_is_enumerated_stays_in_double_precision():
    """A row of which only six features vary is exact, whatever the engine does with others."""
    background = X[:200].copy()
    background[:, 6:] = 0.5
    weights, biases = (
        [RNG.normal(size=(N_FEATURES, 15)), RNG.normal(size=(15, 1))],
        [RNG.normal(size=15), np.ones(1)],
    )
    games = (
        network(weights, biases, background),
        machine(X[300:340], RNG.normal(size=(1, 40)), background),
    )
    for game in games:
        exact = sampling(game)
        rounded = exact.with_game(game.in_single_precision())
        row = np.where(np.arange(N_FEATURES) < 6, ROWS[:1], 0.5)
        exact, rounded = (
            engine.on_whole_background(64).importances(row) for engine in (exact, rounded)
        )
        assert (rounded.standard_errors == 0).all()
        assert np.ptp(rounded.values) > 0.01
        assert rounded.values.tobytes() == exact.values.tobytes()


def test_an_engine_that_samples_nothing_has_nothing_to_round():
    """Few features on a small background: double precision, as the manifest says."""
    model = LogisticRegression().fit(X[:, :5], Y)
    explainer = TabularExplainer(model, X[:30, :5], output="probability")
    assert KernelScoringExplainer(explainer).to_dict()["precision"] == "double"


@pytest.mark.parametrize("value", [1e6, 1e39, -1e150])
def test_rows_far_beyond_the_background_are_explained_all_the_same(value, explained_network):
    """Numbers that single precision could not even hold: finite, additive, the same as in double
    precision.
    """
    row = ROWS[:1].copy()
    row[0, 3] = value
    engine = explained_network.row_explainer.engine
    assert engine.precision == "single"
    assert (
        engine.importances(row).values.tobytes()
        == in_double(engine).importances(row).values.tobytes()
    )
    engine = sampling(machine(X[300:340], RNG.normal(size=(1, 40))))
    rounded = engine.with_game(engine.game.in_single_precision()).importances(row).values
    np.testing.assert_allclose(rounded, engine.importances(row).values, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        rounded.sum(axis=2).T, engine.game.full_value(row[0])[None] - engine.expected_values
    )


@pytest.mark.parametrize(
    ("model", "targets", "beyond", "n_rows"),
    [
        pytest.param(
            CalibratedClassifierCV(
                SVC(kernel="poly", degree=10, gamma=30, coef0=1), ensemble=False
            ),
            np.minimum(Y, 1),
            4,
            60,
            id="powers",
        ),
        pytest.param(
            MLPRegressor(loss="poisson", hidden_layer_sizes=(20,), max_iter=2000, random_state=0),
            np.exp(X[:, 3] - X[:, 4]),
            30,
            200,
            id="exponentials",
        ),
    ],
)
def test_numbers_that_single_precision_does_not_hold_are_evaluated_in_double(
    model, targets, beyond, n_rows
):
    """Rows on which powers or exponentials, or their squares, overflow in single precision: the
    numbers of double.
    """
    model.fit(X[: 2 * n_rows], targets[: 2 * n_rows])
    engine = TabularExplainer(model, X[:n_rows]).row_explainer.engine
    assert engine.precision == "single"
    game = engine.game
    exact = engine.with_game(AdditiveGame(game.model, game.background, game.grouping, game.known))
    rows = beyond * ROWS
    rounded, exact = engine.importances(rows), exact.importances(rows)
    np.testing.assert_allclose(rounded.standard_errors, exact.standard_errors, rtol=1e-3)
    for i, row in enumerate(rows):
        found, expected = rounded.values[:, i], exact.values[:, i]
        size = np.abs(expected).max()  # exponentials of one row are far from those of another
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * size)
        added = found.sum(axis=1) + engine.expected_values
        np.testing.assert_allclose(added, game.full_value(row), rtol=0, atol=1e-12 * size)
