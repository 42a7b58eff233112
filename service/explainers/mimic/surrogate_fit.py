"""Fitting a surrogate: with as many blocks of hybrid rows as make it follow its teacher best.

Next: :mod:`service.explainers.mimic.probabilities`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engines.outputs import ModelOutput
from service.engines.row_explainer import StandIn
from service.explainers.mimic.explainable_models import ExplainableModel
from service.explainers.mimic.fidelity import Followed, describe_fidelity
from service.explainers.mimic.hybrids import make_hybrids

# More blocks are preferred where they take this share of what is unexplained away.
WORTH_IT = 0.01
NOTHING_LEFT = 1e-9
FEWEST_FRESH, MOST_FRESH = 500, 2_000
N_FOLDS = 5
# More examples are not all left out in turn: a fifth of them is left out once.
MOST_IN_TURN = 1_000


@dataclass(frozen=True)
class Apprenticeship:
    """A teacher, and how it is to be imitated.

    Attributes
    ----------
    teacher : ModelOutput
    model : ExplainableModel
    categories : sequence of int
    most_augmentations : int
    random_state : int
    """

    teacher: ModelOutput
    model: ExplainableModel
    categories: Sequence[int]
    most_augmentations: int
    random_state: int

    def fit(self, examples: NDArray[Any]) -> StandIn:
        """Fit the surrogate, and measure how well it follows the teacher.

        Parameters
        ----------
        examples : ndarray of shape (n_examples, n_features)
        """
        rng = np.random.default_rng(self.random_state)
        n_fresh = int(np.clip(len(examples), FEWEST_FRESH, MOST_FRESH))
        output, n_blocks = self._choose(examples, n_fresh, rng)
        hybrids = self._follow(output, make_hybrids(examples, n_fresh, rng))
        real = self._follow_unfitted(examples, n_blocks, rng)
        first = examples[:1]
        description = {
            "model": type(self.model).__name__,
            "augmentations": n_blocks,
            "fidelity": describe_fidelity(real, hybrids, self.teacher.task),
        }
        return StandIn(output, (self.teacher(first) - output(first))[0], description)

    def _choose(
        self, examples: NDArray[Any], n_fresh: int, rng: np.random.Generator
    ) -> tuple[ModelOutput, int]:
        """Fit on more and more blocks, and keep those that follow best on hybrids.

        A stage that is no better ends nothing, for the next ones may be: with few examples it is a
        matter of chance which stage is.
        """
        fresh = make_hybrids(examples, n_fresh, rng)
        answers = self.teacher(fresh)
        rows, outputs = examples, self.teacher(examples)
        best, used = self._fit_on(rows, outputs), 0
        left = 1.0 - Followed(answers, best(fresh)).r2
        for n_blocks in _stages(self.most_augmentations):
            if left <= NOTHING_LEFT:
                break
            added = make_hybrids(examples, (n_blocks + 1) * len(examples) - len(rows), rng)
            rows = np.concatenate([rows, added])
            outputs = np.concatenate([outputs, self.teacher(added)])
            tried = self._fit_on(rows, outputs)
            left_now = 1.0 - Followed(answers, tried(fresh)).r2
            if left_now <= (1.0 - WORTH_IT) * left:
                best, used, left = tried, n_blocks, left_now
        return best, used

    def _follow_unfitted(
        self, examples: NDArray[Any], n_blocks: int, rng: np.random.Generator
    ) -> Followed:
        """Ask for examples that are left out, all in turn where they are few."""
        answers = self.teacher(examples)
        found = np.zeros_like(answers)
        left_out = _folds(len(examples), rng)
        for fold in left_out:
            kept = np.delete(examples, fold, axis=0)
            added = make_hybrids(kept, n_blocks * len(kept), rng)
            rows = np.concatenate([kept, added])
            found[fold] = self._fit_on(rows, self.teacher(rows))(examples[fold])
        asked = np.concatenate([np.zeros(0, dtype=np.intp), *left_out])
        return Followed(answers[asked], found[asked])

    def _follow(self, output: ModelOutput, rows: NDArray[Any]) -> Followed:
        return Followed(self.teacher(rows), output(rows))

    def _fit_on(self, rows: NDArray[Any], outputs: NDArray[np.float64]) -> ModelOutput:
        """Fit rows; of a binary margin, −m and m, one is fitted and the other follows."""
        is_margin = (self.teacher.task, self.teacher.scale) == ("classification", "margin")
        if is_margin and outputs.shape[1] == 2 and np.array_equal(outputs[:, 0], -outputs[:, 1]):
            outputs = outputs[:, 1:]
        try:
            fitted = self.model.fit(rows, outputs, self.categories)
        except Exception as error:  # every library has its own
            if not self.model.arguments:
                raise
            raise ValueError(
                "explainable_model_args: expected arguments that "
                f"{type(self.model).__name__} can be fitted with, got {self.model.arguments}, of "
                f"which it says: {str(error).strip()}"
            ) from error
        return self._output_of(fitted)

    def _output_of(self, fitted: Any) -> ModelOutput:
        """Return the output of a surrogate, which is asked with plain arrays by position."""
        teacher, schema = self.teacher, self.teacher.schema
        names = tuple(range(len(schema.columns)))
        columns = tuple(replace(column, missing_mark="NaN") for column in schema.columns)
        return ModelOutput(
            fitted,
            teacher.scale,
            teacher.task,
            replace(schema, columns=columns, as_frame=False, model_names=names),
            method="predict",
        )


def _stages(most: int) -> Iterator[int]:
    """Count blocks: 1, 2, 4, 8, …, and at last as many as there may be."""
    n_blocks = 1
    while n_blocks < most:
        yield n_blocks
        n_blocks *= 2
    if most:
        yield most


def _folds(n_rows: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Return the rows that are left out, in turn; none of a single row."""
    order = rng.permutation(n_rows)
    if n_rows < 2:
        return []
    folds = np.array_split(order, min(N_FOLDS, n_rows))
    return folds if n_rows <= MOST_IN_TURN else folds[:1]
