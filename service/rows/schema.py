"""What a row looks like: the columns of the examples, and the check of every row against them.

Inside, rows are one matrix: float64 when every column is a number, an integer or a boolean, object
otherwise. The schema turns what callers bring (a DataFrame, an array, lists, columns by name) into
that matrix, and the matrix back into the form in which the model was fitted. Next:
:mod:`service.rows.tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, singledispatch
from itertools import chain, compress, filterfalse
from operator import attrgetter, not_
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.errors import PayloadError, expect, expect_each
from service.rows.columns import Column
from service.rows.tables import (
    are_records,
    as_table,
    examples_as_table,
    is_list,
    is_one_array,
)
from service.rows.values import list_names, repeated, shown, without_numpy

# Of each column its values: lists, arrays, or all of them as one array, (n_columns, n_rows).
Columns: TypeAlias = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Schema:
    """The columns of the rows, in the model's order, and the form the model takes them in.

    Attributes
    ----------
    columns : tuple of Column
        Under the names by which rows are matched and importances are shown.
    as_frame : bool
        True when the model was fitted on a DataFrame and wants one, False when it takes the bare
        matrix.
    model_names : tuple
        What the model itself calls its columns: the labels of the DataFrame that it takes.

    Examples
    --------
    >>> import pandas as pd
    >>> examples = pd.DataFrame({"age": [49, 30], "zip": ["02139", "94105"]})
    >>> schema = Schema.of(examples, None, model=None)
    >>> schema.names, schema.is_numeric
    (['age', 'zip'], False)
    >>> schema.matrix([{"zip": "10001", "age": 72}])
    array([[72.0, '10001']], dtype=object)
    """

    columns: tuple[Column, ...]
    as_frame: bool
    model_names: tuple[Hashable, ...]

    @classmethod
    def of(cls, examples: Any, names: Sequence[str] | None, model: Any) -> Schema:
        """Record the schema of `examples`.

        Parameters
        ----------
        examples : DataFrame or array-like of shape (n_examples, n_features)
        names : sequence of str or None
            Feature names; by default the model's own: the DataFrame's columns, for an array those
            that the model was fitted on, else "0", "1", ….
        model : object
            Asked whether it was fitted on a DataFrame (scikit-learn's ``feature_names_in_``).

        Raises
        ------
        ValueError
            When `examples` is not a non-empty table, or the names do not fit it.
        """
        came_as_frame = isinstance(examples, pd.DataFrame)
        table, objects = _tables(examples)
        expect(
            0 not in table.shape,
            f"initialization_examples: expected at least one row and column, got {table.shape}.",
            ValueError,
        )
        names = list_names("features", names)
        labels = tuple(table.columns) if came_as_frame else _labels_of_array(table, names, model)
        chosen = _chosen_names(names, labels, table.shape[1])
        series = (values for _, values in table.items())
        as_they_came = (values for _, values in objects.items())
        columns = tuple(map(Column.of, series, chosen, as_they_came))
        return cls(columns, _takes_frames(model, came_as_frame, columns), labels)

    @property
    def names(self) -> list[str]:
        """The column names, in the model's order."""
        return self._names.copy()

    @cached_property
    def _names(self) -> list[str]:
        return list(map(_NAME, self.columns))

    @cached_property
    def is_of_floats(self) -> bool:
        """True when every column was float64 in the examples."""
        return set(map(_DTYPE, self.columns)) == {"float64"}

    @cached_property
    def is_numeric(self) -> bool:
        """True when every column is a number, so that the matrix is float64."""
        return _are_numeric(self.columns)

    def matrix(self, rows: Any) -> NDArray[Any]:
        """Check rows and return them as one matrix.

        Parameters
        ----------
        rows : DataFrame, array of shape (n_rows, n_features), list of records, or list of lists
            A DataFrame and records are matched by column name, arrays and lists by position. A
            DataFrame may have the model's own names too. Also what
            :func:`service.rows.tables.as_table` takes.

        Returns
        -------
        ndarray of shape (n_rows, n_features)

        Raises
        ------
        PayloadError
            When the rows do not fit the schema.
        """
        rows = as_table(rows)
        if isinstance(rows, pd.DataFrame):
            return self.from_named(self._translated(rows.columns), _columns(rows))
        return self.from_records(rows) if are_records(rows) else self.from_positions(rows)

    def from_records(self, records: Sequence[Any]) -> NDArray[Any]:
        """Check a list of {column: value} records, each with all columns, in any order."""
        names = set(self._names)
        rows = [self._values_of(record, names, row) for row, record in enumerate(records)]
        return self._read(self._cut_lists(rows))

    def from_named(self, names: Sequence[str], columns: Columns) -> NDArray[Any]:
        """Check columns that come with their names, in any order."""
        if list(names) == self._names:  # the common case: nothing to look up
            return self._read(columns)
        self.check_names(names)
        by_name = dict(zip(names, columns, strict=True))
        return self._read(list(map(by_name.__getitem__, self._names)))

    def from_positions(self, rows: Any) -> NDArray[Any]:
        """Check rows in the model's order: an array, lists, or a DataFrame of any names."""
        return self._read(self._cut(rows))

    def model_rows(self, matrix: NDArray[Any]) -> pd.DataFrame | NDArray[Any]:
        """Turn a matrix into what the model was fitted on.

        Parameters
        ----------
        matrix : ndarray of shape (n_rows, n_features)
            What :meth:`matrix` returned.

        Returns
        -------
        DataFrame or ndarray of shape (n_rows, n_features)
            A DataFrame with the model's names and dtypes where it was fitted on one, else the
            matrix itself.
        """
        if not self.as_frame:
            return self._with_marks(matrix)
        frame = pd.DataFrame(matrix, columns=list(self.model_names))
        if self.is_of_floats:
            return frame
        columns = enumerate(self.columns)
        typed = pd.DataFrame({i: column.for_model(frame.iloc[:, i]) for i, column in columns})
        typed.columns = frame.columns
        return typed

    def answers(self, matrix: NDArray[Any], ask: Callable[[Any], Any]) -> Any:
        """Ask for an answer to each row, so that no row changes that of another.

        A column of integers or truth values in which one is missing becomes floats, for all rows of
        a call: rows in which others are missing are asked for in calls of their own.

        Parameters
        ----------
        matrix : ndarray of shape (n_rows, n_features)
        ask : callable
            The model: from rows as it takes them to an array with an answer for each.
        """
        groups = self._groups_by_missing(matrix)
        if len(groups) == 1:
            return ask(self.model_rows(matrix))
        answered = [np.asarray(ask(self.model_rows(matrix[group]))) for group in groups]
        return np.concatenate(answered)[np.argsort(np.concatenate(groups))]

    def _groups_by_missing(self, matrix: NDArray[Any]) -> list[Any]:
        """Group rows in which the same columns change their type, for what is missing in them."""
        changing = self._change_with_missing
        if not self.as_frame or not changing:
            return [slice(None)]
        missing = pd.isna(matrix[:, changing])
        patterns, of_row = np.unique(missing, axis=0, return_inverse=True)
        return [np.flatnonzero(of_row == pattern) for pattern in range(len(patterns))]

    @cached_property
    def _change_with_missing(self) -> list[int]:
        return _positions(map(_CHANGES_WITH_MISSING, self.columns))

    def _with_marks(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Return a matrix of objects where columns have marks of missing values of their own."""
        if set(map(_MISSING_MARK, self.columns)) == {"NaN"}:
            return matrix
        rows = matrix.astype(object)
        for i, column in enumerate(self.columns):
            rows[:, i] = column.objects_for_model(matrix[:, i])
        return rows

    def with_texts(self, names: Iterable[str]) -> Schema:
        """Return a schema with columns of any text behind its own, to read cells by.

        A model takes no rows of it.
        """
        texts = [Column(name, "string", np.dtype(object), nullable=True) for name in names]
        return replace(self, columns=(*self.columns, *texts))

    def records(self, matrix: NDArray[Any]) -> list[dict[str, Any]]:
        """Write a matrix as JSON records, which :meth:`from_records` reads back."""
        records = []
        for row in matrix:
            cells = zip(self.columns, row, strict=True)
            records.append({column.name: column.plain(value) for column, value in cells})
        return records

    def new_categories(self, matrix: NDArray[Any]) -> list[list[str]]:
        """Name for each row the columns with a category that the examples did not have.

        Parameters
        ----------
        matrix : ndarray of shape (n_rows, n_features)
            What :meth:`matrix` returned.

        Returns
        -------
        list of list of str
            Empty where no row has one.

        Examples
        --------
        >>> import pandas as pd
        >>> schema = Schema.of(pd.DataFrame({"grade": ["a", "b", "a", "b"]}), None, None)
        >>> schema.new_categories(schema.matrix([["a"], ["c"]]))
        [[], ['grade']]
        >>> schema.new_categories(schema.matrix([["a"]]))
        []
        """
        are_new = np.zeros(matrix.shape, dtype=bool)
        for i in self._can_have_new:
            are_new[:, i] = self.columns[i].are_new(matrix[:, i])
        named = map(list, map(partial(compress, self._names), are_new))
        return list(named) if are_new.any() else []

    @cached_property
    def _can_have_new(self) -> list[int]:
        return _positions(map(_CAN_HAVE_NEW, self.columns))

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the columns as plain values for the manifest."""
        return list(map(Column.to_dict, self.columns))

    def _cut(self, rows: Any) -> Columns:
        """Cut rows into columns, when each row has as many values as there are columns."""
        if isinstance(rows, np.ndarray | pd.DataFrame):
            return self._cut_array(rows)
        if not is_list(rows):
            raise PayloadError(
                "Rows: expected a DataFrame, an array, records or a list of lists, got "
                f"{shown(rows)}."
            )
        return self._cut_lists(rows)

    def _cut_lists(self, rows: Sequence[Any]) -> Sequence[Any]:
        width = len(self.columns)
        expect_each(
            map(partial(is_row_of, width), rows),
            lambda row: f"Row {row}: expected a list of {width} values, got {shown(rows[row])}.",
        )
        return list(zip(*rows, strict=True)) or [()] * width

    def _cut_array(self, rows: NDArray[Any] | pd.DataFrame) -> Columns:
        n_columns = len(self.columns)
        expect(
            rows.shape[1:] == (n_columns,),
            f"Rows: expected an array of shape (n, {n_columns}), got {rows.shape}.",
        )
        return _columns(rows) if isinstance(rows, pd.DataFrame) else rows.T

    def _read(self, columns: Columns) -> NDArray[Any]:
        """Check the values of all columns, in the model's order, and make one matrix of them."""
        expect(len(columns[0]) > 0, "Rows: expected at least one row, got none.")
        numbers = _plain_numbers(self._of_any_number(columns))
        if numbers is None:
            return self._read_singly(columns, range(len(columns)))
        if not self._take_some_values:
            return numbers
        read = self._read_singly(columns, self._take_some_values)
        read[:, self._take_any_number] = numbers
        return read

    def _of_any_number(self, columns: Columns) -> Columns:
        """Return the columns that take any number; all of them as they are."""
        if not self._take_some_values:
            return columns
        return list(map(columns.__getitem__, self._take_any_number))

    def _read_singly(self, columns: Columns, positions: Iterable[int]) -> NDArray[Any]:
        """Read some of the columns one by one; the others of the matrix stay empty."""
        dtype = np.float64 if self.is_numeric else object
        read = np.empty((len(columns[0]), len(columns)), dtype=dtype)
        for i in positions:
            read[:, i] = self.columns[i].read(columns[i])
        return read

    @cached_property
    def _take_any_number(self) -> list[int]:
        return _positions(map(_TAKES_ANY_NUMBER, self.columns))

    @cached_property
    def _take_some_values(self) -> list[int]:
        return _positions(map(not_, map(_TAKES_ANY_NUMBER, self.columns)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of a pickle what can be made again."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def _translated(self, labels: pd.Index[Any]) -> list[str]:
        """Turn a DataFrame's labels into column names; they may be the model's own names."""
        names = list(map(str, labels.tolist()))
        if set(names) != self._by_model_name.keys():
            return names
        return list(map(self._by_model_name.__getitem__, names))

    @cached_property
    def _by_model_name(self) -> dict[str, str]:
        return dict(zip(map(str, self.model_names), self._names, strict=True))

    def _values_of(self, record: Any, names: set[str], row: int) -> list[Any]:
        """Return the values of a record in the model's order."""
        if not isinstance(record, Mapping):
            raise PayloadError(f"Row {row}: expected a record like row 0, got {shown(record)}.")
        if record.keys() != names:  # only then is there something to list
            came = list(map(str, record))
            self.check_names(came, where=f"Row {row}: ")
            record = dict(zip(came, record.values(), strict=True))
        return list(map(record.__getitem__, self._names))

    def check_names(self, names: Sequence[str], where: str = "") -> None:
        """Refuse names that are not those of the columns, each once.

        Parameters
        ----------
        names : sequence of str
        where : str, optional
            What a refusal begins with.

        Raises
        ------
        PayloadError
            Naming what is missing, unknown or comes more often.
        """
        own, came = set(self._names), set(names)
        missing = _named("missing ", list(filterfalse(came.__contains__, self._names)))
        unknown = _named("unknown ", list(filterfalse(own.__contains__, names)))
        wrong = " and ".join(filter(None, [missing, unknown]))
        expect(not wrong, f"{where}Expected the model's own columns, but {wrong}.")
        twice = _named("", sorted(repeated(names)))
        expect(not twice, f"{where}Expected each column once, but {twice} came more often.")


_NAME, _DTYPE, _MATRIX_DTYPE = map(attrgetter, ("name", "dtype", "matrix_dtype"))
_MISSING_MARK, _CHANGES_WITH_MISSING = map(attrgetter, ("missing_mark", "changes_with_missing"))
_TAKES_ANY_NUMBER = attrgetter("takes_any_number")
_CAN_HAVE_NEW = attrgetter("can_have_new")
_FLOATS = frozenset("efdg")  # as NumPy calls its own; pandas' types have no such name
_NUMBERS = frozenset((float, int))  # and no bool, which is an int to isinstance


def read_table(
    examples: Any, names: Sequence[str] | None, model: Any
) -> tuple[Schema, Any, NDArray[Any]]:
    """Make a table of examples, record its schema, and read it by that.

    Parameters
    ----------
    examples : object
        What :func:`service.rows.tables.examples_as_table` takes.
    names : sequence of str or None
        Feature names, as in :meth:`Schema.of`.
    model : object
        Asked whether it was fitted on a DataFrame.

    Returns
    -------
    schema : Schema
    table : DataFrame or array-like of shape (n_examples, n_features)
    matrix : ndarray of shape (n_examples, n_features)

    Raises
    ------
    ValueError
        When they are no non-empty table, or the names do not fit it.

    Examples
    --------
    >>> schema, table, matrix = read_table([{"age": 49, "zip": "02139"}], None, model=None)
    >>> schema.names, matrix.tolist()
    (['age', 'zip'], [[49.0, '02139']])
    """
    table = examples_as_table(examples)
    schema = Schema.of(table, names, model)
    matrix = schema.from_positions(table)
    return schema, table, matrix


def _plain_numbers(columns: Columns) -> NDArray[np.float64] | None:
    """Read columns of nothing but finite numbers at once, which is what most requests send."""
    if not all(map(_holds_numbers, _together(columns))):
        return None
    try:
        read = np.array(columns, dtype=np.float64).T
    except OverflowError:  # an integer of more than 308 digits; by itself it is refused
        return None
    are_finite = np.count_nonzero(np.isfinite(read)) == read.size
    return np.ascontiguousarray(read) if are_finite else None


@singledispatch
def _together(columns: Any) -> Iterable[Any]:
    """Return the values of columns of one form together: one look at them takes least."""
    are_lists = {list, tuple}.issuperset(map(type, columns))
    return [list(chain.from_iterable(columns))] if are_lists else columns


@_together.register
def _(columns: np.ndarray) -> list[NDArray[Any]]:
    return [columns]


def _holds_numbers(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return _is_float(values.dtype)
    return isinstance(values, list | tuple) and _NUMBERS.issuperset(map(type, values))


def _positions(have_it: Iterable[bool]) -> list[int]:
    """Return where something is true."""
    return np.flatnonzero(list(have_it)).tolist()


def is_row_of(width: int, values: Any) -> bool:
    """Tell whether something is a list of so many values."""
    return isinstance(values, (list, tuple, np.ndarray)) and len(values) == width


def _are_numeric(columns: Iterable[Column]) -> bool:
    return set(map(_MATRIX_DTYPE, columns)) <= {np.float64}


def _tables(examples: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make a table of the examples, and one in which what is missing has the marks that it had."""
    if isinstance(examples, pd.DataFrame):
        return examples, examples
    array = _array(examples)
    # An array of numbers and text has become text all over; pandas keeps the type of each column of
    # a list.
    is_mixed = isinstance(examples, Sequence) and array.dtype.kind in "OSU"
    table = pd.DataFrame(list(examples) if is_mixed else array)
    objects = pd.DataFrame(array, dtype=object) if array.dtype == object else table
    return table, objects


def _array(examples: Any) -> NDArray[Any]:
    try:
        array = np.asarray(examples)
    except ValueError:
        raise ValueError(
            "initialization_examples: expected a table, got rows of different lengths."
        ) from None
    expect(
        array.ndim == 2,
        f"initialization_examples: expected a DataFrame or a 2-D array, got shape {array.shape}.",
        ValueError,
    )
    return array


def _labels_of_array(
    table: pd.DataFrame, names: Sequence[str] | None, model: Any
) -> tuple[Hashable, ...]:
    """Return what the model was fitted on, for an array; else the names given, else 0, 1, …."""
    fitted_on = getattr(model, "feature_names_in_", None)
    if fitted_on is None:
        return tuple(names if names is not None else table.columns)
    expect(
        len(fitted_on) == table.shape[1],
        f"initialization_examples: expected the {len(fitted_on)} columns that "
        f"{type(model).__name__} was fitted on, got {table.shape[1]}.",
        ValueError,
    )
    return tuple(fitted_on)


def _chosen_names(
    names: Sequence[str] | None, labels: Sequence[Hashable], n_columns: int
) -> list[str]:
    own = list(map(str, labels))
    chosen = own if names is None else list(map(str, names))
    n_names, n_different = len(chosen), len(set(chosen))
    twice = _named("; more than once came the ", repeated(chosen))
    expect(
        n_different == n_names == n_columns,
        f"features: expected {n_columns} different names, one for each column of the examples, got "
        f"{n_different} different ones in {n_names}{twice}.",
        ValueError,
    )
    for name, label in zip(chosen, own, strict=True):
        is_in_place = name == label
        expect(
            is_in_place or name not in own,  # else which column would a DataFrame mean?
            f"features: expected new names, or the model's own in their places, got {name!r} for "
            f"the column that the model calls {label!r}; reorder the columns of the examples "
            "instead.",
            ValueError,
        )
    return chosen


def _takes_frames(model: Any, examples_are_frame: bool, columns: Sequence[Column]) -> bool:
    """Ask a scikit-learn model what it was fitted on; of others believe the examples' form."""
    if getattr(model, "feature_names_in_", None) is not None:
        return True
    takes_numbers = _are_numeric(columns) and hasattr(model, "n_features_in_")
    return examples_are_frame and not takes_numbers


def _named(what: str, names: Sequence[str]) -> str:
    """Name columns in a sentence, the first ten of many; "" for none."""
    if not names:
        return ""
    plural = "s" * (len(names) > 1)
    n_more = len(names) - 10
    more = f" and {n_more} more" * (n_more > 0)
    return f"{what}column{plural} {', '.join(map(shown, names[:10]))}{more}"


def _columns(frame: pd.DataFrame) -> Columns:
    """Cut a DataFrame into arrays, floats as float64 and everything else as objects.

    All at once is the quickest way. One row of several types is quicker value by value, unless a
    common type of its numbers might round some.
    """
    if is_one_array(frame) or all(map(_is_float, frame.dtypes)):
        return frame.to_numpy(dtype=np.float64).T
    if len(frame) == 1 and frame.iloc[0].dtype == object:
        return list(zip(map(without_numpy, frame.iloc[0])))
    columns = list(frame.to_numpy(dtype=object).T)
    for i in np.flatnonzero(list(map(_is_float, frame.dtypes))):
        columns[i] = columns[i].astype(np.float64)
    return columns


def _is_float(dtype: Any) -> bool:
    return getattr(dtype, "char", "?") in _FLOATS
