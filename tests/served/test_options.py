"""What a request to /score can ask for beyond predictions and importances, behind a real server."""

import json
from urllib.parse import urlencode

import numpy as np
import pytest

from service.scoring import load


@pytest.fixture(scope="module")
def body(four_rows):
    return four_rows.to_json()


@pytest.fixture(scope="module")
def default(service, body):
    return service.score(body).json()


def test_explain_false_is_predictions_alone(service, body, default):
    """In each spelling of false; in each of true the answer is the default one."""
    for no in ("false", "0", "False"):
        assert service.score(body, query=f"?explain={no}").json() == {
            "predictions": default["predictions"]
        }
    for yes in ("true", "1", "TRUE"):
        assert service.score(body, query=f"?explain={yes}").json() == default


def test_top_k_names_the_largest_of_the_predicted_class(service, body, default, iris):
    """By size, each with its own value; more than there are features are all of them."""
    values = np.array(default["local_importance_values"])
    for k in (1, 3, 4, 999_999_999):
        answer = service.score(body, query=f"?top_k={k}").json()
        assert list(answer) == ["predictions", "local_importance_values", "top_importances"]
        for row, (predicted, named) in enumerate(
            zip(answer["predictions"], answer["top_importances"], strict=True)
        ):
            of_row = values[predicted, row]
            assert [one["importance"] for one in named] == sorted(of_row, key=abs, reverse=True)[:k]
            assert all(
                of_row[iris.columns.get_loc(one["feature"])] == one["importance"] for one in named
            )
            assert len(named) == min(k, 4)


def test_numbers_beside_the_importances(service, default, iris_model, iris_folder, four_rows):
    """Standard errors of their shape, expected values to which they add up, and predict_proba's own
    numbers.
    """
    query = "?standard_errors=true&expected_values=true&probabilities=true"
    answer = service.score(four_rows.to_json(), query=query).json()

    assert list(answer)[:2] == ["predictions", "local_importance_values"]
    assert {name: answer[name] for name in default} == default
    assert answer["probabilities"] == iris_model.predict_proba(four_rows).tolist()
    assert answer["expected_values"] == load(iris_folder).expected_values
    total = (
        np.array(answer["expected_values"])
        + np.array(answer["local_importance_values"]).sum(axis=2).T
    )
    assert np.allclose(total, answer["probabilities"], atol=1e-9)
    found = load(iris_folder).explain_rows(four_rows)
    assert answer["standard_errors"] == (
        None if found.standard_errors is None else found.standard_errors.tolist()
    )


def test_without_importances_there_can_be_probabilities(service, body, default):
    """What does not need an explanation does not compute one."""
    answer = service.score(body, query="?explain=false&probabilities=1&expected_values=0").json()
    assert list(answer) == ["predictions", "probabilities"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("explain=maybe", "'explain': expected true or false, got 'maybe'"),
        ("explain=", "'explain': expected true or false, got ''"),
        ("top_k=0", "'top_k': expected a whole number of at least 1, got '0'"),
        ("top_k=-1", "'top_k'"),
        ("top_k=2.5", "'top_k'"),
        ("top_k=1000000000", "'top_k'"),
        ("top_k=%C2%B2", "'top_k'"),
        ("topk=3", "'topk': expected one of explain, top_k"),
        ("explain=false&top_k=3", "top_k: expected with an explanation only"),
        (
            "explain=false&standard_errors=true",
            "standard_errors: expected with an explanation only",
        ),
        ("explain=true&explain=false", "'explain': expected it once"),
        ("named=2", "'named': expected true or false, got '2'"),
        ("top_class=setosa", "top_class: expected with top_k only"),
        ("top_k=1&top_class=rose", "'top_class': expected one of 'setosa'"),
        ("id_columns=", "'id_columns': expected names of columns"),
        ("id_columns=petal%20width%20(cm)", "columns that the model does not know, got 'petal"),
        ("id_columns=customer", "Body: expected the id column 'customer', found none"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(service, body, query, named):
    """400 that names the option, what was expected and what came."""
    answer = service.score(body, query=f"?{query}")
    assert answer.status == 400
    assert named in answer.json()["message"]


def test_ids_and_names_come_back_by_every_route(service, four_rows, default):
    """As JSON with options in the query, as CSV, and as tensors with options in the parameters."""
    with_ids = four_rows.assign(customer=["C-1", "002", "3", None])
    ids = [{"customer": one} for one in ("C-1", "002", "3", None)]
    query = "?id_columns=customer&named=true"
    tensors = [
        {
            "name": name,
            "shape": [4],
            "datatype": "BYTES",
            "data": json.loads(column.to_json(orient="values")),
        }
        for name, column in with_ids.items()
    ]
    wanted = {"id_columns": ["customer"], "explain": False}

    scored = service.score(with_ids.to_json(), query=query).json()
    of_csv = service.ask(
        "POST", f"/invocations{query}", with_ids.to_csv(index=False), "text/csv"
    ).json()
    of_get = service.ask("GET", "/score?" + urlencode({"instances": with_ids.to_json()}))
    refused = service.ask("POST", f"/invocations{query}", "1,2,3,4,C-1\n", "text/csv")
    inferred = service.ask(
        "POST", "/v2/models/model/infer", json.dumps({"inputs": tensors, "parameters": wanted})
    )

    assert {name: scored[name] for name in default} == default
    assert scored["row_ids"] == of_csv["row_ids"] == ids
    assert scored["predicted_classes"] == of_csv["predicted_classes"]
    assert scored["features"] == list(four_rows.columns)
    assert "unknown column 'customer'" in of_get.json()["message"]
    assert (refused.status, "line 1" in refused.json()["message"]) == (400, True)
    assert inferred.json()["outputs"][0]["data"] == default["predictions"]


def test_ids_and_names_stand_in_lines_too(service, four_rows):
    """A column of CSV for each of them; in JSON Lines what the numbers are, in each line."""
    body = four_rows.assign(customer=["C-1", "002", "3", None]).to_json(orient="records")
    path = "/invocations?id_columns=customer&named=true"

    table = service.ask("POST", path, body, Accept="text/csv; header=present").body.decode()
    lines = service.ask("POST", f"{path}&explain=true", body, Accept="application/jsonlines").body

    assert table.splitlines() == [
        "prediction,id:customer,predicted_class",
        *("2,C-1,virginica", "0,002,setosa", "1,3,versicolor", "2,,virginica"),
    ]
    first = json.loads(lines.splitlines()[0])
    assert first["row_id"] == {"customer": "C-1"}
    assert first["features"] == list(four_rows.columns)
    assert {"predicted_class", "classes", "output", "method", "exactness"} <= first.keys()
