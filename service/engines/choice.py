"""Which engine explains a model: one explicit table, and a check that the choice reproduces the
model.

| structure of the model         | link | engine                                               |
|--------------------------------|------|------------------------------------------------------|
| linear                         | none | "linear": closed form, exact                         |
| trees                          | none | "tree": exact                                        |
| trees                          | any  | "kernel/tree": sampled around the exact margin       |
| product kernel                 | none | "product": exact                                     |
| polynomial kernel              | none | "polynomial": exact                                  |
| linear                         | any  | "kernel/linear": sampled, no model call              |
| product kernel                 | any  | "kernel/product": sampled around the exact margin    |
| polynomial kernel              | any  | "kernel/polynomial": sampled around the exact margin |
| network                        |      | "kernel/network": sampled, first layer on coalitions |
| none known; ``engine="kernel"`` |     | "kernel": sampled, the model is called               |
| any; ``engine="shap"``         |      | "shap": ``shap.KernelExplainer`` as it is            |

Preprocessing in which every column stems from one feature is looked through
(:mod:`service.structures.encoders`), and so are searches and thresholds around a model
(:mod:`service.structures.searches`). A structured engine must reproduce the model on hybrid rows;
one that does not is not used: the model is called instead, and the note that goes into the manifest
says why. Next: :mod:`service.engines.engines`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.background_error import background_error
from service.engines.backgrounds import choose_background
from service.engines.compiled_encoding import compiled_encoder
from service.engines.engines import (
    Begin,
    Effort,
    Encode,
    Encoding,
    Engine,
    KernelEngine,
    LinearEngine,
    PolynomialEngine,
    ProductEngine,
    ShapEngine,
    TreeEngine,
    steps_shown,
    unchanged,
)
from service.engines.outputs import ModelOutput
from service.engines.precision import in_good_precision
from service.engines.surrogate import with_surrogate
from service.engines.threads import one_blas_thread
from service.errors import UnsupportedStructureError
from service.shapley.additive import AdditiveGame, AdditiveModel
from service.shapley.background import Background
from service.shapley.games import BlackBoxGame, Game
from service.shapley.grouping import Grouping
from service.shapley.kernel import Stopping
from service.shapley.linked_trees import LinkedTreeGame
from service.shapley.polynomials import PolynomialKernel, polynomial_shapley
from service.shapley.products import EnumeratedProducts, ProductGame, ProductKernel
from service.shapley.trees import Forest, TreeGame, affordable_rows
from service.structures.kernel_machines import PolynomialStructure, ProductStructure
from service.structures.linear import LinearStructure
from service.structures.links import Link, Shifted
from service.structures.networks import NetworkStructure
from service.structures.reading import read_model
from service.structures.structure import Structure
from service.structures.trees import TreeStructure

ENGINES = ("auto", "kernel", "shap")
# What an exact engine takes whole; more examples are sampled down to it.
AFFORDABLE_FACTORS = (
    200_000_000  # background rows × support vectors × features × quadrature nodes: ~2 ns each a row
)
AFFORDABLE_TABLE = 4_000_000  # pairs × draws × hidden units of a structured game: 16 bytes each
AFFORDABLE_PATTERNS = (
    128 * 2**20
)  # bytes of the patterns of trees behind a link: of the background, and of coalitions
MOST_LINKED_LEAVES = (
    20_000  # three operations on each for a hybrid row: beyond, the model itself is faster
)
EVALUATIONS_EACH = 12  # hybrid rows for each coalition of nsamples, where background rows are drawn
# The same where another coalition costs hardly more than another background row: as many as two
# rows each leave room for tell the most.
ADDITIVE_EVALUATIONS_EACH = 5
AFFORDABLE_MEANS = 1_000_000  # coalitions × support vectors of an enumerated kernel machine: 8 bytes each, also saved
AFFORDABLE_EXPONENTIALS = 500_000_000  # the same × background rows, when it is built: a few seconds
LARGEST_SHAP_BACKGROUND = 100
AGREEMENT = 1e-9
N_CHECKED_ROWS = 64
N_EXPLAINED_ROWS = 16  # of them, by exact engines


Build = Callable[[Background | None], Engine]  # None for a background chosen from the examples


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is to be built; see :class:`service.explainers.TabularExplainer` for what each
    option means.
    """

    engine: str = "auto"
    background: str = "auto"
    background_size: int | None = None
    nsamples: str | int = "auto"
    random_state: int = 0
    surrogate: bool = True
    stopping: Stopping = field(default_factory=Stopping)


@dataclass(frozen=True)
class Grouped:
    """Contributions of columns, added up by feature."""

    of_columns: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    grouping: Grouping

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return contributions of shape (n_rows, n_features, n_hidden)."""
        return self.grouping.add_up(self.of_columns(rows))


@dataclass(frozen=True)
class Subject:
    """Everything an engine is built from.

    Attributes
    ----------
    function : ModelOutput
    examples : ndarray of shape (n_examples, n_features)
        The schema's matrix.
    options : EngineOptions
    encode : callable
        From the schema's matrix to the columns of the structure.
    grouping : Grouping
    given : Background or None
        A background that was brought along; it is used as it is.
    """

    function: ModelOutput
    examples: NDArray[Any]
    options: EngineOptions
    encode: Encoding
    grouping: Grouping
    given: Background | None

    def background(self, affordable: int) -> Background:
        """Choose the background, in encoded columns."""
        if self.given is not None:
            return replace(self.given, rows=self.encode(self.given.rows))
        return _background(self.encode(self.examples), self.options, affordable)


@one_blas_thread()
def choose_engine(
    function: ModelOutput,
    examples: NDArray[Any],
    options: EngineOptions,
    given: Background | None = None,
) -> tuple[Engine, str]:
    """Build the engine of the table for a model output.

    Parameters
    ----------
    function : ModelOutput
    examples : ndarray of shape (n_examples, n_features)
    options : EngineOptions
    given : Background, optional
        A background to be used as it is, in place of one chosen from the examples.

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
    if options.engine == "shap":
        return _shap(function, examples, options, given), ""
    with steps_shown("Building the explainer") as begin:
        engine, note, build = _chosen(function, examples, options, given, begin)
        begin("how far its background is from all examples")
        error = background_error(build, engine, examples, options.random_state)
    engine.background = replace(engine.background, relative_error=error)
    return in_good_precision(engine, examples), note


def _chosen(
    function: ModelOutput,
    examples: NDArray[Any],
    options: EngineOptions,
    given: Background | None,
    begin: Begin,
) -> tuple[Engine, str, Build]:
    """Return an engine, why a structured one was passed over, and what builds its like on another
    background.
    """
    call = partial(_black_box, function, examples, options)

    def called() -> Engine:
        begin("what the model answers, and a surrogate for it")
        return call(given)

    if options.engine == "kernel":
        return called(), "", call
    begin("the model's structure and its background")
    function(
        examples[:1]
    )  # a model refuses examples that do not fit it in clearer words than its arrays would
    try:
        build, agreement = _structured(function, examples, options)
        engine = None if build is None else build(given)
    except UnsupportedStructureError as unsupported:
        return called(), str(unsupported), call
    if build is None or engine is None:
        return called(), "", call
    begin("whether the engine reproduces the model")
    if (off := _disagreement(engine, function, examples)) > agreement:
        note = f"The {engine.method} engine differs from {function.name} by {off:.2g}; the model is called instead."
        return called(), note, call
    return engine, "", build


def _structured(
    function: ModelOutput, examples: NDArray[Any], options: EngineOptions
) -> tuple[Build | None, float]:
    """Return what builds the engine that knows the inside of the model, and how closely it has to
    reproduce the model.

    None when the tables have nothing for it.
    """
    names = [str(name) for name in function.schema.model_names]
    read = read_model(function.model, function.scale, names)
    if read is None:
        return None, AGREEMENT
    encoder, structure = read
    grouping = Grouping(encoder.owner, len(names))
    encode = compiled_encoder(encoder, names, function.schema, examples) or Encode(
        function.schema, encoder
    )
    subject = Subject(function, examples, options, encode, grouping, None)
    return lambda given: _ENGINES[type(structure)](replace(subject, given=given), structure), max(
        AGREEMENT, structure.rounding
    )


def _disagreement(engine: Engine, function: ModelOutput, examples: NDArray[Any]) -> float:
    """Compare the engine's own idea of the model with the model, on hybrid rows of the examples.

    Every row is explained too: expected value + Σ importances must be the model's output. Both are
    relative to the model's largest output.
    """
    rng = np.random.default_rng(0)
    rows, others = examples[rng.integers(len(examples), size=(2, N_CHECKED_ROWS))]
    hybrids = np.where(rng.random(rows.shape) < 0.5, rows, others)
    outputs = function(hybrids)  # (n_rows, n_outputs)
    few = hybrids if not isinstance(engine, KernelEngine) else hybrids[:4]
    explained = (
        engine.importances(few[:N_EXPLAINED_ROWS]).values.sum(axis=2).T + engine.expected_values
    )
    if explained.shape[1] != outputs.shape[1]:
        return np.inf
    difference = np.abs(explained - outputs[: len(explained)]).max()
    if isinstance(engine, KernelEngine | TreeEngine):
        evaluated = np.array([engine.game.full_value(row) for row in engine.encode(hybrids)])
        difference = max(difference, np.abs(evaluated - outputs).max())
    return float(difference / max(1.0, np.abs(outputs).max()))


def _background(examples: NDArray[Any], options: EngineOptions, affordable: int) -> Background:
    return choose_background(
        examples,
        options.background,
        options.background_size,
        affordable=affordable,
        random_state=options.random_state,
    )


def _black_box(
    function: ModelOutput, examples: NDArray[Any], options: EngineOptions, given: Background | None
) -> KernelEngine:
    background = given or _background(examples, options, affordable=len(examples))
    game = BlackBoxGame(function, background)
    if options.surrogate and options.background == "auto" and given is None:
        game = with_surrogate(game, examples, options.random_state)
    meets_all = given is not None or options.background != "auto"
    return KernelEngine(
        unchanged,
        game,
        effort=Effort(None)
        if meets_all
        else Effort(EVALUATIONS_EACH, spread=EVALUATIONS_EACH // 2),
        nsamples=options.nsamples,
        random_state=options.random_state,
        method="kernel",
        stopping=options.stopping,
    )


def _shap(
    function: ModelOutput, examples: NDArray[Any], options: EngineOptions, given: Background | None
) -> ShapEngine:
    """Take the original with the reference's background: all rows up to 100, k-means centres
    beyond.
    """
    if examples.dtype == object:
        raise ValueError(
            "engine='shap': expected numbers only in the columns, got others; leave engine='auto'."
        )
    if options.background == "auto" and len(examples) > LARGEST_SHAP_BACKGROUND:
        options = replace(options, background="kmeans")
    background = given or _background(examples, options, affordable=len(examples))
    return ShapEngine(function, background, options.nsamples)


def _linear(subject: Subject, structure: LinearStructure) -> Engine:
    background = subject.background(affordable=len(subject.examples))
    if structure.link is not None:
        return _sampled(subject, structure, background, "kernel/linear")
    coefficients, intercepts = _per_class(
        subject.function, structure.coefficients, structure.intercepts
    )
    return LinearEngine(subject.encode, subject.grouping, coefficients, intercepts, background)


def _trees(subject: Subject, structure: TreeStructure) -> Engine:
    if structure.link is not None:
        return _linked_trees(subject, structure, structure.link)
    forest = _forest(subject, structure)
    background = subject.background(affordable=affordable_rows(forest))
    value, offset = _per_class(subject.function, forest.value.T, structure.offset)
    forest = replace(forest, value=np.ascontiguousarray(value.T))
    game = TreeGame(forest, offset, background, structure.input_dtype, subject.grouping.n_features)
    return TreeEngine(subject.encode, game, background.summary)


def _linked_trees(subject: Subject, structure: TreeStructure, link: Link) -> Engine:
    forest = _forest(subject, structure)
    pattern_bytes = len(forest.value) * forest.pattern_dtype.itemsize  # of one row
    if len(forest.value) > MOST_LINKED_LEAVES:
        raise UnsupportedStructureError(
            f"Trees with {len(forest.value)} leaves behind a link: beyond {MOST_LINKED_LEAVES} the model is faster."
        )
    background = subject.background(
        affordable=min(affordable_rows(forest), AFFORDABLE_PATTERNS // pattern_bytes)
    )
    margins = TreeGame(
        forest, structure.offset, background, structure.input_dtype, subject.grouping.n_features
    )
    game = LinkedTreeGame(margins, link, background, subject.grouping)
    most_evaluations = (
        4 * AFFORDABLE_PATTERNS // pattern_bytes
    )  # two for each of a pair's coalitions
    return _kernel_engine(
        subject,
        game,
        "kernel/tree",
        Effort(EVALUATIONS_EACH, EVALUATIONS_EACH // 2, most_evaluations),
    )


def _forest(subject: Subject, structure: TreeStructure) -> Forest:
    try:
        return Forest.of(structure.trees, subject.grouping)
    except ValueError as too_deep:
        raise UnsupportedStructureError(str(too_deep)) from too_deep


def _product(subject: Subject, structure: ProductStructure) -> Engine:
    n_features = subject.grouping.n_features
    background = subject.background(affordable=_affordable_rows(structure, n_features))
    log_factors = Grouped(structure.log_factors, subject.grouping)
    kernel = ProductKernel(log_factors, structure.dual, structure.intercepts)
    if structure.link is None:
        dual, intercepts = _per_class(subject.function, structure.dual, structure.intercepts)
        kernel = replace(kernel, dual=dual, intercept=intercepts)
        enumerated = _enumerated(kernel, background, n_features)
        return ProductEngine(subject.encode, subject.grouping, kernel, background, enumerated)
    game = ProductGame(kernel, structure.link, background, subject.grouping)
    effort = Effort(
        EVALUATIONS_EACH, most_evaluations=2 * AFFORDABLE_TABLE // len(structure.support)
    )
    return _kernel_engine(subject, game, "kernel/product", effort)


def _affordable_rows(structure: ProductStructure, n_features: int) -> int:
    """Return how many background rows the exact margin takes, by enumeration or by quadrature."""
    entries = _entries(len(structure.support), n_features)
    if structure.link is None and entries is not None:
        return AFFORDABLE_EXPONENTIALS // entries
    return max(
        10, AFFORDABLE_FACTORS // (len(structure.support) * n_features * -(-n_features // 2))
    )


def _entries(n_support: int, n_features: int) -> int | None:
    """Return the size of the table of an enumerated kernel machine; None when it would be too
    large.
    """
    entries = 2**n_features * n_support
    return entries if n_features > 1 and entries <= AFFORDABLE_MEANS else None


def _enumerated(
    kernel: ProductKernel, background: Background, n_features: int
) -> EnumeratedProducts | None:
    entries = _entries(kernel.dual.shape[1], n_features)
    if entries is None or entries * len(background.rows) > AFFORDABLE_EXPONENTIALS:
        return None
    return EnumeratedProducts(kernel, background, n_features)


def _polynomial(subject: Subject, structure: PolynomialStructure) -> Engine:
    n_support, n_features = len(structure.support), subject.grouping.n_features
    affordable = max(10, AFFORDABLE_FACTORS // (n_support * n_features * structure.degree))
    background = subject.background(affordable)
    dual, intercepts = structure.dual, structure.intercepts
    if structure.link is None:
        dual, intercepts = _per_class(subject.function, dual, intercepts)
    kernel = PolynomialKernel(
        structure.support, structure.offset, structure.degree, dual, intercepts, subject.grouping
    )
    if structure.link is None:
        return PolynomialEngine(subject.encode, kernel, background)
    model = AdditiveModel(
        kernel.contributions,
        np.full(n_support, kernel.offset),
        kernel.readout,
        Shifted(intercepts, structure.link),
    )
    game = AdditiveGame(model, background, subject.grouping, partial(polynomial_shapley, kernel))
    effort = Effort(EVALUATIONS_EACH, EVALUATIONS_EACH // 2, 2 * AFFORDABLE_TABLE // n_support)
    return _kernel_engine(subject, game, "kernel/polynomial", effort)


def _network(subject: Subject, structure: NetworkStructure) -> Engine:
    if structure.link is None and structure.output_activation == "identity":
        weights, biases = _per_class(
            subject.function, structure.weights[-1].T, structure.biases[-1]
        )
        structure = replace(
            structure,
            weights=[*structure.weights[:-1], weights.T],
            biases=[*structure.biases[:-1], biases],
        )
    return _sampled(
        subject, structure, subject.background(affordable=len(subject.examples)), "kernel/network"
    )


def _sampled(
    subject: Subject,
    structure: LinearStructure | NetworkStructure,
    background: Background,
    method: str,
) -> KernelEngine:
    model = structure.additive
    model = replace(model, contributions=Grouped(model.contributions, subject.grouping))
    game = AdditiveGame(model, background, subject.grouping)
    most_evaluations = 2 * AFFORDABLE_TABLE // len(model.bias)
    effort = Effort(ADDITIVE_EVALUATIONS_EACH, spread=3, most_evaluations=most_evaluations)
    return _kernel_engine(subject, game, method, effort)


def _kernel_engine(subject: Subject, game: Game, method: str, effort: Effort) -> KernelEngine:
    return KernelEngine(
        subject.encode,
        game,
        effort=effort,
        nsamples=subject.options.nsamples,
        random_state=subject.options.random_state,
        stopping=subject.options.stopping,
        method=method,
    )


_ENGINES: dict[type[Structure], Callable[[Subject, Any], Engine]] = {
    LinearStructure: _linear,
    TreeStructure: _trees,
    ProductStructure: _product,
    PolynomialStructure: _polynomial,
    NetworkStructure: _network,
}


def _per_class(
    function: ModelOutput, per_output: NDArray[np.float64], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give a binary margin to both classes, −m and m; the first axis counts outputs."""
    if function.task == "classification" and len(per_output) == 1:
        return np.concatenate([-per_output, per_output]), np.concatenate([-offset, offset])
    return per_output, offset
