"""Names beside the numbers, ids that pass through, and the shapes in which rows have labels."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from service.explainers import TabularExplainer
from service.rows.json_rows import parse, parse_labelled
from service.rows.schema import Schema
from service.scoring import KernelScoringExplainer, PayloadError, ScoringModel, ScoringRequest
from service.scoring.request import options_of

pytestmark = pytest.mark.filterwarnings(  # pytest forgets the service's own filter
    "ignore:X does not have valid feature names"
)
FRAME = pd.DataFrame({"age": [49, 30], "zip": ["02139", "94105"]}, index=["x", "y"])
SCHEMA = Schema.of(FRAME, None, model=None)
MATRIX = [[49.0, "02139"], [30.0, "94105"]]
ORIENTS = ["columns", "index", "records", "split", "table"]


@pytest.fixture(scope="module")
def model(iris_folder):
    return ScoringModel.load(iris_folder)


@pytest.fixture(scope="module")
def words():
    """Labels that are words, three targets' worth of importances known exactly."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    fitted = LogisticRegression(max_iter=1000).fit(X, np.array(["se", "ve", "vi"])[y])
    return ScoringModel(fitted, KernelScoringExplainer(TabularExplainer(fitted, X)))


# Labels


@pytest.mark.parametrize("wrapper", [None, "data", "instances", "inputs"])
@pytest.mark.parametrize("orient", ORIENTS)
def test_every_orient_of_pandas_is_read_with_its_labels(orient, wrapper):
    """The same rows, bare and wrapped; records have none and are numbered."""
    body = json.loads(FRAME.to_json(orient=orient))
    matrix, labels = parse_labelled(body if wrapper is None else {wrapper: body}, SCHEMA)

    assert matrix.tolist() == MATRIX
    assert labels == ([0, 1] if orient == "records" else ["x", "y"])


def test_a_table_may_have_several_levels_or_an_index_of_a_columns_name():
    """Each label is then a tuple; a level that is called as a column is that column."""
    two = FRAME.set_index(pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["who", "when"]))
    assert parse_labelled(two.to_json(orient="table"), SCHEMA)[1] == [("x", 1), ("y", 2)]

    by_age = FRAME.set_index("age").to_json(orient="table")
    assert parse(by_age, SCHEMA).tolist() == MATRIX


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"schema": {"primaryKey": "index"}, "data": []}, "'primaryKey', as pandas writes"),
        ({"schema": {"primaryKey": ["id"]}, "data": [{"age": 1}]}, "Row 0: expected the id column"),
        ({"x": {"age": 49}, "y": {"age": 30, "zip": "1"}}, "Row 0: .* missing column 'zip'"),
        ({"x": {"other": 49}}, "own columns, 'age', 'zip'; got 'x'"),
        ({"columns": ["age", "zip"], "index": [1], "data": MATRIX}, "list of 2 labels .*list of 1"),
    ],
)
def test_what_is_no_such_orient_is_refused(body, sentence):
    """By name, as the other shapes are."""
    with pytest.raises(PayloadError, match=sentence):
        parse(body, SCHEMA)


def test_a_model_of_numbered_columns_reads_columns_first():
    """Keys that are the model's own names are columns, whatever the labels of the rows are."""
    numbers = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], columns=["0", "1"])
    schema = Schema.of(numbers, None, model=None)

    assert parse(numbers.to_json(), schema).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    labelled = numbers.set_axis(["a", "b"]).to_json(orient="index")
    assert parse(labelled, schema).tolist() == [[1.0, 2.0], [3.0, 4.0]]


# Ids


@pytest.mark.parametrize("orient", ORIENTS)
def test_ids_pass_by_the_model_in_every_orient(orient):
    """Wherever the column stands, and whatever it holds."""
    frame = FRAME.assign(note=[None, "n"])
    frame.insert(0, "customer", ["C-7", "C-9"])
    matrix, ids = parse_labelled(frame.to_json(orient=orient), SCHEMA, ["customer", "note"])

    assert matrix.tolist() == MATRIX
    assert ids == [{"customer": "C-7", "note": None}, {"customer": "C-9", "note": "n"}]


def test_ids_keep_the_order_of_the_rows():
    """Those of columns by label are put into the order of the rows."""
    body = {"id": {"y": 2, "x": 1}, "age": {"x": 49, "y": 30}, "zip": {"y": "94105", "x": "02139"}}

    matrix, ids = parse_labelled(body, SCHEMA, ["id"])

    assert (matrix.tolist(), ids) == (MATRIX, [{"id": 1}, {"id": 2}])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (MATRIX, "rows with the names of their columns"),
        ([{"age": 49, "zip": "1"}], "Row 0: expected the id column 'id', found none"),
        ({"age": [49], "zip": ["1"]}, "Body: expected the id column 'id'"),
        ({"age": [49], "zip": ["1"], "id": [1, 2]}, "Column 'id': expected the same rows"),
        ({"age": [49], "zip": ["1"], "id": {"0": 1}}, "Column 'id': expected a list of values"),
        ({"columns": ["id", "id"], "data": [[1, 2]]}, "each column once, but 'id'"),
        ({"columns": ["age", "zip"], "data": [[1, "2"]]}, "expected the id column 'id'"),
        ([{"age": 49, "zip": "1", "id": 1, "more": 2}], "unknown column 'more'"),
        ([], "at least one row"),
        ({}, "expected the id column"),
    ],
)
def test_rows_without_their_ids_are_refused(body, sentence):
    """By row and column."""
    with pytest.raises(PayloadError, match=sentence):
        parse_labelled(body, SCHEMA, ["id"])


def test_ids_are_no_columns_of_the_models():
    """A column cannot be both."""
    with pytest.raises(PayloadError, match="columns that the model does not know, got 'age'"):
        parse_labelled([], SCHEMA, ["age"])


# Names


def test_names_stand_beside_the_numbers(model, four_rows):
    """The numbers are those of the answer without names."""
    request = ScoringRequest(named=True, probabilities=True)
    plain = model.score(four_rows.to_json(), ScoringRequest(probabilities=True)).to_dict()
    named = model.score(four_rows.to_json(), request).to_dict()

    assert {name: named.pop(name) for name in plain} == plain
    assert named.pop("probabilities_by_class") == [
        dict(zip(["setosa", "versicolor", "virginica"], row, strict=True))
        for row in plain["probabilities"]
    ]
    assert named == {
        "row_ids": ["101", "7", "77", "133"],
        "classes": ["setosa", "versicolor", "virginica"],
        "predicted_classes": ["virginica", "setosa", "versicolor", "virginica"],
        "features": list(four_rows.columns),
        "output": "probability",
        "method": "kernel/neighbours",
        "exactness": model.scoring_explainer.exactness,
    }


def test_without_importances_there_are_names_of_classes_and_rows(model, four_rows):
    """And ids alone where nothing else is asked for."""
    body = four_rows.assign(id=[1, 2, 3, 4]).to_json(orient="records")
    ids = [{"id": i} for i in (1, 2, 3, 4)]
    named = ScoringRequest(explain=False, named=True, id_columns=("id",))
    alone = ScoringRequest(explain=False, id_columns=("id",))

    assert list(model.score(body, named)) == [
        *("predictions", "row_ids", "classes", "predicted_classes")
    ]
    assert model.score(body, alone).to_dict() == {
        "predictions": [2, 0, 1, 2],
        "row_ids": ids,
    }


def test_a_regressor_has_no_classes():
    """Its features, scale and rows have names all the same."""
    rows = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 5.0]})
    fitted = LinearRegression().fit(rows, rows["a"])
    regressor = ScoringModel(fitted, KernelScoringExplainer(TabularExplainer(fitted, rows)))

    answer = regressor.score("[[1, 2]]", ScoringRequest(named=True))

    assert list(answer)[2:] == ["row_ids", "features", "output", "method", "exactness"]
    assert (answer["exactness"], answer["row_ids"]) == ("exact", [0])
    with pytest.raises(PayloadError, match="with a classifier, got a regressor"):
        regressor.score("[[1, 2]]", ScoringRequest(top_k=1, top_class="a"))


def test_several_targets_have_a_name_for_each_class_of_each(iris):
    """Their probabilities by class stand beside each other; predictions are no single labels."""
    targets = np.c_[np.repeat(["no", "yes"], 75), np.tile([1, 2, 3], 50)]
    fitted = RandomForestClassifier(2, max_depth=2, random_state=0).fit(iris, targets)
    forest = ScoringModel(fitted, KernelScoringExplainer(TabularExplainer(fitted, iris)))

    answer = forest.score(iris[:2].to_json(), ScoringRequest(named=True, probabilities=True))

    expected = np.hstack(fitted.predict_proba(iris[:2]))
    by_class = answer["probabilities_by_class"]
    assert list(by_class[0]) == answer["classes"] == ["0: no", "0: yes", "1: 1", "1: 2", "1: 3"]
    assert [list(row.values()) for row in by_class] == expected.tolist()
    assert "predicted_classes" not in answer


@pytest.mark.parametrize("top_class", ["se", "vi"])
def test_the_largest_of_any_class_are_named(words, iris, top_class):
    """By the class's name, with its own importances."""
    asked = ScoringRequest(top_k=2, top_class=top_class)
    answer = words.score(iris[60:63].to_json(), asked)

    values = np.array(answer["local_importance_values"][["se", "ve", "vi"].index(top_class)])
    for of_row, named in zip(values, answer["top_importances"], strict=True):
        assert [one["importance"] for one in named] == sorted(of_row, key=abs, reverse=True)[:2]


def test_a_class_is_found_by_its_name_or_by_the_models_label(model, four_rows):
    """One that is neither is refused with the names."""
    body = four_rows.to_json()
    by_name, by_label = (
        model.score(body, ScoringRequest(top_k=1, top_class=one)) for one in ("versicolor", "1")
    )

    assert by_name["top_importances"] == by_label["top_importances"]
    with pytest.raises(PayloadError, match="one of 'setosa', 'versicolor', 'virginica', got 'no'"):
        model.score(body, ScoringRequest(top_k=1, top_class="no"))


@pytest.mark.parametrize(
    ("options", "exactness"),
    [
        ({}, "exact"),
        ({"background": "sample", "background_size": 20}, "exact on a sampled background"),
        ({"background": "kmeans"}, "exact on a summary of the background"),
        ({"output": "probability", "background": "whole"}, "exact"),
        ({"output": "probability", "nsamples": 40}, "sampled"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_answer_says_whether_it_is_exact(options, exactness):
    """Sampled is what has coalitions drawn; a part of the background is named as one."""
    n_features = 8 if "nsamples" in options else 4
    X, y = make_classification(60, n_features, n_redundant=0, random_state=0)
    explainer = TabularExplainer(LogisticRegression().fit(X, y), X, **options)

    assert KernelScoringExplainer(explainer).exactness == exactness


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"id_columns": "a,b,a"}, {"id_columns": ("a", "b")}),
        ({"id_columns": ["a,b"]}, {"id_columns": ("a,b",)}),
        ({"top_k": 1, "top_class": "0"}, {"top_k": 1, "top_class": "0"}),
        ({"named": "1"}, {"named": True}),
    ],
)
def test_options_are_read_from_text_and_json(given, read):
    """Names with commas between them, or a list."""
    assert options_of(given) == read


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"id_columns": ""}, "'id_columns': expected names of columns"),
        ({"id_columns": "a,,b"}, "'id_columns': expected names of columns"),
        ({"id_columns": [["a"]]}, "'id_columns': expected names of columns"),
        ({"id_columns": 7}, "'id_columns': expected names of columns"),
        ({"top_class": ""}, "'top_class': expected a name, got ''"),
        ({"named": "yes"}, "'named': expected true or false"),
        ({"top_class": "a"}, "top_class: expected with top_k only, got it without"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, sentence):
    """By name."""
    with pytest.raises(PayloadError, match=sentence):
        ScoringRequest(**options_of(given))


# Dates


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_seconds_are_no_milliseconds(zone):
    """A number that would be a day of spring 1970 is refused, whichever sign it has; 0 is 0 in
    both, and ISO 8601 has every day.
    """
    dates = pd.DataFrame({"at": pd.to_datetime(["2024-01-05", "1960-01-05"]).tz_localize(zone)})
    schema = Schema.of(dates, None, model=None)
    for seconds in (1704448800, 1, -1704448800, 9_999_999_999):
        with pytest.raises(PayloadError, match=rf"\(not seconds\) since 1970, got {seconds}"):
            parse([[seconds]], schema)

    moments = ["1970-02-03T00:00", "2024-01-05T10:00"]
    if zone is not None:
        moments = [f"{moment}Z" for moment in moments]
    assert parse([[1704448800000], [0], *[[moment] for moment in moments]], schema).tolist() == [
        [pd.Timestamp("2024-01-05T10:00", tz=zone)],
        [pd.Timestamp("1970-01-01", tz=zone)],
        [pd.Timestamp("1970-02-03", tz=zone)],
        [pd.Timestamp("2024-01-05T10:00", tz=zone)],
    ]
