"""Importances on all examples, estimated from a sample of background rows.

The importances against one background row may be exact, and those wanted are their mean over all
examples. A sample of rows gives that mean with an error, which the spread between its rows tells.
Two things are known of every example without explaining anything: its own values, and the model's
output for it. What a feature takes from a background row depends most on the row's own value of
that feature and on its output, so both are regressed out: the fitted lines are moved from the
sample's means to those of all examples (the regression estimator of survey sampling; Cochran,
"Sampling Techniques", 1977, chapter 7). Importances still add up: what they miss of f(x) − E f is
given to the features in proportion to their variances.

Next: :mod:`service.shapley.linear`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.grouping import Grouping

NEGLIGIBLE = 1e-9  # of the largest singular value: columns that the others make up
MOST_ONE_BY_ONE = 128  # features that are fitted one after another, by singular values
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


class Survey:
    """A sample of all examples, and what is known of those that are not in it.

    Parameters
    ----------
    population : Population
    sample : ndarray of int, shape (n_sampled,)
        The positions of the sampled rows, drawn without repetition.
    grouping : Grouping
    is_exact : bool, default True
        Whether importances against one row are exact, so that those of all rows have no error.
    """

    def __init__(
        self,
        population: Population,
        sample: NDArray[np.intp],
        grouping: Grouping,
        is_exact: bool = True,
    ) -> None:
        self.rows = population.rows[sample]
        self.empty_value = population.outputs.mean(axis=0)
        self.share_unseen = 1 - is_exact * len(sample) / len(population.rows)
        # What is regressed out, as distances from the mean of all examples.
        self._of_outputs = population.outputs[sample] - self.empty_value
        self._of_columns = _distances_from_mean(population.rows, sample)
        self._columns = [
            _most_varying(self._of_columns, grouping, j) for j in range(grouping.n_features)
        ]

    def estimate(
        self, by_row: NDArray[np.float64], full_value: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate importances on all examples.

        Parameters
        ----------
        by_row : ndarray of shape (n_sampled, n_outputs, n_features)
            Importances against each sampled row.
        full_value : ndarray of shape (n_outputs,)
            The model's output for the explained row.

        Returns
        -------
        values, standard_errors : ndarray of shape (n_outputs, n_features)
        """
        values, variances = self._regress_each(by_row)
        missed = full_value - self.empty_value - values.sum(axis=1)
        total = variances.sum(axis=1)
        share = np.divide(
            variances, total[:, None], out=np.zeros_like(variances), where=total[:, None] > 0
        )
        return values + missed[:, None] * share, np.sqrt(variances)

    def _regress_each(
        self, by_row: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate means over all examples and their variances; both (n_outputs, n_features)."""
        if max(map(len, self._columns)) <= 1 and by_row.shape[2] > MOST_ONE_BY_ONE:
            return self._regress_at_once(by_row)
        values, variances = np.zeros((2, *by_row.shape[1:]))
        for feature in range(by_row.shape[2]):
            values[:, feature], variances[:, feature] = self._regress(by_row[..., feature], feature)
        return values, variances

    def _regress_at_once(
        self, by_row: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Do the same for features of one column each, by the normal equations of two lines."""
        own = np.zeros((len(by_row), by_row.shape[2]))
        for feature, chosen in enumerate(self._columns):
            own[:, feature] = self._of_columns[:, chosen].sum(axis=1)
        outputs, output_mean = _unit(self._of_outputs)  # (n_sampled, n_outputs)
        columns, column_mean = _unit(own)  # (n_sampled, n_features)
        mean = by_row.mean(axis=0)
        y = by_row - mean
        alike = outputs.T @ columns
        on_output = np.einsum("nkf,nk->kf", y, outputs)
        on_column = np.einsum("nkf,nf->kf", y, columns)
        apart = 1 - alike**2
        rest = on_column - alike * on_output
        slope = np.divide(rest, apart, out=np.zeros_like(rest), where=apart > NEGLIGIBLE)
        of_output = on_output - alike * slope
        left = np.einsum("nkf,nkf->kf", y, y) - of_output * on_output - slope * on_column
        freedom = max(1, len(y) - 3)
        variances = self.share_unseen * np.maximum(left, 0.0) / freedom / len(y)
        return mean - output_mean[:, None] * of_output - column_mean * slope, variances

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


@dataclass(frozen=True)
class ExactGame:
    """A model with exact importances, on a background that is met whole.

    Attributes
    ----------
    shapley : callable
        Takes a row and a background, returns exact importances of shape (n_outputs, n_features).
    background : Background
    """

    shapley: Callable[[NDArray[Any], Background], NDArray[np.float64]]
    background: Background

    def estimate(self, row: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the Shapley values of one row with standard errors of 0."""
        values = self.shapley(row, self.background)
        return values, np.zeros_like(values)


class SurveyedGame(ABC):
    """A model on all examples, estimated from its importances against the rows of a survey.

    Attributes
    ----------
    survey : Survey
    """

    survey: Survey

    @property
    def rows(self) -> NDArray[np.float64]:
        """The sampled rows."""
        return self.survey.rows

    @property
    def empty_value(self) -> NDArray[np.float64]:
        """The mean output of all examples, shape (n_outputs,)."""
        return self.survey.empty_value

    @abstractmethod
    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the output for one row, shape (n_outputs,)."""

    @abstractmethod
    def by_row(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return importances against each sampled row, (n_sampled, n_outputs, n_features)."""

    def estimate(self, row: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate the Shapley values of one row on all examples; see :meth:`Survey.estimate`.

        Parameters
        ----------
        row : ndarray of shape (n_columns,)

        Returns
        -------
        values, standard_errors : ndarray of shape (n_outputs, n_features)
        """
        return self.survey.estimate(self.by_row(row), self.full_value(row))


@dataclass(frozen=True)
class SampledGame(SurveyedGame):
    """A model with exact importances against any background, on a sample of all examples.

    Attributes
    ----------
    shapley : callable
        Takes a row and a background, returns exact importances of shape (n_outputs, n_features).
    outputs : callable
        From rows (n_rows, n_columns) to outputs (n_rows, n_outputs).
    survey : Survey
    """

    shapley: Callable[[NDArray[Any], Background], NDArray[np.float64]]
    outputs: Callable[[NDArray[Any]], NDArray[np.float64]]
    survey: Survey

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the output for one row, shape (n_outputs,)."""
        return self.outputs(row[None])[0]

    def by_row(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return importances against each sampled row, (n_sampled, n_outputs, n_features)."""
        return np.stack([self.shapley(row, Background.uniform(other[None])) for other in self.rows])


def draw_sample(n_examples: int, n_rows: int, seed: int) -> NDArray[np.intp]:
    """Draw positions of examples without repetition, in rising order; all if there are no more."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(n_examples, min(n_rows, n_examples), replace=False))


def _unit(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring columns about their means to length 1, and the means to the same scale."""
    mean = x.mean(axis=0)
    size = np.linalg.norm(x - mean, axis=0)
    per_size = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
    return (x - mean) * per_size, mean * per_size


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
