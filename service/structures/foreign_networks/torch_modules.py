"""torch's modules, by duck typing: which layers are executed for a row, and what is in them.

Next: :mod:`service.structures.foreign_networks.keras_models`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
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

ROWS_AT_ONCE = 4_096


def is_torch_module(model: Any) -> bool:
    """Tell whether a model is a module of torch's, or of a class made of one."""
    return any(map(_is_module_class, type(model).__mro__))


def _is_module_class(cls: type) -> bool:
    return cls.__module__.startswith("torch.nn") and cls.__name__ == "Module"


def call_module(module: Any, rows: NDArray[Any]) -> Floats:
    """Ask a module in eval mode, without gradients, some thousand rows at once."""
    torch = import_module("torch")
    like = next(iter(module.parameters()), torch.zeros(1))
    answers = []
    with _evaluating(module), torch.no_grad():
        for start in range(0, len(rows), ROWS_AT_ONCE):
            block = np.array(rows[start : start + ROWS_AT_ONCE], dtype=np.float64)
            tensor = torch.as_tensor(block).to(dtype=like.dtype, device=like.device)
            answers.append(_as_array(module(tensor)))
    return np.concatenate(answers)


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Put a module into eval mode, and back into what it was in."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def _as_array(tensor: Any) -> Floats:
    return as_floats(tensor.detach().cpu().numpy())


def read_module(module: Any, rows: NDArray[Any]) -> list[Layer] | None:
    """Read what a module executes, in order; None where a layer is not known.

    Functions that it calls between its layers are not seen: what is read must be held against it.
    """
    executed: list[Any] = []
    leaves = filter(_is_leaf, module.modules())
    handles = [leaf.register_forward_hook(partial(_record, executed)) for leaf in leaves]
    try:
        call_module(module, rows[:1])
    finally:
        for handle in handles:
            handle.remove()
    return join_layers(map(_read_leaf, executed))


def _is_leaf(module: Any) -> bool:
    return not list(module.children())


def _record(executed: list[Any], leaf: Any, *_: Any) -> None:
    """Note a layer when it has been executed."""
    executed.append(leaf)


def _read_leaf(leaf: Any) -> list[Layer] | None:
    return _READERS.get(type(leaf).__name__, _read_none)(leaf)


def _read_none(_: Any) -> None:
    """Say that a layer is not known."""


def _read_linear(layer: Any) -> list[Layer]:
    weights = _as_array(layer.weight).T
    biases = np.zeros(weights.shape[1])
    if layer.bias is not None:
        biases = _as_array(layer.bias)
    return [Affine(weights, biases)]


def _read_normalization(layer: Any) -> list[Layer]:
    """Read a batch normalization with the statistics that it has learned."""
    scaled = normalization(_as_array(layer.running_mean), _as_array(layer.running_var), layer.eps)
    if layer.weight is None:
        return [scaled]
    return [scaled, scaling(_as_array(layer.weight), _as_array(layer.bias))]


def _read_nothing(_: Any) -> list[Layer]:
    """Read a layer that changes nothing when it is asked."""
    return []


def _activation(name: str) -> Callable[[Any], list[Layer]]:
    return lambda layer: [name]


_READERS: dict[str, Callable[[Any], list[Layer] | None]] = {
    "AlphaDropout": _read_nothing,
    "BatchNorm1d": _read_normalization,
    "Dropout": _read_nothing,
    "Flatten": _read_nothing,
    "Identity": _read_nothing,
    "Linear": _read_linear,
    "ReLU": _activation("relu"),
    "Sigmoid": _activation("logistic"),
    "Softmax": _activation("softmax"),
    "Tanh": _activation("tanh"),
}
