"""Keras' Sequential models, by duck typing: their layers, and the activations in them.

Next: :mod:`service.structures.foreign_networks.read_networks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """Ask a model; its ``predict`` does so in batches and without training."""
    return as_floats(model.predict(np.asarray(rows, dtype=np.float32), verbose=0))


def read_keras(model: Any, rows: NDArray[Any]) -> list[Layer] | None:
    """Read the layers of a Sequential model; None where one of them is not known."""
    if type(model).__name__ != "Sequential":
        return None
    return join_layers(map(_read_layer, model.layers))


def _read_layer(layer: Any) -> list[Layer] | None:
    return _READERS.get(type(layer).__name__, _read_none)(layer)


def _read_none(_: Any) -> None:
    """Say that a layer is not known."""


def _read_identity(_: Any) -> list[Layer]:
    return []


def _read_activation(layer: Any) -> list[Layer] | None:
    return _ACTIVATIONS.get(getattr(layer.activation, "__name__", ""))


def _read_dense(layer: Any) -> list[Layer] | None:
    weights, *biases = map(as_floats, layer.get_weights())
    (bias,) = biases or [np.zeros(weights.shape[1])]
    return join_layers([[Affine(weights, bias)], _read_activation(layer)])


def _read_normalization(layer: Any) -> list[Layer]:
    """Read a batch normalization: scale and shift come first, where it has them."""
    *learned, mean, variance = map(as_floats, layer.get_weights())
    scale = learned.pop(0) if layer.scale else np.ones_like(mean)
    shift = learned.pop(0) if layer.center else np.zeros_like(mean)
    return [normalization(mean, variance, layer.epsilon), scaling(scale, shift)]


_READERS: dict[str, Callable[[Any], list[Layer] | None]] = {
    "Activation": _read_activation,
    "BatchNormalization": _read_normalization,
    "Dense": _read_dense,
    "Dropout": _read_identity,
    "Flatten": _read_identity,
    "InputLayer": _read_identity,
}
