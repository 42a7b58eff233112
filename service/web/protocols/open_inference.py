"""The Open Inference Protocol, version 2, with JSON tensors: for clients of KServe and Triton.

Next: :mod:`service.web.protocols.output_tensors`.
"""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request

from service.rows.tensors import rows_of_tensors
from service.rows.values import shown
from service.scoring.answer import Answer
from service.scoring.request import OPTIONS
from service.version import VERSION
from service.web.bodies import json_object
from service.web.errors import BodyError
from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response
from service.web.protocols.output_tensors import (
    described_inputs,
    described_outputs,
    output_tensor,
)

# The header of bodies with binary tensors behind the JSON.
BINARY = "Inference-Header-Content-Length"
IMPORTANCES = "local_importance_values"
NAMED_LARGEST = "top_importances"
BY_NAME = {"standard_errors", "expected_values", "probabilities"}  # outputs that are options too
EXPLAINED = {IMPORTANCES, NAMED_LARGEST, "standard_errors"}  # outputs that need an explanation


def routes(script: GuardedScript) -> Blueprint:
    """Make liveness, readiness, metadata and ``infer``."""
    blueprint = Blueprint("open_inference", __name__, url_prefix="/v2")

    @blueprint.get("")
    def server() -> Response:
        about = {"name": "scoring-service", "version": VERSION, "extensions": []}
        model = script.entry_script.model
        if model is not None:
            about["kernels"] = model.scoring_explainer.kernels
        return json_response(about)

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
            _options(script, body, wanted),
            explain=not EXPLAINED.isdisjoint(wanted),
        )
        return json_response(_response(script, body, answer, wanted))

    return blueprint


def _metadata(script: GuardedScript) -> dict[str, Any]:
    columns = () if script.schema is None else script.schema.columns
    registered = [origin.facts() for origin in script.origins]
    return {
        "name": script.settings.model_name,
        "versions": [VERSION],
        "platform": "scikit-learn",
        "inputs": described_inputs(columns),
        "outputs": described_outputs(script.entry_script.model),
        **({"registered_models": registered} if registered else {}),
    }


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


def _options(script: GuardedScript, body: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
    """Take this service's options from the parameters, and from the outputs that are asked for.

    Parameters of others are theirs.
    """
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BodyError("Body: expected an object under 'parameters'.")
    options = {name: value for name, value in parameters.items() if name in OPTIONS}
    if script.entry_script.takes_request:
        options = _named_options(wanted, options)
    return options


def _named_options(wanted: list[str], options: dict[str, Any]) -> dict[str, Any]:
    if NAMED_LARGEST in wanted and "top_k" not in options:
        raise BodyError(f"Output {NAMED_LARGEST!r}: expected with the parameter top_k, got none.")
    return dict.fromkeys(BY_NAME & {*wanted}, True) | options


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
            outputs.append(output_tensor(name, _value(answer, name)))
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


def _value(answer: Mapping[str, Any], name: str) -> Any:
    """Return what is answered under a name: of an answer of ours its array."""
    value = answer.arrays[name] if isinstance(answer, Answer) else answer[name]
    if value is None and name in BY_NAME:
        raise BodyError(
            f"Output {name!r}: expected of importances that have some, but these are computed "
            "exactly, or without an estimate of their error; leave it out."
        )
    return value
