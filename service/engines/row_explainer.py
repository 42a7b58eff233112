"""The core that both explainers share: a model output, its engine, and the names of what comes
out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.choice import EngineOptions, choose_engine
from service.engines.engines import (
    Engine,
    KernelEngine,
    Progress,
    ShapEngine,
    importances_of,
    in_parallel,
    no_progress,
)
from service.engines.local_importances import LocalImportances
from service.engines.outputs import ModelOutput, model_output
from service.rows.schema import Schema
from service.shapley.coalitions import smallest_budget
from service.shapley.kernel import Stopping
from service.structures.reading import prefers_margin


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
        Why the engine is not the one the model's kind would have; usually empty.
    """

    function: ModelOutput
    engine: Engine
    options: EngineOptions
    example: NDArray[Any]
    classes: list[Any] | None = None
    subset: tuple[int, ...] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a number of coalitions with which a row whose features all vary could not be
        explained.
        """
        n_features, nsamples = len(self.schema.columns), self.options.nsamples
        needed = smallest_budget(n_features)
        if (
            isinstance(self.engine, KernelEngine)
            and not isinstance(nsamples, str)
            and nsamples < needed
        ):
            raise ValueError(
                f"nsamples: expected at least {needed} coalitions for {n_features} features, got {nsamples}."
            )

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
    ) -> RowExplainer:
        """Record the schema of the examples, decide what is explained, and build the engine for it.

        Raises
        ------
        ValueError
            When an option is out of range.
        """
        options = _checked(options)
        schema = Schema.of(examples, features, model)
        matrix = schema.from_positions(examples)
        function = model_output(
            model, schema, matrix, output=output, task=task, prefers_margin=prefers_margin(model)
        )
        engine, note = choose_engine(function, matrix, options)
        names = class_names(function, classes, len(engine.expected_values))
        return cls(
            function,
            engine,
            options,
            matrix[:1].copy(),
            names,
            _positions(subset, schema.names),
            note,
        )

    @property
    def schema(self) -> Schema:
        """The columns of the rows."""
        return self.function.schema

    @property
    def features(self) -> list[str]:
        """The names of the features whose importances are reported."""
        names = self.schema.names
        return names if self.subset is None else [names[i] for i in self.subset]

    @property
    def labels(self) -> list[Any] | None:
        """What a classifier predicts for each of its classes; None for regressors and plain
        functions.
        """
        labels = self.function.labels
        return None if labels is None or self.classes is None else plain_values(labels)

    def with_sampling(self, nsamples: str | int | None, random_state: int | None) -> RowExplainer:
        """Return the same explainer with another number of coalitions and seed; None keeps what it
        has.
        """
        options = self._options(nsamples, random_state)
        if options == self.options or not isinstance(self.engine, KernelEngine | ShapEngine):
            return replace(self, options=options)
        engine = self.engine.with_sampling(options.nsamples, options.random_state)
        return replace(self, options=options, engine=engine)

    def with_examples(
        self, examples: Any, nsamples: str | int | None, random_state: int | None
    ) -> RowExplainer:
        """Return an explainer of the same output with a background chosen from other examples."""
        options = self._options(nsamples, random_state)
        engine, note = choose_engine(self.function, self.schema.matrix(examples), options)
        return replace(self, options=options, engine=engine, note=note)

    def without_model(self) -> RowExplainer:
        """Leave the model to the engine, which has it where it calls it."""
        return replace(self, function=self.function.without_model())

    def _options(self, nsamples: str | int | None, random_state: int | None) -> EngineOptions:
        return _checked(
            replace(
                self.options,
                nsamples=self.options.nsamples if nsamples is None else nsamples,
                random_state=self.options.random_state if random_state is None else random_state,
            )
        )

    def explain(
        self, rows: Any, progress: Progress = no_progress, n_jobs: int | None = None
    ) -> LocalImportances:
        """Explain rows in any form that :meth:`Schema.matrix` takes, in `n_jobs` joblib jobs."""
        return self.explain_matrix(self.schema.matrix(rows), progress, n_jobs)

    def explain_matrix(
        self, matrix: NDArray[Any], progress: Progress = no_progress, n_jobs: int | None = None
    ) -> LocalImportances:
        """Explain rows that the schema has checked already."""
        if n_jobs in (None, 1):
            importances = importances_of(self.engine, matrix, progress)
        else:
            importances = in_parallel(self.engine, matrix, progress, n_jobs)
        return LocalImportances(
            values=self._shaped(importances.values),
            expected_values=self.expected_values,
            features=self.features,
            classes=self.classes,
            method=self.engine.method,
            output=self.function.scale,
            standard_errors=None
            if importances.standard_errors is None
            else self._shaped(importances.standard_errors),
        )

    @property
    def expected_values(self) -> Any:
        """The model's mean output over the background, shape (n_classes,) or (), as in
        :class:`LocalImportances`.
        """
        expected = self.engine.expected_values
        return expected[0] if self._has_no_class_axis else expected

    @property
    def _has_no_class_axis(self) -> bool:
        return self.function.task == "regression" and len(self.engine.expected_values) == 1

    def _shaped(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Keep the explained features; a regressor with one target has no class axis."""
        values = values if self.subset is None else values[:, :, list(self.subset)]
        return values[0] if self._has_no_class_axis else values


def class_names(
    function: ModelOutput, classes: Sequence[Any] | None, n_outputs: int
) -> list[Any] | None:
    """Return one name per output of a classifier: those given, else the model's own labels, else 0,
    1, ….

    Raises
    ------
    ValueError
        When there are not as many names as outputs, or names for a regressor.
    """
    if function.task == "regression":
        if classes is not None:
            raise ValueError(
                f"classes: expected none for {function.name}, a regression, got {list(classes)}."
            )
        return None
    labels = function.labels if function.labels is not None else range(n_outputs)
    names = plain_values(labels if classes is None else classes)
    if len(names) != n_outputs:
        raise ValueError(
            f"classes: expected {n_outputs} names, one for each output of {function.name}, got {len(names)}."
        )
    return names


def plain_values(values: Iterable[Any]) -> list[Any]:
    """Return a list without numpy scalars, which JSON does not know."""
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _checked(options: EngineOptions) -> EngineOptions:
    """Refuse options out of range, for every engine; return plain integers."""
    _check_stopping(options.stopping)
    if options.background_size is not None and not _is_whole(options.background_size, at_least=1):
        raise ValueError(
            f"background_size: expected a positive number of rows, got {options.background_size!r}."
        )
    if options.background_size is not None and options.background in ("auto", "whole"):
        raise ValueError(
            "background_size: expected with background='sample' or 'kmeans' only, got it with "
            f"background={options.background!r}."
        )
    if not isinstance(options.surrogate, bool):
        raise ValueError(f"surrogate: expected True or False, got {options.surrogate!r}.")
    nsamples, seed = options.nsamples, options.random_state
    if nsamples != "auto" and not _is_whole(nsamples, at_least=2):
        raise ValueError(
            f"nsamples: expected 'auto' or a number of coalitions of at least 2, got {nsamples!r}."
        )
    if not _is_whole(seed, at_least=0):
        raise ValueError(f"random_state: expected a whole number of at least 0, got {seed!r}.")
    return replace(
        options, nsamples="auto" if nsamples == "auto" else int(nsamples), random_state=int(seed)
    )


def _check_stopping(stopping: Stopping) -> None:
    for name, value in (("tolerance", stopping.tolerance), ("time_budget", stopping.time_budget)):
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 < float(value) < np.inf):
            raise ValueError(f"{name}: expected a positive number, got {value!r}.")


def _is_whole(value: Any, at_least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= at_least


def _positions(subset: Sequence[int | str] | None, names: Sequence[str]) -> tuple[int, ...] | None:
    if subset is None:
        return None
    wanted: Iterable[Any] = (
        [] if isinstance(subset, str) else subset
    )  # a bare name is no list of letters
    positions = [names.index(name) if name in names else name for name in wanted]
    is_valid = all(
        _is_whole(position, at_least=0) and position < len(names) for position in positions
    )
    if not is_valid or not positions or len(set(positions)) != len(positions):
        raise ValueError(
            f"explain_subset: expected different column names or positions from 0 to {len(names) - 1}, got {subset!r}."
        )
    return tuple(int(position) for position in positions)
