"""The core that both explainers share: a model output, its engine, and the names of what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.scoring.choice import EngineOptions, choose_engine
from service.scoring.engines import Engine, KernelEngine, Progress, no_progress
from service.scoring.model_kinds import model_kind
from service.scoring.outputs import ModelOutput, model_output
from service.scoring.result import LocalImportances
from service.scoring.schema import Schema


@dataclass(frozen=True)
class RowExplainer:
    """Explains rows of one model; read-only, shared by all threads.

    Attributes
    ----------
    function : ModelOutput
    engine : Engine
    options : EngineOptions
        How the engine was built.
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
    classes: list[Any] | None = None
    subset: tuple[int, ...] | None = None
    note: str = ""

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
        """Record the schema of the examples, decide what is explained, and build the engine for it."""
        schema = Schema.of(examples, features, model)
        matrix = schema.matrix(examples)
        prefers_margin = model_kind(model) in ("linear", "boosting")
        function = model_output(model, schema, matrix, output=output, task=task, prefers_margin=prefers_margin)
        engine, note = choose_engine(function, matrix, options)
        names = class_names(function, classes, len(engine.expected_values))
        return cls(function, engine, options, names, _positions(subset, schema.names), note)

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
        """What a classifier predicts for each of its classes; None for regressors and plain functions."""
        labels = getattr(self.function.model, "classes_", None)
        return None if labels is None or self.classes is None else plain_values(labels)

    def with_sampling(self, nsamples: str | int, random_state: int) -> RowExplainer:
        """Return the same explainer with another number of coalitions and seed; exact engines need neither."""
        options = replace(self.options, nsamples=nsamples, random_state=random_state)
        if not isinstance(self.engine, KernelEngine):
            return replace(self, options=options)
        return replace(self, options=options, engine=self.engine.with_sampling(nsamples, random_state))

    def explain(self, rows: Any, progress: Progress = no_progress) -> LocalImportances:
        """Explain rows in any form that :meth:`Schema.matrix` takes."""
        importances = self.engine.importances(self.schema.matrix(rows), progress)
        return LocalImportances(
            values=self._shaped(importances.values),
            expected_values=self.engine.expected_values[0] if self._has_no_class_axis else self.engine.expected_values,
            features=self.features,
            classes=self.classes,
            method=self.engine.method,
            output=self.function.scale,
            standard_errors=None if importances.standard_errors is None else self._shaped(importances.standard_errors),
        )

    @property
    def _has_no_class_axis(self) -> bool:
        return self.function.task == "regression" and len(self.engine.expected_values) == 1

    def _shaped(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Keep the explained features; a regressor with one target has no class axis."""
        values = values if self.subset is None else values[:, :, list(self.subset)]
        return values[0] if self._has_no_class_axis else values


def class_names(function: ModelOutput, classes: Sequence[Any] | None, n_outputs: int) -> list[Any] | None:
    """Return one name per output of a classifier: those given, else the model's own labels, else 0, 1, ….

    Raises
    ------
    ValueError
        When there are not as many names as outputs.
    """
    if function.task == "regression":
        return None
    given = classes if classes is not None else getattr(function.model, "classes_", range(n_outputs))
    names = plain_values(given)
    if len(names) != n_outputs:
        raise ValueError(
            f"classes: expected {n_outputs} names, one for each output of {function.name}, got {len(names)}."
        )
    return names


def plain_values(values: Iterable[Any]) -> list[Any]:
    """Return a list without numpy scalars, which JSON does not know."""
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _positions(subset: Sequence[int | str] | None, names: Sequence[str]) -> tuple[int, ...] | None:
    if subset is None:
        return None
    positions = [names.index(name) if name in names else name for name in subset]
    wrong = [p for p in positions if not isinstance(p, int) or not 0 <= p < len(names)]
    if wrong or not positions or len(set(positions)) != len(positions):
        raise ValueError(
            f"explain_subset: expected different column names or positions from 0 to {len(names) - 1}, "
            f"got {list(subset)}."
        )
    return tuple(int(p) for p in positions)
