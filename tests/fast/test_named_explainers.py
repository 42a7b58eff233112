from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from service.explainers import (
    DeepExplainer,
    KernelExplainer,
    LinearExplainer,
    TabularExplainer,
    TreeExplainer,
)
from service.scoring import KernelScoringExplainer
from service.structures.foreign_networks.layers import Affine, Network, scaling
from service.structures.foreign_networks.read_networks import as_network_structure, evaluate

X = np.random.default_rng(0).normal(size=(50, 4))
Y = X[:, 0] * X[:, 1] + X[:, 2]
MODELS = {
    TreeExplainer: RandomForestClassifier(5, random_state=0).fit(X, Y > 0),
    LinearExplainer: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y > 0),
    KernelExplainer: SVC().fit(X, Y > 0),
    DeepExplainer: MLPRegressor(
        hidden_layer_sizes=(4,), max_iter=1500, random_state=0, tol=1e-2
    ).fit(X, Y),
}
KINDS = {TreeExplainer: "tree", LinearExplainer: "linear", DeepExplainer: "network"}
every_name = pytest.mark.parametrize("explainer", MODELS, ids=lambda named: named.__name__)


def take_column(rows, column):
    return rows[:, column]


@every_name
def test_a_named_explainer_is_tabular_explainer_with_its_engine(explainer):
    """The same numbers, by position and keyword, and a scoring explainer."""
    model = MODELS[explainer]
    engine = "kernel" if explainer is KernelExplainer else "auto"
    expected = TabularExplainer(model, X, engine=engine).explain_local(X[:2])
    named = explainer(model, X, ["b", "a"], list("abcd"))
    found = named.explain_local(X[:2])
    assert found.method == expected.method
    assert found.features == ["b", "a"]
    values = np.array(expected.local_importance_values)[..., [1, 0]]
    np.testing.assert_array_equal(found.local_importance_values, values)
    np.testing.assert_array_equal(KernelScoringExplainer(named).explain(X[:2]), values)


@pytest.mark.parametrize("explainer", KINDS, ids=lambda named: named.__name__)
def test_another_kind_of_model_is_refused(explainer):
    """In one sentence, with what to use."""
    model = make_pipeline(StandardScaler(), SVC()).fit(X, Y > 0)
    said = f"^{explainer.__name__}: expected a {KINDS[explainer]} model, got SVC; use Tabular"
    with pytest.raises(ValueError, match=said):
        explainer(model, X)
    with pytest.raises(ValueError, match=r"model, got function; use TabularExplainer\.$"):
        explainer(lambda rows: rows[:, 0], X)
    with pytest.raises(ValueError, match=r"model, got function; use TabularExplainer\.$"):
        explainer(partial(take_column, column=0), X)
    with pytest.raises(ValueError, match="engine='tree': expected a tree model, got SVC"):
        TabularExplainer(model, X, engine="tree")


@every_name
def test_examples_are_needed_and_the_engine_is_fixed(explainer):
    """Both are said."""
    with pytest.raises(TypeError, match=f"{explainer.__name__}: expected initialization examples"):
        explainer(MODELS[explainer])
    with pytest.raises(TypeError, match="expected no engine, since its name says which"):
        explainer(MODELS[explainer], X, engine="shap")


def test_a_model_behind_a_link_keeps_its_kind():
    """The probability of a linear or boosted model is sampled around its exact margin."""
    linear = LinearExplainer(MODELS[LinearExplainer], X, output="probability")
    assert linear.method == "kernel/linear"


@pytest.mark.filterwarnings("ignore:The importances of engine 'kernel' are off:UserWarning")
def test_clusters_are_obeyed():
    """As many weighted centres as are asked for stand for the examples."""
    explainer = KernelExplainer(MODELS[KernelExplainer], X, nclusters=7, nsamples=64)
    background = KernelScoringExplainer(explainer).to_dict()["background"]
    assert (background["kind"], background["n_rows"]) == ("kmeans", 7)
    assert KernelScoringExplainer(explainer).to_dict()["nsamples"] == 64
    with pytest.raises(ValueError, match="expected either nclusters or a background"):
        KernelExplainer(MODELS[KernelExplainer], X, nclusters=7, background="whole")
    for given in (0, 2.5, True, "7"):
        with pytest.raises(ValueError, match=r"^KernelExplainer: nclusters: expected a whole"):
            KernelExplainer(MODELS[KernelExplainer], X, nclusters=given)


def test_a_partial_function_has_the_name_of_its_function():
    """In messages."""
    explainer = KernelExplainer(partial(take_column, column=1), X)
    assert explainer.row_explainer.function.name == "take_column"


def fake_layer(name, *weights, activation=None, **attributes):
    """A layer as Keras has it."""
    kind = type(name, (), {"__module__": "keras.src.layers"})
    layer = kind()
    layer.get_weights = lambda: list(weights)
    if activation is not None:
        layer.activation = SimpleNamespace(__name__=activation)
    layer.__dict__.update(attributes)
    return layer


def fake_keras(layers, function):
    """A Sequential model as Keras has it."""

    class Sequential:
        def predict(self, rows, verbose):
            return function(np.asarray(rows, dtype=np.float64)).astype(np.float32)

        __call__ = predict

    Sequential.__module__ = "keras.src.models.sequential"
    model = Sequential()
    model.layers = layers
    return model


def keras_network(last="sigmoid"):
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(4, 5)), rng.normal(size=(5, 1))
    bias, gamma, mean, variance = rng.normal(size=5), *rng.random((3, 5))
    layers = [
        fake_layer("InputLayer"),
        fake_layer("Dense", first, bias, activation="linear"),
        fake_layer(
            "BatchNormalization", gamma, mean, variance, scale=True, center=False, epsilon=0.1
        ),
        fake_layer("Activation", activation="relu"),
        fake_layer("Dropout"),
        fake_layer("Dense", second, activation=last),
    ]

    def margin(rows):
        hidden = gamma * (rows @ first + bias - mean) / np.sqrt(variance + 0.1)
        return np.maximum(hidden, 0) @ second

    return layers, margin


def test_a_sequential_model_of_keras_is_read():
    """Dense layers, batch normalization, activations: its own probabilities, [1 − p, p]."""
    layers, margin = keras_network()
    model = fake_keras(layers, lambda rows: 1 / (1 + np.exp(-margin(rows))))
    frame = pd.DataFrame(X, columns=list("abcd"))
    local = DeepExplainer(model, frame, classes=["no", "yes"]).explain_local(frame[:3])
    assert (local.method, local.output, local.features) == (
        "kernel/network",
        "probability",
        list("abcd"),
    )
    sums = np.array(local.local_importance_values).sum(axis=2).T + local.expected_values
    second = model.predict(X[:3], 0)
    np.testing.assert_allclose(sums, np.hstack([1 - second, second]), rtol=0, atol=1e-6)
    margins = DeepExplainer(model, X, output="margin").explain_local(X[:3])
    sums = np.array(margins.local_importance_values).sum(axis=2).T + margins.expected_values
    np.testing.assert_allclose(sums[:, 1], margin(X[:3])[:, 0], rtol=0, atol=1e-9)


def test_a_network_that_is_something_else_than_its_layers_is_called():
    """What is read is held against the network; what is not known is called."""
    layers, margin = keras_network("linear")
    other = fake_keras(layers, lambda rows: margin(rows) ** 2)
    explainer = DeepExplainer(other, X)
    assert explainer.method == "kernel"
    assert explainer.row_explainer.function.name == "Sequential"
    unknown = fake_keras([fake_layer("LSTM")], lambda rows: 1 / (1 + np.exp(-margin(rows))))
    called = DeepExplainer(unknown, X, model_task="classification").explain_local(X[:2])
    assert (called.method, called.num_classes) == ("kernel", 2)


def test_layers_are_put_together():
    """Affine layers become one, activations follow each other, and one may come first."""
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(4, 3)), rng.normal(size=(3, 2))
    bias, scale = rng.normal(size=3), rng.normal(size=2)
    network = Network.of(
        [
            "tanh",
            Affine(first, bias),
            Affine(second, np.ones(2)),
            scaling(scale, np.zeros(2)),
            "relu",
            "logistic",
            "softmax",
        ],
        n_inputs=4,
    )
    hidden = np.maximum(((np.tanh(X) @ first + bias) @ second + 1) * scale, 0)
    hidden = np.exp(1 / (1 + np.exp(-hidden)))
    expected = hidden / hidden.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        evaluate(as_network_structure(network), X), expected, rtol=0, atol=1e-12
    )
    inside = as_network_structure(network.with_last_inside())
    np.testing.assert_allclose(evaluate(inside, X), expected, rtol=0, atol=1e-12)
    assert Network.of(["relu"], 4).activations == ("relu",)


def test_rows_that_are_no_numbers_are_refused():
    """A foreign network takes arrays of numbers."""
    layers, margin = keras_network("linear")
    model = fake_keras(layers, margin)
    with pytest.raises(ValueError, match="expected initialization examples of numbers alone"):
        DeepExplainer(model, pd.DataFrame({"a": ["x", "y"]}))
    with pytest.raises(ValueError, match="expected no transformations before a network"):
        DeepExplainer(model, X, transformations=StandardScaler().fit(X))
    with pytest.raises(ValueError, match="expected a network model, got LinearRegression"):
        DeepExplainer(LinearRegression().fit(X, Y), X)
