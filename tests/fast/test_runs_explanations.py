"""Explanations of a run: what was uploaded is what is downloaded, and half of one is not there."""

import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_top_features import EXPLANATIONS, KINDS, N_ROWS, bits, every_kind

from service.errors import DigestError, ManifestError
from service.explanations import ExplanationContext, GlobalExplanation, LocalExplanation, top
from service.explanations.files import content
from service.explanations.files.storage import digest
from service.runs import ExplanationClient, ExplanationNotFoundError, Model, Run
from service.runs.commands import main
from service.runs.embedded import PARTS
from service.runs.summaries import read_summaries, to_tags

NAN = [[float("nan"), 1.0]]


@pytest.fixture
def client(run):
    return ExplanationClient.from_run(run)


@pytest.fixture
def local():
    return LocalExplanation.from_values([[1.0, -2.0, 0.5], [0.0, 4.0, 1.0]], expected_values=5.0)


def folders(run, runs_folder):
    """The folders of explanations that a run has, committed or not."""
    uri = run.workspace.get_run(run.id).info.artifact_uri
    return sorted(Path(runs_folder, "artifacts", *uri.split("/")[-3:], "explanations").glob("*"))


@every_kind
def test_what_was_uploaded_is_downloaded(name, client, monkeypatch):
    """download(b) of upload(a) equals top(e, min(a, b)), to the last bit, in several blocks."""
    monkeypatch.setattr(content, "BLOCK", 3 * 8 * N_ROWS)
    explanation = EXPLANATIONS[name]
    assert bits(_of(client, client.upload_model_explanation(explanation))) == bits(explanation)
    for a in (1, 4):
        upload = client.upload_model_explanation(explanation, top_k=a)
        for b in (1, 3, 20):
            cut = client.download_model_explanation(upload, top_k=b)
            assert bits(cut) == bits(top(explanation, min(a, b)))


def _of(client, upload):
    return client.download_model_explanation(upload)


def test_explanations_are_found_by_comment_kind_and_id(client, local):
    """The newest by default; what is not there is told with what is."""
    first = client.upload_model_explanation(local, comment="raw", raw=True, model_id="m:1")
    second = client.upload_model_explanation(local, comment="made", engineered=True)
    third = client.upload_model_explanation(local, comment="raw", top_k=1)
    listed = client.list_model_explanations()
    assert [one["id"] for one in listed] == [first, second, third]
    assert [one["id"] for one in client.list_model_explanations(comment="raw")] == [first, third]
    assert [one["id"] for one in client.list_model_explanations(raw=True)] == [first]
    assert [one["id"] for one in client.list_model_explanations(engineered=False)] == [first, third]
    assert (listed[0]["model_id"], listed[2]["n_features"], listed[2]["top_k"]) == ("m:1", 3, 1)
    assert client.download_model_explanation().num_features == 1
    assert client.download_model_explanation(engineered=True).is_engineered
    assert client.download_model_explanation(local.id, raw=True).is_raw
    with pytest.raises(ExplanationNotFoundError, match=f"{second} .made.*got nothing"):
        client.download_model_explanation("nothing")
    with pytest.raises(LookupError, match="one that fits"):
        client.download_model_explanation(comment="none of them")
    with pytest.raises(ValueError, match="top_k: expected a positive number, got 0"):
        client.download_model_explanation(top_k=0)


@pytest.mark.parametrize("layout", ["one target", "rows first", "classes first"])
def test_what_mlflows_shap_left_becomes_an_explanation_once(run, tmp_path, layout):
    """Its arrays have no names, and lie as the explainer gave them."""
    values = np.arange(24.0).reshape(2, 4, 3) - 11  # classes, rows, features
    given, base = {
        "one target": (values[0], np.float64(0.5)),
        "rows first": (np.moveaxis(values, 0, -1), np.array([0.25, 0.75])),
        "classes first": (values, np.array([0.25, 0.75])),
    }[layout]
    folder = tmp_path / "model_explanations_shap"
    folder.mkdir()
    np.save(folder / "shap_values.npy", given)
    np.save(folder / "base_values.npy", base)
    run.upload_folder(folder.name, folder)
    for _ in range(2):
        client = ExplanationClient.from_mlflow_shap(run, features=["a", "b", "c"])
    (summary,) = client.list_model_explanations(comment=folder.name)
    found = _of(client, summary["id"])
    assert found.features == ["a", "b", "c"]
    expected = values[0] if given.ndim == 2 else values
    assert np.array_equal(found.local_importance_values, expected)
    assert np.array_equal(found.expected_values, base)
    magnitudes = np.abs(values[: given.ndim - 1]).mean(axis=(0, 1))
    assert np.allclose(found.global_importance_values, magnitudes)
    client.delete_model_explanation(summary["id"])
    with pytest.raises(ValueError, match="feature"):
        ExplanationClient.from_mlflow_shap(run, features=["a"])
    with pytest.raises(LookupError, match="elsewhere"):
        ExplanationClient.from_mlflow_shap(run, folder="elsewhere")


def test_data_are_uploaded_only_when_they_are_given(client):
    """Rows, labels and predictions that an explanation knows stay at home."""
    rows = pd.DataFrame({"zip": ["02139", "10115"], "age": [1.5, None]})
    context = ExplanationContext(eval_data=rows, init_data=rows, true_labels=[0, 1])
    local = LocalExplanation.from_values(np.eye(2), expected_values=0.0, context=context)
    bare = _of(client, client.upload_model_explanation(local)).context
    assert (bare.eval_data, bare.init_data, bare.true_labels) == (None, None, None)
    given = {"eval_data": rows, "true_ys": [0, 1], "ys_pred": np.array([1, 1])}
    upload = client.upload_model_explanation(local, **given, row_ids=["a", "b"])
    full = _of(client, upload)
    pd.testing.assert_frame_equal(full.eval_data, rows)
    assert (full.true_labels, full.eval_y_predicted, full.row_labels) == (
        [0, 1],
        [1, 1],
        ["a", "b"],
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"comment": "x" * 1001}, "comment: expected a text of at most 1,000"),
        ({"top_k": 0}, "top_k: expected a positive number"),
        ({"true_ys": [1]}, "expected true_ys of 2 rows"),
        ({"row_ids": list("abc")}, "expected row_ids of 2 rows"),
        ({"eval_data": pd.DataFrame({"a": [object(), 1]})}, "object"),
        ({"model_id": "x" * 9000}, "expected a summary of at most 8,000"),
    ],
    ids=["comment", "top_k", "labels", "row ids", "data", "model"],
)
def test_what_is_refused_leaves_nothing(client, runs_folder, local, change, said):
    """Neither a tag nor a file."""
    with pytest.raises(ValueError, match=said):
        client.upload_model_explanation(local, **change)
    assert client.list_model_explanations() == []
    assert folders(client.run, runs_folder) == []
    assert "model_explanation" not in client.run.tags


def test_nan_and_what_has_no_mean_are_refused(client, run, runs_folder):
    """NaN among importances, and a global explanation of no rows."""
    with pytest.raises(ValueError, match="finite"):
        LocalExplanation.from_values(NAN, expected_values=0.0)
    local = LocalExplanation(KINDS["one target"])
    local.importances.values[0, 0] = np.nan
    try:
        with pytest.raises(ValueError, match="importances: expected finite numbers"):
            client.upload_model_explanation(local)
    finally:
        local.importances.values[0, 0] = 1.0
    with pytest.raises(ValueError, match="expected finite numbers"):
        client.upload_model_explanation(GlobalExplanation(KINDS["no rows"]))
    with pytest.raises(TypeError, match="got dict"):
        client.upload_model_explanation({})
    assert folders(run, runs_folder) == []


def test_what_was_not_committed_is_not_there_and_is_pruned(client, run, runs_folder, local):
    """Files without a tag are invisible, and a folder that got none yet; what somebody may be
    writing stays.
    """
    upload = client.upload_model_explanation(local)
    (good,) = folders(run, runs_folder)
    orphan = good.with_name("0" * 8)
    orphan.mkdir()
    (orphan / "explanation.json").write_bytes((good / "explanation.json").read_bytes())
    empty = good.with_name("1" * 8)
    empty.mkdir()
    (runs_folder / PARTS / "left").mkdir(parents=True)
    assert [one["id"] for one in client.list_model_explanations()] == [upload]
    with pytest.raises(ExplanationNotFoundError):
        client.download_model_explanation(orphan.name)
    assert client.prune() == []
    assert client.prune(seconds=0) == [orphan.name, empty.name]
    assert folders(run, runs_folder) == [good]
    assert not (runs_folder / PARTS / "left").exists()
    assert _of(client, upload).features == local.features


def test_deleting_takes_the_tag_first(client, run, runs_folder, local):
    """The other explanations stay; a run without any says so."""
    kept, gone = (client.upload_model_explanation(local) for _ in range(2))
    client.delete_model_explanation(gone)
    assert [one["id"] for one in client.list_model_explanations()] == [kept]
    assert run.tags["model_explanation"] == "True"
    client.delete_model_explanation(kept)
    assert run.tags["model_explanation"] == "False"
    assert folders(run, runs_folder) == []
    with pytest.raises(ExplanationNotFoundError, match=r"\(none\)"):
        client.delete_model_explanation(kept)


@pytest.mark.parametrize("name", ["explanation.json", "importances-00000.npy"])
def test_changed_files_are_refused(client, run, runs_folder, local, name):
    """The heading's digest stands in the database, the others' in the heading."""
    client.upload_model_explanation(local)
    (folder,) = folders(run, runs_folder)
    changed = bytearray((folder / name).read_bytes())
    changed[-2] ^= 1
    (folder / name).write_bytes(changed)
    with pytest.raises(DigestError, match=name):
        client.download_model_explanation()


def test_a_summary_that_cannot_be_read_hides_no_other(client, run, local):
    """It is left out with a warning, whatever has broken it."""
    upload = client.upload_model_explanation(local)
    (good,) = client.list_model_explanations()
    broken = {"explanation.x": '{"id": "x"', "explanation.y": "[]", "explanation.z": '{"id": 1}'}
    changes = ({"features": [5]}, {"features": [["a", "b"]]}, {"uploaded": None}, {"raw": []})
    for number, change in enumerate(changes):
        broken[f"explanation.{number}"] = json.dumps({**good, "id": str(number), **change})
    broken["explanation.lacks"] = json.dumps({"id": "lacks", "comment": "x", "uploaded": "2020"})
    run.workspace.engine.log_tags(run.id, broken)
    with pytest.warns(UserWarning, match="is no summary of an explanation") as warned:
        assert [one["id"] for one in client.list_model_explanations()] == [upload]
    assert len(warned) == len(broken)


def test_the_command_line_tells_names_on_lines_of_their_own(client, run, capsys):
    """Whatever is in them, no terminal is told to do something."""
    names = ["a\n  FINISHED", "\x1b[31mred"]
    local = LocalExplanation.from_values([[1.0, 2.0]], features=names, expected_values=0.0)
    client.upload_model_explanation(GlobalExplanation(local.importances), comment="\x1b]0;x\x07")
    assert main(["--store", run.workspace.uri, "show", run.id]) == 0
    told = capsys.readouterr().out
    assert "a\N{REPLACEMENT CHARACTER}  FINISHED" in told
    assert all(line.isprintable() for line in told.splitlines())


def test_a_summary_fits_into_a_tag_whatever_features_are_called(client):
    """Long names of many features are cut, and those that do not fit left out."""
    names = ["ü" * 3000 + str(i) for i in range(40)]
    local = LocalExplanation.from_values(np.ones((1, 40)), features=names, expected_values=0.0)
    client.upload_model_explanation(GlobalExplanation(local.importances), comment='"' * 1000)
    (summary,) = client.list_model_explanations()
    assert _of(client, summary["id"]).features == names
    long = {**summary, "features": [["\\" * 100, 0.5]] * 100}
    (text, _) = to_tags(long).values()
    assert len(text) <= 8000
    assert 0 < len(json.loads(text)["features"]) < 100
    assert read_summaries(to_tags(long))


def test_a_model_knows_the_explanation_that_was_there_when_it_was_registered(
    client, run, local, tmp_path
):
    """A later one of the same run is not taken for it."""
    first = client.upload_model_explanation(local, comment="first")
    (tmp_path / "model.pkl").write_bytes(b"not read")
    run.upload_file("model.pkl", tmp_path / "model.pkl")
    model = run.register_model(f"m_{run.id}", "model.pkl")
    client.upload_model_explanation(top(local, 1), comment="later")
    assert model.explanation == first
    assert ExplanationClient.from_model(model).download_model_explanation().num_features == 3
    by_id = ExplanationClient.from_run_id(run.workspace, None, run.id)
    assert by_id.download_model_explanation().num_features == 1
    client.delete_model_explanation(first)
    with pytest.raises(ExplanationNotFoundError, match=f"got {first}"):
        ExplanationClient.from_model(model).download_model_explanation()


def test_the_explanation_of_another_model_is_not_taken_for_that_of_a_model(client, run, tmp_path):
    """Of two models of one run, whether they are registered before or after."""
    (tmp_path / "f").write_text("x")
    run.upload_file("f", tmp_path / "f")
    a, b, c = (run.register_model(f"{name}_{run.id}", "f") for name in "abc")
    uploads = {}
    for number, model in enumerate((a, b), 1):
        local = LocalExplanation.from_values([[float(number)]], expected_values=0.0)
        uploads[model.id] = client.upload_model_explanation(local, model_id=model.id)
    for number, model in enumerate((a, b), 1):
        found = ExplanationClient.from_model(Model(run.workspace, model.id))
        assert found.download_model_explanation().local_importance_values == [[float(number)]]
    with pytest.raises(ExplanationNotFoundError, match=f"got one of {c.id}"):
        ExplanationClient.from_model(c).download_model_explanation()
    later = run.register_model(a.name, "f")
    assert later.explanation == ""
    unnamed = client.upload_model_explanation(local, model_id=None)
    client.upload_model_explanation(local, model_id=b.id)
    assert run.register_model(a.name, "f").explanation == unnamed
    asked = ExplanationClient.from_model(c).download_model_explanation(uploads[a.id])
    assert asked.local_importance_values == [[1.0]]


def test_a_version_says_what_explains_it_when_that_is_uploaded_afterwards(client, run, tmp_path):
    """As the documents' script does it; the newest counts, and no other version is told."""
    local = LocalExplanation.from_values([[1.0]], expected_values=0.0)
    (tmp_path / "f").write_text("x")
    run.upload_file("f", tmp_path / "f")
    model, other = (run.register_model(f"{name}_{run.id}", "f") for name in "ab")
    for _ in range(2):
        upload = client.upload_model_explanation(local, model_id=model.id)
    assert Model(run.workspace, model.id).explanation == upload
    client.upload_model_explanation(local, model_id="a name that no version has")
    client.upload_model_explanation(local)
    assert Model(run.workspace, model.id).explanation == upload
    assert Model(run.workspace, other.id).explanation == ""


@pytest.mark.parametrize("classes", [[None, "b"], [("a", 1), "b"]], ids=ascii)
def test_what_could_not_be_read_is_not_uploaded(client, run, runs_folder, classes):
    """Names that JSON has, and no reader takes."""
    local = LocalExplanation.from_values(
        np.ones((2, 1, 3)), expected_values=[0.0, 0.0], classes=classes
    )
    with pytest.raises(ValueError, match="expected classes to be null or a list of names"):
        client.upload_model_explanation(local)
    assert client.list_model_explanations() == []
    assert folders(run, runs_folder) == []


def test_threads_upload_into_one_run(run, local):
    """All are listed, and all differ."""
    uploads = []

    def upload():
        client = ExplanationClient.from_run(Run(run.workspace, run.id))
        uploads.extend(client.upload_model_explanation(local) for _ in range(3))

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    listed = ExplanationClient.from_run(run).list_model_explanations()
    assert {one["id"] for one in listed} == set(uploads)
    assert len(uploads) == 12


def test_files_of_another_format_are_refused(client, run, runs_folder, local):
    """Even if the database says that they are right."""
    client.upload_model_explanation(local)
    (folder,) = folders(run, runs_folder)
    (folder / "explanation.json").write_text("{}")
    (summary,) = client.list_model_explanations()
    summary["heading"] = digest((folder / "explanation.json").read_bytes())
    run.workspace.engine.log_tags(run.id, to_tags(summary))
    with pytest.raises((ManifestError, DigestError)):
        client.download_model_explanation()
