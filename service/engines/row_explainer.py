"""The core that both explainers share: a model output, its engine, and the names of what comes out.

:class:`service.explainers.TabularExplainer` builds it, and
:class:`service.scoring.KernelScoringExplainer` takes it along to where rows are scored. Next:
:mod:`service.engines.transformed`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import filterfalse
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.engines.choice import choose_engine
from service.engines.engine import Engine, Importances, explain_in_parallel
from service.engines.local_importances import LocalImportances
from service.engines.options import EngineOptions, check_different, check_jobs, is_whole
from service.engines.outputs import (
    N_COMPARED_ROWS,
    SAME,
    ModelOutput,
    choose_checked_output,
    plain_values,
)
from service.engines.progress import Progress, no_progress
from service.engines.sparse.additive import check_in_pieces, check_width, explain_sparse
from service.engines.sparse.blocks import explain_in_blocks
from service.engines.sparse.examples import SparseExamples, cut_sparse, read_examples
from service.engines.sparse.importances import SparseImportances, SparseValues
from service.engines.transformed.raw_rows import check_are_raw, count_engineered
from service.rows.columns import Column
from service.rows.schema import Schema
from service.rows.tables import is_sparse, row_as_table
from service.rows.unusual_rows import (
    ask_for_missing_values,
    ask_for_new_categories,
    name_refused_value,
)
from service.rows.values import list_names
from service.shapley.background import spread_out
from service.structures.encoders import first_step, unread_columns
from service.structures.foreign_networks.read_networks import as_function
from service.structures.lightgbm_trees import as_called, names_fitted_on
from service.structures.xgboost_trees import with_rows

TAKE_TEXTS = ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer")


@dataclass(frozen=True)
class StandIn:
    """A surrogate that is explained in place of the model.

    Attributes
    ----------
    output : ModelOutput
        What it answers, in the unit of the model's own output.
    residual : ndarray of shape (n_outputs,)
        What is missing to the model's output for the example.
    description : dict
        What it is and how well it follows the model, in plain values.
    """

    output: ModelOutput
    residual: NDArray[np.float64]
    description: dict[str, Any]

    def without_model(self) -> StandIn:
        """Leave the surrogate to the engine."""
        return replace(self, output=self.output.without_model())


# Said of the engine where a surrogate is explained.
_MIMIC = {False: "", True: "mimic/"}
_OF_SURROGATE = {False: "", True: ", of a surrogate"}
# Makes a surrogate of a model's output, on examples; on all of them where some alone are dense.
Imitate = Callable[[ModelOutput, NDArray[Any], SparseExamples | None], StandIn]


@dataclass(frozen=True)
class RowExplainer:
    """Explains rows of one model; read-only, shared by all threads.

    Attributes
    ----------
    function : ModelOutput
    engine : Engine
    options : EngineOptions
        How the engine was built.
    example : ndarray of shape (1, n_features)
        A row that fits the model: the first of the examples.
    classes : list or None
        Class names of a classifier, in output order.
    subset : tuple of int or None
        The columns whose importances are reported; None for all.
    note : str
        Why the model is called, and what that costs; empty where its structure is known.
    tolerance : ndarray of shape (n_outputs,)
        How far expected value + Σ importances may be from what the model answers.
    example_output : ndarray of shape (1, n_outputs), or None
        What the model answered for the example in the form in which it came; None where it has not
        been asked so.
    unread : tuple of int
        The columns that reach no step of the model. The engine gets those of the example in their
        places, so that they do not vary, and are worth exactly nothing.
    n_engineered : int or None
        How many columns the model's transformations make, where it stands behind some.
    stand_in : StandIn or None
        The surrogate that is explained in place of the model, where there is one.
    """

    function: ModelOutput
    engine: Engine
    options: EngineOptions
    example: NDArray[Any]
    classes: list[Any] | None = None
    subset: tuple[int, ...] | None = None
    note: str = ""
    tolerance: NDArray[np.float64] | float = SAME
    example_output: NDArray[np.float64] | None = None
    unread: tuple[int, ...] = ()
    n_engineered: int | None = None
    stand_in: StandIn | None = None

    @classmethod
    def build(
        cls,
        model: Any,
        examples: Any,
        *,
        features: Sequence[str] | None,
        classes: Sequence[Any] | None,
        subset: Sequence[int | str] | None,
        output: str,
        task: str,
        options: EngineOptions,
        nullable: bool | Sequence[str] = False,
        imitate: Imitate | None = None,
    ) -> RowExplainer:
        """Record the schema of the examples, decide what is explained, and build the engine for it.

        Raises
        ------
        ValueError
            When an option is out of range.
        """
        model = asked_with_rows(model)
        check_takes_columns(model)
        read_in = read_examples(examples, features, model, options.random_state)
        given, matrix = read_in.given, read_in.matrix
        check_order(model, given)
        schema = _in_form_that_counts(read_in.schema, given, model)
        function, answers, example_output = choose_checked_output(
            model, schema, given, matrix, output=output, task=task, has_names=classes is not None
        )
        names = list(map(str, schema.model_names))
        unread = tuple(unread_columns(model, len(names), names).tolist())
        read = partial(with_constants, columns=unread, example=matrix[:1])
        every = _read_by(read_in.every, unread, lambda rows: read(schema.from_positions(rows)))
        examples = read(matrix)
        function, stand_in = _imitated(function, examples, every, nullable, imitate)
        explained = function if stand_in is None else stand_in.output
        engine, note = choose_engine(explained, examples, options, every=every)
        return cls(
            function,
            engine,
            options,
            example=matrix[:1].copy(),
            classes=class_names(function, classes, len(engine.expected_values)),
            subset=find_columns(subset, schema.names),
            note=note,
            tolerance=find_tolerance(function, answers, engine),
            example_output=example_output,
            unread=unread,
            n_engineered=count_engineered(model, schema.model_rows(matrix[:1])),
            stand_in=stand_in,
        )

    @property
    def schema(self) -> Schema:
        """The columns of the rows."""
        return self.function.schema

    @property
    def features(self) -> list[str]:
        """The names of the features whose importances are reported."""
        names = self.schema.names
        if self.subset is None:
            return names
        return [names[i] for i in self.subset]

    @property
    def labels(self) -> list[Any] | None:
        """What a classifier predicts for each of its classes; None for regressors and functions."""
        if self.classes is None:
            return None
        return self.function.labels(len(self.classes))

    def with_sampling(self, nsamples: str | int | None, random_state: int | None) -> RowExplainer:
        """Return the same explainer with another number of coalitions and seed.

        None keeps what it has.

        Raises
        ------
        ValueError
            When a number is out of range.
        """
        options = self._options(nsamples, random_state)
        if options == self.options:
            return self
        engine = self.engine.with_sampling(options.nsamples, options.random_state)
        return replace(self, options=options, engine=engine)

    def with_examples(
        self, examples: Any, nsamples: str | int | None, random_state: int | None
    ) -> RowExplainer:
        """Return an explainer of the same output with a background chosen from other examples."""
        options = self._options(nsamples, random_state)
        few, every = cut_sparse(examples, options.random_state)
        every = _read_by(every, self.unread, self.read)
        engine, note = choose_engine(self.explained, self.read(few), options, every=every)
        return replace(self, options=options, engine=engine, note=note)

    def without_model(self) -> RowExplainer:
        """Leave the model to the engine, which has it where it calls it."""
        stand_in = self.stand_in
        if stand_in is not None:
            stand_in = stand_in.without_model()
        return replace(self, function=self.function.without_model(), stand_in=stand_in)

    def _options(self, nsamples: str | int | None, random_state: int | None) -> EngineOptions:
        options = self.options
        if nsamples is not None:
            options = replace(options, nsamples=nsamples)
        if random_state is not None:
            options = replace(options, random_state=random_state)
        return options

    def explain(
        self, rows: Any, progress: Progress = no_progress, n_jobs: int | None = None
    ) -> LocalImportances:
        """Explain rows in any form that :meth:`Schema.matrix` takes, in `n_jobs` joblib jobs.

        A Series, and an array of shape (n_features,), is one row.

        Raises
        ------
        PayloadError
            When they do not fit the schema, or the model refuses a value.
        ValueError
            When `n_jobs` is no number of jobs.
        """
        check_jobs(n_jobs)
        if is_sparse(rows) and self.engine.keeps_sparse:
            return self._explain_sparse(rows, progress, n_jobs)
        matrix = self.read(rows)
        try:
            return self.explain_matrix(matrix, progress, n_jobs)
        except ValueError:
            self.name_refused_value(matrix)
            raise

    def read(self, rows: Any) -> NDArray[Any]:
        """Check rows in any form and return them as the matrix that engines take.

        Raises
        ------
        PayloadError
            When they do not fit the schema.
        """
        check_are_raw(rows, len(self.schema.columns), self.n_engineered)
        matrix = self.schema.matrix(row_as_table(rows))
        return with_constants(matrix, self.unread, self.example)

    def _explain_sparse(
        self, rows: Any, progress: Progress, n_jobs: int | None
    ) -> LocalImportances:
        sparse = self.sparse_values(rows, progress, n_jobs)
        if self.subset is not None:
            sparse = sparse.take_columns(self.subset)
        return SparseImportances(sparse, not self._has_no_class_axis, **self._describe())

    def sparse_values(
        self, rows: Any, progress: Progress = no_progress, n_jobs: int | None = None
    ) -> SparseValues:
        """Explain sparse rows by all columns without making them all dense.

        By an engine that says so, :attr:`Engine.keeps_sparse`.

        Raises
        ------
        PayloadError
            When they do not fit the schema.
        """
        check_are_raw(rows, len(self.schema.columns), self.n_engineered)
        check_width(rows, len(self.schema.columns))
        try:
            if self.engine.is_additive:
                return explain_sparse(self.engine, rows, self.read)
            return explain_in_blocks(
                partial(self._importances, n_jobs=n_jobs), rows, self.read, progress
            )
        except ValueError:
            check_in_pieces(rows, self.read)
            raise

    def ask_model(self, rows: Any, method: str) -> NDArray[Any] | None:
        """Ask the model for rows by one of its own methods; None where it has no such one."""
        ask = getattr(self.function.model, method, None)
        if ask is None:
            return None
        answer = self.schema.answers(self.schema.matrix(row_as_table(rows)), ask)
        return None if isinstance(answer, list) else np.asarray(answer)

    def name_refused_value(self, matrix: NDArray[Any]) -> None:
        """Look for a value that the model refuses among rows that the schema has checked.

        Raises
        ------
        PayloadError
            Naming it, where there is one.
        """
        name_refused_value(self.schema, matrix, self.example, self._ask_engine)

    def _ask_engine(self, _: Schema, rows: NDArray[Any]) -> Any:
        values = self.engine.game_values(rows)
        return values if len(values) else self.engine.importances(rows)

    def explain_matrix(
        self, matrix: NDArray[Any], progress: Progress = no_progress, n_jobs: int | None = None
    ) -> LocalImportances:
        """Explain rows that the schema has checked already."""
        matrix = with_constants(matrix, self.unread, self.example)
        importances = self._importances(matrix, progress, n_jobs)
        errors = importances.standard_errors
        return LocalImportances(
            values=self._shape(importances.values),
            standard_errors=None if errors is None else self._shape(errors),
            **self._describe(),
        )

    def _importances(
        self, matrix: NDArray[Any], progress: Progress = no_progress, n_jobs: int | None = None
    ) -> Importances:
        return explain_in_parallel(self.engine, matrix, progress, n_jobs)

    def _describe(self) -> dict[str, Any]:
        """Return what importances are told with."""
        return {
            "expected_values": self.expected_values,
            "features": self.features,
            "classes": self.classes,
            "method": self.method,
            "output": self.function.scale,
        }

    @property
    def explained(self) -> ModelOutput:
        """The output that is explained: the model's, or that of the surrogate in its place."""
        return self.function if self.stand_in is None else self.stand_in.output

    @property
    def example_residual(self) -> NDArray[np.float64] | float:
        """What is missing to the model's output for the example, where a surrogate is explained."""
        return 0.0 if self.stand_in is None else self.stand_in.residual

    @property
    def method(self) -> str:
        """The engine; "mimic/" before it says that a surrogate is explained."""
        return _MIMIC[self.stand_in is not None] + self.engine.method

    @property
    def exactness(self) -> str:
        """Whether the importances are exact, in words."""
        return self.engine.exactness + _OF_SURROGATE[self.stand_in is not None]

    @property
    def expected_values(self) -> Any:
        """The model's mean output over the background, shape (n_classes,) or ().

        As in :class:`LocalImportances`.
        """
        expected = self.engine.expected_values
        return expected[0] if self._has_no_class_axis else expected

    @property
    def _has_no_class_axis(self) -> bool:
        return self.function.task == "regression" and len(self.engine.expected_values) == 1

    def _shape(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Keep the explained features; a regressor with one target has no class axis."""
        if self.subset is not None:
            values = values[:, :, list(self.subset)]
        return values[0] if self._has_no_class_axis else values


def find_tolerance(
    function: ModelOutput, answers: NDArray[np.float64], engine: Engine
) -> NDArray[np.float64]:
    """Return how far importances may be from adding up to the model's output.

    Parameters
    ----------
    function : ModelOutput
    answers : ndarray of shape (n_rows, n_outputs)
        What the model answers for rows that tell the spread of its outputs.
    engine : Engine

    Returns
    -------
    ndarray of shape (n_outputs,)
    """
    spread = np.vstack([answers, engine.expected_values])
    return function.tolerance(spread, max(SAME, function.narrow_share))


def with_constants(
    matrix: NDArray[Any], columns: Sequence[int], example: NDArray[Any]
) -> NDArray[Any]:
    """Return rows with the values of one example in some columns; the rows themselves stay."""
    if len(columns) == 0:
        return matrix
    constant = matrix.copy()
    constant[:, columns] = example[0, columns]
    return constant


def _read_by(
    every: Any, unread: tuple[int, ...], read: Callable[[NDArray[Any]], NDArray[Any]]
) -> SparseExamples | None:
    return None if every is None else SparseExamples(every, read, unread)


def _imitated(
    function: ModelOutput,
    examples: NDArray[Any],
    every: SparseExamples | None,
    nullable: bool | Sequence[str],
    imitate: Imitate | None,
) -> tuple[ModelOutput, StandIn | None]:
    """Let the rows have what is taken by that which is explained: the model, or a surrogate."""
    if imitate is None:
        return _open_columns(function, examples[:1], nullable), None
    stand_in = imitate(function, examples, every)
    opened = _open_columns(stand_in.output, examples[:1], nullable)
    columns = tuple(map(_with_own_mark, opened.schema.columns, function.schema.columns))
    function = replace(function, schema=replace(function.schema, columns=columns))
    return function, replace(stand_in, output=opened)


def _with_own_mark(column: Column, own: Column) -> Column:
    return replace(column, missing_mark=own.missing_mark)


def asked_with_rows(model: Any) -> Any:
    """Return a model that is asked with rows, the model itself or one around it.

    A bare booster of XGBoost gets a model around it, a network of torch or Keras a function.
    """
    return as_function(with_rows(model))


def check_takes_columns(model: Any) -> None:
    """Refuse a model that takes bare texts, one after another, and no columns.

    Raises
    ------
    ValueError
        Saying how such a model gets a column.
    """
    first = type(first_step(getattr(model, "__self__", model))).__name__
    if first in TAKE_TEXTS:
        raise ValueError(
            f"model: expected one that takes rows with columns, got one that begins with {first}, "
            f"which takes bare texts; fit it on a DataFrame by make_column_transformer(({first}(), "
            "'text')), or explain what comes after it on the counts of its words."
        )


def check_order(model: Any, examples: Any) -> None:
    """Refuse columns in another order than a model was fitted on, where it goes by the order.

    LightGBM looks at no names: it would be explained, and serve, with columns taken for one
    another. What begins with a ColumnTransformer goes by names, and takes any order.

    Parameters
    ----------
    model : object
    examples : DataFrame, array or sparse matrix of shape (n_examples, n_features)

    Raises
    ------
    ValueError
        Naming the first column that stands elsewhere.
    """
    if not isinstance(examples, pd.DataFrame):
        return
    owner = getattr(model, "__self__", model)
    names = list(map(str, examples.columns))
    known = as_called(names_fitted_on(owner), names)
    if known == names or sorted(known) != sorted(names):
        return
    few = examples.iloc[spread_out(np.arange(len(examples)), N_COMPARED_ROWS)]
    in_order = _try(model, few.iloc[:, list(map(names.index, known))])
    if in_order is None or _are_alike(_try(model, few), in_order):
        return
    expected, came = next(filterfalse(_are_same, zip(known, names, strict=True)))
    raise ValueError(
        "initialization_examples: expected the columns in the order in which the model was fitted "
        f"on them, since it goes by their order, but column {came!r} came in the place of "
        f"{expected!r}; bring them into that order."
    )


def _are_same(pair: tuple[str, str]) -> bool:
    return pair[0] == pair[1]


def _in_form_that_counts(schema: Schema, table: Any, model: Any) -> Schema:
    """Let a model be asked with frames where its answer to an array is another, or none.

    What says how many columns it was fitted on, but not their names, takes arrays as a rule.
    """
    if schema.as_frame or not isinstance(table, pd.DataFrame):
        return schema
    few = spread_out(np.arange(len(table)), N_COMPARED_ROWS)
    as_came = _try(model, table.iloc[few])
    if as_came is None:
        return schema
    as_array = _try(model, schema.model_rows(schema.from_positions(table.iloc[few])))
    return schema if _are_alike(as_array, as_came) else replace(schema, as_frame=True)


def _try(model: Any, rows: Any) -> NDArray[Any] | None:
    """Return what a model answers, None where it does not."""
    ask = getattr(model, "predict_proba", getattr(model, "predict", model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that names are missing, or too many
        try:
            return np.asarray(ask(rows))
        except Exception:  # every library has its own
            return None


def _are_alike(found: NDArray[Any] | None, expected: NDArray[Any]) -> bool:
    if found is None or found.shape != expected.shape:
        return False
    if not {expected.dtype.kind, found.dtype.kind} <= set("biuf"):
        return np.array_equal(found, expected)
    return np.allclose(found, expected, rtol=SAME, atol=0.0, equal_nan=True)


def _open_columns(
    function: ModelOutput, example: NDArray[Any], nullable: bool | Sequence[str]
) -> ModelOutput:
    """Let the rows have what training did not have, where the model takes it."""
    schema = ask_for_new_categories(function.schema, example, function.ask)
    schema = ask_for_missing_values(schema, nullable, example, function.ask)
    return replace(function, schema=schema)


def class_names(
    function: ModelOutput, classes: Sequence[Any] | None, n_outputs: int
) -> list[Any] | None:
    """Return one name per output of a classifier, None for a regression.

    They are those given, else the model's own where it has as many, else 0, 1, ….

    Raises
    ------
    ValueError
        When there are not as many names as outputs, or names for a regressor.
    """
    given = list_names("classes", classes)
    if function.task == "regression":
        if given is not None:
            raise ValueError(
                f"classes: expected none for {function.name}, a regression, got {given}."
            )
        return None
    if given is None:
        return function.output_names(n_outputs)
    names = plain_values(given)
    check_different("classes", names)
    if len(names) != n_outputs:
        raise ValueError(
            f"classes: expected {n_outputs} names, one for each output of {function.name}, got "
            f"{len(names)}."
        )
    return names


def find_columns(
    subset: Sequence[int | str] | None, names: Sequence[str], option: str = "explain_subset"
) -> tuple[int, ...] | None:
    """Find the columns of a subset, given by name or position; `option` is what messages say."""
    if subset is None:
        return None
    # A bare name is no list of letters.
    is_list = isinstance(subset, Iterable) and not isinstance(subset, str)
    wanted: Iterable[Any] = subset if is_list else []
    positions = tuple(_find_column(column, names) for column in wanted)
    if min(positions, default=-1) < 0 or len(set(positions)) != len(positions):
        unnamed = list(map(str, range(len(names))))
        hint = "; the columns have no names, so give positions, or name all by features="
        raise ValueError(
            f"{option}: expected different column names or positions from 0 to "
            f"{len(names) - 1}, got {subset!r}{hint if names == unnamed else ''}."
        )
    return positions


def _find_column(wanted: Any, names: Sequence[str]) -> int:
    """Return where a column is, −1 when there is no such name or position."""
    if wanted in names:
        return names.index(wanted)
    is_position = is_whole(wanted, at_least=0) and wanted < len(names)
    return int(wanted) if is_position else -1
