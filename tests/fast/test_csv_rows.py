"""CSV is read by one strict reader, whether it is the body of a request or a file."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from service.batch import BatchError, score_file
from service.explainers import TabularExplainer
from service.rows.csv_rows import csv_tables, rows_of_csv
from service.rows.files import READERS
from service.rows.json_rows import parse
from service.rows.schema import Schema
from service.scoring import KernelScoringExplainer, PayloadError, ScoringModel

EXAMPLES = pd.DataFrame({"age": [49.5, np.nan, 30.0], "name": ["a", "b", None]})
SCHEMA = Schema.of(EXAMPLES, None, model=None)


@pytest.fixture(scope="module")
def model():
    X = np.random.default_rng(0).normal(size=(20, 2))
    fitted = LinearRegression().fit(X, X[:, 0])
    explainer = TabularExplainer(fitted, X, features=["x", "y"])
    return ScoringModel(fitted, KernelScoringExplainer(explainer))


def rows_of_file(text, folder):
    """Read text as a file of rows, or return the sentence that refuses it."""
    file = folder / "rows.csv"
    file.write_bytes(text.encode())
    reader = READERS[".csv"]
    try:
        tables = list(reader.tables(file, 100))
        return [pd.DataFrame(reader.matrix(table, SCHEMA)) for table in tables]
    except PayloadError as error:
        return str(error)


def rows_of_body(text):
    """Read text as the body of a request, or return the sentence that refuses it."""
    try:
        return [pd.DataFrame(parse(rows_of_csv(text, SCHEMA), SCHEMA))]
    except PayloadError as error:
        return str(error)


@pytest.mark.parametrize(
    "text",
    [
        "age,name\n30,ann\n,\n",
        "name,age\r\nann,30\r\nbob,31.5\r\n",
        'age,name\n30,"two\nlines"\n\n31,"a ""quoted"" word, and a comma"\n',
        'age,name\n30,5" nails\n',
        "age,name\n30,a\x00b\n",
        "age,name\n30,ann",
    ],
    ids=["missing", "windows", "quoted", "inches", "nul", "no end of line"],
)
def test_a_body_and_a_file_are_the_same_rows(text, tmp_path):
    """Quotes, line ends, empty cells and NUL mean one thing."""
    (of_file,), (of_body,) = rows_of_file(text, tmp_path), rows_of_body(text)
    pd.testing.assert_frame_equal(of_file, of_body)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    """Windows tools put one at the beginning of a file; bodies lose it when they are decoded."""
    (rows,) = rows_of_file("\ufeffage,name\n30,ann\n", tmp_path)
    assert rows.to_numpy().tolist() == [[30, "ann"]]


@pytest.mark.parametrize(
    ("text", "of_file", "of_body"),
    [
        (
            'age,name\n30,ann\n31,"bob\n32,eve\n',
            "line 3: expected CSV, but unexpected end of data.",
            "Body, line 3: expected CSV, but unexpected end of data.",
        ),
        (
            'age,name\n30,"an"n\n',
            "line 2: expected CSV, but ',' expected after '\"'.",
            "Body, line 2: expected CSV, but ',' expected after '\"'.",
        ),
        (
            f'age,name\n\n30,"{"x" * 140_000}"\n',
            "line 3: expected CSV, but field larger than field limit (131072).",
            "Body, line 3: expected CSV, but field larger than field limit (131072).",
        ),
        (
            "age,name\n30,ann\n31\n",
            "row 1: expected 2 cells, got 1.",
            "Body, line 3: expected 2 cells, got 1.",
        ),
        (
            "age,name\n30,ann,3\n",
            "row 0: expected 2 cells, got 3.",
            "Body, line 2: expected 2 cells, got 3.",
        ),
        (
            "age,name\n3\x000,ann\n",
            "Column 'age', row 0: expected a number, got '3\\x000'.",
            "Column 'age', row 0: expected a number, got '3\\x000'.",
        ),
    ],
    ids=["open quote", "middle quote", "long cell", "too few", "too many", "nul"],
)
def test_what_is_malformed_is_refused_with_its_place(text, of_file, of_body, tmp_path):
    """The sentence names the line where the row begins, or the row."""
    assert rows_of_file(text, tmp_path) == of_file
    assert rows_of_body(text) == of_body


def test_a_lone_carriage_return_ends_a_line_of_a_file_only(tmp_path):
    """Old Macintosh files are read; in a body it is refused, since no client means it."""
    (rows,) = rows_of_file("age,name\r30,ann\r31,bob\r", tmp_path)
    assert rows.to_numpy().tolist() == [[30, "ann"], [31, "bob"]]
    assert "new-line character seen in unquoted field" in rows_of_body("age,name\r30,ann\r")


@pytest.mark.parametrize(
    ("text", "came"),
    [
        ("age;name\n30;ann\n", "semicolons"),
        ("age\tname\n30\tann\n", "tabs"),
        ("age|name\n30|ann\n", "vertical bars"),
        ("age;name\n30,5;ann\n", "semicolons"),
        ("sep=;\nage;name\n30;ann\n", "semicolons"),
    ],
)
def test_other_separators_are_named(text, came, tmp_path):
    """In a file and in a body, with numbers that have commas too."""
    says = f"line 1: expected commas between the cells, got {came}; write numbers with a point"
    assert rows_of_file(text, tmp_path).startswith(says)
    assert rows_of_body(text).startswith(f"Body, {says}")


@pytest.mark.parametrize("text", ["", "\n", "age,name\n", "age,name"])
def test_a_file_without_rows_has_no_tables(text, tmp_path):
    """Nothing, a blank line, or a header alone."""
    file = tmp_path / "rows.csv"
    file.write_text(text, encoding="utf-8")
    assert list(csv_tables(file, 100)) == []


@pytest.mark.parametrize("word", ["inf", "-inf", "Infinity", "1e999"])
def test_infinities_are_refused_in_a_body_as_in_a_file(word, tmp_path):
    """By column and row, also where a missing value may be: it is none."""
    text = f"age,name\nnan,a\n{word},b\n"
    assert rows_of_body(text) == rows_of_file(text, tmp_path)
    assert "Column 'age', row 1: expected a number, got" in rows_of_body(text)


def test_what_was_read_can_be_written_as_json():
    """A script that takes the body alone gets that text, and reads the same rows of it."""
    rows = rows_of_csv("name,age\nann,30\nbob,\n", SCHEMA)
    again = parse(json.dumps(rows), SCHEMA)
    pd.testing.assert_frame_equal(pd.DataFrame(again), pd.DataFrame(parse(rows, SCHEMA)))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('x,y,note\n1,2,fine\n3,4,"never closed\n5,6,lost\n', "line 3: expected CSV, but unexp"),
        ('x,y,note\n1,2,"in the" middle\n', "line 2: expected CSV, but ',' expected after"),
        ("x,y\n1,2\n3\n", "row 1: expected 2 cells, got 1"),
        ("x,y\n1\x00,2\n", "row 0: Column 'x': expected a number"),
        ("", "expected at least one row, got none"),
        ("x,y\n", "expected at least one row, got none"),
        ("x,x\n1,2\n", "expected each column name once in the first line"),
    ],
    ids=["open quote", "middle quote", "ragged", "nul", "empty", "header", "twice"],
)
def test_score_file_refuses_what_invocations_refuses(text, named, model, tmp_path):
    """One sentence with the file and the place, and no output."""
    file, output = tmp_path / "rows.csv", tmp_path / "scored.csv"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(BatchError) as refused:
        score_file(model, file, output)

    assert f"{file}" in str(refused.value)
    assert named in str(refused.value)
    assert not output.exists()


def test_score_file_reads_a_file_with_a_byte_order_mark(model, tmp_path):
    """The first column is found by its name."""
    file, output = tmp_path / "rows.csv", tmp_path / "scored.csv"
    file.write_text("\ufeffx,y\n1,2\n", encoding="utf-8")
    assert score_file(model, file, output, explain=False) == 1
    assert output.read_text(encoding="utf-8").startswith("x,y,prediction\n1,2,1.0")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ('1,"",b', ["", "b"]),
        ("1,,b", [None, "b"]),
        ('1,"a,"",b",b', ['a,",b', "b"]),
        ('1,"two\nlines,""",""', ['two\nlines,"', ""]),
        ('"",5" nails,""', ['5" nails', ""]),
    ],
    ids=["quoted", "bare", "quotes inside", "several lines", "inches"],
)
def test_an_empty_text_is_an_empty_cell_in_quotes(row, expected, tmp_path):
    """A bare empty cell is a missing value, and so is a quoted one that is no text."""
    frame = pd.DataFrame({"n": [1.0, np.nan], "x": ["a", None], "k": pd.Categorical(["b", ""])})
    schema = Schema.of(frame, None, None)
    text = f"n,x,k\n{row}\n"
    read = pd.DataFrame(parse(rows_of_csv(text, schema), schema))
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    reader = READERS[".csv"]
    (table,) = reader.tables(tmp_path / "rows.csv", 9)
    pd.testing.assert_frame_equal(pd.DataFrame(reader.matrix(table, schema)), read)
    assert (
        read.iloc[0, 1:].astype(object).where(read.iloc[0, 1:].notna(), None).tolist() == expected
    )
    assert read.iloc[0, 0] == 1 or pd.isna(read.iloc[0, 0])


def test_quotes_around_every_cell_do_not_tell_an_empty_text_from_a_missing_one():
    """Some writers put them around what is missing; where nothing may be, it is the text."""
    with pytest.raises(PayloadError, match="Column 'name': expected a missing value as an empty"):
        rows_of_csv('"age","name"\n"30",""\n', SCHEMA)
    assert rows_of_csv('"age","name"\n"","b"\n', SCHEMA)["data"] == [[None, "b"]]
    without_missing = Schema.of(EXAMPLES.iloc[:2], None, model=None)
    assert rows_of_csv('"age","name"\n"30",""\n', without_missing)["data"] == [[30, ""]]


def test_a_scored_file_keeps_the_quotes_of_an_empty_text(model, tmp_path):
    """Columns that the model does not know come back as they were, beside cells that need quotes.

    What is empty without quotes stays so, and reads back as missing.
    """
    file, output = tmp_path / "rows.csv", tmp_path / "scored.csv"
    file.write_text('x,y,note,other\n1,2,"",\n1,2,,"a,""b"\n1,2,"","a,""b"\n', encoding="utf-8")
    assert score_file(model, file, output, explain=False) == 3
    header, *lines = output.read_text(encoding="utf-8").splitlines()
    assert header == "x,y,note,other,prediction"
    assert [line.rpartition(",")[0] for line in lines] == [
        '1,2,"",',
        '1,2,,"a,""b"',
        '1,2,"","a,""b"',
    ]
    assert len({line.rpartition(",")[2] for line in lines}) == 1  # one row, one prediction


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"x,y\n1,2\n1,caf\xe9\n", "line 3: expected UTF-8 text, got byte 6 of the line, 0xe9"),
        (
            "x,y\n1,2\n".encode("utf-16"),
            "line 1: expected UTF-8 text, got byte 1 of the line, 0xff",
        ),
        (b"x,y\n" + b"1,2\n" * 9000 + b"1,\xe92", "line 9002: expected UTF-8 text, got byte 3 of"),
    ],
    ids=["one byte a letter", "two bytes a letter", "far behind"],
)
def test_a_file_that_is_not_utf8_is_refused_with_its_place(content, place, model, tmp_path):
    """The file, the line and its byte, and what to do; never the words of Python's decoder."""
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    with pytest.raises(BatchError) as refused:
        score_file(model, file, tmp_path / "scored.csv", explain=False)
    assert str(refused.value).startswith(f"{file}: {place}")
    assert "save it as UTF-8" in str(refused.value)
    assert "codec" not in str(refused.value)
