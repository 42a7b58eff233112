"""A plan in stages: the work for a row begins with an eighth, and goes on where that is not enough.

Next: :mod:`service.shapley.games`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.cache import BoundedCache
from service.shapley.coalitions import Pairs, choose_pairs, count_pairs, smallest_budget
from service.shapley.plan import Plan, lay_out, noise_of_draws, times_of

# How much of a plan has been evaluated at the end of each stage but the last.
SHARES = (1 / 8, 1 / 4, 1 / 2)


@dataclass(frozen=True)
class Stages:
    """A plan that may be evaluated in stages.

    After each of them, what is evaluated is laid out as a plan for so much work would be: pairs of
    all sizes, and those of a size chosen at random. Nothing is evaluated twice, and the last stage
    ends with the whole plan.

    Attributes
    ----------
    so_far : tuple of Plan
        What has been evaluated by the end of each stage.
    new : dict of (int, int) to Plan
        What is evaluated between the ends of two stages, counted from 1; 0 is the beginning.
    """

    so_far: tuple[Plan, ...]
    new: dict[tuple[int, int], Plan]

    @classmethod
    def single(cls, plan: Plan) -> Stages:
        """Return a plan that is evaluated at once."""
        return cls((plan,), {(0, 1): plan})

    @property
    def nbytes(self) -> int:
        """The memory of all plans; what is new is a part of their arrays."""
        return sum(plan.nbytes for plan in self.so_far)

    def next_after(self, stage: int, share: float) -> int:
        """Choose the stage whose end is to be looked at after that of another one.

        Parameters
        ----------
        stage : int
            Counted from 1, and not the last.
        share : float
            The standard errors at its end, as a multiple of those that are enough. They go down
            with the root of the work: a stage that cannot be enough by that is passed over, and all
            are where they are less than enough, so that they cannot be trusted.
        """
        counts = np.array([len(plan.pairs.members) for plan in self.so_far])
        if share <= 1:
            return len(counts)
        enough = 1 + np.searchsorted(np.sqrt(counts / counts[stage - 1]), share)
        return min(max(int(enough), stage + 1), len(counts))


_stages: BoundedCache[Stages] = BoundedCache()


def make_stages(
    background: Background, n_players: int, coalitions: int, evaluations: int | None, seed: int
) -> Stages:
    """Cut the plan that :func:`make_plan` lays out for the same arguments into stages.

    A plan that samples nothing is a single one.
    """
    arguments = background, n_players, coalitions, evaluations, seed
    return _stages.get(arguments, lambda: _cut(*arguments))


def _cut(
    background: Background, n_players: int, coalitions: int, evaluations: int | None, seed: int
) -> Stages:
    plan = lay_out(background, n_players, coalitions, evaluations, seed)
    if plan.is_exact:
        return Stages.single(plan)
    parts = _choose_parts(n_players, coalitions, seed)
    times = _count_times(plan, parts)
    pair = np.repeat(np.arange(times.shape[1]), times[-1])
    turn = np.arange(len(pair)) - np.searchsorted(pair, pair)
    # Of each row of the plan: in which stage it comes.
    stage = np.count_nonzero(turn >= times[:, pair], axis=0)
    order = np.argsort(stage, kind="stable")
    ends = np.cumsum(np.bincount(stage, minlength=len(parts)))
    ordered, pair = plan.taken(order), pair[order]
    so_far = []
    for part, often, end in zip(parts, times, ends, strict=True):
        weights = part.weights / np.maximum(often, 1)
        whole = replace(
            ordered,
            pairs=Pairs(ordered.pairs.members, weights[pair], part.unseen[pair]),
            draw_noise=_noise(background, plan, often, times[-1])[pair],
            is_part=end < len(order),
        )
        so_far.append(whole.taken(slice(0, end)))
    bounds = [0, *ends.tolist()]
    between = combinations(range(len(bounds)), 2)
    new = {(i, j): ordered.part(bounds[i], bounds[j]) for i, j in between}
    return Stages(tuple(so_far), new)


def _choose_parts(n_players: int, coalitions: int, seed: int) -> list[Pairs]:
    """Choose the pairs of each stage: all pairs, those that have not come yet with weight 0."""
    pairs = choose_pairs(n_players, coalitions, seed)
    inside = pairs.members.sum(axis=1)
    size = np.minimum(inside, n_players - inside) - 1
    every = np.bincount(size)
    rng = np.random.default_rng([seed, n_players])
    rank = np.concatenate([rng.permutation(count) for count in every])
    counts = [count_pairs(n_players, budget) for budget in _budgets(2 * len(size), n_players)]
    parts = []
    for count in _growing([*counts, every]):
        share = (count / every)[size]
        weights = np.where(rank < count[size], pairs.weights / share, 0.0)
        parts.append(Pairs(pairs.members, weights, 1 - (1 - pairs.unseen) * share))
    return parts


def _growing(counts: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Let nothing count more in a stage than in a later one, (n_stages, n)."""
    return np.minimum.accumulate(np.array(counts)[::-1])[::-1]


def _budgets(most: int, n_players: int) -> list[int]:
    """Return how many coalitions there are after each stage but the last, as many as a plan needs.

    The first stages are one where there would be too few.
    """
    budgets = (np.array(SHARES) * most).astype(int)
    return budgets[budgets >= smallest_budget(n_players)].tolist()


def _count_times(plan: Plan, parts: Sequence[Pairs]) -> NDArray[np.intp]:
    """Count how often each pair has come by the end of each stage, shape (n_stages, n_pairs)."""
    times = np.array([part.weights > 0 for part in parts], dtype=np.intp)
    if plan.draws is not None:
        for part, often in zip(parts, times, strict=True):
            often[often > 0] = times_of(part.taken(np.flatnonzero(often)))
    return _growing(list(times))


def _noise(
    background: Background, plan: Plan, times: NDArray[np.intp], dealt: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the noise of the draws of each pair, as the plan has it when all have come."""
    if plan.draws is None:
        return np.zeros(len(times))
    n_draws = plan.draws.shape[1]
    return times * noise_of_draws(background, dealt * n_draws, np.maximum(times, 1) * n_draws)
