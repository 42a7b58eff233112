"""Deploying what is registered: from an alias to files, on a real store and without an engine."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy import (
    InferenceConfig,
    deploy_configuration,
    deploy_from_model,
    from_workspace,
    image_configuration,
)
from deploy.configuration import Configuration, configuration
from deploy.errors import ConfigurationError, RegistryError
from deploy.image.context import gather
from deploy.registry import store as registry_store
from deploy.registry.marking import mark_versions
from deploy.registry.origin import from_label, to_label
from deploy.registry.store import PIP, Store, registry_uri
from deploy.release.release import Release, release_from, release_record
from service.errors import DigestError
from service.model_paths import find_model_path
from service.runs import Model, Run, Workspace
from service.settings import Settings
from service.web.app import create_app

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def registered(tmp_path_factory, iris_folder):
    """A project whose store has two versions of one folder, one of single files, and a champion."""
    project = tmp_path_factory.mktemp("project")
    for name in ("score.py", "requirements.lock"):
        shutil.copy(ROOT / name, project / name)
    workspace = Workspace(f"sqlite:///{project}/.runs/runs.db", experiment="irises")
    run = Run(workspace, workspace.create_run())
    run.upload_folder("iris", str(iris_folder))
    for name in ("original_model.pkl", "scoring_explainer.pkl"):
        run.upload_file(name, str(iris_folder / name))
    first, second = (run.register_model("iris") for _ in range(2))
    first.set_alias("champion")
    run.register_model("the model", "original_model.pkl")
    run.register_model("my_scoring_explainer", "scoring_explainer.pkl")
    return project, workspace, run, (first, second)


def config_of(*models, **more):
    return configuration({"name": "scoring", "models": list(models), "example": "", **more})


def files_of(config, project):
    context = gather(config, project, {})
    models = {}
    for path, content in context.files.items():
        if path.startswith("app/models/"):
            models[path.removeprefix("app/models/")] = content
    return models, context.origins


def pinned(config, project):
    return gather(config, project, {}).config


def test_an_alias_becomes_a_version_with_its_files_and_facts(registered, iris_folder):
    """What goes into the image is what was registered, byte by byte, and a file says what it is."""
    project, workspace, run, _ = registered
    models, [origin] = files_of(config_of("models:/iris@champion"), project)
    told = json.loads(models.pop("origin.json"))["models"]
    for name in os.listdir(iris_folder):
        assert models.pop(name) == (iris_folder / name).read_bytes(), name
    assert not models
    assert told == [origin.facts()]
    assert (origin.uri, origin.name, origin.version) == ("models:/iris/1", "iris", "1")
    assert (origin.run, origin.registry) == (run.id, workspace.uri)
    assert origin.sha256 == {
        name: hashlib.sha256((iris_folder / name).read_bytes()).hexdigest()
        for name in os.listdir(iris_folder)
    }
    by_number, _ = files_of(config_of("models:/iris/1"), project)
    again, _ = files_of(config_of("models:/iris@champion"), project)
    assert by_number == again  # so it is the same image


def test_a_release_keeps_its_version_whatever_the_alias_says_later(registered):
    """The record of a release has the version in place of the alias, and its facts."""
    project, _, _, (first, second) = registered
    config = config_of("models:/iris@champion")
    _, origins = files_of(config, project)
    release = Release("0" * 12, "sha256:1", pinned(config, project), "c", 1.0, origins=origins)
    second.set_alias("champion")
    try:
        kept = release_from(release_record(release)["Labels"], "sha256:1")
        assert kept == release
        assert kept.config.models == ("models:/iris/1",)
        assert files_of(config, project)[1][0].version == "2"
        assert files_of(kept.config, project)[1] == origins
    finally:
        first.set_alias("champion")


def test_single_files_lie_together_and_are_found_by_their_registered_names(
    registered, tmp_path, monkeypatch
):
    """Two registered files make one folder that the service loads; scripts find them by name."""
    project, *_ = registered
    config = config_of("models:/my_scoring_explainer/1", "models:/the model/1")
    models, origins = files_of(config, project)
    assert sorted(models) == [
        *("origin.json", "original_model.pkl", "scoring_explainer.json", "scoring_explainer.pkl")
    ]
    write(tmp_path, models)
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    assert find_model_path("the model") == str(tmp_path / "original_model.pkl")
    assert find_model_path("my_scoring_explainer", 1) == str(tmp_path / "scoring_explainer.pkl")
    with pytest.raises(FileNotFoundError):
        find_model_path("the model", 2)
    app = create_app(Settings.from_environment())
    told = app.test_client().get("/v2/models/model").json["registered_models"]
    assert [each["uri"] for each in told] == [origin.uri for origin in origins]
    assert "sha256" not in told[0]
    text = app.test_client().get("/metrics").get_data(as_text=True)
    uris = "models:/my_scoring_explainer/1,models:/the model/1"
    assert f'uri="{uris}"' in text


def write(folder, models):
    for name, content in models.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def test_folders_of_one_among_several_lie_apart(registered, tmp_path):
    """A folder lies below its model's name when it is not alone."""
    project, *_ = registered
    models, origins = files_of(config_of("models:/iris/2", "models:/the model/1"), project)
    assert {"iris/original_model.pkl", "original_model.pkl", "origin.json"} <= models.keys()
    assert [origin.path for origin in origins] == ["iris", "original_model.pkl"]


@pytest.mark.parametrize("swapped", ["original_model.pkl", "scoring_explainer.json"])
def test_the_service_compares_before_it_loads(registered, tmp_path, monkeypatch, swapped):
    """A file that was changed in the image is refused at start, and nothing is unpickled."""
    project, *_ = registered
    models, _ = files_of(config_of("models:/iris@champion"), project)
    write(tmp_path, {**models, swapped: EVIL})
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    with pytest.raises(DigestError, match=f"{swapped}.*models:/iris/1"):
        create_app(Settings.from_environment())


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a changed pickle was loaded",))


EVIL = __import__("pickle").dumps(Evil())


def test_a_pickle_and_manifest_swapped_in_the_store_are_refused(registered, tmp_path):
    """Whoever can write files, and not the database, cannot have another model deployed."""
    project, *_ = registered
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)  # a store that was moved is read where it lies
    config = config_of("models:/iris@champion")
    before = files_of(config, copy)[0].keys()
    assert "original_model.pkl" in before
    for name in ("original_model.pkl", "scoring_explainer.json"):
        for file in (copy / ".runs" / "artifacts").rglob(f"models/*/artifacts/model/{name}"):
            file.write_bytes(EVIL)
    with pytest.raises(RegistryError, match="not what was registered"):
        files_of(config, copy)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("models:/iris@nobody", "iris has the versions 1, 2, and the aliases @champion is 1"),
        ("models:/iris/7", "iris has the versions 1, 2"),
        ("models:/rose/1", "there are: iris, my_scoring_explainer, the model"),
        ("models:/' OR 1=1/1", "no model of that name"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(registered, uri, said):
    project, *_ = registered
    with pytest.raises(RegistryError, match=said):
        files_of(config_of(uri), project)


@pytest.mark.parametrize(
    "uri", ["models:/iris", "models:/iris/latest", "models:/iris/Production", "models:/", "models:"]
)
def test_an_address_without_a_version_is_refused_at_once(uri):
    with pytest.raises(ConfigurationError, match=r"models\[0\].*models:/NAME@ALIAS"):
        config_of(uri)


def test_a_password_is_never_part_of_a_release(registered, monkeypatch):
    """Not in the configuration, which refuses it, and not by way of the environment."""
    with pytest.raises(ConfigurationError, match="without a password"):
        config_of("models:/iris/1", tracking_uri="https://me:secret@runs.example")
    environ = {"MLFLOW_TRACKING_URI": "https://me:secret@runs.example"}
    for named in ("", "https://runs.example"):
        uri = registry_uri(named, Path("/project"), environ)
        assert uri == "https://me:secret@runs.example"
    assert Store(uri).place == "https://runs.example"


def test_versions_of_others_have_no_digests_and_are_refused(registered):
    project, workspace, *_ = registered
    client = workspace.engine._client
    client.create_registered_model("foreign")
    client.create_model_version("foreign", str(project / "score.py"))
    try:
        with pytest.raises(RegistryError, match="sha256, got none"):
            files_of(config_of("models:/foreign/1"), project)
        client.set_model_version_tag("foreign", "1", "sha256", '{"model/../../score.py": "0"}')
        with pytest.raises(RegistryError, match="may not be called"):
            files_of(config_of("models:/foreign/1"), project)
    finally:
        client.delete_registered_model("foreign")


def test_no_store_is_made_and_none_is_migrated(registered, tmp_path):
    """A deployment reads a store; it never makes one, and never changes its tables."""
    with pytest.raises(RegistryError, match="no such store"):
        files_of(config_of("models:/iris/1"), tmp_path)
    assert not (tmp_path / ".runs").exists()
    project, *_ = registered
    shutil.copytree(project / ".runs", tmp_path / ".runs")
    import sqlite3

    with closing(sqlite3.connect(tmp_path / ".runs" / "runs.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'an-old-one'")
        database.commit()
    with pytest.raises(RegistryError, match="another version of MLflow"):
        files_of(config_of("models:/iris/1"), tmp_path)


def test_the_version_says_where_it_runs_and_the_former_one_no_more(registered):
    project, workspace, _, _ = registered
    _, one = files_of(config_of("models:/iris/1"), project)
    _, two = files_of(config_of("models:/iris/2"), project)
    assert list(mark_versions("scoring", "aaa", one, (), project)) == []
    assert Model(workspace, "iris:1").tags["deployed.scoring"] == "aaa"
    assert list(mark_versions("scoring", "bbb", two, one, project)) == []
    assert "deployed.scoring" not in Model(workspace, "iris:1").tags
    assert Model(workspace, "iris:2").tags["deployed.scoring"] == "bbb"
    assert list(mark_versions("scoring", "", (), two, project)) == []
    assert "deployed.scoring" not in Model(workspace, "iris:2").tags


def test_a_registry_that_is_down_is_one_sentence(registered, monkeypatch):
    """For a deployment that needs it; one that has rolled out goes on with the sentence printed."""
    project, *_ = registered
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with pytest.raises(RegistryError, match="expected MLflow's server to answer"):
        files_of(config_of("models:/iris/1", tracking_uri=uri), project)
    _, [origin] = files_of(config_of("models:/iris/1"), project)
    from dataclasses import replace

    [said] = mark_versions("scoring", "aaa", [replace(origin, registry=uri)], (), project)
    assert "was not told" in said


def test_a_registry_that_says_nothing_is_waited_for_so_long_and_no_longer(registered, monkeypatch):
    """Connected, and silent: the wait has a bound of its own."""
    project, *_ = registered
    monkeypatch.setattr(registry_store, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RegistryError, match=r"no answer within 0\.5 s"):
            files_of(config_of("models:/iris/1", tracking_uri=uri), project)


def test_without_mlflow_the_sentence_says_how_to_install_it(tmp_path):
    """And a configuration of paths alone never asks for it."""
    script = """
import sys
sys.modules["mlflow"] = None
from pathlib import Path
from deploy.configuration import configuration
from deploy.errors import RegistryError
from deploy.registry.fetching import fetched_models
with fetched_models(configuration({"name": "scoring"}), Path()) as found:
    assert (found.origins, found.files) == ((), ())
try:
    with fetched_models(configuration({"name": "scoring", "models": ["models:/a/1"]}), Path()):
        pass
except RegistryError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert PIP in done.stdout, done.stderr


def test_records_of_releases_without_origins_are_read():
    """Those that were recorded before there were any."""
    release = Release("0" * 12, "sha256:1", Configuration("scoring"), "c", 1.0)
    record = release_record(release)["Labels"]
    assert release_from(record, "sha256:1") == release
    del record["scoring.deploy.origins"]
    assert release_from(record, "sha256:1") == release
    assert from_label(to_label(())) == ()


@pytest.mark.parametrize(
    ("model", "uri"),
    [
        ("models:/iris@champion", "models:/iris@champion"),
        ("iris:2", "models:/iris/2"),
        ("iris@champion", "models:/iris@champion"),
        (SimpleNamespace(name="iris", version=7), "models:/iris/7"),
    ],
)
def test_the_documents_call_takes_models_in_their_spellings(monkeypatch, tmp_path, model, uri):
    """What reaches `deploy` is an address of a version, the workspace's store, and the script."""
    asked = []
    monkeypatch.setattr(from_workspace, "deploy", lambda *given: asked.append(given))
    (tmp_path / "src").mkdir()
    for name in ("answer.py", "helper.py", ".env"):
        (tmp_path / "src" / name).write_text("")
    deploy_from_model(
        workspace=SimpleNamespace(uri="https://runs.example"),
        name="model-scoring",
        models=[model],
        inference_config=InferenceConfig("answer.py", source_directory="src"),
        deployment_config=deploy_configuration(cpu_cores=2, memory_gb=1),
        overwrite=True,
        root=tmp_path,
    )
    [(name, models, config, _)] = asked
    assert (name, models) == ("model-scoring", [uri])
    assert config["tracking_uri"] == "https://runs.example"
    assert config["entry_script"] == "src/answer.py"
    assert config["code"] == ["src/answer.py", "src/helper.py"]
    assert config["cpu_cores"] == 2
    configuration({"name": name, "models": models, **config})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": ["original_model.pkl"]}, "expected NAME:VERSION"),
        ({"models": [7]}, "expected registered models, got a int"),
        ({"workspace": 7}, "expected a Workspace"),
        ({"workspace": "https://me:secret@runs.example"}, "https://runs.example has a password"),
        ({"deployment_target": "aks"}, "`engine`"),
        ({"image_config": InferenceConfig()}, "got both"),
    ],
)
def test_the_documents_call_refuses_what_it_cannot_do(change, said):
    """In one sentence that has no password in it, before an engine is asked."""
    given = {
        "workspace": "https://runs.example",
        "name": "scoring",
        "models": ["iris:1"],
        "inference_config": InferenceConfig(),
    }
    with pytest.raises(ConfigurationError, match=said) as refused:
        deploy_from_model(**{**given, **change})
    assert "secret" not in str(refused.value)


def test_a_conda_file_stands_for_its_lock(tmp_path):
    """A description that nobody has locked installs nothing, and is refused."""
    (tmp_path / "myenv.yml").write_text("dependencies: []")
    with pytest.raises(ConfigurationError, match=r"expected .*myenv\.lock"):
        image_configuration("score.py", conda_file=str(tmp_path / "myenv.yml"))
    (tmp_path / "myenv.lock").write_text("")
    made = image_configuration("score.py", conda_file=str(tmp_path / "myenv.yml"))
    assert made.keys_of_deploy_yml()["environment"] == str(tmp_path / "myenv.lock")
