"""Layers of a feed-forward network: affine ones and activations in turn.

Next: :mod:`service.structures.foreign_networks.torch_modules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from service.structures.links import Floats
from service.structures.structure import as_floats


@dataclass(frozen=True)
class Affine:
    """rows · weights + biases.

    Attributes
    ----------
    weights : ndarray of shape (n_inputs, n_units), or (n_units,)
        One axis stands for a diagonal matrix, as of a batch normalization.
    biases : ndarray of shape (n_units,)
    """

    weights: Floats
    biases: Floats

    def __call__(self, rows: Floats) -> Floats:
        """Return the units of rows."""
        if self.weights.ndim == 1:
            return rows * self.weights + self.biases
        return rows @ self.weights + self.biases

    def followed_by(self, other: Affine) -> Affine:
        """Return both in one."""
        weights = other(self._matrix) - other.biases
        return Affine(weights, other(self.biases))

    @property
    def _matrix(self) -> Floats:
        return np.diag(self.weights) if self.weights.ndim == 1 else self.weights

    def as_matrix(self) -> Affine:
        """Return the same with a matrix of weights."""
        return Affine(self._matrix, self.biases)


# What a layer is read into: an affine one, the name of an activation, or nothing.
Layer = Affine | str


def normalization(mean: Floats, variance: Floats, epsilon: float) -> Affine:
    """Return a batch normalization without its scale and shift."""
    scale = 1.0 / np.sqrt(as_floats(variance) + epsilon)
    return Affine(scale, -as_floats(mean) * scale)


@dataclass(frozen=True)
class Network:
    """Affine layers with an activation between each two, and perhaps one behind the last.

    Attributes
    ----------
    affine : tuple of Affine
    activations : tuple of str
        Between the layers, as scikit-learn names them.
    last : str
        Behind the last layer: "identity", "logistic" or "softmax".
    """

    affine: tuple[Affine, ...]
    activations: tuple[str, ...]
    last: str

    @classmethod
    def of(cls, layers: Iterable[Layer]) -> Network | None:
        """Put layers together: affine ones that follow each other become one.

        Returns
        -------
        Network or None
            None when there is no matrix among them.
        """
        merged: list[Layer] = []
        for layer in layers:
            _append(merged, layer)
        last = "identity"
        if merged and merged[-1] in ("logistic", "softmax"):
            last = str(merged.pop())
        n_inputs = _count_inputs(merged)
        if n_inputs is None:
            return None
        return cls._alternating(merged, n_inputs, last)

    @classmethod
    def _alternating(cls, layers: Sequence[Layer], n_inputs: int, last: str) -> Network:
        """Put affine layers that change nothing between activations, before and behind them."""
        affine: list[Affine] = []
        activations: list[str] = []
        width = n_inputs
        for layer in layers:
            if isinstance(layer, Affine):
                affine.append(layer.as_matrix())
                width = len(layer.biases)
                continue
            if len(affine) == len(activations):
                affine.append(_unchanged(width))
            activations.append(layer)
        if len(affine) == len(activations):
            affine.append(_unchanged(width))
        return cls(tuple(affine), tuple(activations), last)

    def with_last_inside(self) -> Network:
        """Return the same network whose last activation is an inner one."""
        if self.last == "identity":
            return self
        behind = _unchanged(len(self.affine[-1].biases))
        return Network((*self.affine, behind), (*self.activations, self.last), "identity")


def _append(layers: list[Layer], layer: Layer) -> None:
    if isinstance(layer, Affine) and layers and isinstance(layers[-1], Affine):
        layers[-1] = layers[-1].followed_by(layer)
    elif layer != "identity":
        layers.append(layer)


def _count_inputs(layers: Sequence[Layer]) -> int | None:
    """Return how many columns go in: activations keep their number."""
    for layer in layers:
        if isinstance(layer, Affine):
            return len(layer.weights)
    return None


def _unchanged(width: int) -> Affine:
    return Affine(np.eye(width), np.zeros(width))
