"""One reader for one schema: a value is taken, or refused, alike in every format that rows have.

A cell of CSV is text, and stands for the value that JSON would write with the same characters;
formats with types of their own bring that value itself.
"""

import io
import json
import math
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from service.rows.csv_rows import rows_of_csv
from service.rows.files import READERS
from service.rows.json_rows import parse
from service.rows.schema import Schema
from service.rows.tensors import rows_of_tensors
from service.scoring import PayloadError

MISSING, REFUSED = "missing", "refused"
COLUMNS = {
    "number": pd.Series([0.5, 2.0]),
    "number or missing": pd.Series([0.5, np.nan]),
    "number or infinity": pd.Series([0.5, np.inf]),
    "single": pd.Series([0.5, 2.0], dtype="float32"),
    "integer": pd.Series([49, 30]),
    "small integer": pd.Series([49, 30], dtype="int8"),
    "integer or missing": pd.Series([49, None], dtype="Int64"),
    "boolean": pd.Series([True, False]),
    "boolean or missing": pd.Series([True, None], dtype="boolean"),
    "text": pd.Series(["a", "b"]),
    "date": pd.Series([date(2024, 1, 5), date(2024, 1, 6)]),
    "moment": pd.to_datetime(pd.Series(["2024-01-05", "2024-01-06"])),
    "words": pd.Series(["low", "high"], dtype="category"),
    "levels": pd.Series([1, 2], dtype="category"),
    "sizes": pd.Series([0.5, 1.0], dtype="category"),
    "flags": pd.Series([True, False], dtype="category"),
}
SCHEMAS = {
    name: Schema.of(pd.DataFrame({"x": values, "beside": [0.5, 1.5]}), None, None)
    for name, values in COLUMNS.items()
}
DAY, NOON = 1704412800000, 1704456000000  # 2024-01-05, and at 12:00
NUMBERS = ("number", "number or missing", "number or infinity", "single")
INTEGERS = ("integer", "small integer", "integer or missing")
BOOLEANS = ("boolean", "boolean or missing")

# The columns, the cell of CSV, what JSON writes for it (None: nothing but that cell), what is read.
CASES = [
    ((*NUMBERS, *INTEGERS), "60", "60", 60.0),
    ((*NUMBERS, *INTEGERS), "60.0", "60.0", 60.0),
    ((*NUMBERS, *INTEGERS), "0.0", "0.0", 0.0),
    ((*NUMBERS, *INTEGERS), "-0.0", "-0.0", 0.0),
    ((*NUMBERS, *INTEGERS), "6e1", "6e1", 60.0),
    ((*NUMBERS, *INTEGERS), "007", None, 7.0),
    ((*NUMBERS, *INTEGERS), " 60 ", None, 60.0),
    ((*NUMBERS, *INTEGERS), "+60", None, 60.0),
    (NUMBERS, "60.5", "60.5", 60.5),
    (INTEGERS, "60.5", "60.5", REFUSED),
    (("integer", "integer or missing"), "9007199254740992", "9007199254740992", 2.0**53),
    (INTEGERS, "9007199254740993", "9007199254740993", REFUSED),
    (INTEGERS, "9007199254740993.0", "9007199254740993.0", REFUSED),
    (("small integer",), "128", "128", REFUSED),
    (("single",), "1e39", "1e39", REFUSED),
    ((*NUMBERS, *INTEGERS), '"1,000"', '"1,000"', REFUSED),
    ((*NUMBERS, *INTEGERS), "1_000", '"1_000"', REFUSED),
    ((*NUMBERS, *INTEGERS), "1 000", '"1 000"', REFUSED),
    ((*NUMBERS, *INTEGERS), '"60,5"', '"60,5"', REFUSED),
    ((*NUMBERS, *INTEGERS), "60 %", '"60 %"', REFUSED),
    ((*NUMBERS, *INTEGERS), "٦٠", '"٦٠"', REFUSED),
    ((*NUMBERS, *INTEGERS, "levels"), "0x3C", '"0x3C"', REFUSED),
    ((*NUMBERS, *INTEGERS), "much", '"much"', REFUSED),
    ((*NUMBERS, *INTEGERS), "true", "true", REFUSED),
    (("number", "single", *INTEGERS, *BOOLEANS, "levels", "sizes"), "inf", "Infinity", REFUSED),
    (("number", "single", *INTEGERS, *BOOLEANS), "-inf", "-Infinity", REFUSED),
    (("number", "number or missing", *INTEGERS, *BOOLEANS), "Infinity", "Infinity", REFUSED),
    (("number", "number or missing", *INTEGERS, *BOOLEANS), "1e999", "1e999", REFUSED),
    (("number or missing", *INTEGERS), "9" * 400, "9" * 400, REFUSED),
    (("number or infinity",), "inf", "Infinity", math.inf),
    (("number or infinity",), "inf", '"Infinity"', math.inf),
    (("number or infinity",), "-Infinity", "-Infinity", -math.inf),
    (("number or infinity",), "1e999", "1e999", math.inf),
    (("number or infinity",), "-1e999", "-1e999", -math.inf),
    (("number or infinity",), "9" * 400, "9" * 400, math.inf),
    (("number or infinity",), "-" + "9" * 400, "-" + "9" * 400, -math.inf),
    (("number or missing", "integer or missing", "boolean or missing"), "nan", "NaN", MISSING),
    (("number or missing", "integer or missing", "boolean or missing"), "", "null", MISSING),
    (("number or missing", "integer or missing", "boolean or missing"), "  ", None, MISSING),
    (("number", "integer", "boolean", "words", "levels", "text"), "", "null", REFUSED),
    (("number", "integer", "boolean"), "nan", "NaN", REFUSED),
    ((*BOOLEANS, "flags"), "true", "true", True),
    ((*BOOLEANS, "flags"), "1", "1", True),
    ((*BOOLEANS, "flags"), "0", "0", False),
    ((*BOOLEANS, "flags"), "1.0", "1.0", True),
    ((*BOOLEANS, "flags"), "0.0", "0.0", False),
    ((*BOOLEANS, "flags"), "TRUE", None, True),
    ((*BOOLEANS, "flags"), "False", None, False),
    ((*BOOLEANS, "flags"), " true ", None, True),
    ((*BOOLEANS, "flags"), "2", "2", REFUSED),
    ((*BOOLEANS, "flags"), "yes", '"yes"', REFUSED),
    (("text",), "02139", '"02139"', "02139"),
    (("text",), " a ", '" a "', " a "),
    (("text",), "inf", '"inf"', "inf"),
    (("text",), "NA", '"NA"', "NA"),
    (("date",), "2024-01-05", '"2024-01-05"', date(2024, 1, 5)),
    (("date",), "20240105", '"20240105"', date(2024, 1, 5)),
    (("date",), " 2024-01-05", None, date(2024, 1, 5)),
    (("date",), f"{DAY}", f"{DAY}", date(2024, 1, 5)),
    (("date",), f"{NOON}", f"{NOON}", REFUSED),
    (("date", "moment"), "05/01/2024", '"05/01/2024"', REFUSED),
    (("date", "moment"), "now", '"now"', REFUSED),
    (("moment",), "2024-01-05T12:00", '"2024-01-05T12:00"', datetime(2024, 1, 5, 12)),
    (("moment",), "2024-01-05 12:00:00", '"2024-01-05 12:00:00"', datetime(2024, 1, 5, 12)),
    (("moment",), f"{NOON}", f"{NOON}", datetime(2024, 1, 5, 12)),
    (("moment",), "2024-01-05T12:00Z", '"2024-01-05T12:00Z"', REFUSED),
    (("words",), "low", '"low"', "low"),
    (("words",), "Low", '"Low"', REFUSED),
    (("words",), " low", '" low"', REFUSED),
    (("levels",), "1", "1", 1),
    (("levels",), "1.0", "1.0", 1),
    (("levels",), "3", "3", REFUSED),
    (("sizes",), "1", "1", 1.0),
    (("sizes",), "0.50", "0.50", 0.5),
]


def of_records(schema, text, cell):
    return parse(f'[{{"beside": 1.5, "x": {text}}}]', schema)


def of_columns(schema, text, cell):
    return parse(f'{{"x": {{"7": {text}}}, "beside": {{"7": 1.5}}}}', schema)


def of_lists(schema, text, cell):
    return parse(f'{{"instances": [[{text}, 1.5]]}}', schema)


def of_tensors(schema, text, cell):
    one, other = (
        {"name": name, "shape": [1], "datatype": "any", "data": json.loads(f"[{data}]")}
        for name, data in (("x", text), ("beside", "1.5"))
    )
    return parse(rows_of_tensors([one, other], schema), schema)


def of_json_line(schema, text, cell, tmp_path):
    return of_file(".jsonl", f'{{"x": {text}, "beside": 1.5}}\n', schema, tmp_path)


def of_csv_with_names(schema, text, cell):
    return parse(rows_of_csv(f"beside,x\n1.5,{cell}\n", schema), schema)


def of_csv(schema, text, cell):
    return parse(rows_of_csv(f"{cell},1.5\n", schema), schema)


def of_csv_as_json(schema, text, cell):
    """What a script that takes the body alone gets of CSV."""
    return parse(json.dumps(rows_of_csv(f"x,beside\n{cell},1.5\n", schema)), schema)


def of_csv_file(schema, text, cell, tmp_path):
    return of_file(".csv", f"x,beside\n{cell},1.5\n", schema, tmp_path)


def of_file(kind, text, schema, folder):
    file = folder / f"rows{kind}"
    file.write_text(text, encoding="utf-8")
    (table,) = READERS[kind].tables(file, 10)
    return READERS[kind].matrix(table, schema)


def of_parquet(schema, text, cell, tmp_path):
    """The value itself, in a column of the type that pandas gives it."""
    pd.DataFrame({"x": [json.loads(text)], "beside": [1.5]}).to_parquet(tmp_path / "rows.parquet")
    (table,) = READERS[".parquet"].tables(tmp_path / "rows.parquet", 10)
    return READERS[".parquet"].matrix(table, schema)


JSON_FORMATS = (of_records, of_columns, of_lists, of_tensors, of_json_line)
CSV_FORMATS = (of_csv_with_names, of_csv, of_csv_as_json, of_csv_file)
TABLE = [
    pytest.param(column, cell, text, expected, id=f"{column}-{cell[:20]}-{str(text)[:20]}")
    for columns, cell, text, expected in CASES
    for column in columns
]


@pytest.mark.parametrize(("column", "cell", "text", "expected"), TABLE)
def test_every_format_takes_the_same_values(column, cell, text, expected, tmp_path):
    """The value that is read is the same in all, or all refuse it by its column and row."""
    schema = SCHEMAS[column]
    can_be_json = text is not None
    fits_parquet = can_be_json and len(text) < 300
    formats = CSV_FORMATS + JSON_FORMATS * can_be_json + (of_parquet,) * fits_parquet
    for read in formats:
        more = (tmp_path,) if "tmp_path" in read.__code__.co_varnames else ()
        if expected == REFUSED:
            with pytest.raises(PayloadError, match="Column 'x', row 0: expected"):
                read(schema, text, cell, *more)
            continue
        value, beside = read(schema, text, cell, *more)[0]
        assert beside == 1.5
        assert pd.isna(value) if expected == MISSING else value == expected, read.__name__


def test_decimals_of_parquet_are_the_numbers_that_they_spell(tmp_path):
    """Spark writes prices so; a whole one is an integer."""
    file = tmp_path / "rows.parquet"
    pd.DataFrame({"x": [Decimal("60.00")], "beside": [Decimal("0.10")]}).to_parquet(file)
    (table,) = READERS[".parquet"].tables(file, 10)
    for column in ("number", "integer"):
        read = READERS[".parquet"].matrix(table, SCHEMAS[column])
        assert read.tolist() == [[60.0, 0.1]]


@pytest.mark.parametrize("dtype", [float, object])
def test_arrays_and_frames_follow_the_rule_for_infinities(dtype):
    """NaN is missing; an infinity is refused by its row, unless the examples had some."""
    rows = np.array([[0.5, 1.5], [np.inf, 1.5]], dtype=dtype)
    for table in (rows, pd.DataFrame(rows, columns=["x", "beside"])):
        with pytest.raises(PayloadError, match="Column 'x', row 1: expected a number, got inf"):
            SCHEMAS["number or missing"].matrix(table)
        assert SCHEMAS["number or infinity"].matrix(table)[1, 0] == np.inf
    rows[1, 0] = np.nan
    assert np.isnan(SCHEMAS["number or missing"].matrix(rows)[1, 0])


# The first line of CSV: names or a row, and never one for the other

WORDS = Schema.of(pd.DataFrame({"name": ["a", "b"], "city": ["x", "y"]}), None, None)
TEXT = Schema.of(pd.DataFrame({"review": ["good", "bad"]}), None, None)
MIXED = Schema.of(pd.DataFrame({"age": [4, 5], "city": ["x", "y"]}), None, None)
UNNAMED = Schema.of(np.array([[0.5, 1.5]]), None, None)


@pytest.mark.parametrize(
    ("schema", "text", "rows"),
    [
        (WORDS, "city,name\nx,a\n", [["a", "x"]]),
        (TEXT, "review\ngood\n", [["good"]]),
        (MIXED, "4,x\n", [[4, "x"]]),
        (MIXED, "4,city\n", [[4, "city"]]),
        (MIXED, "city,age\nx,4\n", [[4, "x"]]),
        (UNNAMED, "0.5,1.5\n", [[0.5, 1.5]]),
    ],
)
def test_the_first_line_is_read_as_what_it_is(schema, text, rows):
    """Where a column tells: one that takes not every text."""
    assert parse(rows_of_csv(text, schema), schema).tolist() == rows


@pytest.mark.parametrize(
    ("schema", "text", "says"),
    [
        (WORDS, "name,town\na,x\n", "line 1: Expected the model's own columns, but missing"),
        (WORDS, "Name,City\na,x\n", "missing columns 'name', 'city' and unknown"),
        (WORDS, "name, city\na,x\n", "missing column 'city' and unknown column ' city'"),
        (WORDS, "who,where\na,x\n", "line 1: expected the names of the columns"),
        (WORDS, "a,x\n", "header=present, or header=absent"),
        (TEXT, "text\ngood\n", "line 1: expected the names of the columns"),
        (TEXT, "review,review\ngood,bad\n", "each column once"),
        (MIXED, "age,town\n4,x\n", "missing column 'city' and unknown column 'town'"),
        (MIXED, ",age,city\n0,4,x\n", "line 1: expected a name for each column, got an empty one"),
        (MIXED, "years,town\n4,x\n", "Column 'age', row 0: expected an integer, got 'years'"),
        (UNNAMED, "1,0\n2,3\n", "expected names or a row, got what can be both"),
    ],
)
def test_names_that_do_not_fit_are_no_row(schema, text, says):
    """The sentence names them, or says how to tell."""
    with pytest.raises(PayloadError) as refused:
        parse(rows_of_csv(text, schema), schema)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("schema", "text", "has_header", "rows"),
    [
        (WORDS, "name,city\n", False, [["name", "city"]]),
        (TEXT, "good\nbad\n", False, [["good"], ["bad"]]),
        (UNNAMED, "1,0\n2,3\n", False, [[1, 0], [2, 3]]),
        (UNNAMED, "1,0\n2,3\n", True, [[3, 2]]),
    ],
)
def test_what_a_client_declares_counts(schema, text, has_header, rows):
    """By the parameter of the media type, RFC 4180's."""
    assert parse(rows_of_csv(text, schema, has_header), schema).tolist() == rows


def test_a_frame_is_read_as_it_was_written():
    """pandas' own CSV and Parquet of every kind of column."""
    frame = pd.DataFrame(COLUMNS)
    schema = Schema.of(frame, None, None)
    expected = pd.DataFrame(schema.matrix(frame))
    of_csv = parse(rows_of_csv(frame.to_csv(index=False), schema), schema)
    pd.testing.assert_frame_equal(pd.DataFrame(of_csv), expected)
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    buffer.seek(0)
    pd.testing.assert_frame_equal(pd.DataFrame(schema.matrix(pd.read_parquet(buffer))), expected)
