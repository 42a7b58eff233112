"""Trees whose background is too large to be met whole: a sample of it, with standard errors.

The importances against one background row are exact (:mod:`service.shapley.trees.traversal`), and
those wanted are their mean over all examples. A sample of rows gives that mean with an error, which
the spread between its rows tells. Two things are known of every example without following a path:
its own values, and the model's output for it. What a feature takes from a background row depends
most on the row's own value of that feature and on its output, so both are regressed out: the fitted
lines are moved from the sample's means to those of all examples (the regression estimator of survey
sampling; Cochran, "Sampling Techniques", 1977, chapter 7). Importances still add up: what they miss
of f(x) − E f is given to the features in proportion to their variances.

Next: :mod:`service.shapley.trees.linked`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.shapley.grouping import Grouping
from service.shapley.trees.forest import Forest
from service.shapley.trees.traversal import TreeTraversal, sum_of_leaves

NEGLIGIBLE = 1e-9  # of the largest singular value: columns that the others make up
MOST_COLUMNS = 4  # of a feature, that are regressed out: each takes a degree of freedom


@dataclass(frozen=True)
class Population:
    """All examples, of which a sample of rows is followed.

    Attributes
    ----------
    rows : ndarray of shape (n_examples, n_columns)
        Encoded.
    outputs : ndarray of shape (n_examples, n_outputs)
        The model's.
    """

    rows: NDArray[np.float64]
    outputs: NDArray[np.float64]


class SampledTreeGame:
    """A sum of trees on a sample of the examples, for estimates on all of them.

    Parameters
    ----------
    forest : Forest
    offset : ndarray of shape (n_outputs,)
        Added to the sum of the trees.
    population : Population
    sample : ndarray of int, shape (n_sampled,)
        The positions of the sampled rows, drawn without repetition.
    input_dtype : numpy dtype
        The model rounds its rows to this before it compares them.
    grouping : Grouping
    """

    def __init__(
        self,
        forest: Forest,
        offset: NDArray[np.float64],
        *,
        population: Population,
        sample: NDArray[np.intp],
        input_dtype: type[np.floating],
        grouping: Grouping,
    ) -> None:
        rows = population.rows[sample]
        self.traversal = TreeTraversal(forest, rows, input_dtype, grouping.n_features)
        self.offset = offset
        self.empty_value = population.outputs.mean(axis=0)
        self.share_unseen = 1 - len(sample) / len(population.rows)
        # What is regressed out, as distances from the mean of all examples.
        self._of_outputs = population.outputs[sample] - self.empty_value
        self._of_columns = _distances_from_mean(population.rows, sample)
        self._columns = [
            _most_varying(self._of_columns, grouping, j) for j in range(grouping.n_features)
        ]

    def full_value(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for one row, shape (n_outputs,)."""
        rows = row[None].astype(self.traversal.input_dtype)
        return self.offset + sum_of_leaves(self.traversal.forest, rows)[0]

    def estimate(
        self, row: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate the Shapley values of one row on all examples.

        Parameters
        ----------
        row : ndarray of shape (n_columns,)

        Returns
        -------
        values, standard_errors : ndarray of shape (n_outputs, n_features)
        """
        by_row = self.traversal.shapley_values(row)  # (n_sampled, n_outputs, n_features)
        values, variances = np.zeros((2, *by_row.shape[1:]))
        for feature in range(by_row.shape[2]):
            values[:, feature], variances[:, feature] = self._regress(by_row[..., feature], feature)
        missed = self.full_value(row) - self.empty_value - values.sum(axis=1)
        total = variances.sum(axis=1)
        share = np.divide(
            variances, total[:, None], out=np.zeros_like(variances), where=total[:, None] > 0
        )
        return values + missed[:, None] * share, np.sqrt(variances)

    def _regress(
        self, by_row: NDArray[np.float64], feature: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate a mean over all examples from a sample, and its variance; both (n_outputs,)."""
        own = self._of_columns[:, self._columns[feature]]
        values, variances = np.zeros((2, by_row.shape[1]))
        for output, y in enumerate(by_row.T):
            x = np.hstack([self._of_outputs[:, output, None], own])
            mean, x_mean = y.mean(), x.mean(axis=0)
            slope, rank = _fit_slope(x - x_mean, y - mean)
            residual = (y - mean) - (x - x_mean) @ slope
            freedom = max(1, len(y) - 1 - rank)
            values[output] = mean - x_mean @ slope
            variances[output] = self.share_unseen * (residual @ residual) / freedom / len(y)
        return values, variances


def draw_sample(n_examples: int, n_rows: int, seed: int) -> NDArray[np.intp]:
    """Draw positions of examples without repetition, in rising order; all if there are no more."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(n_examples, min(n_rows, n_examples), replace=False))


def _fit_slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Fit y by columns of x, all of them about their means; return the slope and the rank.

    Columns are brought to one size first, whatever their unit; one that does not vary has no slope.
    """
    size = np.linalg.norm(x, axis=0)
    unit = np.divide(x, size, out=np.zeros_like(x), where=size > 0)
    slope, _, rank, _ = np.linalg.lstsq(unit, y, rcond=NEGLIGIBLE)
    return np.divide(slope, size, out=np.zeros_like(slope), where=size > 0), int(rank)


def _distances_from_mean(
    rows: NDArray[np.float64], sample: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the sampled rows less the mean of all, scaled; what is missing is at the mean."""
    finite = np.where(np.isfinite(rows), rows, np.nan)
    known = ~np.isnan(finite)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, finite, 0.0).sum(axis=0) / count
    centred = np.where(known, finite - mean, 0.0)
    spread = np.sqrt((centred**2).mean(axis=0))
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    # Where some values are missing or infinite, the distances still average to 0 over all rows.
    return scaled[sample]


def _most_varying(
    distances: NDArray[np.float64], grouping: Grouping, feature: int
) -> NDArray[np.intp]:
    """Return the columns of a feature that vary most in the sample, a few at most."""
    own = np.flatnonzero(grouping.owner == feature)
    spread = distances[:, own].std(axis=0)
    order = np.argsort(-spread, kind="stable")[:MOST_COLUMNS]
    return own[order][spread[order] > 0]
