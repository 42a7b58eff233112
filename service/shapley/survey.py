"""Importances on all examples, estimated from a sample of background rows.

The importances against one background row may be exact, and those wanted are their mean over all
examples. A sample of rows gives that mean with an error, which the spread between its rows tells.
Two things are known of every example without explaining anything: its own values, and the model's
output for it. What a feature takes from a background row depends most on the row's own value of
that feature and on its output, so both are regressed out: the fitted lines are moved from the
sample's means to those of all examples (the regression estimator of survey sampling; Cochran,
"Sampling Techniques", 1977, chapter 7). Importances still add up: what they miss of f(x) − E f is
given to the features in proportion to their variances.

What only few examples have, a sample that is drawn evenly shows rarely, and then neither the effect
nor its error. So examples whose values or outputs are rare or far out are drawn more often, and
stand for fewer (unequal chances; Cochran, chapter 9A).

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

NEGLIGIBLE = 1e-9  # of the largest singular value, or of a mean: columns that tell nothing
MOST_LEVERAGE = 0.75  # of a row; one that the fit follows further says nothing of its error
MOST_COLUMNS = 4  # of a feature, that are regressed out: each takes a degree of freedom
N_CELLS = 32  # of equal width between a column's least and largest number
# Of all chances, the part that goes by how rare and how far out examples are: what is even is
# estimated best from rows that are drawn evenly, and errors are told best by what is rare.
RARE_IN_ESTIMATES, RARE_IN_ERRORS = 0.25, 0.5


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


@dataclass(frozen=True)
class Sample:
    """Examples that were drawn.

    Attributes
    ----------
    positions : ndarray of int, shape (n_sampled,)
    weights : ndarray of shape (n_sampled,)
        The share of all examples that each stands for; they sum to 1.
    unseen : ndarray of shape (n_sampled,)
        How likely it was not to be drawn: 0 of an example that stands for itself alone.
    unsure : ndarray of shape (n_features,)
        The part of a feature's variance that these examples cannot tell: nearly all where what is
        rare or far out in its values is in none of them, next to nothing where it is in many.
    """

    positions: NDArray[np.intp]
    weights: NDArray[np.float64]
    unseen: NDArray[np.float64]
    unsure: NDArray[np.float64] | float = 1 / 64

    @classmethod
    def with_chances(
        cls,
        positions: NDArray[np.intp],
        chances: NDArray[np.float64],
        apart: NDArray[np.floating[Any]],
    ) -> Sample:
        """Weigh examples by how likely each of them was to be drawn.

        How far apart each is in its features, (n_features, n_sampled), is 1 on average of all.
        """
        weights = 1 / chances
        weights /= weights.sum()
        shown = apart * weights
        total = shown.sum(axis=1)
        chance = np.sqrt(np.square(shown).sum(axis=1))  # by which the total may be off 1
        # As many rows, all alike, would show it as well.
        n_telling = np.divide(total, chance, out=np.zeros_like(total), where=chance > 0) ** 2
        unsure = np.square(np.maximum(1 - total - chance, 1 / (1 + n_telling)))
        return cls(positions, weights, 1 - chances, np.maximum(unsure, 1 / len(positions)))

    def variances(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Estimate variances between all examples, from (n_sampled, ...) to (...)."""
        deviations = values - np.tensordot(self.weights, values, axes=1)
        freedom = max(1, len(values) - 1)
        squared: NDArray[np.float64] = np.tensordot(self.weights, deviations**2, axes=1)
        return squared * len(values) / freedom


class Survey:
    """A sample of all examples, and what is known of those that are not in it.

    Parameters
    ----------
    population : Population
    sample : Sample
    grouping : Grouping
    hidden : ndarray of bool, shape (n_features,), by default all
        Which features may count against rows that were not drawn though they count against none
        that was.
    """

    def __init__(
        self,
        population: Population,
        sample: Sample,
        grouping: Grouping,
        hidden: NDArray[np.bool_] | None = None,
    ) -> None:
        positions = sample.positions
        self.rows = population.rows[positions]
        self.weights, self.unseen = sample.weights, sample.unseen
        self.empty_value = population.outputs.mean(axis=0)
        # What is regressed out, as distances from the mean of all examples.
        self._of_outputs = population.outputs[positions] - self.empty_value
        distances, varies = _distances_from_mean(population.rows)
        self._of_columns = distances[positions]
        may_count = grouping.of_any_column(varies)
        may_count &= True if hidden is None else hidden
        # A feature whose importance is the same against all sampled rows may have another one
        # against some that were not drawn: as if one more row were off by its part of what outputs
        # vary that are not all drawn, as far as the sample is unsure of it. (n_outputs, n_features)
        spread = (sample.weights * sample.unseen) @ self._of_outputs**2
        n_shares = max(1, int(may_count.sum())) * len(positions)
        self._one_more = np.outer(spread / n_shares, may_count * sample.unsure)
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
        values += missed[:, None] * share
        return values, np.sqrt(variances + self._one_more)

    def _regress_each(
        self, by_row: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate means over all examples and their variances; both (n_outputs, n_features)."""
        if max(map(len, self._columns)) <= 1:
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
        outputs, output_mean = self._unit(self._of_outputs)  # (n_sampled, n_outputs)
        columns, column_mean = self._unit(own)  # (n_sampled, n_features)
        mean, y = self._centred(by_row)
        alike = outputs.T @ columns
        on_output = np.einsum("nkf,nk->kf", y, outputs)
        on_column = np.einsum("nkf,nf->kf", y, columns)
        apart = 1 - alike**2
        rest = on_column - alike * on_output
        slope = np.divide(rest, apart, out=np.zeros_like(rest), where=apart > NEGLIGIBLE)
        of_output = on_output - alike * slope
        left = y - outputs[..., None] * of_output
        left -= columns[:, None] * slope
        per_apart = np.divide(1, apart, out=np.zeros_like(apart), where=apart > NEGLIGIBLE)
        leverage = (columns[:, None] - alike * outputs[..., None]) ** 2 * per_apart
        leverage += outputs[..., None] ** 2 + self.weights[:, None, None]
        return mean - output_mean[:, None] * of_output - column_mean * slope, self._variance(
            y, left, leverage
        )

    def _regress(
        self, by_row: NDArray[np.float64], feature: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate a mean over all examples from a sample, and its variance; both (n_outputs,)."""
        own = self._of_columns[:, self._columns[feature]]
        # (n_outputs, n_sampled, 1 + n_columns)
        x = np.stack([np.hstack([output[:, None], own]) for output in self._of_outputs.T])
        x_mean = self.weights @ x
        x = np.sqrt(self.weights)[:, None] * (x - x_mean[:, None])
        x *= _is_told(np.linalg.norm(x, axis=1), x_mean)[:, None]
        mean, y = self._centred(by_row)
        slopes, leverage = _fit_slopes(x, y.T)
        left = y - np.einsum("knp,kp->nk", x, slopes)
        variances = self._variance(y, left, leverage.T + self.weights[:, None])
        return mean - np.einsum("kp,kp->k", x_mean, slopes), variances

    def _centred(self, x: NDArray[np.float64]) -> tuple[Any, NDArray[np.float64]]:
        """Return the mean of sampled rows, and distances from it whose squares add up."""
        mean = np.tensordot(self.weights, x, axes=1)
        return mean, (np.sqrt(self.weights) * (x - mean).T).T

    def _unit(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bring columns about their means to length 1, and the means to the same scale."""
        mean, centred = self._centred(x)
        size = np.linalg.norm(centred, axis=0)
        per_size = np.divide(1, size, out=np.zeros_like(size), where=_is_told(size, mean))
        return centred * per_size, mean * per_size

    def _variance(
        self,
        y: NDArray[np.float64],
        left: NDArray[np.float64],
        leverage: NDArray[np.float64],
    ) -> Any:
        """Return the variances of means, from what a fit leaves over of each row.

        A row alone in what it shows is fitted by itself: what it leaves over is as if the fit had
        been made without it, and where there would be no such fit, all that it is off the mean.
        """
        is_followed = leverage > MOST_LEVERAGE
        without = left / np.where(is_followed, 1.0, 1 - leverage)
        squared = np.square(np.where(is_followed, y, without))
        return np.tensordot(self.unseen * self.weights, squared, axes=1)


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
        return against_each(self.shapley, self.rows, row)


def against_each(
    shapley: Callable[[NDArray[Any], Background], NDArray[np.float64]],
    rows: NDArray[np.float64],
    row: NDArray[Any],
) -> NDArray[np.float64]:
    """Return importances against each of some background rows.

    Parameters
    ----------
    shapley : callable
        Takes a row and a background, returns exact importances of shape (n_outputs, n_features).
    rows : ndarray of shape (n_rows, n_columns)
        The background rows.
    row : ndarray of shape (n_columns,)

    Returns
    -------
    ndarray of shape (n_rows, n_outputs, n_features)

    Examples
    --------
    >>> def additive(row, background):
    ...     return (row - background.rows[0])[None]
    >>> against_each(additive, np.array([[1.0], [3.0]]), np.array([4.0]))[:, 0, 0].tolist()
    [3.0, 1.0]
    """
    return np.stack([shapley(row, Background.uniform(other[None])) for other in rows])


def draw_sample(
    population: Population, grouping: Grouping, n_rows: int, seed: int, rare: float
) -> Sample:
    """Draw examples without repetition, in rising order; all if there are no more.

    A part of each chance is the same for all; the other part is larger the rarer or the further out
    values of a feature are, or outputs.

    Parameters
    ----------
    population : Population
    grouping : Grouping
    n_rows : int
    seed : int
    rare : float
        The size of the other part.
    """
    n_examples = len(population.rows)
    apart = _apartness_of_features(population.rows, grouping)
    if n_rows >= n_examples:
        return Sample.with_chances(np.arange(n_examples), np.ones(n_examples), apart)
    of_all = apart.mean(axis=0, dtype=np.float64)
    # An effect of several values together shows in the output alone, which counts as all features.
    for outputs in population.outputs.T:
        of_all += _apartness(outputs) / population.outputs.shape[1]
    even = np.ones(n_examples)
    sizes = (1 - rare) * even + rare * of_all / of_all.mean() if of_all.any() else even
    chances = _chances(sizes, n_rows)
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_examples)
    reached = np.cumsum(chances[order])
    steps = (rng.random() + np.arange(n_rows)) * (reached[-1] / n_rows)
    drawn = np.sort(order[np.searchsorted(reached, steps, side="right")])
    return Sample.with_chances(drawn, chances[drawn], apart[:, drawn])


def _apartness_of_features(rows: NDArray[Any], grouping: Grouping) -> NDArray[np.float32]:
    """Say of each feature how far apart examples are in it, (n_features, n_examples)."""
    apart = np.zeros((grouping.n_features, len(rows)), dtype=np.float32)
    n_columns = np.bincount(grouping.owner)
    for column, owner in zip(rows.T, grouping.owner, strict=True):
        apart[owner] += _apartness(column) / n_columns[owner]
    return apart


def _apartness(column: NDArray[Any]) -> NDArray[np.float64]:
    """Say how rare values are and how far from their mean: 1 on average, 0 where all are alike."""
    if column.dtype == object:
        cells = np.unique(column.astype(str), return_inverse=True)[1]
        far = np.ones(len(column))
    else:
        finite = np.isfinite(column)
        known = column[finite].astype(np.float64)
        cells, far = np.full(len(column), N_CELLS), np.zeros(len(column))
        if known.size and np.ptp(known) > 0:
            share = (known - known.min()) / np.ptp(known)
            cells[finite] = np.minimum(share * N_CELLS, N_CELLS - 1).astype(np.intp)
            far[finite] = (share - share.mean()) ** 2
            far /= far.mean()
        elif known.size:
            cells[finite] = 0
    counts = np.bincount(cells)
    n_cells = np.count_nonzero(counts)
    if n_cells < 2:
        return np.zeros(len(column))
    rare = len(column) / n_cells / counts[cells]
    return (rare + far) / 2


def _chances(sizes: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
    """Return chances in proportion to sizes, none above 1, that sum to a number of rows."""
    chances = np.zeros(len(sizes))
    while True:
        below = chances < 1
        left = n_rows - np.count_nonzero(~below)
        chances[below] = sizes[below] * (left / sizes[below].sum())
        if (chances <= 1).all():
            return chances
        chances = np.minimum(chances, 1.0)


def _is_told(spread: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which columns vary in the sample by more than what rounding makes of a constant."""
    return spread > NEGLIGIBLE * np.abs(mean)


def _fit_slopes(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit each y by columns of its x, all of them about their means.

    Columns are brought to one size first, whatever their unit; one that does not vary has no slope.

    Parameters
    ----------
    x : ndarray of shape (n, n_rows, n_columns)
    y : ndarray of shape (n, n_rows)

    Returns
    -------
    slopes : ndarray of shape (n, n_columns)
    leverage : ndarray of shape (n, n_rows)
        How much of its own y each row's fitted value is made of.
    """
    size = np.linalg.norm(x, axis=1)
    per_size = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
    left, singular, right = np.linalg.svd(x * per_size[:, None], full_matrices=False)
    kept = singular > NEGLIGIBLE * singular.max(axis=1, keepdims=True)
    left = left * kept[:, None]
    on_left = np.einsum("knr,kn->kr", left, y)
    scaled = np.divide(on_left, singular, out=np.zeros_like(on_left), where=kept)
    return np.einsum("krp,kr->kp", right, scaled) * per_size, np.square(left).sum(axis=2)


def _distances_from_mean(
    rows: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return rows less their mean, scaled, and which columns vary; what is missing is at the mean.

    Where some values are missing or infinite, the distances still average to 0.
    """
    finite = np.where(np.isfinite(rows), rows, np.nan)
    known = ~np.isnan(finite)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, finite, 0.0).sum(axis=0) / count
    centred = np.where(known, finite - mean, 0.0)
    spread = np.sqrt((centred**2).mean(axis=0))
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return scaled, (spread > 0) | ~known.all(axis=0)


def _most_varying(
    distances: NDArray[np.float64], grouping: Grouping, feature: int
) -> NDArray[np.intp]:
    """Return the columns of a feature that vary most in the sample, a few at most."""
    own = np.flatnonzero(grouping.owner == feature)
    spread = distances[:, own].std(axis=0)
    order = np.argsort(-spread, kind="stable")[:MOST_COLUMNS]
    return own[order][spread[order] > 0]  # or nearly 0, which a fit leaves out
