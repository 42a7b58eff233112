from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from service.rows.columns import Column
from service.scoring import PayloadError

NAIVE = pd.Series(pd.to_datetime(["2024-01-05", "2024-02-05"]))
AWARE = NAIVE.dt.tz_localize("Europe/Berlin")


def test_an_integer_that_no_float_can_hold_is_refused_and_not_an_overflow():
    """401 digits are the client's mistake in a number, an integer, a boolean and a date column."""
    for values in (pd.Series([1.5]), pd.Series([1]), pd.Series([True]), NAIVE):
        with pytest.raises(PayloadError, match="Column 'x', row 0: expected"):
            Column.of(values, "x").read([10**401])


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
@pytest.mark.parametrize(
    "form", [list, np.array, lambda x: np.array(x, dtype=np.float32), lambda x: np.array(x, object)]
)
def test_infinity_is_refused_in_every_form(form, infinity):
    """Arrays refuse it as lists do, with the row."""
    with pytest.raises(PayloadError, match=r"Column 'x', row 1: expected a number, got -?inf"):
        Column.of(pd.Series([1.5, np.nan]), "x").read(form([1.0, infinity]))


@pytest.mark.parametrize(
    "text", ["now", "today", "12:00", "10/11/2024", "2024", "5 January 2024", "2024-13-01", ""]
)
def test_only_iso_8601_is_a_date(text):
    """Nothing is guessed: neither the day that a time stands for, nor which of two numbers is the
    month.
    """
    with pytest.raises(
        PayloadError, match="Column 'x', row 0: expected a date and time without a time zone"
    ):
        Column.of(NAIVE, "x").read([text])


@pytest.mark.parametrize("value", [1.5, True, [2024], {}, "9999999999-01-01", 10**15])
def test_only_whole_milliseconds_are_a_date(value):
    """A fraction, a truth value or a time that the column cannot hold is refused."""
    with pytest.raises(PayloadError, match="Column 'x', row 0: expected a date and time"):
        Column.of(NAIVE.astype("datetime64[ns]"), "x").read([value])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_date_is_read_from_each_form_in_the_resolution_of_the_column(unit):
    """ISO text, a Timestamp, a numpy date and epoch milliseconds are one date; the column gets its
    dtype back.
    """
    column = Column.of(NAIVE.astype(f"datetime64[{unit}]"), "x")
    date = NAIVE[1]
    forms = [
        date.isoformat(),
        "20240205",
        date,
        date.to_pydatetime(),
        date.to_datetime64(),
        date.value // 10**6,
    ]
    read = column.read(forms)
    assert list(read) == [date] * 6
    assert column.for_model(pd.Series(read)).dtype == column.dtype


def test_what_the_resolution_of_the_column_cannot_hold_is_refused():
    """Nothing is rounded: no half second in a column of seconds."""
    column = Column.of(NAIVE.astype("datetime64[s]"), "x")
    with pytest.raises(PayloadError, match="row 0: expected a date and time"):
        column.read(["2024-01-05T00:00:00.5"])


def test_a_column_without_a_time_zone_refuses_times_with_one():
    """So that a mixed column never reaches the model."""
    column = Column.of(NAIVE, "x")
    for value in ("2024-01-01T00:00Z", "2024-01-01T00:00+02:00", AWARE[0]):
        with pytest.raises(
            PayloadError, match="Column 'x', row 1: expected a date and time without a time zone"
        ):
            column.read(["2024-01-01", value])


def test_a_column_with_a_time_zone_reads_every_zone_as_its_own():
    """Epoch milliseconds are UTC, other offsets are converted, and a time without a zone is
    refused.
    """
    column = Column.of(AWARE, "x")
    instant = pd.Timestamp("2024-01-01T00:00Z")
    read = column.read(
        ["2024-01-01T00:00Z", "2024-01-01T02:00+02:00", instant, instant.value // 10**6]
    )
    assert list(read) == [instant] * 4
    pd.testing.assert_series_equal(
        column.for_model(pd.Series(read)), pd.Series([instant] * 4, dtype=AWARE.dtype)
    )
    with pytest.raises(
        PayloadError, match="Column 'x', row 0: expected a date and time with a time zone"
    ):
        column.read(["2024-01-01T00:00"])


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Africa/Monrovia", "UTC"])
@pytest.mark.parametrize("moment", ["1893-03-31T23:06:31.999Z", "1850-01-01", "1971-06-01"])
def test_a_date_before_there_were_time_zones_is_written_as_it_is_read(zone, moment):
    """Their offsets have seconds, which ISO 8601 does not spell."""
    column = Column.of(AWARE.dt.tz_convert(zone), "x")
    (read,) = column.read([pd.Timestamp(moment).tz_localize(None).isoformat() + "Z"])
    written = column.plain(read)
    assert datetime.fromisoformat(written) == read.to_pydatetime()
    assert column.read([written])[0] == read


@pytest.mark.parametrize("beyond", [9_000_000_000_000_000, -62_135_596_800_001, "10000-01-01T00Z"])
def test_a_zoned_time_beyond_the_years_of_iso_8601_is_refused(beyond):
    """pandas cannot say what its local time is."""
    column = Column.of(AWARE.dt.as_unit("ms"), "x")
    with pytest.raises(PayloadError, match="Column 'x', row 0: expected a date and time with a"):
        column.read([beyond])


def test_ordered_categories_stay_ordered():
    """The model gets the categorical dtype that it was fitted with."""
    values = pd.Series(pd.Categorical(["low", "high"], ["low", "high"], ordered=True))
    column = Column.of(values, "x")
    pd.testing.assert_series_equal(
        column.for_model(pd.Series(column.read(["low", "high"]))), values
    )


@pytest.mark.parametrize("values", [[True, False], [1, 2], [True, None], [1.5, 2.0], ["a", "b"]])
def test_an_object_column_gives_the_model_the_values_it_had(values):
    """Booleans stay booleans and integers integers, not 1.0 and 0.0."""
    column = Column.of(pd.Series(values, dtype=object), "x")
    given = column.for_model(pd.Series(column.read(values)))
    assert given.dtype == object
    assert [type(value) for value in given if pd.notna(value)] == [
        type(value) for value in values if value is not None
    ]
    assert [value for value in given if pd.notna(value)] == [
        value for value in values if value is not None
    ]


def test_a_column_without_a_value_is_read_by_its_dtype_or_refused():
    """Floats that are all missing are a column of numbers; objects that are all missing tell
    nothing.
    """
    column = Column.of(pd.Series([np.nan, np.nan]), "x")
    assert (column.kind, column.nullable) == ("number", True)
    with pytest.raises(ValueError, match="column 'x': expected values, got only missing ones"):
        Column.of(pd.Series([None, None], name="x", dtype=object), "x")


@pytest.mark.parametrize(
    ("dtype", "fits", "beyond"),
    [
        ("int8", [-128, 127], [-129, 128]),
        ("uint8", [0, 255], [-1, 256]),
        ("Int16", [-32768, 32767], [32768]),
        ("float32", [3.4e38, -3.4e38], [3.5e38, 1e300]),
        ("float64", [1.7e308], [float("inf")]),
    ],
)
def test_a_number_beyond_the_columns_dtype_is_refused(dtype, fits, beyond):
    """A narrow column's values come back as they were; the next number neither wraps around nor
    becomes infinite.
    """
    column = Column.of(pd.Series([1, 2], dtype=dtype), "x")
    assert column.for_model(pd.Series(column.read(fits))).astype(float).tolist() == pytest.approx(
        fits
    )
    for value in beyond:
        with pytest.raises(PayloadError, match=r"Column 'x', row 1: expected a"):
            column.read([1, value])
        with pytest.raises(PayloadError, match=r"Column 'x', row 1: expected a"):
            column.read(np.array([1, value], dtype=np.float64))


def test_true_is_not_the_category_1():
    """But 1 is the category true, as in a column of truth values; 1.0 is 1."""
    numbers, flags = (
        Column.of(pd.Series(pd.Categorical(known)), "x") for known in ([1, 2], [True, False])
    )
    assert numbers.read([1, 2.0]).tolist() == [1, 2]
    assert flags.read([True, 1]).tolist() == [True, True]
    with pytest.raises(PayloadError, match="expected one of"):
        numbers.read([True])


def test_half_a_character_is_no_text():
    """JSON can spell it, UTF-8 cannot; the missing half makes it a character."""
    column = Column.of(pd.Series(["a", "b"]), "x")
    assert column.read(["\U0001f600"]).tolist() == ["\U0001f600"]
    with pytest.raises(PayloadError, match="expected a string"):
        column.read(["\ud83d"])


def test_a_date_before_year_1_is_refused():
    """As milliseconds it could be sent, as text it could not be read back."""
    column = Column.of(pd.Series(pd.to_datetime(["2024-01-05"])), "x")
    assert column.plain(column.read([-62135596800000])[0]) == "0001-01-01T00:00:00"
    with pytest.raises(PayloadError, match="expected a date"):
        column.read([-62135596800001])


@pytest.mark.parametrize("kind", ["float64", "int64"])
def test_csv_numbers_are_plain(kind):
    """What int() and float() would read beyond them stays text, and is refused."""
    column = Column.of(pd.Series([1, 2], dtype=kind), "x")
    assert [column.of_text(text) for text in ("12", "1_000", "٣")] == [12, "1_000", "٣"]
