"""Deploying what is registered, on a real engine and from a real store: left out where no engine
answers, but failing where REQUIRE_ENGINE is set.
"""

import json
import os
import urllib.request
from pathlib import Path

import pytest
from deploy_helpers import Deployment, clean, connect, make_project, status

from deploy.client import score
from deploy.verbs.status import as_text
from service.runs import Model, Run, Workspace
from service.scoring import save

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine():
    engine = connect()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory, diabetes):
    """A project with two versions of a model in its store, the first of which is the champion."""
    made = make_project(tmp_path_factory.mktemp("registered"), diabetes)
    save(diabetes.scoring, made / "both", original_model=diabetes.model)
    workspace = Workspace(f"sqlite:///{made}/.runs/runs.db", experiment="diabetes")
    run = Run(workspace, workspace.create_run())
    run.upload_folder("both", str(made / "both"))
    versions = [run.register_model("progression", "both") for _ in range(2)]
    versions[0].set_alias("champion")
    return made, workspace, versions


def metadata(release):
    port, name = release.config.port, "model"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/{name}", timeout=10) as answer:
        return json.load(answer)["registered_models"]


def test_a_champion_is_deployed_and_rollback_goes_to_the_version(engine, project):
    """Status, metadata and the registry say what serves; the alias moves, and a rollback goes back
    to the version that served before.
    """
    root, workspace, (first, second) = project
    made = Deployment(
        engine,
        root,
        f"registered-{os.getpid()}",
        models=["models:/progression@champion"],
        example="artifacts/examples.json",
        dockerfile="",
    )
    clean(engine, made.name)
    tag = f"deployed.{made.name}"
    body = (root / "artifacts" / "examples.json").read_bytes()
    try:
        taken = [step.text for step in made.steps_up(made.config())]
        assert f"Taking models:/progression/1 of run {first.run_id} in {workspace.uri}" in taken

        one = made.up()
        assert one.config.models == ("models:/progression/1",)
        assert "models:/progression/1 of run" in as_text(status(engine, made.name))
        assert [each["uri"] for each in metadata(one)] == ["models:/progression/1"]
        assert Model(workspace, "progression:1").tags[tag] == one.id
        answer = score(one.config, body)

        second.set_alias("champion")
        two = made.up()
        assert two.config.models == ("models:/progression/2",)
        assert tag not in Model(workspace, "progression:1").tags
        assert Model(workspace, "progression:2").tags[tag] == two.id

        assert made.rollback().id == one.id
        assert [each["uri"] for each in metadata(one)] == ["models:/progression/1"]
        assert score(one.config, body) == answer
        assert Model(workspace, "progression:1").tags[tag] == one.id
        assert tag not in Model(workspace, "progression:2").tags

        Path(root / ".runs" / "runs.db").rename(root / ".runs" / "away.db")
        assert made.scale(2).origins == one.origins  # the registry is down: a sentence, no failure
        Path(root / ".runs" / "away.db").rename(root / ".runs" / "runs.db")
        made.down()
        assert tag not in Model(Workspace(workspace.uri), "progression:1").tags
    finally:
        clean(engine, made.name)
