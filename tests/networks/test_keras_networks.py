"""Networks of Keras, with Keras: `make test-torch` runs them in an environment of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shapley_by_definition import shapley_by_definition

from service.errors import ModelOutputError
from service.explainers import DeepExplainer
from service.scoring import KernelScoringExplainer, load, save

os.environ["KERAS_BACKEND"] = "torch"
try:
    import keras
    from keras import layers
except ImportError:
    if os.environ.get("CI"):
        raise
    reason = "Keras is not installed here: `make test-torch` runs these tests in .venv-torch"
    pytest.skip(reason, allow_module_level=True)

# Keras' own, of the numpy that is here.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32).astype(np.float64)


class Chain(keras.Sequential):
    """A class of one's own that adds nothing to a chain of layers."""


class Doubled(layers.Dense):
    """A layer of one's own that is another than the one that it is made of."""

    def call(self, rows, training=None):
        return 2 * super().call(rows, training)


class Subclassed(keras.Model):
    """What it does between its layers cannot be seen."""

    def __init__(self):
        super().__init__()
        self.first, self.last = layers.Dense(6), layers.Dense(1)

    def call(self, rows):
        return self.last(keras.ops.tanh(self.first(rows)))


def functional(make):
    """A model of whatever is made of its input."""
    rows = keras.Input((5,))
    return keras.Model(rows, make(rows))


def residual(rows):
    return layers.Dense(1)(layers.Add()([layers.Dense(5, activation="relu")(rows), rows]))


def in_a_row(rows):
    hidden = layers.BatchNormalization()(layers.Dense(6, activation="relu")(rows))
    return layers.Dense(2)(layers.Dropout(0.2)(hidden))


def twice(rows):
    """One layer at two places."""
    shared = layers.Dense(5, activation="tanh")
    return layers.Dense(1)(shared(shared(rows)))


def networks():
    keras.utils.set_random_seed(0)
    dense = layers.Dense
    made = {
        "regression": [
            layers.BatchNormalization(scale=False),
            dense(8, activation="relu"),
            layers.Dropout(0.5),
            layers.GaussianNoise(0.3),
            layers.BatchNormalization(center=False),
            dense(6),
            layers.Activation("tanh"),
            dense(1),
        ],
        "sigmoid": [layers.Flatten(), dense(7), layers.ReLU(), dense(1, activation="sigmoid")],
        "softmax": [dense(7, use_bias=False, activation="sigmoid"), dense(3), layers.Softmax()],
        "nested": [keras.Sequential([keras.Input((5,)), dense(4, activation="relu")]), dense(1)],
        "gelu": [dense(7, activation="gelu"), dense(1)],
        "gelu and sigmoid": [dense(7, activation="gelu"), dense(1, activation="sigmoid")],
        "steps": [dense(7), layers.ReLU(max_value=0.5), dense(1)],
        "of its own": [Doubled(7, activation="tanh"), dense(1)],
        "noisy": [dense(7, activation="gelu"), layers.GaussianNoise(0.9), dense(1)],
    }
    found = {name: keras.Sequential([keras.Input((5,)), *parts]) for name, parts in made.items()}
    found["chain"] = Chain([keras.Input((5,)), dense(4, activation="relu"), dense(1)])
    found["functional"] = functional(in_a_row)
    found["residual"] = functional(residual)
    found["twice"] = functional(twice)
    found["subclassed"] = Subclassed()
    rng = np.random.default_rng(1)
    for network in found.values():  # so that normalizations have statistics
        network.compile(loss="mse", optimizer="sgd")
        n_outputs = network(X[:1]).shape[1]
        network.fit(X, rng.random((40, n_outputs)), epochs=2, verbose=0)
    return found


NETWORKS = networks()
SINGLE = {"model_task": "classification"}
CASES = {
    "regression": ("kernel/network", {}, lambda out: out),
    "sigmoid": ("kernel/network", {}, lambda out: np.hstack([1 - out, out])),
    "softmax": ("kernel/network", {}, lambda out: out),
    "nested": ("kernel/network", SINGLE, lambda out: np.hstack([-out, out])),
    "chain": ("kernel/network", {}, lambda out: out),
    "functional": ("kernel/network", {"model_task": "regression"}, lambda out: out),
    "gelu": ("kernel", SINGLE, lambda out: np.hstack([-out, out])),
    "gelu and sigmoid": ("kernel", SINGLE, lambda out: np.hstack([1 - out, out])),
    "steps": ("kernel", {}, lambda out: out),
    "of its own": ("kernel", {}, lambda out: out),
    "noisy": ("kernel", {}, lambda out: out),
    "residual": ("kernel", {}, lambda out: out),
    "twice": ("kernel", {}, lambda out: out),
    "subclassed": ("kernel", {}, lambda out: out),
}


def answer(network, rows):
    """What Keras answers, (n_rows, n_outputs)."""
    return network.predict(rows.astype(np.float32), verbose=0).astype(np.float64)


@pytest.mark.parametrize("name", CASES)
def test_importances_are_those_of_the_network_by_definition(name):
    """Enumerated over all coalitions by calling Keras: read networks and called ones alike."""
    method, options, shape = CASES[name]
    local = DeepExplainer(NETWORKS[name], X, **options).explain_local(X[:2])
    assert local.method == method

    def ask(rows):
        return shape(answer(NETWORKS[name], rows))

    expected = shapley_by_definition(ask, X[1], X, np.ones(len(X)))
    values = np.array(local.local_importance_values)[..., 1, :].reshape(expected.shape)
    np.testing.assert_allclose(values, expected, rtol=0, atol=2e-6)


def test_a_network_with_several_heads_is_refused():
    """In one sentence."""
    heads = functional(lambda rows: [layers.Dense(1)(rows), layers.Dense(2)(rows)])
    with pytest.raises(ModelOutputError, match="one output, got 2 outputs of Functional; explain"):
        DeepExplainer(heads, X)


def test_a_read_network_is_scored_without_keras(tmp_path):
    """Saved, and loaded in a process that imports neither Keras nor torch: the same bytes."""
    explainer = DeepExplainer(NETWORKS["softmax"], X, classes=["a", "b", "c"])
    path = save(KernelScoringExplainer(explainer), tmp_path / "saved")
    assert b"keras" not in Path(path).read_bytes()
    script = (
        "import json, sys; from service.scoring import load\n"
        f"print(json.dumps(load({str(path)!r}).explain({X[:2].tolist()!r})))\n"
        "assert not {'keras', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    expected = explainer.explain_local(X[:2]).local_importance_values
    assert json.loads(done.stdout) == expected == load(path).explain(X[:2])
