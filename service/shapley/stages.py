"""A plan in stages: the work for a row begins with an eighth, and goes on where that is not enough.

Next: :mod:`service.shapley.games`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.shapley.background import Background
from service.shapley.cache import BoundedCache
from service.shapley.coalitions import Pairs, choose_pairs, count_pairs, smallest_budget
from service.shapley.plan import Plan, lay_out, noise_of_draws, times_of

# How much of a plan has been evaluated at the end of each stage but the last.
SHARES = (1 / 8, 1 / 4, 1 / 2)


@dataclass(frozen=True)
class Stage:
    """A part of a plan.

    Attributes
    ----------
    new : Plan
        What is evaluated in this stage.
    so_far : Plan
        What was evaluated before, and this: a plan of its own.
    """

    new: Plan
    so_far: Plan


@dataclass(frozen=True)
class Stages:
    """The stages of a plan.

    After each of them, what is evaluated is laid out as a plan for so much work would be: pairs of
    all sizes, and those of a size chosen at random. Nothing is evaluated twice, and the last stage
    ends with the whole plan.
    """

    each: tuple[Stage, ...]

    @property
    def nbytes(self) -> int:
        """The memory of all plans; what is new in one is a part of its arrays."""
        return sum(stage.so_far.nbytes for stage in self.each)


_stages: BoundedCache[Stages] = BoundedCache()


def make_stages(
    background: Background, n_players: int, coalitions: int, evaluations: int | None, seed: int
) -> tuple[Stage, ...]:
    """Cut the plan that :func:`make_plan` lays out for the same arguments into stages.

    A plan that samples nothing is a single one.
    """
    arguments = background, n_players, coalitions, evaluations, seed
    return _stages.get(arguments, lambda: _cut(*arguments)).each


def _cut(
    background: Background, n_players: int, coalitions: int, evaluations: int | None, seed: int
) -> Stages:
    plan = lay_out(background, n_players, coalitions, evaluations, seed)
    if plan.is_exact:
        return Stages((Stage(plan, plan),))
    parts = _choose_parts(n_players, coalitions, seed)
    times = _count_times(plan, parts)
    pair = np.repeat(np.arange(times.shape[1]), times[-1])
    turn = np.arange(len(pair)) - np.searchsorted(pair, pair)
    # Of each row of the plan: in which stage it comes.
    stage = np.count_nonzero(turn >= times[:, pair], axis=0)
    order = np.argsort(stage, kind="stable")
    ends = np.cumsum(np.bincount(stage, minlength=len(parts)))
    stages, start = [], 0
    for part, often, end in zip(parts, times, ends, strict=True):
        noise = _noise(background, plan, often, times[-1])
        pairs = Pairs(
            plan.pairs.members, (part.weights / np.maximum(often, 1))[pair], part.unseen[pair]
        )
        so_far = Plan(pairs, plan.draws, noise[pair], end < len(order)).taken(order[:end])
        stages.append(Stage(so_far.taken(slice(start, None)), so_far))
        start = end
    return Stages(tuple(stages))


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
    """Return how many coalitions there are after each stage but the last."""
    budgets = np.maximum(np.array(SHARES) * most, smallest_budget(n_players)).astype(int)
    return np.unique(budgets[budgets < most]).tolist()


def _count_times(plan: Plan, parts: Sequence[Pairs]) -> NDArray[np.intp]:
    """Count how often each pair has come by the end of each stage, shape (n_stages, n_pairs)."""
    times = np.array([part.weights > 0 for part in parts], dtype=np.intp)
    if plan.draws is not None:
        for part, often in zip(parts, times, strict=True):
            often[often > 0] = times_of(part.taken(np.flatnonzero(often)))
    return _growing(times)


def _noise(
    background: Background, plan: Plan, times: NDArray[np.intp], dealt: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the noise of the draws of each pair, as the plan has it when all have come."""
    if plan.draws is None:
        return np.zeros(len(times))
    n_draws = plan.draws.shape[1]
    return times * noise_of_draws(background, dealt * n_draws, np.maximum(times, 1) * n_draws)
