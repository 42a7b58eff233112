"""Generated bodies: nothing that a client can write is the service's failure.

FUZZ_BODIES says how many; `make fuzz` takes 100,000 of them. The draws are the same in every run.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mixed import mixed_frame
from serving import JSON, ROOT, strict
from sklearn.datasets import load_iris
from variations import EDITS, csv_variations, json_variations

from service.rows.csv_rows import rows_of_csv
from service.rows.json_rows import WRAPPER_KEYS, parse
from service.rows.schema import Schema
from service.rows.tensors import rows_of_tensors
from service.scoring import PayloadError
from service.scoring.request import OPTIONS, ScoringRequest, options_of
from service.settings import Settings
from service.web.app import create_app
from service.web.bodies import json_object
from service.web.errors import BodyError

BODIES = int(os.environ.get("FUZZ_BODIES", "4000"))
IN_A_DRAW = 1 + 2 * EDITS
FRAME = mixed_frame()
# One column of each kind and width that a frame can have beside those of the mixed rows.
ODD = pd.DataFrame(
    {
        "small": np.array([-3, 4], dtype=np.int8),
        "unsigned": np.array([0, 200], dtype=np.uint8),
        "single": np.array([0.5, 2], dtype=np.float32),
        "maybe": pd.array([1, None], dtype="Int16"),
        "flag": pd.array([True, None], dtype="boolean"),
        "objects": pd.Series([True, None], dtype=object),
        "level": pd.Categorical([1, 2]),
        "data": ["a", None],
        "zoned": pd.to_datetime(["2024-01-05T10:00Z", "2024-07-05T10:00Z"]).tz_convert(
            "Europe/Berlin"
        ),
        "days": pd.to_datetime(["2024-01-05", None]).astype("datetime64[s]"),
    }
)
IRIS = load_iris(as_frame=True).data
SCHEMAS = {
    "mixed": (FRAME, Schema.of(FRAME, None, model=None)),
    "odd": (ODD, Schema.of(ODD, None, model=None)),
    "iris": (IRIS, Schema.of(IRIS, None, model=None)),
}


@pytest.fixture(scope="module", autouse=True)
def counts():
    """How many bodies each test made, printed at the end."""
    counter = Counter()
    yield counter
    print(f"\n{counter.total()} generated bodies: {dict(counter)}")


def fuzz(share):
    """Draw as often as it takes for a share of the bodies."""
    return settings(
        max_examples=max(3, int(share * BODIES / IN_A_DRAW) + 1),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def bodies_of(frame):
    """Rows of a frame in every form that is read, bare and wrapped."""
    rows = st.integers(1, 2).flatmap(
        lambda n: st.integers(0, min(8, len(frame)) - n).map(lambda i: frame.iloc[i : i + n])
    )
    orients = st.sampled_from(["columns", "records", "split", "values", "index", "table"])
    forms = st.tuples(rows, orients).map(
        lambda drawn: drawn[0].to_json(orient=drawn[1], date_format="iso")
    )
    lists = rows.map(
        lambda part: json.dumps(
            {k: list(v.values()) for k, v in json.loads(part.to_json(date_format="iso")).items()}
        )
    )
    wrapped = st.tuples(st.sampled_from(WRAPPER_KEYS), forms).map(
        lambda drawn: f'{{"{drawn[0]}":{drawn[1]}}}'
    )
    return forms | lists | wrapped


def csv_of(frame):
    """Some rows as CSV, with and without a header."""
    return st.tuples(st.integers(1, 3), st.booleans()).map(
        lambda n: frame[: n[0]].to_csv(index=False, header=n[1])
    )


def tensors_of(frame):
    """A tensor for each column of a row."""
    records = json.loads(frame[:8].to_json(orient="records", date_format="iso"))
    as_tensors = lambda record: [  # noqa: E731
        {
            "name": name,
            "shape": [1],
            "datatype": "BOOL" if isinstance(value, bool) else "FP64",
            "data": [value],
        }
        for name, value in record.items()
    ]
    return st.sampled_from(
        [json.dumps({"id": "1", "inputs": as_tensors(record)}) for record in records]
    )


def check_accepted(matrix, schema):
    """What was accepted is written as JSON and read back the same, and the model's frame can be
    made of it.
    """
    again = parse(json.dumps(schema.records(matrix), allow_nan=False), schema)
    assert pd.DataFrame(again).equals(pd.DataFrame(matrix))
    schema.model_rows(matrix)


def read(body, schema):
    """Whether a body was accepted, which is then checked; any other exception than a PayloadError
    passes through.
    """
    try:
        matrix = parse(body, schema)
    except PayloadError:
        return False
    check_accepted(matrix, schema)
    return True


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_parser_refuses_or_reads_exactly(name, counts):
    """A body is a PayloadError or rows that survive being written and read again; bodies of both
    kinds are made.
    """
    frame, schema = SCHEMAS[name]
    outcomes = Counter()

    @fuzz(0.22)
    @given(json_variations(bodies_of(frame)))
    def check(bodies):
        outcomes.update(read(body, schema) for body in bodies)

    check()
    counts[f"parser, {name}"] = outcomes.total()
    assert outcomes.total() >= 0.22 * BODIES
    assert min(outcomes[True], outcomes[False]) > 0.02 * outcomes.total()


@pytest.mark.parametrize("name", SCHEMAS)
def test_csv_is_refused_or_read_exactly(name, counts):
    """The same for CSV, with and without a header."""
    frame, schema = SCHEMAS[name]
    outcomes = Counter()

    @fuzz(0.04)
    @given(csv_variations(csv_of(frame)))
    def check(bodies):
        for body in bodies:
            try:
                rows = rows_of_csv(body, schema)
            except PayloadError:
                outcomes[False] += 1
            else:
                outcomes[read(rows, schema)] += 1

    check()
    counts[f"csv, {name}"] = outcomes.total()
    assert outcomes.total() >= 0.04 * BODIES
    assert min(outcomes[True], outcomes[False]) > 0.02 * outcomes.total()


@pytest.mark.parametrize("name", SCHEMAS)
def test_tensors_are_refused_or_read_exactly(name, counts):
    """The same for the tensors of the Open Inference Protocol."""
    frame, schema = SCHEMAS[name]
    outcomes = Counter()

    @fuzz(0.04)
    @given(json_variations(tensors_of(frame)))
    def check(bodies):
        for body in bodies:
            try:
                rows = rows_of_tensors(json_object(body).get("inputs"), schema)
            except (PayloadError, BodyError):
                outcomes[False] += 1
            else:
                outcomes[read(rows, schema)] += 1

    check()
    counts[f"tensors, {name}"] = outcomes.total()
    assert outcomes.total() >= 0.04 * BODIES
    assert min(outcomes[True], outcomes[False]) > 0.02 * outcomes.total()


def test_options_are_refused_or_read(counts):
    """Whatever stands in a query or under 'parameters' is a request or a PayloadError."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    flags = st.sampled_from(["true", "false", "1", "0", "True", 1, 0, True, False, "²", "10**9"])
    values = (
        flags
        | leaves
        | st.lists(leaves)
        | st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=1))
    )
    asked = st.dictionaries(st.sampled_from(OPTIONS) | st.text(max_size=8), values, max_size=6)
    outcomes = Counter()

    @settings(fuzz(1), max_examples=BODIES // 40)
    @given(st.lists(asked, min_size=5, max_size=5))
    def check(options):
        for given_options in options:
            try:
                outcomes[ScoringRequest(**options_of(given_options)).explain is not None] += 1
            except PayloadError:
                outcomes[False] += 1

    check()
    counts["options"] = outcomes.total()
    assert min(outcomes.values()) > 0


MODELS = ["mixed_classifier", "mixed_regressor", "iris", "breast_cancer"]


@pytest.fixture(scope="module", params=MODELS)
def application(request):
    """The whole application without a server, and rows for it."""
    folder = request.getfixturevalue(f"{request.param}_folder")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AZUREML_MODEL_DIR", str(folder))
        app = create_app(Settings(entry_script=ROOT / "score.py"))
    frame = (
        FRAME
        if request.param.startswith("mixed")
        else getattr(request.getfixturevalue(request.param), "rows", IRIS)
    )
    return SimpleNamespace(name=request.param, client=app.test_client(), frame=frame)


ROUTES = {
    "/score?explain=false&named=true": lambda frame: json_variations(bodies_of(frame)),
    "/score?top_k=2&standard_errors=1": lambda frame: json_variations(bodies_of(frame)),
    "/invocations": lambda frame: csv_variations(csv_of(frame)),
    "/v1/models/model:predict": lambda frame: json_variations(bodies_of(frame)),
    "/v2/models/model/infer": lambda frame: json_variations(tensors_of(frame)),
}


@pytest.mark.filterwarnings(
    "ignore:X does not have valid feature names"
)  # pytest forgets the service's own filter
@pytest.mark.parametrize("route", ROUTES)
def test_no_body_is_the_services_failure(application, route, counts):
    """The whole application answers every body with 200 or 400, in JSON that a strict parser
    takes.
    """
    content_type = "text/csv" if route == "/invocations" else JSON
    statuses = Counter()

    @fuzz(0.001 if "top_k" in route else 0.008)
    @given(ROUTES[route](application.frame))
    def check(drawn):
        for body in drawn:
            raw = body.encode("utf-8", "surrogatepass")
            answer = application.client.post(route, data=raw, content_type=content_type)
            statuses[answer.status_code] += 1
            assert answer.status_code in (200, 400), (answer.status_code, body[:2000])
            strict(answer.text)

    check()
    counts[f"{route}, {application.name}"] = statuses.total()
    assert set(statuses) == {200, 400}


CHECKS = [  # schemathesis'
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]


@pytest.mark.parametrize("running", ["service", "regressor_service"])
def test_no_answer_is_undocumented(running, request, tmp_path, capfd):
    """schemathesis finds no 5xx, and no status, content type, header or form of an answer that is
    not in the document.

    It makes requests from the document, good ones and bad ones, the same ones in every run. The
    long run has those that it derives from each part of the document too.
    """
    service = request.getfixturevalue(running)
    phases = "examples,coverage,fuzzing" if BODIES > 50_000 else "examples,fuzzing"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.address}/swagger.json"]
    options = [
        "--checks",
        ",".join(CHECKS),
        "--phases",
        phases,
        "--max-examples",
        str(max(40, BODIES // 400)),
    ]
    same = ["--generation-deterministic", "--continue-on-failure"]

    done = subprocess.run(
        [*command, *options, *same],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    (made,) = re.findall(r"(\d+) generated", done.stdout)
    with capfd.disabled():
        print(f"\nschemathesis, {running}: {made} requests")
    assert int(made) > 100
    assert '"status": 500' not in service.log()
