from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
import shap
from shapley_by_definition import shapley_by_definition, third_order_interaction

from service.shapley import kernel, plan
from service.shapley.background import Background
from service.shapley.coalitions import smallest_budget
from service.shapley.games import BlackBoxGame
from service.shapley.kernel import Sampling, Stopping, kernel_shapley, refined_shapley


def explain(game, row, coalitions=None, seed=0, evaluations=None):
    return kernel_shapley(game, row, Sampling(coalitions, evaluations, seed)).values


def interacting(x):
    """Two outputs of order three and more, so that a wrong kernel cannot hide."""
    triple = x[:, 0] * x[:, 1] * x[:, 2]
    return np.stack(
        [triple + np.sin(x[:, 0] * x[:, 2]) * x[:, -1], np.exp(x.sum(axis=1) / 3) - triple], axis=1
    )


def game_of(n_features, seed=0, n_background=7):
    rng = np.random.default_rng(seed)
    background = Background.weighted(
        rng.normal(size=(n_background, n_features)), rng.random(n_background), "given", 7
    )
    return BlackBoxGame(interacting, background), rng.normal(size=n_features)


@pytest.mark.parametrize("n_features", [3, 4, 5, 8, 10])
def test_enumeration_gives_the_shapley_values_of_the_definition(n_features):
    """Up to M = 10 on a game of order three and more: the same numbers to 1e-10, for every
    output.
    """
    game, row = game_of(n_features)
    background = game.background
    assert (
        abs(third_order_interaction(lambda x: interacting(x)[:, 0], row, background.rows[0])) > 0.01
    )
    expected = shapley_by_definition(interacting, row, background.rows, background.weights)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(explain(game, row), expected, rtol=0, atol=1e-10)


def test_enumeration_agrees_with_shap_on_the_same_weighted_background():
    """shap.KernelExplainer without its feature selection, where both enumerate: to 1e-6."""
    game, row = game_of(8)
    background = shap.utils._legacy.DenseData(
        game.background.rows, [str(i) for i in range(8)], None, game.background.weights
    )
    expected = shap.KernelExplainer(interacting, background).shap_values(
        row, l1_reg=False, silent=True
    )
    np.testing.assert_allclose(explain(game, row), expected.T, rtol=0, atol=1e-6)


def test_sampling_comes_close_to_the_truth_and_closer_with_more_coalitions():
    """With M = 14 sampled: unbiased enough to approach the enumerated values as the budget
    grows.
    """
    game, row = game_of(14)
    truth = explain(game, row, 2**14 - 2)
    errors = [
        np.mean([np.abs(explain(game, row, budget, seed) - truth).mean() for seed in range(5)])
        for budget in (100, 800, 6400)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1 * np.abs(truth).mean()


@pytest.mark.parametrize("budget", [120, 700, None])
def test_importances_add_up_to_the_output_also_when_sampled(budget):
    """Σ φ = f(x) − E f(b) for every output, whatever the budget."""
    game, row = game_of(30)
    importances = explain(game, row, budget, seed=3)
    np.testing.assert_allclose(
        importances.sum(axis=1) + game.empty_value, game.full_value(row), rtol=0, atol=1e-12
    )


def test_a_feature_that_does_not_vary_leaves_the_game():
    """It gets exactly 0 and the others get what they would get without it; two missing values count
    as equal.
    """
    game, row = game_of(6)
    rows, constant, missing = game.background.rows, np.full((7, 1), 3.5), np.full((7, 1), np.nan)
    wide = Background.weighted(
        np.hstack([rows, constant, missing]), game.background.weights, "given", 7
    )
    seen = BlackBoxGame(lambda x: interacting(x[:, :6]), wide)
    importances = explain(seen, np.append(row, [3.5, np.nan]))
    assert (importances[:, 6:] == 0).all()
    np.testing.assert_allclose(importances[:, :6], explain(game, row), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_varying", [0, 1, 2])
def test_games_of_hardly_any_players_are_solved_too(n_varying):
    """A row equal to the background in all but a few features: the difference goes to those
    features.
    """
    background = Background.uniform(np.array([[1.0, 2.0, 3.0]]))
    row = background.rows[0].copy()
    row[:n_varying] += 1.0
    game = BlackBoxGame(interacting, background)
    importances = explain(game, row)
    np.testing.assert_allclose(
        importances, shapley_by_definition(interacting, row, background.rows, [1.0]), atol=1e-12
    )


def test_text_columns_are_players_like_any_other():
    """Hybrid rows may hold strings: the game only swaps values."""
    rows = np.array([["red", 1.0], ["blue", 2.0]], dtype=object)
    model = lambda x: ((x[:, 0] == "red") * x[:, 1].astype(float))[:, None]  # noqa: E731
    game = BlackBoxGame(model, Background.uniform(rows))
    importances = explain(game, np.array(["red", 5.0], dtype=object))
    assert importances.sum() == pytest.approx(5.0 - 0.5)
    assert (importances > 0).all()


def test_eight_threads_give_the_bytes_of_one():
    """One game shared by eight threads, 64 calls: each row's bytes are those of a single thread."""
    game, _ = game_of(20)
    rows = np.random.default_rng(5).normal(size=(16, 20))
    alone = [explain(game, row, evaluations=3000).tobytes() for row in rows]
    with ThreadPoolExecutor(8) as pool:
        together = list(
            pool.map(lambda i: explain(game, rows[i % 16], evaluations=3000).tobytes(), range(64))
        )
    assert together == alone * 4


def test_the_memory_budget_cuts_the_calls_and_not_the_result():
    """Small calls give what one large call gives, and no call is larger than the budget."""
    game, row = game_of(10)
    sizes = []

    def counting(x):
        sizes.append(x.nbytes)
        return interacting(x)

    budget = 40 * game.background.rows.nbytes
    small = BlackBoxGame(counting, game.background, call_bytes=budget)
    expected = explain(game, row)
    np.testing.assert_allclose(explain(small, row), expected, atol=1e-12)
    assert len(sizes) > 25
    assert max(sizes) <= budget


def wide_game(n_features=14, n_background=60):
    """A game whose truth can be enumerated, on a background larger than the draws."""
    rng = np.random.default_rng(1)
    return BlackBoxGame(
        interacting, Background.uniform(rng.normal(size=(n_background, n_features)))
    ), rng.normal(size=n_features)


def test_joint_draws_estimate_the_game_on_the_whole_background():
    """With a few of 60 background rows a pair, the mean over seeds is the truth on all 60, within
    its error.
    """
    game, row = wide_game()
    truth = explain(game, row, 2**14 - 2)
    estimates = np.array([explain(game, row, 400, seed, evaluations=1500) for seed in range(60)])
    error = estimates.std(axis=0, ddof=1) / np.sqrt(60)
    assert np.abs(truth).max() > 20 * error.max()
    assert (np.abs(estimates.mean(axis=0) - truth) < 4 * error).all()


@pytest.mark.parametrize(
    ("coalitions", "evaluations"),
    [(300, None), (300, 1500), (2**14 - 2, 40_000), (2000, 30_000), (None, 8000)],
)
def test_standard_errors_cover_the_truth(coalitions, evaluations):
    """About 95% of |estimate − truth| < 1.96 standard errors, whether coalitions, draws or both are
    sampled.
    """
    game, row = wide_game()
    truth = explain(game, row, 2**14 - 2)
    runs = [
        kernel_shapley(game, row, Sampling(coalitions, evaluations, seed)) for seed in range(40)
    ]
    covered = [np.abs(run.values - truth) < 1.96 * run.standard_errors for run in runs]
    assert 0.92 < np.mean(covered) < 0.98


@pytest.mark.parametrize("evaluations", [None, 12 * 28])
def test_standard_errors_of_the_smallest_budget_are_no_nonsense(evaluations):
    """Of four coalitions for each feature, below which a budget is refused."""
    game, row = game_of(7, n_background=30)
    truth = explain(game, row)
    runs = [
        kernel_shapley(game, row, Sampling(smallest_budget(7), evaluations, seed))
        for seed in range(40)
    ]
    off = np.sqrt(np.mean([np.square(run.values - truth) for run in runs]))
    said = np.sqrt(np.mean([np.square(run.standard_errors) for run in runs]))
    assert 0.5 * said < off < 1.5 * said
    with pytest.raises(ValueError, match="expected at least 28 coalitions for 7 features"):
        kernel_shapley(game, row, Sampling(27))


def test_an_exact_plan_has_no_standard_error():
    """Everything was evaluated: the errors are zero."""
    game, row = game_of(6)
    assert (kernel_shapley(game, row, Sampling()).standard_errors == 0).all()


def test_a_tolerance_adds_rounds_until_the_standard_error_is_reached():
    """The mean of independent rounds: closer to the truth, with an error that says so, additive and
    repeatable.
    """
    game, row = wide_game()
    truth = explain(game, row, 2**14 - 2)
    sampling = Sampling(400, 2000)
    one = refined_shapley(game, row, sampling, Stopping())
    assert one.values.tobytes() == kernel_shapley(game, row, sampling).values.tobytes()
    fine = refined_shapley(game, row, sampling, Stopping(tolerance=0.05))
    assert (
        fine.standard_errors.mean()
        <= 0.05 * np.abs(fine.values).mean()
        < one.standard_errors.mean()
    )
    assert np.abs(fine.values - truth).mean() < 0.5 * np.abs(one.values - truth).mean()
    np.testing.assert_allclose(fine.values.sum(axis=1), truth.sum(axis=1), rtol=0, atol=1e-12)
    assert (
        fine.values.tobytes()
        == refined_shapley(game, row, sampling, Stopping(tolerance=0.05)).values.tobytes()
    )


def test_the_rounds_of_the_next_row_take_the_plans_of_the_first(monkeypatch):
    """More rounds than eight: each plan, and with it the tables that belong to it, is made once."""
    made, lay_out = [], plan.lay_out
    monkeypatch.setattr(
        plan, "lay_out", lambda *arguments: made.append(arguments) or lay_out(*arguments)
    )
    game, row = wide_game()
    fine = Stopping(tolerance=0.03)
    first = refined_shapley(game, row, Sampling(400, 2000), fine)
    n_rounds = len(made)
    assert n_rounds > 8
    assert (
        refined_shapley(game, row, Sampling(400, 2000), fine).values.tobytes()
        == first.values.tobytes()
    )
    assert len(made) == n_rounds


def test_a_time_budget_ends_the_rounds():
    """With no time left one round is made; with some, more rounds, and the error falls."""
    game, row = wide_game()
    sampling = Sampling(400, 2000)
    one = kernel_shapley(game, row, sampling)
    assert (
        refined_shapley(game, row, sampling, Stopping(time_budget=0.0)).values == one.values
    ).all()
    longer = refined_shapley(game, row, sampling, Stopping(time_budget=0.5))
    assert longer.standard_errors.mean() < 0.7 * one.standard_errors.mean()


@pytest.mark.parametrize("stopping", [Stopping(time_budget=5), Stopping(1e-9, time_budget=5)])
def test_a_time_budget_is_filled_however_fast_the_rounds_are(monkeypatch, stopping):
    """On a clock of a twentieth of a second a round a hundred are made, and nothing warns: only a
    tolerance alone is given up after a number of rounds.
    """
    clock, made = count(), []
    monkeypatch.setattr(kernel, "monotonic", lambda: next(clock) / 20)
    once = kernel.kernel_shapley
    monkeypatch.setattr(kernel, "kernel_shapley", lambda *args: made.append(1) or once(*args))
    game, row = wide_game()
    longest = refined_shapley(game, row, Sampling(400, 2000), stopping)
    assert len(made) == 100
    one = once(game, row, Sampling(400, 2000))
    assert longest.standard_errors.mean() < 0.15 * one.standard_errors.mean()


def test_an_exact_result_needs_no_rounds():
    """Whatever the tolerance, nothing is repeated."""
    game, row = game_of(5)
    calls = []
    game.function = lambda x: calls.append(1) or interacting(x)
    refined_shapley(game, row, Sampling(), Stopping(tolerance=1e-9))
    assert len(calls) == 2


def test_text_columns_are_sampled_with_draws_too():
    """Rows that are no numbers have only their output to control the draws with; the estimate is as
    honest.
    """
    rng = np.random.default_rng(3)
    rows = np.stack([rng.choice(["a", "b", "c"], 300) for _ in range(12)], axis=1).astype(object)

    def model(x):
        same = x == "a"
        return (
            same[:, :4].sum(axis=1) * same[:, 4:8].sum(axis=1)
            + same[:, 0] * same[:, 9] * same[:, 11]
        )[:, None] * 1.0

    game, row = BlackBoxGame(model, Background.uniform(rows)), rows[7].copy()
    truth = explain(game, row, 2**12 - 2)
    estimate = kernel_shapley(game, row, Sampling(None, 8000))
    assert 0 < estimate.standard_errors.max() < 0.2 * np.abs(truth).max()
    assert (np.abs(estimate.values - truth) < 4.5 * estimate.standard_errors).all()
