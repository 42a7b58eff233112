"""Which engine explains a model: one explicit table, and the proof that it reproduces the model.

| structure of the model         | link | engine                                               |
|--------------------------------|------|------------------------------------------------------|
| linear                         | none | "linear": closed form, exact                         |
| trees                          | none | "tree": exact                                        |
| trees too large for that       | none | "tree/sampled": on a sample, with standard errors    |
| trees                          | any  | "kernel/tree": sampled around the exact margin       |
| product kernel, exponential of | none | "product": exact                                     |
| a linear model                 |      |                                                      |
| polynomial kernel              | none | "polynomial": exact                                  |
| linear, of polynomial terms    | none | "polynomial": exact                                  |
| sums of any of these           | none | "sum": exact where each is; "sum/sampled" elsewhere  |
| either kernel, with too many   | none | "product/sampled", "polynomial/sampled": on a sample |
| rows                           |      |                                                      |
| linear                         | any  | "kernel/linear": sampled, no model call              |
| linear, network or sums of     |      | "permutation/…": sampled along orders of features    |
| terms, very wide               |      |                                                      |
| product kernel                 | any  | "kernel/product": sampled around the exact margin    |
| polynomial kernel              | any  | "kernel/polynomial": sampled around the exact margin |
| sums of terms of columns       | any  | "kernel/additive": sampled, no model call            |
| Gaussian process classifiers   | any  | "kernel/process": sampled around the exact means     |
| functions of distances         | any  | "kernel/process": sampled, no model call             |
| nearest points                 | any  | "kernel/neighbours": sampled, no model call          |
| several models before a link   | any  | "kernel/stacked": sampled together around the exact  |
|                                |      | margins of those that have any                       |
| network                        |      | "kernel/network": sampled, first layer on coalitions |
| none known; ``engine="kernel"``|      | "kernel": sampled, the model is called               |
| any; ``engine="shap"``         |      | "shap": ``shap.KernelExplainer`` as it is            |

Preprocessing in which every column stems from one feature is looked through
(:mod:`service.structures.encoders`), and so are searches and thresholds around a model
(:mod:`service.structures.searches`). A structured engine must reproduce the model on hybrid rows,
and on rows with values that no example has; one that does not is not used: the model is called
instead, and the note that goes into the manifest says why. What is exact is so on all examples: an
error that a sampled background leaves is in the standard errors. Next:
:mod:`service.engines.local_importances`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.background_error import Build, estimate_background_error, warn_of_error
from service.engines.blas_threads import one_blas_thread
from service.engines.builders import (
    MOST_IN_COALITIONS,
    Subject,
    add_up,
    build_called,
    build_linear,
    build_neighbours,
    build_network,
    build_polynomial,
    build_polynomial_sum,
    build_process,
    build_product,
    build_radial,
    build_shap,
    build_stacked,
    build_terms,
    build_trees,
)
from service.engines.called.note import write_note
from service.engines.compiled_encoding import FittedEncoding, compile_encoder
from service.engines.engine import Engine
from service.engines.options import EngineOptions
from service.engines.outputs import ModelOutput
from service.engines.precision import in_good_precision
from service.engines.progress import Begin, Progress, counted, steps_shown
from service.engines.sparse.examples import SparseExamples
from service.errors import UnsupportedStructureError, WrongKindError
from service.rows.unusual_rows import make_unusual_rows
from service.shapley.background import Background, BackgroundSummary
from service.shapley.grouping import Grouping
from service.structures.combined.parts import Part, StackedStructure, SumStructure
from service.structures.encoders import Encoder, last_step, model_itself
from service.structures.kernel_machines import PolynomialStructure, ProductStructure
from service.structures.linear import (
    LinearStructure,
    LogLinearStructure,
    PolynomialSumStructure,
)
from service.structures.links import OneVersusRest, WeightedSum, chained
from service.structures.networks import NetworkStructure
from service.structures.reading import read_model
from service.structures.statistical.gaussian_processes import ProcessStructure, RadialStructure
from service.structures.statistical.naive_bayes import ParabolaStructure, ThresholdStructure
from service.structures.statistical.neighbours import NeighboursStructure
from service.structures.structure import Structure
from service.structures.trees import TreeStructure

LARGEST_DIFFERENCE = 1e-9  # from the model, of the spread of its outputs
N_HYBRID_ROWS = 64

BUILDERS: dict[type[Structure], Callable[[Subject, Any], Engine]] = {
    LinearStructure: build_linear,
    TreeStructure: build_trees,
    LogLinearStructure: build_product,
    PolynomialSumStructure: build_polynomial_sum,
    ProductStructure: build_product,
    PolynomialStructure: build_polynomial,
    NetworkStructure: build_network,
    ParabolaStructure: build_terms,
    ThresholdStructure: build_terms,
    NeighboursStructure: build_neighbours,
    ProcessStructure: build_process,
    RadialStructure: build_radial,
}

# From a background, None for one of the examples, to an engine.
Given = Callable[[Background | None], Engine]

# The kinds of models by which an engine may be asked for.
KINDS: dict[str, Any] = {
    "tree": TreeStructure,
    "linear": (LinearStructure, LogLinearStructure),
    "network": NetworkStructure,
}


@one_blas_thread()
def choose_engine(
    function: ModelOutput,
    examples: NDArray[Any],
    options: EngineOptions,
    given: Background | None = None,
    every: SparseExamples | None = None,
) -> tuple[Engine, str]:
    """Build the engine of the table for a model output.

    Parameters
    ----------
    function : ModelOutput
    examples : ndarray of shape (n_examples, n_features)
    options : EngineOptions
    given : Background, optional
        A background to be used as it is, in place of one chosen from the examples.
    every : SparseExamples, optional
        All examples, where `examples` are but a sample of them.

    Returns
    -------
    engine : Engine
    note : str
        Why a structured engine was passed over; empty when there is nothing to say.

    Raises
    ------
    ValueError
        When `nsamples` is too small for the number of features, or the columns do not fit the
        engine or the background that was asked for.
    """
    identity = Grouping.identity(examples.shape[1])
    subject = Subject(function, examples, options, given, identity, every=every)
    if options.engine == "shap":
        engine = build_shap(subject)
        engine.background = _told_of(every, engine.background)
        return engine, ""
    with steps_shown("Building the explainer") as begin:
        engine, note, build = _build_engine(subject, begin)
        engine.background = _told_of(every, engine.background)
        begin("how far its background is from all examples")
        error = estimate_background_error(build, engine, examples, function, options.random_state)
        begin("how large its standard errors are")
        share = error.relative or engine.error_said_before()
    engine.background = replace(engine.background, relative_error=error.relative)
    engine.background_errors = error.standard
    warn_of_error(engine, share)
    return in_good_precision(engine, examples), note


def _told_of(every: SparseExamples | None, background: BackgroundSummary) -> BackgroundSummary:
    """Say of a background how many examples it stands for, where it met a sample of them."""
    if every is None or background.n_examples == len(every):
        return background
    kind = {"whole": "sample"}.get(background.kind, background.kind)
    return replace(background, kind=kind, n_examples=len(every))


def _build_engine(subject: Subject, begin: Begin) -> tuple[Engine, str, Build]:
    """Return an engine, why a structured one was passed over, and what builds its like.

    Its like is the same kind of engine on another background.
    """
    note = ""
    if subject.options.engine != "kernel":
        try:
            structured = _build_structured(subject, begin)
        except UnsupportedStructureError as unsupported:
            structured, note = None, str(unsupported)
        if structured is not None:
            engine, build = structured
            return engine, note, build
    if subject.options.engine in KINDS:
        raise _wrong_kind(subject, note)
    begin("what the model answers, and a surrogate for it")
    called = build_called(subject)
    if subject.options.engine == "auto":
        note = write_note(subject.function, called, subject.cost, note)
    return called, note, _make_build(subject, build_called)


def _wrong_kind(subject: Subject, note: str) -> WrongKindError:
    """Say that a model is not of the kind that was asked for, or cannot be read."""
    name = type(model_itself(last_step(subject.function.model))).__name__
    return WrongKindError(subject.options.engine, name, note)


def _build_structured(subject: Subject, begin: Begin) -> tuple[Engine, Build] | None:
    """Return the engine that knows the inside of the model, and what builds its like.

    None when the tables have nothing for the model.

    Raises
    ------
    UnsupportedStructureError
        When its inside cannot be read, or the engine does not reproduce it.
    """
    begin("the model's structure and its background")
    function, examples = subject.function, subject.examples
    # A model refuses examples that do not fit it in clearer words than its arrays would.
    function(examples[:1])
    names = [str(name) for name in function.schema.model_names]
    read = read_model(function.model, function.read_scale, names)
    if read is None:
        return None
    encoder, structure = read
    kind = KINDS.get(subject.options.engine, Structure)
    if not isinstance(structure, kind):
        return None
    if isinstance(function.form, OneVersusRest):
        structure = replace(structure, link=chained(structure.link, function.form))
    build = _plan_build(subject, encoder, structure)
    engine = build(subject.given)
    progress = counted(begin, "whether the engine reproduces the model")
    off = _find_disagreement(engine, function, examples, structure.rounding, progress)
    if off:
        raise UnsupportedStructureError(
            f"The {engine.method} engine differs from {function.name} by {off}; the model is "
            "called instead."
        )
    return engine, build


def _plan_build(subject: Subject, encoder: Encoder, structure: Structure) -> Given:
    """Return what builds the engine of a structure, or of all parts of a sum, on a background."""
    plan = _PLANS_OF_PARTS.get(type(structure))
    if plan is not None:
        return plan(subject, encoder, structure)
    names = list(map(str, subject.function.schema.model_names))
    schema = subject.function.in_double_precision().schema
    compiled = compile_encoder(encoder, names, schema, subject.examples)
    encode = compiled or FittedEncoding(schema, encoder)
    behind = replace(subject, encode=encode, grouping=Grouping(encoder.owner, len(names)))
    return lambda given: BUILDERS[type(structure)](replace(behind, given=given), structure)


def _plan_sum(subject: Subject, encoder: Encoder, structure: SumStructure) -> Given:
    """Return what explains each model of a sum by itself."""
    builds = _plan_parts(subject, encoder, structure.parts)
    examples = subject.examples
    return lambda given: add_up(structure, [build(given) for build in builds], examples)


def _plan_stack(subject: Subject, encoder: Encoder, structure: StackedStructure) -> Given:
    """Return what samples the models before a link together."""
    link = structure.link
    if subject.grouping.n_features > MOST_IN_COALITIONS and isinstance(link, WeightedSum):
        # So many features are sampled along orders of them, model by model.
        apart = SumStructure(structure.parts, link.weights, link.intercept)
        return _plan_sum(subject, encoder, apart)
    builds = _plan_parts(subject, encoder, structure.parts)
    return lambda given: build_stacked(replace(subject, given=given), structure, builds)


def _plan_parts(subject: Subject, encoder: Encoder, parts: Sequence[Part]) -> list[Given]:
    if subject.given is None and subject.options.background == "kmeans":
        raise UnsupportedStructureError(
            "The models that are added up would each see centres of their own."
        )
    builds = []
    for part in parts:
        builds.append(_plan_build(subject, encoder.followed_by(part.encoder), part.structure))
    return builds


# Of models that consist of several.
_PLANS_OF_PARTS: dict[type[Structure], Callable[[Subject, Encoder, Any], Given]] = {
    StackedStructure: _plan_stack,
    SumStructure: _plan_sum,
}


def _make_build(subject: Subject, build: Callable[[Subject], Engine]) -> Build:
    """Return what builds the engine of a subject on another background."""
    return lambda background: build(replace(subject, given=background))


def _find_disagreement(
    engine: Engine,
    function: ModelOutput,
    examples: NDArray[Any],
    rounding: float,
    progress: Progress,
) -> str:
    """Compare the engine's own idea of the model with the model, on hybrid and unusual rows.

    Some rows are explained too: expected value + Σ importances must be the model's output.

    Returns
    -------
    str
        By how much they differ, empty where they agree.
    """
    rng = np.random.default_rng(0)
    rows, others = examples[rng.integers(len(examples), size=(2, N_HYBRID_ROWS))]
    hybrids = np.where(rng.random(rows.shape) < 0.5, rows, others)
    off = _compare(engine, function, hybrids, rounding, progress)
    unusual = make_unusual_rows(function.schema, examples, function.ask)
    if off or not len(unusual):
        return off
    _check_takes_together(function, unusual)
    off = _compare(engine, function, unusual, rounding, progress)
    return off and f"{off} on values that the examples lack"


def _check_takes_together(function: ModelOutput, rows: NDArray[Any]) -> None:
    """Refuse to look into a model whose answer for a row hangs on the other rows of a call.

    Raises
    ------
    UnsupportedStructureError
        When it does not take rows together that it has taken a few at a time.
    """
    try:
        function(rows)
    except Exception as error:  # every library has its own
        raise UnsupportedStructureError(
            f"{function.name} takes some values that the examples lack, but not together; the "
            "model is called instead."
        ) from error


def _compare(
    engine: Engine,
    function: ModelOutput,
    rows: NDArray[Any],
    rounding: float,
    progress: Progress,
) -> str:
    """Say by how much an engine differs from the model on some rows.

    An engine counts in double precision, and so does the model here; what it loses on columns of a
    narrower type is its own, and may be as much as that type allows.
    """
    precise = function.in_double_precision()
    outputs = precise(rows)  # (n_rows, n_outputs)
    importances = engine.importances(rows[: engine.n_checked_rows], progress).values
    explained = importances.sum(axis=2).T + engine.expected_values
    if explained.shape[1] != outputs.shape[1]:
        return f"{explained.shape[1]} outputs where there are {outputs.shape[1]}"
    tolerance = precise.tolerance(outputs, LARGEST_DIFFERENCE, rounding)
    narrow = function.tolerance(outputs, function.narrow_share, rounding)
    compared = [
        (explained, tolerance),
        (engine.game_values(rows), tolerance),
        (function(rows), np.maximum(tolerance, narrow)),
    ]
    for found, allowed in compared:
        difference = np.abs(found - outputs[: len(found)])
        if (difference > allowed).any():
            return f"{difference.max():.2g}"
    return ""
