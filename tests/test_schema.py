import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from service.scoring import PayloadError
from service.scoring.schema import Schema

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


def test_a_model_gets_the_form_it_was_fitted_on():
    """A DataFrame for a model that was fitted on one, an array for a model that was fitted on an array."""
    on_frame = LinearRegression().fit(NUMBERS, [1, 2])
    on_array = LinearRegression().fit(NUMBERS.to_numpy(dtype=float), [1, 2])
    for examples in (NUMBERS, NUMBERS.to_numpy(dtype=float)):
        names = list(NUMBERS.columns)
        rows = np.array([[1.0, 3.0, 1.0]])
        assert isinstance(Schema.of(examples, names, on_frame).model_rows(rows), pd.DataFrame)
        assert isinstance(Schema.of(examples, names, on_array).model_rows(rows), np.ndarray)


def test_a_missing_value_is_allowed_only_where_the_examples_had_one():
    """Nullable is recorded per column."""
    schema = Schema.of(pd.DataFrame({"a": [1.0, np.nan], "b": [1.0, 2.0]}), None, model=None)
    assert np.isnan(schema.matrix([[None, 5.0]])[0, 0])
    with pytest.raises(PayloadError, match=r"Column 'b', row 0: expected a number, got a missing value"):
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
        (np.zeros((2, 2)), ["a"], "expected 2 different names"),
        (np.zeros((2, 2)), ["a", "a"], "expected 2 different names"),
        (pd.DataFrame({"a": [{}, 1]}), None, "column 'a': expected numbers, booleans, strings, dates or categories"),
    ],
)
def test_examples_that_are_no_table_are_refused(examples, names, reason):
    """A ValueError when the explainer is built, not later."""
    with pytest.raises(ValueError, match=reason):
        Schema.of(examples, names, model=None)
