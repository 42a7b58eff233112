"""Keras' models that are chains of layers, by duck typing: the layers, and what is in them.

Next: :mod:`service.structures.foreign_networks.read_networks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ModelOutputError
from service.structures.foreign_networks.layers import (
    Affine,
    Layer,
    join_layers,
    normalization,
    scaling,
)
from service.structures.links import Floats
from service.structures.structure import as_floats

# Keras' names of activations, and scikit-learn's.
_ACTIVATIONS: dict[str, list[Layer]] = {
    "linear": [],
    "relu": ["relu"],
    "sigmoid": ["logistic"],
    "softmax": ["softmax"],
    "tanh": ["tanh"],
}


def is_keras_model(model: Any) -> bool:
    """Tell whether a model is one of Keras'."""
    is_of_keras = any(map(_is_keras_class, type(model).__mro__))
    return is_of_keras and hasattr(model, "layers")


def _is_keras_class(cls: type) -> bool:
    return "keras" in cls.__module__.split(".")


def call_keras(model: Any, rows: NDArray[Any]) -> Floats:
    """Ask a model; its ``predict`` does so in batches and without training.

    Raises
    ------
    ModelOutputError
        When it answers several arrays, as one with several heads does.
    """
    dtype = getattr(model, "variable_dtype", "float32")
    answer = model.predict(np.asarray(rows, dtype=dtype), verbose=0)
    if isinstance(answer, list | tuple | dict):
        raise ModelOutputError(
            f"model: expected a network with one output, got {len(answer)} outputs of "
            f"{type(model).__name__}; explain a model of the one that is meant."
        )
    return as_floats(answer)


def read_keras(model: Any, rows: NDArray[Any]) -> list[Layer] | None:
    """Read the layers of a model; None where it is no chain of them, or one is not known.

    What connects layers is not looked at: what is read must be held against the model.
    """
    return _read_layer(model)


def _read_layer(layer: Any) -> list[Layer] | None:
    return _READERS.get(_name_kind(layer), _read_none)(layer)


def _name_kind(layer: Any) -> str:
    """Name the class of a layer, or the kind of chain that a class of one's own is made of."""
    names = [cls.__name__ for cls in type(layer).__mro__]
    return next(filter(_CHAINS.__contains__, names), names[0])


def _read_none(_: Any) -> None:
    """Say that a layer is not known."""


def _read_chain(model: Any) -> list[Layer] | None:
    return join_layers(map(_read_layer, model.layers))


def _read_identity(_: Any) -> list[Layer]:
    return []


def _read_activation(layer: Any) -> list[Layer] | None:
    return _ACTIVATIONS.get(getattr(layer.activation, "__name__", ""))


def _read_dense(layer: Any) -> list[Layer] | None:
    weights, *biases = map(as_floats, layer.get_weights())
    if len(biases) > 1:  # adapters of a low rank beside them
        return None
    (bias,) = biases or [np.zeros(weights.shape[1])]
    return join_layers([[Affine(weights, bias)], _read_activation(layer)])


def _read_normalization(layer: Any) -> list[Layer]:
    """Read a batch normalization: scale and shift come first, where it has them."""
    *learned, mean, variance = map(as_floats, layer.get_weights())
    scale = learned.pop(0) if layer.scale else np.ones_like(mean)
    shift = learned.pop(0) if layer.center else np.zeros_like(mean)
    return [normalization(mean, variance, layer.epsilon), scaling(scale, shift)]


def _read_rectifier(layer: Any) -> list[Layer] | None:
    """Read a rectifier that has neither a slope, a threshold nor a ceiling."""
    bends = layer.max_value, float(layer.negative_slope), float(layer.threshold)
    return {(None, 0.0, 0.0): _ACTIVATIONS["relu"]}.get(bends)


def _read_softmax(layer: Any) -> list[Layer] | None:
    return {"-1": _ACTIVATIONS["softmax"]}.get(str(layer.axis))


# Models of layers, one behind the other; a class of your own may be made of one.
_CHAINS = ("Functional", "Sequential")
_READERS: dict[str, Callable[[Any], list[Layer] | None]] = {
    "Activation": _read_activation,
    "ActivityRegularization": _read_identity,
    "AlphaDropout": _read_identity,
    "BatchNormalization": _read_normalization,
    "Dense": _read_dense,
    "Dropout": _read_identity,
    "Flatten": _read_identity,
    "Functional": _read_chain,
    "GaussianDropout": _read_identity,
    "GaussianNoise": _read_identity,
    "InputLayer": _read_identity,
    "ReLU": _read_rectifier,
    "Sequential": _read_chain,
    "Softmax": _read_softmax,
}
