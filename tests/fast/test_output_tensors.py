"""Answers as tensors of the Open Inference Protocol: every output that was asked for is there."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVC

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer, save
from service.settings import Settings
from service.web.app import create_app
from service.web.protocols.output_tensors import JSON, output_tensor

RNG = np.random.default_rng(0)
N = 40
FRAME = pd.DataFrame(
    {
        "size": RNG.normal(size=N).astype("float32"),
        "rooms": RNG.integers(1, 6, N).astype("int8"),
        "age": RNG.integers(0, 90, N),
        "new": RNG.random(N) > 0.5,
        "price": RNG.normal(size=N),
    }
)
SCORE = FRAME["size"] + FRAME["rooms"]
WORDS = np.where(SCORE > 3, "grant", "refuse")
MODELS = {
    "words": (LogisticRegression(), WORDS),
    "flags": (LogisticRegression(), WORDS == "grant"),
    "whole": (LogisticRegression(max_iter=5000), np.digitize(SCORE, [2, 4])),
    "regression": (LinearRegression(), SCORE),
    "two targets": (LinearRegression(), np.stack([SCORE, -SCORE], axis=1)),
    "sampled": (KNeighborsRegressor(), SCORE),
    "margins": (SVC(), WORDS),
}


@pytest.fixture(scope="module", params=MODELS)
def served(request, tmp_path_factory):
    """The application around one model, and that model."""
    fitted, target = MODELS[request.param]
    fitted.fit(FRAME, target)
    folder = tmp_path_factory.mktemp("model") / "models"
    explainer = KernelScoringExplainer(TabularExplainer(fitted, FRAME))
    save(explainer, folder, original_model=fitted)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AZUREML_MODEL_DIR", str(folder))
        client = create_app(Settings()).test_client()
    return SimpleNamespace(name=request.param, client=client, model=fitted, explainer=explainer)


def infer(client, outputs=(), **parameters):
    inputs = [
        {"name": name, "shape": [3], "datatype": "any", "data": FRAME[name][:3].tolist()}
        for name in FRAME
    ]
    body = {"inputs": inputs, "outputs": [{"name": name} for name in outputs]}
    return client.post("/v2/models/model/infer", json={**body, "parameters": parameters})


def by_name(tensors):
    return {tensor["name"]: tensor for tensor in tensors}


def test_the_metadata_is_that_of_the_model(served):
    """Each described output can be asked for by its name, and is of that datatype and shape."""
    metadata = served.client.get("/v2/models/model").json
    assert [(one["name"], one["datatype"], one["shape"]) for one in metadata["inputs"]] == [
        ("size", "FP32", [-1]),
        ("rooms", "INT8", [-1]),
        ("age", "INT64", [-1]),
        ("new", "BOOL", [-1]),
        ("price", "FP64", [-1]),
    ]
    described = by_name(metadata["outputs"])
    expected = {"words": "BYTES", "flags": "BOOL", "whole": "INT64", "margins": "BYTES"}
    assert described["predictions"]["datatype"] == expected.get(served.name, "FP64")
    assert ("probabilities" in described) == hasattr(served.model, "predict_proba")
    importances = np.shape(served.explainer.explain(FRAME[:3]))
    shape = described["local_importance_values"]["shape"]
    assert [3 if size == -1 else size for size in shape] == list(importances)

    answered = by_name(infer(served.client, outputs=described).json["outputs"])
    assert set(answered) == set(described)
    for name, tensor in answered.items():
        assert tensor["datatype"] == described[name]["datatype"]
        expected = [3 if size == -1 else size for size in described[name]["shape"]]
        assert tensor["shape"] == expected


def test_an_output_by_its_name_is_that_of_the_option(served):
    """The numbers of /score."""
    rows = json.dumps(FRAME[:3].to_dict(orient="records"))
    wanted = ["predictions", "expected_values"]
    if hasattr(served.model, "predict_proba"):
        wanted.append("probabilities")
    answered = by_name(infer(served.client, outputs=wanted).json["outputs"])
    query = "?explain=false&" + "&".join(f"{name}=true" for name in wanted[1:])
    score = served.client.post(f"/score{query}", data=rows).json
    assert list(answered) == list(score)
    for name, tensor in answered.items():
        got = np.reshape(tensor["data"], tensor["shape"])
        assert got.tolist() == np.reshape(score[name], tensor["shape"]).tolist()


def test_importances_by_name_are_texts_of_json(served):
    """One for each row, or for each target; the parameter says that they are JSON."""
    answer = infer(served.client, outputs=["top_importances"], top_k=2).json["outputs"]
    rows = json.dumps(FRAME[:3].to_dict(orient="records"))
    expected = served.client.post("/score?top_k=2", data=rows).json["top_importances"]
    (tensor,) = answer
    assert (tensor["datatype"], tensor["parameters"]) == ("BYTES", JSON)
    assert tensor["shape"] == [len(tensor["data"])] == [len(expected)]
    assert list(map(json.loads, tensor["data"])) == expected

    without = infer(served.client, outputs=["top_importances"])
    assert without.status_code == 400
    assert "expected with the parameter top_k" in without.json["error"]


@pytest.mark.parametrize("how", [{"outputs": ["standard_errors"]}, {"standard_errors": True}])
def test_errors_that_there_are_not_are_refused_by_name(served, how):
    """An exact explanation has none: 400 says so, instead of an answer without them."""
    how = {"explain": True, **how} if "outputs" not in how else how
    answer = infer(served.client, **how)
    if served.explainer.explain_rows(FRAME[:1]).standard_errors is None:
        assert answer.status_code == 400
        assert "Output 'standard_errors': expected of importances" in answer.json["error"]
    else:
        assert "standard_errors" in by_name(answer.json["outputs"])


@pytest.mark.parametrize(
    ("value", "datatype", "shape", "data"),
    [
        ([1, 2], "INT64", [2], [1, 2]),
        ([1, 2.5], "FP64", [2], [1.0, 2.5]),
        ([True, False], "BOOL", [2], [True, False]),
        (["a", "b"], "BYTES", [2], ["a", "b"]),
        ([["a"], ["b"]], "BYTES", [2, 1], ["a", "b"]),
        (np.array([1, 2], dtype="uint8"), "UINT64", [2], [1, 2]),
        (np.array(["a", "b"], dtype=object), "BYTES", [2], ["a", "b"]),
        (np.float64(2.5), "FP64", [1], [2.5]),
        (2, "INT64", [1], [2]),
        ("of May", "BYTES", [1], ["of May"]),
        ([], "FP64", [0], []),
    ],
)
def test_numbers_and_texts_are_tensors(value, datatype, shape, data):
    """Of the type that holds each of them exactly."""
    assert output_tensor("x", value) == {
        "name": "x",
        "datatype": datatype,
        "shape": shape,
        "data": data,
    }


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ([1.5, None], ["1.5", "null"]),
        (np.array(["a", None], dtype=object), ['"a"', "null"]),
        ([1, "1"], ["1", '"1"']),
        ([True, 2], ["true", "2"]),
        ([[1, 2], [3]], ["[1,2]", "[3]"]),
        ([{"a": 1}, {}], ['{"a":1}', "{}"]),
        ([2**64], ["18446744073709551616"]),
        ({"model": "of May"}, ['{"model":"of May"}']),
        (None, ["null"]),
        (np.array(["2024-01-05"], dtype="datetime64[s]"), ['"2024-01-05T00:00:00"']),
    ],
)
def test_what_is_no_tensor_is_json_and_says_so(value, texts):
    """None of it is left out, and none becomes something else."""
    tensor = output_tensor("x", value)
    assert (tensor["datatype"], tensor["parameters"]) == ("BYTES", JSON)
    assert (tensor["shape"], tensor["data"]) == ([len(texts)], texts)


def test_a_script_of_its_own_loses_no_output(tmp_path):
    """Neither what has gaps nor what is an object; its outputs are described by nobody."""
    script = tmp_path / "own.py"
    script.write_text(
        "def init(): pass\n"
        "def run(raw_data):\n"
        "    return {'predictions': ['a', None], 'about': {'model': 7}, 'n': 2, 'none': None}\n",
        encoding="utf-8",
    )
    client = create_app(Settings(entry_script=script)).test_client()
    answered = infer(client).json["outputs"]
    assert [(one["name"], one["data"]) for one in answered] == [
        ("predictions", ['"a"', "null"]),
        ("about", ['{"model":7}']),
        ("n", [2]),
        ("none", ["null"]),
    ]
    metadata = client.get("/v2/models/model").json
    assert (metadata["inputs"], metadata["outputs"]) == ([], [])
