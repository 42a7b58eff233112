"""Neural networks: multilayer perceptrons, whose first layer adds up over columns.

Kernel machines with a sigmoid kernel become one too (:mod:`service.structures.kernel_machines`).
Next: :mod:`service.structures.foreign_networks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import numpy as np
from scipy.special import expit, softmax

from service.shapley.additive import AdditiveModel
from service.shapley.plan import Numbers
from service.structures.family import Family
from service.structures.links import Floats, logistic
from service.structures.structure import Structure, as_floats


@dataclass(frozen=True)
class NetworkStructure(Structure):
    """A multilayer perceptron, behind an optional link.

    Attributes
    ----------
    weights : sequence of ndarrays of shape (n_inputs, n_units)
        Of each layer, the first one included.
    biases : sequence of ndarrays of shape (n_units,)
    activation : str or sequence of str
        As scikit-learn names it; one for all hidden layers, or one for each.
    output_activation : str
    link : callable or None
    """

    weights: Sequence[Floats]
    biases: Sequence[Floats]
    activation: str | Sequence[str]
    output_activation: str

    @property
    def has_closed_form(self) -> bool:
        """Never: hidden units are no sums."""
        return False

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to each unit of the first layer.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_rows, n_columns, n_hidden)
        """
        return rows[:, :, None] * self.weights[0]

    @property
    def additive(self) -> AdditiveModel:
        """The parts of the model: its hidden units are those of the first layer."""
        return AdditiveModel(self.contributions, self.biases[0], self.readout, self.outputs)

    def readout(self, hidden: Numbers) -> Numbers:
        """Evaluate the other layers, all but the last bias; overwrites its argument."""
        inner = [*self.biases[1:-1], np.zeros(1)]
        for layer in range(1, len(self.weights)):
            activate = ACTIVATIONS[self._activation_before(layer)]
            hidden = activate(hidden) @ self.weights[layer].astype(hidden.dtype, copy=False)
            hidden += inner[layer - 1].astype(hidden.dtype, copy=False)
        return hidden

    def _activation_before(self, layer: int) -> str:
        return str(np.resize(self.activation, layer)[layer - 1])  # one stands for all of them

    def outputs(self, margins: Floats) -> Floats:
        """Add the last bias, and go through the output's activation and the link."""
        last = [np.zeros(1), *self.biases[1:]][-1]  # a single one is there already
        activate = OUTPUT_ACTIVATIONS[self.output_activation]
        outputs = activate(margins + last)
        if self.link is None:
            return outputs
        return self.link(outputs)

    def of_mapped_rows(self, matrix: Floats, shift: Floats) -> NetworkStructure:
        """Return the same outputs of rows that are mapped first; see :class:`Structure`."""
        first, bias = self.weights[0], self.biases[0]
        return replace(
            self,
            weights=[matrix @ first, *self.weights[1:]],
            biases=[bias + shift @ first, *self.biases[1:]],
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self | None:
        """Return a single network without its link; several are not joined."""
        if len(parts) > 1:
            return None
        return replace(parts[0], link=None)


def _softmax(scores: Floats) -> Floats:
    """Turn scores into probabilities, column by column: reductions along a short axis are slow."""
    columns = np.ascontiguousarray(scores.T)
    columns -= columns.max(axis=0)
    np.exp(columns, out=columns)
    columns /= columns.sum(axis=0)
    return columns.T


def _sigmoids(scores: Floats) -> Floats:
    """Turn one score into the probabilities of two classes, several into one for each label."""
    if scores.shape[1] == 1:
        return logistic(scores)
    return expit(scores)


ACTIVATIONS: dict[str, Callable[[Numbers], Numbers]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0, out=x),
    "tanh": lambda x: np.tanh(x, out=x),
    "logistic": lambda x: expit(x, out=x),
    "softmax": lambda x: softmax(x, axis=-1),
}
OUTPUT_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "identity": lambda x: x,
    "logistic": _sigmoids,
    "exp": np.exp,
    "softmax": _softmax,
}


def read_network(estimator: Any, scale: str) -> NetworkStructure | None:
    """Read MLPClassifier and MLPRegressor; None for an activation that is not in the tables."""
    activation, output_activation = estimator.activation, estimator.out_activation_
    known = set(product(ACTIVATIONS, OUTPUT_ACTIVATIONS))
    if (activation, output_activation) not in known:
        return None
    return NetworkStructure(
        weights=list(map(as_floats, estimator.coefs_)),
        biases=list(map(as_floats, estimator.intercepts_)),
        activation=activation,
        output_activation=output_activation,
    )


FAMILY = Family(
    library="sklearn", readers={"MLPClassifier": read_network, "MLPRegressor": read_network}
)
