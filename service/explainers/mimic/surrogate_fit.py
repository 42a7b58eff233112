"""Fitting a surrogate: with as many blocks of hybrid rows as make it follow its teacher best.

Next: :mod:`service.explainers.mimic.probabilities`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.outputs import ModelOutput
from service.engines.progress import Begin, steps_shown
from service.engines.row_explainer import StandIn
from service.errors import ModelOutputError, expect
from service.explainers.mimic.explainable_models import CodedColumns, ExplainableModel
from service.explainers.mimic.fidelity import Followed, describe_fidelity
from service.explainers.mimic.hybrids import answers_to, make_hybrids, stack_rows
from service.explainers.mimic.screening import count_kept
from service.rows.schema import Schema

# More blocks are preferred where they take this share of what is unexplained away.
WORTH_IT = 0.01
NOTHING_LEFT = 1e-9
FEWEST_FRESH, MOST_FRESH = 500, 2_000
N_FOLDS = 5
# More examples, or cells that are fitted, are not left out in turn: a fifth of them is once.
MOST_IN_TURN, MOST_CELLS_IN_TURN = 1_000, 2**23
SMALLEST, LARGEST = 1e-140, 1e140  # of outputs, in size


@dataclass(frozen=True)
class Apprenticeship:
    """A teacher, and how it is to be imitated.

    Attributes
    ----------
    teacher : ModelOutput
    model : ExplainableModel
    columns : CodedColumns
        Those that hold no numbers.
    most_augmentations : int
    random_state : int
    """

    teacher: ModelOutput
    model: ExplainableModel
    columns: CodedColumns
    most_augmentations: int
    random_state: int

    def fit(self, examples: Any) -> StandIn:
        """Fit the surrogate, and measure how well it follows the teacher.

        Parameters
        ----------
        examples : ndarray or sparse matrix by rows, of shape (n_examples, n_features)
        """
        rng = np.random.default_rng(self.random_state)
        n_fresh = int(np.clip(examples.shape[0], FEWEST_FRESH, MOST_FRESH))
        with steps_shown("Imitating the model") as begin:
            output, n_blocks, r2_fitted = self._choose(examples, n_fresh, rng, begin)
            begin("how well it is followed on fresh hybrids")
            hybrids = self._follow(output, make_hybrids(examples, n_fresh, rng))
            begin("how well it is followed on examples that are left out")
            real = self._follow_unfitted(examples, n_blocks, rng)
        first = examples[:1]
        residual = answers_to(self.teacher, first) - answers_to(output, first)
        description = {
            "model": type(self.model).__name__,
            "augmentations": n_blocks,
            "r2_fitted": r2_fitted,
            "columns": examples.shape[1],
            "fitted_columns": self._count_fitted(examples.shape, n_blocks),
            "fidelity": describe_fidelity(real, hybrids),
        }
        return StandIn(output, residual[0], description)

    def _choose(
        self, examples: Any, n_fresh: int, rng: np.random.Generator, begin: Begin
    ) -> tuple[ModelOutput, int, float]:
        """Fit on more and more blocks, and keep those that follow best on hybrids.

        Return what was fitted, on how many blocks, and how well it follows these and the examples.

        A stage that is no better ends nothing, for the next ones may be: with few examples it is a
        matter of chance which stage is.
        """
        begin("examples")
        fresh = make_hybrids(examples, n_fresh, rng)
        answers = answers_to(self.teacher, fresh)
        rows, outputs = examples, answers_to(self.teacher, examples)
        _check_squares(outputs, self.teacher.task)
        best, used, n_fitted = self._fit_on(rows, outputs), 0, examples.shape[0]
        left = 1.0 - self._compare(answers, answers_to(best, fresh)).r2
        for n_blocks in _stages(self.most_augmentations):
            if left <= NOTHING_LEFT:
                break
            begin(f"examples and {n_blocks} times as many hybrids of them")
            n_added = (n_blocks + 1) * examples.shape[0] - rows.shape[0]
            added = make_hybrids(examples, n_added, rng)
            rows = stack_rows(rows, added)
            outputs = np.concatenate([outputs, answers_to(self.teacher, added)])
            tried = self._fit_on(rows, outputs)
            left_now = 1.0 - self._compare(answers, answers_to(tried, fresh)).r2
            if left_now <= (1.0 - WORTH_IT) * left:
                best, used, left = tried, n_blocks, left_now
                n_fitted = rows.shape[0]
        fitted = self._compare(outputs[:n_fitted], answers_to(best, rows[:n_fitted]))
        return best, used, fitted.r2

    def _follow_unfitted(self, examples: Any, n_blocks: int, rng: np.random.Generator) -> Followed:
        """Ask for examples that are left out, all in turn where they are few."""
        answers = answers_to(self.teacher, examples)
        found = np.zeros_like(answers)
        left_out = _folds(examples.shape[0], (n_blocks + 1) * examples.size, rng)
        for fold in left_out:
            kept = examples[np.delete(np.arange(examples.shape[0]), fold)]
            rows = stack_rows(kept, make_hybrids(kept, n_blocks * kept.shape[0], rng))
            fitted = self._fit_on(rows, answers_to(self.teacher, rows))
            found[fold] = answers_to(fitted, examples[fold])
        asked = np.concatenate([np.zeros(0, dtype=np.intp), *left_out])
        return self._compare(answers[asked], found[asked])

    def _count_fitted(self, shape: tuple[int, int], n_blocks: int) -> int:
        """Return on how many columns the surrogate was fitted, with so many blocks of hybrids."""
        n_examples, n_columns = shape
        if not self.model.is_screened:
            return n_columns
        n_coded = len(self.columns)
        n_numbers = n_columns - n_coded
        return n_coded + count_kept((n_blocks + 1) * n_examples, n_numbers)

    def _follow(self, output: ModelOutput, rows: Any) -> Followed:
        return self._compare(answers_to(self.teacher, rows), answers_to(output, rows))

    def _compare(self, answers: NDArray[np.float64], found: NDArray[np.float64]) -> Followed:
        return Followed(answers, found, self.teacher.task)

    def _fit_on(self, rows: Any, outputs: NDArray[np.float64]) -> ModelOutput:
        """Fit rows; of a binary margin, −m and m, one is fitted and the other follows."""
        is_margin = (self.teacher.task, self.teacher.scale) == ("classification", "margin")
        if is_margin and outputs.shape[1] == 2 and np.array_equal(outputs[:, 0], -outputs[:, 1]):
            outputs = outputs[:, 1:]
        try:
            fitted = self.model.fit(rows, outputs, self.columns)
        except MemoryError:
            raise
        except Exception as error:  # every library has its own
            raise ValueError(self._refusal(str(error).strip())) from error
        return self._output_of(fitted)

    def _refusal(self, said: str) -> str:
        """Say what the library says, and of what: arguments, or rows where there are none."""
        name, arguments = type(self.model).__name__, self.model.arguments
        if arguments:
            return (
                f"explainable_model_args: expected arguments that {name} can be fitted with, got "
                f"{arguments}, of which it says: {said}"
            )
        return (
            f"initialization_examples: expected rows that {name} can be fitted on, got others, of "
            f"which it says: {said} Take another surrogate, or leave such rows out."
        )

    def _output_of(self, fitted: Any) -> ModelOutput:
        """Return the output of a surrogate, which is asked with plain arrays by position."""
        return ModelOutput(
            fitted, self.teacher.scale, self.teacher.task, self._schema, method="predict"
        )

    @cached_property
    def _schema(self) -> Schema:
        """The teacher's columns by position, in plain arrays."""
        schema = self.teacher.schema
        names = tuple(range(len(schema.columns)))
        columns = tuple(replace(column, missing_mark="NaN") for column in schema.columns)
        return replace(schema, columns=columns, as_frame=False, model_names=names)


def _check_squares(outputs: NDArray[np.float64], task: str) -> None:
    """Refuse outputs whose squares overflow or vanish: surrogates are fitted by least squares.

    Each target has a unit of its own; a class may be next to impossible where others are not.
    """
    sizes = np.abs(outputs).max(axis=0)
    for largest in [sizes.max()] if task == "classification" else sizes:
        expect(
            largest == 0.0 or SMALLEST <= largest <= LARGEST,
            f"MimicExplainer: expected a model whose outputs are {SMALLEST:g} to {LARGEST:g} in "
            f"size, of which squares can be added up, got {largest:g} at most; fit it to a target "
            "in another unit.",
            ModelOutputError,
        )


def _stages(most: int) -> Iterator[int]:
    """Count blocks: 1, 2, 4, 8, …, and at last as many as there may be."""
    n_blocks = 1
    while n_blocks < most:
        yield n_blocks
        n_blocks *= 2
    if most:
        yield most


def _folds(n_rows: int, n_cells: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Return the rows that are left out, in turn where fitting is quick; none of a single row."""
    order = rng.permutation(n_rows)
    if n_rows < 2:
        return []
    folds = np.array_split(order, min(N_FOLDS, n_rows))
    is_quick = n_rows <= MOST_IN_TURN and n_cells <= MOST_CELLS_IN_TURN
    return folds if is_quick else folds[:1]
