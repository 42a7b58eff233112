"""top(explanation, k): everything cut alike, to the last bit, whatever is read of the files."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from service.engines.sparse.importances import SparseImportances, SparseValues
from service.explanations import (
    ExplanationContext,
    GlobalExplanation,
    GlobalImportances,
    LocalExplanation,
    load_explanation,
    save_explanation,
    top,
)
from service.explanations.files import content
from service.explanations.files.storage import Files, Reader
from service.explanations.top_features import TILE
from service.scoring import LocalImportances

N_ROWS, N_FEATURES = 2 * TILE + 7, 11
GENERATOR = np.random.default_rng(3)
SHAPE = (3, N_ROWS, N_FEATURES)
VALUES = GENERATOR.normal(size=SHAPE) * 10.0 ** GENERATOR.integers(-9, 9, size=SHAPE)
VALUES[0, :, 4] = -0.0
VALUES[:, :, 7] = VALUES[:, :, 2]  # as important as each other
NAMES = [f"f{i}" for i in range(N_FEATURES)]
ERRORS = np.abs(GENERATOR.normal(size=VALUES.shape))


def importances(values, classes=None, errors=None):
    expected = np.zeros(values.shape[:-2])
    return LocalImportances(values, expected, NAMES, classes, "tree", "margin", errors)


CELLS = csr_array(GENERATOR.random((N_ROWS, N_FEATURES)) * (GENERATOR.random((N_ROWS, 11)) < 0.3))
SPARSE = SparseImportances(
    SparseValues(
        *(CELLS.data[None], CELLS.indices, CELLS.indptr),
        constants=GENERATOR.normal(size=(1, N_FEATURES)),
    ),
    False,
    expected_values=np.array(0.0),
    features=NAMES,
    classes=None,
    method="linear",
    output="prediction",
)
KINDS = {
    "three classes, sampled": importances(VALUES, list("abc"), ERRORS),
    "binary": importances(np.stack([VALUES[0], -VALUES[0]]), [0, 1]),
    "binary in Fortran order": importances(
        np.asfortranarray(np.stack([VALUES[0], -VALUES[0]])), [0, 1]
    ),
    "targets": importances(VALUES[:2]),
    "one target": importances(VALUES[0]),
    "one row": importances(VALUES[:, :1], list("abc")),
    "no rows": importances(VALUES[:, :0], list("abc")),
    "sparse": SPARSE,
}


def explanations():
    for name, kind in KINDS.items():
        yield f"local, {name}", LocalExplanation(kind)
        if len(kind):
            yield f"global, {name}", GlobalExplanation(kind)
    overall = GlobalImportances.of(KINDS["binary"])
    yield "global only", GlobalExplanation(None, overall=overall)
    engineered = LocalExplanation(
        KINDS["one target"], ExplanationContext(is_engineered=True, feature_maps=[np.eye(11)])
    )
    context = ExplanationContext(engineered=engineered, is_raw=True)
    yield "with engineered", GlobalExplanation(KINDS["one target"], context)


EXPLANATIONS = dict(explanations())
every_kind = pytest.mark.parametrize("name", EXPLANATIONS)


def bits(explanation):
    """Everything that an explanation has, as bytes."""
    overall = getattr(explanation, "overall", None)
    arrays = [explanation.context.other]
    if explanation.importances is not None:
        arrays += [explanation.importances.values, explanation.importances.standard_errors]
    if overall is not None:
        arrays += [overall.values, overall.per_class, overall.standard_errors, overall.noise_floor]
    engineered = explanation.context.engineered
    return (
        *[None if array is None else (array.shape, array.tobytes()) for array in arrays],
        (explanation.id, explanation.features, explanation.n_features, type(explanation).__name__),
        None if engineered is None else bits(engineered),
    )


@pytest.fixture
def small_blocks(monkeypatch):
    """Three features a block of one class, one of three classes."""
    monkeypatch.setattr(content, "BLOCK", 3 * 8 * N_ROWS)


@every_kind
@pytest.mark.parametrize("a", [1, 4, 10, 11, 99])
def test_cutting_twice_is_cutting_once(name, a):
    """top(top(e, a), b) and top(e, min(a, b)) have the same bits, whatever the layout is."""
    explanation = EXPLANATIONS[name]
    for b in (1, 3, 4, 11):
        assert bits(top(top(explanation, a), b)) == bits(top(explanation, min(a, b)))


@every_kind
def test_what_is_read_in_part_is_what_was_cut(name, tmp_path, small_blocks):
    """load(save(top(e, a)), top_k=b) equals top(e, min(a, b)), to the last bit."""
    explanation = EXPLANATIONS[name]
    for a in (2, 7, 11):
        path = save_explanation(top(explanation, a), tmp_path / str(a))
        for b in (1, 2, 3, 5, 7, 20):
            assert bits(load_explanation(path, top_k=b)) == bits(top(explanation, min(a, b)))


@every_kind
def test_the_sum_of_what_was_cut_is_kept(name):
    """Σ importances + other is what Σ importances was, and other is added up by the definition."""
    explanation = EXPLANATIONS[name]
    if explanation.importances is None:
        with pytest.raises(AttributeError, match="other: this explanation has none"):
            top(explanation, 3).other  # noqa: B018
        return
    cut = top(explanation, 3)
    gone = [i for i, feature in enumerate(NAMES) if feature not in cut.features]
    expected = explanation.importances.values[..., gone].sum(axis=-1)
    scale = np.abs(explanation.importances.values).sum(axis=-1)
    assert np.all(np.abs(np.array(cut.other) - expected) <= 1e-14 * scale)
    assert (cut.n_features, cut.num_features) == (11, 3)


def test_ties_keep_column_order():
    """Of two columns alike the first one stays."""
    same = LocalExplanation.from_values([[1.0, 2.0, -2.0, 2.0]], expected_values=0.0)
    assert top(same, 2).features == ["1", "2"]
    assert top(same, 3).features == ["1", "2", "3"]


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "2", None])
def test_a_k_that_says_nothing_is_refused(k):
    """In one sentence."""
    with pytest.raises(ValueError, match=r"top_k: expected a positive number, got"):
        top(EXPLANATIONS["local, one target"], k)


def test_rows_are_cut_with_the_features_and_other_tables_are_not():
    """A frame, an array and a sparse matrix of the model's columns keep those that are kept."""
    frame = pd.DataFrame(VALUES[0], columns=NAMES)
    for table in (frame, frame.to_numpy(), csr_array(frame.to_numpy())):
        context = ExplanationContext(eval_data=table, init_data=frame.iloc[:, :4])
        cut = top(LocalExplanation(KINDS["one target"], context), 2)
        kept = [NAMES.index(feature) for feature in cut.features]
        rows = cut.eval_data.toarray() if hasattr(table, "tocsr") else np.asarray(cut.eval_data)
        assert np.array_equal(rows, VALUES[0][:, kept])
        assert cut.init_data is context.init_data


def test_a_cut_explanation_goes_on_as_any():
    """Rows of it are taken with what was cut, and it does not pretend to know raw columns."""
    cut = top(EXPLANATIONS["with engineered"], 2)
    assert np.array_equal(cut[5:8].other, cut.other[5:8])
    with pytest.raises(AttributeError, match="to_raw"):
        cut.engineered.to_raw()


def test_no_more_blocks_are_read_than_are_wanted(tmp_path, small_blocks):
    """Of eleven features in blocks of three the first block and the sum behind it."""
    path = save_explanation(EXPLANATIONS["global, binary"], tmp_path / "explanation")
    asked = set()

    def get(name):
        asked.add(name)
        return (path / name).read_bytes()

    files = Files(get, lambda name: (path / name).stat().st_size)
    content.read_explanation(Reader(files, "here"), 2)
    assert asked == {"explanation.json", "importances-00000.npy", "others-00003.npy"}


def test_files_without_sums_are_read_whole_and_cut(tmp_path, small_blocks, monkeypatch):
    """As those are that were saved before there were any."""
    monkeypatch.setattr(content._Blocks, "_fit", lambda *_: False)
    explanation = EXPLANATIONS["global, binary"]
    path = save_explanation(explanation, tmp_path / "explanation")
    assert not list(path.glob("others-*"))
    assert bits(load_explanation(path, top_k=2)) == bits(top(explanation, 2))


def test_sums_that_are_not_mirrored_are_not_taken_for_mirrored(tmp_path, small_blocks):
    """Two classes that mirror each other, with sums before them that do not."""
    explanation = EXPLANATIONS["local, binary"]
    other = GENERATOR.normal(size=(2, N_ROWS))
    explanation = replace(explanation, context=ExplanationContext(other=other))
    path = save_explanation(explanation, tmp_path / "explanation")
    assert bits(load_explanation(path, top_k=2)) == bits(top(explanation, 2))
