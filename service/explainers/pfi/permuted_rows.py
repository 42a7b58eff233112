"""Rows whose columns are permuted one by one, and how much worse a metric gets by it.

scikit-learn permutes. What it is given are no rows but their *positions*, a column for each
feature: a permuted column of positions says where the values of that feature are to be taken from.
So rows of every form are permuted alike: frames keep their dtypes, sparse rows stay sparse, and a
part of the features may be chosen. Next: :mod:`service.explainers.pfi.explainer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.inspection import permutation_importance

from service.engines.progress import no_progress, progress_bar
from service.explainers.pfi.metrics import Scorer
from service.rows.tables import is_sparse

COLUMNS_PER_JOB = 4
_PROGRESS = {False: no_progress, True: progress_bar}


@dataclass(frozen=True)
class Permutation:
    """How columns are permuted.

    Attributes
    ----------
    n_repeats : int
    seed : int
    max_samples : int or float
    n_jobs : int or None
    show_progress : bool
    """

    n_repeats: int
    seed: int
    max_samples: int | float
    n_jobs: int | None
    show_progress: bool


@dataclass
class LossOfScore:
    """What a model scores on permuted rows, less what it scores on the same rows as they are.

    It takes positions in place of rows. A sample of the rows is held against itself, so that a
    column without any influence loses exactly nothing.

    Attributes
    ----------
    score : callable
    rows : DataFrame, ndarray or csc_array of shape (n_rows, n_features)
    whole : float
        What the model scores on all rows.
    """

    score: Scorer
    rows: Any
    whole: float
    _of_sample: dict[bytes, float] = field(default_factory=dict)

    def __call__(self, model: Any, positions: pd.DataFrame, labels: Any, **weights: Any) -> float:
        """Return the difference, for one column of positions that may be permuted."""
        kept = positions.index.to_numpy()
        is_moved = (positions.to_numpy() != kept[:, None]).any(axis=0)
        if not is_moved.any():
            return 0.0
        (column,) = positions.columns[is_moved]
        permuted = self._permuted(kept, column, positions[column].to_numpy())
        whole = self._unpermuted(model, kept, labels, weights)
        return self.score(model, permuted, labels.copy(), **weights) - whole

    def _unpermuted(
        self, model: Any, kept: NDArray[np.intp], labels: Any, weights: dict[str, Any]
    ) -> float:
        if len(kept) == self.rows.shape[0]:
            return self.whole
        key = kept.tobytes()
        if key not in self._of_sample:
            self._of_sample[key] = self.score(
                model, as_asked_rows(self._take(kept).copy()), labels.copy(), **weights
            )
        return self._of_sample[key]

    def _take(self, kept: NDArray[np.intp]) -> Any:
        if len(kept) == self.rows.shape[0]:
            return self.rows.copy()
        return self.rows.iloc[kept] if isinstance(self.rows, pd.DataFrame) else self.rows[kept]

    def _permuted(self, kept: NDArray[np.intp], column: int, taken: NDArray[np.intp]) -> Any:
        """Return the rows that are kept, with a column that is taken from others."""
        if is_sparse(self.rows):
            return _with_sparse_column(self._take(kept), column, self.rows[:, [column]][taken])
        rows = self._take(kept)
        if not isinstance(rows, pd.DataFrame):
            rows[:, column] = self.rows[taken, column]
            return rows
        values = self.rows.iloc[taken, column].set_axis(rows.index)
        return _with_frame_column(rows, column, values)


def _with_frame_column(rows: pd.DataFrame, column: int, values: Any) -> pd.DataFrame:
    rows = rows.copy()
    rows.isetitem(column, values)
    return rows


def _with_sparse_column(rows: Any, column: int, values: Any) -> Any:
    """Put another column into sparse rows, by what lies before and behind it."""
    values = values.tocsc()
    start, stop = rows.indptr[column], rows.indptr[column + 1]
    grown = values.nnz - (stop - start)
    indptr = rows.indptr.copy()
    indptr[column + 1 :] += grown
    data = np.concatenate([rows.data[:start], values.data, rows.data[stop:]])
    indices = np.concatenate([rows.indices[:start], values.indices, rows.indices[stop:]])
    return as_asked_rows(type(rows)((data, indices, indptr), shape=rows.shape))


def as_asked_rows(rows: Any) -> Any:
    """Return rows as a model takes them: sparse ones by rows, which all of them take."""
    return rows.tocsr() if is_sparse(rows) else rows


def permute_columns(
    model: Any,
    score: Scorer,
    rows: Any,
    labels: NDArray[Any],
    *,
    columns: Sequence[int],
    permutation: Permutation,
    weights: dict[str, Any],
) -> NDArray[np.float64]:
    """Return how much of its score a model loses by each permutation, positive where it matters.

    Parameters
    ----------
    model : object
    score : callable
        From a model, rows and labels to a number; the more, the better.
    rows : DataFrame, ndarray or sparse matrix of shape (n_rows, n_features)
    labels : ndarray of shape (n_rows,)
    columns : sequence of int
        Those that are permuted.
    permutation : Permutation
    weights : dict
        ``sample_weight``, where there are weights.

    Returns
    -------
    ndarray of shape (n_columns, n_repeats)
    """
    if is_sparse(rows):
        rows = rows.tocsc()
    # A model or a metric that writes into what it gets is given what nobody else has.
    whole = score(model, as_asked_rows(rows.copy()), labels.copy(), **weights)
    loss = LossOfScore(score, rows, whole)
    at_once = COLUMNS_PER_JOB * effective_n_jobs(permutation.n_jobs)
    blocks = [columns[i : i + at_once] for i in range(0, len(columns), at_once)]
    shown = _PROGRESS[permutation.show_progress]
    losses = []
    for block in shown(blocks):
        losses.append(
            _permute_block(loss, model, labels, block, permutation=permutation, weights=weights)
        )
    return np.concatenate(losses)


def _permute_block(
    loss: LossOfScore,
    model: Any,
    labels: NDArray[Any],
    block: Sequence[int],
    *,
    permutation: Permutation,
    weights: dict[str, Any],
) -> NDArray[np.float64]:
    """Permute some columns; each is permuted alike in whatever block it is."""
    n_rows = len(labels)
    positions = pd.DataFrame(np.repeat(np.arange(n_rows)[:, None], len(block), axis=1))
    positions.columns = pd.Index(block)
    found = permutation_importance(
        model,
        positions,
        labels,
        scoring=loss,
        n_repeats=permutation.n_repeats,
        random_state=permutation.seed,
        n_jobs=permutation.n_jobs,
        max_samples=permutation.max_samples,
        **weights,
    )
    return np.asarray(found.importances, dtype=np.float64)
