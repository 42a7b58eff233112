"""From what is known of a model to its engine: one function for each kind of structure.

Each decides how large a background its engine can afford, and how much is evaluated for a row where
values are sampled. Which function belongs to which structure stands in the table of
:mod:`service.engines.choice`. Next: :mod:`service.engines.choice`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from service.engines.backgrounds import choose_background
from service.engines.called.cost import ModelCost, measure_cost
from service.engines.compiled_encoding import Blocks, CompiledEncoder, Selected
from service.engines.engine import Encoding, Engine, unchanged
from service.engines.exact_engines import (
    LinearEngine,
    PolynomialEngine,
    PolynomialSumEngine,
    ProductEngine,
    SumEngine,
    TreeEngine,
)
from service.engines.options import EngineOptions
from service.engines.outputs import ModelOutput
from service.engines.sampled_engines import (
    Effort,
    KernelEngine,
    SampledBackgroundEngine,
    ShapEngine,
)
from service.engines.sparse.examples import SparseExamples
from service.engines.surrogate import with_surrogate
from service.errors import UnsupportedStructureError
from service.shapley.additive import AdditiveGame, AdditiveModel
from service.shapley.background import Background, BackgroundSummary, spread_out
from service.shapley.combined.neighbours import NeighboursGame
from service.shapley.combined.stacked import StackedGame
from service.shapley.games import BlackBoxGame, Function, Game, Link, LinkedGame
from service.shapley.grouping import Grouped, Grouping
from service.shapley.kernels.walks import MOST_BITS
from service.shapley.linear import PolynomialSum
from service.shapley.permutations import PermutationGame
from service.shapley.polynomials import PolynomialKernel, polynomial_shapley
from service.shapley.products import (
    EnumeratedProducts,
    ProductGame,
    ProductKernel,
    product_shapley,
)
from service.shapley.survey import (
    RARE_IN_ESTIMATES,
    ExactGame,
    Population,
    SampledGame,
    Survey,
    draw_sample,
)
from service.shapley.trees import (
    Forest,
    LinkedTreeGame,
    SampledTreeGame,
    TraversedTreeGame,
    TreeGame,
    affordable_rows,
    count_patterns,
)
from service.shapley.trees.traversal import TreeTraversal, sum_of_leaves
from service.structures.combined.parts import StackedStructure, SumStructure
from service.structures.kernel_machines import PolynomialStructure, ProductStructure
from service.structures.linear import (
    LinearStructure,
    LogLinearStructure,
    PolynomialSumStructure,
)
from service.structures.links import Joined, Shifted, WeightedSum, chained
from service.structures.networks import NetworkStructure
from service.structures.statistical.gaussian_processes import ProcessStructure, RadialStructure
from service.structures.statistical.naive_bayes import AdditiveStructure
from service.structures.statistical.neighbours import NeighboursStructure
from service.structures.statistical.process_kernels import exponential
from service.structures.trees import TreeStructure

# What an exact engine takes whole; more examples are sampled down to it. Background rows × support
# vectors × features × quadrature nodes: ~2 ns each a row.
AFFORDABLE_FACTORS = 200_000_000
# The same for the fewest background rows of an estimate: beyond, some ten seconds a row.
MOST_FACTORS = 2_000_000_000
# Pairs × draws × hidden units of a structured game: 16 bytes each.
AFFORDABLE_TABLE = 4_000_000
# Bytes, one for each background row at each split of trees behind a link. Where these are few,
# hybrid rows share them, and may be any number; elsewhere each has bits of its own, which are kept.
AFFORDABLE_DECISIONS, FEW_DECISIONS = 128 * 2**20, 8 * 2**20
BITS_OF_HYBRID_ROWS = 6 * AFFORDABLE_DECISIONS
# Encoded numbers of the examples that are held at once where their mean alone is needed.
MOST_ENCODED = 20_000_000
# Steps through trees for an explained row: some 5 ns each, and 0.15 µs in numpy.
AFFORDABLE_STEPS = 2_000_000
# What is known of as many patterns of background rows is added up in the time of a step.
PATTERNS_IN_A_STEP = 5
# Numbers of all points among which the nearest ones are found for a hybrid row: beyond, the trees
# and the products of matrices of the model itself are faster.
MOST_POINTS = 25_000
# Background rows that are met where there are more and all would take more steps, in less time than
# shap's explainer takes for a hundred; and fewer where these are as exact beside what is known.
N_SAMPLED_ROWS = 192
# The same for kernel machines: as many as the factors leave room for, within these.
FEWEST_SAMPLED_ROWS, MOST_SAMPLED_ROWS = 100, 256
N_TRIAL_ROWS = 4
# Leaves behind a link: beyond, few hybrid rows are left, and the model tells more in the same time.
# It takes a step for each level of each tree, so more are looked into where trees are small.
MOST_LINKED_LEAVES, MOST_IN_SMALL_TREES, SMALL_TREE = 200_000, 400_000, 64
# Patterns of background rows for the exact margins of such trees: some 30 bytes each, also saved.
# Down to half of the rows are taken for that.
MOST_LINKED_PATTERNS, MOST_CUT = 8_000_000, 2
# Hybrid rows for each coalition of nsamples, where background rows are drawn.
EVALUATIONS_EACH = 12
# Where the model is called: all coalitions on all rows, where that takes hardly more; a quick model
# is evaluated more often instead of being given a surrogate.
EFFORT_WHERE_QUICK = {
    False: Effort(EVALUATIONS_EACH, spread=EVALUATIONS_EACH // 2, patience=2),
    True: Effort(4 * EVALUATIONS_EACH, spread=EVALUATIONS_EACH, patience=4),
}
# The same of models of known parts; how patient they are depends on what a hybrid row costs.
EFFORT_OF_PARTS = Effort(EVALUATIONS_EACH, spread=EVALUATIONS_EACH // 2)
PATIENCE_WITH_TERMS = 16
# The same where another coalition costs hardly more than another background row: as many as two
# rows each leave room for tell the most.
ADDITIVE_EVALUATIONS_EACH = 5
# Coalitions × support vectors of an enumerated kernel machine: 8 bytes each, also saved.
AFFORDABLE_MEANS = 1_000_000
# The same × background rows, when it is built: a few seconds.
AFFORDABLE_EXPONENTIALS = 500_000_000
LARGEST_SHAP_BACKGROUND = 100
# More features than this are sampled along orders of them, in as many as hidden numbers allow.
MOST_IN_COALITIONS = 200
AFFORDABLE_WAYS = 20_000_000
FEWEST_ORDERS, MOST_ORDERS = 16, 512


# From a background, None for one of the examples, to the engine of a part.
Build = Callable[[Background | None], Engine]
# Takes a row and a background, returns exact importances of shape (n_outputs, n_features).
ExactShapley = Callable[[NDArray[Any], Background], NDArray[np.float64]]


@dataclass(frozen=True)
class Subject:
    """Everything an engine is built from.

    Attributes
    ----------
    function : ModelOutput
    examples : ndarray of shape (n_examples, n_features)
        The schema's matrix.
    options : EngineOptions
    given : Background or None
        A background that was brought along; it is used as it is.
    grouping : Grouping
        Which feature each column of the structure belongs to.
    encode : callable
        From the schema's matrix to the columns of the structure.
    every : SparseExamples or None
        All examples, where only a sample of them is dense.
    """

    function: ModelOutput
    examples: NDArray[Any]
    options: EngineOptions
    given: Background | None
    grouping: Grouping
    encode: Encoding = unchanged
    every: SparseExamples | None = None

    def background(self, affordable: int) -> Background:
        """Choose the background, in encoded columns.

        Where these are few, all sparse examples may become dense in them, or a larger sample.
        """
        if self.given is not None:
            return replace(self.given, rows=self.encode(self.given.rows))
        if self.every is not None and self.options.background in ("auto", "whole"):
            n_rows = min(affordable, self.every.count_dense(len(self.grouping.owner)))
            if n_rows > len(self.examples):
                rows = self.every.encoded(self.encode, n_rows, self.options.random_state)
                kind = "whole" if n_rows == len(self.every) else "sample"
                return Background.uniform(rows, kind, len(self.every))
        return choose_background(self.encode(self.examples), self.options, affordable)

    def of_columns(self, columns: NDArray[np.intp]) -> Subject:
        """Encode some of the structure's columns alone."""
        encode = CompiledEncoder((self.encode, Selected(columns)))
        grouping = Grouping(self.grouping.owner[columns], self.grouping.n_features)
        return replace(self, encode=encode, grouping=grouping)

    def mean_background(self) -> Background:
        """Choose the background of a game that knows its mean alone, one row of encoded columns.

        Examples that become very many numbers are encoded in blocks.
        """
        n_examples, width = len(self.examples), len(self.grouping.owner)
        is_chosen = self.given is not None or self.options.background not in ("auto", "whole")
        is_little = self.every is None and n_examples * width <= MOST_ENCODED
        if is_chosen or is_little:
            return self.background(affordable=n_examples)
        blocks: Iterable[NDArray[Any]]
        if self.every is None:
            blocks = np.array_split(self.examples, -(-n_examples * width // MOST_ENCODED))
        else:
            blocks, n_examples = self.every.blocks(), len(self.every)
        total = np.sum([self.encode(block).sum(axis=0) for block in blocks], axis=0)
        return Background.uniform(total[None] / n_examples, n_examples=n_examples)

    @cached_property
    def cost(self) -> ModelCost:
        """What a row costs the model, measured when it is first asked for."""
        return measure_cost(self.function, self.examples)

    @property
    def is_left_open(self) -> bool:
        """Whether neither a background nor an amount of work was chosen."""
        options = self.options
        chosen = [self.given is not None, options.background != "auto", options.nsamples != "auto"]
        return not any(chosen) and not options.stopping.asks_for_more

    def is_cut(self, affordable: int) -> bool:
        """Tell whether there are more examples than an engine takes, and nobody chose fewer."""
        is_chosen = self.given is not None or self.options.background != "auto"
        return not is_chosen and len(self.examples) > affordable

    def sample_background(
        self, shapley: ExactShapley, outputs: Function, affordable: int
    ) -> SampledGame:
        """Estimate importances on all examples from exact ones on some hundred of them."""
        rows = self.encode(self.examples)
        n_sampled = int(np.clip(affordable, FEWEST_SAMPLED_ROWS, MOST_SAMPLED_ROWS))
        population = Population(rows, Background.uniform(rows).outputs(outputs))
        seed = self.options.random_state
        sample = draw_sample(population, self.grouping, n_sampled, seed, RARE_IN_ESTIMATES)
        return SampledGame(shapley, outputs, Survey(population, sample, self.grouping))

    def known_margins(
        self, shapley: ExactShapley, outputs: Function, affordable: int
    ) -> tuple[ExactGame | SampledGame, Background]:
        """Return the margins' importances with their background: all examples unless one is chosen.

        Where they cannot meet all examples they are estimated, with standard errors.
        """
        if self.is_cut(affordable):
            every = Background.uniform(self.encode(self.examples))
            return self.sample_background(shapley, outputs, affordable), every
        background = self.background(affordable)
        return ExactGame(shapley, background), background

    def per_class(
        self, per_output: NDArray[np.float64], offset: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give a binary margin to both classes, −m and m; the first axis counts outputs."""
        kind = self.function.task, self.function.scale, len(per_output)
        if kind == ("classification", "margin", 1):
            return np.concatenate([-per_output, per_output]), np.concatenate([-offset, offset])
        return per_output, offset

    def sampled_engine(self, game: SampledGame, method: str) -> SampledBackgroundEngine:
        """Estimate from a sample of the examples."""
        every = BackgroundSummary("whole", len(self.examples), len(self.examples))
        return SampledBackgroundEngine(self.encode, game, every, method)

    def kernel_engine(self, game: Game, method: str, effort: Effort) -> KernelEngine:
        """Sample a game."""
        return KernelEngine(
            self.encode,
            game,
            effort=effort,
            nsamples=self.options.nsamples,
            random_state=self.options.random_state,
            stopping=self.options.stopping,
            method=method,
        )


def build_called(subject: Subject) -> KernelEngine:
    """Build the engine that calls the model, with a surrogate where one pays."""
    options, examples = subject.options, subject.examples
    game = BlackBoxGame(subject.function, subject.background(affordable=len(examples)))
    if subject.given is not None or options.background != "auto":
        return subject.kernel_engine(game, "kernel", Effort(None))
    is_quick = subject.cost.is_quick
    effort = replace(EFFORT_WHERE_QUICK[is_quick], n_background=len(examples))
    engine = subject.kernel_engine(game, "kernel", effort)
    if any([engine.is_exact, is_quick, not options.surrogate]):
        return engine
    return engine.with_game(with_surrogate(game, examples, options.random_state))


def build_shap(subject: Subject) -> Engine:
    """Take the original with the reference's background.

    That is all rows up to 100, k-means centres beyond.

    Raises
    ------
    ValueError
        When a column holds something else than numbers.
    """
    options, examples = subject.options, subject.examples
    if examples.dtype == object:
        raise ValueError(
            "engine='shap': expected numbers only in the columns, got others; leave engine='auto'."
        )
    if options.background == "auto" and len(examples) > LARGEST_SHAP_BACKGROUND:
        subject = replace(subject, options=replace(options, background="kmeans"))
    background = subject.background(affordable=len(examples))
    return ShapEngine(subject.function, background, options.nsamples)


def build_linear(subject: Subject, structure: LinearStructure) -> Engine:
    """Take the closed form, or sample around the exact margins of a link."""
    if structure.link is not None:
        background = subject.background(affordable=len(subject.examples))
        return _build_additive(subject, structure, background, "kernel/linear")
    coefficients, intercepts = subject.per_class(structure.coefficients, structure.intercepts)
    background = subject.mean_background()
    engine = LinearEngine(subject.encode, subject.grouping, coefficients, intercepts, background)
    if background.kind == "whole":  # whose mean may have come alone
        engine.background = replace(background.summary, n_rows=background.n_examples)
    return engine


def build_polynomial_sum(subject: Subject, structure: PolynomialSumStructure) -> Engine:
    """Take the exact values of a linear model behind polynomial terms."""
    coefficients, intercepts = subject.per_class(structure.coefficients, structure.intercepts)
    background = subject.background(affordable=len(subject.examples))
    # Each meets the background once for each coalition of its columns.
    n_products = int((2.0 ** np.count_nonzero(structure.powers, axis=1)).sum())
    if n_products * len(background.rows) > MOST_FACTORS:
        raise UnsupportedStructureError(
            f"The terms of PolynomialFeatures and {len(background.rows):,} background rows are too "
            "many to be multiplied; a smaller background_size would do."
        )
    polynomial = PolynomialSum(
        structure.powers, coefficients, intercepts, subject.grouping, background
    )
    return PolynomialSumEngine(subject.encode, polynomial, subject.grouping, background)


def add_up(structure: SumStructure, engines: Sequence[Engine], examples: NDArray[Any]) -> Engine:
    """Put the engines of all parts of a sum together.

    Raises
    ------
    UnsupportedStructureError
        When they have other outputs than each other: one may not have seen all classes.
    """
    _check_alike(engines)
    few = spread_out(examples, N_TRIAL_ROWS)
    return SumEngine(engines, structure.weights, structure.intercept, few)


def _check_alike(engines: Sequence[Engine]) -> None:
    if len({len(engine.expected_values) for engine in engines}) > 1:
        raise UnsupportedStructureError(
            "The models that are added up have other numbers of outputs than each other."
        )


def build_terms(subject: Subject, structure: AdditiveStructure) -> Engine:
    """Sample around sums of a term for each column, all coalitions where these are few."""
    background = subject.background(affordable=len(subject.examples))
    engine = _build_additive(subject, structure, background, "kernel/additive")
    if not isinstance(engine, KernelEngine):
        return engine
    # Hardly anything is evaluated for a hybrid row.
    effort = replace(engine.effort, n_background=len(background.rows), patience=PATIENCE_WITH_TERMS)
    return subject.kernel_engine(engine.game, engine.method, effort)


def build_process(subject: Subject, structure: ProcessStructure) -> KernelEngine:
    """Sample probabilities around the exact means of latent margins."""
    if structure.profile is not exponential:
        return build_radial(subject, structure)
    n_features, n_support = subject.grouping.n_features, len(structure.support)
    log_factors = structure.log_factors(subject.grouping)
    kernel = ProductKernel(log_factors, structure.dual, np.zeros(len(structure.dual)))
    shapley = partial(product_shapley, kernel)
    affordable = _count_integrated_rows(kernel, n_features)
    known, background = subject.known_margins(shapley, kernel.margins, affordable)
    model = structure.additive(subject.grouping)
    game = AdditiveGame(model, background, subject.grouping, known, n_known=len(structure.dual))
    effort = replace(EFFORT_OF_PARTS, most_evaluations=2 * AFFORDABLE_TABLE // n_support)
    return subject.kernel_engine(game, "kernel/process", effort)


def build_radial(subject: Subject, structure: RadialStructure | ProcessStructure) -> KernelEngine:
    """Sample functions of distances, of whose margins nothing is known."""
    background = subject.background(affordable=len(subject.examples))
    game = AdditiveGame(structure.additive(subject.grouping), background, subject.grouping)
    most_evaluations = 2 * AFFORDABLE_TABLE // len(structure.support)
    effort = replace(EFFORT_OF_PARTS, most_evaluations=most_evaluations)
    return subject.kernel_engine(game, "kernel/process", effort)


def build_neighbours(subject: Subject, structure: NeighboursStructure) -> KernelEngine:
    """Sample means of the nearest points, all coalitions where these are few.

    Raises
    ------
    UnsupportedStructureError
        When there are so many points that the model itself finds the nearest ones sooner.
    """
    n_points, n_columns = structure.points.points.shape
    if n_points * n_columns > MOST_POINTS:
        raise UnsupportedStructureError(
            f"Nearest neighbours among {n_points:,} points of {n_columns} columns: the model "
            "itself is faster."
        )
    background = subject.background(affordable=len(subject.examples))
    game = NeighboursGame(structure.points, structure.link, background, subject.grouping)
    effort = replace(EFFORT_OF_PARTS, n_background=len(background.rows), patience=4)
    return subject.kernel_engine(game, "kernel/neighbours", effort)


def build_stacked(subject: Subject, structure: StackedStructure, builds: Sequence[Build]) -> Engine:
    """Sample the games of all parts together, behind the link that they have in common.

    Raises
    ------
    UnsupportedStructureError
        When a part has no game, or another number of outputs than the others of a sum.
    """
    engines = _on_one_background(subject, builds)
    games = cast("list[LinkedGame]", [engine.game for engine in engines])
    ends = []
    for game in games:
        ends.append(game.margins_of(game.background.rows[:1]).shape[1])
    assert structure.link is not None
    if isinstance(structure.link, WeightedSum):
        _check_alike(engines)
    joined = Joined(tuple(game.link for game in games), tuple(map(int, np.cumsum(ends))))
    rows = np.hstack([game.background.rows for game in games])
    background = replace(games[0].background, rows=rows)
    encode = CompiledEncoder((Blocks(tuple(engine.encode for engine in engines)),))
    most_evaluations = min(engine.effort.most_evaluations for engine in engines)
    effort = replace(
        EFFORT_OF_PARTS, most_evaluations=most_evaluations, n_background=len(rows), patience=2
    )
    stacked = StackedGame(games, chained(joined, structure.link), background)
    return replace(subject, encode=encode).kernel_engine(stacked, "kernel/stacked", effort)


def _on_one_background(subject: Subject, builds: Sequence[Build]) -> list[KernelEngine]:
    """Build parts on the same rows: on as few as the one takes that takes fewest."""
    engines = [build(subject.given) for build in builds]
    counts = [engine.background.n_rows for engine in engines]
    if len(set(counts)) > 1:
        given = choose_background(subject.examples, subject.options, min(counts))
        engines = [build(given) for build in builds]
    games = []
    for engine in engines:
        if not isinstance(engine, KernelEngine):
            raise UnsupportedStructureError(
                f"A part that is explained by engine {engine.method!r} cannot be sampled together "
                "with others; the model is called instead."
            )
        games.append(engine)
    return games


def build_network(subject: Subject, structure: NetworkStructure) -> Engine:
    """Sample, with the first layer computed on coalitions."""
    if structure.link is None and structure.output_activation == "identity":
        weights, biases = subject.per_class(structure.weights[-1].T, structure.biases[-1])
        structure = replace(
            structure,
            weights=[*structure.weights[:-1], weights.T],
            biases=[*structure.biases[:-1], biases],
        )
    background = subject.background(affordable=len(subject.examples))
    return _build_additive(subject, structure, background, "kernel/network")


def build_trees(subject: Subject, structure: TreeStructure) -> Engine:
    """Take the exact values of a sum of trees, or sample around it behind a link."""
    if structure.link is not None:
        return _build_linked_trees(subject, structure, structure.link)
    forest = Forest.of(structure.trees, subject.grouping)
    value, offset = subject.per_class(forest.value.T, structure.offset)
    forest = replace(forest, value=np.ascontiguousarray(value.T))
    subject, forest = _narrowed(subject, forest)
    affordable = affordable_rows(forest) if forest.has_narrow_paths else 0
    background = subject.background(max(affordable, len(subject.examples)))
    dtype, n_features = structure.input_dtype, subject.grouping.n_features
    n_rows = len(background.rows)
    n_steps = _count_steps(forest, background, dtype)
    if n_rows <= affordable and count_patterns(forest, n_rows) < PATTERNS_IN_A_STEP * n_steps:
        merged = TreeGame(forest, offset, background, dtype, n_features)
        return TreeEngine(subject.encode, merged, background.summary)
    is_chosen = subject.given is not None or subject.options.background != "auto"
    if is_chosen or n_rows <= max(affordable, N_SAMPLED_ROWS) or n_steps <= AFFORDABLE_STEPS:
        followed = TraversedTreeGame(forest, offset, background, dtype, n_features)
        return TreeEngine(subject.encode, followed, background.summary)
    outputs = offset + sum_of_leaves(forest, background.rows.astype(dtype))
    sampled = SampledTreeGame(
        forest,
        offset,
        population=Population(background.rows, outputs),
        n_rows=N_SAMPLED_ROWS,
        seed=subject.options.random_state,
        input_dtype=dtype,
        grouping=subject.grouping,
    )
    return SampledBackgroundEngine(subject.encode, sampled, background.summary, "tree/sampled")


def _narrowed(subject: Subject, forest: Forest) -> tuple[Subject, Forest]:
    """Leave out the columns at which no tree looks, where there are sparse examples to meet."""
    columns, place = np.unique(forest.column, return_inverse=True)
    if subject.every is None or len(columns) == 0:
        return subject, forest
    return subject.of_columns(columns), replace(forest, column=place)


def build_product(subject: Subject, structure: ProductStructure | LogLinearStructure) -> Engine:
    """Take the exact values of a product kernel, or sample around it behind a link."""
    n_features = subject.grouping.n_features
    log_factors = structure.log_factors(subject.grouping)
    kernel = ProductKernel(log_factors, structure.dual, structure.intercepts)
    if structure.link is None:
        dual, intercepts = subject.per_class(structure.dual, structure.intercepts)
        kernel = replace(kernel, dual=dual, intercept=intercepts)
        return _build_exact_product(subject, kernel)
    shapley, affordable = (
        partial(product_shapley, kernel),
        _count_integrated_rows(kernel, n_features),
    )
    known, background = subject.known_margins(shapley, kernel.margins, affordable)
    game = ProductGame(kernel, structure.link, known, background, subject.grouping)
    most_evaluations = 2 * AFFORDABLE_TABLE // structure.dual.shape[1]
    effort = Effort(EVALUATIONS_EACH, most_evaluations=most_evaluations)
    return subject.kernel_engine(game, "kernel/product", effort)


def build_polynomial(subject: Subject, structure: PolynomialStructure) -> Engine:
    """Take the exact values of a polynomial kernel, or sample around it behind a link."""
    n_support, n_features = len(structure.support), subject.grouping.n_features
    affordable = AFFORDABLE_FACTORS // (n_support * n_features * structure.degree)
    dual, intercepts = structure.dual, structure.intercepts
    if structure.link is None:
        dual, intercepts = subject.per_class(dual, intercepts)
    kernel = PolynomialKernel(
        structure.support, structure.offset, structure.degree, dual, intercepts, subject.grouping
    )
    shapley = partial(polynomial_shapley, kernel)
    if structure.link is None and subject.is_cut(affordable):
        sampled = subject.sample_background(shapley, kernel.margins, affordable)
        return subject.sampled_engine(sampled, "polynomial/sampled")
    if structure.link is None:
        return PolynomialEngine(subject.encode, kernel, subject.background(affordable))
    model = AdditiveModel(
        kernel.contributions,
        kernel.offset,
        kernel.readout,
        Shifted(intercepts, structure.link),
    )
    # The margins that the link is given come without their intercepts, which change no importance.
    known, background = subject.known_margins(shapley, kernel.margins, affordable)
    game = AdditiveGame(model, background, subject.grouping, known)
    effort = Effort(EVALUATIONS_EACH, EVALUATIONS_EACH // 2, 2 * AFFORDABLE_TABLE // n_support)
    return subject.kernel_engine(game, "kernel/polynomial", effort)


def _build_exact_product(subject: Subject, kernel: ProductKernel) -> Engine:
    """Take all examples, by enumeration or by quadrature, or a sample where they are too many."""
    n_features = subject.grouping.n_features
    integrated = _count_integrated_rows(kernel, n_features)
    affordable = max(integrated, _count_enumerated_rows(kernel, n_features))
    if subject.is_cut(affordable):
        _check_width(kernel, n_features)
        shapley = partial(product_shapley, kernel)
        sampled = subject.sample_background(shapley, kernel.margins, integrated)
        return subject.sampled_engine(sampled, "product/sampled")
    background = subject.background(affordable)
    enumerated = None
    if len(background.rows) <= _count_enumerated_rows(kernel, n_features):
        enumerated = EnumeratedProducts(kernel, background, n_features)
    return ProductEngine(subject.encode, subject.grouping, kernel, background, enumerated)


def _check_width(kernel: ProductKernel, n_features: int) -> None:
    """Refuse a machine so wide that the model itself is faster than meeting the fewest rows."""
    n_support = kernel.dual.shape[1]
    factors = FEWEST_SAMPLED_ROWS * n_support * n_features * -(-n_features // 2)
    if factors > MOST_FACTORS:
        raise UnsupportedStructureError(
            f"A kernel machine of {n_features} features and {n_support} support vectors: the model "
            "itself is faster."
        )


def _build_additive(
    subject: Subject,
    structure: LinearStructure | NetworkStructure | AdditiveStructure,
    background: Background,
    method: str,
) -> Engine:
    """Sample a model whose hidden units are sums over features."""
    model = structure.additive
    model = replace(model, contributions=Grouped(model.contributions, subject.grouping))
    if subject.grouping.n_features > MOST_IN_COALITIONS and subject.is_left_open:
        return _build_permutations(subject, model, background, method)
    game = AdditiveGame(model, background, subject.grouping)
    most_evaluations = 2 * AFFORDABLE_TABLE // len(model.bias)
    effort = Effort(ADDITIVE_EVALUATIONS_EACH, spread=3, most_evaluations=most_evaluations)
    return subject.kernel_engine(game, method, effort)


def _build_permutations(
    subject: Subject, model: AdditiveModel, background: Background, method: str
) -> SampledBackgroundEngine:
    """Sample orders of very many features."""
    steps = 2 * subject.grouping.n_features * len(model.bias)
    n_orders = int(np.clip(AFFORDABLE_WAYS // steps, FEWEST_ORDERS, MOST_ORDERS))
    game = PermutationGame(
        model,
        Population(background.rows, background.outputs(model.outputs)),
        subject.grouping,
        n_orders=n_orders,
        seed=subject.options.random_state,
    )
    method = method.replace("kernel/", "permutation/")
    return SampledBackgroundEngine(subject.encode, game, background.summary, method)


def _build_linked_trees(subject: Subject, structure: TreeStructure, link: Link) -> KernelEngine:
    forest = Forest.of(structure.trees, subject.grouping)
    _check_linked(forest)
    background, margins = _linked_margins(subject, structure, forest)
    game = LinkedTreeGame(margins, link, background, subject.grouping)
    effort, n_splits = Effort(EVALUATIONS_EACH, EVALUATIONS_EACH // 2), len(forest.column)
    if n_splits * len(background.rows) > FEW_DECISIONS:
        effort = replace(effort, most_evaluations=BITS_OF_HYBRID_ROWS // n_splits)
    return subject.kernel_engine(game, "kernel/tree", effort)


def _check_linked(forest: Forest) -> None:
    """Refuse trees behind a link that are met more slowly than the model answers."""
    if not forest.has_narrow_paths:
        most = int(forest.n_slots.max())
        raise UnsupportedStructureError(
            f"Trees behind a link: expected at most {MOST_BITS} features on a path, got {most}."
        )
    n_leaves = len(forest.value)
    are_small = n_leaves <= SMALL_TREE * forest.n_trees
    most = MOST_IN_SMALL_TREES if are_small else MOST_LINKED_LEAVES
    if n_leaves > most:
        raise UnsupportedStructureError(
            f"Trees with {n_leaves} leaves behind a link: beyond {most} the model is called."
        )


def _linked_margins(
    subject: Subject, structure: TreeStructure, forest: Forest
) -> tuple[Background, TreeGame]:
    """Meet as many background rows as there is room for."""

    def met(affordable: int) -> tuple[Background, TreeGame]:
        background = subject.background(affordable)
        dtype, n_features = structure.input_dtype, subject.grouping.n_features
        return background, TreeGame(forest, structure.offset, background, dtype, n_features)

    n_rows = AFFORDABLE_DECISIONS // max(1, len(forest.column))
    background, margins = met(min(affordable_rows(forest), n_rows))
    too_many = margins.n_patterns / MOST_LINKED_PATTERNS
    if too_many > MOST_CUT:
        n_rows = len(background.rows)
        raise UnsupportedStructureError(
            f"Trees with {len(forest.value)} leaves behind a link: {n_rows} background rows make "
            f"{margins.n_patterns} different patterns of them, and the model needs less memory."
        )
    return met(int(len(background.rows) / too_many)) if too_many > 1 else (background, margins)


def _count_steps(forest: Forest, background: Background, dtype: type[np.floating]) -> float:
    """Return how many steps an explained row takes about with all background rows: a few tell."""
    few = spread_out(background.rows, N_TRIAL_ROWS)
    others = np.roll(few, 1, axis=0)
    steps = [
        TreeTraversal(forest, other[None], dtype, len(other)).count_steps(row)
        for row, other in zip(few, others, strict=True)
    ]
    return float(np.mean(steps)) * len(background.rows)


def _count_integrated_rows(kernel: ProductKernel, n_features: int) -> int:
    """Return how many background rows the exact margin takes by quadrature."""
    n_nodes = -(-n_features // 2)
    return AFFORDABLE_FACTORS // (kernel.dual.shape[1] * n_features * n_nodes)


def _count_enumerated_rows(kernel: ProductKernel, n_features: int) -> int:
    """Return how many background rows the exact margin takes by enumeration; 0 without it."""
    entries = 2**n_features * kernel.dual.shape[1]
    if n_features == 1 or entries > AFFORDABLE_MEANS:
        return 0
    return AFFORDABLE_EXPONENTIALS // entries
