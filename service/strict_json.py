"""Strict JSON out of whatever an entry script returns.

NumPy and pandas objects become lists, numbers and records; NaN and the infinities become null,
which is all that JSON has for them. A ``str`` is a JSON string like any other value, so a script
that returns ``json.dumps(...)`` is answered with a string holding JSON, as Azure ML's inference
server does: return the object itself instead.

Next: `service.version`.
"""

import datetime
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

_MISSING = (type(pd.NA), type(pd.NaT))
_LISTS = (np.ndarray, np.generic, pd.Series, pd.Index, pd.api.extensions.ExtensionArray)


def strict_json(value: Any) -> str:
    """Write a value as JSON that every parser accepts, keys in their own order.

    Parameters
    ----------
    value : Any
        Dictionaries, lists, strings, numbers, dates, and NumPy or pandas objects, nested at will.

    Returns
    -------
    str
        The JSON text, ASCII only, without NaN or Infinity tokens.

    Raises
    ------
    TypeError, ValueError
        When the value holds something that JSON cannot express.

    Examples
    --------
    >>> import numpy as np
    >>> strict_json({"predictions": np.array([1.5, np.nan])})
    '{"predictions":[1.5,null]}'
    """
    try:
        # An answer is thousands of floats and nearly never has a NaN: the C encoder looks for one.
        return _encode(value)
    except (TypeError, ValueError):
        return _encode(_cleaned(value))


def _encode(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)


def _cleaned(value: Any) -> Any:
    """Copy a value with null for NaN and the infinities, and plain keys."""
    if isinstance(value, dict):
        return _cleaned_dict(value)
    if isinstance(value, list | tuple):
        return list(map(_cleaned, value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int | None):
        return value
    return _cleaned(_plain(value))


def _cleaned_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    return {_plain_key(key): _cleaned(item) for key, item in value.items()}


def _plain(value: Any) -> Any:
    """Turn one object that `json` does not know into one that it does, or that is nearer to it."""
    if isinstance(value, _MISSING):
        return None
    if isinstance(value, Mapping):  # no dict: a scoring model's answer, for one
        return dict(value)
    if isinstance(value, pd.DataFrame):
        return value.to_dict(orient="records")
    if isinstance(value, _LISTS):
        return _in_microseconds(value).tolist()
    # Python's datetime and pandas' Timestamp are dates too.
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(
        f"run() returned a value of type {type(value).__name__}, which JSON cannot express; "
        "return lists and numbers"
    )


def _in_microseconds(value: Any) -> Any:
    # NumPy turns nanoseconds into bare integers, and microseconds into datetimes.
    is_time = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "mM"
    return value.astype(f"{value.dtype.kind}8[us]") if is_time else value


def _plain_key(key: Any) -> Any:
    return key.item() if isinstance(key, np.generic) else key
