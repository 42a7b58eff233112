"""Models of torch and Keras as models of rows: read into arrays, or called as they are.

What is read needs neither library any more. Next:
:mod:`service.structures.statistical`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.structures.answer_forms import are_shares
from service.structures.class_names import Caller
from service.structures.family import Family
from service.structures.foreign_networks.keras_models import call_keras, is_keras_model, read_keras
from service.structures.foreign_networks.layers import Layer, Network
from service.structures.foreign_networks.torch_modules import (
    call_module,
    is_torch_module,
    read_module,
)
from service.structures.links import Floats
from service.structures.networks import NetworkStructure
from service.structures.structure import as_floats

# Of the largest answer: what single precision loses.
SAME = 1e-4
N_COMPARED_ROWS = 64


def as_network_structure(network: Network) -> NetworkStructure:
    """Return a network as the structure that engines know."""
    return NetworkStructure(
        weights=list(map(attrgetter("weights"), network.affine)),
        biases=list(map(attrgetter("biases"), network.affine)),
        activation=network.activations,
        output_activation=network.last,
    )


def evaluate(structure: NetworkStructure, rows: NDArray[Any]) -> Floats:
    """Return the outputs of rows, shape (n_rows, n_outputs)."""
    hidden = np.asarray(rows, dtype=np.float64) @ structure.weights[0] + structure.biases[0]
    return structure.outputs(as_floats(structure.readout(hidden)))


@dataclass(frozen=True)
class _ReadNetwork:
    """A network that was read.

    Attributes
    ----------
    network : Network
    """

    network: Network

    @property
    def n_features_in_(self) -> int:
        """How many columns it takes."""
        return len(self.network.affine[0].weights)


class NetworkRegressor(_ReadNetwork):
    """A network that was read; what it answers are numbers."""

    def predict(self, rows: NDArray[Any]) -> Floats:
        """Return a number for each row, or one for each output."""
        return _without_single_axis(evaluate(self.structure("prediction"), rows))

    def structure(self, scale: str) -> NetworkStructure:
        """Return the structure; it has one scale."""
        return as_network_structure(self.network.with_last_inside())


class NetworkClassifier(_ReadNetwork):
    """A network that was read; what it answers before its last activation are margins."""

    def decision_function(self, rows: NDArray[Any]) -> Floats:
        """Return a margin for each class, one for two of them."""
        return _without_single_axis(evaluate(self.structure("margin"), rows))

    def predict(self, rows: NDArray[Any]) -> NDArray[np.intp]:
        """Return the number of the likeliest class."""
        return _likeliest(self.decision_function(rows))

    def structure(self, scale: str) -> NetworkStructure:
        """Return the structure of the probabilities, or of the margins."""
        last = self.network.last if scale == "probability" else "identity"
        return as_network_structure(Network(self.network.affine, self.network.activations, last))


@dataclass(frozen=True)
class ProbabilityNetwork(NetworkClassifier):
    """A network that ends in a sigmoid or softmax, so that it has probabilities."""

    def predict_proba(self, rows: NDArray[Any]) -> Floats:
        """Return a probability for each class; one sigmoid stands for the second of two."""
        return evaluate(self.structure("probability"), rows)


@dataclass(frozen=True)
class CalledNetwork(Caller):
    """A network as a function of rows.

    Attributes
    ----------
    model : object
        A module of torch, or a model of Keras.
    call : callable
        How its library asks it.
    """

    model: Any
    call: Callable[[Any, NDArray[Any]], Floats]

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Return what it answers."""
        return self.call(self.model, rows)


@dataclass(frozen=True)
class CalledMargins(CalledNetwork):
    """A network that can only be called, and answers margins."""

    def decision_function(self, rows: NDArray[Any]) -> Floats:
        """Return a margin for each class, one for two of them."""
        return _without_single_axis(self(rows).reshape(len(rows), -1))

    def predict(self, rows: NDArray[Any]) -> NDArray[np.intp]:
        """Return the number of the likeliest class."""
        return _likeliest(self.decision_function(rows))


def _without_single_axis(outputs: Floats) -> Floats:
    """Return one output for each row without an axis of outputs."""
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs


def _likeliest(margins: Floats) -> NDArray[np.intp]:
    """Return the number of the class with the largest margin; the sign tells two apart."""
    if margins.ndim == 1:
        return (margins > 0).astype(np.intp)
    return margins.argmax(axis=1)


@dataclass(frozen=True)
class Library:
    """What is done with the networks of a library.

    Attributes
    ----------
    has, call, read : callable
        Whether a model is one of its networks; what it answers for rows; its layers, or None.
    """

    has: Callable[[Any], bool]
    call: Callable[[Any, NDArray[Any]], Floats]
    read: Callable[[Any, NDArray[Any]], Sequence[Layer] | None]


# On torch, a model of Keras is a module of torch too, but is not asked as one.
LIBRARIES = (
    Library(is_keras_model, call_keras, read_keras),
    Library(is_torch_module, call_module, read_module),
)


def library_of(model: Any) -> Library | None:
    """Return the library of a network; None where a model is none of torch or Keras."""
    return next((library for library in LIBRARIES if library.has(model)), None)


def as_function(model: Any) -> Any:
    """Return a network as a function of rows; every other model, and what has a predict, as it is.

    Keras' own ``predict`` is none of rows: it wants single precision, and prints how far it is.

    Parameters
    ----------
    model : object
    """
    library = library_of(model)
    has_own = hasattr(model, "predict") and not is_keras_model(model)
    return model if library is None or has_own else CalledNetwork(model, library.call)


def read_foreign(model: Any, library: Library, rows: NDArray[Any], task: str) -> Any:
    """Return a network as a model of rows: read where its layers are known, else as a function.

    Parameters
    ----------
    model : object
        A module of torch, or a model of Keras.
    library : Library
    rows : ndarray of shape (n_rows, n_features)
        Rows that it takes.
    task : {"unknown", "classification", "regression"}
        "unknown" asks for the last layer: a sigmoid or softmax classifies.
    """
    rows = rows[:N_COMPARED_ROWS]
    ask = CalledNetwork(model, library.call)
    answers = ask(rows).reshape(len(rows), -1)
    network = _put_together(library.read(model, rows), rows.shape[1])
    if network is None or not _reproduces(network, rows, answers):
        return _as_function(ask, answers, task)
    return _as_model(network, task)


def _put_together(layers: Sequence[Layer] | None, n_inputs: int) -> Network | None:
    if layers is None:
        return None
    try:
        return Network.of(layers, n_inputs)
    except ValueError:  # what is executed in an order of its own need not fit
        return None


def _reproduces(network: Network, rows: NDArray[Any], answers: Floats) -> bool:
    found = evaluate(as_network_structure(network.with_last_inside()), rows)
    allowed = SAME * max(1.0, float(np.abs(answers).max()))
    return found.shape == answers.shape and bool((np.abs(found - answers) <= allowed).all())


def _as_model(network: Network, task: str) -> Any:
    """Return a classifier where the task or the last layer says so."""
    classifier = _CLASSIFIERS[network.last]
    if task == "unknown":
        task = _TASKS[network.last]
    return classifier(network) if task == "classification" else NetworkRegressor(network)


# By what comes last.
_CLASSIFIERS: dict[str, type[NetworkClassifier]] = {
    "identity": NetworkClassifier,
    "logistic": ProbabilityNetwork,
    "softmax": ProbabilityNetwork,
}
_TASKS = {"identity": "regression", "logistic": "classification", "softmax": "classification"}


def _as_function(ask: CalledNetwork, answers: Floats, task: str) -> Any:
    """Return a function of rows; of a classification what are no shares of 1 are margins."""
    if task != "classification" or are_shares(answers):
        return ask
    return CalledMargins(ask.model, ask.call)


def _read(model: Any, scale: str) -> NetworkStructure:
    return model.structure(scale)


FAMILY = Family(
    library="service",
    readers={
        "NetworkClassifier": _read,
        "NetworkRegressor": _read,
        "ProbabilityNetwork": _read,
    },
)
