"""What is answered, as tensors of the Open Inference Protocol, and what tensors a model answers.

A tensor of the protocol holds numbers, truth values or text. Whatever else is answered (names with
numbers, values some of which are missing) is one of texts, each of which is JSON, and says so.

Next: :mod:`service.web.protocols.documents`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.rows.columns import Column
from service.scoring.answer import Answer, plain
from service.scoring.scoring_model import ScoringModel
from service.strict_json import strict_json

Tensor = dict[str, Any]

# What marks texts that are JSON, among the parameters of a tensor.
JSON = {"content_type": "application/json"}
_DATATYPES = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64", "U": "BYTES"}
# The types of the values of a list, and the type of an array that holds each of them exactly.
_TYPES: Sequence[tuple[set[type], type]] = (
    ({float}, float),
    ({bool}, bool),
    ({int}, np.int64),
    ({int, float}, float),
    ({str}, str),
)
_OF_KIND = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}
_OF_WIDTH = {
    "float16": "FP16",
    "float32": "FP32",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
}


def output_tensor(name: str, value: Any) -> Tensor:
    """Write what is answered under a name as a tensor.

    Parameters
    ----------
    name : str
    value : array, list or anything else that JSON can express

    Returns
    -------
    dict
        With ``name``, ``datatype``, ``shape`` and ``data``. What is neither numbers nor truth
        values nor text is of datatype BYTES, one text for each item of the outermost list; the
        parameter ``content_type`` says that each is JSON.

    Raises
    ------
    TypeError, ValueError
        When the value holds something that JSON cannot express.

    Examples
    --------
    >>> output_tensor("predictions", [2, 3])
    {'name': 'predictions', 'datatype': 'INT64', 'shape': [2], 'data': [2, 3]}
    >>> output_tensor("predictions", [2.5, None])["data"]
    ['2.5', 'null']
    """
    values = _array(value)
    if values is not None:
        datatype = _DATATYPES[values.dtype.kind]
        shape = list(values.shape) or [1]
        return {"name": name, "datatype": datatype, "shape": shape, "data": values.ravel().tolist()}
    items = plain(value)
    texts = list(map(strict_json, items if isinstance(items, list) else [items]))
    described = {"name": name, "datatype": "BYTES", "shape": [len(texts)], "parameters": JSON}
    return {**described, "data": texts}


def _array(value: Any) -> NDArray[Any] | None:
    """Return numbers, truth values or texts as an array, None where they are something else."""
    if getattr(getattr(value, "dtype", None), "kind", "") in _DATATYPES:
        return np.asarray(value)
    try:
        objects = np.array(plain(value), dtype=object)
        found = set(map(type, objects.ravel().tolist()))
        fitting = next((dtype for types, dtype in _TYPES if found <= types), None)
        return objects.astype(fitting) if fitting else None
    except (ValueError, OverflowError):  # lists of different lengths; an integer beyond 64 bits
        return None


def described_inputs(columns: Sequence[Column]) -> list[Tensor]:
    """Describe the tensors that a model takes: one for each column, as the examples had it.

    Examples
    --------
    >>> import pandas as pd
    >>> described_inputs([Column.of(pd.Series([1.5, 2.5], dtype="float32"), "size")])
    [{'name': 'size', 'datatype': 'FP32', 'shape': [-1]}]
    """
    return [{"name": one.name, "datatype": _datatype(one), "shape": [-1]} for one in columns]


def _datatype(column: Column) -> str:
    """Name the datatype of a column's tensor: of categories that of what they are."""
    if column.width in _OF_WIDTH:
        return _OF_WIDTH[column.width]
    return _OF_KIND.get(column.value_kind, "BYTES")


def described_outputs(model: ScoringModel | None) -> list[Tensor]:
    """Describe the tensors that a model answers, by its answer for the recorded example.

    ``top_importances``, which is answered with the parameter ``top_k`` alone, is not among them.

    Parameters
    ----------
    model : ScoringModel or None
        One that has answered its example; None where the entry script has told nothing.

    Returns
    -------
    list of dict
        With ``name``, ``datatype`` and ``shape``, in which the axis of the rows is -1.
    """
    answer = None if model is None else model.example_answer
    if model is None or answer is None or answer.importances is None:
        return []
    importances = answer.importances
    outputs = [
        _described("predictions", answer.predictions, rows=0),
        _described("local_importance_values", importances.values, rows=-2),
    ]
    if importances.standard_errors is not None:
        outputs.append(_described("standard_errors", importances.standard_errors, rows=-2))
    expected = _described("expected_values", importances.expected_values, rows=None)
    return [*outputs, *_described_probabilities(model, answer), expected]


def _described_probabilities(model: ScoringModel, answer: Answer) -> list[Tensor]:
    if not hasattr(model.original_model, "predict_proba") or answer.predictions.ndim > 1:
        return []
    labels = getattr(model.original_model, "classes_", ())
    n_classes = len(labels) or -1
    return [{"name": "probabilities", "datatype": "FP64", "shape": [-1, n_classes]}]


def _described(name: str, value: Any, rows: int | None) -> Tensor:
    tensor = output_tensor(name, value)
    if rows is not None:
        tensor["shape"][rows] = -1
    return {key: tensor[key] for key in ("name", "datatype", "shape")}
