"""KServe's first protocol: ``{"instances": [...]}`` in, ``{"predictions": [...]}`` out."""

from typing import Any

from flask import Blueprint, Response
from werkzeug.routing import BaseConverter

from service.strict_json import json_response
from service.web.scoring import Scoring


class _ModelName(BaseConverter):
    """A name up to the colon of a verb: GET on a verb is a wrong method, and no model of that
    name.
    """

    regex = "[^/:]+"
    part_isolating = True


def routes(scoring: Scoring) -> Blueprint:
    """Make the list of models, the model's readiness, and its two verbs; Werkzeug has decoded a
    ``%3A`` by then.
    """
    blueprint = Blueprint("kserve_v1", __name__, url_prefix="/v1/models")
    blueprint.record(lambda state: state.app.url_map.converters.update(model=_ModelName))

    @blueprint.get("")
    def models() -> Response:
        return json_response({"models": [scoring.settings.model_name]})

    @blueprint.get("/<model:name>")
    def model(name: str) -> Response:
        scoring.check_name(name)
        return json_response(
            {"name": name, "ready": scoring.is_ready}, 200 if scoring.is_ready else 503
        )

    @blueprint.post("/<model:name>:predict")
    def predict(name: str) -> Response:
        return json_response(_answer(name, explain=False))

    @blueprint.post("/<model:name>:explain")
    def explain(name: str) -> Response:
        return json_response(_answer(name, explain=True))

    def _answer(name: str, *, explain: bool) -> Any:
        text = scoring.read_body()
        scoring.check_name(name)
        return scoring.run(text, scoring.query(), explain=explain)

    return blueprint
