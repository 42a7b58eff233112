"""Which engine explains a model: one explicit table, and a check that the choice reproduces the model.

| model                                                        | output      | engine                             |
|--------------------------------------------------------------|-------------|------------------------------------|
| linear regressors and classifiers                            | prediction, margin     | "linear", closed form   |
| decision trees, forests, extra trees                         | prediction, probability | "tree", exact          |
| gradient boosting (binary or regression), histogram boosting | prediction, margin     | "tree", exact           |
| everything else, and any model with ``engine="kernel"``       | any         | "kernel", Kernel SHAP              |

A structured engine that does not reproduce the model on the examples is not used: Kernel SHAP takes its place, and the
note that goes into the manifest says why. Trees are read with shap's own readers, when an explainer is built; scoring
needs no shap. Next: :mod:`service.scoring.engines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.scoring.backgrounds import choose_background
from service.scoring.engines import Engine, KernelEngine, LinearEngine, TreeEngine
from service.scoring.errors import UnsupportedStructureError
from service.scoring.model_kinds import model_kind
from service.scoring.outputs import ModelOutput
from service.shapley.games import BlackBoxGame
from service.shapley.trees import Leaves, Tree, TreeGame

ENGINES = ("auto", "kernel")
# A tree game keeps one bit pattern per leaf and distinct background row: about 16 bytes each while it is built.
AFFORDABLE_LEAF_ROWS = 20_000_000
AGREEMENT = 1e-9
N_CHECKED_ROWS = 32


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is to be built; see :class:`service.explainers.TabularExplainer` for what each option means."""

    engine: str = "auto"
    background: str = "auto"
    background_size: int | None = None
    nsamples: str | int = "auto"
    random_state: int = 0


def choose_engine(function: ModelOutput, examples: NDArray[Any], options: EngineOptions) -> tuple[Engine, str]:
    """Build the engine of the table for a model output.

    Parameters
    ----------
    function : ModelOutput
    examples : ndarray of shape (n_examples, n_features)
    options : EngineOptions

    Returns
    -------
    engine : Engine
    note : str
        Why a structured engine was passed over; empty when there is nothing to say.

    Raises
    ------
    ValueError
        When an option is unknown or out of range.
    """
    if options.engine not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {options.engine!r}.")
    structure = _structure(function) if options.engine == "auto" and _is_plain(examples) else None
    if structure is None:
        return _kernel_engine(function, examples, options), ""
    build = _linear_engine if structure == "linear" else _tree_engine
    try:
        engine: Engine = build(function, examples, options)
    except UnsupportedStructureError as unsupported:
        return _kernel_engine(function, examples, options), str(unsupported)
    if (off := _disagreement(engine, function, examples)) > AGREEMENT:
        note = f"The {structure} engine differs from {function.name} by {off:.2g}; Kernel SHAP took its place."
        return _kernel_engine(function, examples, options), note
    return engine, ""


def _structure(function: ModelOutput) -> str | None:
    kind = model_kind(function.model)
    if kind == "linear" and function.scale != "probability":
        return "linear"
    if (kind == "forest" and function.scale != "margin") or (kind == "boosting" and function.scale != "probability"):
        return "tree"
    return None


def _is_plain(examples: NDArray[Any]) -> bool:
    return examples.dtype != object


def _disagreement(engine: Engine, function: ModelOutput, examples: NDArray[Any]) -> float:
    """Compare expected value + Σ importances with the model, relative to its largest output."""
    rows = examples[:: max(1, len(examples) // N_CHECKED_ROWS)][:N_CHECKED_ROWS]
    model = function(rows)  # (n_rows, n_outputs)
    rebuilt = engine.importances(rows).sum(axis=2).T + engine.expected_values
    return (
        float(np.abs(rebuilt - model).max() / max(1.0, np.abs(model).max())) if rebuilt.shape == model.shape else np.inf
    )


def _kernel_engine(function: ModelOutput, examples: NDArray[Any], options: EngineOptions) -> KernelEngine:
    background = choose_background(
        examples, options.background, options.background_size, affordable=None, random_state=options.random_state
    )
    return KernelEngine(BlackBoxGame(function, background), options.nsamples, options.random_state)


def _linear_engine(function: ModelOutput, examples: NDArray[Any], options: EngineOptions) -> LinearEngine:
    """Read the coefficients; the whole background costs nothing, because only its mean matters."""
    background = choose_background(
        examples,
        options.background,
        options.background_size,
        affordable=len(examples),
        random_state=options.random_state,
    )
    coefficients = np.atleast_2d(np.asarray(function.model.coef_, dtype=np.float64))
    intercepts = np.atleast_1d(np.asarray(function.model.intercept_, dtype=np.float64))
    return LinearEngine(*_per_class(function, coefficients, intercepts), background)


def _tree_engine(function: ModelOutput, examples: NDArray[Any], options: EngineOptions) -> TreeEngine:
    trees, offset, input_dtype = _read_trees(function.model)
    try:
        leaves = Leaves.of(trees)
    except ValueError as too_deep:
        raise UnsupportedStructureError(str(too_deep)) from too_deep
    affordable = max(100, AFFORDABLE_LEAF_ROWS // len(leaves.value))
    background = choose_background(
        examples, options.background, options.background_size, affordable=affordable, random_state=options.random_state
    )
    value, offset = _per_class(function, leaves.value.T, offset)
    leaves = Leaves(leaves.feature, leaves.lower, leaves.upper, leaves.missing, np.ascontiguousarray(value.T))
    return TreeEngine(TreeGame(leaves, offset, background, input_dtype), background)


def _per_class(
    function: ModelOutput, per_output: NDArray[np.float64], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give a binary margin to both classes, −m and m; the first axis counts outputs."""
    if function.task == "classification" and len(per_output) == 1:
        return np.concatenate([-per_output, per_output]), np.concatenate([-offset, offset])
    return per_output, offset


def _read_trees(model: Any) -> tuple[list[Tree], NDArray[np.float64], type[np.floating]]:
    """Read a fitted ensemble with shap's readers, which know the inside of every supported library."""
    if np.any(getattr(model, "is_categorical_", False)):
        raise UnsupportedStructureError(
            "Histogram boosting with categorical columns: its category splits are not read."
        )
    import shap  # needed when an explainer is built, never when one scores

    try:
        read = shap.TreeExplainer(model).model
    except (shap.utils._exceptions.InvalidModelError, NotImplementedError) as error:
        raise UnsupportedStructureError(f"Trees of {type(model).__name__} cannot be read: {error}") from error
    trees = [
        Tree(
            left=read.children_left[i],
            right=read.children_right[i],
            default=read.children_default[i],
            feature=read.features[i],
            threshold=read.thresholds[i],
            value=read.values[i],
        )
        for i in range(len(read.children_left))
    ]
    return trees, np.asarray(read.base_offset, dtype=np.float64), read.input_dtype
