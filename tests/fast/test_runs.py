"""Runs, their files, and registered versions that never change, in an embedded store."""

import json
import shutil
import sqlite3
from pathlib import Path

import joblib
import numpy as np
import pytest

from service.errors import DigestError
from service.runs import (
    Model,
    NotInStoreError,
    Run,
    RunStoreError,
    StoreVersionError,
    Workspace,
)
from service.runs.embedded import PARTS, read_revision
from service.runs.engine import upgrade_store
from service.runs.names import check_comment, check_experiment_name, check_model_name
from service.runs.pyfunc import _load_pyfunc
from service.runs.surroundings import uri_of
from service.runs.versions import digest_file, fetch_version
from service.scoring import load


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
    for value in ("1", True, None, [1]):
        with pytest.raises(ValueError, match="log e: expected a number"):
            run.log("e", value)


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


@pytest.mark.parametrize("name", ["MLmodel", "code/service/runs/pyfunc.py", "requirements.txt"])
def test_every_file_of_a_version_has_its_digest(registered, runs_folder, tmp_path, name):
    """The code and what MLflow reads too."""
    files = fetch_version(registered.workspace.engine, registered._found, tmp_path / "a", "")
    assert tmp_path / "a" / name in files
    changed = version_folder(registered, runs_folder) / name
    changed.write_text(changed.read_text() + " ")
    with pytest.raises(DigestError, match=name):
        fetch_version(registered.workspace.engine, registered._found, tmp_path / "b", "")


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


def test_an_upgrade_happens_on_a_copy(runs_folder, tmp_path):
    """A store of an earlier revision becomes one of today's, and stays beside as it was."""
    database = tmp_path / "runs.db"
    shutil.copy(runs_folder / "runs.db", database)
    head = read_revision(database)
    kept = upgrade_store(uri_of(tmp_path))
    assert kept.name == f"runs.db.{head}"
    assert read_revision(database) == read_revision(kept) == head
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
