import json

import numpy as np
import pandas as pd
import pytest

from service.rows.json_rows import WRAPPER_KEYS, parse, parse_labelled
from service.rows.schema import Schema
from service.scoring import PayloadError

FRAME = pd.DataFrame(
    {
        "age": [49, 30, 72],
        "income": [1234.5, np.nan, 99.0],
        "zip": ["02139", "94105", "10001"],
        "member": [True, False, True],
        "grade": pd.Categorical(["a", "b", "a"]),
        "joined": pd.to_datetime(["2024-01-05", "2024-02-05", "2024-03-05"]),
    },
    index=[899, 3, 12],
)
SCHEMA = Schema.of(FRAME, None, model=None)
EXPECTED = SCHEMA.matrix(FRAME)


def same(matrix, expected=EXPECTED):
    return pd.DataFrame(matrix).equals(pd.DataFrame(expected))


@pytest.mark.parametrize("orient", ["columns", "records", "split", "values"])
def test_every_orient_of_pandas_gives_the_same_rows(orient):
    """What to_json(orient=…) writes is read back exactly: "02139" stays text, null stays missing,
    dates stay dates.
    """
    assert same(parse(FRAME.to_json(orient=orient, date_format="iso"), SCHEMA))


@pytest.mark.parametrize("parameters", [{}, None, 1.0, {"method": "predict"}])
@pytest.mark.parametrize("orient", ["records", "values"])
@pytest.mark.parametrize("name", ["data", "WebServiceInput0"])
def test_rows_of_a_named_input_are_taken(name, orient, parameters):
    """Azure ML's designer and AutoML send them so, beside parameters that ask for nothing."""
    rows = json.loads(FRAME.to_json(orient=orient, date_format="iso"))
    body = {"Inputs": {name: rows}, "GlobalParameters": parameters}
    assert same(parse(json.dumps(body), SCHEMA))


def test_a_column_alone_is_no_name_of_an_input():
    """What stands under the name of a column are its values, in whatever shape they came."""
    schema = Schema.of(pd.DataFrame({"data": [1.5]}), None, None)
    assert parse('{"Inputs": {"data": [2.5]}}', schema).tolist() == [[2.5]]
    with pytest.raises(PayloadError, match="Column 'data', row 0: expected a number, got a list"):
        parse('{"Inputs": {"data": [[2.5]]}}', schema)


@pytest.mark.parametrize("wrapper", WRAPPER_KEYS)
@pytest.mark.parametrize("orient", ["columns", "records", "split", "values"])
def test_every_wrapper_is_taken_off(wrapper, orient):
    """{"data": rows}, {"instances": rows} and the others mean the rows."""
    assert same(
        parse(
            json.dumps({wrapper: json.loads(FRAME.to_json(orient=orient, date_format="iso"))}),
            SCHEMA,
        )
    )


def test_dates_are_read_from_epoch_milliseconds_too():
    """What older pandas writes by default."""
    body = json.loads(FRAME.to_json(orient="records", date_format="iso"))
    for record, date in zip(body, FRAME["joined"], strict=True):
        record["joined"] = int(date.timestamp() * 1000)
    assert same(parse(body, SCHEMA))


def test_parsed_json_is_taken_as_well_as_text():
    """Some hosts parse the body before they call run."""
    assert same(parse(json.loads(FRAME.to_json(date_format="iso")), SCHEMA))
    assert same(parse(FRAME.to_json(orient="records", date_format="iso").encode(), SCHEMA))


def test_columns_are_matched_by_name_and_rows_keep_the_order_sent():
    """Reversed columns give the same rows; a different index order in a later column does too."""
    body = json.loads(FRAME.to_json(date_format="iso"))
    mixed = {
        name: dict(reversed(body[name].items())) if name == "age" else body[name]
        for name in reversed(body)
    }
    assert same(parse(json.dumps(mixed), SCHEMA))


def test_feature_names_win_over_a_wrapper_of_the_same_name():
    """A model whose column is called "data" gets its column."""
    schema = Schema.of(pd.DataFrame({"data": [1.0], "inputs": [2.0]}), None, model=None)
    np.testing.assert_array_equal(
        parse('{"data": [5, 6], "inputs": [7, 8]}', schema), [[5, 7], [6, 8]]
    )


def test_nan_tokens_are_missing_values():
    """MLflow's client sends bare NaN; where the column allows a missing value it is one."""
    body = FRAME.to_json(orient="records", date_format="iso").replace("1234.5", "NaN")
    assert pd.isna(parse(body, SCHEMA)[0, 1])


def test_what_the_model_was_fitted_on_comes_out():
    """The DataFrame for the model has the dtypes, categories and names of the examples."""
    frame = SCHEMA.model_rows(parse(FRAME.to_json(date_format="iso"), SCHEMA))
    pd.testing.assert_frame_equal(frame, FRAME.reset_index(drop=True))


def changed(**columns):
    records = json.loads(FRAME.to_json(orient="records", date_format="iso"))
    records[1].update(columns)
    return json.dumps(records)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "Body: expected JSON, but at line 1, column 1"),
        ("{not json", "Body: expected JSON"),
        (b"\xff\xfe", "UTF-8"),
        ("[" * 100_000, "nesting too deep"),
        ("[[" + "9" * 5000 + "]]", "number too long"),
        ("3", "expected rows as a JSON object"),
        ("null", "expected rows as a JSON object"),
        ('"../../etc/passwd"', "expected rows as a JSON object"),
        ("[]", "at least one row"),
        ("{}", "missing columns 'age'"),
        ('{"a": 1, "a": 2}', "key 'a' came twice"),
        ('{"data": [], "instances": []}', "data and instances together"),
        ('{"data": [[1]], "other": 3}', "'data' alone, got key 'other'"),
        ('{"age": {"0": 1}}', "missing columns 'income'"),
        ('{"rows": [[1]]}', "'joined'; got 'rows'."),
        ('{"rows": [[1]]}', "bare or under one of data, input_data, instances, inputs, Inputs"),
        ('{"Inputs": {"one": [[1]], "two": [[2]]}}', "got 'one', 'two'."),
        ('{"Inputs": [[1]], "GlobalParameters": {"method": "x"}}', "under 'GlobalParameters'"),
        (
            '{"age": 49, "zip": "02139"}',
            "expected rows in a list, got one alone; send it as [{...}]",
        ),
        ('{"data": {"age": 49, "zip": null}}', "send it as [{...}]"),
        ("[49, 1.5]", "expected rows in a list, got one alone; send it as [[...]]"),
        ('{"instances": [49, 1.5]}', "send it as [[...]]"),
        (
            json.dumps(
                {
                    **json.loads(FRAME.to_json(date_format="iso")),
                    "extra": {"899": 1, "3": 2, "12": 3},
                }
            ),
            "unknown column 'extra'",
        ),
        (
            json.dumps({**json.loads(FRAME.to_json(date_format="iso")), "age": {"1": 1}}),
            "Column 'income': expected the same rows",
        ),
        (
            json.dumps({**json.loads(FRAME.to_json(date_format="iso")), "age": 3}),
            "Column 'age': expected a list of values",
        ),
        ('{"columns": ["age"], "data": [[1, 2]]}', "Row 0: expected a list of 1 values"),
        ('{"columns": ["age", "age"], "data": [[1, 2]]}', "missing columns 'income'"),
        ('[{"age": 1}, 5]', "Row 0: Expected the model's own columns, but missing"),
        (changed(extra=1), "Row 1: Expected the model's own columns, but unknown column 'extra'"),
        (changed(age="old"), "Column 'age', row 1: expected an integer, got 'old'"),
        (changed(age=30.7), "Column 'age', row 1: expected an integer, got 30.7"),
        (changed(age=True), "Column 'age', row 1: expected an integer, got True"),
        (changed(age=2**53 + 1), "Column 'age', row 1: expected an integer, got 9007199254740993"),
        (changed(age=None), "Column 'age', row 1: expected an integer, got a missing value"),
        (changed(income="12"), "Column 'income', row 1: expected a number, got '12'"),
        (changed(income=[1]), "Column 'income', row 1: expected a number, got a list"),
        (changed(zip=2139), "Column 'zip', row 1: expected a string, got 2139"),
        (changed(member="yes"), "Column 'member', row 1: expected true or false, got 'yes'"),
        (changed(grade="c"), "Column 'grade', row 1: expected one of 'a', 'b', got 'c'"),
        (changed(grade={}), "Column 'grade', row 1: expected one of 'a', 'b', got a record"),
        (
            changed(joined="someday"),
            "Column 'joined', row 1: expected a date and time without a time zone",
        ),
        ("[[1, 2], [3, 4]]", "Row 0: expected a list of 6 values, got a list"),
        ("[[[1]], [[2]]]", "Row 0: expected a list of 6 values"),
        ("[[1, 2, 3, 4, 5, 6], 7]", "Row 1: expected a list of 6 values, got 7"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(body, reason):
    """Each refusal is a PayloadError that names the place, what was expected and what came."""
    with pytest.raises(PayloadError) as refusal:
        parse(body, SCHEMA)
    assert reason in str(refusal.value)


def test_a_three_dimensional_list_is_refused_by_column():
    """A list where a number should be is named with its column and row."""
    schema = Schema.of(np.zeros((2, 2)), ["a", "b"], model=None)
    with pytest.raises(PayloadError, match=r"Column 'a', row 0: expected a number, got a list"):
        parse("[[[1], [2]]]", schema)


@pytest.mark.parametrize(
    "names",
    [
        ["columns", "data"],
        ["columns", "data", "index"],
        ["data", "index"],
        ["data"],
        ["index", "columns"],
        ["schema", "data"],
        ["data", "x"],
        ["inputs", "instances"],
        ["instances"],
        ["dataframe_split", "input_data", "columns"],
        ["left", "primaryKey", "fields"],
    ],
    ids=",".join,
)
def test_columns_named_like_what_stands_around_rows_are_columns(names):
    """Every orient of pandas, plain lists and every wrapper give the same rows and labels."""
    frame = pd.DataFrame(np.arange(2.0 * len(names)).reshape(2, -1), columns=names, index=[7, 9])
    schema = Schema.of(frame, None, model=None)
    orients = ["records", "split", "columns", "index", "values"]
    bodies = [json.loads(frame.to_json(orient=orient)) for orient in orients]
    bodies.append(frame.to_dict("list"))
    if "index" not in names:  # which pandas cannot write beside its own
        bodies.append(json.loads(frame.rename_axis("row").to_json(orient="table")))
    for body in bodies:
        np.testing.assert_array_equal(parse(body, schema), frame)
        for wrapper in ("data", "instances", "inputs"):
            np.testing.assert_array_equal(parse({wrapper: body}, schema), frame)
    assert parse_labelled(bodies[2], schema)[1] == ["7", "9"]
