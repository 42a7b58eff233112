"""The Open Inference Protocol, version 2, with JSON tensors: for clients of KServe and Triton.

Next: :mod:`service.web.protocols.documents`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flask import Blueprint, Response, request
from numpy.typing import NDArray

from service.rows.columns import Column
from service.rows.tensors import rows_of_tensors
from service.rows.values import shown
from service.scoring.answer import Answer
from service.scoring.request import OPTIONS
from service.version import VERSION
from service.web.bodies import json_object
from service.web.errors import BodyError
from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response

# The header of bodies with binary tensors behind the JSON.
BINARY = "Inference-Header-Content-Length"
IMPORTANCES = "local_importance_values"
_KINDS = "biufSU"  # of arrays that are tensors: numbers and text
_DATATYPES = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64"}
_OF_KIND = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}


def routes(script: GuardedScript) -> Blueprint:
    """Make liveness, readiness, metadata and ``infer``."""
    blueprint = Blueprint("open_inference", __name__, url_prefix="/v2")

    @blueprint.get("")
    def server() -> Response:
        return json_response({"name": "scoring-service", "version": VERSION, "extensions": []})

    @blueprint.get("/health/live")
    def live() -> Response:
        return json_response({"live": script.is_live}, 200 if script.is_live else 503)

    @blueprint.get("/health/ready")
    def ready() -> Response:
        return json_response({"ready": script.is_ready}, 200 if script.is_ready else 503)

    @blueprint.get("/models/<name>/ready")
    @blueprint.get("/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str = "") -> Response:
        script.check_name(name)
        return json_response(
            {"name": name, "ready": script.is_ready}, 200 if script.is_ready else 503
        )

    @blueprint.get("/models/<name>")
    @blueprint.get("/models/<name>/versions/<version>")
    def metadata(name: str, version: str = "") -> Response:
        script.check_key()
        script.check_name(name)
        return json_response(_metadata(script))

    @blueprint.post("/models/<name>/infer")
    @blueprint.post("/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str = "") -> Response:
        script.check_key()
        if BINARY in request.headers:
            raise BodyError(
                "Body: expected tensors as JSON, got binary ones; tritonclient sends JSON by "
                "binary_data=False."
            )
        text = script.read_body()
        script.check_name(name)
        body = json_object(text)
        _check_id(body)
        wanted = _wanted(body)
        answer = script.run(
            rows_of_tensors(body.get("inputs"), script.schema),
            _options(body),
            explain=IMPORTANCES in wanted,
        )
        return json_response(_response(script, body, answer, wanted))

    return blueprint


def _metadata(script: GuardedScript) -> dict[str, Any]:
    columns = [] if script.schema is None else script.schema.columns
    return {
        "name": script.settings.model_name,
        "versions": [VERSION],
        "platform": "scikit-learn",
        "inputs": [
            {"name": column.name, "datatype": _datatype(column), "shape": [-1]}
            for column in columns
        ],
        "outputs": [
            {"name": "predictions", "datatype": "FP64", "shape": [-1]},
            {"name": IMPORTANCES, "datatype": "FP64", "shape": [-1, -1, -1]},
        ],
    }


def _datatype(column: Column) -> str:
    """Name the datatype of a column's tensor: of categories that of what they are."""
    return _OF_KIND.get(column.value_kind, "BYTES")


def _wanted(body: Mapping[str, Any]) -> list[str]:
    """Return the names of the outputs that a request lists; none means all that were computed."""
    listed = body.get("outputs") or []
    if not isinstance(listed, list) or not all(map(_has_name, listed)):
        raise BodyError("Body: expected a list of objects with a name under 'outputs'.")
    return [output["name"] for output in listed]


def _has_name(output: Any) -> bool:
    return isinstance(output, dict) and isinstance(output.get("name"), str)


def _check_id(body: Mapping[str, Any]) -> None:
    if not isinstance(body.get("id"), str | None):
        raise BodyError(f"Body: expected a string under 'id', got {shown(body['id'])}.")


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Take this service's options from the parameters; those of others are theirs."""
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BodyError("Body: expected an object under 'parameters'.")
    return {name: value for name, value in parameters.items() if name in OPTIONS}


def _response(
    script: GuardedScript, body: Mapping[str, Any], answer: Any, wanted: list[str]
) -> dict[str, Any] | Response:
    if isinstance(answer, Response):
        return answer
    if not isinstance(answer, Mapping):
        raise TypeError(
            f"run() returned {type(answer).__name__}; the Open Inference Protocol needs a dict of "
            "outputs"
        )
    _check_outputs(wanted, answer)
    outputs = []
    for name in answer:
        if not wanted or name in wanted:
            values = _array(answer, name)
            if values.dtype.kind in _KINDS:
                outputs.append(_tensor(name, values))
    response = {
        "model_name": script.settings.model_name,
        "model_version": VERSION,
        "outputs": outputs,
    }
    return response if body.get("id") is None else {**response, "id": body["id"]}


def _check_outputs(wanted: list[str], answer: Mapping[str, Any]) -> None:
    for name in wanted:
        if name not in answer:
            raise BodyError(f"Output {shown(name)}: expected one of {', '.join(answer)}.")


def _array(answer: Mapping[str, Any], name: str) -> NDArray[Any]:
    """Return what is answered under a name as an array, which an answer of ours has already.

    An array of objects becomes one of text or numbers where it holds nothing else: what a
    classifier predicts whose labels are words.
    """
    if not isinstance(answer, Answer):
        value = answer[name]
        return np.asarray(None if isinstance(value, Mapping) else value)  # an object is no tensor
    values = np.asarray(answer.arrays[name])
    return np.asarray(values.tolist()) if values.dtype == object else values


def _tensor(name: str, values: NDArray[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": _DATATYPES.get(values.dtype.kind, "BYTES"),
        "shape": list(values.shape),
        "data": values.ravel().tolist(),
    }
