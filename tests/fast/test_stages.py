from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from service.explainers import TabularExplainer
from service.scoring import KernelScoringExplainer
from service.shapley.background import Background
from service.shapley.coalitions import smallest_budget
from service.shapley.games import BlackBoxGame
from service.shapley.kernel import Sampling, Stopping, kernel_shapley, refined_shapley
from service.shapley.plan import make_plan
from service.shapley.stages import make_stages

RNG = np.random.default_rng(2)
N_FEATURES = 14
EVEN = Background.uniform(RNG.normal(size=(60, N_FEATURES)))
UNEVEN = Background.weighted(EVEN.rows, RNG.random(60), "given", 60)
ROW = RNG.normal(size=N_FEATURES)


def interacting(x):
    """Two outputs of order three and more."""
    triple = x[:, 0] * x[:, 1] * x[:, 2]
    return np.stack(
        [triple + np.sin(x[:, 0] * x[:, 2]) * x[:, -1], np.exp(x.sum(axis=1) / 3) - triple], axis=1
    )


def sizes_of(pairs):
    inside = pairs.members.sum(axis=1)
    return np.minimum(inside, pairs.members.shape[1] - inside)


def rows_of(plan):
    """What a plan evaluates, in an order of its own."""
    draws = np.zeros((len(plan.pairs.members), 0)) if plan.draws is None else plan.draws
    both = np.hstack([plan.pairs.members, draws])
    return both[np.lexsort(both.T)]


@pytest.mark.parametrize("background", [EVEN, UNEVEN])
@pytest.mark.parametrize(
    ("n_players", "coalitions", "evaluations"),
    [(14, 4000, None), (14, 4000, 16_000), (12, 4094, 60_000), (30, 3000, 12_000), (60, 500, None)],
)
def test_stages_are_plans_and_together_the_whole_plan(
    background, n_players, coalitions, evaluations
):
    """Each begins where the one before ended, keeps the kernel's mass of every size, and says how
    much of a size is unseen; the last one has evaluated what a fixed number of coalitions does.
    """
    stages = make_stages(background, n_players, coalitions, evaluations, 3)
    whole = make_plan(background, n_players, coalitions, evaluations, 3)
    masses = np.bincount(sizes_of(whole.pairs), whole.pairs.weights)
    seen = 0
    for i, so_far in enumerate(stages.so_far):
        pairs, new = so_far.pairs, stages.new[i, i + 1].pairs
        np.testing.assert_array_equal(pairs.members[seen:], new.members)
        np.testing.assert_array_equal(pairs.members, stages.new[0, i + 1].pairs.members)
        assert len(new.members) > 0
        np.testing.assert_allclose(np.bincount(sizes_of(pairs), pairs.weights), masses)
        for size in np.unique(sizes_of(pairs)):
            different = [
                np.unique(part.members[sizes_of(part) == size], axis=0)
                for part in (pairs, whole.pairs)
            ]
            unseen = 1 - (1 - whole.pairs.unseen[sizes_of(whole.pairs) == size][0]) * (
                len(different[0]) / len(different[1])
            )
            np.testing.assert_allclose(pairs.unseen[sizes_of(pairs) == size], unseen)
        seen = len(pairs.members)
    np.testing.assert_array_equal(rows_of(stages.so_far[-1]), rows_of(whole))
    np.testing.assert_allclose(
        np.sort(stages.so_far[-1].draw_noise), np.sort(whole.draw_noise), rtol=1e-12
    )
    shares = np.array([len(so_far.pairs.members) for so_far in stages.so_far]) / seen
    least = smallest_budget(n_players) / min(coalitions, 2**n_players - 2)
    expected = [share for share in (1 / 8, 1 / 4, 1 / 2, 1) if share >= least]
    np.testing.assert_allclose(shares, expected, atol=0.06)


@pytest.mark.parametrize("background", [EVEN, UNEVEN])
@pytest.mark.parametrize("evaluations", [None, 16_000])
def test_the_last_stage_gives_what_a_fixed_number_of_coalitions_gives(background, evaluations):
    """Nothing is lost by having stopped to look: values and standard errors to 1e-12."""
    game = BlackBoxGame(interacting, background)
    fixed = Sampling(2000, evaluations, 5)
    expected = kernel_shapley(game, ROW, fixed)
    found = kernel_shapley(game, ROW, replace(fixed, in_stages=True), enough=1e-9)
    assert expected.standard_errors.min() > 1e-6
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.standard_errors, expected.standard_errors, rtol=1e-9)


def test_a_row_stops_where_it_is_close_enough_and_never_takes_more():
    """The model is asked for an eighth where that is enough, for all where nothing is, and each
    answer is within what was asked or has taken all.
    """
    asked = []
    game = BlackBoxGame(lambda x: asked.append(len(x)) or interacting(x), EVEN)
    sampling = Sampling(2000, 16_000, in_stages=True)
    taken = []
    for enough in (10.0, 0.2, 0.1, 0.05, 1e-9):
        asked.clear()
        estimate = kernel_shapley(game, ROW, sampling, enough)
        taken.append(sum(asked))
        assert estimate.relative_error <= enough or taken[-1] >= 15_000
        np.testing.assert_allclose(
            estimate.values.sum(axis=1) + game.empty_value,
            game.full_value(ROW),
            rtol=0,
            atol=1e-12,
        )
    assert taken == sorted(taken)
    asked.clear()
    kernel_shapley(game, ROW, replace(sampling, in_stages=False))
    assert taken[-1] == sum(asked)
    assert 0.1 < taken[0] / taken[-1] < 0.16
    assert len(set(taken)) >= 3


def test_standard_errors_hold_where_half_of_the_runs_stop():
    """To stop where the errors happen to be told small is no way to tell them too small: with a
    tolerance that half of the seeds meet in the first stage about 95% of the truths are covered.
    """
    game = BlackBoxGame(interacting, EVEN)
    truth = kernel_shapley(game, ROW, Sampling(2**N_FEATURES - 2)).values
    samplings = [Sampling(2200, 8800, seed, in_stages=True) for seed in range(60)]
    first = [kernel_shapley(game, ROW, sampling, 10.0).relative_error for sampling in samplings]
    half = float(np.median(first))
    runs = [kernel_shapley(game, ROW, sampling, half) for sampling in samplings]
    stopped = [run.relative_error == error for run, error in zip(runs, first, strict=True)]
    assert 0.4 < np.mean(stopped) < 0.6
    covered = [np.abs(run.values - truth) < 1.96 * run.standard_errors for run in runs]
    assert 0.92 < np.mean(covered) < 0.98


def test_a_tolerance_takes_the_place_of_a_tenth_and_a_time_budget_fills_whole_rounds():
    """A coarse tolerance is content with less than a round, a fine one goes on in further rounds,
    and time that is to be filled is not left.
    """
    game = BlackBoxGame(interacting, EVEN)
    sampling = Sampling(2000, 16_000, in_stages=True)
    whole = kernel_shapley(game, ROW, replace(sampling, in_stages=False))
    coarse = refined_shapley(game, ROW, sampling, Stopping(tolerance=0.5))
    usual = refined_shapley(game, ROW, sampling, Stopping())
    fine = refined_shapley(game, ROW, sampling, Stopping(tolerance=whole.relative_error / 2))
    assert coarse.relative_error > usual.relative_error > fine.relative_error
    assert usual.relative_error <= 0.1
    assert fine.relative_error <= whole.relative_error / 2
    timed = refined_shapley(game, ROW, sampling, Stopping(time_budget=1e-9))
    assert timed.values.tobytes() == whole.values.tobytes()


def wave(x):
    return np.tanh(x[:, :5].sum(axis=1) * x[:, 5]) + x[:, 6] * x[:, 7] * x[:, 8] / 4


def test_rows_that_stop_at_different_stages_have_their_own_bytes():
    """Alone, in a batch in any order, and in threads; some are done after an eighth, others not."""
    rows = np.random.default_rng(4).normal(size=(24, N_FEATURES))
    explainer = TabularExplainer(wave, EVEN.rows, surrogate=False)
    scoring = KernelScoringExplainer(explainer)
    together = scoring.explain_rows(rows)
    fixed = KernelScoringExplainer(explainer, nsamples=2 * N_FEATURES + 2048).explain_rows(rows)
    reached = together.standard_errors.mean(axis=1) / np.abs(together.values).mean(axis=1)
    most = fixed.standard_errors.mean(axis=1) / np.abs(fixed.values).mean(axis=1)
    assert ((reached <= 0.1) | np.isclose(reached, most)).all()
    assert len(np.unique(np.round(np.log2(reached / most)))) >= 2
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda row: scoring.explain_rows(row[None]), rows))
    backwards = scoring.explain_rows(rows[::-1])
    for i, one in enumerate(alone):
        assert one.values.tobytes() == together.values[i].tobytes()
        assert one.values.tobytes() == backwards.values[-1 - i].tobytes()
        assert one.standard_errors.tobytes() == together.standard_errors[i].tobytes()


def test_what_was_reached_is_told():
    """In the manifest the share of a few rows, and in the note how many rows are asked for at most;
    a fixed number is no limit but the work itself.
    """
    explainer = TabularExplainer(wave, EVEN.rows, surrogate=False)
    said = KernelScoringExplainer(explainer).to_dict()
    assert 0.02 < said["relative_standard_error"] <= 0.1
    assert "asks the model for up to " in said["note"]
    fixed = TabularExplainer(wave, EVEN.rows, surrogate=False, nsamples=500)
    assert "up to" not in fixed.row_explainer.note
    finer = KernelScoringExplainer(explainer, nsamples=2 * N_FEATURES + 2048).to_dict()
    assert finer["relative_standard_error"] < said["relative_standard_error"]


def test_an_explainer_that_was_saved_before_there_were_stages_does_what_it_did():
    """Its sampling says nothing of them: the whole work for each row."""
    old = Sampling(2000, 16_000)
    del vars(old)["in_stages"]
    game = BlackBoxGame(interacting, EVEN)
    expected = kernel_shapley(game, ROW, Sampling(2000, 16_000))
    assert kernel_shapley(game, ROW, old).values.tobytes() == expected.values.tobytes()


@pytest.mark.parametrize("others", [0.0, 1.0], ids=["alone", "beside a sum"])
def test_what_few_coalitions_do_not_meet_is_not_taken_for_nothing(others):
    """An effect of six features at once, which a beginning may not meet: no value that differs from
    that of the definition, on all coalitions, has an error of nothing.
    """
    rng = np.random.default_rng(7)
    background = Background.uniform(rng.normal(size=(30, 12)))
    row = np.where(np.arange(12) < 2, 1.5, -1.0)

    def rare(x):
        together = 100.0 * (x[:, :6] > 0.6).all(axis=1)
        return (together + others * x[:, 6:].sum(axis=1))[:, None]

    background = Background.uniform(np.where(rng.random((30, 12)) < 0.3, 1.0, background.rows))
    game = BlackBoxGame(rare, background)
    truth = kernel_shapley(game, row, Sampling(2**12 - 2)).values
    for seed in range(12):
        found = kernel_shapley(game, row, Sampling(1200, 14_400, seed, in_stages=True))
        off = np.abs(found.values - truth).max()
        assert off < 1e-9 or found.standard_errors.max() > off / 20


def test_a_tolerance_may_be_next_to_nothing():
    """It is never reached; the whole plan is what a number of coalitions gives."""
    game = BlackBoxGame(interacting, EVEN)
    sampling = Sampling(2000, 12_000, 0, in_stages=True)
    found = kernel_shapley(game, ROW, sampling, enough=1e-200)
    whole = kernel_shapley(game, ROW, replace(sampling, in_stages=False))
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-9)
