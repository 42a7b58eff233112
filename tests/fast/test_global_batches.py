"""Global importances in batches, and rows that are sparse: the same numbers in less memory."""

import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from scipy.sparse import coo_array, csr_array, csr_matrix, random_array
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from service.engines.sparse import additive, blocks
from service.engines.sparse.importances import SparseImportances
from service.errors import PayloadError
from service.explainers import PFIExplainer, TabularExplainer
from service.explanations import GlobalExplanation, batches, load_explanation, save_explanation
from service.explanations.moments import Moments
from service.scoring import KernelScoringExplainer

ROOT = Path(__file__).parents[2]
GENERATOR = np.random.default_rng(2)
X = GENERATOR.normal([0, 5, 0, -3], size=(200, 4))
Y = (X @ [1.0, 2.0, 0.0, -1.0] > 10) * 1 + (X[:, 0] > 1)
FRAME = pd.DataFrame(X, columns=["a", "b", "c", "d"])


def fast(call):
    """A function whose importances are sampled or enumerated by calling it."""
    return TabularExplainer(call, FRAME[:20], nsamples=32, surrogate=False)


EXPLAINERS = {
    "linear": TabularExplainer(LogisticRegression().fit(FRAME, Y), FRAME),
    "tree": TabularExplainer(LGBMClassifier(n_estimators=3, verbose=-1).fit(FRAME, Y), FRAME[:50]),
    "function": fast(lambda rows: np.sin(rows["a"]) * rows["b"] + rows["d"]),
    "subset": TabularExplainer(
        Ridge().fit(FRAME, X[:, :2]), FRAME, explain_subset=["z", "w"], features=list("wxyz")
    ),
}
WIDE = {f"column {i}": rows for i, rows in enumerate(GENERATOR.normal(size=(11, 80)))}
SAMPLED = TabularExplainer(
    lambda rows: np.asarray(rows["column 0"] * rows["column 1"] + rows["column 2"]),
    pd.DataFrame(WIDE),
    nsamples=64,
    surrogate=False,
)
NAMES = (
    *("global_importance_values", "per_class_values", "global_standard_errors"),
    *("per_class_standard_errors", "noise_floor"),
)


def check_same(explanation, whole):
    """Everything but the last digits; nothing local."""
    assert not hasattr(explanation, "local_importance_values")
    for name in NAMES:
        expected, found = getattr(whole, name), getattr(explanation, name)
        assert (expected is None) == (found is None), name
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13, err_msg=name)
    for name in ("features", "classes", "method", "output", "expected_values", "num_examples"):
        assert getattr(explanation, name) == getattr(whole, name)


@pytest.mark.parametrize("batch_size", [None, 1, 7, 1000])
@pytest.mark.parametrize("kind", EXPLAINERS)
def test_batches_give_what_all_rows_give(kind, batch_size):
    """To 1e-12, for every size of them."""
    explainer, rows = EXPLAINERS[kind], FRAME[:60]
    check_same(
        explainer.explain_global(rows, include_local=False, batch_size=batch_size),
        explainer.explain_global(rows),
    )


def test_sampled_engines_keep_their_errors_and_noise_floor():
    """The mean standard error does not depend on batches either."""
    rows = pd.DataFrame(WIDE)[:9]
    whole = SAMPLED.explain_global(rows)
    assert whole.noise_floor is not None
    check_same(SAMPLED.explain_global(rows, include_local=False, batch_size=4), whole)


def test_an_irrelevant_feature_of_a_sampled_engine_lies_about_its_noise_floor():
    """It tells what a mean of magnitudes shows of nothing."""
    rows = pd.DataFrame(WIDE)[:40]
    overall = SAMPLED.explain_global(rows)
    irrelevant = np.arange(3, 11)
    floor = np.array(overall.noise_floor)[irrelevant]
    found = np.array(overall.global_importance_values)[irrelevant]
    assert 0.5 < np.mean(found / floor) < 1.5
    frame = overall.global_frame()
    assert not frame.loc[["column 0", "column 1", "column 2"], "below_noise"].any()


@pytest.mark.parametrize("size", [3, 200])
def test_rows_may_come_one_table_after_another(size, tmp_path):
    """From an iterator of frames or arrays, or out of a Parquet file."""
    explainer = EXPLAINERS["linear"]
    whole = explainer.explain_global(FRAME)
    frames = (FRAME[i : i + size] for i in range(0, 200, size))
    check_same(explainer.explain_global(frames, include_local=False, batch_size=50), whole)
    FRAME.to_parquet(tmp_path / "rows.parquet")
    for path in (tmp_path / "rows.parquet", str(tmp_path / "rows.parquet")):
        check_same(explainer.explain_global(path, include_local=False, batch_size=size), whole)
    kept = explainer.explain_global(iter([FRAME[:100], FRAME[100:]]))
    assert kept.local_importance_values == whole.local_importance_values
    assert explainer.explain_global(path).row_labels == list(range(200))
    arrays = (X[i : i + size] for i in range(0, 200, size))
    check_same(explainer.explain_global(arrays, include_local=False), whole)


@pytest.mark.parametrize("backend", ["threading", "multiprocessing", "sequential"])
def test_jobs_on_any_backend_give_the_same_bytes(backend, monkeypatch):
    """The batches are those of one job."""
    monkeypatch.setattr(batches, "SHORT", 0.0)  # seconds that are worth no jobs
    explainer = EXPLAINERS["tree"]
    one = explainer.explain_global(FRAME, include_local=False, batch_size=60)
    with joblib.parallel_config(backend=backend):
        two = explainer.explain_global(FRAME, include_local=False, batch_size=60, n_jobs=2)
    assert two.global_importance_values == one.global_importance_values
    assert two.global_standard_errors == one.global_standard_errors


def test_the_iterator_is_never_far_ahead():
    """What was read and not yet explained is a few batches, however many jobs there are."""
    alive = []

    def frames():
        for i in range(40):
            alive.append(i)
            yield FRAME[:5]

    explainer = EXPLAINERS["linear"]
    ahead = []
    original = Moments.of.__func__

    def counting(cls, *args):
        ahead.append(len(alive))
        return original(cls, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Moments, "of", classmethod(counting))
        explainer.explain_global(frames(), include_local=False)
    assert ahead[0] == 1
    assert len(ahead) == 40


@pytest.mark.parametrize(
    ("rows", "options", "error", "told"),
    [
        (FRAME, {"batch_size": 0}, ValueError, "batch_size: expected a positive number of rows"),
        (FRAME, {"batch_size": 2.5}, ValueError, r"batch_size: .* got 2\.5"),
        (5, {}, PayloadError, "expected a table, an iterator of tables or the path .* got 5"),
        (iter([]), {}, PayloadError, "expected at least one row, got none"),
        (FRAME[:0], {}, PayloadError, "expected at least one row, got none"),
        ("nowhere.parquet", {}, FileNotFoundError, "there is none at nowhere.parquet"),
        (iter([FRAME, FRAME[["a", "b"]]]), {}, PayloadError, "missing columns 'c', 'd'"),
        (csr_array((3, 7)), {}, PayloadError, r"shape \(n, 4\), got \(3, 7\)"),
    ],
)
def test_what_cannot_be_added_up_is_refused(rows, options, error, told):
    """In a sentence."""
    with pytest.raises(error, match=told):
        EXPLAINERS["linear"].explain_global(rows, include_local=False, **options)


def test_a_value_that_does_not_fit_is_named_with_its_row_among_all():
    """Not among those of its batch."""
    rows = FRAME.copy()
    rows.loc[150, "c"] = np.nan
    with pytest.raises(PayloadError, match="'c', row 150:"):
        EXPLAINERS["linear"].explain_global(rows, include_local=False, batch_size=7)


def test_standard_errors_over_rows_cover_the_truth():
    """Means of samples of rows lie about the mean of all as the errors say."""
    explainer = EXPLAINERS["linear"]
    truth = np.array(explainer.explain_global(FRAME).global_importance_values)
    covered = []
    for seed in range(100):
        sample = FRAME.sample(40, replace=True, random_state=seed)
        found = explainer.explain_global(sample, include_local=False)
        errors = np.array(found.global_standard_errors)
        covered.append(np.abs(found.global_importance_values - truth) < 1.96 * errors)
    assert 0.88 < np.mean(covered) < 0.99


MEMORY = r"""
import re
from pathlib import Path
import numpy as np
from sklearn.linear_model import LinearRegression
from service.explainers import PFIExplainer, TabularExplainer

def frames(n_rows, size=50_000):
    generator = np.random.default_rng(0)
    for _ in range(n_rows // size):
        yield generator.normal(1.0, 2.0, size=(size, 30))

background = np.random.default_rng(1).normal(size=(500, 30))
model = LinearRegression().fit(background, background @ np.arange(30.0) + 1)
explainer = TabularExplainer(model, background)
overall = explainer.explain_global(frames(1_000_000), include_local=False)
total, mean = np.zeros(30), background.mean(axis=0)
for rows in frames(1_000_000):
    total += np.abs(rows - mean).sum(axis=0)
expected = np.abs(model.coef_) * total / 1_000_000
off = np.abs(np.array(overall.global_importance_values) / expected - 1).max()
assert off < 1e-12, off
status = Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)
"""


def test_a_million_rows_of_a_linear_model_take_less_than_300_mb():
    """In all, in a fresh process, and equal the closed form to 1e-12."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 300


ROWS = random_array((300, 40), density=0.05, rng=np.random.default_rng(3), format="csr")
TARGETS = ROWS.toarray() @ GENERATOR.normal(size=40)
SPARSE_MODELS = {
    "linear": LinearRegression().fit(ROWS, TARGETS),
    "classifier": LogisticRegression().fit(ROWS, (TARGETS > 0) * 1),
    "pipeline": make_pipeline(MaxAbsScaler(), Ridge()).fit(ROWS, TARGETS),
    "dense pipeline": make_pipeline(StandardScaler(), Ridge()).fit(ROWS.toarray(), TARGETS),
    "targets": Ridge().fit(ROWS, np.stack([TARGETS, 1 - 2 * TARGETS], axis=1)),
}


@pytest.mark.parametrize("form", [csr_array, csr_matrix, coo_array])
@pytest.mark.parametrize("name", SPARSE_MODELS)
def test_sparse_rows_of_linear_models_get_the_bytes_of_dense_ones(name, form, monkeypatch):
    """Local and global, in one block or many, and no dense table of them is made."""
    explainer = TabularExplainer(SPARSE_MODELS[name], ROWS[:50].toarray())
    dense = explainer.explain_global(ROWS.toarray())
    monkeypatch.setattr(additive, "BLOCK", 80)
    sparse = explainer.explain_global(form(ROWS))
    assert isinstance(sparse.importances, SparseImportances)
    assert sparse.importances.values.tobytes() == dense.importances.values.tobytes()
    assert repr(sparse.importances) == repr(dense.importances).replace("Local", "Sparse")
    assert sparse[[5, 2]].local_importance_values == dense[[5, 2]].local_importance_values
    for other in (sparse, explainer.explain_global(form(ROWS), include_local=False, batch_size=77)):
        for found in NAMES[:4]:
            np.testing.assert_allclose(
                getattr(other, found), getattr(dense, found), rtol=1e-12, atol=1e-13
            )


def test_subsets_repeated_cells_and_stored_zeros_are_as_in_dense_rows():
    """What is stored twice is added up."""
    cells = ([1.0, 2.0, 0.0, 5.0], ([0, 0, 1, 2], [3, 3, 0, 39]))
    rows = coo_array(cells, shape=(3, 40))
    explainer = TabularExplainer(
        SPARSE_MODELS["classifier"], ROWS[:50].toarray(), explain_subset=[39, 3, 7]
    )
    found = explainer.explain_local(rows)
    expected = explainer.explain_local(rows.toarray())
    assert found.local_importance_values == expected.local_importance_values
    assert found.features == expected.features == ["39", "3", "7"]


def test_sparse_explanations_are_saved_as_they_are(tmp_path):
    """And loaded bit for bit."""
    explainer = TabularExplainer(SPARSE_MODELS["classifier"], ROWS[:50].toarray())
    overall = explainer.explain_global(ROWS)
    loaded = load_explanation(save_explanation(overall, tmp_path / "e"))
    assert isinstance(loaded, GlobalExplanation)
    assert isinstance(loaded.importances, SparseImportances)
    assert loaded.local_importance_values == overall.local_importance_values
    assert loaded.global_importance_values == overall.global_importance_values
    assert {file.name for file in (tmp_path / "e").iterdir()} == {
        "explanation.json",
        "importances_sparse.npz",
    }


@pytest.mark.parametrize(
    "model",
    [
        LGBMClassifier(n_estimators=3, min_child_samples=5, verbose=-1),
        KNeighborsRegressor(3),
    ],
    ids=["tree", "called"],
)
def test_sparse_rows_of_other_engines_are_dense_a_batch_at_a_time(model):
    """The numbers are those of dense rows."""
    narrow = ROWS[:, :6]
    target = (narrow.sum(axis=1) > 0.1) * 1
    explainer = TabularExplainer(model.fit(narrow.toarray(), target), narrow[:30].toarray())
    dense = explainer.explain_global(narrow[:20].toarray())
    check_same(explainer.explain_global(narrow[:20], include_local=False, batch_size=6), dense)
    assert explainer.explain_global(narrow[:20]).local_importance_values == (
        dense.local_importance_values
    )


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_sparse_rows_of_trees_keep_what_differs_from_a_row_of_zeros(n_jobs, monkeypatch, tmp_path):
    """In blocks, the bytes of dense rows, also taken apart, of some columns, saved and loaded."""
    model = LGBMClassifier(n_estimators=1, num_leaves=5, min_child_samples=5, verbose=-1)
    model.fit(ROWS.toarray(), np.digitize(TARGETS, [-0.1, 0.1]))
    explainer = TabularExplainer(model, ROWS[:50].toarray())
    assert explainer.method == "tree"
    dense = explainer.explain_global(ROWS.toarray())
    monkeypatch.setattr(blocks, "BLOCK", 40 * 70)  # five blocks
    for form in (csr_array, coo_array):
        sparse = explainer.explain_global(form(ROWS), n_jobs=n_jobs)
        assert isinstance(sparse.importances, SparseImportances)
        stored = sparse.importances.sparse
        assert len(stored.indices) < 0.5 * ROWS.shape[0] * ROWS.shape[1]
        np.testing.assert_array_equal(sparse.importances.values, dense.importances.values)
        for found in NAMES[:4]:
            np.testing.assert_allclose(
                getattr(sparse, found), getattr(dense, found), rtol=1e-12, atol=1e-13
            )
    assert sparse[[5, 2]].local_importance_values == dense[[5, 2]].local_importance_values
    some = TabularExplainer(model, ROWS[:50].toarray(), explain_subset=[7, 3])
    assert some.explain_local(ROWS[:9]).local_importance_values == (
        some.explain_local(ROWS[:9].toarray()).local_importance_values
    )
    loaded = load_explanation(save_explanation(sparse, tmp_path / "e"))
    assert loaded.local_importance_values == dense.local_importance_values
    with pytest.raises(PayloadError, match=r"of shape \(n, 40\), got \(300, 39\)"):
        explainer.explain_local(ROWS[:, :39])


def test_a_refused_value_of_sparse_rows_is_named_with_its_row(monkeypatch):
    """Though columns were moved together."""
    monkeypatch.setattr(additive, "BLOCK", 400)
    explainer = TabularExplainer(SPARSE_MODELS["linear"], ROWS[:50].toarray())
    rows = coo_array(([np.nan], ([123], [7])), shape=(300, 40))
    with pytest.raises(PayloadError, match="'7', row 123: expected a number, got a missing"):
        explainer.explain_global(rows)
    with pytest.raises(PayloadError, match="'7', row 123: expected a number, got a missing"):
        explainer.explain_global(rows.tocsr(), include_local=False, batch_size=50)


@pytest.mark.parametrize("include_local", [True, False])
@pytest.mark.parametrize(
    "pieces",
    [
        lambda: iter(X[:30]),
        lambda: iter(X[:30].tolist()),
        lambda: iter(FRAME[:30].to_dict("records")),
        lambda: (row for _, row in FRAME[:30].iterrows()),
        lambda: [FRAME[:10], FRAME[10:30]],
        lambda: [X[:10], X[10:30]],
        lambda: iter([FRAME[:10].to_dict("records"), FRAME[10:30].to_dict("records")]),
    ],
    ids=["arrays", "lists", "records", "series", "frames", "tables", "lists of records"],
)
def test_rows_may_come_one_by_one_and_tables_in_a_list(pieces, include_local):
    """The numbers of one table."""
    explainer = EXPLAINERS["linear"]
    whole = explainer.explain_global(FRAME[:30])
    found = explainer.explain_global(pieces(), include_local=include_local)
    assert found.num_examples == 30
    np.testing.assert_allclose(
        found.global_importance_values, whole.global_importance_values, rtol=0, atol=1e-12
    )


def buffered():
    """Rows that come in the same memory, one table after another."""
    buffer = np.empty((50, 4))
    for first in range(0, 200, 50):
        buffer[:] = X[first : first + 50]
        yield buffer


PIECES = {
    "a buffer": buffered,
    "a buffer in frames": lambda: (pd.DataFrame(each, columns=list("abcd")) for each in buffered()),
    "columns in another order": lambda: iter([FRAME[:90], FRAME.loc[90:, list("dbca")]]),
    "a frame and an array": lambda: iter([FRAME[:90], X[90:]]),
    "an array and a frame": lambda: iter([X[:90], FRAME.loc[90:, list("dbca")]]),
    "other types": lambda: iter([FRAME[:90], FRAME[90:].astype(object)]),
    "records and lists": lambda: iter([FRAME[:90].to_dict("records"), X[90:].tolist()]),
    "an object array": lambda: iter([X[:90], X[90:].astype(object)]),
    "sparse and dense": lambda: iter([csr_array(X[:90]), X[90:]]),
    "sparse": lambda: iter([csr_array(X[:90]), csr_matrix(X[90:])]),
    "single rows": lambda: iter([*X[:5], *(FRAME.iloc[i] for i in range(5, 10)), X[10:]]),
}


def test_labels_of_pieces_are_kept():
    """Where all have some, though a column is of whole numbers in one and of others in the next."""
    rows = FRAME[:4].set_axis(list("wxyz")).round()
    pieces = iter([rows[:2].astype(int), rows[2:]])
    assert EXPLAINERS["linear"].explain_global(pieces).row_labels == list("wxyz")


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("kind", ["linear", "tree"])
def test_rows_in_pieces_are_those_of_one_table(kind, name):
    """With local importances and without, in jobs too, in whatever form each piece comes."""
    explainer = EXPLAINERS[kind]
    whole = explainer.explain_global(FRAME)
    kept = explainer.explain_global(PIECES[name]())
    expected = whole.local_importance_values
    np.testing.assert_allclose(kept.local_importance_values, expected, rtol=1e-12, atol=1e-13)
    assert kept.predictions == whole.predictions
    check_same(explainer.explain_global(PIECES[name](), include_local=False), whole)


def test_a_buffer_may_be_used_again_while_jobs_wait(monkeypatch):
    """Each batch is copied before the next one comes."""
    monkeypatch.setattr(batches, "SHORT", -1)
    explainer = EXPLAINERS["tree"]
    with joblib.parallel_config(backend="multiprocessing"):
        found = explainer.explain_global(buffered(), include_local=False, n_jobs=2)
    check_same(found, explainer.explain_global(FRAME))


@pytest.mark.parametrize("include_local", [True, False])
@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ([FRAME[:90], FRAME[90:].drop(columns="c")], "'c'"),
        ([X[:90], X[90:, :3]], r"expected an array of shape \(n, 4\)|expected 4"),
        ([FRAME[:90], FRAME[90:].assign(b="x")], "row 90: "),
        (["rows.parquet"], "expected a table, an iterator of tables"),
        ([FRAME[:90], FRAME[90:].assign(more="text")], "unknown column 'more'"),
        ([FRAME[:0]], "expected at least one row"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(pieces, told, include_local):
    """In the same sentence whether local importances are kept or not."""
    with pytest.raises(PayloadError, match=told):
        EXPLAINERS["linear"].explain_global(iter(pieces), include_local=include_local)


@pytest.mark.parametrize("include_local", [True, False])
def test_a_file_that_is_no_parquet_file_is_named(include_local, tmp_path):
    """A CSV file, or half of one."""
    FRAME.to_csv(tmp_path / "rows.csv")
    FRAME.to_parquet(tmp_path / "half.parquet")
    half = (tmp_path / "half.parquet").read_bytes()[:900]
    (tmp_path / "half.parquet").write_bytes(half)
    for name in ("rows.csv", "half.parquet"):
        with pytest.raises(PayloadError, match=f"{name} is none"):
            EXPLAINERS["linear"].explain_global(tmp_path / name, include_local=include_local)


ASKS = {
    "local": lambda jobs: EXPLAINERS["linear"].explain_local(FRAME[:2], n_jobs=jobs),
    "global": lambda jobs: EXPLAINERS["tree"].explain_global(FRAME[:2], n_jobs=jobs),
    "batches": lambda jobs: EXPLAINERS["linear"].explain_global(
        FRAME[:2], include_local=False, n_jobs=jobs
    ),
    "sparse": lambda jobs: EXPLAINERS["tree"].explain_local(csr_array(X[:2]), n_jobs=jobs),
    "scoring": lambda jobs: KernelScoringExplainer(EXPLAINERS["tree"]).explain_rows(
        FRAME[:2], n_jobs=jobs
    ),
    "permutation": lambda jobs: PFIExplainer(
        Ridge().fit(X, Y), n_repeats=2, show_progress=False
    ).explain_global(X[:9], Y[:9], n_jobs=jobs),
}


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("n_jobs", [0, 1.0, "all", True])
def test_what_is_no_number_of_jobs_is_refused(ask, n_jobs):
    """Also where the work is too short for jobs."""
    with pytest.raises(ValueError, match=r"^n_jobs: expected a number of jobs, .* got "):
        ASKS[ask](n_jobs)


MANY = 70_000  # rows of a file, which are more than are read at once


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(100, MANY + 100),
        pd.RangeIndex(2 * MANY, 0, -2, name="id"),
        pd.Index(np.arange(MANY).astype(str), name="key"),
        pd.RangeIndex(MANY),
    ],
    ids=["a part", "backwards", "texts", "counted"],
)
def test_rows_of_a_parquet_file_keep_their_labels(index, tmp_path):
    """Those that pandas reads, in whatever parts the file is read here."""
    frame = pd.DataFrame({"a": np.linspace(0.0, 1.0, MANY)}, index=index)
    frame.to_parquet(tmp_path / "rows.parquet")
    explainer = TabularExplainer(LinearRegression().fit(frame, frame["a"]), frame[:20])
    overall = explainer.explain_global(tmp_path / "rows.parquet")
    read = pd.read_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_index_equal(overall.to_frame().index, read.index, exact="equiv")
    assert overall.to_frame().equals(explainer.explain_local(read).to_frame())
