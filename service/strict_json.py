"""Strict JSON out of whatever an entry script returns.

NumPy and pandas objects become lists, numbers and records; NaN and the infinities become null,
which is all that JSON has for them. A ``str`` is a JSON string like any other value, so a script
that returns ``json.dumps(...)`` is answered with a string holding JSON, as Azure ML's inference
server does: return the object itself instead. Next: :mod:`service.errors`.
"""

import datetime
import json
import math
from collections.abc import Iterable, Mapping
from functools import singledispatch
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

A_PIECE = 1000  # values of a list that are encoded at once


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
        return _in_pieces(value)
    except (TypeError, ValueError):
        return _in_pieces(_cleaned(value))


def _in_pieces(value: Any) -> str:
    """Encode the rows of an answer some at a time: between them other threads have their turn.

    The encoder keeps the interpreter for as long as it is at work, which for all rows of a large
    answer is half a second, in which no health route is answered.
    """
    if isinstance(value, Mapping):
        value = dict(value)  # once, since values of an answer are made as they are read
    if _is_large(value):
        return f"{{{','.join(map(_pair_in_pieces, value.items()))}}}"
    return _list_in_pieces(value) if type(value) is list and value else _encode(value)


def _list_in_pieces(value: list[Any]) -> str:
    size = A_PIECE // max(1, _size(value[0]))
    if size == 0:
        return f"[{','.join(map(_in_pieces, value))}]"
    starts = range(0, len(value), size)
    return f"[{','.join(_encode(value[start : start + size])[1:-1] for start in starts)}]"


def _is_large(value: Any) -> bool:
    if not isinstance(value, dict) or not all(map(_is_text, value)):
        return False
    return sum(map(_size, value.values())) > A_PIECE


def _is_text(key: Any) -> bool:
    return type(key) is str


def _size(value: Any) -> int:
    """Return how many values a list of equal lists holds."""
    return len(value) * _size(value[0]) if type(value) is list and value else 1


def _pair_in_pieces(pair: tuple[str, Any]) -> str:
    key, value = pair
    return f"{_encode(key)}:{_in_pieces(value)}"


def _encode(value: Any) -> str:
    return _ENCODER.encode(value)


@singledispatch
def _cleaned(value: Any) -> Any:
    """Copy a value with null for NaN and the infinities, and plain keys."""
    return _cleaned(_plain(value))


@_cleaned.register(dict)
def _(value: dict[Any, Any]) -> dict[Any, Any]:
    return {_plain_key(key): _cleaned(item) for key, item in value.items()}


@_cleaned.register(list)
@_cleaned.register(tuple)
def _(value: Iterable[Any]) -> list[Any]:
    return list(map(_cleaned, value))


@_cleaned.register
def _(value: float) -> float | None:
    return value if math.isfinite(value) else None


@_cleaned.register(str)
@_cleaned.register(int)
@_cleaned.register(NoneType)
def _(value: Any) -> Any:
    return value


@singledispatch
def _plain(value: Any) -> Any:
    """Turn one object that `json` does not know into one that it does, or that is nearer to it."""
    raise TypeError(
        f"run() returned a value of type {type(value).__name__}, which JSON cannot express; "
        "return lists and numbers"
    )


@_plain.register(type(pd.NA))
@_plain.register(type(pd.NaT))
def _(value: Any) -> None:
    return None


@_plain.register
def _(value: Mapping) -> dict[Any, Any]:  # type: ignore[type-arg]
    return dict(value)  # a scoring model's answer, for one


@_plain.register
def _(value: pd.DataFrame) -> list[Any]:
    return value.to_dict(orient="records")


@_plain.register(np.ndarray)
@_plain.register(np.generic)
def _(value: Any) -> Any:
    # NumPy turns nanoseconds into bare integers, and microseconds into datetimes.
    is_time = value.dtype.kind in "mM"
    return (value.astype(f"{value.dtype.kind}8[us]") if is_time else value).tolist()


@_plain.register(pd.Series)
@_plain.register(pd.Index)
@_plain.register(pd.api.extensions.ExtensionArray)
def _(value: Any) -> list[Any]:
    return value.tolist()


@_plain.register(datetime.date)
@_plain.register(datetime.time)
def _(value: Any) -> str:
    return value.isoformat()  # datetime and pandas' Timestamp are dates too


def _plain_key(key: Any) -> Any:
    return key.item() if isinstance(key, np.generic) else key


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_plain)
