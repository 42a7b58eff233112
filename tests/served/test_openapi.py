"""GET /swagger.json: a valid document, and what it says is what the service does."""

import json
import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from serving import ROOT

from service.scoring import load
from service.settings import Settings
from service.web.app import create_app


@pytest.fixture(scope="module", params=["service", "regressor_service"])
def documented(request):
    """A running service with its document: three classes of numbers alone, and a regression of
    every kind.
    """
    running = request.getfixturevalue(request.param)
    return running, running.ask("GET", "/swagger.json").json()


def test_the_document_is_openapi_3_1(documented):
    """It passes the validator of the specification."""
    _, document = documented

    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_example_is_answered(documented):
    """The examples are real rows: the routes that show them answer them with 200."""
    running, document = documented
    examples = {
        path: operations["post"]["requestBody"]["content"]["application/json"]["example"]
        for path, operations in document["paths"].items()
        if "example"
        in operations.get("post", {})
        .get("requestBody", {})
        .get("content", {})
        .get("application/json", {})
    }

    assert set(examples) == {
        "/score",
        "/invocations",
        "/v1/models/model:predict",
        "/v1/models/model:explain",
    }
    for path, example in examples.items():
        assert running.ask("POST", path, json.dumps(example)).status == 200


def test_the_columns_are_those_of_the_recorded_schema(regressor_service, mixed_regressor_folder):
    """Names in the model's order, types, and null where a value may be missing."""
    record = regressor_service.ask("GET", "/swagger.json").json()["components"]["schemas"]["Record"]

    assert (
        list(record["properties"])
        == load(mixed_regressor_folder).schema.names
        == record["required"]
    )
    assert record["properties"] == {
        "age": {"type": ["number", "null"]},
        "children": {"type": ["integer"]},
        "member": {"type": ["boolean"]},
        "zip": {"type": ["string"]},
        "grade": {"type": ["string"], "examples": ["low", "mid", "high"]},
        "joined": {"type": ["string", "integer"]},
    }


def test_every_route_is_documented_with_its_methods(iris_folder, monkeypatch):
    """What the application answers and what the document lists are the same; versions of a model
    are one of them.
    """
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(iris_folder))
    app = create_app(Settings(entry_script=ROOT / "score.py"))
    answered = {
        (re.sub(r"<(model:)?name>", "model", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if "<version>" not in rule.rule
    }

    paths = app.test_client().get("/swagger.json").json["paths"]

    assert answered == {
        (path, method) for path, operations in paths.items() for method in operations
    }
