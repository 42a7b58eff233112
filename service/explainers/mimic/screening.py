"""Which of very many columns trees are fitted on: those that go most with what is to be followed.

With far more columns than rows a tree finds its splits by chance, and looks at every column for
each of them. Columns are ranked one by one instead, and as many are kept as there are rows.

Source of the method: Fan & Lv, "Sure independence screening for ultrahigh dimensional feature
space" (2008). Next: :mod:`service.explainers.mimic.explainable_models`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.rows.tables import is_sparse

FEWEST_KEPT = 1_000  # up to so many are all kept
BLOCK = 2**21  # cells that are ranked at once


def screen_columns(
    rows: Any, outputs: NDArray[np.float64], columns: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Keep the columns that go most with some output, straight or by their distance from the mean.

    Parameters
    ----------
    rows : ndarray or sparse matrix by rows, of shape (n_rows, n_features)
    outputs : ndarray of shape (n_rows, n_outputs)
    columns : ndarray of int
        Those of numbers, among which some are kept.

    Returns
    -------
    ndarray of int
        In their order: all of them unless they are more than the rows, and than a thousand.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(50, 3_000))
    >>> kept = screen_columns(rows, rows[:, [7]] + rows[:, [2_000]] ** 2, np.arange(3_000))
    >>> len(kept), 7 in kept, 2_000 in kept
    (1000, True, True)
    """
    n_kept = count_kept(*rows.shape)
    if len(columns) <= n_kept:
        return columns
    by_column = rows.tocsc() if is_sparse(rows) else rows
    n_blocks = -(-rows.shape[0] * len(columns) // BLOCK)
    blocks = np.array_split(columns, n_blocks)
    strengths = [_rank(_read(by_column, block), outputs) for block in blocks]
    strongest = np.argsort(-np.concatenate(strengths), kind="stable")[:n_kept]
    return columns[np.sort(strongest)]


def count_kept(n_rows: int, n_columns: int) -> int:
    """Return how many of very many columns are kept."""
    return min(n_columns, max(FEWEST_KEPT, n_rows))


def _read(rows: Any, columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """Take some columns, dense, around their means: what is missing or infinite is the mean."""
    taken = rows[:, columns]
    values = np.asarray(taken.toarray() if is_sparse(taken) else taken, dtype=np.float64)
    is_there = np.isfinite(values)
    values = np.where(is_there, values, 0.0)
    values /= np.maximum(np.abs(values).max(axis=0), np.finfo(np.float64).tiny)
    means = values.sum(axis=0) / np.maximum(is_there.sum(axis=0), 1)
    return np.where(is_there, values - means, 0.0)


def _rank(values: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest correlation of each column, or of its square, with an output."""
    squares = values**2
    squares -= squares.mean(axis=0)
    around_mean = outputs - outputs.mean(axis=0)
    return np.maximum(_correlate(values, around_mean), _correlate(squares, around_mean))


def _correlate(columns: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest magnitude of correlation of each column; all have a mean of zero."""
    products = np.abs(columns.T @ outputs)
    lengths = np.outer(np.linalg.norm(columns, axis=0), np.linalg.norm(outputs, axis=0))
    shares = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return shares.max(axis=1)
