"""The host of the user's entry script, in this process."""

import sys

import pytest

from service.web.entry_script import EntryScript
from service.web.errors import EntryScriptError


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
