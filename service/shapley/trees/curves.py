"""The link of the sum of a margin's Shapley values: a game that comes close to that of the trees.

Against one background row, the margin is nearly the sum of its exact Shapley values over a
coalition, whatever the trees look like. The link of that sum is bent as the link of the margin is,
which no multiple of the margin itself is, so it leaves far less to be sampled. As a sum of cosines
its Shapley values are known: :mod:`service.shapley.kernels.waves`.

Next: :mod:`service.shapley.trees.linked`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from service.shapley import kernels
from service.shapley.games import Link
from service.shapley.kernels.waves import Angles
from service.shapley.plan import Plan

N_WAVES = 16
N_PLACES = 64  # where the link is asked
EVENLY = (np.arange(N_PLACES) + 0.5) / N_PLACES
# How much more outputs may differ between the least and the largest sum than between rows.
MOST_GROWTH = 1e4
# Of the integral: exact for twice as many features, and for more of them to 1e-12.
MOST_NODES = 10


@dataclass(frozen=True)
class Curve:
    """Outputs of a sum over features, for one explained row and each background row.

    Attributes
    ----------
    sums : ndarray of shape (1, n_features)
        What each feature takes of the margin itself, on average over the background.
    angles : Angles
        The sums, as angles between 0 and pi.
    waves : ndarray of shape (n_waves, n_curves)
        How much of the cosine of 1, 2, … times the angle there is in each output.
    """

    sums: NDArray[np.float64]
    angles: Angles
    waves: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        start: NDArray[np.float64],
        parts: NDArray[np.float64],
        weights: NDArray[np.float64],
        link: Link,
    ) -> Curve | None:
        """Bend sums by a link; None where there is nothing to bend, or too much.

        Parameters
        ----------
        start : ndarray of shape (n_background,)
            The margins of background rows.
        parts : ndarray of shape (n_background, n_features)
            What each feature adds to them.
        weights : ndarray of shape (n_background,)
            Of the background rows.
        link : callable
            From margins (n, 1) to outputs (n, n_outputs).
        """
        lowest = float((start + np.minimum(parts, 0).sum(axis=1)).min())
        highest = float((start + np.maximum(parts, 0).sum(axis=1)).max())
        if not highest > lowest:
            return None
        places = lowest + (highest - lowest) * EVENLY
        reached = start[:1] + parts[0].sum()
        with np.errstate(over="ignore"):
            of_all = _different(link(np.concatenate([places, start, reached])[:, None]))
        outputs, seen = of_all[:N_PLACES], of_all[N_PLACES:]
        # A link that overflows, or grows so far beyond what rows reach that rounding would hide it.
        if not np.isfinite(outputs).all():
            return None
        if (np.ptp(outputs, axis=0) > MOST_GROWTH * np.ptp(seen, axis=0)).any():
            return None
        waves = _cosines() @ outputs
        turn = np.pi / (highest - lowest)
        angles = Angles((start - lowest) * turn, parts * turn, weights)
        return cls((weights @ parts)[None], angles, waves)

    def shapley_values(self) -> NDArray[np.float64]:
        """Return the exact Shapley values, shape (n_curves, n_features)."""
        degree = min(self.angles.parts.shape[1] - 1, 2 * MOST_NODES - 1)
        values = kernels.current.wave_values(self.angles, len(self.waves), degree)
        return self.waves.T @ values

    def differences(self, players: NDArray[np.intp], plan: Plan) -> NDArray[np.float64]:
        """Evaluate a plan's pairs, (n_pairs, n_draws or n_background, n_curves)."""
        angles = self.angles._replace(parts=self.angles.parts[:, players])
        return kernels.current.wave_differences(angles, self.waves, plan.pairs.members, plan.draws)


@lru_cache
def _cosines() -> NDArray[np.float64]:
    """Return what finds the waves of outputs at even places, (n_waves, n_places)."""
    return 2 / N_PLACES * np.cos(np.arange(1, N_WAVES + 1)[:, None] * np.pi * EVENLY)


def _different(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out the first of two outputs that mirror each other."""
    is_mirrored = outputs.shape[1] == 2 and np.ptp(outputs[:, 0] + outputs[:, 1]) < 1e-12
    return outputs[:, 1:] if is_mirrored else outputs
