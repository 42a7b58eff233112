"""Every route in detail, on a real gunicorn: the same rows in each protocol's own words."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from conftest import saved
from serving import FORM, JSON, serving, strict
from sklearn.linear_model import LinearRegression

from service.scoring import load
from service.shapley import kernels
from service.version import VERSION

INFER = "/v2/models/model/infer"
DATATYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}


@pytest.fixture(scope="module")
def breast_cancer_service(breast_cancer_folder, tmp_path_factory):
    """The calibrated machine of the documents' example."""
    with serving(
        tmp_path_factory.mktemp("service"), AZUREML_MODEL_DIR=str(breast_cancer_folder)
    ) as running:
        yield running


@pytest.fixture(params=["classifier", "regressor"])
def asked(request, mixed):
    """A service for rows of every kind with the numbers that it must answer: its model's and its
    explainer's own.
    """
    explainer = load(request.getfixturevalue(f"mixed_{request.param}_folder"))
    predictions = getattr(mixed, request.param).predict(mixed.rows).tolist()
    return (
        request.getfixturevalue(f"{request.param}_service"),
        predictions,
        explainer.explain(mixed.rows),
    )


def records(frame):
    return json.loads(frame.to_json(orient="records", date_format="iso"))


def tensors(frame, schema):
    """A tensor for each column, the shape [n] and [n, 1] in turn."""
    rows = records(frame)
    return [
        {
            "name": column.name,
            "shape": [len(rows)] if place % 2 else [len(rows), 1],
            "datatype": DATATYPES.get(column.kind, "BYTES"),
            "data": [row[column.name] for row in rows],
        }
        for place, column in enumerate(schema.columns)
    ]


def infer(service, body):
    return service.ask("POST", INFER, json.dumps(body))


# The same rows, everywhere


def test_score_answers_rows_of_every_kind(asked, mixed):
    """A missing number, integers, booleans, text, categories and dates, as df.to_json() writes
    them.
    """
    service, predictions, importances = asked

    for orient in ("columns", "records", "split", "values"):
        body = mixed.rows.to_json(orient=orient, date_format="iso")
        assert service.score(body).json() == {
            "predictions": predictions,
            "local_importance_values": importances,
        }


def test_dates_may_be_milliseconds(asked, mixed):
    """What to_json() of today's pandas writes by default."""
    service, predictions, _ = asked
    body = records(mixed.rows)
    for record, date in zip(body, mixed.rows["joined"], strict=True):
        record["joined"] = int(date.timestamp() * 1000)

    assert service.score(json.dumps(body), query="?explain=false").json() == {
        "predictions": predictions
    }


def test_the_documents_model_has_its_own_numbers(
    breast_cancer_service, breast_cancer, breast_cancer_folder
):
    """Predictions, and importances as [class][row][feature]."""
    answer = breast_cancer_service.score(breast_cancer.rows.to_json()).json()

    assert answer["predictions"] == breast_cancer.model.predict(breast_cancer.rows).tolist()
    assert answer["local_importance_values"] == load(breast_cancer_folder).explain(
        breast_cancer.rows
    )
    assert np.shape(answer["local_importance_values"]) == (2, 4, 30)


def test_invocations_predicts_and_explains_on_request(asked, mixed):
    """MLflow's and SageMaker's route: predictions alone, importances with explain=true."""
    service, predictions, importances = asked
    split = json.dumps(
        {"dataframe_split": json.loads(mixed.rows.to_json(orient="split", date_format="iso"))}
    )

    alone, explained = (
        service.ask("POST", f"/invocations{query}", split) for query in ("", "?explain=true")
    )

    assert alone.json() == {"predictions": predictions}
    assert explained.json() == {"predictions": predictions, "local_importance_values": importances}


@pytest.mark.parametrize("content_type", ["text/csv", "application/csv", "text/csv; charset=utf-8"])
@pytest.mark.parametrize("header", [True, False])
def test_invocations_reads_csv_where_it_is_declared(asked, mixed, header, content_type):
    """With a header in any order of columns, or without one in the model's; an empty cell is a
    missing value.
    """
    service, predictions, _ = asked
    frame = mixed.rows[mixed.rows.columns[::-1]] if header else mixed.rows

    answer = service.ask(
        "POST", "/invocations", frame.to_csv(index=False, header=header), content_type
    )

    assert answer.json() == {"predictions": predictions}


def test_csv_is_not_guessed(asked, mixed):
    """CSV that is not declared is no JSON; a cell that does not fit is named with its column and
    row.
    """
    service, _, _ = asked
    text = mixed.rows.to_csv(index=False)
    lines = list(csv.reader(io.StringIO(text)))
    lines[2][1] = "1_000"
    wrong = "\n".join(",".join(line) for line in lines)

    undeclared = service.ask("POST", "/invocations", text, JSON)
    misfit = service.ask("POST", "/invocations", wrong, "text/csv")

    assert (undeclared.status, undeclared.json()["error_code"]) == (400, "BAD_REQUEST")
    assert misfit.json()["message"] == "Column 'children', row 1: expected an integer, got '1_000'."


@pytest.mark.parametrize("colon", [":", "%3A", "%3a"])
def test_kserves_first_protocol(asked, mixed, colon):
    """:predict and :explain, the colon as it is or percent-encoded; instances are records or
    lists.
    """
    service, predictions, importances = asked
    lists = [list(record.values()) for record in records(mixed.rows)]

    for instances in (records(mixed.rows), lists):
        body = json.dumps({"instances": instances})
        predicted, explained = (
            service.ask("POST", f"/v1/models/model{colon}{verb}", body)
            for verb in ("predict", "explain")
        )
        assert predicted.json() == {"predictions": predictions}
        assert explained.json() == {
            "predictions": predictions,
            "local_importance_values": importances,
        }


def test_a_tensor_for_each_column(asked, mixed, mixed_classifier_folder):
    """FP64, INT64, BOOL and BYTES in any order; the answer has the id, and importances when they
    are asked for.
    """
    service, predictions, importances = asked
    sent = tensors(mixed.rows, load(mixed_classifier_folder).schema)[::-1]
    wanted = [{"name": "local_importance_values"}, {"name": "predictions"}]

    alone, explained, by_parameter = (
        infer(service, {"id": "é7", "inputs": sent, **more}).json()
        for more in (
            {},
            {"outputs": wanted},
            {"parameters": {"explain": True, "binary_data_output": False}},
        )
    )

    datatype = "BYTES" if isinstance(predictions[0], str) else "FP64"
    output = {"name": "predictions", "datatype": datatype, "shape": [4], "data": predictions}
    assert alone == {
        "model_name": "model",
        "model_version": VERSION,
        "outputs": [output],
        "id": "é7",
    }
    assert explained == by_parameter
    by_name = {one["name"]: one for one in explained["outputs"]}
    values = by_name["local_importance_values"]
    assert values["shape"] == list(np.shape(importances))
    assert np.reshape(values["data"], values["shape"]).tolist() == importances


@pytest.mark.parametrize("datatype", ["FP64", "FP32"])
def test_one_tensor_of_all_columns(service, iris_model, four_rows, datatype):
    """A matrix in the model's order, its data flat or nested; without an id there is none in the
    answer.
    """
    matrix = four_rows.to_numpy()
    for data in (matrix.ravel().tolist(), matrix.tolist()):
        tensor = {"name": "anything", "shape": [4, 4], "datatype": datatype, "data": data}
        answer = infer(service, {"inputs": [tensor]}).json()
        assert "id" not in answer
        assert answer["outputs"][0]["data"] == iris_model.predict(four_rows).tolist()
        assert answer["outputs"][0]["datatype"] == "INT64"


def test_booleans_may_come_as_numbers_where_the_tensor_says_so(
    regressor_service, mixed, mixed_regressor_folder
):
    """BOOL tensors of 0 and 1 are true and false."""
    sent = tensors(mixed.rows, load(mixed_regressor_folder).schema)
    expected = infer(regressor_service, {"inputs": sent})
    (flags,) = (one for one in sent if one["datatype"] == "BOOL")
    flags["data"] = [int(flag) for flag in flags["data"]]

    assert expected.status == 200
    assert infer(regressor_service, {"inputs": sent}).body == expected.body


# What describes the service


def test_metadata_of_the_open_inference_protocol(regressor_service, mixed):
    """The server, and the model's tensors, under a version's path too."""
    server = regressor_service.ask("GET", "/v2").json()
    plain = regressor_service.ask("GET", "/v2/models/model")
    versioned = regressor_service.ask("GET", f"/v2/models/model/versions/{VERSION}")

    about = {"name": "scoring-service", "version": VERSION, "extensions": []}
    assert server == {**about, "kernels": kernels.current.name}
    assert plain.body == versioned.body
    assert plain.json()["versions"] == [VERSION]
    assert [(one["name"], one["datatype"]) for one in plain.json()["inputs"]] == [
        ("age", "FP64"),
        ("children", "INT64"),
        ("member", "BOOL"),
        ("zip", "BYTES"),
        ("grade", "BYTES"),
        ("joined", "BYTES"),
    ]


def test_infer_under_a_versions_path(service, four_rows):
    """The same bytes."""
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [5, 3, 1, 0.2]}]}
    )

    answers = {
        service.ask("POST", path, body).body
        for path in (INFER, "/v2/models/model/versions/1/infer")
    }

    assert len(answers) == 1
    assert strict(answers.pop())["outputs"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/ping", {"status": "ready"}),
        ("/health", {"status": "ready"}),
        ("/v1/models", {"models": ["model"]}),
        ("/v1/models/model", {"name": "model", "ready": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/model/ready", {"name": "model", "ready": True}),
        ("/v2/models/model/versions/1/ready", {"name": "model", "ready": True}),
    ],
)
def test_health_is_json_and_needs_no_content_type(service, path, says):
    """A GET without any header but Host."""
    answer = service.ask("GET", path)

    assert (answer.status, answer.json()) == (200, says)


def test_the_version_is_plain_text(service):
    """GET /version, which MLflow's client reads."""
    answer = service.ask("GET", "/version")

    assert (answer.status, answer.headers.get_content_type(), answer.body) == (
        200,
        "text/plain",
        VERSION.encode(),
    )


# What is refused, in each protocol's own form


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/other"),
        ("POST", "/v1/models/other:predict"),
        ("POST", "/v1/models/other%3Aexplain"),
        ("GET", "/v2/models/other"),
        ("GET", "/v2/models/other/ready"),
        ("POST", "/v2/models/other/infer"),
    ],
)
def test_another_models_name_is_404(service, method, path):
    """The sentence says which model is here."""
    answer = service.ask(method, path, "[[1]]" if method == "POST" else None)

    assert answer.status == 404
    assert answer.json() == {"error": "No model 'other' here; this service has 'model'."}


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/score", ["message"]),
        ("/invocations", ["error_code", "message"]),
        ("/v1/models/model:predict", ["error"]),
        ("/v1/models/model:explain", ["error"]),
        (INFER, ["error"]),
    ],
)
@pytest.mark.parametrize("body", ["{", "[]", '{"inputs": 3}'])
def test_a_refusal_has_the_protocols_form_and_echoes_no_header(service, path, form, body):
    """400; what a client wrote into a header is not in the body, whatever the header."""
    secret = "b4c7d1"
    answer = service.ask(
        "POST",
        path,
        body,
        f"application/{secret}",
        X_Request_Id=secret,
        User_Agent=secret,
        Accept=secret,
        Cookie=secret,
    )

    assert answer.status == 400
    assert list(answer.json()) == form
    assert secret.encode() not in answer.body
    assert answer.headers["X-Request-Id"] == secret


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v2", "GET"), ("/v1/models/model:predict", "POST"), (INFER, "POST")]
)
def test_a_wrong_method_is_405_in_the_protocols_form(service, path, allowed):
    """The Allow header says what is right."""
    answer = service.ask("POST" if allowed == "GET" else "GET", path)

    assert answer.status == 405
    assert list(answer.json()) == ["error"]
    assert allowed in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        ({"shape": [0, 4], "data": []}, "at least one row"),
        ({"shape": [0], "data": []}, "missing columns"),
        ({"shape": [10**18, 10**18], "data": [1]}, "as many values as its shape has places, got 1"),
        (
            {"shape": [10**4299, 10**4299], "data": [1]},
            "as many values as its shape has places, got 1",
        ),
        ({"shape": [10**18, 0], "data": []}, "at least one row"),
        ({"shape": [-1, -4], "data": [1, 2, 3, 4]}, "'shape' (one or two whole numbers)"),
        ({"shape": [True, 4], "data": [1, 2, 3, 4]}, "'shape' (one or two whole numbers)"),
        ({"shape": [1, 1, 4], "data": [1, 2, 3, 4]}, "'shape' (one or two whole numbers)"),
        ({"shape": [], "data": []}, "'shape' (one or two whole numbers)"),
        ({"shape": [1, 4], "data": [1, 2, 3]}, "got 3"),
        ({"shape": [1, 4], "data": [1, 2, 3, {}]}, "plain values under 'data', got a record"),
        ({"shape": [1, 4], "data": "AAAA"}, "'data' (a list)"),
        (
            {"shape": [1, 4], "parameters": {"binary_data_size": 32}},
            "binary tensors are not read here",
        ),
        ({"shape": [1, 4], "datatype": "BOOL", "data": [True] * 4}, "expected a number, got True"),
        ({"shape": [2, 2], "data": [1, 2, 3, 4]}, "expected a list of 4 values"),
    ],
)
def test_absurd_tensors_are_refused(service, tensor, reason):
    """Whatever the shape claims, nothing of that size is made."""
    answer = infer(service, {"inputs": [{"name": "x", "datatype": "FP64", **tensor}]})

    assert answer.status == 400, answer.body
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"inputs": []}, "list of tensors"),
        ({"inputs": [3]}, "list of tensors"),
        ({"outputs": [{"name": "logits"}]}, "Output 'logits': expected one of predictions"),
        ({"outputs": ["predictions"]}, "list of objects with a name"),
        ({"parameters": [1]}, "an object under 'parameters'"),
        ({"parameters": {"top_k": 0}}, "Option 'top_k': expected a whole number"),
        ({"parameters": {"explain": [[]]}}, "Option 'explain': expected true or false, got a list"),
        ({"id": 7}, "a string under 'id', got 7"),
    ],
)
def test_a_body_around_tensors_is_checked(service, more, reason):
    """Each part is refused by its name."""
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [5, 3, 1, 0.2]}

    answer = infer(service, {"inputs": [tensor], **more})

    assert answer.status == 400, answer.body
    assert reason in answer.json()["error"]


# Bodies and options


@pytest.mark.parametrize(
    "content_type", [JSON, FORM, "text/plain", "application/octet-stream", "nonsense", "text/csv"]
)
def test_the_content_type_is_advice(service, four_rows, content_type):
    """/score reads JSON whatever it is called."""
    answer = service.score(four_rows.to_json(), content_type)

    assert (answer.status, answer.body) == (200, service.score(four_rows.to_json()).body)


@pytest.mark.parametrize("path", ["/score", "/invocations", "/v1/models/model:predict"])
def test_a_byte_order_mark_is_no_part_of_the_body(service, four_rows, path):
    """Windows tools put one first, before CSV too."""
    body = four_rows.to_json().encode()

    assert (
        service.ask("POST", path, b"\xef\xbb\xbf" + body).body
        == service.ask("POST", path, body).body
    )
    comma_separated = four_rows.to_csv(index=False).encode()
    with_mark = service.ask("POST", "/invocations", b"\xef\xbb\xbf" + comma_separated, "text/csv")
    assert with_mark.body == service.ask("POST", "/invocations", comma_separated, "text/csv").body
    assert with_mark.status == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('[{"a": 1, "a": 2}]', "key 'a' came twice in one object"),
        ('{"data": [[1]], "data": [[2]]}', "key 'data' came twice"),
        ('{"data": [[1,2,3,4]], "instances": [[1,2,3,4]]}', "data and instances together"),
        (
            '{"instances": [[1,2,3,4]], "signature": ""}',
            "'instances' alone, got key 'signature' beside it",
        ),
        ('[["\\ud800",1,2,3]]', "expected a number, got '\\ud800'"),
        ("[[1e999,1,2,3]]", "expected a number, got inf"),
        ('{"' + "x" * 10**6 + '": [1]}', "got 'xxx"),
    ],
)
def test_ambiguous_bodies_are_refused_in_short_sentences(service, body, reason):
    """Twice the same key, two wrappers, half a character, a number beyond all; a long name is not
    repeated.
    """
    answer = service.score(body)

    assert answer.status == 400
    assert reason in answer.json()["message"]
    assert len(answer.body) < 1000


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?explain=maybe", "Option 'explain': expected true or false, got 'maybe'"),
        ("?explain=false&explain=true", "Option 'explain': expected it once"),
        ("?top_k=-1", "Option 'top_k': expected a whole number of at least 1, got '-1'"),
        ("?top_k=2&explain=false", "top_k: expected with an explanation only"),
        ("?n=1", "Option 'n': expected one of explain"),
        ("?%ff%00=%ff", "Option "),
    ],
)
def test_options_that_cannot_be_used_are_refused(service, four_rows, query, reason):
    """By name, with what was expected; an option counts once."""
    answer = service.score(four_rows.to_json(), query=query)

    assert answer.status == 400
    assert reason in answer.json()["message"]


@pytest.mark.parametrize("huge", [1e39, 1e200, 1.7e308, -1.7e308])
@pytest.mark.parametrize("query", ["", "?explain=false"])
@pytest.mark.parametrize(
    ("model", "column"),
    [("breast_cancer", "mean area"), ("classifier", "age"), ("regressor", "age")],
)
def test_huge_numbers_are_nobodys_failure(request, model, column, query, huge):
    """A finite number that a model cannot take is a 400 that says so, or is answered; no warning is
    left behind.
    """
    service = request.getfixturevalue(f"{model}_service")
    body = records(request.getfixturevalue(model if model == "breast_cancer" else "mixed").rows)
    body[1][column] = huge

    answer = service.score(json.dumps(body), query=query)

    assert answer.status in (200, 400), answer.body
    assert answer.status == 200 or "expected" in answer.json()["message"]
    assert b"np." not in answer.body
    assert "Warning" not in service.log()


def test_columns_named_like_a_wrapper_win(tmp_path_factory):
    """A model whose columns are called "data" and "inputs" takes them as columns in every route."""

    frame = pd.DataFrame({"data": [1.0, 2, 4, 7], "inputs": [1.0, 0, 1, 0]})
    folder = saved(
        LinearRegression().fit(frame, frame["data"] * 2), frame, tmp_path_factory.mktemp("wrappers")
    )
    with serving(
        tmp_path_factory.mktemp("service"), AZUREML_MODEL_DIR=str(folder), WORKERS="1"
    ) as running:
        for body in (
            {"data": [3.0], "inputs": [1.0]},
            {"instances": {"data": {"7": 3}, "inputs": {"7": 1}}},
        ):
            answer = running.ask("POST", "/invocations", json.dumps(body))
            assert np.allclose(answer.json()["predictions"], [6.0])
