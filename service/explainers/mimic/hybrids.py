"""Hybrid rows: the rows on which Shapley values evaluate a model, and a surrogate must follow it.

Next: :mod:`service.explainers.mimic.fidelity`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from service.engines.outputs import ModelOutput
from service.engines.sparse.examples import dense_blocks
from service.rows.tables import is_sparse


def make_hybrids(rows: Any, count: int, rng: np.random.Generator) -> Any:
    """Mix pairs of rows, each column from one or the other; every coalition size equally often.

    A value stands in its own column only, so categories stay categories.

    Parameters
    ----------
    rows : ndarray or sparse matrix of shape (n_rows, n_features)
    count : int
        How many hybrids are made.
    rng : numpy Generator

    Returns
    -------
    ndarray or csr_array of shape (count, n_features)
    """
    first, second = rng.integers(rows.shape[0], size=(2, count))
    share = rng.random((count, 1))
    if is_sparse(rows):
        return _mix_sparse(rows[first].tocoo(), rows[second].tocoo(), share[:, 0], rng)
    return np.where(rng.random((count, rows.shape[1])) < share, rows[first], rows[second])


def _mix_sparse(
    first: Any, second: Any, share: NDArray[np.float64], rng: np.random.Generator
) -> csr_array:
    """Take each cell that one of two rows stores from the one or the other, both of it alike."""
    width = first.shape[1]
    row = np.concatenate([first.row, second.row])
    column = np.concatenate([first.col, second.col])
    is_of_first = np.arange(len(row)) < len(first.row)
    cells, of_cell = np.unique(row.astype(np.int64) * width + column, return_inverse=True)
    is_first_taken = (rng.random(len(cells)) < share[cells // width])[of_cell]
    kept = is_of_first == is_first_taken
    data = np.concatenate([first.data, second.data])[kept]
    return csr_array((data, (row[kept], column[kept])), shape=first.shape)


def stack_rows(upper: Any, lower: Any) -> Any:
    """Put rows one under another; sparse ones stay sparse."""
    if is_sparse(upper):
        return vstack([upper, lower], format="csr")
    return np.concatenate([upper, lower])


def answers_to(output: ModelOutput, rows: Any) -> NDArray[np.float64]:
    """Ask for rows, shape (n_rows, n_outputs); of sparse ones some are dense at once."""
    if not is_sparse(rows):
        return output(rows)
    return np.concatenate([output(block.astype(np.float64)) for block in dense_blocks(rows)])
