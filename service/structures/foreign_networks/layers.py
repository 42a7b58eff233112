"""Layers of a feed-forward network: affine ones and activations in turn.

Next: :mod:`service.structures.foreign_networks.torch_modules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from service.structures.links import Floats
from service.structures.structure import as_floats

# Activations that make probabilities of margins, where they come last.
LINKS = ("logistic", "softmax")


@dataclass(frozen=True)
class Affine:
    """rows · weights + biases.

    Attributes
    ----------
    weights : ndarray of shape (n_inputs, n_units)
    biases : ndarray of shape (n_units,)
    """

    weights: Floats
    biases: Floats

    def followed_by(self, other: Affine) -> Affine:
        """Return both in one."""
        return Affine(self.weights @ other.weights, self.biases @ other.weights + other.biases)


# What a layer is read into: affine ones, and names of activations.
Layer = Affine | str


def normalization(mean: Floats, variance: Floats, epsilon: float) -> Affine:
    """Return a batch normalization without its scale and shift."""
    scale = 1.0 / np.sqrt(as_floats(variance) + epsilon)
    return scaling(scale, -as_floats(mean) * scale)


def scaling(scale: Floats, shift: Floats) -> Affine:
    """Return what scales and shifts each column by itself."""
    return Affine(np.diag(scale), shift)


def join_layers(read: Iterable[Sequence[Layer] | None]) -> list[Layer] | None:
    """Put layers behind each other; None where one of them is not known."""
    parts = list(read)
    if None in parts:
        return None
    return list(chain.from_iterable(parts))  # type: ignore[arg-type]


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
    def of(cls, layers: Sequence[Layer], n_inputs: int) -> Network:
        """Put layers together: affine ones that follow each other become one.

        Parameters
        ----------
        layers : sequence of Affine or str
        n_inputs : int
            How many columns go in.

        Raises
        ------
        ValueError
            When they do not fit each other.
        """
        last = "identity"
        if layers and layers[-1] in LINKS:
            *layers, last = layers  # type: ignore[assignment]
        affine, activations = [_unchanged(n_inputs)], []
        for layer in layers:
            if isinstance(layer, Affine):
                affine[-1] = affine[-1].followed_by(layer)
            else:
                activations.append(layer)
                affine.append(_unchanged(len(affine[-1].biases)))
        return cls(tuple(affine), tuple(activations), last)

    def with_last_inside(self) -> Network:
        """Return the same network whose last activation is an inner one."""
        if self.last == "identity":
            return self
        behind = _unchanged(len(self.affine[-1].biases))
        return Network((*self.affine, behind), (*self.activations, self.last), "identity")


def _unchanged(width: int) -> Affine:
    return Affine(np.eye(width), np.zeros(width))
