"""The OpenAPI 3.1 document of the service, made from the recorded schema and a real example.

Next: :mod:`service.web.protocols.path_prefix`.
"""

from collections.abc import Iterable
from typing import Any

from service.rows.columns import Column
from service.rows.json_rows import SIBLINGS, WRAPPER_KEYS
from service.scoring.scoring_model import ScoringModel
from service.settings import Settings
from service.version import VERSION

Json = dict[str, Any]

_TYPES = {
    "number": ["number"],
    "integer": ["integer"],
    "boolean": ["boolean"],
    "date": ["string", "integer"],
    "datetime": ["string", "integer"],
}
_OF_INFINITY: dict[bool, list[str]] = {False: [], True: ["string"]}
_REASONS = {
    400: "The body, or an option, does not fit; the message says where.",
    401: "A key is needed.",
    404: "No model of this name.",
    405: "The route does not take this method.",
    406: "The answer is not written in a form that Accept takes.",
    408: "The body did not arrive in time.",
    413: "Too many bytes or rows.",
    415: "The body's form, encoding or charset is not read here.",
    429: "Too many requests in flight; see Retry-After.",
    500: "The service failed; its log tells more under the id.",
    503: "Starting, or about to stop.",
    504: "The answer took too long.",
}
_SCORING_REFUSALS = (400, 401, 405, 408, 413, 415, 429, 500, 503, 504)
_AXES = (
    "Local importances: [class][row][feature] for a classifier, classes in predict_proba's column "
    "order; [row][feature] for a regressor; [target][row][feature] for one with several targets."
)
_NULLABLE_NUMBER: Json = {"type": ["number", "null"]}
_TENSOR: Json = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string"},
        "data": {"type": "array"},
    },
}


def openapi_document(model: ScoringModel | None, settings: Settings) -> Json:
    """Describe every route.

    Parameters
    ----------
    model : ScoringModel or None
        Gives the columns, the classes and an example; without it rows are any JSON.
    settings : Settings
        Gives the model's name, and whether keys are needed.
    """
    columns = () if model is None else model.schema.columns
    example = None if model is None else model.scoring_explainer.example
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Scoring service: {settings.model_name}",
            "version": VERSION,
            "description": f"Predictions with the reasons for them. {_AXES}{_described(model)}",
        },
        "servers": [{"url": settings.path_prefix or "/"}],
        "paths": _paths(settings.model_name, example),
        "components": {"schemas": {**_rows_schemas(columns), **_ANSWERS}, "responses": _refusals()},
    }
    if settings.keys_file is not None:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        for path in _OPEN_PATHS:
            document["paths"][path.format(name=settings.model_name)]["get"]["security"] = []
    return document


_OPEN_PATHS = (
    "/",
    "/ping",
    "/health",
    "/version",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v1/models",
    "/v1/models/{name}",
    "/v2/models/{name}/ready",
)


def _described(model: ScoringModel | None) -> str:
    if model is None:
        return ""
    explainer = model.scoring_explainer
    classes = (
        ""
        if explainer.classes is None
        else f" Classes, in order: {', '.join(map(str, explainer.classes))}."
    )
    return f" Scale of the importances: {explainer.output}; method: {explainer.method}.{classes}"


def _paths(name: str, example: Json | None) -> Json:
    rows = {"$ref": "#/components/schemas/Rows"}
    by_column = (
        None if example is None else {column: {"0": value} for column, value in example.items()}
    )
    records = None if example is None else [example]
    return {
        "/": {"get": _get("Liveness", {"text/plain": {"schema": {"const": "Healthy"}}})},
        "/ping": {"get": _get("Readiness", _json("Status"), 503)},
        "/health": {"get": _get("Readiness", _json("Status"), 503)},
        "/version": {
            "get": _get("Version of the service", {"text/plain": {"schema": {"type": "string"}}})
        },
        "/score": {
            "get": {
                **_get(
                    "The same, of a body that stands in the query",
                    _json("Answer"),
                    *_SCORING_REFUSALS,
                ),
                "parameters": [_IN_QUERY],
            },
            "post": _post(
                "Predictions and local importances", rows, by_column, "Answer", options=True
            ),
        },
        "/invocations": {
            "post": _post(
                "Predictions; importances with explain=true",
                rows,
                records,
                "Answer",
                406,
                options=True,
                lines=True,
            )
        },
        "/v1/models": {"get": _get("Names of the models", _json("Names"))},
        f"/v1/models/{name}": {"get": _get("Readiness of the model", _json("Ready"), 503)},
        f"/v1/models/{name}:predict": {
            "post": _post(
                "Predictions", rows, _wrapped("instances", records), "Answer", options=True
            )
        },
        f"/v1/models/{name}:explain": {
            "post": _post(
                "Predictions and local importances",
                rows,
                _wrapped("instances", records),
                "Answer",
                options=True,
            )
        },
        "/v2": {"get": _get("The server", _json("Server"))},
        "/v2/health/live": {"get": _get("Liveness", _json("Live"))},
        "/v2/health/ready": {"get": _get("Readiness", _json("ReadyAlone"), 503)},
        f"/v2/models/{name}": {
            "get": _get("Inputs and outputs of the model", _json("Metadata"), 401)
        },
        f"/v2/models/{name}/ready": {"get": _get("Readiness of the model", _json("Ready"), 503)},
        f"/v2/models/{name}/infer": {
            "post": _post(
                "Tensors in, tensors out",
                {"$ref": "#/components/schemas/Tensors"},
                None,
                "TensorAnswer",
            )
        },
        "/swagger.json": {
            "get": _get(
                "This document", {"application/json": {"schema": {"type": "object"}}}, 401, 429
            )
        },
        "/metrics": {
            "get": _get(
                "Prometheus metrics", {"text/plain": {"schema": {"type": "string"}}}, 401, 429
            )
        },
    }


_IN_QUERY = {
    "name": "data",
    "in": "query",
    "required": False,
    "schema": {"type": "string"},
    "description": "Rows, as JSON; other members of a body are taken by their names too",
}
# A line for each row.
_IN_LINES: Json = {
    "text/csv": {"schema": {"type": "string"}},
    "application/jsonlines": {"schema": {"type": "string"}},
}


def _wrapped(key: str, value: Any) -> Json | None:
    return None if value is None else {key: value}


def _json(schema: str) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _get(summary: str, content: Json, *refusals: int) -> Json:
    return {"summary": summary, "responses": _responses(content, (405, 500, *refusals))}


def _post(
    summary: str,
    body: Json,
    example: Any,
    answer: str,
    *refusals: int,
    options: bool = False,
    lines: bool = False,
) -> Json:
    media: Json = {"schema": body} if example is None else {"schema": body, "example": example}
    in_lines = _IN_LINES if lines else {}
    answers = {**_json(answer), **in_lines}
    operation = {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": media, **in_lines}},
        "responses": _responses(answers, (*_SCORING_REFUSALS, *refusals)),
    }
    return {**operation, "parameters": _OPTIONS} if options else operation


def _responses(content: Json, refusals: Iterable[int]) -> Json:
    documented = {
        str(code): {"$ref": f"#/components/responses/{code}"} for code in sorted(refusals)
    }
    return {"200": {"description": "The answer", "content": content}, **documented}


def _refusals() -> Json:
    return {
        str(code): {"description": reason, "content": _json("Refusal")}
        for code, reason in _REASONS.items()
    }


def _option(name: str, schema: Json, meaning: str) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "schema": schema,
        "description": meaning,
    }


_FLAG = {"type": "string", "enum": ["true", "false", "1", "0"]}
_OPTIONS = [
    _option("explain", _FLAG, "Whether to compute local importances"),
    _option(
        "top_k",
        {"type": "integer", "minimum": 1, "maximum": 999_999_999},
        "So many named largest importances of each row",
    ),
    _option("top_class", {"type": "string"}, "Of which class they are; by default the predicted"),
    _option(
        "standard_errors", _FLAG, "Standard errors of the importances; null where they are exact"
    ),
    _option("expected_values", _FLAG, "The model's mean output over the background"),
    _option("probabilities", _FLAG, "predict_proba, [row][class]"),
    _option("named", _FLAG, "Names of classes, features and rows, and what the numbers are"),
    _option(
        "id_columns",
        {"type": "string"},
        "Columns that are not the model's and come back as row_ids, with commas between them",
    ),
]

_ANSWERS: Json = {
    "Answer": {
        "type": "object",
        "required": ["predictions"],
        "properties": {
            "predictions": {"type": "array", "description": "One for each row, in the order sent"},
            "local_importance_values": {"type": "array", "description": _AXES},
            "probabilities": {
                "type": "array",
                "items": {"type": "array", "items": _NULLABLE_NUMBER},
            },
            "standard_errors": {
                "type": ["array", "null"],
                "description": "Of the shape of local_importance_values",
            },
            "expected_values": {"type": ["array", "number"]},
            "top_importances": {
                "type": "array",
                "description": (
                    "For each row the largest importances by name: those of the predicted class; "
                    "for each target or label where several are predicted at once"
                ),
            },
            "new_categories": {
                "type": "array",
                "items": {"type": "array", "items": {"type": "string"}},
                "description": (
                    "For each row the columns with a category that the examples did not have; "
                    "left out where no row has one"
                ),
            },
            "row_ids": {
                "type": "array",
                "description": (
                    "For each row its id_columns, or with named=true the label that it came with, "
                    "else its number"
                ),
            },
            "classes": {"type": "array", "description": "Names along the axis of the classes"},
            "predicted_classes": {
                "type": "array",
                "items": {"type": ["string", "null"]},
                "description": "Names of the predictions; null for what is no label of a class",
            },
            "probabilities_by_class": {"type": ["array", "null"], "items": {"type": "object"}},
            "features": {"type": "array", "description": "Names along the last axis"},
            "output": {"enum": ["probability", "margin", "prediction"]},
            "method": {"type": "string"},
            "exactness": {
                "type": "string",
                "description": (
                    "exact, sampled, or exact on a sample or summary of the background"
                ),
            },
        },
    },
    "Refusal": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("message", "error", "error_code")},
        "additionalProperties": False,
    },
    "Status": {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"const": "ready"}},
    },
    "Ready": {
        "type": "object",
        "required": ["name", "ready"],
        "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}},
    },
    "ReadyAlone": {
        "type": "object",
        "required": ["ready"],
        "properties": {"ready": {"type": "boolean"}},
    },
    "Live": {"type": "object", "required": ["live"], "properties": {"live": {"type": "boolean"}}},
    "Names": {
        "type": "object",
        "required": ["models"],
        "properties": {"models": {"type": "array", "items": {"type": "string"}}},
    },
    "Server": {
        "type": "object",
        "required": ["name", "version", "extensions"],
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "extensions": {"type": "array"},
        },
    },
    "Metadata": {
        "type": "object",
        "required": ["name", "versions", "platform", "inputs", "outputs"],
        "properties": {
            "name": {"type": "string"},
            "inputs": {"type": "array"},
            "outputs": {"type": "array"},
        },
    },
    "Tensors": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "minItems": 1, "items": _TENSOR},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
            "parameters": {"type": "object"},
        },
    },
    "TensorAnswer": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {"outputs": {"type": "array", "items": _TENSOR}},
    },
}


def _rows_schemas(columns: Iterable[Column]) -> Json:
    """Describe rows in every form that is read; any JSON where the columns are not known."""
    cells = {column.name: _cell(column) for column in columns}
    if not cells:
        return {"Rows": {"type": ["object", "array"]}}
    record = {
        "type": "object",
        "required": list(cells),
        "properties": cells,
        "additionalProperties": False,
    }
    values = {
        "type": "array",
        "prefixItems": list(cells.values()),
        "minItems": len(cells),
        "maxItems": len(cells),
    }
    by_column = {
        name: {
            "anyOf": [
                {"type": "array", "items": cell},
                {"type": "object", "additionalProperties": cell},
            ]
        }
        for name, cell in cells.items()
    }
    return {
        "Record": record,
        "Records": {
            "type": "array",
            "minItems": 1,
            "items": {"$ref": "#/components/schemas/Record"},
        },
        "Lists": {
            "type": "array",
            "minItems": 1,
            "items": values,
            "description": "Values in the model's order",
        },
        "Columns": {
            **record,
            "properties": by_column,
            "description": "DataFrame.to_json(): {column: {index: value}}",
        },
        "Split": {
            "type": "object",
            "required": ["columns", "data"],
            "properties": {
                "columns": {"type": "array"},
                "index": {"type": "array"},
                "data": {"type": "array"},
            },
            "additionalProperties": False,
        },
        "ByLabel": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"$ref": "#/components/schemas/Record"},
            "description": "DataFrame.to_json(orient='index'): {label: {column: value}}",
        },
        "WithSchema": {
            "type": "object",
            "required": ["schema", "data"],
            "properties": {
                "schema": {"type": "object"},
                "data": {"type": "array", "items": {"type": "object"}},
            },
            "additionalProperties": False,
            "description": "DataFrame.to_json(orient='table')",
        },
        "Table": {"anyOf": list(map(_reference, _FORMS))},
        "Named": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {"anyOf": list(map(_reference, _NAMED_FORMS))},
            "description": "Rows under the name of an input, as {'Inputs': {'data': rows}}",
        },
        "Rows": {"anyOf": [{"$ref": "#/components/schemas/Table"}, *_wrapped_tables()]},
    }


_FORMS = ("Columns", "Records", "Lists", "Split", "ByLabel", "WithSchema")
_NAMED_FORMS = ("Records", "Lists")


def _reference(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _wrapped_tables() -> list[Json]:
    table = {"anyOf": [_reference("Table"), _reference("Named")]}
    beside = {name: {"enum": list(values)} for name, values in SIBLINGS.items()}
    return [
        {
            "type": "object",
            "required": [key],
            "properties": {key: table, **beside},
            "additionalProperties": False,
        }
        for key in WRAPPER_KEYS
    ]


def _cell(column: Column) -> Json:
    missing: list[Any] = [None] if column.nullable else []
    types = [*_TYPES.get(column.value_kind, ["string"]), *_OF_INFINITY[column.takes_infinity]]
    cell: Json = {"type": [*types, "null"] if column.nullable else types}
    if column.vocabulary is None:
        return cell
    known = [*map(column.plain, column.vocabulary.categories), *missing]
    return {**cell, "examples": known} if column.takes_new else {"enum": known}
