"""Fitted preprocessing as plain arrays: what a single row costs is otherwise mostly a DataFrame and
its checks.

A compiled encoder takes the schema's matrix to the columns that a model's last step sees, without
pandas and scikit-learn. Which steps have a compiled form is one explicit table. The result is
compared with the fitted steps on the examples and on hybrid rows of them
(:func:`compiled_encoder`); what differs, or is not in the table, keeps the fitted steps. Next:
:mod:`service.engines.choice`.

| step                                            | compiled form                                                   |
|-------------------------------------------------|-----------------------------------------------------------------|
| StandardScaler, RobustScaler, MaxAbsScaler      | a difference and a quotient                                     |
| MinMaxScaler                                    | a product, a sum, and the limits where it clips                 |
| SimpleImputer                                   | what to put in, and which columns have indicators               |
| OneHotEncoder, OrdinalEncoder                   | a dictionary for each column, asked of the encoder itself       |
| KBinsDiscretizer                                | the edges, then codes or ones                                   |
| feature selection                               | the columns kept                                                |
| ColumnTransformer, Pipeline                     | the blocks next to each other, the steps one after another      |
| everything else: power and quantile transforms  | none                                                            |
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.rows.schema import Schema
from service.shapley.background import spread_out
from service.structures.class_names import sklearn_name
from service.structures.encoders import (
    SELECTIONS,
    Encoder,
    column_positions,
    is_word,
    raw_columns,
    steps_of,
)

N_COMPARED_ROWS = 4_000
AGREEMENT = 1e-12  # relative to the largest encoded value of the column
Step = Callable[[NDArray[Any]], NDArray[Any]]
Floats = NDArray[np.float64]


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
        missing = rows != rows
        filled = np.where(missing, self.statistics, rows)[:, self.kept]
        return np.hstack([filled, missing[:, self.indicators]]) if len(self.indicators) else filled


@dataclass(frozen=True)
class LookedUp:
    """Categories replaced by numbers, column by column.

    Attributes
    ----------
    tables : tuple of dict
        For each column, the position of each category in its codes; a missing value has the key
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
        by_column = zip(rows.T.tolist(), self.tables, self.codes, strict=True)
        return np.hstack(
            [codes[self._positions(values, table)] for values, table, codes in by_column]
        )

    def _positions(self, values: list[Any], table: dict[Any, int]) -> list[int]:
        unknown = len(table)
        found = [table.get(value if value == value else None, unknown) for value in values]
        if self.refuses and unknown in found:
            raise ValueError(
                f"Unknown category {values[found.index(unknown)]!r}: the model's encoder refuses it."
            )
        return found


@dataclass(frozen=True)
class Binned:
    """Numbers replaced by the bin in which they lie.

    Attributes
    ----------
    edges : tuple of ndarray
        Between the bins of each column.
    one_hot : bool
    """

    edges: tuple[Floats, ...]
    one_hot: bool

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Find the bins."""
        columns = zip(np.asarray(rows, dtype=np.float64).T, self.edges, strict=True)
        bins = [np.searchsorted(edges, values, side="right") for values, edges in columns]
        if not self.one_hot:
            return np.stack(bins, axis=1).astype(np.float64)
        return np.hstack(
            [np.eye(len(edges) + 1)[found] for found, edges in zip(bins, self.edges, strict=True)]
        )


@dataclass(frozen=True)
class Blocks:
    """Encodings of some columns each, next to each other."""

    blocks: tuple[CompiledEncoder, ...]

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """Encode every block."""
        return np.hstack([block(rows) for block in self.blocks])


def compiled_encoder(
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
    raw = raw_columns(encoder.steps[0], len(names), names)
    steps = _compiled(encoder.steps)
    if steps is None:
        return None
    is_same = np.array_equal(raw, np.arange(len(names)))
    compiled = CompiledEncoder(steps if is_same else (Selected(raw), *steps))
    rows = _compared_rows(schema, spread_out(examples, N_COMPARED_ROWS))
    return compiled if _agree(compiled(rows), encoder(schema.model_rows(rows))) else None


def _compared_rows(schema: Schema, examples: NDArray[Any]) -> NDArray[Any]:
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
    return bool((difference <= AGREEMENT * np.abs(np.nan_to_num(fitted)).max(axis=0)).all())


def _compiled(steps: Sequence[Any]) -> tuple[Step, ...] | None:
    """Compile several steps; None when one of them has no compiled form."""
    found = []
    for step in steps:
        compile_step = _FORMS.get(sklearn_name(step))
        of_step = compile_step(step) if compile_step else None
        if of_step is None:
            return None
        found.append(of_step)
    return tuple(found)


# One function for each kind of step: fitted step -> its compiled form, None if there is none.


def _centred(scaler: Any) -> Step:
    centre = getattr(scaler, "mean_", None) if getattr(scaler, "with_mean", True) else None
    centre = getattr(scaler, "center_", centre)
    scale = scaler.scale_
    return Scaled(
        np.zeros(scaler.n_features_in_) if centre is None else np.asarray(centre, dtype=np.float64),
        np.ones(scaler.n_features_in_) if scale is None else np.asarray(scale, dtype=np.float64),
    )


def _stretched(scaler: Any) -> Step:
    limits = scaler.feature_range if scaler.clip else (-np.inf, np.inf)
    return Stretched(np.asarray(scaler.scale_), np.asarray(scaler.min_), limits)


def _function(transformer: Any) -> Step | None:
    return Selected(slice(None)) if transformer.func is None else None


def _imputer(imputer: Any) -> Step | None:
    marker, statistics = imputer.missing_values, imputer.statistics_
    if not (isinstance(marker, float) and np.isnan(marker)) or statistics.dtype.kind not in "fO":
        return None
    is_there = np.array([value == value for value in statistics])
    kept = np.arange(len(statistics)) if imputer.keep_empty_features else np.flatnonzero(is_there)
    indicators = imputer.indicator_.features_ if imputer.add_indicator else np.arange(0)
    return Imputed(statistics, kept, indicators)


def _categories(encoder: Any) -> Step | None:
    """Ask the encoder what each of its categories becomes, and what one that it does not know
    becomes.
    """
    known = [list(categories) for categories in encoder.categories_]
    if not all(isinstance(value, _PLAIN) for categories in known for value in categories):
        return None
    refuses = encoder.handle_unknown == "error"
    asked = [categories if refuses else [*categories, _unknown(categories)] for categories in known]
    answers = _answers(encoder, asked)
    tables = tuple(
        {(value if value == value else None): position for position, value in enumerate(categories)}
        for categories in known
    )
    empty = [np.zeros((int(refuses), answer.shape[1])) for answer in answers]
    return LookedUp(
        tables, tuple(np.vstack(pair) for pair in zip(answers, empty, strict=True)), refuses
    )


def _unknown(categories: Sequence[Any]) -> Any:
    """Return a value of the categories' type that is none of them."""
    if any(isinstance(value, str) for value in categories):
        return "".join(str(value) for value in categories) + "?"
    return max((value for value in categories if value == value), default=0) + 1


def _answers(encoder: Any, asked: Sequence[Sequence[Any]]) -> list[Floats]:
    """Encode columns of different lengths; one array of codes for each."""
    import pandas as pd  # needed when an explainer is built, never when one scores

    longest = max(len(values) for values in asked)
    # Shorter columns are filled up with their first category, and the answers cut again.
    filled = [[*values, *[values[0]] * (longest - len(values))] for values in asked]
    frame = pd.DataFrame({column: pd.Series(values) for column, values in enumerate(filled)})
    frame = frame.set_axis(getattr(encoder, "feature_names_in_", frame.columns), axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are unknown categories
        encoded = encoder.transform(frame)
    dense = np.asarray(
        encoded.toarray() if hasattr(encoded, "toarray") else encoded, dtype=np.float64
    )
    ends = np.cumsum(getattr(encoder, "_n_features_outs", np.ones(len(asked), dtype=int)))[:-1]
    return [
        block[: len(values)]
        for block, values in zip(np.split(dense, ends, axis=1), asked, strict=True)
    ]


def _bins(discretizer: Any) -> Step:
    edges = tuple(np.asarray(edges[1:-1], dtype=np.float64) for edges in discretizer.bin_edges_)
    return Binned(edges, discretizer.encode != "ordinal")


def _selection(selector: Any) -> Step:
    return Selected(selector.get_support(indices=True))


def _column_transformer(transformer: Any) -> Step | None:
    if transformer.transformer_weights:
        return None
    names = getattr(transformer, "feature_names_in_", np.arange(transformer.n_features_in_))
    blocks = []
    for _, inner, selected in transformer.transformers_:
        columns = column_positions(selected, names)
        if is_word(inner, "drop") or len(columns) == 0:
            continue
        steps = _compiled(list(steps_of(inner)))
        if steps is None:
            return None
        blocks.append(CompiledEncoder((Selected(columns), *steps)))
    return Blocks(tuple(blocks))


_PLAIN = (
    str,
    int,
    float,
    np.integer,
    np.floating,
    np.bool_,
)  # what compares and hashes alike in Python and in numpy
_FORMS: dict[str, Callable[[Any], Step | None]] = {
    "MaxAbsScaler": _centred,
    "MinMaxScaler": _stretched,
    "RobustScaler": _centred,
    "StandardScaler": _centred,
    "FunctionTransformer": _function,
    "SimpleImputer": _imputer,
    "OneHotEncoder": _categories,
    "OrdinalEncoder": _categories,
    "KBinsDiscretizer": _bins,
    **dict.fromkeys(SELECTIONS, _selection),
    "ColumnTransformer": _column_transformer,
}
