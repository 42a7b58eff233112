"""One column of the rows: what it holds, and the check of all its values.

A value that does not fit is refused with its column and row. Next: :mod:`service.rows.schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import PayloadError
from service.rows.values import (
    MISSING_MARKS,
    NARROW,
    OF_TEXT,
    RANGES,
    READERS,
    category_of_text,
    datetime_as_text,
    is_missing,
    mark_of,
    read_category,
    read_datetime,
    shown,
    without_numpy,
)

NUMERIC_KINDS = ("number", "integer", "boolean")


@dataclass(frozen=True)
class Column:
    """One column of the rows.

    Attributes
    ----------
    name : str
    kind : {"number", "integer", "boolean", "string", "category", "datetime"}
    dtype : str
        The pandas dtype that the model was fitted with.
    nullable : bool
        True when the examples had missing values in this column.
    categories : tuple or None
        The known values of a "category" column.
    ordered : bool
        True when those are ordered from the lowest to the highest.
    missing_mark : {"NaN", "None", "NaT", "NA"}
        What marks a missing value in a column of objects. A model may tell None from NaN, as
        scikit-learn's encoders do. Columns of other types have one mark only.

    Examples
    --------
    >>> import pandas as pd
    >>> column = Column.of(pd.Series([49, 30]), "age")
    >>> column.kind
    'integer'
    >>> column.read([72])
    array([72.])
    >>> column.read([30.7])
    Traceback (most recent call last):
    service.errors.PayloadError: Column 'age', row 0: expected an integer, got 30.7.
    """

    name: str
    kind: str
    dtype: str
    nullable: bool = False
    categories: tuple[Any, ...] | None = None
    ordered: bool = False
    missing_mark: str = "NaN"

    @classmethod
    def of(cls, values: pd.Series, name: str, objects: pd.Series | None = None) -> Column:
        """Record a column of the examples.

        Parameters
        ----------
        values : Series
        name : str
        objects : Series, optional
            The same values with their own marks of what is missing, where `values` has lost them.

        Raises
        ------
        ValueError
            When it holds no values, or values of a kind that has no place in a row.
        """
        nullable = bool(values.isna().any())
        dtype = values.dtype
        if isinstance(dtype, pd.CategoricalDtype):
            categories = tuple(values.cat.categories.tolist())
            return cls(name, "category", "category", nullable, categories, bool(dtype.ordered))
        kind, mark = _kind(values), _missing_mark(values if objects is None else objects, name)
        return cls(name, kind, str(dtype), nullable, missing_mark=mark)

    def read(self, values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
        """Check the values of this column.

        Parameters
        ----------
        values : sequence or ndarray of shape (n_rows,)

        Returns
        -------
        ndarray of shape (n_rows,)
            Numbers, integers and booleans as float64, everything else as objects; missing ones are
            NaN.

        Raises
        ------
        PayloadError
            Naming the column, the row, what was expected and what came.
        """
        if isinstance(values, np.ndarray) and values.dtype.kind == "f" and self.kind == "number":
            read = values.astype(np.float64)  # the common case, without a look at each value
        else:
            read = np.array(self._read_each(values), dtype=self.matrix_dtype)
        self._check_range(read)
        self._check_missing(read)
        return read

    def for_model(self, values: pd.Series) -> pd.Series:
        """Give read values the type that the model was fitted with."""
        if self.dtype != "object":
            return values.astype(self.pandas_dtype)
        objects = self.objects_for_model(values.to_numpy(dtype=object))
        return type(values)(objects, index=values.index, dtype=object)

    def objects_for_model(self, values: NDArray[Any]) -> NDArray[Any]:
        """Give read values of a column of objects their Python types and their missing mark."""
        objects = np.empty(len(values), dtype=object)
        mark, type_of = MISSING_MARKS[self.missing_mark], _OBJECTS.get(self.kind, without_numpy)
        for row, value in enumerate(values):
            objects[row] = mark if is_missing(value) else type_of(value)
        return objects

    def of_text(self, text: str) -> Any:
        """Turn a cell of a CSV file into the value that JSON would have; an empty one is missing.

        What does not fit stays text, which :meth:`read` refuses with its place.
        """
        if text == "":
            return None
        if self.kind == "category":
            return category_of_text(text, self.categories or ())
        return OF_TEXT.get(self.kind, str)(text)

    def plain(self, value: Any) -> Any:
        """Write a read value as JSON has it, for :meth:`read` to take back; None is missing."""
        if is_missing(value):
            return None
        if self.kind == "datetime":
            return datetime_as_text(value)
        return _PLAIN.get(self.kind, without_numpy)(value)

    @property
    def takes_any_number(self) -> bool:
        """True when every finite number fits."""
        return self.kind == "number" and self._width not in NARROW

    @property
    def matrix_dtype(self) -> type:
        """The dtype of what :meth:`read` returns."""
        return np.float64 if self.kind in NUMERIC_KINDS else object

    @property
    def pandas_dtype(self) -> Any:
        """The dtype that a DataFrame for the model has here."""
        if self.kind == "category":
            return pd.CategoricalDtype(list(self.categories or ()), self.ordered)
        return pd.api.types.pandas_dtype(self.dtype)

    def _read_each(self, values: Sequence[Any] | NDArray[Any]) -> list[Any]:
        read_one = self._reader
        read = []
        for row, value in enumerate(map(without_numpy, values)):
            one = np.nan if is_missing(value) else read_one(value)
            if one is None:
                raise self._refusal(row, shown(value))
            read.append(one)
        return read

    @property
    def _reader(self) -> Callable[[Any], Any]:
        """What reads one value; it answers None for one that does not fit."""
        if self.kind == "category":
            return partial(read_category, categories=self.categories or ())
        if self.kind == "datetime":
            return partial(read_datetime, dtype=self.pandas_dtype)
        return READERS[self.kind]

    def _check_range(self, read: NDArray[Any]) -> None:
        """Refuse numbers that the model's dtype cannot hold; infinities are among them."""
        if self.kind not in _RANGED:
            return
        smallest, largest = RANGES.get(self._width, RANGES["float64"])
        outside = (read < smallest) | (read > largest)
        if outside.any():
            row = int(outside.argmax())
            raise self._refusal(row, shown(_RANGED[self.kind](read[row])))

    def _check_missing(self, read: NDArray[Any]) -> None:
        missing = pd.isna(read)
        if not self.nullable and missing.any():
            came = "a missing value, and the examples had none in this column"
            raise self._refusal(int(missing.argmax()), came)

    @property
    def _width(self) -> str:
        """The dtype as NumPy names it, of pandas' own "Int8" and Arrow's "int8[pyarrow]" too."""
        return self.dtype.lower().removesuffix("[pyarrow]")

    def _refusal(self, row: int, came: str) -> PayloadError:
        return PayloadError(
            f"Column {self.name!r}, row {row}: expected {self._expected}, got {came}."
        )

    @property
    def _expected(self) -> str:
        if self.categories is not None:
            return f"one of {', '.join(map(shown, self.categories[:10]))}"
        if self.kind == "datetime":
            zone = getattr(self.pandas_dtype, "tz", None)
            return _EXPECTED_WITHOUT_ZONE if zone is None else _EXPECTED_WITH_ZONE
        expected = _EXPECTED[self.kind]
        if self.kind in _RANGED and self._width in NARROW:
            smallest, largest = RANGES[self._width]
            return f"{expected} from {smallest:g} to {largest:g}"
        return expected


def _kind(values: pd.Series) -> str:
    """Name the kind of a column by its values: an object column of numbers counts as numbers."""
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred == "empty":
        raise ValueError(
            f"initialization_examples: column {values.name!r}: expected values, got only missing "
            "ones; leave the column out, or give it the dtype of its values."
        )
    if inferred not in _KINDS:
        raise ValueError(
            f"initialization_examples: column {values.name!r}: expected numbers, booleans, "
            f"strings, dates or categories, got {inferred} values."
        )
    return _KINDS[inferred]


def _missing_mark(values: pd.Series, name: str) -> str:
    """Find what marks a missing value in a column.

    Raises
    ------
    ValueError
        When two marks stand in one column: a row from JSON could only have one of them.
    """
    if values.dtype != object:
        return "NaN"
    marks = {mark_of(value) for value in values[values.isna()]}
    if len(marks) > 1:
        raise ValueError(
            f"initialization_examples: column {name!r}: expected one mark for missing values, got "
            f"{' and '.join(sorted(marks))}; replace one by the other before the model is fitted."
        )
    return marks.pop() if marks else "NaN"


_KINDS = {
    "boolean": "boolean",
    "integer": "integer",
    "floating": "number",
    "mixed-integer-float": "number",
    "string": "string",
    "datetime": "datetime",
    "datetime64": "datetime",
}

_EXPECTED = {
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "string": "a string",
}
_EXPECTED_WITH_ZONE = (
    "a date and time with a time zone, as ISO 8601 text or milliseconds since 1970"
)
_EXPECTED_WITHOUT_ZONE = (
    "a date and time without a time zone, as ISO 8601 text or milliseconds since 1970"
)

_PLAIN: dict[str, Callable[[Any], Any]] = {"number": float, "boolean": bool, "integer": int}

_RANGED: dict[str, Callable[[Any], Any]] = {"number": float, "integer": int}

# What numbers of the matrix were in a column of dtype object.
_OBJECTS: dict[str, Callable[[Any], Any]] = {"boolean": bool, "integer": int}
