"""One column of the rows: what it holds, and the check of all its values.

A value that does not fit is refused with its column and row. Next: :mod:`service.rows.schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import PayloadError
from service.rows.categories import Vocabulary, write_category
from service.rows.values import (
    KINDS,
    LARGEST_EXACT_INTEGER,
    MISSING_MARKS,
    NARROW,
    OF_TEXT,
    RANGES,
    READERS,
    InfinityWord,
    datetime_as_text,
    datetime_dtype,
    is_missing,
    mark_of,
    read_datetime,
    read_number_or_infinity,
    shown,
    without_numpy,
    write_number,
)

NUMERIC_KINDS = ("number", "integer", "boolean")
# Types of less than double precision, by the names of NumPy, pandas and Arrow.
SINGLE = {
    "float16": np.float16,
    "halffloat": np.float16,
    "float32": np.float32,
    "float": np.float32,
}


@dataclass(frozen=True)
class Column:
    """One column of the rows.

    Attributes
    ----------
    name : str
    kind : {"number", "integer", "boolean", "string", "category", "date", "datetime"}
    pandas_dtype : object
        The dtype that the model was fitted with.
    nullable : bool
        True when the examples had missing values in this column, or the model was said to take
        them.
    takes_new : bool
        True when the model takes categories that the examples do not know.
    takes_infinity : bool
        True when the examples had infinities in this column.
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
    pandas_dtype: Any
    nullable: bool = False
    takes_new: bool = False
    takes_infinity: bool = False
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
        mark = _missing_mark(values if objects is None else objects, name)
        column = cls(name, _kind(values, name), values.dtype, missing_mark=mark)
        column._check_categories()
        known = values.dropna()
        is_infinite = column.kind == "number" and np.isinf(known.to_numpy(dtype=np.float64)).any()
        nullable = len(known) < len(values)
        return replace(column, nullable=nullable, takes_infinity=bool(is_infinite))

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
        return self._rounded(read)

    def for_model(self, values: pd.Series) -> pd.Series:
        """Give read values the type that the model was fitted with, or one that holds them all."""
        if self.dtype != "object":
            return values.astype(self._dtype_for(values))
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
        if self.vocabulary is not None:
            return self.vocabulary.of_text(text)
        return OF_TEXT.get(self.kind, str)(text)

    def make_new_categories(self) -> Sequence[Any]:
        """Return categories that the examples do not know; none where there can be none."""
        return () if self.vocabulary is None else self.vocabulary.make_new()

    def plain(self, value: Any) -> Any:
        """Write a read value as JSON has it, for :meth:`read` to take back; None is missing."""
        if is_missing(value):
            return None
        return _PLAIN.get(self.kind, without_numpy)(value)

    def to_dict(self) -> dict[str, Any]:
        """Describe the column in values of JSON, for the manifest."""
        known = self.vocabulary
        return {
            "name": self.name,
            "kind": self.kind,
            "dtype": self.dtype,
            "nullable": self.nullable,
            "categories": None if known is None else list(map(write_category, known.categories)),
            "ordered": getattr(self.pandas_dtype, "ordered", None) is True,
            "takes_new": self.takes_new,
            "takes_infinity": self.takes_infinity,
            "missing_mark": self.missing_mark,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of a pickle what can be made again."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @cached_property
    def dtype(self) -> str:
        """The dtype that the model was fitted with, in words."""
        return str(self.pandas_dtype)

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The known categories, None in other columns."""
        dtype = self.pandas_dtype
        return Vocabulary.of(dtype) if isinstance(dtype, pd.CategoricalDtype) else None

    @property
    def value_kind(self) -> str:
        """The kind of its values: of categories the kind that they have themselves, "" for none."""
        return self.kind if self.vocabulary is None else self.vocabulary.kind

    @property
    def takes_any_number(self) -> bool:
        """True when every finite number fits."""
        return self.kind == "number" and self._width not in NARROW

    def _rounded(self, read: NDArray[Any]) -> NDArray[Any]:
        """Round numbers to the precision of their column: encoders know those of the examples."""
        single = SINGLE.get(self._width)
        if self.kind != "number" or single is None:
            return read
        return read.astype(single).astype(np.float64)

    @property
    def changes_with_missing(self) -> bool:
        """Whether the model gets values of another type where one of a call is missing."""
        dtype = self.pandas_dtype
        return self.nullable and isinstance(dtype, np.dtype) and dtype.kind in "iub"

    @property
    def matrix_dtype(self) -> type:
        """The dtype of what :meth:`read` returns."""
        return np.float64 if self.kind in NUMERIC_KINDS else object

    def _dtype_for(self, values: pd.Series) -> Any:
        """Return the dtype that the model was fitted with, or else one that holds the values."""
        dtype = self.pandas_dtype
        if self.takes_new and self.vocabulary is not None:
            return self.vocabulary.dtype_with(dtype, values)
        # As in pandas itself, whole numbers and truth values become floats beside a missing one.
        is_narrow = isinstance(dtype, np.dtype) and dtype.kind in "iub"
        return np.float64 if is_narrow and values.isna().any() else dtype

    def _read_each(self, values: Sequence[Any] | NDArray[Any]) -> list[Any]:
        read_one = self._reader
        read = []
        for row, value in enumerate(map(without_numpy, values)):
            is_word = isinstance(value, InfinityWord) and not self.takes_infinity
            one = np.nan if is_word or is_missing(value) else read_one(value)
            if one is None:
                raise self._refusal(row, f"{shown(value)}{self._beyond(value)}")
            read.append(one)
        return read

    def _beyond(self, value: Any) -> str:
        """Say that an integer is too large, and what to do, where it is."""
        is_too_large = isinstance(value, int) and abs(value) > LARGEST_EXACT_INTEGER
        if self.kind != "integer" or not is_too_large:
            return ""
        return ", which is beyond 2^53 and would be rounded; turn such numbers into text"

    @property
    def _reader(self) -> Callable[[Any], Any]:
        """What reads one value; it answers None for one that does not fit."""
        if self.vocabulary is not None:
            return self._read_category
        if self.kind == "datetime":
            return partial(read_datetime, dtype=datetime_dtype(self.pandas_dtype))
        if self.takes_infinity:
            return read_number_or_infinity
        return READERS[self.kind]

    def _read_category(self, value: Any) -> Any:
        assert self.vocabulary is not None
        category = self.vocabulary.read(value)
        if category is None and self.takes_new:
            return self.vocabulary.read_new(value)
        return category

    def _check_categories(self) -> None:
        """Refuse categories that a client could not write."""
        try:
            _ = self.vocabulary
        except ValueError as error:
            raise ValueError(f"initialization_examples: column {self.name!r}: {error}.") from None

    def _check_range(self, read: NDArray[Any]) -> None:
        """Refuse numbers that the model's dtype cannot hold; infinities are among them."""
        if self.kind not in _RANGED:
            return
        smallest, largest = RANGES.get(self._width, RANGES["float64"])
        outside = (read < smallest) | (read > largest)
        if self.takes_infinity:
            outside &= np.isfinite(read)
        if outside.any():
            row = int(outside.argmax())
            raise self._refusal(row, shown(_RANGED[self.kind](read[row])))

    def _check_missing(self, read: NDArray[Any]) -> None:
        missing = pd.isna(read)
        if not self.nullable and missing.any():
            came = (
                "a missing value, and the examples had none in this column; where the model takes "
                f"them, its explainer is built with nullable=[{self.name!r}]"
            )
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
        if self.vocabulary is not None:
            known = map(shown, map(write_category, self.vocabulary.categories[:10]))
            return f"one of {', '.join(known)}{_OR_NEW[self.takes_new]}"
        if self.kind == "datetime":
            zone = getattr(datetime_dtype(self.pandas_dtype), "tz", None)
            return _EXPECTED_WITHOUT_ZONE if zone is None else _EXPECTED_WITH_ZONE
        expected = f"{_EXPECTED[self.kind]}{_OR_INFINITE[self.takes_infinity]}"
        if self.kind in _RANGED and self._width in NARROW:
            smallest, largest = RANGES[self._width]
            return f"{expected} from {smallest:g} to {largest:g}"
        return expected


def _kind(values: pd.Series, name: str) -> str:
    """Name the kind of a column by its values: an object column of numbers counts as numbers."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "category"
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred == "empty":
        raise ValueError(
            f"initialization_examples: column {name!r}: expected values, got only missing "
            "ones; leave the column out, or give it the dtype of its values."
        )
    if inferred not in KINDS:
        raise ValueError(
            f"initialization_examples: column {name!r}: expected numbers, booleans, strings, dates "
            f"or categories, got {inferred} values ({values.dtype}); turn them into one of these, "
            "for the model too."
        )
    return KINDS[inferred]


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


_EXPECTED = {
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "string": "a string",
    "date": "a date as ISO 8601 text",
}
_OR_INFINITE = {False: "", True: ', "Infinity", "-Infinity"'}
_OR_NEW = {False: "", True: " or a new one like them"}
_EXPECTED_WITH_ZONE = (
    "a date and time with a time zone, as ISO 8601 text or milliseconds since 1970"
)
_EXPECTED_WITHOUT_ZONE = (
    "a date and time without a time zone, as ISO 8601 text or milliseconds since 1970"
)

_PLAIN: dict[str, Callable[[Any], Any]] = {
    "number": write_number,
    "boolean": bool,
    "integer": int,
    "date": date.isoformat,
    "datetime": datetime_as_text,
    "category": write_category,
}

_RANGED: dict[str, Callable[[Any], Any]] = {"number": float, "integer": int}

# What numbers of the matrix were in a column of dtype object.
_OBJECTS: dict[str, Callable[[Any], Any]] = {"boolean": bool, "integer": int}
