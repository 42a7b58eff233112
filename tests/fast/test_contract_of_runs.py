"""What `deploy.registry` knows of `service.runs`, held against it; the service and the server's
start too.

None of them imports the other: this is where they meet.
"""

import ast
import re
from pathlib import Path

import pytest

from deploy.configuration import MODEL_URI
from deploy.registry import store, versions
from service.runs import artifacts, embedded, engine, surroundings
from service.runs import versions as made
from service.runs.names import check_model_name

START = Path(__file__).parents[2] / "tools/runs-server/start.py"
BROKEN_OFF = "API request to https://runs.example failed with exception"


def assigned(tree, name):
    """Return a constant of a script that is not imported: MLflow is in its environment alone."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{START} has no {name}")


def test_a_store_lies_where_both_look():
    """Its database and its artifacts, by their names below the same folder."""
    assert store.SQLITE == embedded.PREFIX
    assert (store.RUNS_FOLDER, store.DATABASE) == (surroundings.RUNS_DIR, surroundings.DATABASE)
    assert f'joinpath("{artifacts.ROOT}"' in Path(versions.__file__).read_text(encoding="utf-8")
    assert versions.LOCAL == artifacts.LOCAL


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"RUNS_DIR": "", "MLFLOW_TRACKING_URI": ""},
        {"RUNS_DIR": "history"},
        {"RUNS_DIR": "/srv/history"},
        {"RUNS_DIR": "history", "MLFLOW_TRACKING_URI": "sqlite:////srv/runs.db"},
        {"MLFLOW_TRACKING_URI": "https://me:secret@runs.example"},
    ],
    ids=["nothing", "empty", "a folder", "a whole path", "a file", "a server"],
)
def test_the_environment_names_one_store_for_both(environ, monkeypatch, tmp_path):
    """Who registers and deploys in one folder with one environment has one store."""
    for name in ("RUNS_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)
    assert store.registry_uri("", tmp_path) == surroundings.default_uri()


def test_a_version_has_its_files_where_the_deployment_fetches_them():
    """What was registered, below a folder of its own."""
    assert f"{made.DATA}/" == versions.DATA
    assert made.DEPTH == versions.DEPTH


@pytest.mark.parametrize("name", ["breast_cancer", "größe_2 b-3.x", "a", "0", "x" * 200])
def test_what_can_be_registered_can_be_deployed(name):
    """By its version, and by an alias."""
    assert check_model_name(name) == name
    for end in ("/3", "@champion"):
        assert re.fullmatch(MODEL_URI, f"models:/{name}{end}")["name"] == name


def test_mlflow_is_told_the_same_by_all():
    """Nothing is sent home; the deployment sets nothing that run history does not."""
    off = assigned(ast.parse(START.read_text(encoding="utf-8")), "OFF")
    assert store.ALWAYS == surroundings.ALWAYS
    assert surroundings.ALWAYS.items() <= off.items()
    assert store.UNLESS_SET.keys() <= surroundings.UNLESS_SET.keys()
    of_both = store.UNLESS_SET.keys() - {"MLFLOW_HTTP_REQUEST_TIMEOUT"}  # one waits half as long
    assert {name: surroundings.UNLESS_SET[name] for name in of_both}.items() <= (
        store.UNLESS_SET.items()
    )


def test_both_say_the_same_of_mlflow():
    """How it is installed, what is kept of an address, and when a server has not answered."""
    assert store.PIP == engine.PIP
    for password in ("secret", "se@cret", "se/cret", "@/"):
        address = f"cannot reach https://me:{password}@runs.example/a@b now"
        told = store.without_credentials(f"cannot reach https://me:{password}@runs.example/a now")
        assert told == "cannot reach https://runs.example/a now"
        assert store.without_credentials(address) == engine.without_credentials(address)
    for unanswered in (store.UNANSWERED, engine._UNREACHED):
        assert unanswered.search(BROKEN_OFF)
        assert unanswered.search("Max retries exceeded with url: /api")
        assert not unanswered.search("RESOURCE_DOES_NOT_EXIST: no such run")


def test_the_versions_to_install_are_those_of_the_extra():
    """What a sentence names is what the lock is made of."""
    text = (START.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    (wanted,) = re.findall(r"^runs = (\[.*\])$", text, re.MULTILINE)
    assert set(ast.literal_eval(wanted)) == set(engine.PIP.replace('"', "").split()[2:])
