import numpy as np
import pytest

from service.shapley import kernels
from service.shapley.background import Background
from service.shapley.controls import (
    behind_errors,
    best_multiples,
    combine_draw_controls,
    errors_of,
)
from service.shapley.games import BlackBoxGame
from service.shapley.kernel import Sampling, kernel_shapley
from service.shapley.kernels.regression import Combination
from service.shapley.plan import MOSTLY_SEEN, make_plan

DOUBLE = np.dtype(np.float64)

RNG = np.random.default_rng(0)
BACKGROUND = Background.uniform(RNG.normal(size=(80, 12)))
ROW = RNG.normal(size=12)


@pytest.fixture(autouse=True)
def same_draws():
    """Let every test draw the same numbers, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state


def of_draws(drawn, plan):
    """The controls as errors are made of them, (n_pairs, n_draws, n_controls)."""
    return drawn.values.T.reshape(*plan.draws.shape, len(drawn.values))


def bent(x):
    """A curve over a sum: what a background row adds depends on all of its features together."""
    return np.exp(x.sum(axis=1) / 4)[:, None]


@pytest.mark.parametrize(("coalitions", "evaluations"), [(600, 2400), (4094, 20_000)])
def test_controls_of_the_draws_are_orthonormal_in_their_errors(coalitions, evaluations):
    """Sampled pairs or all of them; the combined controls are of size 1 and share nothing."""
    plan = make_plan(BACKGROUND, 12, coalitions, evaluations, 0)
    game = BlackBoxGame(bent, BACKGROUND)
    drawn = game.draw_marks.controls(np.arange(12), plan)
    n_controls = len(drawn.of_total)
    assert n_controls == 13  # a feature each, and the output
    errors = errors_of(plan, of_draws(drawn, plan), np.zeros(n_controls))
    np.testing.assert_allclose(errors.T @ errors, np.eye(n_controls), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("coalitions", "evaluations"), [(600, 2400), (4094, 20_000)])
def test_how_much_of_a_control_is_in_the_errors_is_read_off_the_outputs(coalitions, evaluations):
    """Without computing the errors: the same numbers to 1e-12, by the transpose of what makes
    errors of outputs.
    """
    plan = make_plan(BACKGROUND, 12, coalitions, evaluations, 0)
    outputs, total = RNG.normal(size=(*plan.draws.shape, 2)), RNG.normal(size=2)
    found = errors_of(plan, outputs, total)
    others = RNG.normal(size=(len(found), 3))
    of_means, of_seen, of_total = behind_errors(plan, others)
    seen = outputs[plan.pairs.unseen < MOSTLY_SEEN].reshape(len(of_seen), 2)
    mean = outputs.mean(axis=1)
    expected = others.T @ found
    assert np.abs(expected).min() > 1e-6
    np.testing.assert_allclose(
        of_means.T @ mean + of_seen.T @ seen + np.outer(of_total, total),
        expected,
        rtol=0,
        atol=1e-12,
    )
    drawn = BlackBoxGame(bent, BACKGROUND).draw_marks.controls(np.arange(12), plan)
    errors = errors_of(plan, of_draws(drawn, plan), np.zeros(len(drawn.of_total)))
    loops = kernels.current
    squares, explained = loops.error_products(plan.design(DOUBLE), drawn, outputs, total)
    np.testing.assert_allclose(explained, errors.T @ found, rtol=0, atol=1e-9)
    np.testing.assert_allclose(squares, found.T @ found, rtol=1e-12, atol=0)


def test_controls_that_the_others_make_up_are_left_out():
    """Two classes mirror each other: one of their outputs is enough."""
    mirrored = BlackBoxGame(lambda x: np.hstack([-bent(x), bent(x)]), BACKGROUND)
    plan = make_plan(BACKGROUND, 12, 600, 2400, 0)
    assert mirrored.draw_marks.controls(np.arange(12), plan).of_total.shape == (13,)


def test_all_controls_together_leave_what_one_regression_on_them_leaves():
    """The draws' controls are taken out first, and the result is that of least squares on both
    kinds side by side.
    """
    plan = make_plan(BACKGROUND, 12, 600, 2400, 0)
    n_pairs, n_draws = plan.draws.shape
    outputs, own, marks = (RNG.normal(size=(n_pairs, n_draws, n)) for n in (2, 3, 4))
    total, own_totals = RNG.normal(size=2), RNG.normal(size=3)
    drawn = combine_draw_controls(marks, plan)
    design, loops = plan.design(DOUBLE), kernels.current
    both, totals = np.concatenate([outputs, own], axis=2), np.concatenate([total, own_totals])
    squares, explained = loops.error_products(design, drawn, both, totals)
    multiples = best_multiples(squares, explained, 2, both.itemsize)
    best = Combination(multiples, explained @ multiples)
    solved, variances = loops.solve_combined(design, drawn, both, totals, best)

    controls = np.concatenate([own, marks], axis=2)
    x = errors_of(plan, controls, np.concatenate([own_totals, np.zeros(4)]))
    expected = np.linalg.lstsq(x, errors_of(plan, outputs, total), rcond=None)[0]
    np.testing.assert_allclose(multiples[2:], -expected[:3], rtol=0, atol=1e-10)
    left, left_total = outputs - controls @ expected, total - own_totals @ expected[:3]
    values = plan.solver.solve(left.mean(axis=1), left_total)
    np.testing.assert_allclose(solved, values, rtol=0, atol=1e-9)
    residuals = left.mean(axis=1) - plan.solver.signs @ values
    residuals /= np.maximum(1 - plan.solver.leverage, 0.1)[:, None]
    unseen = plan.pairs.unseen[:, None]
    of_draws = (1 - unseen) * plan.draw_noise[:, None] * left.var(axis=1, ddof=1)
    found = plan.solver.projection**2 @ (unseen * residuals**2 + of_draws)
    np.testing.assert_allclose(variances, found, rtol=1e-9, atol=0)
    assert len(drawn.values) == 4


@pytest.mark.parametrize("n_controls", [1, 2])
def test_controls_that_the_draws_explain_count_for_nothing(n_controls):
    """One control, which needs no eigenvalues, or two: the multiple is that of least squares, and 0
    where rounding alone is left of a control.
    """
    errors = RNG.normal(size=(50, 1 + n_controls))
    squares = errors.T @ errors
    nothing = np.zeros((0, 1 + n_controls))
    expected = np.linalg.lstsq(errors[:, 1:], errors[:, :1], rcond=None)[0]
    found = best_multiples(squares, nothing, 1, 8)
    np.testing.assert_allclose(found, np.concatenate([[[1.0]], -expected]), rtol=1e-12)
    all_of_it = np.zeros((1, 1 + n_controls))
    all_of_it[0] = squares[1] / np.sqrt(squares[1, 1])
    assert best_multiples(squares, all_of_it, 1, 8)[1] == 0.0


def test_the_output_of_the_drawn_rows_lowers_the_error():
    """Over many seeds the estimates spread less than with the features' own values alone."""
    game, without = BlackBoxGame(bent, BACKGROUND), BlackBoxGame(bent, BACKGROUND)
    without.draw_marks.of_outputs = np.zeros((80, 0))
    spreads = [
        np.std(
            [kernel_shapley(one, ROW, Sampling(600, 2400, seed)).values for seed in range(40)],
            axis=0,
        ).mean()
        for one in (game, without)
    ]
    assert spreads[0] < 0.8 * spreads[1]


def test_rows_of_many_columns_are_controlled_by_their_output_alone():
    """A control for each of hundreds of columns would cost more than it saves."""
    wide = Background.uniform(RNG.normal(size=(20, 301)))
    game = BlackBoxGame(bent, wide)
    assert game.draw_marks.of_columns.shape == (20, 0)
    plan = make_plan(wide, 301, 1300, 2600, 0)
    assert game.draw_marks.controls(np.arange(301), plan).of_total.shape == (1,)
