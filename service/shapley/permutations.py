"""Models whose first layer adds up over very many features: sampled orders instead of coalitions.

A regression on coalitions needs several for each feature, and a factorisation of features ×
features. Along one order of the features a hybrid row turns from a background row into the
explained one, and every feature's gain on the way is a sample of its Shapley value (Castro et al.,
"Polynomial calculation of the Shapley value based on sampling", 2009). Where hidden units add up,
all steps of a way together cost one cumulative sum. Each order is walked in both directions
(Mitchell et al., "Sampling permutations for Shapley value estimation", 2022), from a background row
of its own, and what is known of these rows is regressed out (:mod:`service.shapley.survey`).

Next: :mod:`service.shapley.background_tables`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.shapley.additive import AdditiveModel
from service.shapley.grouping import Grouping
from service.shapley.survey import Population, Sample, Survey, SurveyedGame


class PermutationGame(SurveyedGame):
    """A model with an additive first layer on all examples, estimated along orders of its features.

    Parameters
    ----------
    model : AdditiveModel
    population : Population
    grouping : Grouping
    n_orders : int
        Each is walked in both directions.
    seed : int
    """

    def __init__(
        self,
        model: AdditiveModel,
        population: Population,
        grouping: Grouping,
        *,
        n_orders: int,
        seed: int,
    ) -> None:
        self.model = model
        self.seed = seed
        self.n_features = grouping.n_features
        positions = deal_rows(len(population.rows), n_orders, seed)
        sample = Sample(positions, np.full(n_orders, 1 / n_orders), np.ones(n_orders))
        # Contributions are linear: what is the same between these two counts nowhere.
        ends = np.stack([population.rows.min(axis=0), population.rows.max(axis=0)])
        used = np.ptp(model.contributions(ends), axis=0).any(axis=1)
        # Along every order a feature counts by another amount, where its value varies.
        shown = grouping.of_any_column(np.ptp(population.rows[positions], axis=0) > 0)
        self.survey = Survey(population, sample, grouping, used & ~shown)

    def full_value(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return the output for one row, shape (n_outputs,)."""
        return self.model.outputs(row[None])[0]

    def by_row(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Return what features gain on the way from each row, (n_orders, n_outputs, n_features)."""
        rng = np.random.default_rng(self.seed)
        parts = self.model.contributions(row[None])[0]  # (n_features, n_hidden)
        return np.stack(
            [self._gains(parts, other, rng.permutation(self.n_features)) for other in self.rows]
        )

    def _gains(
        self, parts: NDArray[np.float64], other: NDArray[Any], order: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return what each feature gains on the way there and back, (n_outputs, n_features)."""
        start = self.model.contributions(other[None])[0]
        changes = (parts - start)[order]
        there = start.sum(axis=0) + self.model.bias + np.cumsum(changes, axis=0)
        first = there[:1] - changes[:1]
        # On the way back the features that are still the background's come first.
        back = first + there[-1:] - np.concatenate([first, there])
        outputs = self._outputs(np.concatenate([first, there, back]))
        ahead, behind = np.split(np.diff(outputs, axis=0), [len(order)])
        gains = np.empty((len(order), outputs.shape[1]))
        gains[order] = (ahead - behind[1:]) / 2
        return gains.T

    def _outputs(self, hidden: NDArray[np.float64]) -> NDArray[np.float64]:
        margins = np.asarray(self.model.readout(hidden), dtype=np.float64)
        return self.model.linked(margins)


def deal_rows(n_examples: int, count: int, seed: int) -> NDArray[np.intp]:
    """Deal positions of examples from shuffled decks, so that all come about equally often."""
    rng = np.random.default_rng(seed)
    decks = [rng.permutation(n_examples) for _ in range(-(-count // n_examples))]
    return np.concatenate(decks)[:count]
