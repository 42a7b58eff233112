"""Fitted preprocessing as plain arrays, which makes a single row quick.

What a row costs is otherwise mostly a DataFrame and its checks. A compiled encoder takes the
schema's matrix to the columns that a model's last step sees, without pandas and scikit-learn. Which
steps have a compiled form is one explicit table. The result is compared with the fitted steps on
the examples and on hybrid rows of them (:func:`compile_encoder`); what differs, or is not in the
table, keeps the fitted steps (:class:`FittedEncoding`). Next: :mod:`service.engines.builders`.

| step                                       | compiled form                                       |
|--------------------------------------------|-----------------------------------------------------|
| StandardScaler, RobustScaler, MaxAbsScaler | a difference and a quotient                         |
| MinMaxScaler                               | a product, a sum, and the limits where it clips     |
| SimpleImputer                              | what to put in, and which columns have indicators   |
| OneHotEncoder, OrdinalEncoder              | a dictionary for each column, asked of the encoder  |
| KBinsDiscretizer                           | the edges, then codes or ones                       |
| FunctionTransformer                        | a function of NumPy's, of each number               |
| feature selection                          | the columns kept                                    |
| ColumnTransformer, FeatureUnion, Pipeline  | the blocks next to each other, the steps in turn    |
| everything else, as power and quantile     | none                                                |
| transforms                                 |                                                     |
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import filterfalse
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.rows.schema import Schema
from service.shapley.background import spread_out
from service.structures.class_names import sklearn_name
from service.structures.encoders import (
    SELECTIONS,
    Encoder,
    blocks_of,
    branches_of,
    is_elementwise,
    raw_columns,
    steps_of,
)

N_COMPARED_ROWS = 4_000
MOST_COMPARED = 8_000_000  # encoded numbers
LARGEST_DIFFERENCE = 1e-12  # relative to the largest encoded value of the column
Step = Callable[[NDArray[Any]], NDArray[Any]]
Floats = NDArray[np.float64]
# What compares and hashes alike in Python and in numpy.
PLAIN = (str, int, float, np.integer, np.floating, np.bool_)


@dataclass(frozen=True)
class FittedEncoding:
    """The fitted steps themselves, from the schema's matrix to what a model's last step sees."""

    schema: Schema
    encoder: Encoder

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Encode rows, (n_rows, n_features) to (n_rows, n_columns)."""
        return np.asarray(self.schema.answers(rows, self.encoder))


@dataclass(frozen=True)
class CompiledEncoder:
    """Steps on plain arrays, one after another; none of them for the identity."""

    steps: tuple[Step, ...]

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Encode rows of the schema's matrix, (n_rows, n_features) to (n_rows, n_columns)."""
        for step in self.steps:
            rows = step(rows)
        return np.ascontiguousarray(rows, dtype=np.float64)


@dataclass(frozen=True)
class Selected:
    """Some of the columns, in an order of their own."""

    columns: NDArray[np.intp] | slice

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Take the columns."""
        return rows[:, self.columns]


@dataclass(frozen=True)
class Applied:
    """A function of NumPy's, of each number."""

    function: np.ufunc

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Apply it to all."""
        applied: Floats = self.function(np.asarray(rows, dtype=np.float64))
        return applied


@dataclass(frozen=True)
class Scaled:
    """Numbers less a centre, over a scale."""

    centre: Floats
    scale: Floats

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Scale the columns."""
        return (np.asarray(rows, dtype=np.float64) - self.centre) / self.scale


@dataclass(frozen=True)
class Stretched:
    """Numbers times a factor, plus an offset, between limits."""

    factor: Floats
    offset: Floats
    limits: tuple[float, float]

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Stretch the columns."""
        return np.clip(np.asarray(rows, dtype=np.float64) * self.factor + self.offset, *self.limits)


@dataclass(frozen=True)
class Imputed:
    """Columns without missing values, and then the indicators of some of them.

    Attributes
    ----------
    statistics : ndarray of shape (n_inputs,)
        What is put in.
    kept, indicators : ndarray of int
    """

    statistics: NDArray[Any]
    kept: NDArray[np.intp]
    indicators: NDArray[np.intp]

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Put something in where a value is missing."""
        rows = np.asarray(rows, dtype=self.statistics.dtype)
        missing = _is_missing(rows)
        filled = np.where(missing, self.statistics, rows)[:, self.kept]
        if not len(self.indicators):
            return filled
        return np.hstack([filled, missing[:, self.indicators]])


@dataclass(frozen=True)
class LookedUp:
    """Categories replaced by numbers, column by column.

    Attributes
    ----------
    tables : tuple of dict
        For each column, the position of each category in its codes. A missing value has the key
        None.
    codes : tuple of ndarray of shape (n_categories + 1, n_codes)
        What each category becomes. The last is for one that is not in the table.
    refuses : bool
        True when there is nothing for a category that is not in the table.
    """

    tables: tuple[dict[Any, int], ...]
    codes: tuple[Floats, ...]
    refuses: bool

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Look every value up.

        Raises
        ------
        ValueError
            When a category is unknown, and the encoder was fitted to refuse those.
        """
        encoded = []
        for values, table, codes in zip(rows.T.tolist(), self.tables, self.codes, strict=True):
            positions = [table.get(_make_key(value), len(table)) for value in values]
            if self.refuses and len(table) in positions:
                value = values[positions.index(len(table))]
                raise ValueError(f"Unknown category {value!r}: the model's encoder refuses it.")
            encoded.append(codes[positions])
        return np.hstack(encoded)


@dataclass(frozen=True)
class Binned:
    """Numbers replaced by the codes of the bin in which they lie.

    Attributes
    ----------
    edges : tuple of ndarray
        Between the bins of each column.
    codes : tuple of ndarray of shape (n_bins, n_codes)
        What each bin of a column becomes.
    """

    edges: tuple[Floats, ...]
    codes: tuple[Floats, ...]

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Find the bins."""
        columns = np.asarray(rows, dtype=np.float64).T
        encoded = []
        for values, edges, codes in zip(columns, self.edges, self.codes, strict=True):
            bins = np.searchsorted(edges, values, side="right")
            encoded.append(codes[bins])
        return np.hstack(encoded)


@dataclass(frozen=True)
class Blocks:
    """Encodings of some columns each, next to each other."""

    blocks: tuple[Step, ...]

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Encode every block."""
        return np.hstack([block(rows) for block in self.blocks])


def compile_encoder(
    encoder: Encoder, names: Sequence[str], schema: Schema, examples: NDArray[Any]
) -> CompiledEncoder | None:
    """Compile an encoder, and compare it with the fitted steps.

    Parameters
    ----------
    encoder : Encoder
    names : sequence of str
        The raw columns, as in :func:`service.structures.encoders.split_model`.
    schema : Schema
    examples : ndarray of shape (n_examples, n_features)
        The schema's matrix: rows to compare on, with the missing values that may come.

    Returns
    -------
    CompiledEncoder or None
        None when a step has no compiled form, or when the numbers differ.
    """
    if not encoder.steps:
        return CompiledEncoder(())
    steps = _compile_steps(encoder.steps)
    if steps is None:
        return None
    raw = raw_columns(encoder.steps[0], len(names), names)
    if not np.array_equal(raw, np.arange(len(names))):
        steps = (Selected(raw), *steps)
    compiled = CompiledEncoder(steps)
    n_compared = max(1, min(N_COMPARED_ROWS, MOST_COMPARED // len(encoder.owner)))
    rows = _rows_to_compare(schema, spread_out(examples, n_compared))
    is_same = _agree(compiled(rows), encoder(schema.model_rows(rows)))
    return compiled if is_same else None


def _rows_to_compare(schema: Schema, examples: NDArray[Any]) -> NDArray[Any]:
    """Return the examples, and hybrid rows of them with values missing where they may."""
    rng = np.random.default_rng(0)
    hybrids = rng.permuted(examples, axis=0)
    nullable = np.array([column.nullable for column in schema.columns])
    hybrids[nullable & (rng.random(hybrids.shape) < 0.1)] = np.nan
    return np.concatenate([examples, hybrids])


def _agree(compiled: Floats, fitted: Floats) -> bool:
    if compiled.shape != fitted.shape or not np.array_equal(np.isnan(compiled), np.isnan(fitted)):
        return False
    difference = np.abs(np.nan_to_num(compiled - fitted)).max(axis=0)
    return bool(
        (difference <= LARGEST_DIFFERENCE * np.abs(np.nan_to_num(fitted)).max(axis=0)).all()
    )


def _compile_steps(steps: Sequence[Any]) -> tuple[Step, ...] | None:
    """Compile several steps; None when one of them has no compiled form."""
    found = []
    for step in steps:
        compile_step = FORMS.get(sklearn_name(step), _compile_nothing)
        compiled = compile_step(step)
        if compiled is None:
            return None
        found.append(compiled)
    return tuple(found)


def _compile_nothing(step: Any) -> None:
    """Compile nothing: the step is not in the table."""


# One function for each kind of step: fitted step -> its compiled form, None if there is none.


def _compile_scaler(scaler: Any) -> Step:
    centre = getattr(scaler, "center_", None)
    if getattr(scaler, "with_mean", False):
        centre = scaler.mean_
    n_columns = scaler.n_features_in_
    return Scaled(_fill(centre, 0.0, n_columns), _fill(scaler.scale_, 1.0, n_columns))


def _fill(values: Any, constant: float, n_columns: int) -> Floats:
    """Return one number for each column, the constant where there are no values."""
    return np.full(n_columns, constant if values is None else values, dtype=np.float64)


def _compile_min_max(scaler: Any) -> Step:
    limits = scaler.feature_range if scaler.clip else (-np.inf, np.inf)
    return Stretched(np.asarray(scaler.scale_), np.asarray(scaler.min_), limits)


def _compile_function(transformer: Any) -> Step | None:
    if transformer.func is None:
        return Selected(slice(None))
    return Applied(transformer.func) if is_elementwise(transformer.func) else None


def _compile_imputer(imputer: Any) -> Step | None:
    statistics = imputer.statistics_
    if not _is_nan(imputer.missing_values) or statistics.dtype.kind not in "fO":
        return None
    kept = np.arange(len(statistics))
    if not imputer.keep_empty_features:
        kept = kept[~_is_missing(statistics)]
    indicators = np.arange(0)
    if imputer.add_indicator:
        indicators = imputer.indicator_.features_
    return Imputed(statistics, kept, indicators)


def _is_nan(marker: Any) -> bool:
    return isinstance(marker, float) and bool(np.isnan(marker))


def _is_missing(value: Any) -> Any:
    """Tell whether a value, or each of an array, is NaN: what is missing differs from itself."""
    return value != value  # noqa: PLR0124


def _make_key(value: Any) -> Any:
    """Return a category as it stands in a table: None for a missing value."""
    return None if value != value else value  # noqa: PLR0124


def _compile_categories(encoder: Any) -> Step | None:
    """Ask the encoder what each of its categories becomes, and what an unknown one becomes."""
    known = list(map(list, encoder.categories_))
    if not all(map(_are_plain, known)):
        return None
    refuses = encoder.handle_unknown == "error"
    # Where unknown ones are refused, their code is never looked up: a known one stands in.
    other = _take_first if refuses else _make_unknown
    asked = [[*categories, other(categories)] for categories in known]
    codes = _ask_encoder(encoder, asked)
    return LookedUp(tuple(map(_number_categories, known)), tuple(codes), refuses)


def _take_first(categories: Sequence[Any]) -> Any:
    return categories[0]


def _are_plain(categories: Sequence[Any]) -> bool:
    return all(isinstance(value, PLAIN) for value in categories)


def _number_categories(categories: Sequence[Any]) -> dict[Any, int]:
    return {_make_key(value): position for position, value in enumerate(categories)}


def _make_unknown(categories: Sequence[Any]) -> Any:
    """Return a value of the categories' type that is none of them."""
    if any(isinstance(value, str) for value in categories):
        return "".join(map(str, categories)) + "?"
    return max(filterfalse(_is_missing, categories), default=0) + 1


def _ask_encoder(encoder: Any, asked: Sequence[Sequence[Any]]) -> list[Floats]:
    """Encode columns of different lengths; one array of codes for each."""
    longest = max(map(len, asked))
    columns = {}
    for column, values in enumerate(asked):
        # Shorter columns are filled up with their first category, and the answers cut again.
        filling = [values[0]] * (longest - len(values))
        # Numbers among objects stay objects, which the encoder compares with its own.
        dtype = {"O": object}.get(encoder.categories_[column].dtype.kind)
        columns[column] = pd.Series([*values, *filling], dtype=dtype)
    frame = pd.DataFrame(columns)
    frame = frame.set_axis(getattr(encoder, "feature_names_in_", frame.columns), axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are unknown categories
        encoded = encoder.transform(frame)
    dense = encoded.toarray() if hasattr(encoded, "toarray") else encoded
    widths = getattr(encoder, "_n_features_outs", np.ones(len(asked), dtype=int))
    blocks = np.split(np.asarray(dense, dtype=np.float64), np.cumsum(widths)[:-1], axis=1)
    return [block[: len(values)] for block, values in zip(blocks, asked, strict=True)]


def _compile_bins(discretizer: Any) -> Step:
    is_ordinal = discretizer.encode == "ordinal"
    edges, codes = [], []
    for all_edges in discretizer.bin_edges_:
        inner = np.asarray(all_edges[1:-1], dtype=np.float64)
        n_bins = len(inner) + 1
        edges.append(inner)
        codes.append(np.arange(n_bins, dtype=np.float64)[:, None] if is_ordinal else np.eye(n_bins))
    return Binned(tuple(edges), tuple(codes))


def _compile_selection(selector: Any) -> Step:
    return Selected(selector.get_support(indices=True))


def _compile_columns(transformer: Any) -> Step | None:
    if transformer.transformer_weights:
        return None
    blocks = []
    for _, inner, columns in blocks_of(transformer):
        steps = _compile_steps(list(steps_of(inner)))
        if steps is None:
            return None
        blocks.append(CompiledEncoder((Selected(columns), *steps)))
    return Blocks(tuple(blocks))


def _compile_union(union: Any) -> Step | None:
    if union.transformer_weights:
        return None
    blocks = []
    for branch in branches_of(union):
        steps = _compile_steps(list(steps_of(branch)))
        if steps is None:
            return None
        blocks.append(CompiledEncoder(steps))
    return Blocks(tuple(blocks))


FORMS: dict[str, Callable[[Any], Step | None]] = {
    "MaxAbsScaler": _compile_scaler,
    "MinMaxScaler": _compile_min_max,
    "RobustScaler": _compile_scaler,
    "StandardScaler": _compile_scaler,
    "FunctionTransformer": _compile_function,
    "SimpleImputer": _compile_imputer,
    "OneHotEncoder": _compile_categories,
    "OrdinalEncoder": _compile_categories,
    "KBinsDiscretizer": _compile_bins,
    **dict.fromkeys(SELECTIONS, _compile_selection),
    "ColumnTransformer": _compile_columns,
    "FeatureUnion": _compile_union,
}
