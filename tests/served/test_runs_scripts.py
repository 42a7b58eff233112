"""The documents' two scripts, embedded and against a server of runs over PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from runs_server import PASSWORD, SECRET, running_postgresql, running_server
from serving import ROOT

from service.runs import ExplanationClient, Model, Run, Workspace

pytestmark = pytest.mark.alone
STORES = ("embedded", "postgresql")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """What the scripts told, and left in a file."""
    folder = tmp_path_factory.mktemp("embedded")
    return outcome(folder, MLFLOW_TRACKING_URI=f"sqlite:///{folder}/.runs/runs.db")


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    """What they told, and left in a server's database."""
    folder = tmp_path_factory.mktemp("postgresql")
    with running_postgresql() as store, running_server(folder, store=store) as server:
        entering = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        with pytest.MonkeyPatch.context() as environment:
            for name, value in entering.items():
                environment.setenv(name, value)
            yield outcome(folder, MLFLOW_TRACKING_URI=server.uri)
        assert SECRET not in server.log.read_text()
        assert not (folder / ".runs/runs.db").exists()


def outcome(folder, **variables):
    """Run both scripts, each in a process of its own; return what is left, and what they told."""
    told = []
    for script in ("examples.run_history", "examples.download_explanation"):
        done = subprocess.run(
            [sys.executable, "-m", script],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **variables},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    workspace = Workspace(variables["MLFLOW_TRACKING_URI"])
    (known,) = workspace.runs(with_explanations=True)
    client = ExplanationClient(Run(workspace, known.info.run_id))
    model = Model(workspace, "my_scoring_explainer")
    file = Path(model.download(folder / "again"))
    return SimpleNamespace(
        told=told,
        status=known.info.status,
        explanations=list(map(client.download_model_explanation, ids(client))),
        file=file.read_bytes(),
        explained=model.explanation == ids(client)[-1],
        files=(folder / "downloaded" / file.name).read_bytes(),
    )


def ids(client):
    return [summary["id"] for summary in client.list_model_explanations()]


def bits(explanation):
    """Return what two explanations are compared by, to the last bit."""
    other = getattr(explanation, "other", None)  # only where features were cut
    told = (explanation.features, explanation.expected_values, other)
    ranked = explanation.get_ranked_global_values()
    return repr((*told, ranked)), explanation.importances.values.tobytes()


@pytest.mark.parametrize("store", STORES)
def test_what_the_first_script_leaves_the_second_finds(store, request):
    """Without its objects and its files; the run has ended with its script."""
    left = request.getfixturevalue(store)
    first, second = left.told
    assert first == "my_scoring_explainer\tmy_scoring_explainer:1\t1\n"
    assert second.splitlines()[:2] == [
        "global explanation: all features",
        "global explanation: only top 2 features",
    ]
    assert "names: ['worst area', 'mean area', 'worst perimeter', 'mean perimeter']" in second
    assert second.endswith("explained 2 rows with version 1\n")
    assert (left.status, left.explained, left.file) == ("FINISHED", True, left.files)


def test_a_server_over_postgresql_gives_what_a_file_gives(embedded, postgresql):
    """The same lines, and the same bits."""
    assert postgresql.told == embedded.told
    assert list(map(bits, postgresql.explanations)) == list(map(bits, embedded.explanations))
    assert [one.num_features for one in postgresql.explanations] == [30, 2]
