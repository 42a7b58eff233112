"""Every dtype that the schema accepts has a spelling in JSON, CSV and Parquet, or it is refused."""

import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from service.explainers import TabularExplainer
from service.rows.columns import Column
from service.rows.csv_rows import rows_of_csv
from service.rows.files import READERS
from service.rows.json_rows import parse
from service.rows.schema import Schema
from service.rows.tensors import rows_of_tensors
from service.scoring import KernelScoringExplainer, PayloadError, ScoringModel
from service.strict_json import strict_json

DAYS = pd.Series(pd.to_datetime(["2024-01-05", "2024-02-05", "2024-01-05"]))
NUMBERS = [
    "float16",
    "float32",
    "float64",
    "Float32",
    "Float64",
    "double[pyarrow]",
    "float[pyarrow]",
    "int8",
    "int64",
    "uint64",
    "Int8",
    "UInt64",
    "int64[pyarrow]",
]
COLUMNS = {
    **{dtype: pd.Series([1, 2, 1]).astype(dtype) for dtype in NUMBERS},
    **{dtype: pd.Series([1, 0, 1]).astype(dtype) for dtype in ("bool", "boolean", "bool[pyarrow]")},
    **{
        f"text of {dtype}": pd.Series(["02139", "b", "nan"]).astype(dtype)
        for dtype in ("object", "str", "string[python]", pd.ArrowDtype(pa.string()))
    },
    **{f"dates in {unit}": DAYS.dt.as_unit(unit) for unit in ("s", "ms", "us", "ns")},
    "zoned dates": DAYS.dt.tz_localize("Europe/Berlin"),
    "dates of Arrow": DAYS.astype(pd.ArrowDtype(pa.timestamp("us"))),
    "zoned dates of Arrow": DAYS.dt.tz_localize("UTC").astype(
        pd.ArrowDtype(pa.timestamp("us", "UTC"))
    ),
    "Python dates": DAYS.dt.date,
}
VALUES = {
    "text": ["a", "b", "a"],
    "text that looks like flags": ["true", "1", "true"],
    "integers": [1, 2, 1],
    "narrow integers": np.array([1, 2, 1], dtype=np.int8),
    "floats": [0.1, 2.5, 0.1],
    "single floats": np.array([0.1, 2.5, 0.1], dtype=np.float32),
    "flags": [True, False, True],
    "own integers": pd.array([1, 2, 1], dtype="Int64"),
    "own text": pd.array(["a", "b", "a"], dtype="string"),
    "text as objects": pd.Series(["a", "b", "a"], dtype=object),
    "dates": DAYS,
    "zoned dates": DAYS.dt.tz_localize("Europe/Berlin"),
    "dates in seconds": DAYS.dt.as_unit("s"),
    "Python dates": DAYS.dt.date,
    "times": DAYS.dt.time,
    "decimals": [Decimal("1.5"), Decimal("2.5"), Decimal("1.5")],
    "months": DAYS.dt.to_period("M"),
    "spans": DAYS - DAYS[0],
    "intervals": pd.cut(pd.Series([1, 2, 1]), [0, 1, 2]),
    "intervals closed on the left": pd.cut(pd.Series([1, 2, 1]), [0, 1, 2, 3], right=False),
    "intervals of floats": pd.cut(pd.Series([0.1, 0.2, 0.3]), 3),
    "quantiles": pd.qcut(pd.Series([1, 2, 4]), 2),
    "intervals of dates": pd.cut(DAYS, 2),
}
CATEGORIES = {
    f"categories: {name}": pd.Series(pd.Categorical(values)) for name, values in VALUES.items()
}
# How pandas writes dates in JSON where not in both of its ways: periods in none, the bounds of
# intervals as numbers; of spans the number alone would not tell its unit.
DATES = {
    "categories: months": (),
    "categories: spans": ("iso",),
    "categories: intervals of dates": ("epoch",),
}
# Which categories pandas does not write into Parquet, or without the unit.
AS_TEXT_IN_PARQUET = ("months", "intervals", "quantiles", "spans")
EVERY = {**COLUMNS, **CATEGORIES}


def frame_and_schema(name):
    frame = pd.DataFrame({"v": [0.5, 1.5, 2.5], "x": EVERY[name]})
    return frame, Schema.of(frame, None, None)


def check_read(matrix, schema, frame):
    """The model gets the very rows, in their very dtypes."""
    pd.testing.assert_frame_equal(schema.model_rows(matrix), frame, check_exact=True)


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # numbers for dates end there
@pytest.mark.parametrize("name", EVERY)
def test_a_row_comes_back_from_json(name):
    """As the manifest writes its example, and as pandas writes a DataFrame."""
    frame, schema = frame_and_schema(name)
    matrix = schema.from_positions(frame)
    check_read(matrix, schema, frame)
    check_read(parse(strict_json(schema.records(matrix)), schema), schema, frame)
    for orient in ("records", "split", "columns", "values"):
        for dates in DATES.get(name, ("epoch", "iso")):
            body = frame.to_json(orient=orient, double_precision=15, date_format=dates)
            check_read(parse(body, schema), schema, frame)


@pytest.mark.parametrize("name", EVERY)
def test_a_row_comes_back_from_csv_and_parquet(name, tmp_path):
    """As the body of a request, and as files; what pandas cannot write is written as text."""
    frame, schema = frame_and_schema(name)
    check_read(parse(rows_of_csv(frame.to_csv(index=False), schema), schema), schema, frame)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    is_text = any(f"categories: {kind}" in name for kind in AS_TEXT_IN_PARQUET)
    written = frame.astype({"x": str}) if is_text else frame
    written.to_parquet(tmp_path / "rows.parquet")
    for ending, reader in READERS.items():
        file = tmp_path / f"rows{ending}"
        if file.exists():
            tables = reader.tables(file, 2)
            matrix = np.concatenate([reader.matrix(table, schema) for table in tables])
            check_read(matrix, schema, frame)


@pytest.mark.parametrize("name", EVERY)
def test_a_row_comes_back_from_tensors(name):
    """One tensor for each column, of what the JSON rows hold."""
    frame, schema = frame_and_schema(name)
    records = schema.records(schema.from_positions(frame))
    tensors = []
    for column in ("v", "x"):
        data = [record[column] for record in records]
        tensors.append({"name": column, "shape": [3], "datatype": "BYTES", "data": data})
    check_read(parse(rows_of_tensors(tensors, schema), schema), schema, frame)


def test_the_kind_of_categories_is_that_of_their_values():
    """It is the datatype of their tensor, and the type in the OpenAPI document."""
    kinds = {name: Column.of(values, "x").value_kind for name, values in CATEGORIES.items()}
    assert kinds["categories: integers"] == kinds["categories: own integers"] == "integer"
    assert kinds["categories: single floats"] == "number"
    assert kinds["categories: flags"] == "boolean"
    assert kinds["categories: text"] == kinds["categories: text as objects"] == "string"
    assert kinds["categories: intervals"] == kinds["categories: decimals"] == ""


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pd.Categorical([b"a", b"b"]), "expected categories of text, .* got b'a'; turn them into"),
        (
            pd.Categorical.from_codes([0, 1], pd.Index([(1, 2), (3, 4)], tupleize_cols=False)),
            "expected categories of text, .* got a list of 2",
        ),
        (pd.Categorical(["1", 1]), "JSON and CSV can tell apart, got .*1.* written alike"),
        (DAYS[:2] - DAYS[0], "expected numbers, booleans, strings, dates or .*, got timedelta64"),
        (DAYS[:2].dt.to_period("M"), "got period values"),
        (pd.arrays.IntervalArray.from_breaks([0, 1, 2]), "got interval values"),
        ([Decimal("1.5"), Decimal("2.5")], "got decimal values"),
        ([1, "a"], "got mixed-integer values"),
        ([1j, 2j], "got complex values"),
        ([b"a", b"b"], "got bytes values"),
        (
            pd.Series(["a", "b"]).astype(pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
            r"got unknown-array values \(dictionary",
        ),
    ],
)
def test_what_has_no_spelling_is_refused_when_the_explainer_is_built(values, reason):
    """In one sentence that names the column and says what to do."""
    frame = pd.DataFrame({"v": [0.5, 1.5], "x": values})
    with pytest.raises(ValueError, match=f"column 'x': .*{reason}"):
        TabularExplainer(lambda rows: rows["v"].to_numpy(), frame)


def test_an_interval_is_read_by_its_text_and_by_its_bounds():
    """Its closed end belongs to it; another interval, and a part of one, is refused."""
    column = Column.of(pd.cut(pd.Series([1, 2]), [0, 1, 2]), "x")
    first = pd.Interval(0, 1)
    ways = ["(0, 1]", {"left": 0, "right": 1}, {"left": 0, "right": 1.0, "closed": "right"}, first]
    assert column.read(ways).tolist() == [first] * 4
    for other in (
        "[0, 1)",
        "0-1",
        {"left": 0},
        {"left": 0, "right": 1, "closed": "left"},
        {"left": [0], "right": 1},
        [0, 1],
        pd.Interval(0, 2),
    ):
        with pytest.raises(PayloadError, match=r"Column 'x', row 0: expected one of '\(0, 1\]'"):
            column.read([other])


def test_a_span_of_time_has_its_unit():
    """Bare numbers are milliseconds in pandas' JSON and microseconds in its Parquet."""
    spans = pd.Series(pd.Categorical(pd.to_timedelta([0, 90], unit="s")))
    column = Column.of(spans, "x")
    assert column.plain(column.read([datetime.timedelta(seconds=90)])[0]) == "P0DT0H1M30S"
    assert column.read(["P0DT0H1M30S", "0 days 00:01:30"]).tolist() == [pd.Timedelta("90s")] * 2
    with pytest.raises(PayloadError, match=r"expected one of 'P0DT0H0M0S', .*, got 90000"):
        column.read([90_000])


def test_a_python_date_is_a_day():
    """ISO text or midnight in milliseconds; a time of day is none."""
    column = Column.of(DAYS.dt.date, "x")
    day = datetime.date(2024, 1, 5)
    read = column.read(["2024-01-05", day, 1_704_412_800_000, datetime.datetime(2024, 1, 5)])
    assert read.tolist() == [day] * 4
    for other in ("2024-01-05T10:00", 1_704_412_800_001, "5.1.2024", True):
        with pytest.raises(PayloadError, match="Column 'x', row 0: expected a date as ISO 8601"):
            column.read([other])


@pytest.mark.parametrize("name", ["intervals", "months", "dates", "spans", "floats", "text"])
def test_a_model_of_such_categories_is_served(name):
    """The self-check sends the example as JSON, and predictions are the model's own."""
    rng = np.random.default_rng(0)
    values = EVERY[f"categories: {name}"]
    frame = pd.DataFrame({"income": rng.normal(size=90)})
    frame["x"] = values.iloc[rng.integers(3, size=90)].reset_index(drop=True)
    codes = frame["x"].cat.codes
    # Histogram boosting takes categories that can be sorted and have no missing ones.
    model = HistGradientBoostingRegressor(max_iter=5)
    model.fit(frame, frame["income"] + codes)
    served = ScoringModel(model, KernelScoringExplainer(TabularExplainer(model, frame)))
    served.self_check()
    column = served.schema.columns[1]
    records = [
        {"income": income, "x": column.plain(value)}
        for income, value in zip(frame["income"][:5], frame["x"][:5], strict=True)
    ]
    answer = served.score(json.dumps(records))
    np.testing.assert_array_equal(answer["predictions"], model.predict(frame[:5]))
