"""How far importances on a sampled or summarised background are from those on all examples.

A sample is unbiased: its error follows from how much importances vary from one background row to
the next. A summary by k-means centres has an error of its own kind: it is compared with a random
part of the examples, and the noise of that part is taken off. Both need importances of a few rows
against small disjoint parts of the examples, from engines built like the one in use; where those
sample, they take the same coalitions on every part, so that what varies is the background. An
engine that can be asked against single background rows tells the error of each row that it
explains; of others, the few rows tell one error for each feature. What only few examples have would
hardly ever be among the single rows: these are drawn like those of a survey
(:mod:`service.shapley.survey`). Next:
:mod:`service.engines.compiled_encoding`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.engine import BackgroundErrors, Engine
from service.shapley.background import Background, spread_out
from service.shapley.games import Function
from service.shapley.grouping import Grouping
from service.shapley.survey import RARE_IN_ERRORS, Population, Sample, draw_sample

Build = Callable[[Background], Engine]

MOST_UNSAID = 0.1  # of the mean absolute importance
N_EXPLAINED_ROWS = 4
N_PARTS = 8
ROWS_EACH = 16  # of a part
ROWS_EACH_CALLED = 8  # where every evaluation calls the model: about 65,000 rows in all
COALITIONS_CALLED = 256
# Elsewhere: with fewer, the noise of a summary's importances passes for its error.
COALITIONS = 1024
COALITIONS_PER_FEATURE = 4  # at least
MOST_CALLED_FEATURES = COALITIONS_CALLED // COALITIONS_PER_FEATURE  # more are not affordable
MOST_SAMPLED_FEATURES = 1000
# That tell the spread between background rows, for each row that is explained.
N_SINGLE_ROWS = 64
N_SINGLE_ROWS_SAMPLED = 32  # where each takes coalitions
MOST_NUMBERS = 20_000_000  # importances at once


@dataclass(frozen=True)
class BackgroundError:
    """How far importances on a background are from those on all examples.

    Attributes
    ----------
    relative : float or None
        Root mean square, as a share of the mean absolute importance; None where it is unknown.
    standard : BackgroundErrors or None
        The standard errors that a sampled background leaves in importances.
    """

    relative: float | None
    standard: BackgroundErrors | None = None


def estimate_background_error(
    build: Build, engine: Engine, examples: NDArray[Any], outputs: Function, seed: int
) -> BackgroundError:
    """Estimate the error of an engine's background on a few rows.

    Parameters
    ----------
    build : callable
        Builds the same kind of engine on another background.
    engine : Engine
    examples : ndarray of shape (n_examples, n_features)
    outputs : callable
        The model's, from examples to (n_examples, n_outputs).
    seed : int
        Of the parts.

    Returns
    -------
    BackgroundError
        The root mean square difference from the importances on all examples, over four examples,
        all features and outputs, as a share of the mean absolute importance. 0 on all examples;
        None on a background that was brought along, with fewer than eight examples, and where more
        than 64 features of a called model would have to be sampled. The error of a sample is its
        expected one, estimated to some 20 %; that of a summary cannot be told from 0 where it is
        far below a tenth of the spread between single background rows.
    """
    if engine.background.kind == "whole":
        return BackgroundError(0.0)
    if not _can_be_estimated(engine, examples):
        return BackgroundError(None)
    rows = spread_out(examples, N_EXPLAINED_ROWS)
    parts = _parts(engine, len(examples), seed)
    values = _explain_on_parts(build, examples, parts, rows)
    mean = values.mean(axis=0)
    typical = np.abs(mean).mean()
    if not typical:
        return BackgroundError(0.0)
    # The variance between single background rows, (n_outputs, n_features).
    of_one_row = parts.shape[1] * values.var(axis=0, ddof=1).mean(axis=1)
    if engine.background.kind == "sample":
        share = 1 / engine.background.n_rows - 1 / engine.background.n_examples
        if engine.is_additive:
            standard = BackgroundErrors(np.sqrt(_variance_of_all(engine, examples) * share))
        else:
            of_features = BackgroundErrors(np.sqrt(of_one_row * share), share=share)
            standard = _told_by_row(of_features, engine, examples, outputs, seed)
        relative = float(np.sqrt(np.square(standard.of_features).mean()) / typical)
        return BackgroundError(relative, standard)
    noise = of_one_row.mean() * (1 / parts.size - 1 / engine.background.n_examples)
    off = max(0.0, np.square(_explain(engine, rows) - mean).mean() - noise)
    return BackgroundError(float(np.sqrt(off) / typical))


def warn_of_error(engine: Engine, share: float | None) -> None:
    """Warn where importances are off by more than a tenth of a typical one.

    Parameters
    ----------
    engine : Engine
    share : float or None
        How far they are off, as a share of the mean absolute importance.
    """
    if share is None or share <= MOST_UNSAID:
        return
    background = engine.background
    warnings.warn(
        f"The importances of engine {engine.method!r} are off by about {share:.0%} of a typical "
        f"one (background: {background.kind}, {background.n_rows} of {background.n_examples} rows)."
        f" {_CURES.get(background.kind, _MORE_ROWS)} bring them closer.",
        stacklevel=2,
    )


_MORE_ROWS = "More background rows, fewer features or a larger nsamples"
_CURES = {
    "whole": "Fewer features, a larger nsamples or, where a sample of these rows is met for each "
    "explanation, background='whole', which then meets all of them,"
}


def _variance_of_all(engine: Engine, examples: NDArray[Any]) -> NDArray[np.float64]:
    """Return the variance between all examples where a feature counts by its own value alone.

    It is then the same for all rows that are explained, of shape (n_outputs, n_features).
    """
    n_blocks = -(-examples.size * len(engine.expected_values) // MOST_NUMBERS)
    squared, total = 0.0, 0.0
    for block in np.array_split(examples, n_blocks):
        values = engine.importances(block).values  # centred on the background
        squared, total = squared + np.square(values).sum(axis=1), total + values.sum(axis=1)
    return squared / len(examples) - np.square(total / len(examples))


def _told_by_row(
    errors: BackgroundErrors,
    engine: Engine,
    examples: NDArray[Any],
    outputs: Function,
    seed: int,
) -> BackgroundErrors:
    """Let an engine tell the errors of each row that it explains, where it can."""
    single = _draw_single(engine, examples, outputs, seed)
    by_row = engine.explain_against(engine.encode(examples[single.positions]))
    varies = Background.uniform(examples).varying(examples[0])
    may_count = engine.looks_at(examples.shape[1]) & varies
    return replace(errors, by_row=by_row, sample=single, may_count=may_count)


def _draw_single(engine: Engine, examples: NDArray[Any], outputs: Function, seed: int) -> Sample:
    """Draw the examples against which rows are explained for their errors."""
    # What a model that has to be called answers is left out: its examples may be many.
    known = np.zeros((len(examples), 0)) if engine.calls_model else outputs(examples)
    n_rows = N_SINGLE_ROWS if engine.is_exact else N_SINGLE_ROWS_SAMPLED
    population = Population(examples, known)
    grouping = Grouping.identity(examples.shape[1])
    return draw_sample(population, grouping, n_rows, seed, RARE_IN_ERRORS)


def _explain_on_parts(
    build: Build, examples: NDArray[Any], parts: NDArray[np.intp], rows: NDArray[Any]
) -> NDArray[np.float64]:
    """Explain rows against each part, shape (n_parts, n_outputs, n_rows, n_features)."""
    values = []
    for part in parts:
        engine = build(Background.uniform(examples[part], "given"))
        values.append(_explain(engine, rows))
    return np.stack(values)


def _can_be_estimated(engine: Engine, examples: NDArray[Any]) -> bool:
    most = MOST_CALLED_FEATURES if engine.calls_model else MOST_SAMPLED_FEATURES
    too_wide = engine.is_sampled and examples.shape[1] > most
    return engine.background.kind != "given" and len(examples) >= N_PARTS and not too_wide


def _parts(engine: Engine, n_examples: int, seed: int) -> NDArray[np.intp]:
    """Draw disjoint parts of the examples, shape (N_PARTS, n_rows).

    They are of a size that the engine can afford.
    """
    # A sample was cut to what is affordable for a row, or to what was asked for; of sparse examples
    # it may have more than are dense here.
    is_cut = engine.background.kind == "sample"
    affordable = min(engine.background.n_rows if is_cut else n_examples, n_examples) // N_PARTS
    size = min(ROWS_EACH_CALLED if engine.calls_model else ROWS_EACH, max(1, affordable))
    drawn = np.random.default_rng(seed).permutation(n_examples)[: N_PARTS * size]
    return drawn.reshape(N_PARTS, size)


def _explain(engine: Engine, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Explain rows; where values are sampled, with few coalitions, the same on every background."""
    coalitions = max(COALITIONS, COALITIONS_PER_FEATURE * rows.shape[1])
    if engine.calls_model:
        coalitions = COALITIONS_CALLED
    return engine.on_whole_background(coalitions).importances(rows).values
