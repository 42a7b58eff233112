"""Closed forms of linear models: of columns, and of products of powers of columns.

They need no coalitions beyond those of the few features in one product, and no call of the model.

Next: :mod:`service.shapley.trees`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from math import factorial

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.grouping import Grouping

Floats = NDArray[np.float64]
MOST_AT_ONCE = 2_000_000  # numbers that are multiplied at once, over the background


def linear_shapley(
    coefficients: NDArray[np.float64], rows: NDArray[np.float64], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the Shapley values of a linear function.

    They are φ_j = w_j (x_j − E b_j): only the background's mean matters.

    Parameters
    ----------
    coefficients : ndarray of shape (n_outputs, n_features)
    rows : ndarray of shape (n_rows, n_features)
    mean : ndarray of shape (n_features,)
        Weighted mean of the background.

    Returns
    -------
    ndarray of shape (n_outputs, n_rows, n_features)
    """
    return coefficients[:, None, :] * (rows - mean)[None]


@dataclass(frozen=True)
class Term:
    """A product of powers of columns, as the product of one factor a feature.

    Attributes
    ----------
    number : int
        Which of all terms it is.
    features : tuple of int
    factors : tuple of int
        Which of all factors belongs to each feature.
    """

    number: int
    features: tuple[int, ...]
    factors: tuple[int, ...]


@dataclass(frozen=True)
class AlikeTerms:
    """Terms of as many features each, for which the same coalitions are asked.

    Attributes
    ----------
    features, factors : ndarray of int, shape (n_terms, n_members)
    coefficients : ndarray of shape (n_outputs, n_terms)
    means : ndarray of shape (n_terms, 2 ** n_members)
        For each coalition of the members, the mean over the background of the product of the
        factors outside of it.
    """

    features: NDArray[np.intp]
    factors: NDArray[np.intp]
    coefficients: Floats
    means: Floats

    def shapley_values(self, factors: Floats) -> Floats:
        """Return those of each term for one row, shape (n_terms, n_members).

        Parameters
        ----------
        factors : ndarray of shape (n_factors,)
            All factors of the row.
        """
        own = factors[self.factors]
        members = coalitions_of(own.shape[1])
        values = self.means.copy()
        for member, factor in enumerate(own.T):
            values[:, members[:, member]] *= factor[:, None]
        return values @ shapley_weights(members)

    def against_each(self, factors: Floats, others: Floats) -> Floats:
        """Return those of each term against single background rows, (n_rows, n_terms, n_members).

        Parameters
        ----------
        factors : ndarray of shape (n_factors,)
            All factors of the row.
        others : ndarray of shape (n_rows, n_factors)
            Those of the background rows.
        """
        own, other = factors[self.factors], others[:, self.factors]
        members = coalitions_of(own.shape[1])
        values = np.zeros(other.shape)
        for coalition, weights in zip(members, shapley_weights(members), strict=True):
            product = np.where(coalition, own, other).prod(axis=2)
            values += product[..., None] * weights
        return values


class PolynomialSum:
    """A sum of products of powers of columns, and its Shapley values on a background.

    A product of few features is a game of these alone: v(S) is the product of the row's factors in
    S and of the mean of the others' over the background. The values of the sum are the sums of
    theirs (linearity, Shapley 1953).

    Parameters
    ----------
    powers : ndarray of int, shape (n_terms, n_columns)
    coefficients : ndarray of shape (n_outputs, n_terms)
    intercepts : ndarray of shape (n_outputs,)
    grouping : Grouping
    background : Background

    Examples
    --------
    >>> rows = np.array([[0.0, 0.0], [0.0, 2.0]])
    >>> of_both = PolynomialSum(
    ...     np.array([[1, 1]]), np.ones((1, 1)), np.zeros(1), Grouping.identity(2),
    ...     Background.uniform(rows),
    ... )
    >>> of_both.shapley_values(np.array([3.0, 2.0])).tolist()
    [[4.5, 1.5]]
    """

    def __init__(
        self,
        powers: NDArray[np.intp],
        coefficients: Floats,
        intercepts: Floats,
        grouping: Grouping,
        background: Background,
    ) -> None:
        self.powers, self.coefficients, self.intercepts = powers, coefficients, intercepts
        self.n_features = grouping.n_features
        terms, factors = _factorised(powers, grouping)
        self.columns, self.exponents = _padded(factors)
        values = self._factors(background.rows)  # (n_background, n_factors)
        self.alike = [
            self._put_together(group, values, background.weights) for group in _by_size(terms)
        ]
        self.empty_value = self.margins(background.rows).T @ background.weights

    @property
    def n_products(self) -> int:
        """How many products are made against one background row."""
        return max(1, sum(alike.means.size for alike in self.alike))

    def margins(self, rows: Floats) -> Floats:
        """Evaluate the sum, shape (n_rows, n_outputs)."""
        products = np.empty((len(rows), len(self.powers)))
        for term, powers in enumerate(self.powers):
            columns = np.flatnonzero(powers)
            products[:, term] = (rows[:, columns] ** powers[columns]).prod(axis=1)
        return products @ self.coefficients.T + self.intercepts

    def shapley_values(self, row: Floats) -> Floats:
        """Compute the values of one row, shape (n_outputs, n_features)."""
        factors = self._factors(row[None])[0]
        values = np.zeros((len(self.intercepts), self.n_features))
        for alike in self.alike:
            parts = alike.coefficients[:, :, None] * alike.shapley_values(factors)
            for output, of_terms in enumerate(parts):
                values[output] += np.bincount(
                    alike.features.ravel(), of_terms.ravel(), minlength=self.n_features
                )
        return values

    def values_against_each(self, row: Floats, rows: Floats) -> Floats:
        """Compute the values of one row against single rows, (n_rows, n_outputs, n_features)."""
        factors, others = self._factors(row[None])[0], self._factors(rows)
        values = np.zeros((len(self.intercepts), len(rows) * self.n_features))
        first = self.n_features * np.arange(len(rows))[:, None]
        for alike in self.alike:
            place = first + alike.features.ravel()
            of_terms = alike.against_each(factors, others)
            for output, coefficients in enumerate(alike.coefficients):
                parts = of_terms * coefficients[:, None]
                values[output] += np.bincount(place.ravel(), parts.ravel(), len(values[output]))
        return values.reshape(-1, len(rows), self.n_features).transpose(1, 0, 2)

    def _factors(self, rows: Floats) -> Floats:
        """Return all factors of rows, shape (n_rows, n_factors)."""
        return (rows[:, self.columns] ** self.exponents).prod(axis=2)

    def _put_together(self, terms: Sequence[Term], values: Floats, weights: Floats) -> AlikeTerms:
        factors = np.array([term.factors for term in terms])
        return AlikeTerms(
            features=np.array([term.features for term in terms]),
            factors=factors,
            coefficients=self.coefficients[:, [term.number for term in terms]],
            means=_means_outside(factors, values, weights),
        )


def sum_against_each(polynomial: PolynomialSum, rows: Floats, row: Floats) -> Floats:
    """Compute the values of one row against each of some background rows.

    Parameters
    ----------
    polynomial : PolynomialSum
    rows : ndarray of shape (n_rows, n_columns)
        The background rows.
    row : ndarray of shape (n_columns,)

    Returns
    -------
    ndarray of shape (n_rows, n_outputs, n_features)
    """
    n_blocks = -(-len(rows) * polynomial.n_products // MOST_AT_ONCE)
    blocks = np.array_split(rows, min(len(rows), n_blocks))
    return np.concatenate([polynomial.values_against_each(row, block) for block in blocks])


def coalitions_of(n_members: int) -> NDArray[np.bool_]:
    """Return all coalitions, shape (2 ** n_members, n_members)."""
    numbers = np.arange(2**n_members)[:, None]
    return (numbers >> np.arange(n_members)) % 2 == 1


def shapley_weights(members: NDArray[np.bool_]) -> Floats:
    """Return by how much the value of each coalition counts for each member.

    Parameters
    ----------
    members : ndarray of bool, shape (2 ** n, n)

    Returns
    -------
    ndarray of shape (2 ** n, n)

    Examples
    --------
    >>> shapley_weights(coalitions_of(1)).tolist()
    [[-1.0], [1.0]]
    """
    n_members = members.shape[1]
    sizes = members.sum(axis=1)
    orders = np.array([factorial(size) for size in range(n_members + 1)], dtype=np.float64)
    total = orders[n_members]
    inside = orders[sizes - 1] * orders[n_members - sizes] / total
    outside = orders[sizes] * orders[n_members - sizes - 1] / total
    return np.where(members, inside[:, None], -outside[:, None])


def _factorised(
    powers: NDArray[np.intp], grouping: Grouping
) -> tuple[list[Term], list[list[tuple[int, int]]]]:
    """Write each term as one factor a feature; a factor is a list of columns with their powers."""
    numbers: defaultdict[tuple[tuple[int, int], ...], int] = defaultdict(lambda: len(numbers))
    terms = []
    for number, of_term in enumerate(powers):
        by_feature: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for column in np.flatnonzero(of_term):
            by_feature[int(grouping.owner[column])].append((int(column), int(of_term[column])))
        factors = tuple(numbers[tuple(factor)] for factor in by_feature.values())
        terms.append(Term(number, tuple(by_feature), factors))
    return terms, list(map(list, numbers))


def _padded(
    factors: Sequence[Sequence[tuple[int, int]]],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the columns and powers of all factors; those of fewer columns have powers of 0."""
    width = max(map(len, factors), default=1)
    padded = np.zeros((len(factors), width, 2), dtype=np.intp)
    for number, factor in enumerate(factors):
        padded[number, : len(factor)] = factor
    return padded[..., 0], padded[..., 1]


def _by_size(terms: Sequence[Term]) -> Iterator[list[Term]]:
    """Group terms by their number of features; a constant one has none, and no importance."""
    in_order = sorted(terms, key=_size)
    for size, alike in groupby(in_order, key=_size):
        if size:
            yield list(alike)


def _size(term: Term) -> int:
    return len(term.features)


def _means_outside(factors: NDArray[np.intp], values: Floats, weights: Floats) -> Floats:
    """Return the means of what is outside of each coalition, shape (n_terms, 2 ** n_members)."""
    n_terms, n_members = factors.shape
    outside = ~coalitions_of(n_members)
    means = np.ones((n_terms, len(outside)))
    step = max(1, MOST_AT_ONCE // len(values))
    for start in range(0, n_terms, step):
        part = values[:, factors[start : start + step]]  # (n_background, n, n_members)
        for coalition, others in enumerate(outside):
            products = reduce(np.multiply, np.moveaxis(part[:, :, others], 2, 0), 1.0)
            means[start : start + step, coalition] = weights @ np.broadcast_to(
                products, part.shape[:2]
            )
    return means
