"""The host of the user's entry script, in this process."""

import sys

import numpy as np
import pytest

from service.errors import PayloadError
from service.scoring import ScoringModel
from service.scoring.request import ScoringRequest
from service.web.entry import body_texts
from service.web.entry_script import EntryScript
from service.web.errors import EntryScriptError
from service.web.metrics import Metrics


@pytest.fixture
def script_at(tmp_path, monkeypatch):
    """Write an entry script; its folder leaves the module search path after the test."""
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def write(text, name="my_script.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_init_and_run_are_called_and_the_script_is_ready_between_them(script_at):
    """A script is ready once init() has returned, and run() sees what init() made."""
    script = EntryScript(
        script_at(
            "def init():\n    global word\n    word = 'heard'\n"
            "def run(raw_data):\n    return [word, raw_data]\n"
        )
    )
    assert not script.ready

    script.init()

    assert script.ready
    assert script.run("a body") == ["heard", "a body"]


def test_a_script_may_read_its_body_by_pandas(script_at, caplog):
    """As scripts of Azure ML do; what pandas reads no rows in is the client's mistake."""
    body_texts._say_what_is_guessed.cache_clear()  # another test may have heard it
    script = EntryScript(
        script_at(
            "import pandas as pd\ndef init(): pass\n"
            "def run(raw_data): return pd.read_json(raw_data).to_numpy().tolist()\n"
        )
    )
    script.init()
    assert script.run('{"a":{"0":1.5,"1":2.5},"b":{"0":3.5,"1":4.5}}') == [[1.5, 3.5], [2.5, 4.5]]
    assert script.run(" [[1, 2]]") == [[1, 2]]
    with pytest.raises(PayloadError, match=r"reads no rows in it: .*scalar"):
        script.run('{"a": 1}')
    for path in (__file__, __file__.encode()):  # a client names no file of the server
        with pytest.raises(PayloadError, match="reads no rows in it"):
            script.run(path)
    assert "'02139' becomes the number 2139" in caplog.text


def test_the_script_is_a_registered_module(script_at):
    """What looks its own module up, as dataclasses and pickle do, works in an entry script."""
    script = EntryScript(
        script_at(
            "from __future__ import annotations\n"
            "import dataclasses, pickle\n"
            "@dataclasses.dataclass\n"
            "class Point:\n"
            "    x: dataclasses.InitVar[int]\n"
            "def init(): pass\n"
            "def run(raw_data): return type(pickle.loads(pickle.dumps(Point(1)))) is Point\n"
        )
    )
    script.init()

    assert script.run("") is True


def test_two_scripts_of_one_name_do_not_meet(script_at):
    """Each script has a module of its own, also when the same file is loaded twice."""
    path = script_at(
        "calls = []\ndef init(): pass\n"
        "def run(raw_data):\n    calls.append(raw_data)\n    return calls\n"
    )
    first, second = EntryScript(path), EntryScript(path)

    assert first.run("one") == ["one"]
    assert second.run("two") == ["two"]


def test_the_script_imports_its_neighbours(script_at):
    """A script can import the modules that lie next to it, from wherever the service was
    started.
    """
    script_at("answer = 42\n", "a_neighbour_of_the_script.py")
    script = EntryScript(
        script_at(
            "from a_neighbour_of_the_script import answer\n"
            "def init(): pass\ndef run(raw_data): return answer\n"
        )
    )

    assert script.run("") == 42


def test_what_run_raises_passes_through(script_at):
    """The host does not interpret an error of run(): the table of refusals does."""
    script = EntryScript(
        script_at("def init(): pass\ndef run(raw_data): raise KeyError(raw_data)\n")
    )

    with pytest.raises(KeyError, match="a body"):
        script.run("a body")


RESPONSE = """
from flask import Response
def init(): pass
def pieces():
    yield "one"
    yield "two"
def run(raw_data):
    response = Response(pieces(), headers={"X-Text": raw_data, "Content-Length": "500"})
    response.call_on_close(lambda: raw_data == "stop" and exit(3))
    return response
"""


def test_a_response_is_computed_closed_and_looked_through_in_run(script_at):
    """A stream is whole and has its own length; what its close or its headers do fails as run()
    does.
    """
    script = EntryScript(script_at(RESPONSE))
    answer = script.run("fine")
    assert answer.get_data() == b"onetwo"
    assert "Content-Length" not in answer.headers
    with pytest.raises(EntryScriptError, match=r"sys\.exit\(3\)"):
        script.run("stop")
    for text in ("\u20ac", "\x01"):
        with pytest.raises(ValueError, match="'X-Text'"):
            script.run(text)


def test_sys_exit_in_run_is_an_error_like_any_other(script_at):
    """One request cannot end the worker that answers others."""
    script = EntryScript(
        script_at("import sys\ndef init(): pass\ndef run(raw_data): sys.exit(0)\n")
    )

    with pytest.raises(EntryScriptError, match=r"my_script\.py: run\(\) called sys\.exit\(0\)"):
        script.run("")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def run(raw_data): pass\n", r"expected a function init\(\), found nothing of that name"),
        ("def init(): pass\n", r"expected a function run\(\), found nothing of that name"),
        ("def init(): pass\nrun = 3\n", r"expected a function run\(\), found a value of type int"),
        (
            "import no_such_module\n",
            r"loading the file failed with ModuleNotFoundError: .*no_such_module",
        ),
        ("def init(:\n", r"loading the file failed with SyntaxError"),
        ("raise SystemExit(0)\n", r"loading the file failed with SystemExit: 0"),
    ],
)
def test_a_script_that_cannot_be_used_is_refused_by_name(script_at, text, sentence):
    """One sentence names the file and says what is wrong with it."""
    path = script_at(text)

    with pytest.raises(EntryScriptError, match=sentence) as refusal:
        EntryScript(path)

    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("name", ["missing.py", "", "notes.txt"])
def test_a_path_that_is_no_script_is_refused(tmp_path, name):
    """A missing file, a folder and another kind of file each get the sentence that says how to name
    one.
    """
    (tmp_path / "notes.txt").write_text("init and run", encoding="utf-8")

    with pytest.raises(EntryScriptError, match=r"expected a \.py file .* ENTRY_SCRIPT"):
        EntryScript(tmp_path / name)


def test_a_failing_init_is_named_and_leaves_the_script_not_ready(script_at):
    """The sentence names the file, init() and what it raised."""
    script = EntryScript(
        script_at("def init(): raise OSError('the disk is gone')\ndef run(raw_data): pass\n")
    )

    with pytest.raises(
        EntryScriptError, match=r"my_script\.py: init\(\) failed with OSError: the disk is gone"
    ):
        script.init()

    assert not script.ready


# How run() is called

INIT = "import asyncio, functools, json\ndef init(): pass\n"
WRAPPED = """
def decorated(function):
    @functools.wraps(function)
    def wrapper({takes}):
        return function({gives})
    return wrapper
@decorated
def run(raw_data, request): return [raw_data, request.top_k]
"""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("def run(raw_data): return [raw_data]", ["body"]),
        ("def run(raw_data, /): return [raw_data]", ["body"]),
        ("def run(*, raw_data): return [raw_data]", ["body"]),
        ("def run(raw_data, threshold=0.5): return [raw_data, threshold]", ["body", 0.5]),
        ("def run(raw_data, *rest, **more): return [raw_data, rest, more]", ["body", (), {}]),
        ("def run(request): return [request]", ["body"]),
        ("def run(raw_data, request): return [raw_data, request.top_k]", ["body", 3]),
        ("def run(raw_data, request, /): return [raw_data, request.top_k]", ["body", 3]),
        ("def run(a, b=1, *, request=None): return [a, b, request.top_k]", ["body", 1, 3]),
        ("def run(a, asked: 'ScoringRequest'): return [a, asked.top_k]", ["body", 3]),
        ("def run(request_headers, a): return [a, request_headers]", ["body", {"X-Mine": "me"}]),
        ("run = functools.partial(lambda model, raw_data: [model, raw_data], 7)", [7, "body"]),
        ("class R:\n  def __call__(self, raw_data): return [raw_data]\nrun = R()", ["body"]),
        ("run = list", ["b", "o", "d", "y"]),
        (WRAPPED.format(takes="*args, **named", gives="*args, **named"), ["body", 3]),
        (WRAPPED.format(takes="**named", gives="**named"), ["body", 3]),
        (WRAPPED.format(takes="body, asked", gives="body, asked"), ["body", 3]),
        (WRAPPED.format(takes="*args", gives="*args"), ["body", 3]),
    ],
)
def test_run_is_called_with_what_it_has_names_for(script_at, text, answer):
    """The first parameter gets the body, `request` and `request_headers` what they are called; a
    default holds; a decorator is called as it can be.
    """
    script = EntryScript(script_at(INIT + text))
    asked = ScoringRequest(top_k=3)

    assert script.run("body", asked, {"HTTP_X_MINE": "me"}) == answer
    assert script.takes_request == (3 in answer)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def run(): pass", r"expected a parameter for the body, .* got run\(\); name one"),
        ("def run(request_headers): pass", "expected a parameter for the body"),
        ("def run(*args, **named): pass", r"got run\(\*args, \*\*named\).*functools\.wraps"),
        ("def run(raw_data, threshold): pass", "no request has a value for 'threshold' of run"),
        ("async def run(raw_data): pass", "`async` or `yield`.*asyncio.run"),
        ("def run(raw_data): yield 1", "`async` or `yield`"),
        ("class R:\n  async def __call__(self, a): pass\nrun = R()", "`async` or `yield`"),
        (WRAPPED.format(takes="body", gives="body, 1"), r"got one that takes \(body\)"),
        ("async def init(): pass\ndef run(raw_data): pass", r"init\(\): .*`async`"),
    ],
)
def test_what_no_request_could_be_handed_to_is_refused_at_the_start(script_at, text, sentence):
    """One sentence says what to change; the service does not start to answer 500."""
    with pytest.raises(EntryScriptError, match=rf"my_script\.py: .*{sentence}"):
        EntryScript(script_at(INIT + text))


def test_the_script_behind_one_of_the_sdk_is_run(script_at):
    """Azure ML's SDK puts a script before the user's: its init() prepares, the user's run()
    answers.
    """
    script_at("def run(raw_data): return ['behind', raw_data]\n", "the_users_script.py")
    script = EntryScript(
        script_at(
            "import the_users_script as driver_module\n"
            "def init(): pass\ndef run(*arguments): return driver_module.run(*arguments)\n"
        )
    )

    assert script.run("body") == ["behind", "body"]


def test_registered_models_are_found_in_the_model_folder(script_at, tmp_path, monkeypatch):
    """`Model.get_model_path` without azureml-core: a file, a folder, the newest version or another;
    what is not there ends the start.
    """
    models = tmp_path / "models"
    for version in ("2", "10"):
        (models / "credit" / version).mkdir(parents=True)
        (models / "credit" / version / "model.pkl").touch()
    (models / "plain.pkl").touch()
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(models))
    script = EntryScript(
        script_at(
            "from azureml.core.model import Model\n"
            "from azureml.core import Model as Same\n"
            "def init(): Same.get_model_path('absent')\n"
            "def run(rows, request): return [Model.get_model_path(*one) for one in rows]\n"
        )
    )

    asked = [("plain.pkl",), ("credit",), ("credit", 2)]
    assert script.run(asked, ScoringRequest()) == [
        str(models / path) for path in ("plain.pkl", "credit/10/model.pkl", "credit/2/model.pkl")
    ]
    with pytest.raises(EntryScriptError, match=r"'absent'.*expected it in .*AZUREML_MODEL_DIR"):
        script.init()


# What its answer counts for


@pytest.mark.parametrize(
    ("answer", "rows", "explained"),
    [
        ({"predictions": [1, 2, 3]}, 3, 0),
        ({"predictions": np.zeros(2), "local_importance_values": np.ones((2, 4))}, 2, 2),
        ({"predictions": [1], "local_importance_values": [[[1.0] * 4], [[3.0] * 4]]}, 1, 1),
        ({"predictions": [1, 2], "local_importance_values": [[1, 2, 3, 4]]}, 2, 0),
        ({"predictions": [1], "local_importance_values": [["a", 2, 3, 4]]}, 1, 0),
        ([0, 1], 2, 0),
        ({"Results": [1]}, None, 0),
        ("[1]", None, 0),
        (None, None, 0),
        (np.float64(1.0), None, 0),
    ],
)
def test_an_answer_of_a_scripts_own_is_counted_as_far_as_it_tells(
    iris_folder, answer, rows, explained
):
    """Rows where there are predictions, importances where they are of the model's features."""
    metrics = Metrics("model", ScoringModel.load(iris_folder))

    assert metrics.scored(answer) == rows
    text = metrics.text().decode()
    assert f"scoring_rows_sum {float(rows or 0)}" in text
    assert f"scoring_rows_explained_total {float(explained)}" in text
