import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from service.rows.schema import Schema
from service.scoring import PayloadError

NUMBERS = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4], "c": [True, False]})


@pytest.mark.parametrize(
    "rows",
    [
        NUMBERS,
        NUMBERS[["c", "a", "b"]],
        NUMBERS.to_numpy(dtype=float),
        NUMBERS.to_dict("records"),
        NUMBERS.to_numpy(dtype=object).tolist(),
        [(1.0, 3, True), (2.0, 4, False)],
    ],
)
def test_every_form_of_the_same_rows_gives_the_same_matrix(rows):
    """DataFrames (columns in any order), arrays, records, lists and tuples."""
    matrix = Schema.of(NUMBERS, None, model=None).matrix(rows)
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, [[1, 3, 1], [2, 4, 0]])


def test_a_frame_is_read_at_once_and_every_column_as_what_it_is():
    """Large integers beside floats are refused and not rounded; pandas' own floats may have missing
    values.
    """
    schema = Schema.of(pd.DataFrame({"a": [1.5, np.nan], "b": [3, 4]}), None, model=None)
    own = pd.DataFrame(
        {"a": pd.array([0.5, None], dtype="Float64"), "b": np.array([1, 2], dtype=np.int8)}
    )
    np.testing.assert_array_equal(schema.matrix(own), [[0.5, 1], [np.nan, 2]])
    single = pd.DataFrame(
        {"a": np.array([0.1], dtype=np.float32), "b": np.array([7.0], dtype=np.float32)}
    )
    np.testing.assert_array_equal(schema.matrix(single), [[np.float32(0.1), 7]])
    with pytest.raises(
        PayloadError, match=r"Column 'b', row 0: expected an integer, got 9007199254740993"
    ):
        schema.matrix(pd.DataFrame({"a": [1.0], "b": [2**53 + 1]}))
    with pytest.raises(PayloadError, match=r"Column 'a', row 1: expected a number, got inf"):
        schema.matrix(pd.DataFrame({"a": [1.0, np.inf], "b": [1.0, 2.0]}))


def test_a_single_row_is_read_as_it_is_among_others():
    """Words, numbers, flags, dates and missing values: the same matrix; nothing is rounded on the
    shorter way.
    """
    frame = pd.DataFrame(
        {
            "word": ["a", "b"],
            "real": [0.1, np.nan],
            "narrow": np.array([0.1, 0.2], dtype=np.float32),
            "whole": [2**53 - 1, 2],
            "own": pd.array([2**53 - 1, None], dtype="Int64"),
            "flag": [True, False],
            "kind": pd.Categorical(["x", "y"]),
            "day": pd.to_datetime(["2024-01-02", "2024-05-06"]),
        }
    )
    schema = Schema.of(frame, None, model=None)
    together = schema.matrix(frame)
    for i in range(2):
        alone = schema.matrix(frame[i : i + 1])
        assert [type(value) for value in alone[0]] == [type(value) for value in together[i]]
        pd.testing.assert_frame_equal(
            pd.DataFrame(alone[0]), pd.DataFrame(together[i]), check_exact=True
        )
    for others in ({"word": ["a"]}, {"real": [0.5]}):
        mixed = pd.DataFrame({**others, "whole": [2**53 + 1]})
        with pytest.raises(
            PayloadError, match=r"Column 'whole', row 0: expected an integer, got 9007199254740993"
        ):
            Schema.of(mixed.assign(whole=1), None, model=None).matrix(mixed)


def test_a_model_gets_the_form_it_was_fitted_on():
    """A DataFrame for a model that was fitted on one, an array for a model that was fitted on an
    array.
    """
    on_frame = LinearRegression().fit(NUMBERS, [1, 2])
    on_array = LinearRegression().fit(NUMBERS.to_numpy(dtype=float), [1, 2])
    for examples in (NUMBERS, NUMBERS.to_numpy(dtype=float)):
        names = list(NUMBERS.columns)
        rows = np.array([[1.0, 3.0, 1.0]])
        assert isinstance(Schema.of(examples, names, on_frame).model_rows(rows), pd.DataFrame)
        assert isinstance(Schema.of(examples, names, on_array).model_rows(rows), np.ndarray)


def test_new_names_are_for_the_rows_and_the_model_keeps_its_own():
    """Rows come by the names given or by the model's; the model gets a DataFrame with the names it
    was fitted on.
    """
    model = LinearRegression().fit(NUMBERS, [1, 2])
    schema = Schema.of(NUMBERS, ["Size", "Rooms", "Garden"], model)
    assert schema.names == ["Size", "Rooms", "Garden"]
    expected = schema.from_positions(NUMBERS)
    renamed = NUMBERS.set_axis(schema.names, axis=1)
    for rows in (NUMBERS, NUMBERS[["c", "a", "b"]], renamed, renamed[["Rooms", "Garden", "Size"]]):
        np.testing.assert_array_equal(schema.matrix(rows), expected)
    np.testing.assert_array_equal(schema.matrix(renamed.to_dict("records")), expected)
    pd.testing.assert_frame_equal(schema.model_rows(expected), NUMBERS)
    with pytest.raises(
        PayloadError, match="missing columns 'Size', 'Rooms', 'Garden' and unknown column 'a'"
    ):
        schema.matrix(NUMBERS[["a"]])


@pytest.mark.parametrize("names", [["b", "a", "c"], ["b", "d", "c"]])
def test_one_of_the_models_own_names_for_another_column_is_refused(names):
    """A DataFrame with such columns could mean either."""
    with pytest.raises(ValueError, match="got 'b' for the column that the model calls 'a'"):
        Schema.of(NUMBERS, names, model=None)
    assert Schema.of(NUMBERS, ["a", "b", "d"], model=None).names == ["a", "b", "d"]


def test_an_array_has_the_names_that_the_model_was_fitted_on():
    """Not 0, 1, 2; an array of another width is refused."""
    model = LinearRegression().fit(NUMBERS, [1, 2])
    schema = Schema.of(NUMBERS.to_numpy(dtype=float), None, model)
    assert schema.names == ["a", "b", "c"]
    assert list(schema.model_rows(np.ones((1, 3))).columns) == ["a", "b", "c"]
    with pytest.raises(
        ValueError, match="expected the 3 columns that LinearRegression was fitted on, got 2"
    ):
        Schema.of(np.ones((2, 2)), None, model)


def test_a_dataframe_for_a_function_has_the_labels_of_the_examples():
    """Also when they are no strings."""
    examples = pd.DataFrame([[1.0, "x"], [2.0, "y"]], columns=[10, 20])
    schema = Schema.of(examples, None, model=None)
    assert schema.names == ["10", "20"]
    rows = schema.model_rows(schema.matrix([{"10": 1.0, "20": "x"}, {10: 2.0, 20: "y"}]))
    pd.testing.assert_frame_equal(rows, examples)


def test_lists_of_mixed_values_keep_the_type_of_each_column():
    """numpy alone would make text of all of them."""
    schema = Schema.of([[1, "x"], [2, "y"]], None, model=None)
    assert [column.kind for column in schema.columns] == ["integer", "string"]
    assert Schema.of([[1, 2.5], [3, 4.5]], None, model=None).columns[0].kind == "number"


def test_a_missing_value_is_allowed_only_where_the_examples_had_one():
    """Nullable is recorded per column."""
    schema = Schema.of(pd.DataFrame({"a": [1.0, np.nan], "b": [1.0, 2.0]}), None, model=None)
    assert np.isnan(schema.matrix([[None, 5.0]])[0, 0])
    with pytest.raises(
        PayloadError, match=r"Column 'b', row 0: expected a number, got a missing value"
    ):
        schema.matrix(np.array([[1.0, np.nan]]))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.zeros(3), r"expected an array of shape \(n, 3\), got \(3,\)"),
        (np.zeros((1, 2, 3)), r"got \(1, 2, 3\)"),
        (np.zeros((2, 4)), r"got \(2, 4\)"),
        (pd.DataFrame({"a": [1.0]}), "missing columns 'b', 'c'"),
        (pd.DataFrame([[1.0, 2.0, 3, 4]], columns=["a", "b", "c", "c"]), "'c' came more often"),
        ("abc", "expected a DataFrame, an array, records or a list of lists, got 'abc'"),
        (None, "got None"),
        (np.zeros((0, 3)), "at least one row"),
    ],
)
def test_rows_of_another_shape_are_refused(rows, reason):
    """The message says which shape was expected."""
    with pytest.raises(PayloadError, match=reason):
        Schema.of(NUMBERS, None, model=None).matrix(rows)


@pytest.mark.parametrize(
    ("examples", "names", "reason"),
    [
        (np.zeros(3), None, "expected a DataFrame or a 2-D array"),
        (np.zeros((0, 3)), None, "at least one row and column"),
        ([[1, 2], [3]], None, "got rows of different lengths"),
        ([], None, "expected a DataFrame or a 2-D array"),
        (np.zeros((2, 2)), ["a"], "expected 2 different names"),
        (np.zeros((2, 2)), ["a", "a"], "expected 2 different names"),
        (
            pd.DataFrame({"a": [{}, 1]}),
            None,
            "column 'a': expected numbers, booleans, strings, dates or categories",
        ),
    ],
)
def test_examples_that_are_no_table_are_refused(examples, names, reason):
    """A ValueError when the explainer is built, not later."""
    with pytest.raises(ValueError, match=reason):
        Schema.of(examples, names, model=None)
