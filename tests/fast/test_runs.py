"""Runs, their files, and registered versions that never change, in an embedded store."""

import ast
import io
import json
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from importlib.metadata import packages_distributions
from pathlib import Path

import joblib
import numpy as np
import pytest

import service
from service.errors import DigestError
from service.explanations import LocalExplanation
from service.runs import (
    ExplanationClient,
    Model,
    NotInStoreError,
    Run,
    RunStoreError,
    StoreVersionError,
    Workspace,
)
from service.runs.commands import main
from service.runs.embedded import PARTS, read_revision, upgrade_database
from service.runs.engine import upgrade_store
from service.runs.names import OF_VERSIONS, check_comment, check_experiment_name, check_model_name
from service.runs.pyfunc import _load_pyfunc
from service.runs.surroundings import uri_of
from service.runs.versions import REQUIRED, digest_file, fetch_version
from service.scoring import load

PACKAGE = Path(service.__file__).parent
EARLIER = "da6fb0208061"  # ten revisions before that of MLflow 3.17.2


@pytest.fixture
def registered(run, iris_folder):
    """Both models of a folder, as the first version of a model of this run's name."""
    run.upload_folder("outputs", iris_folder)
    return run.register_model(f"iris_{run.id}", "outputs", {"team": "a"}, "first", {"rows": 75})


def version_folder(model, runs_folder):
    """Where the files of a version lie."""
    return Path(runs_folder, "artifacts", *model._found.source.split("/")[-4:])


def test_files_are_found_again_and_never_replaced(run, tmp_path):
    """What was put under a name stays under it, for every reader."""
    file = tmp_path / "notes.txt"
    file.write_text("one")
    run.upload_file("outputs/notes.txt", file)
    file.write_text("two")
    with pytest.raises(FileExistsError, match=r"outputs/notes\.txt is there already"):
        run.upload_file("outputs/notes.txt", file)
    with pytest.raises(FileExistsError, match="outputs is there already"):
        run.upload_folder("outputs", tmp_path)
    with pytest.raises(FileExistsError, match="outputs is there already"):
        run.upload_file("outputs", file)
    with pytest.raises(FileExistsError, match=r"notes\.txt is there already"):
        run.upload_file("outputs/notes.txt/below", file)
    assert run.get_file_names() == ["outputs/notes.txt"]
    copied = run.download_file("outputs/notes.txt", tmp_path / "back" / "n.txt")
    assert Path(copied).read_text() == "one"
    with pytest.raises(NotInStoreError, match=r"other\.txt.*outputs/notes\.txt"):
        run.download_file("other.txt")


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../up", "a/../b", "/etc/passwd", "a//b", "a/", "a\\b", "a\nb", "a\0b"),
        *("C:file", "explanations/x", "explanations", "x" * 201, "a/./b", 7, None),
    ],
)
def test_names_that_lead_elsewhere_are_refused(run, tmp_path, name):
    """In one sentence, before anything is written."""
    file = tmp_path / "f"
    file.write_text("x")
    with pytest.raises(ValueError, match="expected the name of a file below the run"):
        run.upload_file(name, file)
    assert run.get_file_names() == []


@pytest.mark.parametrize("name", ["", "a/b", "a:3", "a@b", "../a", "a\n", " a", "a.", "x" * 201, 3])
def test_names_of_models_can_stand_in_a_uri_and_be_folders(name):
    """All others are refused in one sentence."""
    with pytest.raises(ValueError, match="Model: expected a name of letters"):
        check_model_name(name)
    assert check_model_name("größe_2 b-3.x") == "größe_2 b-3.x"


@pytest.mark.parametrize("name", ["", " ", "Default", "a\nb", "x" * 201, 3])
def test_names_of_experiments_can_be_listed(name):
    """The one that MLflow would write into the current folder is refused too."""
    with pytest.raises(ValueError, match="Workspace: expected an experiment's name"):
        check_experiment_name(name)


def test_hostile_names_of_experiments_stay_names(runs_folder):
    """A quote or a path is listed as it is, and its files lie in the store."""
    for name in ("it's 'quoted'", "../../etc", "größe %2e%2e"):
        workspace = Workspace(uri_of(runs_folder), experiment=name)
        run_id = workspace.create_run()
        assert [run.info.run_id for run in workspace.runs(name)] == [run_id]
        location = Path(workspace.get_run(run_id).info.artifact_uri.removeprefix("file://"))
        assert location.is_relative_to(runs_folder / "artifacts")
    with pytest.raises(NotInStoreError, match="got 'nothing of that name'"):
        workspace.runs("nothing of that name")


def test_long_texts_are_refused_and_not_cut(run):
    """MLflow itself would cut a tag at 8,000 characters without a word."""
    with pytest.raises(ValueError, match=r"comment: expected .* 1,000 characters, got 1,001"):
        check_comment("x" * 1001)
    with pytest.raises(ValueError, match=r"tag note: expected at most 8,000 .* got 8,001"):
        run.tag(note="x" * 8001)
    run.tag(note="é" * 8000)
    assert run.tags["note"] == "é" * 8000
    for name in ("mlflow.user", "explanation.x", "model_explanation", "a:b", ""):
        with pytest.raises(ValueError, match="tag: expected a name"):
            run.tag(**{name: "x"})


def test_numbers_are_logged_nan_too(run):
    """And nothing else is."""
    for name, value in {"a": 0.5, "b": np.float32(2), "c": float("nan"), "d": 3}.items():
        run.log(name, value)
    logged = run.get_metrics()
    assert (logged["a"], logged["b"], logged["d"]) == (0.5, 2.0, 3.0)
    assert np.isnan(logged["c"])
    run.log("e", -np.inf)
    run.log("f", np.inf)
    assert (run.get_metrics()["e"], run.get_metrics()["f"]) == (-np.inf, np.inf)
    for value in ("1", True, None, [1], np.ones(2), 10**400, 1j):
        with pytest.raises(ValueError, match="log g: expected a number"):
            run.log("g", value)
    assert "g" not in run.get_metrics()


def test_a_context_ends_as_its_block_does(workspace):
    """FINISHED, or FAILED with the exception; a second one is another run."""
    with Run.get_context(workspace) as first:
        assert Run.get_context(workspace) is first
        assert first.status == "RUNNING"
    assert first.status == "FINISHED"
    with pytest.raises(ZeroDivisionError), Run.get_context(workspace) as second:
        1 / 0  # noqa: B018
    assert (second.status, second.tags["error"]) == (
        "FAILED",
        "ZeroDivisionError: division by zero",
    )
    second.complete()
    assert second.status == "FAILED"
    assert first.id != second.id


@pytest.mark.parametrize("said", ["caf\udce9", "a\0b", "x" * 9000], ids=ascii)
def test_a_run_fails_whatever_the_exception_says(workspace, said):
    """The name of a file that is no text, for one; the script's own exception comes out."""
    with pytest.raises(KeyError) as caught, Run.get_context(workspace) as run:
        raise KeyError(said)
    assert caught.value.args == (said,)
    assert run.status == "FAILED"
    assert run.tags["error"].startswith("KeyError: '")


def test_a_script_has_one_run_at_a_time(workspace):
    """Another workspace is refused and not written to; ended by another handle, it has ended."""
    elsewhere = Workspace(workspace.uri, experiment="elsewhere")
    with Run.get_context(workspace) as first:
        with pytest.raises(RunStoreError, match=r"complete\(\) it before one in .*elsewhere"):
            Run.get_context(elsewhere)
        assert Run.get_context() is first
        Run(workspace, first.id).complete()
    with Run.get_context(elsewhere) as second:
        assert second.id != first.id
    assert elsewhere.runs("elsewhere")[0].info.run_id == second.id


def test_an_open_file_is_uploaded_too(run, tmp_path):
    """What is left of it to read; a text has no bytes yet."""
    stream = io.BytesIO(b"\0\1\2")
    stream.read(1)
    run.upload_file("bytes", stream)
    assert Path(run.download_file("bytes", tmp_path / "b")).read_bytes() == b"\1\2"
    with pytest.raises(TypeError, match="bytes"):
        run.upload_file("text", io.StringIO("größe"))
    with pytest.raises(FileExistsError, match="bytes is there already"):
        run.upload_file("bytes", io.BytesIO(b""))


@pytest.mark.parametrize("name", OF_VERSIONS)
def test_a_tag_of_the_stores_own_is_refused(run, tmp_path, name):
    """It would be lost, or be taken for what the store says of the version."""
    (tmp_path / "f").write_text("x")
    run.upload_file("f", tmp_path / "f")
    with pytest.raises(ValueError, match=f"does not use itself, got '{name}'"):
        run.register_model(f"f_{run.id}", "f", tags={name: "mine"})
    assert f"f_{run.id}" not in run.workspace.models()
    model = run.register_model(f"f_{run.id}", "f", tags={"mine": name}, description=None)
    assert (model.tags["mine"], model.description) == (name, "")


def test_what_is_not_among_the_files_is_told_without_explanations(run, tmp_path):
    """Whose files no user has named."""
    local = LocalExplanation.from_values([[1.0]], expected_values=0.0)
    ExplanationClient(run).upload_model_explanation(local)
    (tmp_path / "f").write_text("x")
    run.upload_file("f", tmp_path / "f")
    for ask in (run.download_file, run.register_model):
        with pytest.raises(NotInStoreError, match=r"files .*\(f\)"):
            ask("g")


def test_a_folder_is_never_a_mixture_of_versions(run, tmp_path):
    """What another version has more is not left beside what this one has."""
    for name, files in {"one": "ab", "two": "a"}.items():
        folder = tmp_path / name
        folder.mkdir()
        for file in files:
            (folder / file).write_text(name)
        run.upload_folder(name, folder)
    first, second = (run.register_model(f"m_{run.id}", name) for name in ("one", "two"))
    there = Path(second.download(tmp_path / "there"))
    assert first.download(tmp_path / "there", exist_ok=True) == str(there)
    with pytest.raises(FileExistsError, match="has b too; remove it"):
        second.download(tmp_path / "there", exist_ok=True)
    assert {file.name: file.read_text() for file in there.iterdir()} == {"a": "one", "b": "one"}
    assert list((tmp_path / "there").iterdir()) == [there]


def test_a_store_lies_in_a_folder_of_any_name(tmp_path):
    """Also where an address or a statement would mean something else by it."""
    name = 'it\'s "100%25" #1 %; ü 中&'
    workspace = Workspace(uri_of(tmp_path / name), experiment="e")
    run = Run(workspace, workspace.create_run())
    (tmp_path / "f").write_text("x")
    run.upload_file("f", tmp_path / "f")
    model = run.register_model("m", "f")
    assert Path(model.download(tmp_path / "there")).read_text() == "x"
    assert sorted(file.name for file in (tmp_path / name).iterdir()) == [
        *(PARTS, "artifacts", "runs.db")
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([name, "f", "there"])


def test_a_folder_that_cannot_hold_a_store_is_refused(tmp_path):
    """In one sentence: one whose name would end the address, one that nobody can make."""
    with pytest.raises(RunStoreError, match="expected a folder without '\\?'"):
        Workspace(uri_of(tmp_path / "a?b"), experiment="e").experiments()
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunStoreError, match=r"none can be made there \(Not a directory\)"):
        Workspace(uri_of(tmp_path / "file/below"), experiment="e").experiments()
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_files_of_mlflows_own_experiments_are_found(workspace, tmp_path):
    """They never lay in the store: MLflow puts them where it was started."""
    made = workspace.engine.ask("create_experiment", f"own {tmp_path}", f"{tmp_path}/mlruns/1")
    run = workspace.engine.ask("create_run", made)
    (tmp_path / "shap.npy").write_bytes(b"x")
    workspace.engine.ask("log_artifact", run.info.run_id, str(tmp_path / "shap.npy"), "shap")
    assert Run(workspace, run.info.run_id).get_file_names() == ["shap/shap.npy"]


def test_a_version_is_what_was_registered(registered, iris_folder, tmp_path):
    """Found by number, alias and as the newest, with what is known of it."""
    name = registered.name
    assert (registered.version, registered.description, registered.file) == (1, "first", "")
    assert (registered.tags["team"], registered.properties) == ("a", {"rows": 75})
    registered.set_alias("champion")
    for found in (
        Model(registered.workspace, name),
        Model(registered.workspace, f"{name}:1"),
        Model(registered.workspace, name, 1),
        Model(registered.workspace, name, alias="champion"),
        Model(registered.workspace, f"{name}@champion"),
    ):
        assert (found.id, found.aliases) == (f"{name}:1", ["champion"])
    folder = Path(registered.download(tmp_path))
    assert folder == tmp_path / name
    for file in iris_folder.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()
    with pytest.raises(FileExistsError, match="exist_ok=True"):
        registered.download(tmp_path)
    for wanted in (f"{name}:7", f"{name}@nobody", "nothing"):
        with pytest.raises(NotInStoreError, match=rf"{name}:1|there are"):
            Model(registered.workspace, wanted)


def test_a_file_is_registered_with_its_manifest_and_loaded_from_where_it_was_put(
    run, iris_folder, four_rows, tmp_path
):
    """As the documents do it: upload, register, find, download, load."""
    explainer = load(iris_folder)
    run.upload_file("my_scoring_explainer.pkl", iris_folder / "scoring_explainer.pkl")
    assert run.get_file_names() == ["my_scoring_explainer.json", "my_scoring_explainer.pkl"]
    model = run.register_model(f"mine_{run.id}", "my_scoring_explainer.pkl")
    path = Model(run.workspace, model.name).download(target_dir=tmp_path, exist_ok=True)
    assert Path(path).name == "my_scoring_explainer.pkl"
    again = load(path).explain(four_rows)
    assert np.array_equal(again, explainer.explain(four_rows))
    with pytest.raises(NotInStoreError, match=r"expected one of the run's files \(my_sc"):
        run.register_model("other", "nothing.pkl")


def test_versions_count_up_and_are_listed_the_newest_first(registered, run):
    """Without a gap; those of other models are not among them."""
    run.register_model(registered.name, "outputs")
    listed = Model.list(run.workspace, registered.name)
    assert [model.version for model in listed] == [2, 1]
    assert registered.name in {model.name for model in Model.list(run.workspace)}


def test_a_swapped_file_is_refused_before_it_is_unpickled(registered, runs_folder, tmp_path):
    """The pickle *and* its manifest were replaced by others that fit each other."""
    folder = version_folder(registered, runs_folder) / "model"
    trap = folder / "scoring_explainer.pkl"
    joblib.dump({"evil": True}, trap)
    manifest = json.loads((folder / "scoring_explainer.json").read_text())
    manifest["sha256"] = digest_file(trap)
    (folder / "scoring_explainer.json").write_text(json.dumps(manifest))
    with pytest.raises(DigestError, match="is not what was registered"):
        registered.download(tmp_path / "there")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", ["MLmodel", "code.zip", "requirements.txt"])
def test_every_file_of_a_version_has_its_digest(registered, runs_folder, tmp_path, name):
    """The code and what MLflow reads too."""
    files = fetch_version(registered.workspace.engine, registered._found, tmp_path / "a", "")
    assert tmp_path / "a" / name in files
    changed = version_folder(registered, runs_folder) / name
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(DigestError, match=name):
        fetch_version(registered.workspace.engine, registered._found, tmp_path / "b", "")


def test_versions_have_the_package_in_one_file_that_is_always_the_same(registered, run, tmp_path):
    """Not the files that a run of it leaves, nor when it was packed."""
    again = run.register_model(registered.name, "outputs")
    digests = [json.loads(one.tags["sha256"]) for one in (registered, again)]
    assert digests[0]["code.zip"] == digests[1]["code.zip"]
    assert len(digests[0]) < 15
    fetch_version(again.workspace.engine, again._found, tmp_path, "")
    names = zipfile.ZipFile(tmp_path / "code.zip").namelist()
    sources = {f"service/{file.relative_to(PACKAGE)}" for file in PACKAGE.rglob("*.py")}
    assert sources <= {*names}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.parametrize("digests", [None, "[]x", '{"../out": "0"}', '{"/etc/x": "0"}'])
def test_versions_of_others_are_refused(registered, tmp_path, digests):
    """Without digests, or with names that lead elsewhere."""
    registered._found.tags.pop("sha256")
    if digests is not None:
        registered._found.tags["sha256"] = digests
    with pytest.raises(RunStoreError, match=r"expected digests|may not be called"):
        registered.download(tmp_path)


def test_a_version_is_a_model_of_mlflows(registered, runs_folder, iris_model, four_rows):
    """Predictions and, by params, the reasons; rows that do not fit are refused without values."""
    served = _load_pyfunc(str(version_folder(registered, runs_folder) / "model"))
    assert np.array_equal(served.predict(four_rows), iris_model.predict(four_rows))
    answer = served.predict(four_rows, {"explain": True, "top_k": 2})
    assert np.array_equal(answer["predictions"], iris_model.predict(four_rows))
    assert np.shape(answer["local_importance_values"]) == (3, 4, 4)
    assert [len(row) for row in answer["top_importances"]] == [2, 2, 2, 2]
    with pytest.raises(ValueError, match="column"):
        served.predict(four_rows.iloc[:, :2])


LOADED = """
import sys, service.runs.pyfunc
for name in [*sys.modules]:
    if name.split(".")[0] == "service":
        print(sys.modules[name].__file__)
"""
# By what a store is opened and pictures are drawn, which a version never does.
OF_OTHERS = {"alembic", "matplotlib", "sqlalchemy"}


def test_a_version_requires_what_the_package_in_it_imports():
    """An environment that is made of its requirements has all of it."""
    script = [sys.executable, "-c", LOADED]
    files = subprocess.run(script, capture_output=True, text=True, check=True, timeout=120)
    imported = set()
    for file in files.stdout.split():
        for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else ()
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else names
            imported.update(name.split(".")[0] for name in names)
    imported -= {*sys.stdlib_module_names, *OF_OTHERS, "service", ""}
    distributions = packages_distributions()
    assert {"numpy", "tqdm"} <= imported
    for name in imported:
        assert set(distributions[name]) <= set(REQUIRED), name


def test_a_moved_store_is_read_where_it_is(registered, run, runs_folder, tmp_path):
    """MLflow wrote down absolute addresses, of files that are not there any more."""
    moved = tmp_path / "moved"
    shutil.copytree(runs_folder, moved, ignore=shutil.ignore_patterns(PARTS))
    shutil.rmtree(version_folder(registered, runs_folder))
    workspace = Workspace(uri_of(moved))
    assert Run(workspace, run.id).get_file_names() == run.get_file_names()
    Run(workspace, run.id).download_file("outputs/original_model.pkl", tmp_path / "model.pkl")
    assert Path(Model(workspace, registered.name).download(tmp_path)).is_dir()


def test_an_older_store_is_refused_until_it_is_upgraded(runs_folder, tmp_path):
    """Nothing is migrated unasked, and what was is kept."""
    database = tmp_path / "old" / "runs.db"
    database.parent.mkdir()
    shutil.copy(runs_folder / "runs.db", database)
    head = read_revision(database)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000000000aa'")
    connection.close()
    before = database.read_bytes()
    with pytest.raises(StoreVersionError, match=f"{head}.*0000000000aa.*upgrade"):
        Workspace(uri_of(database.parent)).runs()
    assert database.read_bytes() == before
    assert head != "0000000000aa"


def made_older(database, revision):
    """Make a store what an earlier MLflow has written, by its own migrations, backwards."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config

    command.downgrade(_get_alembic_config(f"sqlite:///{database}"), revision)
    assert read_revision(database) == revision


def tables_of(database):
    with closing(sqlite3.connect(database)) as connection:
        return sorted(connection.execute("SELECT name, sql FROM sqlite_master"))


def test_a_store_of_an_earlier_mlflow_is_upgraded_by_command(
    registered, run, runs_folder, tmp_path, capsys
):
    """On a copy: what it had is there, and the file as it was stays beside."""
    shutil.copytree(runs_folder, tmp_path / "old", ignore=shutil.ignore_patterns(PARTS))
    database = tmp_path / "old" / "runs.db"
    head, tables = read_revision(database), tables_of(database)
    made_older(database, EARLIER)
    older, before = tables_of(database), database.read_bytes()
    assert len(older) < len(tables)
    workspace = Workspace(uri_of(database.parent))
    with pytest.raises(StoreVersionError, match=f"{head}.*{EARLIER}.*upgrade"):
        workspace.runs()
    assert database.read_bytes() == before

    assert main(["--store", workspace.uri, "upgrade"]) == 0
    kept = database.with_name(f"runs.db.{EARLIER}")
    assert str(kept) in capsys.readouterr().out
    assert kept.read_bytes() == before
    assert {name for name, _ in tables_of(database)} == {name for name, _ in tables}
    assert Run(workspace, run.id).get_file_names() == run.get_file_names()
    again = Model(workspace, registered.name)
    assert (again.version, again.tags) == (registered.version, registered.tags)
    assert Path(again.download(tmp_path / "there")).is_dir()
    assert Run(workspace, workspace.create_run()).status == "RUNNING"


def test_an_upgrade_that_fails_or_has_nothing_to_do_changes_nothing(runs_folder, tmp_path):
    """It happens on a copy, which is removed."""
    database = tmp_path / "runs.db"
    shutil.copy(runs_folder / "runs.db", database)
    before = database.read_bytes()
    with pytest.raises(ZeroDivisionError):
        upgrade_database(database, lambda uri: 1 / 0)
    assert database.read_bytes() == before
    kept = upgrade_store(uri_of(tmp_path))
    assert kept.name == f"runs.db.{read_revision(database)}"
    assert kept.read_bytes() == before
    assert tables_of(database) == tables_of(kept)
    assert list((tmp_path / PARTS).iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no database at all", None])
def test_what_is_no_store_is_refused(tmp_path, content):
    """And left as it is."""
    database = tmp_path / "runs.db"
    if content is None:
        sqlite3.connect(database).execute("CREATE TABLE mine (a)").connection.close()
        content = database.read_bytes()
    database.write_bytes(content)
    with pytest.raises(RunStoreError, match="expected a store of runs"):
        Workspace(uri_of(tmp_path)).runs()
    assert database.read_bytes() == content


@pytest.mark.parametrize("uri", ["postgresql://me:secret@db/x", "/folder", "sqlite:///", "file:x"])
def test_other_stores_are_refused_without_their_passwords(uri):
    """In one sentence."""
    with pytest.raises(RunStoreError, match="Workspace: expected") as caught:
        Workspace(uri).runs()
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Workspace(uri))
