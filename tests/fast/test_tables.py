"""What users bring as rows and models: sparse, of other libraries, bare boosters, bare texts."""

import json

import lightgbm
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
import scipy.sparse as sp
import xgboost
from shapley_by_definition import shapley_by_definition
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder
from xgboost import XGBRegressor

from service.explainers import TabularExplainer
from service.rows import tables
from service.rows.schema import Schema
from service.rows.tables import LARGEST_DENSE, as_table
from service.scoring import KernelScoringExplainer, PayloadError, ScoringModel, load, save

N = 80
COUNTS = sp.random(N, 4, density=0.5, format="csr", random_state=0)
LABELS = np.array([0, 1] * (N // 2))
SPARSE = {
    "csr": COUNTS,
    "csc": COUNTS.tocsc(),
    "coo": COUNTS.tocoo(),
    "array": sp.csr_array(COUNTS),
    "lil": COUNTS.tolil(),
}
FRAMES = {
    "floats": pd.DataFrame.sparse.from_spmatrix(COUNTS, columns=list("abcd")),
    "integers": pd.DataFrame({"a": pd.arrays.SparseArray([0, 1] * 40), "b": np.arange(80)}),
    "flags": pd.DataFrame({"a": pd.arrays.SparseArray([True, False] * 40), "b": np.arange(80)}),
    "twice the same index": pd.DataFrame.sparse.from_spmatrix(COUNTS, index=np.zeros(N, dtype=int)),
}


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        MultinomialNB(),
        RandomForestClassifier(n_estimators=5, random_state=0),
        make_pipeline(MaxAbsScaler(), LogisticRegression()),
    ],
)
@pytest.mark.parametrize("form", SPARSE)
def test_a_sparse_matrix_is_explained_like_the_dense_one(form, model):
    """Examples and rows; the model was fitted on the sparse one."""
    model.fit(COUNTS, LABELS)
    dense = TabularExplainer(model, COUNTS.toarray())
    explainer = TabularExplainer(model, SPARSE[form])
    assert explainer.method == dense.method
    expected = dense.explain_local(COUNTS[:3].toarray()).local_importance_values
    found = explainer.explain_local(SPARSE[form].tocsr()[:3]).local_importance_values
    np.testing.assert_array_equal(found, expected)
    scoring = KernelScoringExplainer(explainer)
    served = ScoringModel(model, scoring).score(json.dumps(COUNTS[:3].toarray().tolist()))
    np.testing.assert_array_equal(served["predictions"], model.predict(COUNTS[:3]))


@pytest.mark.filterwarnings("ignore:pandas.DataFrame with sparse columns found")
@pytest.mark.parametrize("form", FRAMES)
def test_sparse_columns_of_a_frame_are_columns(form):
    """Of every type, saved and loaded; the index plays no part."""
    frame = FRAMES[form]
    frame = frame.set_axis(list(map(str, frame.columns)), axis=1)
    model = LogisticRegression().fit(frame, LABELS)
    served = ScoringModel(model, KernelScoringExplainer(TabularExplainer(model, frame)))
    served.self_check()
    result = served.scoring_explainer.explain_rows(frame[:5])
    sums = result.expected_values[1] + result.values[1].sum(axis=1)
    np.testing.assert_allclose(sums, model.decision_function(frame[:5]), rtol=0, atol=1e-9)
    answer = served.score(as_table(frame)[:5].to_json(orient="records", double_precision=15))
    np.testing.assert_array_equal(answer["predictions"], model.predict(frame[:5]))


def test_a_model_to_which_zeros_are_missing_in_a_sparse_matrix_is_refused():
    """XGBoost reads it so: a dense row would be another one to it."""
    model = XGBRegressor(n_estimators=10, n_jobs=1).fit(COUNTS, COUNTS.toarray()[:, 0] == 0)
    with pytest.raises(ValueError, match=r"to answer row .* alike as it came"):
        TabularExplainer(model, COUNTS)


def test_a_sparse_matrix_that_would_not_fit_is_refused():
    """Before memory is asked for; rows say the same."""
    wide = sp.csr_matrix((10**6, 10**6), dtype=np.float64)
    with pytest.raises(ValueError, match="at most 4 GB when it is dense, got one of 7451 GB"):
        TabularExplainer(LogisticRegression(), wide)
    assert LARGEST_DENSE < 10**12


def test_a_frame_of_sparse_columns_that_becomes_dense_says_so(monkeypatch):
    """With its size and what stays sparse; one that is too large is refused, and small ones are
    silent.
    """
    frame = pd.DataFrame.sparse.from_spmatrix(COUNTS)
    np.testing.assert_array_equal(as_table(frame), COUNTS.toarray())
    n_bytes = N * 4 * 8
    monkeypatch.setattr(tables, "LARGEST_UNSAID", n_bytes - 1)
    with pytest.warns(UserWarning, match=r"^Rows: a DataFrame of sparse columns .*sparse.to_coo"):
        dense = as_table(frame.assign(text="a"))
    assert not any(isinstance(dtype, pd.SparseDtype) for dtype in dense.dtypes)
    monkeypatch.setattr(tables, "LARGEST_DENSE", n_bytes - 1)
    with pytest.raises(ValueError, match=r"^Rows: expected a DataFrame of sparse columns of at mo"):
        as_table(frame)


@pytest.mark.parametrize("library", [polars.from_pandas, pa.Table.from_pandas])
def test_a_table_of_another_library_is_one_of_pandas(library):
    """Examples and rows; what was fitted on it knows the same names."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"v": rng.normal(size=N), "k": rng.choice(["p", "q"], N)})
    encode = make_column_transformer((OneHotEncoder(), ["k"]), remainder="passthrough")
    model = make_pipeline(encode, Ridge()).fit(frame, frame["v"])
    explainer = TabularExplainer(model, library(frame))
    assert (explainer.method, explainer.features) == ("linear", ["v", "k"])
    found = explainer.explain_local(library(frame[:3])).local_importance_values
    expected = TabularExplainer(model, frame).explain_local(frame[:3]).local_importance_values
    np.testing.assert_array_equal(found, expected)


MASKED = np.ma.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], mask=[[0, 1], [0, 0], [0, 0]])


def test_what_an_array_masks_is_missing():
    """A masked cell is explained as a missing value, and never as what lies below the mask."""
    model = HistGradientBoostingClassifier(min_samples_leaf=1).fit(
        np.tile(MASKED, (9, 1)), [0, 1, 1] * 9
    )
    nan = MASKED.filled(np.nan)
    values = TabularExplainer(model, MASKED).explain_local(MASKED[:1]).local_importance_values
    assert values == TabularExplainer(model, nan).explain_local(nan[:1]).local_importance_values
    one_row = TabularExplainer(model, nan).explain_local(MASKED[0]).local_importance_values
    assert one_row == TabularExplainer(model, nan).explain_local(nan[0]).local_importance_values


def test_what_is_masked_is_refused_where_nothing_was_missing():
    """Rows with masked cells are refused like rows with missing ones."""
    explainer = TabularExplainer(Ridge().fit(MASKED.data, [1, 2, 4]), MASKED.data)
    with pytest.raises(PayloadError, match="Column '1', row 0: expected a number, got a missing"):
        explainer.explain_local(MASKED)


@pytest.mark.parametrize(
    ("masked", "plain"),
    [
        (np.ma.array([[1, 2]], mask=[[1, 0]]), [[None, 2]]),
        (np.ma.array([["a", "b"]], mask=[[1, 0]], dtype=object), [[None, "b"]]),
        (np.ma.array([True, False], mask=[1, 0]), [None, False]),
    ],
)
def test_values_of_any_type_are_missing_where_masked(masked, plain):
    """Numbers, texts and truth values keep what is not masked, on one axis as on two."""
    came = as_table(masked)
    assert type(came) is np.ndarray
    assert np.where(pd.isna(came), None, came).tolist() == plain


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_of_numpy_is_an_array():
    """A matrix, whose rows and columns keep two axes, is explained like the array of its values."""
    rows = MASKED.data
    model = Ridge().fit(rows, [1, 2, 4])
    values = TabularExplainer(model, rows).explain_local(rows).local_importance_values
    matrix = np.asmatrix(rows)
    assert TabularExplainer(model, matrix).explain_local(matrix).local_importance_values == values


@pytest.mark.parametrize(("labels", "told"), [("aab", "column 'a'"), (["1", 1, "2"], "column '1'")])
def test_names_that_come_twice_are_named(labels, told):
    """Columns of one name, also as a number and a text, are refused by this name."""
    examples = pd.DataFrame(np.eye(3)).set_axis(list(labels), axis=1)
    with pytest.raises(
        ValueError, match=f"got 2 different ones in 3; more than once came the {told}"
    ):
        TabularExplainer(Ridge().fit(np.eye(3), [1, 2, 3]), examples)


def test_records_are_examples_too():
    """A list of dictionaries, as rows are."""
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [0.0, 1.0, 1.0]})
    model = Ridge().fit(frame, [1, 2, 3])
    explainer = TabularExplainer(model, frame.to_dict("records"))
    assert (explainer.method, explainer.features) == ("linear", ["a", "b"])


@pytest.mark.parametrize(
    ("examples", "reason"),
    [
        (pd.Series([1.0, 2.0]), r"got one axis of 2 values; .* \(to_frame\(\) of a Series\)"),
        (np.zeros(3), "got one axis of 3 values"),
        ({"a": [1.0, 2.0]}, "got a record of 1"),
        (xgboost.DMatrix(np.zeros((3, 2))), "got <xgboost.core.DMatrix"),
        ("rows.csv", "expected a DataFrame or a 2-D array"),
        (None, "got None"),
    ],
)
def test_what_is_no_table_is_refused(examples, reason):
    """In one sentence that says what came, and how it becomes one."""
    with pytest.raises(ValueError, match=f"initialization_examples: .*{reason}"):
        TabularExplainer(lambda rows: rows[:, 0], examples)


X = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=list("abc"))
CLASSES = (X["a"] * X["b"] > 0) * 1 + (X["a"] > 0)
OBJECTIVES = {
    "reg:squarederror": X["a"] * X["b"],
    "count:poisson": np.abs(X["a"] * X["b"]),
    "binary:logistic": X["a"] * X["b"] > 0,
    "multi:softprob": CLASSES,
    "multi:softmax": CLASSES,
    "binary:logitraw": X["a"] * X["b"] > 0,
    "rank:pairwise": X["a"] * X["b"] > 0,
}
LIGHT_OBJECTIVES = {
    "regression": X["a"] * X["b"],
    "poisson": np.abs(X["a"] * X["b"]),
    "binary": X["a"] * X["b"] > 0,
    "multiclass": CLASSES,
    "multiclassova": CLASSES,
    "cross_entropy": X["a"] * X["b"] > 0,
}


def extreme_booster(objective, rows):
    options = {"objective": objective, "nthread": 1, "max_depth": 3}
    if objective.startswith("multi"):
        options["num_class"] = 3
    matrix = xgboost.DMatrix(rows, OBJECTIVES[objective])
    if objective.startswith("rank"):
        matrix.set_group([100, 100])
    return xgboost.train(options, matrix, 8)


def light_booster(objective):
    options = {"objective": objective, "verbose": -1, "num_threads": 1}
    if objective.startswith("multiclass"):
        options["num_class"] = 3
    return lightgbm.train(options, lightgbm.Dataset(X, LIGHT_OBJECTIVES[objective]), 8)


def check_booster(booster, predict, rows, tolerance):
    """Importances are by definition those of its own predictions, which are served too."""
    explainer = TabularExplainer(booster, rows[:20])
    result = explainer.explain_local(rows[20:22])
    values = np.array(result.local_importance_values).reshape(-1, 2, 3)
    background = np.asarray(rows[:20])

    def outputs(matrix):
        return np.asarray(predict(matrix), dtype=np.float64).reshape(len(matrix), -1)

    for i in range(2):
        expected = shapley_by_definition(
            outputs, np.asarray(rows[20 + i : 21 + i])[0], background, np.ones(20)
        )
        np.testing.assert_allclose(values[:, i], expected, rtol=0, atol=tolerance)
    served = ScoringModel(booster, KernelScoringExplainer(explainer))
    served.self_check()
    answer = served.score(json.dumps(np.asarray(rows[:5]).tolist()))
    expected = np.asarray(predict(np.asarray(rows[:5])), dtype=np.float64)
    np.testing.assert_allclose(np.array(answer["predictions"]), expected, rtol=0, atol=1e-6)
    return explainer


@pytest.mark.parametrize("is_frame", [True, False])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_bare_booster_of_xgboost_is_explained_and_served(objective, is_frame):
    """As it predicts itself: numbers, probabilities or classes; read, or called with its matrix."""
    rows = X if is_frame else X.to_numpy()
    booster = extreme_booster(objective, rows)

    def predict(matrix):
        return booster.predict(xgboost.DMatrix(matrix, feature_names=booster.feature_names))

    explainer = check_booster(booster, predict, rows, 1e-5)
    is_read = objective in ("reg:squarederror", "count:poisson", "binary:logistic")
    assert explainer.method.endswith("tree") or not is_read


@pytest.mark.parametrize("objective", LIGHT_OBJECTIVES)
def test_a_bare_booster_of_lightgbm_is_explained_and_served(objective):
    """Likewise; it takes rows as they are."""
    booster = light_booster(objective)
    explainer = check_booster(booster, booster.predict, X, 1e-9)
    is_read = objective in ("regression", "poisson", "binary", "multiclass")
    assert explainer.method.endswith("tree") or not is_read


def test_a_bare_booster_is_saved_and_loaded(tmp_path):
    """Beside an explainer that calls it, too."""
    booster = extreme_booster("binary:logistic", X)
    scoring = KernelScoringExplainer(TabularExplainer(booster, X[:20], engine="kernel"))
    save(scoring, tmp_path / "saved", original_model=booster)
    served = ScoringModel.load(tmp_path / "saved")
    served.self_check()
    expected = scoring.explain_rows(X[:2]).values
    np.testing.assert_array_equal(load(tmp_path / "saved").explain_rows(X[:2]).values, expected)


def test_a_booster_refuses_columns_that_are_not_its_own():
    """In another order they would be other columns; an array is taken in its order."""
    booster = extreme_booster("reg:squarederror", X)
    with pytest.raises(ValueError, match="column 'c' came in the place of 'a'"):
        TabularExplainer(booster, X[["c", "b", "a"]])
    assert TabularExplainer(booster, X.to_numpy()).features == ["a", "b", "c"]


@pytest.mark.parametrize(
    "vectorizer", [CountVectorizer(), TfidfVectorizer(), HashingVectorizer(n_features=16)]
)
@pytest.mark.parametrize("form", [list, pd.Series, lambda texts: pd.DataFrame({"text": texts})])
def test_a_model_of_bare_texts_says_how_it_gets_a_column(vectorizer, form):
    """Whatever its examples come in, through a search and by its method; the cure works."""
    texts = ["good film", "bad film", "good book", "bad book"] * 20
    model = make_pipeline(vectorizer, LogisticRegression()).fit(texts, LABELS)
    search = GridSearchCV(model, {"logisticregression__C": [1.0]}, cv=2).fit(texts, LABELS)
    for asked in (model, search, model.predict_proba):
        with pytest.raises(
            ValueError, match=f"begins with {type(vectorizer).__name__}, which takes"
        ):
            TabularExplainer(asked, form(texts))
    frame = pd.DataFrame({"text": texts, "length": np.arange(N) % 5})
    columns = make_column_transformer((vectorizer, "text"), remainder="passthrough")
    cured = make_pipeline(columns, LogisticRegression()).fit(frame, LABELS)
    explainer = TabularExplainer(cured, frame[:20], output="probability")
    result = explainer.explain_local(frame[20:22])
    sums = np.sum(result.local_importance_values[1], axis=1) + result.expected_values[1]
    expected = cured.predict_proba(frame[20:22])[:, 1]
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-9)


def test_rows_of_another_library_are_refused_like_others():
    """By column and row."""
    schema = Schema.of(pd.DataFrame({"a": [1.0], "b": [2.0]}), None, HistGradientBoostingClassifier)
    with pytest.raises(PayloadError, match="missing column 'b' and unknown column 'c'"):
        schema.matrix(pa.table({"a": [1.0], "c": [2.0]}))
    with pytest.raises(PayloadError, match=r"expected an array of shape \(n, 2\), got \(80, 4\)"):
        schema.matrix(COUNTS)


@pytest.mark.parametrize("kind", [np.ndarray, np.recarray])
def test_an_array_of_records_is_a_table_of_its_fields(kind):
    """As examples and as rows, one record too: as the DataFrame that is made of it."""
    frame = pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20.0) % 3})
    records = frame.to_records(index=False).view(kind)
    model = Ridge().fit(frame, frame["a"] - frame["b"])
    explained = TabularExplainer(model, frame).explain_local(frame[:3])
    of_records = TabularExplainer(model, records).explain_local(records[:3])
    assert of_records.features == ["a", "b"]
    assert of_records.local_importance_values == explained.local_importance_values
    one = TabularExplainer(model, frame).explain_local(records[:1])
    assert one.local_importance_values == explained.local_importance_values[:1]
