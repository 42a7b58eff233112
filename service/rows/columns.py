"""One column of the rows: what it holds, and the check of all its values.

A value that does not fit is refused with its column and row. Next: :mod:`service.rows.schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import PayloadError, expect
from service.rows.categories import Vocabulary
from service.rows.kinds import KIND_NAMED, Kind
from service.rows.values import (
    KINDS,
    MISSING_MARKS,
    EmptyText,
    is_missing,
    mark_of,
    shown,
    without_numpy,
)


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
    known_texts : tuple of str
        The texts of the examples, where they repeat a few: they are categories then.
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
    known_texts: tuple[str, ...] = ()

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
        column = cls(name, _kind_of(values, name), values.dtype, missing_mark=mark)
        column._check_categories()
        nullable = bool(values.isna().any())
        known = values.dropna() if nullable else values  # which takes long of very many columns
        return replace(
            column,
            nullable=nullable,
            takes_infinity=column._kind.has_infinity(known),
            known_texts=column._kind.repeated_texts(known),
        )

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
        return self._kind.rounded(read)

    def fits(self, value: Any) -> bool:
        """Tell whether a value is one that :meth:`read` takes."""
        try:
            self.read([value])
        except PayloadError:
            return False
        return True

    def for_model(self, values: pd.Series) -> pd.Series:
        """Give read values the type that the model was fitted with, or one that holds them all."""
        if self.dtype != "object":
            return values.astype(self._kind.dtype_for(values))
        objects = self.objects_for_model(values.to_numpy(dtype=object))
        return type(values)(objects, index=values.index, dtype=object)

    def objects_for_model(self, values: NDArray[Any]) -> NDArray[Any]:
        """Give read values of a column of objects their Python types and their missing mark."""
        objects = np.full(len(values), MISSING_MARKS[self.missing_mark], dtype=object)
        known = ~pd.isna(values)
        objects[known] = list(map(self._kind.as_object, values[known]))
        return objects

    def of_text(self, text: str) -> Any:
        """Turn a cell of a CSV file into the value that JSON would have; an empty one is missing.

        An empty one in quotes is an empty text, where the column can hold one. What does not fit
        stays text, which :meth:`read` refuses with its place.

        Raises
        ------
        PayloadError
            Where it could be either.
        """
        return self._kind.of_text(text) if text else self._of_empty(text)

    def _of_empty(self, text: str) -> str | None:
        """Return an empty text where a cell means that, and None where it is missing."""
        if not (isinstance(text, EmptyText) and self._kind.takes_empty_text):
            return None
        expect(
            text.is_certain or not self.nullable,
            f"Column {self.name!r}: expected a missing value as an empty cell without quotes, got "
            'a row that has quotes around every cell, so that "" could be an empty text too.',
        )
        return ""

    def make_new_categories(self) -> Sequence[Any]:
        """Return categories that the examples do not know; none where there can be none."""
        return self._kind.make_new_categories()

    def are_new(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which read values are categories that the examples did not have.

        Examples
        --------
        >>> import pandas as pd
        >>> grade = Column.of(pd.Series(["a", "b", "a", "b"]), "grade")
        >>> grade.are_new(grade.read(["a", "c"])).tolist()
        [False, True]
        """
        are_known = np.fromiter(map(self._known.__contains__, values), bool, len(values))
        return ~(are_known | pd.isna(values))

    @property
    def can_have_new(self) -> bool:
        """True of categories and repeated texts, where others are taken too."""
        return len(self._known) > 0

    @cached_property
    def _known(self) -> frozenset[Any]:
        """The categories beside which there may be new ones; none of other columns."""
        return frozenset(self.known_texts) | frozenset(self._kind.known_beside_new)

    def plain(self, value: Any) -> Any:
        """Write a read value as JSON has it, for :meth:`read` to take back; None is missing."""
        return None if is_missing(value) else self._kind.plain(value)

    def to_dict(self) -> dict[str, Any]:
        """Describe the column in values of JSON, for the manifest."""
        return {
            "name": self.name,
            "kind": self.kind,
            "dtype": self.dtype,
            "nullable": self.nullable,
            "categories": self._kind.categories,
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
        is_of_numpy = isinstance(self.pandas_dtype, np.dtype)
        return _words_of(self.pandas_dtype) if is_of_numpy else str(self.pandas_dtype)

    @property
    def width(self) -> str:
        """The dtype as NumPy names it, of pandas' own "Int8" and Arrow's "int8[pyarrow]" too."""
        return self.dtype.lower().removesuffix("[pyarrow]")

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The known categories, None in other columns."""
        return self._kind.vocabulary

    @property
    def value_kind(self) -> str:
        """The kind of its values: of categories the kind that they have themselves, "" for none."""
        return self._kind.value_kind

    @property
    def takes_any_number(self) -> bool:
        """True when every finite number fits."""
        return self._kind.takes_any_number

    @property
    def takes_text(self) -> bool:
        """True when any text fits."""
        return self._kind.takes_text

    @property
    def changes_with_missing(self) -> bool:
        """Whether the model gets values of another type where one of a call is missing."""
        return self.nullable and self._kind.widens

    @property
    def matrix_dtype(self) -> type:
        """The dtype of what :meth:`read` returns."""
        return self._kind.matrix_dtype

    @cached_property
    def _kind(self) -> Kind:
        """What does for this column all that depends on its kind."""
        of_kind = KIND_NAMED[self.kind]
        return of_kind(self.pandas_dtype, self.width, self.takes_new, self.takes_infinity)

    def _read_each(self, values: Sequence[Any] | NDArray[Any]) -> list[Any]:
        read_one = self._kind.reader()
        read = []
        for row, value in enumerate(map(without_numpy, values)):
            one = np.nan if is_missing(value) else read_one(value)
            if one is None:
                raise self._refusal(row, self._kind.came(value))
            read.append(one)
        return read

    def _check_categories(self) -> None:
        """Refuse categories that a client could not write."""
        try:
            _ = self.vocabulary
        except ValueError as error:
            raise ValueError(f"initialization_examples: column {self.name!r}: {error}.") from None

    def _check_range(self, read: NDArray[Any]) -> None:
        """Refuse numbers that the model's dtype cannot hold; infinities are among them."""
        self._refuse_first(
            self._kind.outside(read), lambda row: shown(self._kind.as_object(read[row]))
        )

    def _check_missing(self, read: NDArray[Any]) -> None:
        if self.nullable:
            return
        came = (
            "a missing value, and the examples had none in this column; where the model takes "
            f"them, its explainer is built with nullable=[{self.name!r}], or on examples with some"
        )
        self._refuse_first(pd.isna(read), lambda _: came)

    def _refuse_first(self, misfit: NDArray[np.bool_], came: Callable[[int], str]) -> None:
        """Refuse the first value that does not fit, if there is one."""
        if misfit.any():
            row = int(misfit.argmax())
            raise self._refusal(row, came(row))

    def _refusal(self, row: int, came: str) -> PayloadError:
        return PayloadError(
            f"Column {self.name!r}, row {row}: expected {self._kind.expected}, got {came}."
        )


@cache
def _words_of(dtype: np.dtype[Any]) -> str:
    """Write a dtype of NumPy's, which takes long for each of very many columns."""
    return str(dtype)


def _kind_of(values: pd.Series, name: str) -> str:
    """Name the kind of a column by its values: an object column of numbers counts as numbers."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "category"
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    expect(
        inferred != "empty",
        f"initialization_examples: column {name!r}: expected values, got only missing ones; leave "
        "the column out, or give it the dtype of its values.",
        ValueError,
    )
    expect(
        inferred in KINDS,
        f"initialization_examples: column {name!r}: expected numbers, booleans, strings, dates or "
        f"categories, got {inferred} values ({values.dtype}); turn them into one of these, for the "
        "model too.",
        ValueError,
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
    marks = sorted(set(map(mark_of, values[values.isna()])))
    expect(
        len(marks) <= 1,
        f"initialization_examples: column {name!r}: expected one mark for missing values, got "
        f"{' and '.join(marks)}; replace one by the other before the model is fitted.",
        ValueError,
    )
    return next(iter(marks), "NaN")
