"""What entry scripts return, as strict JSON."""

import math

import numpy as np
import pandas as pd
import pytest

from service.strict_json import strict_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "ä"]}, '{"b":1,"a":[true,null,"\\u00e4"]}'),
        ([math.nan, (math.inf, -math.inf)], "[null,[null,null]]"),
        (np.array([[1, 2]], dtype=np.int8), "[[1,2]]"),
        ({np.int64(1): np.bool_(True)}, '{"1":true}'),
        (pd.Series([1.5, math.nan]), "[1.5,null]"),
        (pd.Series([1, None], dtype="Int64"), "[1,null]"),
        (pd.Categorical(["x", "y"]), '["x","y"]'),
        (pd.DataFrame({"a": [1.0, math.nan]}, index=[5, 6]), '[{"a":1.0},{"a":null}]'),
        (pd.Timestamp("2024-02-29 12:00"), '"2024-02-29T12:00:00"'),
        (np.array(["2024-02-29", "NaT"], dtype="M8[ns]"), '["2024-02-29T00:00:00",null]'),
        (pd.NaT, "null"),
        (np.str_("word"), '"word"'),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_results_become_strict_json(value, text):
    """Each kind of result has its form in JSON, and NaN is null wherever it stands."""
    assert strict_json(value) == text
    assert (
        strict_json({"next to a NaN": value, "": math.nan}) == f'{{"next to a NaN":{text},"":null}}'
    )


@pytest.mark.parametrize(
    "value", [object(), b"bytes", {1, 2}, 1j, np.array([1j]), np.timedelta64(1, "ns")]
)
def test_what_json_cannot_express_is_refused(value):
    """No value is passed off as something that it is not."""
    with pytest.raises(TypeError, match="which JSON cannot express"):
        strict_json([value])
