"""KServe's first protocol: ``{"instances": [...]}`` in, ``{"predictions": [...]}`` out.

Next: :mod:`service.web.protocols.open_inference`.
"""

from typing import Any

from flask import Blueprint, Response
from werkzeug.routing import BaseConverter

from service.web.guarded_script import GuardedScript
from service.web.json_response import json_response


class _ModelName(BaseConverter):
    """A name up to the colon of a verb: GET on a verb is a wrong method, not another model."""

    regex = "[^/:]+"
    part_isolating = True


def routes(script: GuardedScript) -> Blueprint:
    """Make the list of models, the model's readiness, and its verbs, with ``:`` or ``%3A``."""
    blueprint = Blueprint("kserve_v1", __name__, url_prefix="/v1/models")
    blueprint.record(lambda state: state.app.url_map.converters.update(model=_ModelName))

    @blueprint.get("")
    def models() -> Response:
        return json_response({"models": [script.settings.model_name]})

    @blueprint.get("/<model:name>")
    def model(name: str) -> Response:
        script.check_name(name)
        return json_response(
            {"name": name, "ready": script.is_ready}, 200 if script.is_ready else 503
        )

    @blueprint.post("/<model:name>:predict")
    def predict(name: str) -> Response:
        return json_response(_answer(name, explain=False))

    @blueprint.post("/<model:name>:explain")
    def explain(name: str) -> Response:
        return json_response(_answer(name, explain=True))

    def _answer(name: str, *, explain: bool) -> Any:
        text = script.read_body()
        script.check_name(name)
        return script.run(text, script.query(), explain=explain)

    return blueprint
