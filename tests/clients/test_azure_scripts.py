"""Entry scripts written for Azure ML, run by its own inference server, in an environment of its
own, and by this service: the answers are the same.

Where that server fails with 500 for what is the client's mistake, this one answers 400.
"""

import json
import os
import subprocess
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from serving import JSON, ROOT, Service, free_port, serving, wait_until

PYTHON = ROOT / ".venv-bench" / "bin" / "python"
TYPES = """
import functools
import flask
import numpy as np
import pandas as pd
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema

FRAME = PandasParameterType(pd.DataFrame({"a": [1.5], "b": [2]}))

def init():
    global factor
    factor = 2
"""
SCRIPTS = {
    "one parameter": """
@input_schema("data", FRAME)
@output_schema(NumpyParameterType(np.array([0])))
def run(data):
    return {"sums": (data.a + data.b).tolist(), "types": list(map(str, data.dtypes))}
""",
    "several parameters": """
@input_schema("GlobalParameters", StandardPythonParameterType({"method": "predict"}),
              convert_to_provided_type=False)
@input_schema("Inputs", StandardPythonParameterType({"data": FRAME}))
@output_schema(StandardPythonParameterType({"Results": [0]}))
def run(Inputs, request_headers, GlobalParameters={"method": "predict"}):
    results = (factor * Inputs["data"].a).tolist()
    return {"Results": results, **GlobalParameters, "mine": request_headers.get("X-Mine")}
""",
    "the request itself": """
from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse

@rawhttp
def run(request):
    kind = request.args.get("kind", "length")
    if request.method == "GET":
        return AMLResponse(request.full_path, 200)
    return {
        "length": lambda: AMLResponse({"length": len(request.get_data(False))}, 200, json_str=True),
        "teapot": lambda: AMLResponse({"no": "coffee"}, 418, {"X-Why": "a, b"}, json_str=True),
        "nothing": lambda: AMLResponse(None, 201),
        "image": lambda: AMLResponse(b"\\x89PNG", 200, {"Content-Type": "image/png"}),
        "list": lambda: [1, 2],
        "form": lambda: [request.form["a"], request.files["f"].read().decode()],
    }[kind]()
""",
    "text": """
def timed(function):
    @functools.wraps(function)
    def wrapper(*arguments, **named):
        answer = function(*arguments, **named)
        return answer if isinstance(answer, flask.Response) else {"timed": answer}
    return wrapper

@timed
def run(*, raw_data, request_headers, threshold=0.5):
    if "stream" in raw_data:
        return flask.Response(iter(["a,b\\n", "1,2\\n"]), 202, mimetype="text/csv")
    return {"body": raw_data, "mine": request_headers.get("X-Mine"), "threshold": threshold}
""",
}


def get(**query):
    return "GET", "/score?" + urllib.parse.urlencode(query, doseq=True), None


def post(body, query="", content_type=JSON):
    return "POST", f"/score{query}", body, content_type


FORM = (
    "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"
    "--B\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\nabcd\r\n--B--\r\n"
)
ROWS = '[{"a": 1, "b": 2}, {"b": 3, "a": 2.5}]'
REQUESTS = {
    "one parameter": [
        post(f'{{"data": {ROWS}}}'),
        post(f'{{"data": {ROWS}, "other": 1}}'),
        get(data=ROWS),
    ],
    "several parameters": [
        post(f'{{"Inputs": {{"data": {ROWS}}}}}'),
        post(f'{{"Inputs": {{"data": {ROWS}}}, "GlobalParameters": {{"method": "proba"}}}}'),
    ],
    "the request itself": [
        get(a=1, b=["x", "y"]),
        post(b"\xff\xfe\x00", content_type="application/octet-stream"),
        post(b""),
        *(post("{}", f"?kind={kind}") for kind in ("teapot", "nothing", "image", "list")),
        post(FORM, "?kind=form", "multipart/form-data; boundary=B"),
        post("{}", "?a=1&a=2&explain=maybe"),
    ],
    "text": [
        post('{"a":  [1]}'),
        post("no JSON"),
        get(a=1, b="[1, 2]", c=["x", "null"]),
        get(),
        post("stream"),
    ],
}
# What is the client's mistake: our status and that of Azure ML's server.
MISTAKES = {
    "one parameter": [
        (post('{"other": 1}'), 400, 400),
        (post("[1]"), 400, 400),
        (post("{"), 400, 400),
        (post(""), 400, 400),
        (get(), 400, 400),
        (post('{"data": 5}'), 400, 500),
        (post('{"data": [{"a": "x", "b": 2}]}'), 400, 500),
    ],
    "several parameters": [(post('{"Inputs": [1]}'), 400, 500), (post('{"Inputs": {}}'), 500, 500)],
    "the request itself": [(post("{}", "?kind=unknown"), 500, 500)],
    "text": [(post(b"\xff"), 400, 400), (("PUT", "/score", "{}"), 405, 405)],
}


@contextmanager
def azure_serving(script):
    """Azure ML's inference server on a free port."""
    port, log_file = free_port(), script.with_suffix(".azure.log")
    command = [PYTHON, "-m", "azureml_inference_server_http", "--entry_script", script]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env={**os.environ, "AML_APP_ROOT": str(script.parent)},
            cwd=script.parent,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Service(process, port, log_file)

    def is_up():
        assert process.poll() is None, server.log()
        try:
            return server.ask("GET", "/").status == 200
        except OSError:
            return False

    try:
        wait_until(is_up, seconds=120)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def our_serving(script):
    settings = {"ENTRY_SCRIPT": str(script), "WORKERS": "1"}
    with serving(script.parent, **settings) as server:
        yield server


def asked_all(serve, script, requests):
    """Start a server, and return what it answers."""
    with serve(script) as server:
        return [server.ask(*request, X_Mine="me") for request in requests]


@pytest.fixture(params=SCRIPTS)
def name(request):
    return request.param


def test_a_script_answers_here_as_it_does_there(name, tmp_path):
    """Each way to write run(): status, kind of content and content of every answer."""
    assert PYTHON.exists(), "Azure ML's server is not installed: run `make setup-clients`"
    script = tmp_path / "score_azure.py"
    script.write_text(TYPES + SCRIPTS[name], encoding="utf-8")
    good, mistakes = REQUESTS[name], MISTAKES[name]
    requests = [*good, *(request for request, _, _ in mistakes)]

    with ThreadPoolExecutor(2) as pool:
        found = [
            pool.submit(asked_all, it, script, requests) for it in (our_serving, azure_serving)
        ]
        ours, theirs = (future.result() for future in found)

    for request, here, there in zip(good, ours, theirs, strict=False):
        assert said(here) == said(there), request
    outcomes = zip(mistakes, ours[len(good) :], theirs[len(good) :], strict=True)
    for (request, our_status, their_status), here, there in outcomes:
        assert (here.status, there.status) == (our_status, their_status), request
        assert list(here.json()) == ["message"]


def said(answer):
    """What an answer says; JSON may be written with other blanks."""
    kind = answer.headers.get_content_type()
    content = json.loads(answer.body) if kind == JSON else answer.body
    why = answer.headers.get_all("X-Why")
    return answer.status, kind, content, why
