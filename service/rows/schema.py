"""What a row looks like: the columns recorded from the examples, and the check of every row against
them.

Inside, rows are one matrix: float64 when every column is a number, an integer or a boolean, object
otherwise. The schema turns what callers bring (a DataFrame, an array, lists, columns by name) into
that matrix, and the matrix back into the form in which the model was fitted. Next:
:mod:`service.rows.json_rows`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.errors import PayloadError
from service.rows.columns import NUMERIC_KINDS, Column, is_frame, shown

if (
    TYPE_CHECKING
):  # pandas is imported where a DataFrame is made, so that scoring of plain rows never loads it
    import pandas as pd


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
        came_as_frame = is_frame(examples)
        table = _table(examples)
        labels = tuple(table.columns) if came_as_frame else _labels_of_array(table, names, model)
        chosen = _chosen_names(names, labels, table.shape[1])
        columns = tuple(Column.of(table.iloc[:, i], name) for i, name in enumerate(chosen))
        return cls(columns, _takes_frames(model, came_as_frame, columns), labels)

    @property
    def names(self) -> list[str]:
        """The column names, in the model's order."""
        return [column.name for column in self.columns]

    @cached_property
    def is_numeric(self) -> bool:
        """True when every column is a number, so that the matrix is float64."""
        return all(column.kind in NUMERIC_KINDS for column in self.columns)

    def matrix(self, rows: Any) -> NDArray[Any]:
        """Check rows and return them as one matrix.

        Parameters
        ----------
        rows : DataFrame, array of shape (n_rows, n_features), list of records, or list of lists
            A DataFrame and records are matched by column name, arrays and lists by position. A
            DataFrame may have the model's own names too.

        Returns
        -------
        ndarray of shape (n_rows, n_features)

        Raises
        ------
        PayloadError
            When the rows do not fit the schema.
        """
        if is_frame(rows):
            return self.from_named(self._translated(rows.columns), _columns(rows))
        if (
            isinstance(rows, Sequence)
            and not isinstance(rows, str)
            and rows
            and isinstance(rows[0], Mapping)
        ):
            return self.from_records(rows)
        return self.from_positions(rows)

    def from_records(self, records: Sequence[Any]) -> NDArray[Any]:
        """Check a list of {column: value} records, each with the same columns."""
        names = set(self.names)
        checked = [self._record(record, names, row) for row, record in enumerate(records)]
        return self._read([[record[column.name] for record in checked] for column in self.columns])

    def from_named(
        self, names: Sequence[str], columns: Sequence[Sequence[Any] | NDArray[Any]]
    ) -> NDArray[Any]:
        """Check columns that come with their names, in any order."""
        self._check_names(names)
        by_name = dict(zip(names, columns, strict=True))
        return self._read([by_name[column.name] for column in self.columns])

    def from_positions(self, rows: Any) -> NDArray[Any]:
        """Check rows whose columns are in the model's order: an array, a list of lists, a DataFrame
        of any names.
        """
        return self._read(self._cut(rows))

    def model_rows(self, matrix: NDArray[Any]) -> pd.DataFrame | NDArray[Any]:
        """Turn the matrix into what the model was fitted on: a DataFrame with its names and dtypes,
        or the matrix.
        """
        if not self.as_frame:
            return matrix
        import pandas as pd

        frame = pd.DataFrame(matrix, columns=list(self.model_names))
        if all(column.dtype == "float64" for column in self.columns):
            return frame
        by_label = zip(self.model_names, self.columns, strict=True)
        return pd.DataFrame({label: column.for_model(frame[label]) for label, column in by_label})

    def records(self, matrix: NDArray[Any]) -> list[dict[str, Any]]:
        """Write a matrix as JSON records, which :meth:`from_records` reads back."""
        return [
            {
                column.name: column.plain(value)
                for column, value in zip(self.columns, row, strict=True)
            }
            for row in matrix
        ]

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the columns as plain values for the manifest."""
        return [asdict(column) for column in self.columns]

    def _cut(self, rows: Any) -> Sequence[Any]:
        """Cut rows into columns, when each row has as many values as there are columns."""
        n_columns = len(self.columns)
        if isinstance(rows, np.ndarray) or is_frame(rows):
            if rows.ndim != 2 or rows.shape[1] != n_columns:
                raise PayloadError(
                    f"Rows: expected an array of shape (n, {n_columns}), got {rows.shape}."
                )
            return _columns(rows) if is_frame(rows) else list(rows.T)
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise PayloadError(
                f"Rows: expected a DataFrame, an array, records or a list of lists, got {shown(rows)}."
            )
        for row, values in enumerate(rows):
            if not isinstance(values, list | tuple | np.ndarray) or len(values) != n_columns:
                raise PayloadError(
                    f"Row {row}: expected a list of {n_columns} values, got {shown(values)}."
                )
        return list(zip(*rows, strict=True)) if len(rows) else [()] * n_columns

    def _read(self, columns: Sequence[Any]) -> NDArray[Any]:
        """Check the values of each column, in the model's order, and put them next to each
        other.
        """
        if not columns or len(columns[0]) == 0:
            raise PayloadError("Rows: expected at least one row, got none.")
        at_once = self._take_any_number
        numbers = self._plain_numbers([columns[i] for i in at_once])
        if numbers is not None and len(at_once) == len(columns):
            return numbers
        read = np.empty(
            (len(columns[0]), len(columns)), dtype=np.float64 if self.is_numeric else object
        )
        if numbers is not None:
            read[:, at_once] = numbers
        for i in range(len(columns)) if numbers is None else self._take_some_values:
            read[:, i] = self.columns[i].read(columns[i])
        return read

    def _plain_numbers(self, columns: Sequence[Any]) -> NDArray[np.float64] | None:
        """Read nothing but finite numbers at once: what most requests send, in columns that take
        any of them.
        """
        if not columns or not all(map(_holds_numbers, columns)):
            return None
        try:
            read = np.array(columns, dtype=np.float64).T
        except (
            OverflowError
        ):  # an integer of more than 308 digits; read singly it is refused with its place
            return None
        return np.ascontiguousarray(read) if np.isfinite(read).all() else None

    @cached_property
    def _take_any_number(self) -> list[int]:
        return [i for i, column in enumerate(self.columns) if column.takes_any_number]

    @cached_property
    def _take_some_values(self) -> list[int]:
        return [i for i, column in enumerate(self.columns) if not column.takes_any_number]

    def _translated(self, labels: Sequence[Any] | pd.Index[Any]) -> list[str]:
        """Turn a DataFrame's labels into column names, from the model's own names where it has
        those.
        """
        names = [str(label) for label in labels]
        by_model = dict(zip(map(str, self.model_names), self.names, strict=True))
        return [by_model[name] for name in names] if set(names) == set(by_model) else names

    def _record(self, record: Any, names: set[str], row: int) -> Mapping[str, Any]:
        if not isinstance(record, Mapping):
            raise PayloadError(f"Row {row}: expected a record like row 0, got {shown(record)}.")
        if record.keys() == names:  # the common case: nothing to list
            return record
        self._check_names([str(name) for name in record], where=f"Row {row}: ")
        return {str(name): value for name, value in record.items()}

    def _check_names(self, names: Sequence[str], where: str = "") -> None:
        own, came = set(self.names), set(names)
        missing = [name for name in self.names if name not in came]
        unknown = [name for name in names if name not in own]
        if missing or unknown:
            wrong = [f"missing {_named(missing)}"] * bool(missing) + [
                f"unknown {_named(unknown)}"
            ] * bool(unknown)
            raise PayloadError(
                f"{where}Expected the model's own columns, but {' and '.join(wrong)}."
            )
        if len(came) != len(names):
            twice = sorted(name for name, count in Counter(names).items() if count > 1)
            raise PayloadError(
                f"{where}Expected each column once, but {_named(twice)} came more often."
            )


_NUMBERS = frozenset((float, int))  # and no bool, which is an int to isinstance


def _holds_numbers(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return values.dtype.kind == "f"
    return isinstance(values, list | tuple) and _NUMBERS.issuperset(map(type, values))


def _table(examples: Any) -> pd.DataFrame:
    table = examples if is_frame(examples) else _frame(examples)
    if 0 in table.shape:
        raise ValueError(
            f"initialization_examples: expected at least one row and column, got {table.shape}."
        )
    return table


def _frame(examples: Any) -> pd.DataFrame:
    import pandas as pd

    try:
        array = np.asarray(examples)
    except ValueError:
        raise ValueError(
            "initialization_examples: expected a table, got rows of different lengths."
        ) from None
    if array.ndim != 2:
        raise ValueError(
            f"initialization_examples: expected a DataFrame or a 2-D array, got shape {array.shape}."
        )
    # An array of numbers and text has become text all over; pandas keeps the type of each column of
    # a list.
    is_mixed = isinstance(examples, Sequence) and array.dtype.kind in "OSU"
    return pd.DataFrame(list(examples) if is_mixed else array)


def _labels_of_array(
    table: pd.DataFrame, names: Sequence[str] | None, model: Any
) -> tuple[Hashable, ...]:
    """Find what the model calls the columns of an array: what it was fitted on, else the names
    given, else 0, 1, ….
    """
    fitted_on = getattr(model, "feature_names_in_", None)
    if fitted_on is None:
        return tuple(names if names is not None else table.columns)
    if len(fitted_on) != table.shape[1]:
        raise ValueError(
            f"initialization_examples: expected the {len(fitted_on)} columns that {type(model).__name__} was fitted "
            f"on, got {table.shape[1]}."
        )
    return tuple(fitted_on)


def _chosen_names(
    names: Sequence[str] | None, labels: Sequence[Hashable], n_columns: int
) -> list[str]:
    own = [str(label) for label in labels]
    chosen = own if names is None else [str(name) for name in names]
    if len(chosen) != n_columns or len(set(chosen)) != len(chosen):
        raise ValueError(
            f"features: expected {n_columns} different names, one for each column of the examples, "
            f"got {len(set(chosen))} different ones in {len(chosen)}."
        )
    taken = next(
        (pair for pair in zip(chosen, own, strict=True) if pair[0] != pair[1] and pair[0] in own),
        None,
    )
    if taken is not None:  # which column would a DataFrame mean?
        raise ValueError(
            f"features: expected new names, or the model's own in their places, got {taken[0]!r} for the column that "
            f"the model calls {taken[1]!r}; reorder the columns of the examples instead."
        )
    return chosen


def _takes_frames(model: Any, examples_are_frame: bool, columns: Sequence[Column]) -> bool:
    """Ask a scikit-learn model what it was fitted on; of other models believe what the examples
    look like.
    """
    if getattr(model, "feature_names_in_", None) is not None:
        return True
    numeric = all(column.kind in NUMERIC_KINDS for column in columns)
    return examples_are_frame and not (numeric and hasattr(model, "n_features_in_"))


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(map(shown, names[:10])) + (
        f" and {len(names) - 10} more" if len(names) > 10 else ""
    )
    return f"column{'s' if len(names) > 1 else ''} {listed}"


def _columns(frame: pd.DataFrame) -> Sequence[Sequence[Any] | NDArray[Any]]:
    """Cut a DataFrame into arrays, floats as float64 and everything else as objects; all at once,
    the quickest way.
    """
    row = frame.iloc[0] if len(frame) == 1 else None
    if (
        row is not None and row.dtype == object
    ):  # every value as it is; a common type of numbers might round some
        return [
            [float(value) if isinstance(value, np.floating) else value] for value in row.to_numpy()
        ]
    are_floats = [isinstance(dtype, np.dtype) and dtype.kind == "f" for dtype in frame.dtypes]
    if all(are_floats):
        return list(frame.to_numpy(dtype=np.float64).T)
    columns = zip(frame.to_numpy(dtype=object).T, are_floats, strict=True)
    return [values.astype(np.float64) if is_float else values for values, is_float in columns]
