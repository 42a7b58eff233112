"""The Open Inference Protocol, version 2, with JSON tensors: what KServe and Triton clients
speak.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flask import Blueprint, Response, request
from numpy.typing import NDArray

from service.rows.columns import shown
from service.scoring.request import OPTIONS
from service.strict_json import json_response
from service.version import VERSION
from service.web.bodies import json_object, rows_of_tensors
from service.web.errors import BodyError
from service.web.scoring import Scoring

BINARY = (
    "Inference-Header-Content-Length"  # the header of bodies with binary tensors behind the JSON
)
IMPORTANCES = "local_importance_values"
_DATATYPES = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64"}
_OF_KIND = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}


def routes(scoring: Scoring) -> Blueprint:
    """Make liveness, readiness, metadata and ``infer``."""
    blueprint = Blueprint("open_inference", __name__, url_prefix="/v2")

    @blueprint.get("")
    def server() -> Response:
        return json_response({"name": "scoring-service", "version": VERSION, "extensions": []})

    @blueprint.get("/health/live")
    def live() -> Response:
        return json_response({"live": True})

    @blueprint.get("/health/ready")
    def ready() -> Response:
        return json_response({"ready": scoring.is_ready}, 200 if scoring.is_ready else 503)

    @blueprint.get("/models/<name>/ready")
    @blueprint.get("/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str = "") -> Response:
        scoring.check_name(name)
        return json_response(
            {"name": name, "ready": scoring.is_ready}, 200 if scoring.is_ready else 503
        )

    @blueprint.get("/models/<name>")
    @blueprint.get("/models/<name>/versions/<version>")
    def metadata(name: str, version: str = "") -> Response:
        scoring.check_key()
        scoring.check_name(name)
        return json_response(_metadata(scoring))

    @blueprint.post("/models/<name>/infer")
    @blueprint.post("/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str = "") -> Response:
        scoring.check_key()
        if BINARY in request.headers:
            raise BodyError(
                "Body: expected tensors as JSON, got binary ones; tritonclient sends JSON by binary_data=False."
            )
        text = scoring.read_body()
        scoring.check_name(name)
        body = json_object(text)
        _check_id(body)
        wanted = _wanted(body)
        answer = scoring.run(
            rows_of_tensors(body.get("inputs"), scoring.schema),
            _options(body),
            explain=IMPORTANCES in wanted,
        )
        return json_response(_response(scoring, body, answer, wanted))

    return blueprint


def _metadata(scoring: Scoring) -> dict[str, Any]:
    columns = [] if scoring.schema is None else scoring.schema.columns
    return {
        "name": scoring.settings.model_name,
        "versions": [VERSION],
        "platform": "scikit-learn",
        "inputs": [
            {"name": column.name, "datatype": _OF_KIND.get(column.kind, "BYTES"), "shape": [-1]}
            for column in columns
        ],
        "outputs": [
            {"name": "predictions", "datatype": "FP64", "shape": [-1]},
            {"name": IMPORTANCES, "datatype": "FP64", "shape": [-1, -1, -1]},
        ],
    }


def _wanted(body: Mapping[str, Any]) -> list[str]:
    """Return the names of the outputs that a request lists; none means all that were computed."""
    listed = body.get("outputs") or []
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in listed
    ):
        raise BodyError("Body: expected a list of objects with a name under 'outputs'.")
    return [one["name"] for one in listed]


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
    scoring: Scoring, body: Mapping[str, Any], answer: Any, wanted: list[str]
) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise TypeError(
            f"run() returned {type(answer).__name__}; the Open Inference Protocol needs a dict of outputs"
        )
    unknown = [name for name in wanted if name not in answer]
    if unknown:
        raise BodyError(f"Output {shown(unknown[0])}: expected one of {', '.join(answer)}.")
    named = {
        name: np.asarray(values) for name, values in answer.items() if not wanted or name in wanted
    }
    response = {
        "model_name": scoring.settings.model_name,
        "model_version": VERSION,
        "outputs": [
            _tensor(name, values) for name, values in named.items() if values.dtype.kind in "biufSU"
        ],
    }
    return response if body.get("id") is None else {**response, "id": body["id"]}


def _tensor(name: str, values: NDArray[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": _DATATYPES.get(values.dtype.kind, "BYTES"),
        "shape": list(values.shape),
        "data": values.ravel().tolist(),
    }
