import numpy as np

from service.engines.surrogate import with_surrogate
from service.shapley.background import Background
from service.shapley.games import BlackBoxGame
from service.shapley.kernel import Sampling, kernel_shapley

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 10))
ROWS = RNG.normal(size=(6, 10))


def smooth(x):
    """Interactions that trees learn well enough to help."""
    return (np.tanh(x[:, 0] * x[:, 1]) + x[:, 2] * np.maximum(x[:, 3], 0) + np.sin(x[:, 4]))[
        :, None
    ]


def noise(x):
    """Nothing that a model could learn: a hash of the row."""
    return np.sin(1e6 * x.sum(axis=1))[:, None]


def test_a_surrogate_lowers_the_error_and_keeps_the_estimate_unbiased():
    """Over many seeds the mean is the truth on the whole background, with a smaller spread than
    without it.
    """
    background = Background.uniform(X)
    plain = BlackBoxGame(smooth, background)
    controlled = with_surrogate(plain, X, random_state=0)
    assert controlled.control is not None
    truth = kernel_shapley(plain, ROWS[0], Sampling()).values
    runs = {
        game: np.array(
            [kernel_shapley(game, ROWS[0], Sampling(None, 2000, seed)).values for seed in range(30)]
        )
        for game in (plain, controlled)
    }
    spread = runs[controlled].std(axis=0, ddof=1)
    assert spread.mean() < 0.8 * runs[plain].std(axis=0, ddof=1).mean()
    assert (np.abs(runs[controlled].mean(axis=0) - truth) < 4.5 * spread / np.sqrt(30)).all()
    np.testing.assert_allclose(runs[controlled].sum(axis=2), truth.sum(), rtol=0, atol=1e-12)


def test_a_surrogate_that_does_not_pay_is_not_used():
    """What cannot be learned is sampled as it is."""
    game = BlackBoxGame(noise, Background.uniform(X))
    assert with_surrogate(game, X, random_state=0) is game


def test_columns_that_are_not_numbers_get_no_surrogate():
    """Text columns are sampled as they are."""
    mixed = X.astype(object)
    game = BlackBoxGame(lambda x: smooth(x.astype(float)), Background.uniform(mixed))
    assert with_surrogate(game, mixed, random_state=0) is game
