"""Shapley values straight from their definition: slow, obvious, and independent of the code under
test.
"""

from itertools import combinations
from math import factorial

import numpy as np


def shapley_by_definition(function, row, rows, weights):
    """Average each feature's marginal contribution over all coalitions of the others; (n_outputs,
    n_features).
    """
    n = len(row)
    coalitions = [c for size in range(n + 1) for c in combinations(range(n), size)]
    hybrids = np.repeat(rows[None], len(coalitions), axis=0)  # (n_coalitions, n_rows, n)
    for hybrid, coalition in zip(hybrids, coalitions, strict=True):
        hybrid[:, list(coalition)] = row[list(coalition)]
    # In one call, since a model is slow to call and quick to evaluate.
    outputs = np.atleast_2d(function(hybrids.reshape(-1, n)).T).T
    means = np.average(outputs.reshape(*hybrids.shape[:2], -1), axis=1, weights=weights)
    values = dict(zip(coalitions, means, strict=True))
    importances = np.zeros((len(values[()]), n))
    for j in range(n):
        others = [i for i in range(n) if i != j]
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for coalition in combinations(others, size):
                gain = values[tuple(sorted((*coalition, j)))] - values[coalition]
                importances[:, j] += weight * gain
    return importances


def third_order_interaction(function, row, other, triple=(0, 1, 2)):
    """Return the pure interaction of three features between two rows; zero for games of order one
    and two.
    """
    total = 0.0
    for size in range(4):
        for coalition in combinations(triple, size):
            hybrid = other.copy()
            hybrid[list(coalition)] = row[list(coalition)]
            total += (-1) ** (3 - size) * function(hybrid[None])[0]
    return total
