"""Explanations in files: bit for bit the same, without pickles, and nothing altered is taken."""

import json
import zipfile
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
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


def test_values_without_a_plain_form_are_refused_by_column(tmp_path):
    """Nothing is pickled instead."""
    rows = pd.DataFrame({"when": pd.period_range("2024", periods=50), "size": range(50)})
    explanation = LocalExplanation(KINDS["regressor"], ExplanationContext(eval_data=rows))
    with pytest.raises(ValueError, match=r"Column 'when': expected numbers, texts, .*Period"):
        save_explanation(explanation, tmp_path / "e", include_data=True)
    with pytest.raises(ArtifactError, match=r"expected explanation\.json"):
        load_explanation(tmp_path / "e")


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
