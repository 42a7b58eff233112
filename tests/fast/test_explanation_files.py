"""Explanations in files: bit for bit the same, without pickles, and nothing altered is taken."""

import io
import itertools
import json
import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from identifiers import written
from scipy.sparse import csr_array

from service.errors import ArtifactError, DigestError, ManifestError
from service.explanations import (
    ExplanationContext,
    GlobalExplanation,
    GlobalImportances,
    LocalExplanation,
    load_explanation,
    save_explanation,
)
from service.explanations.files import content
from service.explanations.files.packed_columns import pack_rows, unpack_rows
from service.explanations.files.storage import Writer
from service.scoring import LocalImportances

GENERATOR = np.random.default_rng(1)
VALUES = GENERATOR.normal(size=(2, 50, 5)) * 10.0 ** GENERATOR.integers(-9, 9, size=(2, 50, 5))
VALUES[0, 3, 2] = -0.0
NAMES = ["size", "größe", "c", "d", "e"]
ERRORS = np.abs(GENERATOR.normal(size=VALUES.shape))
MIRRORED = np.stack([VALUES[0], -VALUES[0]])
KINDS = {
    "classes": LocalImportances(
        *(VALUES, np.array([0.1, 0.9]), NAMES, ["no", "yes"], "kernel", "probability", ERRORS)
    ),
    "mirrored": LocalImportances(
        *(MIRRORED, np.array([-0.3, 0.3]), NAMES, [0, 1], "linear", "margin")
    ),
    "mirrored with errors": LocalImportances(
        *(MIRRORED, np.array([-0.3, 0.3]), NAMES, [0, 1], "kernel", "margin"),
        np.stack([ERRORS[0], ERRORS[0]]),
    ),
    "regressor": LocalImportances(VALUES[1], np.array(7.0), NAMES, None, "tree", "prediction"),
    "targets": LocalImportances(VALUES, np.array([1.0, 2.0]), NAMES, None, "tree", "prediction"),
    "one row": LocalImportances(VALUES[:, :1], np.zeros(2), NAMES, ["a", "b"], "tree", "margin"),
}
ROWS = pd.DataFrame(GENERATOR.normal(size=(50, 5)), columns=NAMES)
CONTEXT = ExplanationContext(
    model_task="classification",
    model_type="SVC",
    is_raw=True,
    row_labels=pd.Index([f"row {i}" for i in range(50)], name="key"),
    eval_data=ROWS,
    init_data=ROWS.to_numpy()[:7],
    true_labels=pd.Series(["no", "yes"] * 25, name="target"),
    eval_y_predicted=np.array(["no", "yes"] * 25, dtype=object),
    eval_y_predicted_proba=GENERATOR.random((50, 2)),
    residuals=GENERATOR.normal(size=(2, 50)),
    fidelity={"r2": 0.5, "rows": 100},
)
ACCESSORS = (
    *("id", "features", "classes", "method", "output", "expected_values", "standard_errors"),
    *("local_importance_values", "num_features", "num_examples", "num_classes", "model_task"),
    *("model_type", "is_raw", "is_engineered", "row_labels", "fidelity", "residuals"),
    *("global_importance_values", "global_importance_rank", "per_class_values", "per_class_rank"),
    *("global_standard_errors", "per_class_standard_errors", "noise_floor"),
)
CALLS = ("get_ranked_local_names", "get_ranked_local_values", "get_local_importance_rank")
DATA = ("true_labels", "eval_y_predicted", "eval_y_predicted_proba", "predictions")


def answers(explanation, names):
    """Everything that the accessors of these names say, an AttributeError as its text."""
    told = {}
    for name in names:
        try:
            value = getattr(explanation, name)
            value = value() if callable(value) else value
        except AttributeError as error:
            value = str(error)
        told[name] = list(value) if isinstance(value, pd.Series) else value
    return told


def explanations():
    for name, importances in KINDS.items():
        context = CONTEXT if len(importances) == 50 else ExplanationContext()
        yield f"local, {name}", LocalExplanation(importances, context)
        yield f"global, {name}", GlobalExplanation(importances, context)
    overall = GlobalImportances.of(KINDS["classes"])
    yield "global without local", GlobalExplanation(None, CONTEXT, overall)
    bare = GlobalImportances(np.array([0.5, 0.25]), ["a", "b"], 9, "permutation", "accuracy")
    yield "of permutations", GlobalExplanation(None, overall=bare)
    engineered = LocalExplanation(
        KINDS["regressor"],
        ExplanationContext(
            is_engineered=True,
            feature_maps=[csr_array(np.eye(5)), np.ones((5, 5))],
            raw_features=list("abcde"),
        ),
    )
    context = ExplanationContext(engineered=engineered, is_raw=True)
    yield "with engineered", LocalExplanation(KINDS["regressor"], context)


EXPLANATIONS = dict(explanations())
every_explanation = pytest.mark.parametrize("name", EXPLANATIONS)


@pytest.mark.parametrize("place", ["folder", "file.zip"])
@every_explanation
def test_every_accessor_of_a_loaded_explanation_is_bit_equal(name, place, tmp_path, monkeypatch):
    """In a folder and a zip file, in one block or many; no file holds a pickle."""
    explanation = EXPLANATIONS[name]
    monkeypatch.setattr(content, "BLOCK", 2000)  # bytes: blocks of one to five features
    path = save_explanation(explanation, tmp_path / place)
    loaded = load_explanation(path)
    assert type(loaded) is type(explanation)
    assert answers(loaded, ACCESSORS + CALLS) == answers(explanation, ACCESSORS + CALLS)
    assert repr(loaded) == repr(explanation)
    if explanation.importances is not None:
        values = loaded.importances.values
        assert values.tobytes() == np.ascontiguousarray(explanation.importances.values).tobytes()
        assert answers(loaded[:1], ACCESSORS[1:]) == answers(explanation[:1], ACCESSORS[1:])
    for data in (*DATA, "eval_data", "init_data"):
        assert not hasattr(loaded, data)


def test_an_engineered_part_comes_along(tmp_path):
    """With the maps that lead back to raw columns."""
    explanation = EXPLANATIONS["with engineered"]
    loaded = load_explanation(save_explanation(explanation, tmp_path / "e"))
    assert loaded.engineered.is_engineered
    assert (
        loaded.engineered.to_raw().local_importance_values
        == explanation.engineered.to_raw().local_importance_values
    )


def test_two_classes_that_mirror_each_other_are_stored_once(tmp_path):
    """One class, the most important feature first, features before rows."""
    explanation = LocalExplanation(KINDS["mirrored"])
    path = save_explanation(explanation, tmp_path / "e")
    block = np.load(path / "importances-00000.npy")
    assert block.shape == (1, 5, 50)
    order = np.argsort(-np.abs(VALUES[0]).mean(axis=0), kind="stable")
    np.testing.assert_array_equal(block[0], VALUES[0].T[order])


def test_data_are_written_only_where_they_are_wanted(tmp_path):
    """Then rows, examples, labels and predictions come back as they were."""
    explanation = GlobalExplanation(KINDS["classes"], CONTEXT)
    without = save_explanation(explanation, tmp_path / "without")
    written = b"".join(file.read_bytes() for file in without.iterdir())
    assert str(ROWS.iloc[0, 0]).encode() not in written
    assert ROWS.iloc[0, 0].tobytes() not in written
    loaded = load_explanation(save_explanation(explanation, tmp_path / "e", include_data=True))
    assert answers(loaded, DATA) == answers(explanation, DATA)
    pd.testing.assert_frame_equal(loaded.eval_data, ROWS)
    np.testing.assert_array_equal(loaded.init_data, ROWS.to_numpy()[:7])
    pd.testing.assert_index_equal(loaded.to_frame().index, CONTEXT.row_labels)


TABLE = pd.DataFrame(
    {
        "float": [0.1, np.nan, np.inf],
        "single": np.array([1, 2, 3], dtype=np.float32),
        "long": np.array([2**62 + 1, -5, 0]),
        "truth": [True, False, True],
        "zip": ["02139", "94105", None],
        "mixed": pd.Series(["a", 1, None], dtype=object),
        "marks": pd.Series([pd.NA, np.nan, 1.5], dtype=object),
        "category": pd.Categorical(["b", None, "a"], categories=["b", "a"], ordered=True),
        "numbered": pd.Categorical([3, 1, 3]),
        "whole": pd.array([1, None, 2**60 + 1], dtype="Int64"),
        "maybe": pd.array([True, None, False], dtype="boolean"),
        "string": pd.array(["x", None, "y"], dtype="string"),
        "day": pd.to_datetime(["2024-01-01", None, "2024-02-29"]),
        "moment": pd.to_datetime([datetime(2024, 1, 1, tzinfo=UTC)] * 3).tz_convert("Europe/Rome"),
        "span": pd.to_timedelta([1, 2, None], unit="h"),
        7: [1, 2, 3],
    }
)
TABLE.index = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["letter", None])


@pytest.mark.parametrize(
    "rows",
    [TABLE, TABLE.iloc[:0], TABLE.reset_index(drop=True), TABLE["zip"]],
    ids=["table", "empty", "plain index", "series"],
)
def test_tables_keep_their_types_and_labels(rows):
    """Every column, every mark of what is missing, by JSON and arrays without objects."""
    spec, arrays = pack_rows(rows)
    assert all(array.dtype != object for array in arrays.values())
    again = unpack_rows(json.loads(json.dumps(spec)), arrays)
    check = pd.testing.assert_series_equal if rows.ndim == 1 else pd.testing.assert_frame_equal
    check(again, rows)
    if rows.ndim == 2 and len(rows):
        assert again["marks"].iloc[0] is pd.NA
        assert again["mixed"].iloc[2] is None


@pytest.mark.parametrize(
    "rows",
    [
        [[1, "a"], [2, None]],
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        ["no", "yes", 3],
        np.array([["a", 1], ["b", 2]], dtype=object),
        np.array(["no", "yes"]),
        np.array([1.5, np.nan]),
    ],
)
def test_lists_and_arrays_come_back_as_they_were(rows):
    """By their types and values."""
    spec, arrays = pack_rows(rows)
    again = unpack_rows(json.loads(json.dumps(spec)), arrays)
    assert type(again) is type(rows)
    np.testing.assert_equal(again, rows)


def test_sparse_rows_stay_sparse():
    """Never dense in between."""
    wide = csr_array(([1.0, 2.0], ([0, 999_999], [5, 999_999])), shape=(10**6, 10**6))
    spec, arrays = pack_rows(wide)
    assert (unpack_rows(spec, arrays) != wide).nnz == 0


@pytest.mark.parametrize(
    "labels",
    [
        [("a", 1), ("b", 2)],
        [(1,), (True,), (1.0,)],
        [("a", ("x", 2)), "b"],
        [None, 1.5],
        [None, "x"],
        [None, np.nan, pd.NA, True, 1],
        ["a", "b"],
    ],
    ids=str,
)
def test_row_labels_come_back_as_they_were(labels, tmp_path):
    """Tuples are labels of rows, None stays None; values and types are the same, and the name."""
    index = pd.Index(labels, dtype=object, tupleize_cols=False, name=("key", 1))
    context = ExplanationContext(row_labels=index)
    values = np.ones((len(index), 2))
    local = LocalExplanation.from_values(values, expected_values=0.0, context=context)
    loaded = load_explanation(save_explanation(local, tmp_path / "labels"))
    found = loaded.context.row_labels
    assert repr(loaded.row_labels) == repr(labels)
    assert (type(found), found.dtype, found.name) == (pd.Index, index.dtype, index.name)


@pytest.mark.parametrize(
    ("label", "told"), [({1}, "set"), (("a", None), "NoneType"), (np.inf, "inf")], ids=str
)
def test_row_labels_without_a_plain_form_are_refused_with_a_way_out(label, told, tmp_path):
    """They are always written, so that leaving the data out would not help."""
    labels = np.empty(1, dtype=object)
    labels[0] = label
    index = pd.Index(labels, tupleize_cols=False, dtype=object)
    context = ExplanationContext(row_labels=index)
    local = LocalExplanation.from_values([[1.0]], expected_values=0.0, context=context)
    refusal = f"^Row labels: expected .* got {told}, which has no plain form; give the rows others"
    with pytest.raises(ValueError, match=refusal):
        save_explanation(local, tmp_path / "labels")


@pytest.mark.parametrize(
    ("values", "told"),
    [(pd.period_range("2024", periods=50), "Period"), (pd.cut(range(50), 5), "Interval")],
    ids=["values", "categories"],
)
def test_values_without_a_plain_form_are_refused_by_column(values, told, tmp_path):
    """Nothing is pickled instead."""
    rows = pd.DataFrame({"when": values, "size": range(50)})
    explanation = LocalExplanation(KINDS["regressor"], ExplanationContext(eval_data=rows))
    with pytest.raises(ValueError, match=f"Column 'when': expected numbers, texts, .*{told}"):
        save_explanation(explanation, tmp_path / "e", include_data=True)
    with pytest.raises(ArtifactError, match=r"expected explanation\.json"):
        load_explanation(tmp_path / "e")


@pytest.mark.parametrize("place", ["folder", "file.zip"])
@pytest.mark.parametrize(
    ("context", "options", "told"),
    [
        ({"row_labels": pd.Index(["a"])}, {}, "the table row_labels .*1 rows of 2"),
        ({"eval_data": np.zeros((3, 2))}, {}, "the table eval_data .*3 rows of 2"),
        ({"true_labels": [1, 2, 3]}, {}, "the table true_labels .*3 rows of 2"),
        ({"eval_y_predicted": np.zeros(1)}, {}, "the table eval_y_predicted .*1 rows of 2"),
        ({"residuals": [0.0]}, {}, "the table residuals .*1 rows of 2"),
        ({"model_task": None}, {}, "task to be a text, got None"),
        ({}, {"classes": [("a", 1), ("b", 2)]}, "classes to be null or a list of names"),
        ({}, {"classes": [None, "b"]}, "classes to be null or a list of names"),
    ],
    ids=written,
)
def test_what_could_not_be_loaded_is_not_saved(place, context, options, told, tmp_path):
    """An explanation is lost where only its reader finds that it contradicts itself."""
    values = {"values": np.zeros((2, 2, 2)), "expected_values": [0.0, 0.0]}
    explanation = LocalExplanation.from_values(
        **values,
        **options,
        axes=("class", "row", "feature"),
        context=ExplanationContext(**context),
    )
    with pytest.raises(ValueError, match=f"{told}.*could not be loaded again"):
        save_explanation(explanation, tmp_path / place, include_data=True)
    with pytest.raises(ArtifactError):
        load_explanation(tmp_path / place)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["values", "expected_values", "standard_errors"])
def test_what_is_not_finite_is_refused_by_name(part, value, tmp_path):
    """JSON has no such numbers, and an explanation has no use for them."""
    arrays = {
        "values": VALUES[0].copy(),
        "expected_values": np.zeros(()),
        "standard_errors": ERRORS[0].copy(),
    }
    arrays[part][...] = value
    importances = LocalImportances(
        features=NAMES, classes=None, method="kernel", output="margin", **arrays
    )
    with pytest.raises(ValueError, match=r"expected finite numbers to save, got NaN or an inf"):
        save_explanation(LocalExplanation(importances), tmp_path / "e")


def test_a_folder_or_file_is_replaced_only_where_that_is_allowed(tmp_path):
    """What else lies in the folder stays; what was of the old explanation goes."""
    old, new = LocalExplanation(KINDS["classes"]), LocalExplanation(KINDS["one row"])
    for place in (tmp_path / "folder", tmp_path / "deep" / "file.zip"):
        save_explanation(old, place)
        with pytest.raises(FileExistsError, match="exist_ok=True"):
            save_explanation(new, place)
        save_explanation(new, place, exist_ok=True)
        assert load_explanation(place).id == new.id
    (tmp_path / "folder" / "notes.npy").write_bytes(b"mine")
    save_explanation(old, tmp_path / "folder", exist_ok=True)
    save_explanation(new, tmp_path / "folder", exist_ok=True)
    names = {file.name for file in (tmp_path / "folder").iterdir()}
    assert names == {"explanation.json", "importances-00000.npy", "notes.npy"}
    with pytest.raises(NotADirectoryError, match="is a file"):
        save_explanation(new, tmp_path / "folder" / "notes.npy", exist_ok=True)
    with pytest.raises(TypeError, match="got LocalImportances"):
        save_explanation(KINDS["classes"], tmp_path / "x")


def test_what_was_not_written_to_its_end_is_no_explanation(tmp_path, monkeypatch):
    """explanation.json comes last; a zip file has no name before it is whole."""

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Writer, "write_heading", stop)
    for place in (tmp_path / "folder", tmp_path / "file.zip"):
        with pytest.raises(KeyboardInterrupt):
            save_explanation(LocalExplanation(KINDS["classes"]), place)
        with pytest.raises(ArtifactError, match=r"expected explanation\.json|found nothing"):
            load_explanation(place)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


WHOLE = GlobalExplanation(KINDS["classes"], CONTEXT)


def test_each_file_that_was_altered_cut_or_lost_is_named(tmp_path):
    """One byte is enough, and a number in explanation.json too."""
    path = save_explanation(WHOLE, tmp_path / "e", include_data=True)
    for file in path.iterdir():
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 1
        for damaged in (bytes(changed), whole[:-3]):
            file.write_bytes(damaged)
            with pytest.raises((DigestError, ManifestError), match=file.name):
                load_explanation(path)
        file.unlink()
        with pytest.raises(ArtifactError, match=file.name):
            load_explanation(path)
        file.write_bytes(whole)
    assert load_explanation(path).id == WHOLE.id
    heading = json.loads((path / "explanation.json").read_text())
    heading["classes"] = ["yes", "no"]
    (path / "explanation.json").write_text(json.dumps(heading))
    with pytest.raises(DigestError, match=r"explanation\.json: its SHA-256"):
        load_explanation(path)


def test_half_a_zip_file_is_refused(tmp_path):
    """By name."""
    path = save_explanation(WHOLE, tmp_path / "e.zip")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"e\.zip: expected a whole zip file"):
        load_explanation(path)


def crafted(folder, change):
    """Write an explanation whose digests are right and whose content was changed."""
    folder.mkdir()
    writer = Writer(lambda name, content: (folder / name).write_bytes(content))
    heading = {}
    writer.write_heading = heading.update
    content.write_explanation(LocalExplanation(KINDS["regressor"]), writer, False)
    change(writer, heading)
    Writer.write_heading(writer, heading)
    return folder


def with_objects(writer, heading):
    file = writer.put.__closure__[0].cell_contents / "objects.npy"
    np.save(file, np.array([print], dtype=object), allow_pickle=True)
    writer.write("importances-00000.npy", file.read_bytes())


def with_other_shape(writer, heading):
    writer.write_array("importances-00000.npy", np.zeros((1, 2, 3)))


def with_other_format(writer, heading):
    heading["format"] = 2


def without_names(writer, heading):
    del heading["features"]


def with_another_file(writer, heading):
    heading["tables"] = {"row_labels": {"form": "labels", "file": "../../secret.npy", "array": "a"}}


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (with_objects, ArtifactError, "importances-00000.npy: expected an array of numbers"),
        (with_other_shape, ManifestError, r"expected float64 of shape \(1, 5, 50\)"),
        (with_other_format, ManifestError, "expected format 1 .* got 2"),
        (without_names, ManifestError, "do not fit each other"),
        (with_another_file, ManifestError, r"expected an entry for \.\./\.\./secret"),
    ],
)
def test_crafted_files_are_refused(change, error, told, tmp_path):
    """Though their digests are right: no objects are unpickled, and no path leaves the folder."""
    with pytest.raises(error, match=told):
        load_explanation(crafted(tmp_path / "e", change))


def test_a_small_zip_file_does_not_unpack_to_all_memory(tmp_path):
    """Whatever it says of its parts, before any of them is read."""
    path = save_explanation(EXPLANATIONS["global, classes"], tmp_path / "e.zip")
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (2**31).to_bytes(4, "little")  # its size when unpacked
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"bytes that unpacks to 2,147,.*load the folder"):
        load_explanation(path)


def test_nothing_and_something_else_are_refused(tmp_path):
    """In a sentence."""
    with pytest.raises(ArtifactError, match="found nothing"):
        load_explanation(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"expected explanation\.json"):
        load_explanation(tmp_path)
    (tmp_path / "explanation.json").write_text('{"a": NaN}')
    with pytest.raises(ManifestError, match="NaN is no number in JSON"):
        load_explanation(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("other.txt", "")
    with pytest.raises(ArtifactError, match=r"expected explanation\.json"):
        load_explanation(tmp_path / "other.zip")


def reference_folder(folder, sparse=False, **metadata):
    """Write the files that interpret-community writes, as its documentation shows them."""
    local = [values.tolist() for values in VALUES]
    if sparse:
        local = []
        for matrix in map(csr_array, VALUES):
            parts = (matrix.data, matrix.indices, matrix.indptr)
            local.append([*(part.tolist() for part in parts), list(matrix.shape)])
    stored = {
        "features": ("list", NAMES),
        "classes": ("list", ["no", "yes"]),
        "expected_values": ("list", [0.1, 0.9]),
        "local_importance_values": ("sparse" if sparse else "list", local),
        "global_importance_values": ("list", [0.5, 0.4, 0.3, 0.2, 0.1]),
        "per_class_values": ("list", [[0.5] * 5, [0.4] * 5]),
        "eval_data": ("DatasetWrapper", ROWS.to_numpy().tolist()),
        "init_data": ("DataFrame", ROWS.to_numpy().tolist()),
        "eval_y_predicted": ("ndarray", [0, 1] * 25),
    }
    folder.mkdir()
    for name, (kind, data) in stored.items():
        text = json.dumps({"metadata": kind, "data": data})
        (folder / f"{name}.json").write_text(text)
    known = {
        **{"explanation_id": "38b0", "model_type": "classification", "data_type": "tabular"},
        **{"model_task": "classification", "method": "shap.kernel", "model_class": None},
        **{"is_raw": False, "is_engineered": True, "global": True, "local": True},
        **{"num_classes": 2, "num_examples": 50, "num_features": 5, "is_local_sparse": sparse},
        **{"serialization_version": 1, **metadata},
    }
    (folder / "explanation_metadata.json").write_text(json.dumps(known))
    return folder


@pytest.mark.parametrize("sparse", [False, True])
def test_the_references_own_folders_are_read(sparse, tmp_path):
    """With the accessors that its own reload raises on: ranks and per-class values."""
    loaded = load_explanation(reference_folder(tmp_path / "e", sparse))
    assert isinstance(loaded, GlobalExplanation)
    assert loaded.local_importance_values == (VALUES + 0.0).tolist()
    assert loaded.global_importance_values == [0.5, 0.4, 0.3, 0.2, 0.1]
    assert loaded.per_class_values == [[0.5] * 5, [0.4] * 5]
    assert loaded.global_importance_rank == [0, 1, 2, 3, 4]
    assert loaded.per_class_rank == [[0, 1, 2, 3, 4]] * 2
    assert (loaded.id, loaded.method, loaded.is_engineered) == ("38b0", "shap.kernel", True)
    assert (loaded.classes, loaded.expected_values) == (["no", "yes"], [0.1, 0.9])
    np.testing.assert_array_equal(loaded.eval_data, ROWS.to_numpy())
    assert loaded.predictions == [0, 1] * 25
    saved = load_explanation(save_explanation(loaded, tmp_path / "ours"))
    assert answers(saved, ACCESSORS) == answers(loaded, ACCESSORS)


def test_the_references_local_and_global_folders_are_read_alone(tmp_path):
    """Each with what it has."""
    local = load_explanation(reference_folder(tmp_path / "l", **{"global": False}))
    assert type(local) is LocalExplanation
    assert len(local) == 50
    folder = reference_folder(tmp_path / "g", local=False, num_examples=0)
    for name in ("local_importance_values", "classes", "features"):
        (folder / f"{name}.json").unlink()
    overall = load_explanation(folder)
    assert (overall.classes, overall.features) == ([0, 1], list("01234"))
    assert len(overall) == 50
    assert not hasattr(overall, "local_importance_values")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"serialization_version": 2}, "expected serialization_version 1, got 2"),
        ({"global": False, "local": False}, "expected a local or global explanation"),
    ],
)
def test_other_folders_of_the_reference_are_refused(change, told, tmp_path):
    """By what was expected."""
    with pytest.raises(ManifestError, match=told):
        load_explanation(reference_folder(tmp_path / "e", **change))
    folder = reference_folder(tmp_path / "f")
    (folder / "global_importance_values.json").write_text('{"metadata": "list", "data": ["a"]}')
    with pytest.raises(ManifestError, match=r"values\.json: expected numbers"):
        load_explanation(folder)


WITH_ROWS = LocalExplanation(
    KINDS["regressor"],
    ExplanationContext(engineered=LocalExplanation(KINDS["regressor"], CONTEXT), eval_data=ROWS),
)


def contents(folder):
    """Every file of a folder and its folders, by name."""
    files = filter(Path.is_file, folder.rglob("*"))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize("new", [LocalExplanation(KINDS["regressor"]), WITH_ROWS])
def test_no_row_stays_of_an_explanation_that_is_replaced(new, tmp_path):
    """Nor of its engineered part; what else lies beside stays."""
    path = save_explanation(WITH_ROWS, tmp_path / "e", include_data=True)
    assert "engineered/evaluation_examples.npz" in contents(path)
    (path / "engineered" / "notes.txt").write_text("mine")
    save_explanation(new, path, exist_ok=True)
    alone = contents(save_explanation(new, tmp_path / "alone"))
    assert contents(path) == {**alone, "engineered/notes.txt": b"mine"}
    assert ROWS.iloc[0, 0].tobytes() not in b"".join(contents(path).values())


@pytest.mark.parametrize("place", ["folder", "file.zip"])
def test_a_save_that_fails_leaves_the_explanation_that_was_there(place, tmp_path, monkeypatch):
    """Byte for byte, and nothing of the new one."""
    path = save_explanation(WITH_ROWS, tmp_path / place, include_data=True)
    before = contents(tmp_path)
    labels = pd.Index(pd.period_range("2024", periods=50))
    context = ExplanationContext(eval_data=ROWS, row_labels=labels)
    measured = ExplanationContext(eval_data=ROWS, fidelity={"r2": -np.inf})
    with pytest.raises(ValueError, match="got Period"):
        save_explanation(LocalExplanation(KINDS["regressor"], context), path, True)
    with pytest.raises(ValueError, match=r"finite numbers among names and measures"):
        save_explanation(
            LocalExplanation(KINDS["regressor"], measured), path, True, include_data=True
        )
    assert contents(tmp_path) == before
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_explanation(LocalExplanation(KINDS["regressor"]), path, True)
    assert contents(tmp_path) == before


def test_a_save_that_was_killed_is_told_from_a_whole_one_and_cleared_by_the_next(
    tmp_path, monkeypatch
):
    """While files take their places explanation.json says so."""
    path, replace, moved = tmp_path / "e", Path.replace, []

    def fail(self, target):
        moved.append(target)
        if len(moved) == 3:
            raise OSError("killed")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="killed"):
        save_explanation(WITH_ROWS, path, include_data=True)
    monkeypatch.undo()
    with pytest.raises(ManifestError, match=r"saving did not come to its end; save it again"):
        load_explanation(path)
    abandoned = path / ".explanation-0.part"
    abandoned.mkdir()
    (abandoned / "evaluation_examples.npz").write_bytes(b"rows")
    new = LocalExplanation(KINDS["regressor"])
    save_explanation(new, path, exist_ok=True)
    assert contents(path) == contents(save_explanation(new, tmp_path / "alone"))


@pytest.mark.parametrize(
    "heading",
    ['{"files": ["data.npy"]}', '{"files": 3}', "[]", "no json", '{"files": {"data.npy": {}}}'],
)
def test_only_an_explanation_is_replaced(heading, tmp_path):
    """What another tool calls explanation.json stays, and so do the files that it names."""
    (tmp_path / "explanation.json").write_text(heading)
    (tmp_path / "data.npy").write_bytes(b"mine")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"explanation\.json is none, or is damaged"):
        save_explanation(WHOLE, tmp_path, exist_ok=True)
    assert contents(tmp_path) == before


def test_what_is_in_the_way_is_named(tmp_path):
    """Files of nobody knows which explanation, links, folders, and another's zip file."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "predictions.npy").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"without predictions\.npy"):
        save_explanation(WHOLE, folder, exist_ok=True)
    (folder / "predictions.npy").unlink()
    (folder / "importances-00000.npy").mkdir()
    with pytest.raises(FileExistsError, match=r"no folder .*importances-00000\.npy"):
        save_explanation(WHOLE, folder, exist_ok=True)
    (folder / "importances-00000.npy").rmdir()
    (folder / "engineered").symlink_to(tmp_path)
    with pytest.raises(FileExistsError, match=r"no link .*engineered"):
        save_explanation(WITH_ROWS, folder, exist_ok=True)
    (tmp_path / "x.zip").mkdir()
    with pytest.raises(IsADirectoryError, match=r"x\.zip is a folder"):
        save_explanation(WHOLE, tmp_path / "x.zip", exist_ok=True)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("photo.png", "mine")
    before = other.read_bytes()
    with pytest.raises(FileExistsError, match=r"other\.zip is none, or is damaged"):
        save_explanation(WHOLE, other, exist_ok=True)
    assert other.read_bytes() == before
    other.write_bytes(b"")
    long = tmp_path / f"{'n' * 250}.zip"
    for path in (other, long):
        assert load_explanation(save_explanation(WHOLE, path, exist_ok=True)).id == WHOLE.id


def test_who_may_read_a_file_is_what_the_umask_or_the_former_file_says(tmp_path):
    """In a folder and a zip file; a link that lies where a part is written is not followed."""
    umask = os.umask(0o077)
    try:
        archive = save_explanation(WHOLE, tmp_path / "e.zip")
        folder = save_explanation(WHOLE, tmp_path / "e", include_data=True)
    finally:
        os.umask(umask)
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (folder / ".predictions.npy.part").symlink_to(secret)
    for _ in range(2):
        files = [archive, *folder.glob("*.*")]
        assert {file.stat().st_mode & 0o777 for file in files if not file.is_symlink()} == {0o600}
        save_explanation(WHOLE, archive, exist_ok=True)
        save_explanation(WHOLE, folder, exist_ok=True, include_data=True)
    assert secret.read_text() == "mine"


@pytest.mark.parametrize("place", ["folder", "file.zip"])
def test_those_that_save_at_the_same_time_do_not_mix(place, tmp_path):
    """What is there in the end is one of the explanations."""
    path = tmp_path / place
    kinds = [WHOLE, LocalExplanation(KINDS["one row"]), WITH_ROWS, EXPLANATIONS["of permutations"]]
    with ThreadPoolExecutor(4) as pool:
        saved = [pool.submit(save_explanation, each, path, True) for each in kinds * 5]
    assert [each.result() for each in saved] == [path] * 20
    last = load_explanation(path)
    (tmp_path / "alone").mkdir()
    alone = save_explanation(last, tmp_path / "alone" / place)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["alone", place])
    if path.is_dir():
        assert set(contents(path)) == set(contents(alone))


def set_entry(name, value):
    return lambda _, heading: heading.update({name: value})


def set_local(name, value):
    return lambda _, heading: heading["local"].update({name: value})


def set_values(name, value):
    return lambda _, heading: heading["local"]["values"].update({name: value})


def with_nan(writer, _):
    writer.write_array("importances-00000.npy", np.full((1, 5, 50), np.nan))


def with_huge_array(writer, heading):
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (10**7, 10**9)}
    np.lib.format.write_array_header_1_0(header, shape)
    writer.write("importances-00000.npy", header.getvalue())


def with_table(table, change=None, name="row_labels"):
    """A table of a heading, whose arrays or description are changed."""

    def write(writer, heading):
        spec, arrays = pack_rows(table)
        if change is not None:
            change(spec, arrays)
        heading["tables"] = {name: {**spec, "file": "row_ids.npz"}}
        writer.write_arrays("row_ids.npz", arrays)

    return write


def with_map(spec_shape, parts):
    def write(writer, heading):
        heading["feature_maps"] = [{"form": "sparse", "shape": spec_shape}]
        names = ("data", "indices", "indptr")
        arrays = dict(zip(names, map(np.array, parts), strict=True))
        writer.write_arrays("feature_map-0.npz", arrays)

    return write


def with_bomb(writer, heading):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, values=np.zeros(10**6))
    heading["tables"] = {"true_labels": {"form": "array", "file": "true_labels.npz"}}
    writer.write("true_labels.npz", buffer.getvalue())


def outside(codes):
    return lambda _, arrays: arrays.update({"0": np.full(50, codes, dtype=arrays["0"].dtype)})


FRAMES = {
    "categories": pd.DataFrame({"a": pd.Categorical(["x", "y"] * 25)}),
    "objects": pd.DataFrame({"a": pd.Series(["x", "y"] * 25, dtype=object)}),
    "masked": pd.DataFrame({"a": pd.array([1, None] * 25, dtype="Int64")}),
}
CONTRADICTIONS = {
    "names": set_entry("features", ["a", "b"]),
    "no names": set_entry("features", None),
    "nested names": set_entry("features", [["a"]] * 5),
    "classes": set_entry("classes", ["no", "yes"]),
    "expected values": set_entry("expected_values", [1.0, 2.0, 3.0]),
    "texts for numbers": set_entry("expected_values", ["1.0"]),
    "text": set_entry("expected_values", "many"),
    "kind": set_entry("kind", "weird"),
    "rows below 0": set_entry("n_rows", -1),
    "many rows": set_entry("n_rows", 10**12),
    "rows beyond numbers": set_entry("n_rows", 10**40),
    "half a row": set_entry("n_rows", 50.0),
    "many features": set_entry("n_features", 10**9),
    "order": set_local("order", [0.0, 1.0, 2.0, 3.0, 4.0]),
    "order in texts": set_local("order", list("01234")),
    "order twice": set_local("order", [0, 0, 1, 2, 3]),
    "kept": set_values("n_kept", 10**9),
    "mirrored": set_values("mirrored", True),
    "firsts": set_values("firsts", [0, 0]),
    "NaN": with_nan,
    "huge array": with_huge_array,
    "row names": with_table(pd.Index(list("abc"))),
    "range of row names": with_table(
        pd.Index(list("abc")), lambda spec, _: spec.update(index={"range": [0, 10**15, 1]})
    ),
    "rows of data": with_table(ROWS[:9], name="eval_data"),
    "codes": with_table(FRAMES["categories"], outside(7), "eval_data"),
    "codes below": with_table(FRAMES["objects"], outside(-7), "eval_data"),
    "mask": with_table(
        FRAMES["masked"],
        lambda _, arrays: arrays.update({"0.missing": np.ones(3, bool)}),
        "eval_data",
    ),
    "short column": with_table(
        ROWS, lambda _, arrays: arrays.update({"1": np.zeros(7)}), "eval_data"
    ),
    "map behind its end": with_map([2, 5], ([1.0, 2.0], [0, 10**9], [0, 1, 2])),
    "map before its beginning": with_map([2, 5], ([1.0, 2.0], [0, -1], [0, 1, 2])),
    "wide map": with_map([2, 10**9], ([1.0, 2.0], [0, 1], [0, 1, 2])),
    "compressed": with_bomb,
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_headings_that_contradict_their_arrays_are_refused(name, tmp_path):
    """In one sentence that names the folder, before memory is taken."""
    path = crafted(tmp_path / "e", CONTRADICTIONS[name])
    with pytest.raises(ArtifactError, match=re.escape(str(path))) as caught:
        load_explanation(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a": 1e999}', '{"a": ' * 10**5, "\x00", "{}"])
def test_what_no_parser_takes_is_refused(text, tmp_path):
    """Nesting without end, and numbers beyond all."""
    (tmp_path / "explanation.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"explanation\.json"):
        load_explanation(tmp_path)


def test_a_zip_file_with_any_bit_changed_is_refused_or_the_same(tmp_path):
    """Whatever the reader of zip files says to it: encrypted, of another version, cut."""
    path = save_explanation(LocalExplanation(KINDS["one row"]), tmp_path / "e.zip")
    whole, expected = path.read_bytes(), load_explanation(path)
    refused = []
    places = [*range(60), *range(60, len(whole) - 200, 197), *range(len(whole) - 200, len(whole))]
    for place, bit in itertools.product(places, (1, 128)):
        damaged = bytearray(whole)
        damaged[place] ^= bit
        path.write_bytes(damaged)
        try:
            loaded = load_explanation(path)
        except ArtifactError as error:
            refused.append(str(error))
        else:
            assert answers(loaded, ACCESSORS) == answers(expected, ACCESSORS)
    assert len(refused) > len(places)
    assert all("e.zip" in told for told in refused)


def sparse_local(folder, data):
    """A folder of interpret-community whose local values are sparse, of a regressor."""
    reference_folder(folder, **{"global": False, "model_type": "regression", "num_classes": None})
    (folder / "expected_values.json").write_text('{"metadata": "list", "data": [0.5]}')
    text = json.dumps({"metadata": "sparse", "data": data})
    (folder / "local_importance_values.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    "data",
    [
        [[1.0, 2.0], [0, 1_000_000_000], [0, 1, 2], [2, 2]],
        [[1.0, 2.0], [0, 1_000_000_000], [0, 1, 2], [2, 5]],
        [[1.0, 2.0], [0, -1], [0, 1, 2], [2, 5]],
        [[1.0, 2.0], [0, 1], [0, 1, 2], [2, 2]],
        [[1.0, 2.0], [0, 1], [0, 1, 2], [2, 10**9]],
        [[1.0, 2.0], [0, 1], [0, 2, 1], [2, 5]],
        [[1.0], [0], [0, 1], [10**9, 5]],
        ["a", [0], [0, 1], [1, 5]],
        [],
        3,
    ],
)
def test_sparse_values_of_the_reference_lie_in_their_rows_and_columns(data, tmp_path):
    """Nothing is written elsewhere."""
    right = sparse_local(tmp_path / "right", [[1.0, 2.0], [0, 4], [0, 1, 2], [2, 5]])
    dense = [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 2.0]]
    assert load_explanation(right).local_importance_values == dense
    with pytest.raises(ManifestError, match=r"local_importance_values\.json: expected"):
        load_explanation(sparse_local(tmp_path / "e", data))


def test_names_and_numbers_of_the_reference_fit_each_other(tmp_path):
    """And a count that nothing stands behind makes no names."""
    folder = reference_folder(tmp_path / "e")
    changes = {
        "features": ["a"],
        "classes": ["a", "b", "c"],
        "expected_values": [1.0, 2.0, 3.0],
        "global_importance_values": [1.0],
        "per_class_values": [[1.0]],
        "local_importance_values": ["1.0"],
    }
    for name, data in changes.items():
        file = folder / f"{name}.json"
        before = file.read_text()
        file.write_text(json.dumps({"metadata": "list", "data": data}))
        with pytest.raises(ManifestError, match=re.escape(str(folder))):
            load_explanation(folder)
        file.write_text(before)
    for name in ("classes", "features"):
        (folder / f"{name}.json").unlink()
    metadata = json.loads((folder / "explanation_metadata.json").read_text())
    metadata["num_classes"] = metadata["num_features"] = 10**12
    (folder / "explanation_metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ManifestError, match="a number of classes"):
        load_explanation(folder)
